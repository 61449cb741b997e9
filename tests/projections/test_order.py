"""The order in which writes arrive makes no difference where it should not (invariant 1), nor does their batching."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.databases import Databases
from tests.examples import examples
from tests.projections.histories import IDS, Write, feedback, placing_writes, reordered, writes
from tests.projections.stores import Store, flat, in_store, refolded

Dump = dict[str, list[tuple[Any, ...]]]

numbers = st.sampled_from(IDS)
histories = st.lists(
    st.one_of(writes(numbers, odd=True), writes(numbers, odd=False), feedback(numbers)), min_size=2, max_size=8
)
placings = st.lists(placing_writes(numbers), min_size=2, max_size=12)
sizes = st.lists(st.integers(1, 5), max_size=10)
stored = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def batches(history: Sequence[Write], sizes: Sequence[int]) -> Iterator[Sequence[Write]]:
    """The history in portions of these sizes, the rest one by one."""
    start = 0
    for size in (*sizes, *[1] * len(history)):
        if history[start : start + size]:
            yield history[start : start + size]
        start += size


def arrived(databases: Databases, history: Sequence[Write], sizes: Sequence[int]) -> Dump:
    """The read models after the writes came in this order and in these portions, checked against a fold anew."""

    async def used(store: Store) -> tuple[Dump, Any]:
        for batch in batches(history, sizes):
            await store.append(*flat(write.items for write in batch))
        return await store.dump(), await store.events()

    dump, events = in_store(databases, used)

    async def rebuilt(store: Store) -> Dump:
        await refolded(events, store, sizes[::-1])
        return await store.dump()

    assert in_store(databases, rebuilt) == dump
    return dump


@settings(stored, max_examples=examples(30))
@given(histories, sizes, st.data())
def test_any_arrival_order_ends_in_the_same_read_models(
    databases: Callable[[str], Databases], history: list[Write], sizes: list[int], data: st.DataObject
) -> None:
    other = reordered(history, data.draw(st.permutations(range(len(history)))))
    assert arrived(databases("sqlite"), other, sizes) == arrived(databases("sqlite"), history, [])


@settings(stored, max_examples=examples(40))
@given(placings, sizes, st.data())
def test_traces_are_found_whatever_comes_first(
    databases: Callable[[str], Databases], history: list[Write], sizes: list[int], data: st.DataObject
) -> None:
    other = reordered(history, data.draw(st.permutations(range(len(history)))))
    assert arrived(databases("sqlite"), other, sizes) == arrived(databases("sqlite"), history, [])


@settings(stored, max_examples=examples(5))
@given(histories, sizes, st.data())
def test_postgresql_ends_in_the_same_read_models_as_sqlite(
    databases: Callable[[str], Databases], history: list[Write], sizes: list[int], data: st.DataObject
) -> None:
    other = reordered(history, data.draw(st.permutations(range(len(history)))))
    assert arrived(databases("postgresql"), other, sizes) == arrived(databases("sqlite"), history, [])
