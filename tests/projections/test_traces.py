"""The list of traces and the runs of one: filters, pages, order, and the indexes that answer."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from sqlalchemy import event

from events.times import parse_time
from projections import projects, traces
from projections.status import status_filter
from projections.traces import Filters, Place
from projections.words import project_id_of
from tests.projections.stores import START, Store, id_text, opened, patched, posted, run_id

EVERYTHING = Filters()


async def numbers_of(store: Store, filters: Filters = EVERYTHING, *, limit: int = 100, offset: int = 0) -> list[int]:
    """The numbers of the root runs on a page; `count_roots` is checked against all that there are."""
    async with store.engine.connect() as connection:
        page = await traces.find_roots(connection, filters, limit=limit, offset=offset)
        everything = await traces.find_roots(connection, filters, limit=10_000, offset=0)
        assert await traces.count_roots(connection, filters) == len(everything)
    return [int.from_bytes(named.run.id) for named in page]


def us(text: str) -> int:
    time = parse_time(text)
    assert time is not None
    return time


def at(hour: int) -> str:
    return f"2025-12-31T{hour:02d}:00:00Z"


# --- filters ----------------------------------------------------------------------------------------------------------


async def test_only_root_runs_are_listed_the_newest_first(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(
            posted(1, start_time=at(1)), posted(2, start_time=at(3)), posted(3, start_time=at(2)),
            posted(4, parent_run_id=id_text(1), start_time=at(9)),
        )  # fmt: skip
        assert await numbers_of(store) == [2, 3, 1]


async def test_a_project_filter_leaves_that_project(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1, session_name="one"), posted(2, project_name="two"), posted(3))
        for name, numbers in {"one": [1], "two": [2], "default": [3], "three": []}.items():
            async with store.engine.connect() as connection:
                ids = await projects.ids_of(connection, [name])
            assert await numbers_of(store, Filters(project_ids=ids)) == numbers
        both = [project_id_of("one"), project_id_of("two")]
        assert await numbers_of(store, Filters(project_ids=both)) == [2, 1]


async def test_a_run_that_moved_is_found_in_its_new_project_alone(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1, session_name="one"))
        await store.append(patched(1, session_name="two"))
        assert await numbers_of(store, Filters(project_ids=[project_id_of("one")])) == []
        assert await numbers_of(store, Filters(project_ids=[project_id_of("two")])) == [1]


async def test_a_status_filter_understands_both_vocabularies(database_url: str) -> None:
    words = {"completed": 1, "success": 1, "failed": 2, "error": 2, "ERROR": 2, "running": 3, "pending": 3}
    async with opened(database_url) as store:
        await store.append(
            posted(1, end_time=START, outputs={"a": 1}), posted(2, end_time=START, error="boom"), posted(3)
        )
        for word, number in words.items():
            assert await numbers_of(store, Filters(status=status_filter(word))) == [number]


async def test_both_ends_of_a_time_filter_belong_to_it(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(*(posted(hour, start_time=at(hour)) for hour in range(1, 6)))
        assert await numbers_of(store, Filters(start_from=us(at(2)), start_to=us(at(4)))) == [4, 3, 2]
        assert await numbers_of(store, Filters(start_from=us(at(4)))) == [5, 4]
        assert await numbers_of(store, Filters(start_to=us(at(1)) - 1)) == []


async def test_filters_add_up(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(
            posted(1, session_name="one", name="Plan", start_time=at(1)),
            posted(2, session_name="one", name="Plan", start_time=at(2), end_time=at(3), error="boom"),
            posted(3, session_name="two", name="Plan", start_time=at(2)),
            posted(4, session_name="one", name="Act", start_time=at(2)),
        )
        filters = Filters(
            project_ids=[project_id_of("one")], status="running", search="pl", start_from=us(at(1)), start_to=us(at(2))
        )
        assert await numbers_of(store, filters) == [1]


# --- search -----------------------------------------------------------------------------------------------------------


FOUND = (
    ("planning", "Agent Planning"),
    ("AGENT", "Agent Planning"),
    ("gent Pl", "Agent Planning"),
    ("100%", "100% sure"),
    ("a_b", "a_b"),
    ("a\\b", "a\\b"),
    ("it's", "it's"),
    ('"quoted"', 'say "quoted" now'),
    ("école", "ÉCOLE DES MINES"),
    ("STRASSE", "straße"),
    ("straße", "STRASSE"),
    ("straẞe", "strasse"),
    ("istanbul", "İSTANBUL"),
    ("İstanbul", "istanbul"),
    ("ΟΔΟΣ", "οδός οδος"),
    ("οδος", "ΟΔΟΣ ΑΘΗΝΑΣ"),
    ("بحث", "وكيل بحث"),
    ("搜索", "代理搜索"),
    ("🦜", "🦜 chain"),
    ("a\u0000b", "xa\u0000by"),
    (" ", "two words"),
)
MISSED = (
    ("%", "100"),
    ("_", "ab"),
    ("a_c", "abc"),
    ("\\", "a/b"),
    ("a%c", "abc"),
    ("\u0131", "i"),
    ("/", "a"),
    ("*", "a"),
    ("[a]", "a"),
)


async def searched(store: Store, cases: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the cases whose search finds a run of their name, each run in a project of its own."""
    await store.append(*(posted(n, name=name, session_name=str(n)) for n, (_, name) in enumerate(cases, 1)))
    return [
        case
        for number, case in enumerate(cases, 1)
        if await numbers_of(store, Filters(search=case[0], project_ids=[project_id_of(str(number))])) == [number]
    ]


