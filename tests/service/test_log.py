"""The log in pages: every event once, in order, filtered."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from events import reading
from events.kinds import KINDS
from events.schema import events
from service.cursors import cursor
from tests.plans import recording, whole_reads
from tests.service.apps import Store, a_run, json_part, new_id, open_store


async def read_all(store: Store, **query: Any) -> list[dict[str, Any]]:
    """Every event, page by page."""
    found: list[dict[str, Any]] = []
    page = await store.get("/events", **query)
    while True:
        found += page["events"]
        if page["next"] is None:
            return found
        page = await store.get("/events", **query | {"after": page["next"]})


async def test_an_event_is_told_as_it_stands_in_the_log(store: Store) -> None:
    run = a_run(inputs={"n": 1.50})
    await store.post(run)
    *_, event = await read_all(store)
    async with store.engine.connect() as connection:
        end = await reading.read_end(connection)
        (row,) = await reading.read_events(connection, [end.position], bytes_max=1)
    assert event == {
        "cursor": cursor(row.position, row.chain),
        "position": 2,
        "stream": f"run:{run['id']}",
        "run_id": run["id"],
        "version": 1,
        "kind": "RunPosted",
        "recorded_at": event["recorded_at"],
        "receipt_id": 2,
        "schema_version": 1,
        "payload_size": row.payload_size,
        "payload_hash": row.payload_hash.hex(),
        "chain": end.chain.hex(),
        "is_erased": False,
        "payload": run,
    }


async def test_the_head_says_where_the_log_ends(store: Store) -> None:
    await store.post(a_run())
    page = await store.get("/events", limit=1)
    (last,) = (await store.get("/events", after=page["next"]))["events"]
    assert page["head"] == {name: last[name] for name in ("position", "chain", "recorded_at", "cursor")}


async def test_without_payloads_there_are_none(store: Store) -> None:
    await store.post(a_run())
    page = await store.get("/events", payload="false")
    assert [event.keys() & {"payload"} for event in page["events"]] == [set(), set()]
    assert not any(event["is_erased"] for event in page["events"])


async def test_what_was_erased_says_so_and_keeps_its_place(store: Store) -> None:
    run = a_run()
    await store.post(run)
    await store.client.delete(f"/traces/{run['id']}", params={"reason": "asked for"})
    for query in ({}, {"payload": "false"}):
        told = [(event["kind"], event["is_erased"], event.get("payload")) for event in await read_all(store, **query)]
        assert [(kind, erased) for kind, erased, _ in told] == [
            ("ProjectCreated", False),
            ("RunPosted", True),
            ("TraceErased", False),
        ]
        assert told[1][2] is None


async def test_a_payload_that_is_no_strict_json_is_told_as_it_reads(store: Store) -> None:
    id_ = new_id()
    body = b'{"id": "%s", "outputs": {"x": NaN,\n "y": "\\ud800"}}' % id_.encode()
    assert (await store.client.patch(f"/runs/{id_}", content=body)).status_code == 202
    *_, event = await read_all(store)
    assert event["payload"] == {"id": id_, "outputs": {"x": None, "y": "\ufffd"}}
    assert event["payload_size"] == len(body)


async def test_pages_give_every_event_once_in_order(store: Store) -> None:
    await store.post(*(a_run() for _ in range(20)))
    for limit in (1, 2, 7, 20, 21, 1000):
        assert [event["position"] for event in await read_all(store, limit=limit)] == list(range(1, 22))


async def test_pages_give_every_event_once_in_order_while_others_are_written(store: Store) -> None:
    async def write() -> None:
        for _ in range(15):
            await store.post(a_run(), a_run())

    async with asyncio.TaskGroup() as group:
        writing = [group.create_task(write()) for _ in range(3)]
        place: dict[str, str] = {}
        seen: list[int] = []
        while not all(task.done() for task in writing) or len(seen) < 91:
            page = await store.get("/events", limit=4, **place)
            seen += [event["position"] for event in page["events"]]
            place = {"after": page["next"] or page["head"]["cursor"]}
    assert seen == list(range(1, 92))


async def test_a_page_ends_early_when_its_payloads_are_large(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.log.PAGE_BYTES_MAX", 1000)
    await store.post(*(a_run(inputs={"text": "x" * size}) for size in (10, 10, 5000, 10)))
    page = await store.get("/events")
    assert [event["position"] for event in page["events"]] == [1, 2, 3]
    page = await store.get("/events", after=page["next"])
    assert [event["position"] for event in page["events"]] == [4]
    assert [event["position"] for event in await read_all(store)] == [1, 2, 3, 4, 5]


async def test_a_later_page_goes_on_where_the_log_ended(store: Store) -> None:
    end = (await store.get("/events"))["head"]["cursor"]
    run = a_run()
    await store.post(run)
    page = await store.get("/events", after=end)
    assert [event["run_id"] for event in page["events"]] == [run["id"]]
    assert page["next"] is None


@pytest.mark.parametrize("scanned_max", [0, 1000])
async def test_kinds_can_be_repeated_or_separated_by_commas(
    store: Store, monkeypatch: pytest.MonkeyPatch, scanned_max: int
) -> None:
    monkeypatch.setattr("events.reading._SCANNED_MAX", scanned_max)
    runs = [a_run() for _ in range(3)]
    await store.batch(post=runs, patch=[{"id": run["id"], "outputs": {}} for run in runs])
    await store.client.post("/feedback", json={"key": "k", "run_id": runs[0]["id"]})
    for limit in (1, 2, 100):
        for kind in (["RunPatched", "FeedbackPosted"], "FeedbackPosted,,RunPatched"):
            found = await read_all(store, kind=kind, limit=limit)
            assert [event["position"] for event in found] == [5, 6, 7, 8]
        assert [event["position"] for event in await read_all(store, kind="ProjectCreated", limit=limit)] == [1]
        assert await read_all(store, kind="TraceErased", limit=limit) == []
        assert len(await read_all(store, kind="", limit=limit)) == 8


async def a_trace_among_others(store: Store) -> tuple[str, list[int]]:
    """A trace of a root, a child that is known by its parent alone, and feedback; its positions."""
    root, child, other = a_run(), a_run(), a_run()
    await store.post(root, other, {**child, "parent_run_id": root["id"], "trace_id": root["id"]})
    await store.client.post("/feedback", json={"key": "k", "run_id": child["id"]})
    await store.client.post("/feedback", json={"key": "k", "run_id": other["id"]})
    await store.patch({"id": root["id"], "outputs": {}}, {"id": other["id"], "outputs": {}})
    return root["id"], [2, 4, 5, 7]


@pytest.mark.parametrize("scanned_max", [0, 1000])
async def test_a_trace_is_told_with_its_runs_and_their_feedback(
    store: Store, monkeypatch: pytest.MonkeyPatch, scanned_max: int
) -> None:
    monkeypatch.setattr("events.reading._SCANNED_MAX", scanned_max)
    trace_id, positions = await a_trace_among_others(store)
    for limit in (1, 3, 100):
        found = await read_all(store, trace_id=trace_id, limit=limit)
        assert [event["position"] for event in found] == positions
        found = await read_all(store, trace_id=trace_id, kind="RunPosted", limit=limit)
        assert [event["position"] for event in found] == positions[:2]


async def test_an_erased_trace_is_told_with_its_erasure(store: Store) -> None:
    trace_id, positions = await a_trace_among_others(store)
    await store.client.delete(f"/traces/{trace_id}", params={"reason": "asked for"})
    found = await read_all(store, trace_id=trace_id)
    assert [event["position"] for event in found] == [*positions, 9]
    assert [event["is_erased"] for event in found] == [True, True, True, True, False]


async def test_a_trace_that_nothing_knows_of_has_no_events(store: Store) -> None:
    assert await read_all(store, trace_id=new_id()) == []


# What is asked for, and a part of the sentence that answers it.
UNANSWERABLE: dict[str, list[tuple[str, str]]] = {
    "kind": [("RunPosted,RunDeleted", f"'RunDeleted' is no kind of event: there are {', '.join(KINDS)}")],
    "trace_id": [("mine", "'mine' is not the id of a trace: expected a UUID")],
    "after": [
        ("mine", "'mine' is no cursor: give one that an earlier answer gave"),
        ("é" * 20, f"'{'é' * 20}' is no cursor: give one that an earlier answer gave"),
        (cursor(1, bytes(32)), "is of something else, of another database, or of this one before a backup"),
        (cursor(99, bytes(32)), "begin anew without it"),
        (cursor(2**64 - 1, bytes(32)), "begin anew without it"),
        (cursor(0, bytes(32), shard=1), "begin anew without it"),
    ],
}


async def test_what_cannot_be_asked_for_is_told_in_a_sentence(store: Store) -> None:
    for path in ("/events", "/events/stream"):
        for name, asked in UNANSWERABLE.items():
            for value, sentence in asked:
                answer = await store.client.get(path, params={name: value})
                assert answer.status_code == 422
                assert sentence in answer.json()["detail"]


async def test_a_limit_outside_its_bounds_is_refused(store: Store) -> None:
    for limit in ("0", "1001", "many"):
        assert (await store.client.get("/events", params={"limit": limit})).status_code == 422


async def test_a_cursor_of_a_log_that_was_replaced_is_found_out(store: Store) -> None:
    """As after a backup was restored and other events came to the same positions."""
    await store.post(a_run())
    place = (await store.get("/events"))["head"]["cursor"]
    async with store.engine.connect() as connection:
        chain = (await reading.read_end(connection)).chain
    assert place == cursor(2, chain)
    answer = await store.client.get("/events", params={"after": cursor(2, chain[::-1])})
    assert answer.status_code == 422


async def test_the_log_is_for_keys_that_may_read(database_url: str) -> None:
    async with open_store(database_url, require_auth=True, api_keys="writer:ingest") as store:
        for path in ("/events", "/events/stream", "/receipts", "/receipts/1", "/quarantine", "/quarantine/1"):
            assert (await store.client.get(path)).status_code == 401
            answer = await store.client.get(path, headers={"x-api-key": "writer"})
            assert answer.status_code == 403
            assert answer.json()["detail"] == "This API key may not do this: it lacks the scope read."


@pytest.mark.parametrize("scanned_max", [0, 1000])
async def test_every_query_of_events_uses_an_index(
    store: Store, monkeypatch: pytest.MonkeyPatch, scanned_max: int
) -> None:
    monkeypatch.setattr("events.reading._SCANNED_MAX", scanned_max)
    trace_id, _ = await a_trace_among_others(store)
    filters: tuple[dict[str, Any], ...] = (
        {"limit": 2},
        {"kind": "RunPatched,RunPosted"},
        {"trace_id": trace_id},
        {"trace_id": trace_id, "kind": "RunPosted"},
    )
    place = (await store.get("/events", limit=1))["next"]
    with recording(store.engine) as queries:
        for query in filters:
            assert (await store.get("/events", **query, after=place))["events"]
    assert await whole_reads(store.engine, queries, "events", "runs", "feedback") == []
    assert len(queries.asked) > 10


async def test_reading_from_end_to_end_would_be_noticed(store: Store) -> None:
    with recording(store.engine) as queries:
        async with store.engine.connect() as connection:
            await connection.execute(update(events).where(events.c.receipt_id == 0).values(receipt_id=0))
    assert len(await whole_reads(store.engine, queries, "events")) == 1


async def test_feedback_can_be_followed_by_the_trace_that_it_names(store: Store) -> None:
    root = a_run()
    await store.post(root)
    feedback_id = new_id()
    part = {"key": "k", "trace_id": root["id"]}
    assert (await store.send_parts(json_part(f"feedback.{feedback_id}", part))).status_code == 202
    found = await read_all(store, trace_id=root["id"])
    assert [event["stream"] for event in found] == [f"run:{root['id']}", f"feedback:{feedback_id}"]
    assert [event["run_id"] for event in found] == [root["id"], None]
