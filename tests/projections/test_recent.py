"""Rows that are kept in memory between transactions, while projects are renamed and deleted and runs go on."""

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from sqlalchemy import select

from events.kinds import RunShared, RunUnshared, share_payload, share_stream
from projections import names, projects, stats
from projections.naming import project_names
from projections.projects import Project
from projections.rebuild import EVERYTHING
from projections.rebuilds import Order
from projections.runs import as_row
from service.ingest.items import PATCH, POST
from tests.databases import Databases
from tests.examples import examples
from tests.projections.histories import Write
from tests.projections.rebuilding import Batch, Change, Erasure, Happening, Revert, Word, rebuilt, told
from tests.projections.stores import Store, in_store, run_id

DRY_RUN = Order(projections=EVERYTHING.projections, is_dry_run=True)
NUMBERS = st.integers(1, 3)
NAMES = st.sampled_from(["one", "two", "default"])


def _write(operation: str) -> SearchStrategy[Write]:
    project = st.fixed_dictionaries({}, optional={"session_name": NAMES.map(lambda name: f'"{name}"'.encode())})
    needed = {"name": b'"a"', "run_type": b'"chain"', "start_time": b'"2025-12-31T08:00:00Z"'}
    ended = {"end_time": b'"2025-12-31T08:00:09Z"', "error": b'"it broke"'}
    more = needed if operation == POST else ended
    return st.builds(Write, st.just(operation), NUMBERS, project.map(lambda said: more | said))


def _share(number: int) -> SearchStrategy[Word]:
    run, token = run_id(number), run_id(800 + number)
    shared = Word(share_stream(run), share_payload(token), RunShared(run, token))
    return st.sampled_from([shared, Word(share_stream(run), b"{}", RunUnshared(run))])


posts, patches = ((st.builds(lambda *some: Batch(some), _write(kind))) for kind in (POST, PATCH))
changes = st.builds(Change, NAMES, st.sampled_from(["create", "delete", "one", "two", "three"]))
happenings: SearchStrategy[Happening] = st.one_of(
    posts, posts, patches, changes, changes, NUMBERS.flatmap(_share), st.builds(Revert, NUMBERS, st.integers(1, 2)),
    st.builds(Erasure, NUMBERS),
)  # fmt: skip


def _kept(store: Store) -> Any:
    (recent,) = store.writer.kept.values()
    return recent


async def _stored(store: Store) -> tuple[dict[Any, Any], ...]:
    """Everything of which rows may be kept, by key."""
    rows = await store.query(select(stats.stats))
    cells = {stats.Key(*row[:5]): tuple(row)[5:] for row in rows}
    columns = (names.names.c.shard, names.names.c.project_id, names.names.c.name, names.names.c.roots)
    named = {tuple(row)[:3]: row[3] for row in await store.query(select(*columns))}
    found = [Project(*tuple(row)[1:]) for row in await store.query(select(projects.projects))]
    runs = {id_: as_row(state) for id_, state in (await store.runs()).items()}
    return runs, cells, named, {project.id: project for project in found}


async def _stale(store: Store) -> list[str]:
    """Which kept rows are not as they are stored."""
    kept = _kept(store)
    runs, cells, named, described = await _stored(store)
    given = bool(await store.query(select(project_names.c.position).limit(1)))
    stale = [f"run {id_.hex()}" for id_, state in kept.runs.items() if runs.get(id_) != as_row(state)]
    stale += [f"cell {key}" for key, cell in kept.cells.items() if cells.get(key) != stats.as_row(key, cell)[5:]]
    stale += [f"name {key}" for key, count in kept.names.items() if named.get(key) != count]
    stale += [f"project {project}" for id_, project in kept.projects.items() if described.get(id_) != project]
    return stale + ["whether names are changed"] * (kept.is_naming_changed not in (None, given))


def _is_told(databases: Databases, history: Sequence[Happening]) -> None:
    """After each happening no row that is kept is stale, and in the end the read models are as a rebuild makes them."""

    async def used(store: Store) -> None:
        for happening in history:
            await happening.happen(store)
            if store.writer.kept:
                assert await _stale(store) == []
        url = store.engine.url.render_as_string(hide_password=False)
        result = await rebuilt(url, DRY_RUN)
        assert (result.outcome, told(result.differences)) == ("equal", "")

    in_store(databases, used)


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(happenings, min_size=2, max_size=16))
def test_kept_rows_are_as_stored_and_as_rebuilt_while_projects_change(
    databases: Callable[[str], Databases], history: list[Happening]
) -> None:
    _is_told(databases("sqlite"), history)


@settings(max_examples=examples(5), suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(happenings, min_size=2, max_size=16))
def test_rows_on_postgresql_are_as_rebuilt_while_projects_change(
    databases: Callable[[str], Databases], history: list[Happening]
) -> None:
    _is_told(databases("postgresql"), history)


def test_rows_are_kept_from_one_transaction_to_the_next_where_nobody_else_writes(
    databases: Callable[[str], Databases],
) -> None:
    async def used(store: Store) -> None:
        started = {"name": b'"a"', "run_type": b'"chain"', "start_time": b'"2025-12-31T08:00:00Z"'}
        await Batch((Write(POST, 1, started | {"session_name": b'"one"'}),)).happen(store)
        kept = _kept(store)
        await Change("one", "two").happen(store)
        await Batch((Write(PATCH, 1, {"session_name": b'"one"'}),)).happen(store)
        assert _kept(store) is kept
        assert [project.name for project in kept.projects.values()] == ["two"]
        assert kept.is_naming_changed

    in_store(databases("sqlite"), used)
