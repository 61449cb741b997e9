"""The fold that keeps whole values, and that it agrees with the narrow row on all that both know."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from events.codec import Offloaded
from events.ids import dotted_order_ends
from events.kinds import CONTENTS_MEMBER, Operation, RunPatched, RunPosted
from events.log import NewEvent, RecordedEvent
from projections import record
from projections.extraction import first_token_time, model_of_outputs, usage_of_metadata, usage_of_outputs
from projections.record import Record
from projections.runs import RunState, fold
from projections.words import ERROR_CHARS_MAX, column_text, read_id, read_tags, read_text, read_time
from service.ingest.items import PATCH, POST
from service.ingest.run_items import run_items
from tests.projections.histories import Write, recorded, writes
from tests.projections.stores import NOW, START, id_text, opened, patched, posted, run_id


def record_of(*history: tuple[Operation, dict[str, Any]]) -> Record:
    told = [
        Write(operation, 1, {k: json.dumps(v).encode() for k, v in fields.items()}) for operation, fields in history
    ]
    return record.fold(recorded(told))


def post(**fields: Any) -> tuple[Operation, dict[str, Any]]:
    return POST, {"name": "a run", "run_type": "chain", "start_time": START} | fields


def patch(**fields: Any) -> tuple[Operation, dict[str, Any]]:
    return PATCH, fields


# --- agreement --------------------------------------------------------------------------------------------------------


@given(st.lists(writes(st.just(1), odd=True), min_size=1, max_size=6))
def test_the_record_shows_the_words_that_the_row_was_made_of(history: list[Write]) -> None:
    state, told = row_and_record(history)
    members = told.members
    assert state.name == column_text(text_of(members, "name"), 500)
    assert state.run_type == column_text(text_of(members, "run_type"), 100)
    assert state.error == (column_text(text_of(members, "error"), ERROR_CHARS_MAX) or None)
    assert (state.said_status or "") == column_text(text_of(members, "status"), 255)
    assert state.tags == (read_tags(Raw(members["tags"])) if "tags" in members else None)
    assert state.has_outputs == ("outputs" in members)
    assert payload_member(history, state.inputs_position, "inputs") == members.get("inputs")
    assert payload_member(history, state.outputs_position, "outputs") == members.get("outputs")
    assert state.first_token_time == first_token_time(members.get("events", b"[]"))


@given(st.lists(writes(st.just(1), odd=False), min_size=1, max_size=6))
def test_the_record_and_the_row_agree_on_when_and_where_a_run_was(history: list[Write]) -> None:
    state, told = row_and_record(history)
    members = told.members
    dotted = dotted_order_ends(text_of(members, "dotted_order"))
    assert state.end_time == read_time(members.get("end_time", b""))
    if "start_time" in members:
        assert state.start_time == read_time(members["start_time"])
    elif dotted is not None and dotted.start_us is not None:
        assert state.start_time == dotted.start_us
    assert state.parent_run_id == (read_id(members.get("parent_run_id", b"")) or (dotted and dotted.parent_id))
    if not state.is_trace_inferred:
        assert state.trace_id == (read_id(members.get("trace_id", b"")) or (dotted and dotted.root_id))
    assert state.is_trace_inferred == (read_id(members.get("trace_id", b"")) is None and dotted is None)
    assert state.reference_example_id == read_id(members.get("reference_example_id", b""))


@given(st.lists(writes(st.just(1), odd=False), min_size=1, max_size=6))
def test_the_record_and_the_row_agree_on_usage_model_and_thread(history: list[Write]) -> None:
    state, told = row_and_record(history)
    outputs = told.members.get("outputs", b"")
    usage = usage_of_metadata(told.metadata.get("usage_metadata", b"")) or usage_of_outputs(outputs)
    assert state.total_tokens == (usage and usage.total_tokens)
    assert state.total_cost == (usage and usage.total_cost)
    invoked = json.loads(told.extra.get("invocation_params", b"{}"))
    named = json.loads(told.metadata.get("ls_model_name", b"null"))
    model = named or (invoked.get("model") if isinstance(invoked, dict) else None) or model_of_outputs(outputs)
    assert state.model == model
    assert state.provider == json.loads(told.metadata.get("ls_provider", b"null"))


def row_and_record(history: Sequence[Write]) -> tuple[RunState, Record]:
    events = recorded(history)
    state: RunState | None = None
    for event in events:
        state = fold(state, event, shard=0, rule="documented")
    assert state is not None
    return state, record.fold(events)


def text_of(members: dict[str, bytes], name: str) -> str:
    return read_text(members[name]) if name in members else ""


def payload_member(history: Sequence[Write], position: int | None, name: str) -> bytes | None:
    return None if position is None else history[position - 1].fields[name]


# --- rules ------------------------------------------------------------------------------------------------------------


def test_members_that_nobody_knows_are_kept() -> None:
    told = record_of(post(unheard_of={"a": [1, 2]}))
    assert json.loads(told.members["unheard_of"]) == {"a": [1, 2]}


def test_bytes_are_kept_as_they_came() -> None:
    raw = b'{"id": "' + id_text(1).encode() + b'", "inputs": {"big": 1180591620717411303424 , "f": 1.50}}'
    ((item,),) = [list(run_items(PATCH, raw, source=PATCH, field_bytes_max=1000))]
    assert isinstance(item, NewEvent)
    event = RecordedEvent(1, item.stream, 1, item.kind, NOW, 1, item.body, item.payload)
    assert record.fold([event]).members["inputs"] == b'{"big": 1180591620717411303424 , "f": 1.50}'


@pytest.mark.parametrize("patch_first", [True, False])
def test_extra_and_its_metadata_are_merged_key_by_key(patch_first: bool) -> None:
    history = [
        post(extra={"runtime": {"v": 1}, "kept": 1, "metadata": {"a": 1, "b": 1}}),
        patch(extra={"runtime": {"v": 2}, "metadata": {"b": 2, "c": 2, "a": None}}),
    ]
    told = record_of(*(reversed(history) if patch_first else history))
    assert told.extra == {"runtime": b'{"v": 2}', "kept": b"1"}
    assert told.metadata == {"a": b"1", "b": b"2", "c": b"2"}


def test_other_fields_are_whole_values() -> None:
    told = record_of(post(inputs={"a": 1, "b": 1}), patch(inputs={"b": 2}))
    assert told.members["inputs"] == b'{"b": 2}'


def test_metadata_that_is_null_is_shown_and_replaces_nothing() -> None:
    assert record_of(post(extra={"metadata": {"a": None}})).metadata == {"a": b"null"}
    assert record_of(post(extra={"metadata": {"a": 1}}), patch(extra={"metadata": {"a": None}})).metadata == {"a": b"1"}


def test_metadata_that_is_no_object_is_a_key_like_others() -> None:
    assert record_of(post(extra={"metadata": "text"})).extra == {"metadata": b'"text"'}


def test_extra_that_is_no_object_says_nothing() -> None:
    told = record_of(post(extra={"a": 1}), patch(extra=["b"]))
    assert told.extra == {"a": b"1"}


def test_the_record_of_no_events_is_empty() -> None:
    assert record.fold([]) == Record()


# --- values too large for the log -------------------------------------------------------------------------------------


def offloaded_event(operation: Operation, version: int, **fields: Any) -> RecordedEvent:
    raw = json.dumps({"id": id_text(1), **fields}).encode()
    (item,) = run_items(operation, raw, source=operation, field_bytes_max=60)
    assert isinstance(item, NewEvent)
    return RecordedEvent(version, item.stream, version, item.kind, NOW, 1, item.body, item.payload)


def test_a_value_that_moved_to_the_content_store_is_told_as_a_place() -> None:
    told = record.fold([offloaded_event(PATCH, 1, outputs={"a": "x" * 100})])
    assert "outputs" not in told.members
    assert told.moved["outputs"].size == len(json.dumps({"a": "x" * 100}))


@pytest.mark.parametrize("large_first", [True, False])
def test_of_a_moved_value_and_one_that_stayed_the_later_is_shown(large_first: bool) -> None:
    large, small = {"outputs": {"a": "x" * 100}}, {"outputs": {"a": "y"}}
    one, other = (large, small) if large_first else (small, large)
    told = record.fold([offloaded_event(PATCH, 1, **one), offloaded_event(PATCH, 2, **other)])
    assert ("outputs" in told.members, "outputs" in told.moved) == (large_first, not large_first)


async def test_a_client_cannot_say_where_values_lie(database_url: str) -> None:
    spoofed = {CONTENTS_MEMBER: {"outputs": {"hash": "00" * 32, "size": 1, "preview": "stolen"}}, "kept": 1}
    odd = {CONTENTS_MEMBER: 7, "outputs": {"a": 1}}
    async with opened(database_url) as store:
        await store.append(posted(1, **spoofed), patched(2, **odd), patched(2, **spoofed))
        for number in (1, 2):
            told = await store.record(run_id(number))
            assert told.moved == {}
            assert told.members["kept"] == b"1"
        for event in await store.events():
            assert isinstance(event.body, (RunPosted, RunPatched))
            assert bytes(event.body.fields.contents) == b""


def test_an_offloaded_place_names_hash_size_and_preview() -> None:
    (event,) = [offloaded_event(PATCH, 1, inputs={"text": "z" * 100})]
    place = record.fold([event]).moved["inputs"]
    assert isinstance(place, Offloaded)
    assert (len(place.hash), place.preview) == (64, "z" * 100)
