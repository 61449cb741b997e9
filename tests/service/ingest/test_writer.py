"""The writer: groups, culprits, patience, and how it ends."""

import asyncio
import itertools
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from events.dialect import Writer, open_engine, open_writer
from events.errors import DataRefused, FoldVersionMismatch, Unavailable
from events.log import RecordedEvent, Submission
from events.receipts import Origin
from events.schema import quarantine, receipts
from projections import projector
from projections.runs import runs
from service.ingest.items import POST
from service.ingest.memory import Memory
from service.ingest.run_items import run_items
from service.ingest.writer import IngestWriter, Result
from tests.service.apps import Store, a_run, open_store

APPLIED = Result("applied", None)
# Long enough for a busy machine to commit in, short enough to wait for.
PATIENCE_S = 2.0


class Harness:
    """An ingest writer on a database, and what it left there."""

    def __init__(self, writer: IngestWriter, database: Writer, engine: AsyncEngine) -> None:
        self.writer = writer
        self.database = database
        self._engine = engine

    async def receipts(self) -> list[tuple[int, ...]]:
        columns = (receipts.c.received, receipts.c.applied, receipts.c.duplicate, receipts.c.quarantined)
        return await self._rows(select(*columns).order_by(receipts.c.receipt_id))

    async def names(self) -> set[str]:
        return {row[0] for row in await self._rows(select(runs.c.name))}

    async def reasons(self) -> list[str]:
        return [row[0] for row in await self._rows(select(quarantine.c.reason).order_by(quarantine.c.quarantine_id))]

    async def _rows(self, query: Any) -> list[tuple[Any, ...]]:
        async with self._engine.connect() as connection:
            return [tuple(row) for row in await connection.execute(query)]


@asynccontextmanager
async def harness(database_url: str) -> AsyncIterator[Harness]:
    engine, database = open_engine(database_url), open_writer(database_url)
    try:
        async with IngestWriter(database, rule="documented", patience_s=10 * PATIENCE_S) as writer:
            yield Harness(writer, database, engine)
    finally:
        await engine.dispose()


@pytest.fixture
async def on(database_url: str) -> AsyncIterator[Harness]:
    """A writer that waits long for its database."""
    async with harness(database_url) as found:
        yield found


def submission(*names: str) -> Submission:
    """A request that posts a new run of each name."""
    items = [
        item
        for name in names
        for item in run_items(POST, orjson.dumps(a_run(name=name)), source="post", field_bytes_max=10**6)
    ]
    return Submission(Origin(endpoint="test"), items)


def failing(begin: Callable[[], Awaitable[None]], times: float, error: Exception) -> Callable[[], Awaitable[None]]:
    """Begins a transaction, but for the first so many times."""
    left = times

    async def fail_or_begin() -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise error
        await begin()

    return fail_or_begin


def refuse(monkeypatch: pytest.MonkeyPatch, *poisonous: set[str], error: Exception | None = None) -> None:
    """Have the read models refuse to fold together the runs of these names."""
    apply = projector.apply

    async def apply_unless_poisonous(writer: Writer, events: Sequence[RecordedEvent], **more: Any) -> None:
        told = b"".join(event.payload for event in events)
        if any(all(b'"%s"' % name.encode() in told for name in names) for names in poisonous):
            raise error or DataRefused("this cannot be stored")
        await apply(writer, events, **more)

    monkeypatch.setattr(projector, "apply", apply_unless_poisonous)


# --- groups -----------------------------------------------------------------------------------------------------------


