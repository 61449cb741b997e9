"""The index of words finds every run that holds a piece of text, follows the log, and forgets what is erased."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from events.dialect import Writer, open_writer
from projections import fulltext, queries, subjects
from projections import texts as texts_module
from projections.filters.compiling import NoTextIndex
from projections.filters.conditions import SEARCHED, All, AnyOf, Condition, Not, Search
from projections.folding import folded
from projections.queries import RunQuery
from tests.conftest import TRIGRAMS
from tests.databases import Databases
from tests.examples import examples
from tests.projections.stores import Store, in_store, opened, patched, posted, run_id

PIECES = (
    "alpha",
    "Beta gamma",
    "ok",
    "Ölpreis",
    "наёмник",
    "中文全文搜索",
    "بحث في النص",
    "co\\de",
    '"x"',
    "50%",
    "a_b",
)
texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map(" ".join)
documents = st.one_of(
    texts.map(lambda one: {"q": one}),
    texts.map(lambda one: {"messages": [{"content": one}, 7]}),
    texts,
)
runs = st.fixed_dictionaries(
    {"name": texts, "inputs": documents},
    optional={
        "error": texts,
        "tags": st.lists(texts, max_size=2),
        "extra": texts.map(lambda one: {"metadata": {"k": one}}),
    },
)
pieces = st.one_of(
    st.sampled_from(PIECES),
    st.tuples(st.sampled_from(PIECES), st.integers(0, 8), st.integers(1, 6)).map(
        lambda t: t[0][t[1] : t[1] + t[2]] or "a"
    ),
    st.sampled_from(("olpreis", "НАЕМНИК", "文全", "搜", "ALPHA ok", "gamma", "q", "input", "absent")),
)
stored = settings(
    phases=(Phase.generate,),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def index_all(store: Store) -> None:
    """Have the index take in the whole log."""
    assert await fulltext.prepare(store.writer)
    while await fulltext.follow(store.engine, store.writer) == "added":
        pass


async def search(store: Store, piece: str | Condition, **options: Any) -> set[int]:
    """The numbers of the runs that hold a piece, found by way of the index."""
    condition = Search(SEARCHED, piece) if isinstance(piece, str) else piece
    query = RunQuery(condition=condition, **options)
    async with store.engine.connect() as connection:
        index = await fulltext.open_index(connection, (condition,))
        page = await queries.find(connection, query, limit=1000, index=index)
    return {int.from_bytes(run.id) for run in page.runs}


def texts_of(value: Any) -> Iterable[str]:
    match value:
        case dict():
            for key, inner in value.items():
                yield key
                yield from texts_of(inner)
        case list():
            for inner in value:
                yield from texts_of(inner)
        case _:
            yield str(value)


def holds(run: dict[str, Any], piece: str) -> bool:
    told = {**run, "inputs": run["inputs"] if isinstance(run["inputs"], dict) else {"input": run["inputs"]}}
    told |= {"extra": run.get("extra", {}).get("metadata", {}), "run_type": "chain"}
    return any(folded(piece) in folded(one) for value in told.values() for one in texts_of(value))


def finds_what_holds(databases: Databases, told: list[dict[str, Any]], asked: list[str], split: int) -> None:
    async def use(store: Store) -> None:
        await store.append(*(posted(number, **run) for number, run in enumerate(told[:split], 1)))
        await index_all(store)
        await store.append(*(posted(number, **run) for number, run in enumerate(told[split:], split + 1)))
        for piece in asked:
            expected = {number for number, run in enumerate(told, 1) if holds(run, piece)}
            assert await search(store, piece) == expected, piece
        for one, other in itertools.pairwise(asked):
            either = AnyOf((Search(SEARCHED, one), Search(SEARCHED, other)))
            both = All((Search(SEARCHED, one), Search(SEARCHED, other)))
            with_one, with_other = ({n for n, run in enumerate(told, 1) if holds(run, piece)} for piece in (one, other))
            assert await search(store, either) == with_one | with_other, (one, other)
            assert await search(store, both) == with_one & with_other, (one, other)

    in_store(databases, use)


@settings(stored, max_examples=examples(25))
@given(st.lists(runs, min_size=1, max_size=8), st.lists(pieces, min_size=1, max_size=12), st.integers(0, 8))
@pytest.mark.parametrize("few", [0, 4000])
def test_a_search_finds_what_holds_the_text(
    databases: Callable[[str], Databases], few: int, told: list[dict[str, Any]], asked: list[str], split: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fulltext, "_FEW_ENTRIES", few)
        patch.setattr(queries, "_WINDOW_ROWS", 2)
        finds_what_holds(databases("sqlite"), told, asked, split)


@settings(stored, max_examples=examples(8))
@given(st.lists(runs, min_size=1, max_size=8), st.lists(pieces, min_size=1, max_size=12), st.integers(0, 8))
@pytest.mark.parametrize("few", [0, 4000])
def test_a_search_on_postgresql_finds_what_holds_the_text(
    databases: Callable[[str], Databases], few: int, told: list[dict[str, Any]], asked: list[str], split: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fulltext, "_FEW_ENTRIES", few)
        patch.setattr(queries, "_WINDOW_ROWS", 2)
        finds_what_holds(databases(TRIGRAMS), told, asked, split)


# --- following the log ------------------------------------------------------------------------------------------------


@pytest.fixture
async def store(indexable_url: str) -> AsyncIterator[Store]:
    """A store whose database can index words."""
    async with opened(indexable_url) as store:
        yield store


async def entries(store: Store) -> set[tuple[str, int]]:
    """What is indexed: on SQLite each trigram with the positions of its events, on PostgreSQL each text."""
    async with store.engine.connect() as connection:
        if store.engine.dialect.name == "postgresql":
            rows = await connection.execute(text("SELECT text, position FROM full_text"))
        else:
            await connection.execute(text("CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, full_text, instance)"))
            rows = await connection.execute(text("SELECT term, doc FROM temp.terms"))
        return {tuple(row) for row in rows}


async def state(store: Store) -> tuple[int, int]:
    """Up to which position the index has come, and whether removed entries still lie somewhere."""
    (row,) = await store.query(
        "SELECT max(position), max(is_unclean) FROM checkpoints, full_text_state WHERE projection = 'full_text'"
    )
    return row[0], row[1]


async def test_what_is_not_indexed_yet_is_found_by_looking_into_it(store: Store) -> None:
    await store.append(posted(1, name="early bird"))
    await index_all(store)
    await store.append(posted(2, name="late bird"), patched(1, outputs={"a": "owl"}))
    assert await search(store, "bird") == {1, 2}
    assert await search(store, "owl") == {1}


async def test_nothing_is_narrowed_while_the_index_is_far_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.append(posted(1, name="bird"))
    await index_all(store)
    await store.append(posted(2), posted(3))
    monkeypatch.setattr(fulltext, "_LAG_MAX", 1)
    async with store.engine.connect() as connection:
        assert isinstance(await fulltext.open_index(connection, [Search(SEARCHED, "bird")]), NoTextIndex)
    assert await search(store, "bird") == {1}


async def test_only_runs_that_may_hold_the_text_are_looked_into(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.append(*(posted(number, inputs={"q": f"bird {number:03}"}) for number in range(1, 101)))
    await index_all(store)
    looked_into: list[int] = []

    async def count(connection: Any, condition: Any, states: Sequence[Any], **options: Any) -> Any:
        looked_into.append(len(states))
        return await holding(connection, condition, states, **options)

    holding = subjects.holding
    monkeypatch.setattr(subjects, "holding", count)
    assert await search(store, "bird 042") == {42}
    assert sum(looked_into) == 1
    monkeypatch.setattr(fulltext, "_FEW_ENTRIES", 50)
    assert await search(store, "bird 0", start_from=0) == set(range(1, 100))
    assert sum(looked_into) == 1 + 99


async def test_what_is_denied_is_found_all_the_same(store: Store) -> None:
    await store.append(posted(1, name="bird"), posted(2, name="fish"))
    await index_all(store)
    assert await search(store, Not(Search(SEARCHED, "bird"))) == {2}
    assert await search(store, AnyOf((Search(("name",), "bird"), Not(Search(("name",), "bird"))))) == {1, 2}


async def test_each_slice_moves_the_checkpoint_with_its_entries(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fulltext, "_SLICE_EVENTS", 2)
    await store.append(*(posted(number, name=f"bird {number}") for number in range(1, 6)))
    await fulltext.prepare(store.writer)
    assert await fulltext.follow(store.engine, store.writer) == "added"
    assert (await state(store))[0] == 2
    with monkeypatch.context() as patch:
        patch.setattr(type(store.writer), "replace", fail)
        with pytest.raises(ZeroDivisionError):
            await fulltext.follow(store.engine, store.writer)
    assert (await state(store))[0] == 2
    await index_all(store)
    whole = await entries(store)
    assert (await state(store))[0] == 5
    assert await fulltext.prepare(store.writer, anew=True)
    assert await entries(store) == set()
    await index_all(store)
    assert await entries(store) == whole


async def fail(*_: object, **__: object) -> None:
    raise ZeroDivisionError


async def test_large_events_end_a_slice_and_are_always_looked_into(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fulltext, "_SLICE_CHARS", 10)
    monkeypatch.setattr(texts_module, "INDEXED_CHARS_MAX", 500)
    await store.append(posted(1, inputs={"q": "long " * 20}), posted(2, inputs={"q": "bird " + "x" * 500}))
    await fulltext.prepare(store.writer)
    assert await fulltext.follow(store.engine, store.writer) == "added"
    assert (await state(store))[0] == 1
    await index_all(store)
    assert await search(store, "bird") == {2}
    assert await search(store, "long long") == {1}


async def test_of_two_that_follow_at_once_one_enters_each_event(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fulltext, "_SLICE_EVENTS", 3)
    await store.append(*(posted(number, name=f"bird {number}") for number in range(1, 31)))
    await fulltext.prepare(store.writer)
    other = open_writer(store.engine.url.render_as_string(hide_password=False))
    try:

        async def follow(writer: Writer) -> list[str]:
            steps: list[str] = []
            while (step := await fulltext.follow(store.engine, writer)) != "nothing new":
                steps.append(step)
            return steps

        both = await asyncio.gather(follow(store.writer), follow(other))
    finally:
        await other.close()
    assert sum(step == "added" for steps in both for step in steps) == 10
    indexed = await entries(store)
    await fulltext.prepare(store.writer, anew=True)
    await index_all(store)
    assert await entries(store) == indexed


# --- erasing ----------------------------------------------------------------------------------------------------------


async def test_nothing_of_an_erased_trace_is_left_in_the_index(store: Store) -> None:
    await store.append(posted(1, name="kingfisher", error="quokka"), posted(2, name="kestrel"))
    await store.append(patched(1, outputs={"a": "platypus"}))
    await index_all(store)
    await store.erase(run_id(1))
    assert await search(store, "platypus") == set()
    async with store.engine.connect() as connection:
        # On PostgreSQL nothing is left to us: VACUUM does it.
        assert await fulltext.is_unclean(connection) == (connection.dialect.name == "sqlite")
    await fulltext.clean(store.writer)
    async with store.engine.connect() as connection:
        assert not await fulltext.is_unclean(connection)
    await index_all(store)
    assert (await state(store))[1] == 0
    left = await entries(store)
    assert not [
        entry for entry in left for word in ("platypus", "quokka", "fisher") if entry[0] in word or word in entry[0]
    ]
    assert await search(store, "kestrel") == {2}
    await fulltext.prepare(store.writer, anew=True)
    await index_all(store)
    assert await entries(store) == left


async def test_crossed_out_entries_leave_the_file_when_it_is_cleaned(sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        for number in range(1, 30):
            await store.append(posted(number, name="common", inputs={"q": f"{'xyz' * (number == 7)} bird {number}"}))
            await index_all(store)
        await store.erase(run_id(7))
        blocks = "SELECT count(*) FROM full_text_data WHERE instr(block, CAST('xyz' AS BLOB)) > 0"
        assert (await store.query(blocks))[0][0] > 0
        await fulltext.clean(store.writer)
        assert (await store.query(blocks))[0][0] == 0


async def test_an_event_that_is_erased_while_it_is_read_is_not_entered(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.append(posted(1, name="kingfisher"), posted(2, name="kestrel"))
    await fulltext.prepare(store.writer)
    read = fulltext._next_events

    async def read_and_erase(*given: Any) -> Any:
        slice_ = await read(*given)
        async with opened(store.engine.url.render_as_string(hide_password=False)) as other:
            await other.erase(run_id(1))
        return slice_

    with monkeypatch.context() as patch:
        patch.setattr(fulltext, "_next_events", read_and_erase)
        assert await fulltext.follow(store.engine, store.writer) == "elsewhere"
    assert await entries(store) == set()
    await index_all(store)
    assert not [entry for entry in await entries(store) if entry[0] in "kingfisher"]
    assert await search(store, "kestrel") == {2}
