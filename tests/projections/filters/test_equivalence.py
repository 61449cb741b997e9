"""Every filter finds the runs that a slow and simple reading of it finds (invariants of issue 5)."""

from collections.abc import Callable

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from events.ids import format_id
from projections import queries
from projections.filters import reading
from projections.filters.conditions import EVERYTHING
from projections.queries import RunQuery
from tests.databases import Databases
from tests.examples import examples
from tests.projections.filters.populations import filters, items_of, populations, text_of
from tests.projections.filters.reference import Filter, Sent, World
from tests.projections.stores import Store, flat, in_store

# Without shrinking: each of its thousand tries makes a database.
stored = settings(
    phases=(Phase.generate,),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
asked = st.lists(filters, min_size=1, max_size=12)


def finds_what_the_reference_finds(databases: Databases, sent: list[Sent], asked: list[Filter]) -> None:
    world = World(sent)

    async def use(store: Store) -> None:
        await store.append(*flat(map(items_of, sent)))
        for filter_ in asked:
            text = text_of(filter_)
            found = await find(store, RunQuery(condition=reading.read(text)))
            assert found == {run.id for run in sent if world.holds(filter_, run)}, text

    in_store(databases, use)


async def find(store: Store, query: RunQuery) -> set[str]:
    async with store.engine.connect() as connection:
        page = await queries.find(connection, query, limit=100)
    assert page.next is None
    return {format_id(run.id) for run in page.runs}


@settings(stored, max_examples=examples(40))
@given(populations(), asked)
def test_a_filter_finds_what_the_reference_finds(
    databases: Callable[[str], Databases], sent: list[Sent], asked: list[Filter]
) -> None:
    finds_what_the_reference_finds(databases("sqlite"), sent, asked)


@settings(stored, max_examples=examples(12))
@given(populations(), asked)
def test_a_filter_on_postgresql_finds_what_the_reference_finds(
    databases: Callable[[str], Databases], sent: list[Sent], asked: list[Filter]
) -> None:
    finds_what_the_reference_finds(databases("postgresql"), sent, asked)


def finds_by_the_whole_trace(databases: Databases, sent: list[Sent], asked: list[Filter]) -> None:
    world = World(sent)

    async def use(store: Store) -> None:
        await store.append(*flat(map(items_of, sent)))
        for filter_ in asked:
            condition = reading.read(text_of(filter_))
            of_root = await find(store, RunQuery(condition=EVERYTHING, trace_condition=condition))
            assert of_root == {run.id for run in sent if world.holds(filter_, world.root(run))}
            of_any = await find(store, RunQuery(condition=EVERYTHING, tree_condition=condition))
            assert of_any == {run.id for run in sent if any(world.holds(filter_, one) for one in world.trace(run))}

    in_store(databases, use)


@settings(stored, max_examples=examples(16))
@given(populations(), asked)
def test_filters_of_traces_look_at_the_root_or_at_any_run(
    databases: Callable[[str], Databases], sent: list[Sent], asked: list[Filter]
) -> None:
    finds_by_the_whole_trace(databases("sqlite"), sent, asked)


@settings(stored, max_examples=examples(6))
@given(populations(), asked)
def test_filters_of_traces_on_postgresql_look_at_the_root_or_at_any_run(
    databases: Callable[[str], Databases], sent: list[Sent], asked: list[Filter]
) -> None:
    finds_by_the_whole_trace(databases("postgresql"), sent, asked)
