"""Feedback: given, changed and deleted, in whatever order that arrives."""

import json
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.log import NewEvent, RecordedEvent
from projections import feedback
from projections.feedback import Feedback
from service.ingest.items import Item, feedback_deleted, feedback_patched, feedback_posted
from tests.projections.histories import FEEDBACK_POST, Write, reordered
from tests.projections.histories import feedback as feedback_writes
from tests.projections.stores import NOW, Store, id_text, opened, posted, run_id

ID = run_id(1)


def given_(**members: Any) -> Item:
    return feedback_posted(json.dumps({"id": id_text(1), "key": "good", **members}).encode(), source="feedback")


def changed(**members: Any) -> Item:
    return feedback_patched(ID, json.dumps(members).encode(), source="feedback")


def folded(*items: Item, state: Feedback | None = None) -> Feedback | None:
    for version, item in enumerate(items, 1):
        assert isinstance(item, NewEvent)
        event = RecordedEvent(version, item.stream, version, item.kind, NOW, 1, item.body, item.payload)
        state = feedback.fold(state, event)
    return state


def members_of(*items: Item) -> dict[str, Any]:
    state = folded(*items)
    assert state is not None
    return {name: json.loads(text) for name, text in state.members.items()}


async def stored(store: Store) -> Feedback | None:
    async with store.engine.connect() as connection:
        return await feedback.get(connection, ID)


@given(st.lists(feedback_writes(st.just(1)), min_size=1, max_size=8), st.data())
def test_posts_and_patches_of_feedback_may_overtake_each_other(history: list[Write], data: st.DataObject) -> None:
    other = reordered(history, data.draw(st.permutations(range(len(history)))))
    assert folded(*(i for w in other for i in w.items)) == folded(*(i for w in history for i in w.items))


@given(st.lists(feedback_writes(st.just(1)), min_size=1, max_size=8))
def test_null_clears_and_the_last_word_stands(history: list[Write]) -> None:
    expected: dict[str, bytes] = {}
    posts = [write for write in history if write.operation == FEEDBACK_POST]
    patches = [write for write in history if write.operation != FEEDBACK_POST]
    for write in (*posts, *patches):
        expected.update({name: raw for name, raw in write.fields.items() if name in feedback.MEMBERS})
    state = folded(*(item for write in history for item in write.items))
    assert state is not None
    assert set(state.members) == {name for name, raw in expected.items() if raw != b"null"}


def test_a_member_that_is_present_sets_and_null_clears() -> None:
    assert members_of(given_(score=1, comment="fine"), changed(score=0.5)) == {"score": 0.5, "comment": "fine"}
    assert members_of(given_(score=1, comment="fine"), changed(comment=None)) == {"score": 1}


def test_a_post_that_comes_late_does_not_undo_a_patch() -> None:
    assert members_of(changed(score=2, comment=None), given_(score=1, comment="fine", value="v")) == {
        "score": 2,
        "value": "v",
    }


@pytest.mark.parametrize("order", list(permutations([0, 1])))
def test_a_patch_says_what_feedback_is_about_before_a_post(order: tuple[int, int]) -> None:
    items = [given_(key="posted", run_id=id_text(2)), changed(key="patched", run_id=id_text(3))]
    state = folded(*(items[place] for place in order))
    assert state is not None
    assert (state.key, state.run_id) == ("patched", run_id(3))


def test_null_clears_neither_the_run_nor_the_key() -> None:
    state = folded(given_(run_id=id_text(2), trace_id=id_text(2)), changed(run_id=None, trace_id=None, key=None))
    assert state is not None
    assert (state.run_id, state.trace_id, state.key) == (run_id(2), run_id(2), "good")


def test_odd_values_are_kept_as_clean_json() -> None:
    raw = b'{"key": "k", "score": NaN, "value": "a\\ud800", "comment": 1180591620717411303424}'
    state = folded(feedback_posted(raw, source="feedback", feedback_id=ID))
    assert state is not None
    assert dict(state.members) == {"score": "null", "value": '"a\ufffd"', "comment": "1180591620717411303424"}


async def test_feedback_may_come_before_its_run_and_without_one(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(given_(run_id=id_text(7), score=1))
        state = await stored(store)
        assert state is not None
        assert state.run_id == run_id(7)
        await store.append(posted(7))
        assert await stored(store) == state


async def test_deleted_feedback_is_gone_until_it_is_given_again(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(given_(score=1, comment="fine"))
        await store.append(feedback_deleted(ID))
        assert await stored(store) is None
        await store.append(given_(score=2))
        state = await stored(store)
        assert state is not None
        assert dict(state.members) == {"score": "2"}


async def test_given_and_deleted_at_once_leaves_nothing(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(given_(score=1), feedback_deleted(ID))
        assert (await store.dump())["feedback"] == []


async def test_feedback_is_found_by_run_and_key(database_url: str) -> None:
    bodies = [("a", 7), ("b", 7), ("a", 8)]
    async with opened(database_url) as store:
        for number, (key, run) in enumerate(bodies, 1):
            raw = json.dumps({"id": id_text(number), "key": key, "run_id": id_text(run)}).encode()
            await store.append(feedback_posted(raw, source="feedback"), now=NOW + number)
        async with store.engine.connect() as connection:

            async def found(**asked: Any) -> list[int]:
                page = {name: asked.pop(name) for name in ("limit", "offset") if name in asked}
                found = await feedback.find(connection, feedback.Wanted(**asked), **page)
                return [int.from_bytes(one.id) for one in found]

            assert await found() == [3, 2, 1]
            assert await found(run_ids=[run_id(7)]) == [2, 1]
            assert await found(keys=["a"]) == [3, 1]
            assert await found(run_ids=[run_id(7)], keys=["a"]) == [1]
            assert [*await found(limit=2), *await found(limit=2, offset=2)] == [3, 2, 1]


def test_feedback_without_an_id_gets_one_that_follows_from_its_bytes() -> None:
    one, again, other = (feedback_posted(raw, source="f") for raw in (b'{"key":"k"}', b'{"key":"k"}', b'{"key":"l"}'))
    assert isinstance(one, NewEvent)
    assert isinstance(again, NewEvent)
    assert isinstance(other, NewEvent)
    assert one.stream == again.stream != other.stream
