"""Reading as of a position against a fresh store that was told no more than that."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import log
from events.dialect import Writer, open_engine, open_writer
from events.ids import format_id, parse_id
from events.kinds import RunReverted, revert_payload, run_stream
from events.log import NewEvent, Submission, read_stream, seal
from events.positions import last_position
from events.receipts import Origin
from projections import asof, attachments, projector, record, traces, trees
from projections.asof import WholeRun, WholeTrace
from projections.reverts import effective
from projections.status import StatusRule
from projections.traces import Outline
from projections.trees import Edge
from projections.words import project_id_of
from service import rendering
from service.addresses import Addresses
from tests.databases import Databases
from tests.events.histories import attachment, id_text, project_created, run_patched, run_posted

NOW_US = 1_767_225_600_000_000
RULE: Final[StatusRule] = "documented"
RUNS = 8
EVENTS = 40


class FixedAddresses(Addresses):
    """Addresses that do not change with the time at which they are given out."""

    def of_content(self, content_hash: bytes, *, media_type: str, name: str) -> str:
        return f"{content_hash.hex()}/{media_type}/{name}"


ADDRESSES = FixedAddresses("", None)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Told:
    """A store, and what it was told, by position."""

    writer: Writer
    engine: AsyncEngine

    async def tell(self, groups: Sequence[Sequence[NewEvent]], *, start: int = 0) -> list[tuple[NewEvent, int]]:
        """Append groups of events, each in a transaction, a second apart; what was recorded, with its time."""
        recorded: list[tuple[NewEvent, int]] = []
        for place, group in enumerate(groups, start):
            appended = await self._append([(event, NOW_US + place * 1_000_000) for event in group])
            recorded += appended
        return recorded

    async def retell(self, recorded: Sequence[tuple[NewEvent, int]]) -> None:
        """Append what another store recorded, one by one, by its clock."""
        for one in recorded:
            assert await self._append([one])

    async def _append(self, items: Sequence[tuple[NewEvent, int]]) -> list[tuple[NewEvent, int]]:
        async with self.writer.transaction():
            head = await log.lock_head(self.writer, fold_version=projector.fold_version(RULE))
            now = items[0][1]
            events = [item for item, _ in items]
            appended = await log.append(self.writer, head, [Submission(Origin(endpoint="test"), events)], now=now)
            await projector.apply(self.writer, appended.events, rule=RULE)
        (outcomes,) = appended.outcomes
        return [(event, now) for event, outcome in zip(events, outcomes, strict=True) if outcome == "applied"]


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Told]:
    writer, engine = open_writer(url), open_engine(url)
    try:
        yield Told(writer, engine)
    finally:
        await writer.close()
        await engine.dispose()


def random_history(seed: int) -> list[list[NewEvent]]:
    """Groups of writes to a few runs that are told late, twice, out of order, elsewhere, and taken back."""
    choose = random.Random(seed)
    versions = dict.fromkeys(range(1, RUNS + 1), 0)
    events: list[NewEvent] = []
    for step in range(EVENTS):
        number = choose.randint(1, RUNS)
        if versions[number] and choose.random() < 0.15:
            event = reverted(number, choose.randint(1, versions[number]), reason=str(step))
        elif choose.random() < 0.12:
            event = attachment(number, choose.choice([b"a", b"b"]), name=choose.choice(["one", "two"]))
        elif choose.random() < 0.05:
            event = project_created(1000 + step, f"created {step}")
        else:
            event = some_write(choose, number, step)
        if event.stream[:1] == b"r":
            versions[number] += 1
        events.append(event)
    groups: list[list[NewEvent]] = []
    while events:
        size = choose.choice([1, 1, 1, 2, 5])
        groups.append(events[:size])
        events = events[size:]
    return groups


def some_write(choose: random.Random, number: int, step: int) -> NewEvent:
    others = [other for other in range(1, RUNS + 3) if choose.random() < 0.5] or [number]
    fields: dict[str, Any] = {"id": id_text(number)}
    possible: dict[str, Callable[[], Any]] = {
        "parent_run_id": lambda: choose.choice([id_text(choose.choice(others)), None]),
        "trace_id": lambda: id_text(choose.choice(others)),
        "dotted_order": lambda: dotted_order(choose.choice(others), number),
        "project_name": lambda: choose.choice(["red", "blue"]),
        "session_id": lambda: format_id(project_id_of(choose.choice(["red", "blue"]))),
        "outputs": lambda: choose.choice([{}, {"step": step}, None]),
        "end_time": lambda: f"2026-01-01T00:00:{step:02d}Z",
        "error": lambda: f"error {step}",
        "extra": lambda: {"metadata": {choose.choice("ab"): step, "thread_id": f"thread {step}"}},
        "tags": lambda: [f"tag {step}"],
        "inputs": lambda: {"step": step},
    }
    likely = {"parent_run_id": 0.5, "trace_id": 0.15, "dotted_order": 0.1}
    fields |= {name: make() for name, make in possible.items() if choose.random() < likely.get(name, 0.2)}
    if choose.random() < 0.5:
        return run_patched(fields)
    start = f"2026-01-01T00:00:{choose.randint(0, 59):02d}Z"
    return run_posted({"name": f"run {number}", "run_type": "chain", "start_time": start, **fields})


def dotted_order(root: int, own: int) -> str:
    segments = [f"20260101T000000000000Z{id_text(number)}" for number in (root, own)]
    return segments[1] if root == own else ".".join(segments)


def reverted(number: int, to_version: int, *, reason: str = "a mistake") -> NewEvent:
    run_id = id_of(number)
    payload = revert_payload(to_version, reason)
    return seal("RunReverted", run_stream(run_id), payload, RunReverted(run_id, to_version, reason))


def id_of(number: int) -> bytes:
    id_ = parse_id(id_text(number))
    assert id_ is not None
    return id_


async def answers_at(engine: AsyncEngine, position: int) -> dict[str, Any]:
    """The answers about every run and trace as of a position."""
    async with engine.connect() as connection:
        return {
            **{
                f"run {number}": shown_run(await asof.run_at(connection, id_of(number), position, rule=RULE))
                for number in range(1, RUNS + 3)
            },
            **{
                f"trace {number}": shown_trace(
                    id_of(number), await asof.trace_at(connection, id_of(number), position, rule=RULE)
                )
                for number in range(1, RUNS + 3)
            },
        }


async def answers_now(engine: AsyncEngine) -> dict[str, Any]:
    """The same about now, as they are given without asking for another moment."""
    async with engine.connect() as connection:
        return {
            **{f"run {number}": shown_run(await run_now(connection, id_of(number))) for number in range(1, RUNS + 3)},
            **{
                f"trace {number}": shown_trace(id_of(number), await trace_now(connection, id_of(number)))
                for number in range(1, RUNS + 3)
            },
        }


async def run_now(connection: AsyncConnection, run_id: bytes) -> WholeRun | None:
    named = await traces.get_run(connection, run_id)
    if named is None:
        return None
    told = record.fold(effective(await read_stream(connection, run_stream(run_id))))
    attached = (await attachments.of_runs(connection, [run_id])).get(run_id, [])
    above = await traces.ancestors(connection, named.run) if asof.needs_above(told) else []
    return WholeRun(named, told, attached, above)


async def trace_now(connection: AsyncConnection, id_: bytes) -> WholeTrace | None:
    trace_id = await traces.find_trace_of(connection, id_)
    return None if trace_id is None else WholeTrace(trace_id, await traces.runs_of_trace(connection, trace_id))


def shown_run(found: WholeRun | None) -> Any:
    if found is None:
        return None
    body = rendering.run(
        found.named, found.record, found.attachments, found.above, ADDRESSES, words="documented", more={}
    )
    return orjson.loads(body)


def shown_trace(id_: bytes, found: WholeTrace | None) -> Any:
    if found is None:
        return None
    tree = trees.build([edge(run) for run in found.runs], found.id)
    return orjson.loads(rendering.hierarchy(trees.subtree(tree, id_) or tree))


def edge(run: Outline) -> Edge[Outline]:
    return Edge(run.id, run.parent_run_id, run.start_time, run)


HISTORIES = {"sqlite": range(15), "postgresql": range(100, 105)}


@pytest.mark.parametrize("part", range(5))
def test_as_of_any_position_equals_a_fresh_store_that_was_told_that_much(
    database: str, databases: Callable[[str], Databases], part: int
) -> None:
    of_system = databases(database)
    for seed in HISTORIES[database][part::5]:
        url, fresh_url = of_system.migrated(), of_system.migrated()
        asyncio.run(compare_with_fresh(url, fresh_url, seed))
        of_system.drop(url)
        of_system.drop(fresh_url)


async def compare_with_fresh(url: str, fresh_url: str, seed: int) -> None:
    async with opened(url) as told, opened(fresh_url) as fresh:
        recorded = await told.tell(random_history(seed))
        positions = sorted(random.Random(seed).sample(range(1, len(recorded) + 1), 4))
        for done, position in itertools.pairwise([0, *positions]):
            await fresh.retell(recorded[done:position])
            expected = await answers_now(fresh.engine)
            found = await answers_at(told.engine, position)
            for what in expected:
                assert found[what] == expected[what], (seed, position, what)
        assert await answers_at(told.engine, len(recorded)) == await answers_now(told.engine)


# --- one by one -------------------------------------------------------------------------------------------------------


async def ids_in_trace(told: Told, number: int, position: int) -> set[bytes] | None:
    async with told.engine.connect() as connection:
        found = await asof.trace_at(connection, id_of(number), position, rule=RULE)
    return None if found is None else {run.id for run in found.runs}


def ids_of(*numbers: int) -> set[bytes]:
    return {id_of(number) for number in numbers}


def a_run(number: int, **fields: Any) -> NewEvent:
    return run_posted(
        {"id": id_text(number), "name": "run", "run_type": "chain", "start_time": "2026-01-01T00:00:00Z", **fields}
    )


def a_patch(number: int, **fields: Any) -> NewEvent:
    return run_patched({"id": id_text(number), **fields})


async def test_a_subtree_that_moved_elsewhere_is_found_where_it_was(database_url: str) -> None:
    async with opened(database_url) as told:
        below = [a_run(number, parent_run_id=id_text(number - 1)) for number in range(2, 6)]
        await told.tell([[a_run(1), *below], [a_patch(2, trace_id=id_text(9))]])
        assert await ids_in_trace(told, 1, 5) == ids_of(1, 2, 3, 4, 5)
        assert await ids_in_trace(told, 4, 5) == ids_of(1, 2, 3, 4, 5)
        assert await ids_in_trace(told, 9, 5) is None
        assert await ids_in_trace(told, 1, 6) == ids_of(1)
        assert await ids_in_trace(told, 9, 6) == ids_of(2, 3, 4, 5)


async def test_a_run_that_was_said_to_be_elsewhere_for_a_moment_is_found_there(database_url: str) -> None:
    async with opened(database_url) as told:
        moves = [a_patch(1, trace_id=id_text(number)) for number in (7, 8, 9)]
        await told.tell([[a_run(1), *moves]])
        for position, trace in ((2, 7), (3, 8), (4, 9)):
            assert await ids_in_trace(told, trace, position) == ids_of(1)
        assert await ids_in_trace(told, 8, 4) is None


async def test_a_run_that_was_taken_back_whole_is_found_as_it_was(database_url: str) -> None:
    async with opened(database_url) as told:
        await told.tell([[attachment(2, b"x")], [a_run(1), a_run(2, parent_run_id=id_text(1))], [reverted(2, 1)]])
        assert await ids_in_trace(told, 1, 3) == ids_of(1, 2)
        assert await ids_in_trace(told, 2, 4) is None
        assert await answers_at(told.engine, 4) == await answers_now(told.engine)


async def test_attachments_that_count_come_back_with_a_run_that_was_taken_back_whole(database_url: str) -> None:
    async with opened(database_url) as told:
        await told.tell([[attachment(1, b"x")], [a_run(1)], [reverted(1, 1)], [a_patch(1, tags=["back"])]])
        async with told.engine.connect() as connection:
            now = await run_now(connection, id_of(1))
            then = await asof.run_at(connection, id_of(1), 4, rule=RULE)
        assert now is not None
        assert [attached.name for attached in now.attachments] == ["file"]
        assert shown_run(now) == shown_run(then)


async def test_a_missing_parent_is_missing_until_it_comes(database_url: str) -> None:
    async with opened(database_url) as told:
        await told.tell([[a_run(2, parent_run_id=id_text(1))], [a_run(1)]])
        async with told.engine.connect() as connection:
            for id_ in ids_of(1, 2):
                before = await asof.trace_at(connection, id_, 1, rule=RULE)
                assert before is not None
                assert (before.id, {run.id for run in before.runs}) == (id_of(1), ids_of(2))


async def test_a_trace_of_ten_thousand_levels_is_read_as_it_was(database_url: str) -> None:
    levels = 10_000
    chain = [a_run(1), *(a_run(number, parent_run_id=id_text(number - 1)) for number in range(2, levels + 1))]
    async with opened(database_url) as told:
        await told.tell([chain[start : start + 1000] for start in range(0, levels, 1000)])
        await told.tell([[a_patch(1, tags=["later"])]], start=1000)
        async with told.engine.connect() as connection:
            found = await asof.trace_at(connection, id_of(levels), levels, rule=RULE)
    assert found is not None
    assert (found.id, len(found.runs)) == (id_of(1), levels)
    assert trees.build([edge(run) for run in found.runs], found.id).max_depth == levels


async def test_a_project_that_a_run_names_by_its_id_has_the_name_that_others_gave_it_then(database_url: str) -> None:
    red = {"session_id": format_id(project_id_of("red"))}
    async with opened(database_url) as told:
        await told.tell(
            [
                [a_run(1, **red)],
                [a_run(2, project_name="red")],
                [a_patch(2, project_name="blue")],
                [a_run(3), a_patch(3, project_name="red")],
                [a_patch(3, **red)],
            ]
        )
        async with told.engine.connect() as connection:
            found = [await asof.run_at(connection, id_of(1), position, rule=RULE) for position in range(1, 7)]
    unnamed = red["session_id"]
    names = [run.named.project_name for run in found if run is not None]
    assert names == [unnamed, "red", unnamed, unnamed, "red", unnamed]


async def test_the_last_position_of_a_time_is_that_of_the_last_event_recorded_by_then(database_url: str) -> None:
    async with opened(database_url) as told:
        async with told.engine.connect() as connection:
            assert await last_position(connection) == await last_position(connection, recorded_by=NOW_US) == 0
        await told.tell([[a_run(number + 10 * group) for number in range(group + 1)] for group in range(8)])
        ends = list(itertools.accumulate(range(1, 9)))
        async with told.engine.connect() as connection:
            assert await last_position(connection) == ends[-1]
            assert await last_position(connection, recorded_by=NOW_US - 1) == 0
            for group, end in enumerate(ends):
                for late_us in (0, 999_999):
                    at = NOW_US + group * 1_000_000 + late_us
                    assert await last_position(connection, recorded_by=at) == end
