"""Receipts: received = applied + duplicate + quarantined, for each and in sum."""

import uuid
from hashlib import sha256
from typing import Any

import orjson

from events.chain import repetitions_hash
from events.kinds import run_stream
from service.cursors import cursor
from tests.plans import recording, whole_reads
from tests.service.apps import Store, a_run, new_id, open_store

COUNTS = ("received", "applied", "duplicate", "quarantined")


async def read_all(store: Store, **query: Any) -> list[dict[str, Any]]:
    """Every receipt, page by page."""
    found: list[dict[str, Any]] = []
    page = await store.get("/receipts", **query)
    while True:
        found += page["receipts"]
        if page["next"] is None:
            return found
        page = await store.get("/receipts", **query | {"after": page["next"]})


async def send_mixed(store: Store) -> tuple[dict[str, Any], bytes]:
    """Send a batch of two new runs, one that is there already and one that cannot be used: the old run, the body."""
    await store.post(old := a_run())
    body = orjson.dumps({"post": [a_run(), old, {"name": "no id"}, a_run()]})
    headers = {"User-Agent": "langsmith-py/0.4.60", "X-Request-ID": "mine"}
    answer = await store.client.post("/runs/batch", content=body, headers=headers)
    assert answer.status_code == 200
    return old, body


async def test_the_newest_receipts_can_be_asked_for_first(store: Store) -> None:
    await send_mixed(store)
    forward = await read_all(store)
    for limit in (1, 2, 100):
        assert await read_all(store, order="desc", limit=limit) == forward[::-1]


async def test_a_receipt_tells_what_came_from_whom_and_what_became_of_it(store: Store) -> None:
    old, body = await send_mixed(store)
    told = await store.get("/receipts/3")
    commitment = sha256(bytes.fromhex(told["content_salt"]) + sha256(body).digest()).hexdigest()
    (item,) = told["quarantine"]
    repeated = repetitions_hash([(run_stream(uuid.UUID(old["id"]).bytes), 1, 1)])
    assert repeated is not None
    assert told == {
        "cursor": cursor(3, bytes.fromhex(told["chain"])),
        "receipt_id": 3,
        "received_at": told["received_at"],
        "received": 4,
        "applied": 2,
        "duplicate": 1,
        "quarantined": 1,
        "endpoint": "POST /api/v1/runs/batch",
        "request_id": "mine",
        "key_id": None,
        "user_agent": "langsmith-py/0.4.60",
        "sdk": "langsmith-py",
        "sdk_version": "0.4.60",
        "remote_address": "127.0.0.1",
        "content_size": len(body),
        "content_hash": sha256(body).hexdigest(),
        "content_salt": told["content_salt"],
        "content_commitment": commitment,
        "repetitions_hash": repeated.hex(),
        "chain": told["chain"],
        "positions": {"first": 3, "last": 4},
        "duplicates": [{"stream": f"run:{old['id']}", "version": 1, "times": 1}],
        "quarantine": [item],
    }
    assert (item["quarantine_id"], item["receipt_id"], item["source"]) == (1, 3, "post[2]")
    events = (await store.get("/events"))["events"]
    assert [event["position"] for event in events if event["receipt_id"] == 3] == [3, 4]


async def test_the_key_is_told_by_its_id(database_url: str) -> None:
    async with open_store(database_url, require_auth=True, api_keys="secret-key") as store:
        store.client.headers["x-api-key"] = "secret-key"
        await store.post(a_run())
        told = await store.get("/receipts/2")
    assert told["key_id"] == sha256(b"secret-key").hexdigest()[:8]


async def test_pages_give_every_receipt_once_with_the_positions_of_its_events(store: Store) -> None:
    for number in range(5):
        await store.post(*(a_run() for _ in range(number)), *[run := a_run()])
        await store.post(run)
    events = (await store.get("/events", limit=1000, payload="false"))["events"]
    for limit in (1, 2, 10, 11, 1000):
        found = await read_all(store, limit=limit)
        assert [receipt["receipt_id"] for receipt in found] == list(range(1, 12))
        for receipt in found:
            positions = [event["position"] for event in events if event["receipt_id"] == receipt["receipt_id"]]
            expected = {"first": positions[0], "last": positions[-1]} if positions else None
            assert receipt["positions"] == expected
            alone = await store.get(f"/receipts/{receipt['receipt_id']}")
            assert receipt == {name: alone[name] for name in receipt}


async def test_the_counts_add_up_for_each_receipt_and_in_sum(store: Store) -> None:
    """The sums are asked for between the requests as well: they are added to and not counted anew."""
    for _ in range(2):
        await send_mixed(store)
        await store.get("/receipts", limit=1)
    run = a_run()
    await store.post(run)
    await store.client.delete(f"/traces/{run['id']}", params={"reason": "asked for"})
    await store.client.patch(f"/runs/{run['id']}", json={"outputs": {}})
    page = await store.get("/receipts")
    for counts in (*page["receipts"], page["sums"]):
        assert counts["received"] == counts["applied"] + counts["duplicate"] + counts["quarantined"]
    assert page["sums"] == {name: sum(receipt[name] for receipt in page["receipts"]) for name in COUNTS}
    assert [page["sums"][name] for name in COUNTS] == [14, 9, 2, 3]
    assert page["sums"]["applied"] == (await store.get("/events"))["head"]["position"]


async def test_what_was_erased_takes_the_hash_of_its_request_along(store: Store) -> None:
    await store.post(run := a_run())
    await store.client.delete(f"/traces/{run['id']}", params={"reason": "asked for"})
    told = await store.get("/receipts/2")
    assert (told["content_hash"], told["content_salt"]) == (None, None)
    assert told["content_commitment"]


async def test_what_cannot_be_asked_for_is_told_in_a_sentence(store: Store) -> None:
    answer = await store.client.get("/receipts/99")
    assert (answer.status_code, answer.json()["detail"]) == (404, "There is no receipt 99.")
    await store.post(a_run(), a_run())
    event_cursor = (await store.get("/events"))["head"]["cursor"]
    for path in ("/receipts/mine", "/receipts/0", f"/receipts/{new_id()}", f"/receipts?after={event_cursor}"):
        answer = await store.client.get(path)
        assert answer.status_code == 422
        assert answer.json()["detail"]


async def test_every_query_of_receipts_uses_an_index(store: Store) -> None:
    await send_mixed(store)
    first = (await store.get("/receipts", limit=1))["next"]
    with recording(store.engine) as queries:
        await store.get("/receipts", limit=1, after=first)
        await store.get("/receipts/3")
    assert await whole_reads(store.engine, queries, "events", "receipts", "quarantine", "duplicates") == []
    assert len(queries.asked) > 8
