"""POST /runs and PATCH /runs/{id}: one run at a time."""

import gzip
from typing import Any

import orjson
import pytest

from events.receipts import Origin
from events.schema import receipts
from service.ingest import routes as ingest
from tests.service.apps import END, START, Store, a_run, an_ended_run, new_id, open_store


async def test_a_run_is_posted_then_patched_and_read_after_each_answer(store: Store) -> None:
    run = a_run(inputs={"query": "a"}, session_name="mine")
    posted = await store.client.post("/runs", json=run)
    assert (posted.status_code, posted.json()) == (202, {"message": "Run created"})
    assert (await store.run(run["id"]))["status"] == "running"
    patched = await store.client.patch(f"/runs/{run['id']}", json={"end_time": END, "outputs": {"b": 1}})
    assert (patched.status_code, patched.json()) == (202, {"message": "Run updated"})
    read = await store.run(run["id"])
    assert (read["status"], read["outputs"], read["inputs"]) == ("completed", {"b": 1}, {"query": "a"})


async def test_a_patch_of_a_run_that_is_not_known_makes_it_and_a_late_post_fills_the_rest(store: Store) -> None:
    run = a_run(inputs={"query": "a"}, outputs={}, events=[], session_name="mine")
    patched = await store.client.patch(f"/runs/{run['id']}", json={"end_time": END, "outputs": {"b": 1}})
    assert patched.status_code == 202
    read = await store.run(run["id"])
    assert (read["name"], read["outputs"], read["project_name"]) == ("", {"b": 1}, "default")
    await store.client.post("/runs", json=run)
    read = await store.run(run["id"])
    assert {name: read[name] for name in run} == {**run, "outputs": {"b": 1}}
    assert (read["status"], read["project_name"]) == ("completed", "mine")


async def test_the_id_in_the_path_wins_over_the_one_in_the_body(store: Store) -> None:
    meant, other = new_id(), new_id()
    await store.client.patch(f"/runs/{meant}", json={"id": other, "name": "x"})
    assert (await store.run(meant))["name"] == "x"
    assert (await store.client.get(f"/runs/{other}")).status_code == 404


async def test_an_id_may_be_written_in_upper_case_and_without_hyphens(store: Store) -> None:
    run = an_ended_run()
    forms = (run["id"].upper(), run["id"].replace("-", ""), f"{{{run['id']}}}", f"urn:uuid:{run['id']}")
    for number, form in enumerate(forms):
        posted = await store.client.post("/runs", json={**run, "id": form, f"form {number}": form})
        patched = await store.client.patch(f"/runs/{form}", json={"tags": [form]})
        assert (posted.status_code, patched.status_code) == (202, 202)
        assert (await store.run(form))["id"] == run["id"]
        assert (await store.get(f"/dashboard/runs/{form}/hierarchy"))["root_run_id"] == run["id"]
    assert (await store.roots())["total"] == 1


async def test_a_run_that_cannot_be_used_is_a_422_that_says_why_and_is_kept(store: Store) -> None:
    bodies: list[tuple[Any, str]] = [
        ({}, "no id"),
        ({**a_run(), "id": "run-1"}, "no id"),
        ({**a_run(), "name": None}, "name is missing"),
        ({"id": new_id()}, "name, run_type, start_time is missing"),
        ([a_run()], "not a JSON object"),
        (None, "not a JSON object"),
        ("run", "not a JSON object"),
    ]
    for body, reason in bodies:
        answer = await store.client.post("/runs", content=orjson.dumps(body))
        assert answer.status_code == 422, body
        assert reason in answer.json()["detail"]
    answer = await store.client.patch("/runs/run-1", json={"name": "x"})
    assert answer.status_code == 422
    assert "'run-1' in the path is not a UUID" in answer.json()["detail"]
    kept = await store.quarantined()
    assert [refusal.raw for refusal in kept] == [*(orjson.dumps(body) for body, _ in bodies), b'{"name":"x"}']
    assert all(refusal.reason for refusal in kept)
    assert await store.receipts() == [(1, 0, 0, 1)] * len(kept)


