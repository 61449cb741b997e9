"""Signed addresses of stored bytes."""

import time
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from service.signing import LIFETIME_S
from tests.service.apps import Store, a_run, new_id, open_store

NAMES = ("picture", "ünïcode 💥", 'quo"te', "a/b", "..", "%00", "x" * 300)


async def attach(store: Store, *, name: str = "a", data: bytes = b"data", media_type: str = "text/plain") -> str:
    """Attach bytes to a new run; the address that reading it gives."""
    run = a_run()
    await store.post(run)
    await store.send_parts((f"attachment.{run['id']}.{name}", data, media_type))
    urls = (await store.run(run["id"]))["s3_urls"]
    (url,) = (place["presigned_url"] for place in urls.values())
    return str(url)


def changed(url: str, **query: str) -> str:
    """The address with other query parameters; those given as an empty text are left out."""
    parts = urlsplit(url)
    given = {**dict(parse_qsl(parts.query)), **query}
    return parts._replace(query=urlencode({name: text for name, text in given.items() if text})).geturl()


async def test_the_bytes_are_those_that_were_sent_and_no_browser_takes_them_for_a_page(store: Store) -> None:
    data = b"<script>alert(1)</script>" + bytes(range(256))
    answer = await store.client.get(await attach(store, data=data, media_type="text/html"))
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["content-length"] == str(len(data))


async def test_an_address_works_without_an_api_key_and_is_only_told_with_one(database_url: str) -> None:
    async with open_store(database_url, require_auth=True, api_keys="secret") as store:
        run, key = a_run(attachments={"a": ["text/plain", "aGVsbG8="]}), {"x-api-key": "secret"}
        await store.client.post("/runs", json=run, headers=key)
        assert (await store.client.get(f"/runs/{run['id']}")).status_code == 401
        read = (await store.client.get(f"/runs/{run['id']}", headers=key)).json()
        answer = await store.client.get(read["s3_urls"]["attachment.a"]["presigned_url"])
        assert (answer.status_code, answer.content) == (200, b"hello")


async def test_an_address_that_was_changed_anywhere_is_a_403(store: Store) -> None:
    url = await attach(store)
    other = await attach(store, data=b"other")
    assert (await store.client.get(url)).status_code == 200
    signature = dict(parse_qsl(urlsplit(url).query))["signature"]
    for wrong in (
        changed(url, type="text/html"),
        changed(url, name="b"),
        changed(url, expires="99999999999"),
        changed(url, signature=signature[:-1] + ("0" if signature[-1] != "0" else "1")),
        changed(url, signature="ünïcode"),
        url.replace(urlsplit(url).path, urlsplit(other).path),
        changed(url, expires="9" * 4000),
    ):
        answer = await store.client.get(wrong)
        assert answer.status_code == 403, wrong
        assert answer.json()["detail"].startswith("This address was not given out here")


async def test_an_address_with_something_missing_or_malformed_is_refused(store: Store) -> None:
    url = await attach(store)
    for name in ("type", "name", "expires", "signature"):
        assert (await store.client.get(changed(url, **{name: ""}))).status_code == 422, name
    assert (await store.client.get(changed(url, expires="soon"))).status_code == 422
    path = urlsplit(url).path
    assert (await store.client.get(url.replace(path, path[:-10] + "zz"))).status_code == 404
    assert (await store.client.get(url.replace(path, path[:-2]))).status_code == 403


async def test_an_address_expires(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    url = await attach(store)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + LIFETIME_S - 5)
    assert (await store.client.get(url)).status_code == 200
    monkeypatch.setattr(time, "time", lambda: now + LIFETIME_S + 5)
    assert (await store.client.get(url)).status_code == 403


async def test_any_name_and_media_type_can_be_read(store: Store) -> None:
    for name in NAMES:
        assert (await store.client.get(await attach(store, name=name))).content == b"data", name
    for media_type in ("", "not a type", "ünïcode/x", "a/b; charset=utf-8", "x" * 1000):
        answer = await store.client.get(await attach(store, media_type=media_type))
        assert (answer.status_code, answer.content) == (200, b"data"), media_type


async def test_the_same_bytes_of_many_runs_are_stored_once(store: Store) -> None:
    for name in ("a", "b", "a"):
        await attach(store, name=name, data=b"the same")
    assert await store.count("contents") == 1
    assert await store.count("attachments") == 3


async def test_of_two_attachments_of_one_name_the_later_stays(store: Store) -> None:
    run_id = new_id()
    await store.post(a_run(id=run_id))
    for data in (b"one", b"two"):
        await store.send_parts((f"attachment.{run_id}.a", data, "text/plain"))
    place = (await store.run(run_id))["s3_urls"]["attachment.a"]
    assert (place["size"], (await store.client.get(place["presigned_url"])).content) == (3, b"two")
