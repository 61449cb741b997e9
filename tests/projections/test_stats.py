"""The statistics are a recount of the runs after every step (invariant 11), and so are names and projects."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from events.times import format_time
from projections import sketch, stats
from projections.erasure import NoSuchTrace
from projections.names import folded
from projections.names import names as names_table
from projections.projects import projects as projects_table
from projections.reverting import NoSuchRun, NoSuchVersion
from projections.runs import RunState
from projections.stats import DAY_US, HOUR_US, TOTAL, Cell, Key
from projections.words import DEFAULT_PROJECT_ID, project_id_of
from tests.databases import Databases
from tests.examples import examples
from tests.projections.histories import IDS, Write, placing_writes, writes
from tests.projections.stores import NOW, Store, id_text, in_store, opened, patched, posted, run_id
from tests.projections.test_order import stored

HOUR_OF_START = 1_767_182_400_000_000 // HOUR_US


@dataclass(frozen=True)
class Revert:
    number: int
    to_version: int


@dataclass(frozen=True)
class Erase:
    number: int


numbers = st.sampled_from(IDS)
steps = st.one_of(
    writes(numbers, odd=True),
    placing_writes(numbers),
    placing_writes(numbers),
    st.builds(Revert, numbers, st.integers(1, 3)),
    st.builds(Erase, numbers),
)


async def take(store: Store, step: Write | Revert | Erase) -> None:
    with suppress(NoSuchRun, NoSuchVersion, NoSuchTrace):
        match step:
            case Write():
                await store.append(*step.items)
            case Revert():
                await store.revert(run_id(step.number), step.to_version)
            case Erase():
                await store.erase(run_id(step.number))


# --- recounting -------------------------------------------------------------------------------------------------------


def recount(states: Iterable[RunState]) -> dict[Key, Cell]:
    """Every cell, counted from the rows of `runs`."""
    cells: dict[Key, Cell] = {}
    for run in states:
        for hour in (run.start_time // HOUR_US, TOTAL):
            cell = cells.setdefault(Key(0, hour, run.project_id, run.run_type, run.status), Cell.empty())
            counted = counts_of(run)
            cell.sums = [a + b for a, b in zip(cell.sums, counted, strict=True)]
            if run.end_time is not None and not run.is_placeholder:
                sketch.add(cell.latencies, run.end_time - run.start_time)
            if run.first_token_time is not None:
                sketch.add(cell.first_tokens, run.first_token_time - run.start_time)
    return cells


def counts_of(run: RunState) -> list[int]:
    if run.is_placeholder:
        return [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    ended = run.end_time is not None
    latency = max(0, run.end_time - run.start_time) if run.end_time is not None else 0
    tokens = [run.prompt_tokens or 0, run.completion_tokens or 0, run.total_tokens or 0]
    costs = [run.prompt_cost or 0, run.completion_cost or 0, run.total_cost or 0]
    return [1, run.is_root, int(ended), latency, *tokens, *costs, int(run.langsmith_status == "error")]


async def cells_of(store: Store) -> dict[Key, Cell]:
    rows = await store.query(stats.stats.select())
    return {
        Key(*row[:5]): Cell([*row[5:15], row[16]], *(sketch.unpack(bytes(packed)) for packed in (row[15], row[17])))
        for row in rows
    }


async def check(store: Store) -> None:
    """Compare statistics, names and projects with the rows of `runs`."""
    states = list((await store.runs()).values())
    cells = await cells_of(store)
    assert cells == recount(states)
    assert all(count > 0 for cell in cells.values() for count in cell.latencies.values())
    assert all(min(cell.sums) >= 0 for cell in cells.values())
    assert totals_of_hours(cells) == {key: cell for key, cell in cells.items() if key.hour == TOTAL}
    named = Counter((run.project_id, run.name) for run in states if run.is_root)
    rows = await store.query(names_table.select())
    assert {(bytes(row.project_id), row.name): row.roots for row in rows} == named
    assert all(row.folded == folded(row.name) for row in rows)
    in_projects = Counter(run.project_id for run in states if not run.is_placeholder)
    rows = await store.query(projects_table.select())
    assert {bytes(row.id): row.runs for row in rows} == in_projects


def totals_of_hours(cells: dict[Key, Cell]) -> dict[Key, Cell]:
    totals: dict[Key, Cell] = {}
    for key, cell in cells.items():
        if key.hour != TOTAL:
            total = totals.setdefault(key._replace(hour=TOTAL), Cell.empty())
            total.sums = [a + b for a, b in zip(total.sums, cell.sums, strict=True)]
            total.latencies = sketch.merge([total.latencies, cell.latencies])
            total.first_tokens = sketch.merge([total.first_tokens, cell.first_tokens])
    return totals


@settings(stored, max_examples=examples(40))
@given(st.lists(steps, min_size=1, max_size=10))
def test_after_every_step_the_statistics_are_a_recount(
    databases: Callable[[str], Databases], history: list[Write | Revert | Erase]
) -> None:
    async def used(store: Store) -> None:
        for step in history:
            await take(store, step)
            await check(store)

    in_store(databases("sqlite"), used)


async def test_a_run_that_changes_is_counted_where_it_is_now(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1, run_type="llm", session_name="one"))
        for change in (
            {"session_name": "two"},
            {"run_type": "tool"},
            {"start_time": "2025-12-31T10:00:00Z"},
            {"end_time": "2025-12-31T10:00:01Z", "outputs": {"usage_metadata": {"total_tokens": 3}}},
            {"error": "boom"},
            {"outputs": {"usage_metadata": {"total_tokens": 2}}},
            {"parent_run_id": id_text(2)},
            {"trace_id": id_text(1)},
        ):
            await store.append(patched(1, **change))
            await check(store)
        (key, *_), (cell, *_) = zip(*sorted((await cells_of(store)).items()), strict=True)
        assert key == Key(0, TOTAL, project_id_of("two"), "tool", "failed")
        assert cell.sums == [1, 1, 1, 1_000_000, 0, 0, 2, 0, 0, 0, 1]


async def test_erasing_and_reverting_take_their_counts_along(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1), posted(2, parent_run_id=id_text(1), session_name="one"), posted(3))
        await store.append(patched(2, end_time="2025-12-31T12:00:09Z", outputs={"a": 1}))
        await store.revert(run_id(2), 1)
        await check(store)
        await store.erase(run_id(1))
        await check(store)
        assert set(await cells_of(store)) == {
            Key(0, hour, DEFAULT_PROJECT_ID, "chain", "running") for hour in (HOUR_OF_START, TOTAL)
        }
        await store.erase(run_id(3))
        assert await cells_of(store) == {}


async def test_sums_too_large_for_a_column_cost_no_run(database_url: str) -> None:
    much = {"outputs": {"usage_metadata": {"total_tokens": 2**62 - 1}}, "end_time": "9999-12-31T23:59:59Z"}
    async with opened(database_url) as store:
        for number in range(1, 36):
            await store.append(posted(number, start_time="0001-01-01T00:00:00Z", **much))
        assert len(await store.runs()) == 35
        for number in range(2, 36):
            await store.erase(run_id(number))
        await check(store)


# --- the summary ------------------------------------------------------------------------------------------------------


def slow_summary(states: Iterable[RunState], project_names: dict[bytes, str], now: int) -> dict[str, Any]:
    runs = [run for run in states if not run.is_placeholder]
    return {
        "total_runs": len(runs),
        "total_traces": sum(run.is_root for run in states),
        "recent_runs": sum(now - DAY_US <= run.start_time <= now for run in runs),
        "statuses": Counter(run.status for run in runs),
        "run_types": Counter(run.run_type for run in runs),
        "projects": Counter(project_names[run.project_id] for run in runs),
    }


async def summed_up(store: Store, now: int) -> stats.Summary:
    async with store.engine.connect() as connection:
        return await stats.summary(connection, now=now, projects_max=2)


around = st.sampled_from(
    [0, 1, HOUR_US - 1, HOUR_US, DAY_US // 2, DAY_US - 1, DAY_US, DAY_US + 1, DAY_US + HOUR_US, -1]
)


@settings(stored, max_examples=examples(25))
@given(st.lists(st.tuples(around, st.integers(-2, 2)), max_size=12), st.sampled_from([0, 1, HOUR_US // 2, HOUR_US - 1]))
def test_the_summary_is_what_counting_runs_gives(
    databases: Callable[[str], Databases], starts: list[tuple[int, int]], past_the_hour: int
) -> None:
    now = NOW + past_the_hour

    async def used(store: Store) -> None:
        writes = [
            Write(
                "post",
                number,
                {"name": b'"n"', "run_type": b'"chain"', "start_time": json.dumps(format_time(us)).encode()},
            )
            for number, us in enumerate((now - ago + more for ago, more in starts), 1)
        ]
        await store.append(*(item for write in writes for item in write.items))
        summary = await summed_up(store, now)
        expected = slow_summary((await store.runs()).values(), {DEFAULT_PROJECT_ID: "default"}, now)
        assert {name: getattr(summary, name) for name in expected} == expected

    in_store(databases("sqlite"), used)


async def test_the_summary_names_the_projects_by_their_newest_run(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(
            posted(1, session_name="old", start_time="2025-12-31T01:00:00Z"),
            posted(2, session_name="new", start_time="2025-12-31T03:00:00Z"),
            posted(3, session_name="middle", start_time="2025-12-31T02:00:00Z"),
            posted(4, session_name="old", parent_run_id=id_text(1), start_time="2025-12-31T01:30:00Z"),
        )
        summary = await summed_up(store, NOW)
        assert [(p.name, p.total_runs, p.total_traces) for p in summary.recent_projects] == [
            ("new", 1, 1),
            ("middle", 1, 1),
        ]
        await store.append(patched(4, start_time="2025-12-31T04:00:00Z"))
        assert [(p.name, p.total_runs, p.total_traces) for p in (await summed_up(store, NOW)).recent_projects] == [
            ("old", 2, 1),
            ("new", 1, 1),
        ]


async def test_the_summary_of_an_empty_store_counts_nothing(database_url: str) -> None:
    async with opened(database_url) as store:
        summary = await summed_up(store, NOW)
        assert (summary.total_runs, summary.total_traces, summary.recent_runs) == (0, 0, 0)
        assert (summary.statuses, summary.recent_projects) == ({}, [])


async def test_a_trace_without_a_root_counts_as_a_trace_and_not_as_a_run(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(2, parent_run_id=id_text(1)))
        summary = await summed_up(store, NOW)
        assert (summary.total_runs, summary.total_traces) == (1, 1)
