"""Which trace a run is in when nobody said so, and the placeholders of traces without a root."""

from itertools import permutations

import pytest

from events.dialect import Row
from events.log import NewEvent
from projections.runs import RunState
from projections.words import DEFAULT_PROJECT_ID, project_id_of
from service.ingest.items import POST, Item
from service.ingest.run_items import attachment_item
from tests.projections.stores import Store, id_text, opened, patched, posted, refolded, run_id


def child(number: int, parent: int, **fields: object) -> Item:
    """A run that names its parent and no trace, as the SDKs up to 0.0.92 send it."""
    return posted(number, parent_run_id=id_text(parent), **fields)


async def traces_of(store: Store) -> dict[int, int]:
    """The number of the trace of every run that was told of."""
    return {
        int.from_bytes(state.id): int.from_bytes(state.trace_id)
        for state in (await store.runs()).values()
        if not state.is_placeholder
    }


async def roots_of(store: Store) -> set[int]:
    """The numbers of the runs that stand in the list of traces."""
    return {int.from_bytes(state.id) for state in (await store.runs()).values() if state.is_root}


async def placeholder(store: Store, number: int) -> RunState:
    state = (await store.runs())[run_id(number)]
    assert state.is_placeholder
    return state


# --- the trace of a run that names none -------------------------------------------------------------------------------


async def test_a_run_without_parent_and_trace_is_the_root_of_its_own(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1))
        assert await traces_of(store) == {1: 1}
        assert await roots_of(store) == {1}


async def test_a_child_that_comes_after_its_parent_is_in_its_trace(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1))
        await store.append(child(2, 1))
        await store.append(child(3, 2))
        assert await traces_of(store) == {1: 1, 2: 1, 3: 1}
        assert await roots_of(store) == {1}