async def test_a_search_finds_a_piece_of_a_name_in_any_case(database_url: str) -> None:
    async with opened(database_url) as store:
        assert await searched(store, FOUND) == list(FOUND)


async def test_a_search_takes_every_character_for_itself(database_url: str) -> None:
    async with opened(database_url) as store:
        assert await searched(store, MISSED) == []


async def test_a_search_finds_names_that_are_there_now(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1, name="before"), posted(2, name="before"))
        await store.append(patched(1, name="after"))
        assert await numbers_of(store, Filters(search="before")) == [2]
        assert await numbers_of(store, Filters(search="after")) == [1]
        assert await numbers_of(store, Filters(search="fore", project_ids=[project_id_of("one")])) == []


@pytest.mark.parametrize("most", [-1, 1, 100])
async def test_a_search_finds_the_same_whether_few_or_many_bear_the_name(
    most: int, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "_SORTED_MAX", most)
    async with opened(database_url) as store:
        for number in range(1, 13):
            fields = {"session_name": "one"} if number % 2 else {}
            ended = {"end_time": at(20), "outputs": {"a": 1}} if number % 3 else {}
            await store.append(posted(number, name=f"run {number % 4}", start_time=at(number), **fields, **ended))
        assert await numbers_of(store, Filters(search="RUN"), limit=5, offset=2) == [10, 9, 8, 7, 6]
        assert await numbers_of(store, Filters(search="n 1")) == [9, 5, 1]
        assert await numbers_of(store, Filters(search="n 1", status="running")) == [9]
        assert await numbers_of(store, Filters(search="run", project_ids=[project_id_of("one")], status="running")) == [
            9,
            3,
        ]
        assert await numbers_of(store, Filters(search="run", start_from=us(at(3)), start_to=us(at(4)))) == [4, 3]


async def test_a_search_does_not_find_children(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1, name="root"), posted(2, name="child", parent_run_id=id_text(1)))
        assert await numbers_of(store, Filters(search="child")) == []


# --- pages ------------------------------------------------------------------------------------------------------------


async def test_pages_neither_repeat_nor_skip_runs_that_started_together(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(*(posted(number, start_time=at(number % 3)) for number in range(1, 31)))
        everything = await numbers_of(store)
        assert everything == sorted(range(1, 31), key=lambda number: (number % 3, number), reverse=True)
        pages = [await numbers_of(store, limit=7, offset=offset) for offset in range(0, 42, 7)]
        assert [number for page in pages for number in page] == everything
        assert [len(page) for page in pages] == [7, 7, 7, 7, 2, 0]


async def test_a_trace_whose_root_never_came_is_listed_and_marked(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(2, name="orphan", parent_run_id=id_text(1)), posted(3, start_time=at(1)))
        async with store.engine.connect() as connection:
            page = await traces.find_roots(connection, EVERYTHING, limit=10, offset=0)
            assert await traces.count_roots(connection, EVERYTHING) == 2
            assert await traces.get_run(connection, run_id(1)) is None
            assert await traces.find_trace_of(connection, run_id(1)) == run_id(1)
        assert [(named.run.is_placeholder, named.run.name, named.project_name) for named in page] == [
            (1, "orphan", "default"),
            (0, "a run", "default"),
        ]


# --- one trace --------------------------------------------------------------------------------------------------------


async def test_the_runs_of_a_trace_are_those_that_are_in_it(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1), posted(2, parent_run_id=id_text(1)), posted(3))
        assert {run.id for run in await store.trace(run_id(1))} == {run_id(1), run_id(2)}
        assert await store.trace(run_id(9)) == []
        async with store.engine.connect() as connection:
            assert await traces.find_trace_of(connection, run_id(2)) == run_id(1)
            assert await traces.find_trace_of(connection, run_id(9)) is None