async def test_a_body_that_is_no_json_is_a_400_and_kept(store: Store) -> None:
    bodies = [b"", b"not json", b'{"id": ', b"\x00\x01", b"{'id': 1}"]
    for body in bodies:
        posted = await store.client.post("/runs", content=body)
        patched = await store.client.patch(f"/runs/{new_id()}", content=body)
        assert (posted.status_code, patched.status_code) == (400, 400), body
        assert posted.json()["detail"].startswith("expected a JSON object")
    kept = [refusal.raw for refusal in await store.quarantined()]
    assert kept == [body for body in bodies for _ in range(2)]


async def test_single_writes_may_be_compressed_too(store: Store) -> None:
    run = a_run()
    headers = {"Content-Encoding": "gzip"}
    for answer in (
        await store.client.post("/runs", content=gzip.compress(orjson.dumps(run)), headers=headers),
        await store.client.patch(f"/runs/{run['id']}", content=gzip.compress(b'{"tags":["a"]}'), headers=headers),
    ):
        assert answer.status_code == 202
    assert (await store.run(run["id"]))["tags"] == ["a"]


async def test_attachments_inside_a_run_are_stored_and_paths_in_their_place_are_not_opened(store: Store) -> None:
    run = a_run(attachments={"a": ["text/plain", "aGVsbG8="], "b": ["text/plain", "/etc/passwd"], "c": 5, "d": ["x"]})
    assert (await store.client.post("/runs", json=run)).status_code == 202
    read = await store.run(run["id"])
    assert "attachments" not in read
    assert list(read["s3_urls"]) == ["attachment.a"]
    assert (await store.client.get(read["s3_urls"]["attachment.a"]["presigned_url"])).content == b"hello"


async def test_a_receipt_says_who_sent_what(store: Store) -> None:
    headers = {"User-Agent": "langsmith-py/0.15.0-httpx2", "X-Request-ID": "request-1"}
    body = orjson.dumps(a_run())
    await store.client.post("/api/runs", content=body, headers=headers)
    async with store.engine.connect() as connection:
        row = (await connection.execute(receipts.select().order_by(receipts.c.receipt_id.desc()))).first()
    assert row is not None
    known = Origin(
        endpoint="POST /api/v1/runs",
        request_id="request-1",
        user_agent="langsmith-py/0.15.0-httpx2",
        sdk="langsmith-py",
        sdk_version="0.15.0",
        remote_address="127.0.0.1",
        content_size=len(body),
        content_hash=row.content_hash,
    )
    assert {name: getattr(row, name) for name in Origin.__slots__} == {
        name: getattr(known, name) for name in Origin.__slots__
    }


async def test_a_receipt_names_the_api_key_by_its_hash_and_never_itself(database_url: str) -> None:
    async with open_store(database_url, require_auth=True, api_keys="a-very-secret-key") as store:
        assert (await store.client.post("/runs", json=a_run())).status_code == 401
        answer = await store.client.post("/runs", json=a_run(), headers={"x-api-key": "a-very-secret-key"})
        assert answer.status_code == 202
        dump = await store.dump()
        assert "a-very-secret-key" not in repr(dump)
        async with store.engine.connect() as connection:
            keys = (await connection.execute(receipts.select())).all()
        assert [row.key_id is not None for row in keys if row.endpoint != "start"] == [True]


async def test_an_unexpected_exception_while_ingesting_is_a_500_and_the_body_is_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("a mistake of ours")

    monkeypatch.setattr(ingest, "each_of_batch", fail)
    monkeypatch.setattr(ingest, "run_items", fail)
    batch, single = orjson.dumps({"post": [a_run()]}), orjson.dumps(a_run(start_time=START))
    answers = [
        await store.client.post("/runs/batch", content=batch),
        await store.client.post("/runs", content=single),
    ]
    assert [answer.status_code for answer in answers] == [500, 500]
    assert "a mistake of ours" not in answers[0].text
    assert [(kept.source, kept.raw) for kept in await store.quarantined()] == [("body", batch), ("body", single)]