async def test_requests_that_wait_together_are_committed_together_with_a_receipt_each(
    on: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = 0
    commit = on.database._commit

    async def commit_counted() -> None:
        nonlocal commits
        commits += 1
        await commit()

    monkeypatch.setattr(on.database, "_commit", commit_counted)
    answers = await asyncio.gather(*(on.writer.submit(submission(f"a{n}", f"b{n}")) for n in range(50)))
    assert answers == [[APPLIED, APPLIED]] * 50
    assert commits < 5
    assert await on.receipts() == [(2, 2, 0, 0)] * 50
    assert len(await on.names()) == 100


async def test_a_group_is_bounded_in_events_and_in_bytes(on: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[int] = []
    transact = on.writer._transact

    async def transact_counted(submissions: Sequence[Submission]) -> list[list[Result]]:
        groups.append(sum(len(submission.items) for submission in submissions))
        return await transact(submissions)

    monkeypatch.setattr(on.writer, "_transact", transact_counted)
    monkeypatch.setattr("service.ingest.writer.GROUP_EVENTS_MAX", 10)
    await asyncio.gather(
        *(on.writer.submit(submission(*"abcd")) for _ in range(6)), on.writer.submit(submission(*"x" * 15))
    )
    assert sum(groups) == 6 * 4 + 15
    assert max(group for group in groups if group != 15) <= 10
    groups.clear()
    monkeypatch.setattr("service.ingest.writer.GROUP_BYTES_MAX", 1)
    await asyncio.gather(*(on.writer.submit(submission("y")) for _ in range(3)))
    assert groups == [1, 1, 1]


async def test_a_request_waits_for_another_that_is_nearly_ready_and_not_for_one_that_is_not(
    on: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    transact = on.writer._transact

    async def transact_counted(submissions: Sequence[Submission]) -> list[list[Result]]:
        groups.append(len(submissions))
        return await transact(submissions)

    async def prepare_and_submit(name: str, turns: float) -> list[Result]:
        prepared = submission(name)
        with on.writer.preparing():
            while turns > 0:
                turns -= 1
                await asyncio.sleep(0)
        return await on.writer.submit(prepared)

    monkeypatch.setattr(on.writer, "_transact", transact_counted)
    answers = await asyncio.gather(on.writer.submit(submission("ready")), prepare_and_submit("nearly ready", 20))
    assert [*answers] == [[APPLIED], [APPLIED]]
    never_ready = asyncio.create_task(prepare_and_submit("never ready", math.inf))
    assert await on.writer.submit(submission("alone")) == [APPLIED]
    never_ready.cancel()
    assert groups == [2, 1]


async def test_a_large_request_gives_others_their_turn_and_stays_whole(
    on: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = 0
    turns_before_the_commit: list[int] = []
    commit = on.database._commit

    async def commit_noting_turns() -> None:
        turns_before_the_commit.append(turns)
        await commit()

    monkeypatch.setattr(on.database, "_commit", commit_noting_turns)
    monkeypatch.setattr("events.turns.monotonic", itertools.count().__next__)  # Every turn is over at once.
    monkeypatch.setattr("service.ingest.writer._PORTION_EVENTS_MAX", 10)
    large = asyncio.create_task(on.writer.submit(submission(*(f"run {n}" for n in range(100)))))
    while not large.done():
        turns += 1
        await asyncio.sleep(0)
    assert await large == [APPLIED] * 100
    assert len(turns_before_the_commit) == 1
    assert turns_before_the_commit[0] > 30


async def test_the_same_request_twice_in_a_group_is_applied_once(on: Harness) -> None:
    once = submission("a", "b")
    answers = await asyncio.gather(on.writer.submit(once), on.writer.submit(once))
    assert [[result.outcome for result in answer] for answer in answers] == [["applied"] * 2, ["duplicate"] * 2]
    assert await on.receipts() == [(2, 2, 0, 0), (2, 0, 2, 0)]


# --- culprits ---------------------------------------------------------------------------------------------------------


async def test_an_item_that_a_fold_refuses_is_quarantined_alone(
    on: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(monkeypatch, {"poison"})
    submissions = [
        submission("a", "poison", "b"),
        submission("c"),
        submission("poison", "d", "poison"),
        submission("e"),
    ]
    answers = await asyncio.gather(*map(on.writer.submit, submissions))
    reason = "RunPosted could not be stored: this cannot be stored"
    refused = Result("quarantined", reason)
    assert answers == [[APPLIED, refused, APPLIED], [APPLIED], [refused, APPLIED, refused], [APPLIED]]
    assert await on.names() == set("abcde")
    assert await on.reasons() == [reason] * 3
    assert await on.receipts() == [(3, 2, 0, 1), (1, 1, 0, 0), (3, 1, 0, 2), (1, 1, 0, 0)]
    assert "was refused" in caplog.text


async def test_items_that_are_refused_only_together_are_quarantined_and_their_neighbours_are_not(
    on: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, {"fire", "water"})
    together, apart = submission("fire", "water"), submission("fire")
    answers = await asyncio.gather(on.writer.submit(together), on.writer.submit(apart))
    assert [result.outcome for result in answers[0]] == ["quarantined", "quarantined"]
    assert answers[1] == [APPLIED]
    assert await on.names() == {"fire"}


async def test_a_mistake_of_a_fold_costs_its_item_and_not_the_writer(
    on: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, {"poison"}, error=KeyError("a mistake of ours"))
    (result,) = await on.writer.submit(submission("poison"))
    assert (result.outcome, result.reason) == ("quarantined", "RunPosted could not be stored: 'a mistake of ours'")
    assert await on.writer.submit(submission("a")) == [APPLIED]


async def test_nothing_is_quarantined_for_a_database_that_goes_away_while_the_culprit_is_looked_for(
    on: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, {"poison"})
    begin = on.database._begin
    calls = 0

    async def begin_unless_third() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:  # The group, then the first item alone, then this one.
            raise Unavailable("gone for a moment")
        await begin()

    monkeypatch.setattr(on.database, "_begin", begin_unless_third)
    answer = await on.writer.submit(submission("a", "poison", "b"))
    assert [result.outcome for result in answer] == ["applied", "quarantined", "applied"]
    assert calls > 3


async def test_another_version_of_the_folds_fails_the_request_and_quarantines_nothing(
    on: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    await on.writer.submit(submission("a"))
    monkeypatch.setattr(projector, "FOLDS_VERSION", projector.FOLDS_VERSION + 1)
    with pytest.raises(FoldVersionMismatch):
        await on.writer.submit(submission("b"))
    assert await on.receipts() == [(1, 1, 0, 0)]


async def test_what_cannot_be_put_in_quarantine_either_fails_and_the_writer_goes_on(
    on: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = on.database.insert

    async def insert_but_no_receipts(table: Any, rows: Sequence[Any]) -> None:
        if table is receipts:
            raise DataRefused("no receipts today")
        await insert(table, rows)

    with monkeypatch.context() as patched:
        patched.setattr(on.database, "insert", insert_but_no_receipts)
        with pytest.raises(DataRefused, match="no receipts today"):
            await on.writer.submit(submission("a"))
    assert await on.writer.submit(submission("b")) == [APPLIED]
    assert await on.names() == {"b"}


# --- patience ---------------------------------------------------------------------------------------------------------


async def test_a_short_outage_is_waited_out_and_nothing_is_kept_twice(
    on: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(on.database, "_begin", failing(on.database._begin, 1, Unavailable("down")))
    answers = await asyncio.gather(*(on.writer.submit(submission(name)) for name in "abc"))
    assert answers == [[APPLIED]] * 3
    assert await on.receipts() == [(1, 1, 0, 0)] * 3
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == ["the database does not take writes: down"]


async def test_a_long_outage_ends_a_requests_patience_and_nothing_of_it_is_kept(
    on: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(on.writer, "_patience_s", 0.4)
        patched.setattr(on.database, "_begin", failing(on.database._begin, float("inf"), Unavailable("down")))
        with pytest.raises(Unavailable):
            await on.writer.submit(submission("a"))
    again = submission("b")
    assert await on.writer.submit(again) == [APPLIED]
    assert await on.names() == {"b"}
    assert await on.receipts() == [(1, 1, 0, 0)]


async def test_a_request_whose_client_gave_up_is_dropped_from_the_queue(
    on: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, opened = on.database._begin, asyncio.Event()

    async def begin_when_opened() -> None:
        await opened.wait()
        await begin()

    monkeypatch.setattr(on.database, "_begin", begin_when_opened)
    first, given_up, third = (asyncio.create_task(on.writer.submit(submission(name))) for name in ("a", "b", "c"))
    await asyncio.sleep(0.01)  # The first three are one group by now, and it waits for its transaction.
    late, given_up_late = (asyncio.create_task(on.writer.submit(submission(name))) for name in ("d", "e"))
    await asyncio.sleep(0.01)
    given_up_late.cancel()
    opened.set()
    assert [await first, await given_up, await third, await late] == [[APPLIED]] * 4
    with pytest.raises(asyncio.CancelledError):
        await given_up_late
    assert await on.names() == {"a", "b", "c", "d"}
    assert len(await on.receipts()) == 4


async def test_stopping_commits_what_waits_and_takes_nothing_more(database_url: str) -> None:
    async with harness(database_url) as on:
        waiting = [asyncio.create_task(on.writer.submit(submission(f"a{n}"))) for n in range(20)]
        await asyncio.sleep(0)
    assert [await answer for answer in waiting] == [[APPLIED]] * 20
    with pytest.raises(Unavailable, match="stopping"):
        await on.writer.submit(submission("late"))


async def test_stopping_during_an_outage_does_not_wait_for_its_end(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with harness(database_url) as on:
        monkeypatch.setattr(on.database, "_begin", failing(on.database._begin, float("inf"), Unavailable("down")))
        waiting = asyncio.create_task(on.writer.submit(submission("a")))
        await asyncio.sleep(0.01)
    with pytest.raises(Unavailable):
        await waiting


# --- over HTTP --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def impatient(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    """An application whose writer and memory wait two seconds."""
    monkeypatch.setattr("service.app.IngestWriter", _with_patience(IngestWriter))
    monkeypatch.setattr("service.app.Memory", _with_patience(Memory))
    async with open_store(database_url, max_body_mb=1, ingest_queue_mb=1) as store:
        yield store


def _with_patience(kind: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **more: kind(*args, **more, patience_s=PATIENCE_S)


async def test_a_database_that_is_gone_is_a_503_that_says_when_to_send_again(
    impatient: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run()
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/runs/batch", {"post": [run]}),
        ("POST", "/runs", run),
        ("PATCH", f"/runs/{run['id']}", {"tags": ["a"]}),
        ("POST", "/feedback", {"key": "k"}),
    ]
    database = impatient.app.state.intake.writer._writer
    with monkeypatch.context() as patched:
        patched.setattr(database, "_begin", failing(database._begin, float("inf"), Unavailable("down")))
        sent = (impatient.client.request(method, path, json=body) for method, path, body in requests)
        answers = await asyncio.gather(*sent)
        assert [(answer.status_code, answer.headers["retry-after"]) for answer in answers] == [(503, "10")] * 4
        multipart = await impatient.send_parts((f"post.{run['id']}", orjson.dumps(run)))
        assert (multipart.status_code, multipart.headers["retry-after"]) == (503, "10")
    for method, path, body in requests:
        assert (await impatient.client.request(method, path, json=body)).status_code in (200, 202)
    assert (await impatient.run(run["id"]))["version"] == 2
    assert await impatient.receipts() == [(1, 1, 0, 0), (1, 0, 1, 0), (1, 1, 0, 0), (1, 1, 0, 0)]


async def test_a_queue_that_is_full_is_a_503_and_empties_again(impatient: Store) -> None:
    memory = impatient.app.state.intake.memory
    with memory.hold() as other:
        await other.grow_to(2**20)
        answer = await impatient.client.post("/runs", json=a_run())
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
        assert "INGEST_QUEUE_MB" in answer.json()["detail"]
        assert memory.bytes_held == 2**20
    assert (await impatient.client.post("/runs", json=a_run())).status_code == 202
    assert memory.bytes_held == 0
    assert len(await impatient.receipts()) == 1


async def test_bodies_that_do_not_fit_in_memory_together_are_each_taken_or_told_to_come_again(impatient: Store) -> None:
    body = orjson.dumps({"post": [a_run(inputs="x" * 900_000)]})
    answers = await asyncio.gather(*(impatient.client.post("/runs/batch", content=body) for _ in range(3)))
    assert {answer.status_code for answer in answers} <= {200, 503}
    assert (await impatient.client.post("/runs/batch", content=body)).status_code == 200
    assert impatient.app.state.intake.memory.bytes_held == 0