async def test_ancestors_end_at_the_root_at_a_missing_parent_and_where_a_cycle_closes(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1), *(posted(n, parent_run_id=id_text(n - 1)) for n in (2, 3)))
        await store.append(posted(5, parent_run_id=id_text(4)), posted(6, parent_run_id=id_text(5)))
        await store.append(posted(7, parent_run_id=id_text(8)), posted(8, parent_run_id=id_text(7)))
        states = await store.runs()
        async with store.engine.connect() as connection:
            above = {
                number: [int.from_bytes(run.id) for run in await traces.ancestors(connection, states[run_id(number)])]
                for number in (1, 3, 6, 7)
            }
        assert above == {1: [], 3: [2, 1], 6: [5], 7: [8]}


# --- plans ------------------------------------------------------------------------------------------------------------


async def plan_of(store: Store, statements: Iterable[Any]) -> str:
    """What SQLite says about how it runs the statements that a query sent."""
    plans: list[str] = []
    async with store.engine.connect() as connection:
        for statement, parameters in statements:
            result = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[-1] for row in result)
    return "\n".join(plans)


def statements_of(store: Store) -> list[Any]:
    """A list that every query sent from now on is added to."""
    sent: list[Any] = []

    @event.listens_for(store.engine.sync_engine, "before_cursor_execute")
    def note(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if statement.startswith(("SELECT", "WITH")):
            sent.append((statement, parameters))

    return sent


ONE = project_id_of("one")


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        (EVERYTHING, "roots_start"),
        (Filters(start_from=1, start_to=2), "roots_start"),
        (Filters(project_ids=[ONE]), "roots_project"),
        (Filters(project_ids=[ONE], start_from=1), "roots_project"),
        (Filters(status="running"), "roots_status"),
        (Filters(project_ids=[ONE], status="running"), "roots_project_status"),
    ],
)
async def test_a_page_of_roots_comes_from_a_partial_index(filters: Filters, index: str, sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        sent = statements_of(store)
        async with store.engine.connect() as connection:
            await traces.find_roots(connection, filters, limit=50, offset=0)
        plan = await plan_of(store, sent)
        ids, _, whole_rows = plan.partition("SCAN page")
        assert f"SEARCH runs USING INDEX {index} (" in ids
        assert "SEARCH runs USING INDEX sqlite_autoindex_runs_1 (shard=? AND id=?)" in whole_rows
        assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("filters", [EVERYTHING, Filters(project_ids=[ONE], status="running")])
async def test_a_page_after_a_place_begins_there_in_the_index(filters: Filters, sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        sent = statements_of(store)
        async with store.engine.connect() as connection:
            await traces.find_roots(connection, filters, limit=50, offset=0, after=Place(1, run_id(1)))
        plan = await plan_of(store, sent)
        assert "(start_time,id)<(?,?))" in plan
        assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("filters", [Filters(search="x"), Filters(search="x", project_ids=[ONE], status="running")])
async def test_a_search_begins_with_the_names_when_few_bear_them(filters: Filters, sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        sent = statements_of(store)
        async with store.engine.connect() as connection:
            await traces.find_roots(connection, filters, limit=50, offset=0)
            await traces.count_roots(connection, filters)
        plan = await plan_of(store, sent)
        assert "SEARCH runs USING INDEX roots_name (shard=? AND name=?)" in plan
        by_id = plan.count("sqlite_autoindex_runs_1 (shard=? AND id=?)")
        assert plan.count("SEARCH runs") == plan.count("roots_name") + by_id


async def test_a_search_goes_by_start_when_many_bear_the_names(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "_SORTED_MAX", -1)
    async with opened(sqlite_url) as store:
        sent = statements_of(store)
        async with store.engine.connect() as connection:
            await traces.find_roots(connection, Filters(search="x"), limit=50, offset=0)
        assert "SEARCH runs USING INDEX roots_start (shard=?)" in await plan_of(store, sent)


async def test_the_runs_of_a_trace_come_from_its_index(sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        sent = statements_of(store)
        async with store.engine.connect() as connection:
            await traces.runs_of_trace(connection, run_id(1))
            await traces.get_run(connection, run_id(1))
            await traces.find_trace_of(connection, run_id(1))
        plan = await plan_of(store, sent)
        assert "USING INDEX runs_trace (shard=? AND trace_id=?)" in plan
        assert "USING INDEX runs_pk" in plan or "sqlite_autoindex_runs_1 (shard=? AND id=?)" in plan
        assert "SCAN runs" not in plan


async def test_counting_roots_of_a_project_looks_at_no_run(sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        sent = statements_of(store)
        async with store.engine.connect() as connection:
            await traces.count_roots(connection, Filters(project_ids=[ONE], status="running"))
        plan = await plan_of(store, sent)
        assert "stats" in plan
        assert "runs" not in plan.replace("stats", "")
