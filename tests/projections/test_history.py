"""What each event of a run changed."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.codec import Codec, Offloaded, offload
from events.ids import parse_id
from events.kinds import RunPosted, RunReverted, Unknown, revert_payload, run_stream
from events.log import NewEvent, RecordedEvent, seal
from projections import history, record
from projections.history import Change, Mutation
from projections.reverts import effective
from tests.events.histories import attachment, id_text, run_patched, run_posted

ID = id_text(1)


def post(**fields: Any) -> NewEvent:
    return run_posted({"id": ID, **fields})


def patch(**fields: Any) -> NewEvent:
    return run_patched({"id": ID, **fields})


def revert(to_version: int) -> NewEvent:
    run_id = parse_id(ID)
    assert run_id is not None
    body = RunReverted(run_id, to_version, "a mistake")
    return seal("RunReverted", run_stream(run_id), revert_payload(to_version, "a mistake"), body)


def recorded(*events: NewEvent) -> list[RecordedEvent]:
    """The events as a stream, at positions of tens."""
    return [
        RecordedEvent(version * 10, event.stream, version, event.kind, version, version, event.body, event.payload)
        for version, event in enumerate(events, 1)
    ]


def told(*events: NewEvent) -> list[Mutation]:
    return list(history.mutations(recorded(*events)))


def change(mutation: Mutation, *path: str) -> tuple[Any, ...]:
    """(effect, before, after, cause, said) of one field, values as Python's."""
    (found,) = [change for change in mutation.changes if change.path == path]
    return found.effect, value(found.before), value(found.after), found.cause, value(found.said)


def value(raw: Any) -> Any:
    return orjson.loads(raw) if isinstance(raw, bytes) else raw


def test_a_post_sets_and_a_patch_changes() -> None:
    first, second = told(post(name="a"), patch(name="b", outputs={"x": 1}))
    assert change(first, "name") == ("set", None, "a", None, None)
    assert change(second, "name") == ("changed", "a", "b", None, None)
    assert change(second, "outputs") == ("set", None, {"x": 1}, None, None)


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        (patch(outputs=None), ("left", {"x": 1}, {"x": 1}, "null", None)),
        (patch(outputs={}), ("left", {"x": 1}, {"x": 1}, "empty", {})),
        (patch(outputs={"x": 1}), ("left", {"x": 1}, {"x": 1}, "same", None)),
        (post(outputs={"x": 2}), ("left", {"x": 1}, {"x": 1}, "outranked", {"x": 2})),
    ],
)
def test_what_does_not_count_leaves_a_field_and_says_why(late: NewEvent, expected: tuple[Any, ...]) -> None:
    assert change(told(patch(outputs={"x": 1}), late)[1], "outputs") == expected


def test_a_null_where_nothing_stands_leaves_nothing() -> None:
    assert change(told(post(outputs=None))[0], "outputs") == ("left", None, None, "null", None)


def test_extra_and_its_metadata_are_told_key_by_key() -> None:
    first = post(extra={"runtime": {"sdk": "py"}, "metadata": {"a": 1, "b.c": 2}})
    second = patch(extra={"metadata": {"a": 3, "d": None}})
    _, mutation = told(first, second)
    assert [change.path for change in mutation.changes if change.path[0] == "extra"] == [
        ("extra", "metadata", "a"),
        ("extra", "metadata", "d"),
    ]
    assert change(mutation, "extra", "metadata", "a") == ("changed", 1, 3, None, None)
    assert change(mutation, "extra", "metadata", "d") == ("set", None, None, None, None)
    assert history.fields_at(recorded(first, second), 2) == {
        ("id",): orjson.dumps(ID),
        ("extra", "runtime"): b'{"sdk":"py"}',
        ("extra", "metadata", "a"): b"3",
        ("extra", "metadata", "b.c"): b"2",
        ("extra", "metadata", "d"): b"null",
    }


@pytest.mark.parametrize("extra", [5, "text", [1]])
def test_an_extra_that_is_no_object_is_told_as_unreadable(extra: Any) -> None:
    assert change(told(post(extra=extra))[0], "extra") == ("left", None, None, "unreadable", extra)


@pytest.mark.parametrize("name", ["start_time", "end_time"])
@pytest.mark.parametrize("unusable", ["soon", "", {"at": 1}, True])
def test_a_time_that_is_none_is_told_as_unreadable_and_leaves_what_stands(name: str, unusable: Any) -> None:
    good = "2024-01-15T10:30:00Z"
    first, second, third = told(post(**{name: unusable}), patch(**{name: good}), patch(**{name: unusable}))
    assert change(first, name) == ("left", None, None, "unreadable", unusable)
    assert change(second, name) == ("set", None, good, None, None)
    assert change(third, name) == ("left", good, good, "unreadable", unusable)


@pytest.mark.parametrize("name", ["parent_run_id", "trace_id", "reference_example_id"])
def test_an_id_that_is_none_is_told_as_unreadable(name: str) -> None:
    assert change(told(patch(**{name: "the other one"}))[0], name) == (
        *("left", None, None),
        *("unreadable", "the other one"),
    )


def test_a_revert_tells_all_that_it_brings_back_and_takes_away() -> None:
    *_, mutation = told(post(name="a"), patch(name="b", tags=["t"]), attachment(1, b"x"), revert(1))
    assert {change.path: (change.effect, value(change.after)) for change in mutation.changes} == {
        ("name",): ("changed", "a"),
        ("tags",): ("cleared", None),
        ("attachments", "file"): ("cleared", None),
    }