async def test_a_child_that_comes_first_waits_in_a_trace_that_goes_by_its_parent(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(child(2, 1))
        assert await traces_of(store) == {2: 1}
        assert (await placeholder(store, 1)).is_root
        await store.append(posted(1))
        assert await traces_of(store) == {1: 1, 2: 1}
        assert not (await store.runs())[run_id(1)].is_placeholder


async def test_a_grandchild_that_comes_first_is_brought_in_by_the_runs_between(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(child(3, 2))
        assert await roots_of(store) == {2}
        await store.append(posted(1))
        assert await roots_of(store) == {1, 2}
        await store.append(child(2, 1))
        assert await traces_of(store) == {1: 1, 2: 1, 3: 1}
        assert await roots_of(store) == {1}


async def test_four_generations_in_any_order_are_one_trace(database_url: str) -> None:
    async with opened(database_url) as store:
        for hundred, order in enumerate(permutations([1, 2, 3, 4]), 1):
            one = 100 * hundred + 1
            for number in order:
                await store.append(
                    posted(one) if number == 1 else child(100 * hundred + number, 100 * hundred + number - 1)
                )
            traces = await traces_of(store)
            assert {traces[100 * hundred + number] for number in order} == {one}
            assert len(await roots_of(store)) == hundred


async def test_a_late_parent_moves_a_subtree_of_a_thousand(database_url: str) -> None:
    # A chain of 300, and 700 beside it.
    below = [child(number, number - 1 if number <= 302 else 2) for number in range(3, 1003)]
    async with opened(database_url) as store:
        await store.append(*below)
        assert set((await traces_of(store)).values()) == {2}
        await store.append(posted(1), child(2, 1))
        traces = await traces_of(store)
        assert len(traces) == 1002
        assert set(traces.values()) == {1}
        assert await roots_of(store) == {1}


async def test_a_late_parent_moves_what_came_with_it_and_what_was_there(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(child(4, 3), child(5, 4))
        await store.append(child(6, 5), child(3, 2), child(7, 3))
        assert set((await traces_of(store)).values()) == {2}
        await store.append(child(2, 1))
        assert set((await traces_of(store)).values()) == {1}
        assert await roots_of(store) == {1}


async def test_a_run_that_names_itself_as_parent_is_a_root(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(child(1, 1))
        await store.append(child(2, 1))
        assert await traces_of(store) == {1: 1, 2: 1}
        assert await roots_of(store) == {1}


async def test_a_cycle_of_two_is_named_after_the_smaller_whichever_came_first(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(child(3, 4))
        await store.append(child(4, 3))
        await store.append(child(6, 5))
        await store.append(child(5, 6))
        assert await traces_of(store) == {3: 3, 4: 3, 5: 5, 6: 5}
        assert await roots_of(store) == {3, 5}


async def test_a_cycle_of_three_with_a_run_below_is_named_after_the_smallest_in_any_order(database_url: str) -> None:
    async with opened(database_url) as store:
        for hundred, order in enumerate(permutations([1, 2, 3]), 1):
            one, two, three, below = (100 * hundred + number for number in (1, 2, 3, 4))
            items = {1: child(one, three), 2: child(two, one), 3: child(three, two)}
            await store.append(child(below, two))
            for number in order:
                await store.append(items[number])
            traces = await traces_of(store)
            assert [traces[number] for number in (one, two, three, below)] == [one] * 4
            assert {number for number in await roots_of(store) if number > 100 * hundred} == {one}


@pytest.mark.parametrize("together", [True, False])
async def test_a_cycle_that_a_patch_breaks_is_a_tree_again(together: bool, database_url: str) -> None:
    cycle = [child(2, 4), child(3, 2), child(4, 3)]
    cut = patched(3, parent_run_id=id_text(1))
    async with opened(database_url) as store:
        await store.append(posted(1), *cycle, *([cut] if together else []))
        if not together:
            assert await traces_of(store) == {1: 1, 2: 2, 3: 2, 4: 2}
            await store.append(cut)
        assert await traces_of(store) == {1: 1, 2: 1, 3: 1, 4: 1}
        assert await roots_of(store) == {1}


async def test_a_patch_that_closes_a_cycle_takes_all_below_along(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(5), child(6, 5), child(7, 6), child(8, 7))
        await store.append(patched(5, parent_run_id=id_text(7)))
        assert await traces_of(store) == {5: 5, 6: 5, 7: 5, 8: 5}
        await store.append(patched(6, parent_run_id=id_text(8)))
        assert await traces_of(store) == {5: 6, 6: 6, 7: 6, 8: 6}
        assert await roots_of(store) == {6}


async def test_a_patch_that_names_another_parent_moves_the_subtree(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1), posted(2), child(3, 1), child(4, 3))
        await store.append(patched(3, parent_run_id=id_text(2)))
        assert await traces_of(store) == {1: 1, 2: 2, 3: 2, 4: 2}


async def test_a_patch_that_says_the_trace_moves_the_subtree(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1), child(2, 1), child(3, 2))
        await store.append(patched(2, trace_id=id_text(7)))
        assert await traces_of(store) == {1: 1, 2: 7, 3: 7}
        assert await roots_of(store) == {1, 7}


async def test_a_child_follows_its_parent_into_the_trace_that_it_says(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(child(3, 2))
        await store.append(posted(2, parent_run_id=id_text(1), trace_id=id_text(1)))
        assert await traces_of(store) == {2: 1, 3: 1}
        assert await roots_of(store) == {1}


async def test_a_run_that_says_its_trace_stays_when_its_parent_moves(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(child(3, 2, trace_id=id_text(2)))
        await store.append(child(2, 1))
        assert await traces_of(store) == {2: 1, 3: 2}


async def test_a_dotted_order_says_trace_and_parent(database_url: str) -> None:
    first, second = (f"20251231T1200000000{number:02d}Z{id_text(number)}" for number in (1, 2))
    async with opened(database_url) as store:
        await store.append(patched(2, dotted_order=f"{first}.{second}"))
        (state,) = [state for state in (await store.runs()).values() if not state.is_placeholder]
        assert (state.trace_id, state.parent_run_id) == (run_id(1), run_id(1))
        assert state.start_time == 1_767_182_400_000_002
        assert not state.is_trace_inferred


# --- traces without a root --------------------------------------------------------------------------------------------


async def test_a_placeholder_says_what_the_first_run_says(database_url: str) -> None:
    early, late = "2025-12-31T10:00:00Z", "2025-12-31T11:00:00Z"
    async with opened(database_url) as store:
        await store.append(child(3, 1, start_time=late, name="late", session_name="one"))
        first = await placeholder(store, 1)
        assert (first.name, first.project_id, first.status) == ("late", project_id_of("one"), "running")
        await store.append(child(2, 1, start_time=early, name="early"))
        renewed = await placeholder(store, 1)
        assert (renewed.name, renewed.project_id) == ("early", DEFAULT_PROJECT_ID)
        assert renewed.start_time == first.start_time - 3_600_000_000


async def test_a_placeholder_follows_its_first_run_when_that_changes(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(child(2, 1, session_name="one"))
        await store.append(patched(2, session_name="two", name="renamed"))
        state = await placeholder(store, 1)
        assert (state.name, state.project_id) == ("renamed", project_id_of("two"))


async def test_the_root_that_comes_late_takes_the_placeholders_place(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(child(2, 1, trace_id=id_text(1)))
        assert (await placeholder(store, 1)).is_root
        await store.append(posted(1, name="the root"))
        states = await store.runs()
        assert len(states) == 2
        assert (states[run_id(1)].name, states[run_id(1)].is_placeholder) == ("the root", 0)


async def test_a_placeholder_goes_with_the_last_run_of_its_trace(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(child(2, 1), child(3, 1))
        await store.append(patched(2, trace_id=id_text(2)))
        assert (await placeholder(store, 1)).is_root
        await store.append(patched(3, trace_id=id_text(2)))
        assert set(await store.runs()) == {run_id(2), run_id(3)}


async def test_a_trace_whose_root_is_elsewhere_has_no_placeholder(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(child(2, 1, trace_id=id_text(1)))
        await store.append(posted(1, trace_id=id_text(8)))
        assert await traces_of(store) == {1: 8, 2: 1}
        assert await roots_of(store) == {8}
        assert {state.id for state in await store.trace(run_id(1))} == {run_id(1), run_id(2)}


# --- undone and erased ------------------------------------------------------------------------------------------------


async def test_a_run_that_goes_back_to_its_old_parent_takes_its_subtree_along(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1), posted(2), child(3, 1), child(4, 3))
        await store.append(patched(3, parent_run_id=id_text(2)))
        await store.revert(run_id(3), 1)
        assert await traces_of(store) == {1: 1, 2: 2, 3: 1, 4: 1}
        assert await roots_of(store) == {1, 2}


async def test_a_run_that_goes_back_and_stays_where_it_was_keeps_its_trace(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1), child(2, 1), child(3, 2))
        await store.append(patched(2, name="renamed"))
        await store.revert(run_id(2), 1)
        assert await traces_of(store) == {1: 1, 2: 1, 3: 1}
        assert await roots_of(store) == {1}


async def test_what_is_left_of_a_trace_whose_root_is_undone_goes_by_its_name(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(attachment_item(run_id(2), "a", "text/plain", b"first", POST))
        await store.append(posted(1), child(2, 1), child(3, 2))
        await store.revert(run_id(2), 1)
        assert await traces_of(store) == {1: 1, 3: 2}
        assert await roots_of(store) == {1, 2}
        assert (await placeholder(store, 2)).name == "a run"


async def test_erasing_a_trace_leaves_nothing_of_it(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1), child(2, 1), child(4, 3), posted(5))
        await store.erase(run_id(1))
        await store.erase(run_id(3))
        assert await traces_of(store) == {5: 5}
        assert set(await store.runs()) == {run_id(5)}


# --- what it costs ----------------------------------------------------------------------------------------------------


async def test_that_no_trace_is_inferred_is_seen_without_looking_at_every_run(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(sqlite_url) as store:
        asked: list[tuple[str, tuple[object, ...]]] = []
        fetch = store.writer.fetch

        async def noting(query: str, *values: object) -> list[Row]:
            asked.append((query, values))
            return await fetch(query, *values)

        monkeypatch.setattr(store.writer, "fetch", noting)
        await store.append(posted(1))
        (query, values), *others = [each for each in asked if "is_trace_inferred" in each[0]]
        plan = [row[-1] for row in await fetch(f"EXPLAIN QUERY PLAN {query}", *values)]
        assert plan == ["SEARCH runs USING INDEX runs_inferred (shard=? AND parent_run_id>?)"]
        assert not others


# --- rebuilt = live ---------------------------------------------------------------------------------------------------


async def test_folding_again_in_other_portions_gives_the_same(database_url: str, other_database_url: str) -> None:
    async with opened(database_url) as store, opened(other_database_url) as other:
        await store.append(child(4, 3), child(3, 2))
        await store.append(child(6, 7), posted(5))
        await store.append(child(7, 6), patched(5, parent_run_id=id_text(4)), patched(3, trace_id=id_text(9)))
        await store.append(posted(2), posted(9))
        events = await store.events()
        assert len(events) == 9
        await refolded(events, other, [1, 3, 2])
        assert await other.dump() == await store.dump()


def test_items_of_these_tests_are_events() -> None:
    assert all(isinstance(made, NewEvent) for made in (posted(1), patched(1), child(2, 1)))