def test_what_comes_after_a_revert_changes_what_stands_after_it() -> None:
    *_, mutation = told(post(name="a"), patch(name="b"), revert(1), patch(name="c"))
    assert change(mutation, "name") == ("changed", "a", "c", None, None)


def test_an_attachment_is_a_field_by_its_name() -> None:
    first, second = told(attachment(1, b"one"), attachment(1, b"two"))
    hashes = [sha256(body).hexdigest() for body in (b"one", b"two")]
    values = [{"media_type": "text/plain", "size": 3, "sha256": hash_} for hash_ in hashes]
    assert change(first, "attachments", "file") == ("set", None, values[0], None, None)
    assert change(second, "attachments", "file") == ("changed", *values, None, None)


def test_a_field_in_the_content_store_is_told_by_where_it_is() -> None:
    large = b'"' + b"x" * 100 + b'"'
    place = Offloaded(sha256(large).hexdigest(), len(large), "xxx")
    members = {"id": orjson.dumps(ID), "outputs": large, "name": b'"n"'}
    payload = offload(members, {"outputs": place}, {"outputs": b'{"model_name":"m"}'})
    run_id = parse_id(ID)
    assert run_id is not None
    body = RunPosted(run_id, payload, is_offloaded=True)
    moved = seal("RunPosted", run_stream(run_id), payload, body, codec=Codec.OFFLOADED)
    first, second = told(moved, patch(outputs="x" * 100))
    assert change(first, "outputs") == ("set", None, place, None, None)
    assert {change.path for change in first.changes} == {("id",), ("outputs",), ("name",)}
    # The same again, though it is in the log now.
    assert change(second, "outputs") == ("left", place, "x" * 100, "same", None)


def test_an_erased_mutation_keeps_its_place_and_tells_no_field() -> None:
    events = recorded(post(name="a"), patch(name="b"))
    erased = [RecordedEvent(e.position, e.stream, e.version, e.kind, 1, 1, Unknown(e.kind), b"") for e in events]
    assert [(m.content, m.changes, m.happened_at) for m in history.mutations(erased)] == [("erased", [], None)] * 2


def test_an_event_of_a_newer_version_is_told_as_unknown() -> None:
    (event,) = recorded(post(name="a"))
    newer = RecordedEvent(10, event.stream, 1, "RunPraised", 1, 1, Unknown("RunPraised"), b"{}")
    assert [mutation.content for mutation in history.mutations([newer])] == ["unknown"]


@pytest.mark.parametrize(
    ("fields", "us"),
    [
        ({"start_time": "1970-01-01T00:00:01Z"}, 1_000_000),
        ({"start_time": "1970-01-01T00:00:01Z", "end_time": "1970-01-01T00:00:02Z"}, 2_000_000),
        ({"end_time": "never", "start_time": None}, None),
        ({}, None),
    ],
)
def test_a_write_happened_at_its_end_or_else_at_its_start(fields: dict[str, Any], us: int | None) -> None:
    assert told(patch(**fields))[0].happened_at == us


# --- for any history --------------------------------------------------------------------------------------------------

small: st.SearchStrategy[Any] = st.sampled_from([None, {}, [], {"x": 1}, {"x": 2}, "a", 0])
fields = st.fixed_dictionaries(
    {},
    optional={
        "name": small,
        "outputs": small,
        "extra": st.one_of(small, st.fixed_dictionaries({"metadata": st.dictionaries(st.sampled_from("ab"), small)})),
    },
)
writes = st.one_of(
    st.builds(lambda said: post(**said), fields),
    st.builds(lambda said: patch(**said), fields),
    st.builds(lambda name: attachment(1, b"x", name=name), st.sampled_from("ab")),
    st.integers(1, 6).map(revert),
)
streams = st.lists(writes, max_size=8)


@given(streams, st.data())
def test_any_page_tells_the_same_as_the_whole(stream: Sequence[NewEvent], data: st.DataObject) -> None:
    events = recorded(*stream)
    after = data.draw(st.integers(0, len(events)))
    assert list(history.mutations(events, after=after)) == list(history.mutations(events))[after:]


@given(streams)
def test_what_stands_before_and_after_are_the_fields_of_those_versions(stream: Sequence[NewEvent]) -> None:
    events = recorded(*stream)
    for mutation in history.mutations(events):
        version = mutation.event.version
        before, after = (history.fields_at(events, number) for number in (version - 1, version))
        for one in mutation.changes:
            assert (before.get(one.path), after.get(one.path)) == (one.before, one.after)
        untold = (before.keys() | after.keys()) - {one.path for one in mutation.changes}
        assert all(before.get(path) == after.get(path) for path in untold)


@given(streams)
def test_the_fields_of_a_version_are_those_of_the_record(stream: Sequence[NewEvent]) -> None:
    events = recorded(*stream)
    made = record.fold(effective(events))
    found = history.fields_at(events, len(events))
    assert {path[0]: raw for path, raw in found.items() if len(path) == 1} == made.members
    assert {path[2]: raw for path, raw in found.items() if path[:2] == ("extra", "metadata") and path[2:]} == (
        made.metadata
    )


@given(streams, st.integers(0, 9), st.integers(0, 9))
def test_a_difference_leads_from_one_version_to_the_other(stream: Sequence[NewEvent], one: int, other: int) -> None:
    events = recorded(*stream)
    fields = history.fields_at(events, one)
    for found in history.difference(events, one, other):
        assert found == Change(found.path, found.effect, fields.get(found.path), found.after)
        assert found.before != found.after
        fields.pop(found.path, None)
        if found.after is not None:
            fields[found.path] = found.after
    assert fields == history.fields_at(events, other)
