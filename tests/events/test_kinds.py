import json
from collections.abc import Callable
from typing import get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from events.ids import format_id
from events.jsontext import NotJSON, split_object
from events.kinds import (
    COMMANDS,
    CONTENTS_MEMBER,
    UNSAID,
    AttachmentStored,
    Event,
    FeedbackConfigDeleted,
    FeedbackConfigSet,
    FeedbackDeleted,
    FeedbackPatched,
    FeedbackPosted,
    FeedbackTokenCreated,
    ProjectCreated,
    ProjectDeleted,
    ProjectPatched,
    ProjectRenamed,
    RunFields,
    RunPatched,
    RunPosted,
    RunReverted,
    RunShared,
    RunUnshared,
    TraceErased,
    Unknown,
    attachment_payload,
    decode,
    deletion_payload,
    erasure_payload,
    feedback_config_payload,
    feedback_config_stream,
    feedback_stream,
    feedback_token_payload,
    project_patch_payload,
    project_payload,
    project_stream,
    renaming_payload,
    revert_payload,
    run_fields,
    run_stream,
    said,
    share_payload,
    share_stream,
    stream_from_text,
    stream_text,
    trace_stream,
)

ID = bytes(range(16))
RUN = b'{"id": "a", "name": "n", "outputs": {}, "unknown": 1}'
DECODED: list[tuple[bytes, bytes, Event]] = [
    (run_stream(ID), RUN, RunPosted(ID, RUN)),
    (run_stream(ID), RUN, RunPatched(ID, RUN)),
    (
        run_stream(ID),
        attachment_payload("na\0me \U0001f600", "text/plain", 2**40, bytes(32), "patch"),
        AttachmentStored(ID, "na\0me \U0001f600", "text/plain", 2**40, bytes(32), "patch"),
    ),
    (
        feedback_stream(ID),
        b'{"key": "k", "score": 0.50}',
        FeedbackPosted(ID, {"key": b'"k"', "score": b"0.50"}),
    ),
    (feedback_stream(ID), b'{"score": null}', FeedbackPatched(ID, {"score": b"null"})),
    (feedback_stream(ID), b"{}", FeedbackDeleted(ID)),
    (
        feedback_stream(ID),
        feedback_token_payload(bytes(16), "k", 5, b'{"min": 0.0}'),
        FeedbackTokenCreated(ID, bytes(16), "k", 5, b'{"min": 0.0}'),
    ),
    (
        feedback_config_stream(ID),
        feedback_config_payload("k", {"feedback_config": b'{"min": 0.0}'}),
        FeedbackConfigSet(ID, "k", {"feedback_config": b'{"min": 0.0}'}),
    ),
    (feedback_config_stream(ID), b"{}", FeedbackConfigDeleted(ID)),
    (share_stream(ID), share_payload(bytes(16)), RunShared(ID, bytes(16))),
    (share_stream(ID), b"{}", RunUnshared(ID)),
    (
        project_stream(ID),
        project_payload("p\u00e9", {"extra": b'{"a": 1.0}'}),
        ProjectCreated(ID, "p\u00e9", {"extra": b'{"a": 1.0}'}),
    ),
    (project_stream(ID), project_patch_payload({"end_time": b"1"}), ProjectPatched(ID, {"end_time": b"1"})),
    (project_stream(ID), renaming_payload("b", "a", bytes(16)), ProjectRenamed(ID, "b", "a", bytes(16))),
    (project_stream(ID), deletion_payload("a", bytes(16)), ProjectDeleted(ID, "a", bytes(16))),
    (run_stream(ID), revert_payload(3, "why"), RunReverted(ID, 3, "why")),
    (
        trace_stream(ID),
        erasure_payload([run_stream(ID), feedback_stream(ID)], "asked"),
        TraceErased(ID, (run_stream(ID), feedback_stream(ID)), "asked"),
    ),
]
KINDS = {kind.__name__ for kind in get_args(Event)} - {"Unknown"}


@pytest.mark.parametrize(("stream", "payload", "event"), DECODED, ids=[type(event).__name__ for *_, event in DECODED])
def test_a_payload_is_decoded_to_the_event_of_its_kind(stream: bytes, payload: bytes, event: Event) -> None:
    assert decode(type(event).__name__, stream, payload) == event


def test_every_kind_of_the_union_is_decoded_above() -> None:
    assert {type(event).__name__ for *_, event in DECODED} == KINDS
    assert KINDS > COMMANDS


@pytest.mark.parametrize("kind", ["RunPraised", "", "Unknown", "runposted"])
def test_any_other_kind_is_unknown(kind: str) -> None:
    assert decode(kind, run_stream(ID), b"no JSON at all") == Unknown(kind)


# --- the fields of a run ----------------------------------------------------------------------------------------------


def test_fields_are_raw_json_and_absent_ones_say_nothing() -> None:
    fields = run_fields(b' {"name" : "n", "inputs": {"a": [1, 2.50]}, "error": null, "tags": [] , "other": 1}\n')
    assert (bytes(fields.name), bytes(fields.inputs), bytes(fields.tags)) == (b'"n"', b'{"a": [1, 2.50]}', b"[]")
    assert [said(raw) for raw in (fields.name, fields.tags, fields.error, fields.outputs)] == [True, True, False, False]
    assert fields.outputs == UNSAID


@pytest.mark.parametrize(
    ("raw", "expected"), [(b"", False), (b"null", False), (b"0", True), (b'""', True), (b"nul", True), (b"nulls", True)]
)
def test_a_field_says_something_unless_it_is_absent_or_null(raw: bytes, expected: bool) -> None:
    assert said(raw) == said(Raw(raw)) == expected


@pytest.mark.parametrize("odd", [b"NaN", b"-Infinity", b'"\xff"', b'"\\ud800"', b"[" * 5000 + b"]" * 5000, b"1" * 5000])
def test_one_odd_field_costs_no_other(odd: bytes) -> None:
    fields = run_fields(b'{"inputs": ' + odd + b', "name": "n", "more": ' + odd + b"}")
    assert (bytes(fields.name), bytes(fields.inputs)) == (b'"n"', odd)


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b'"a"', b"{", b'{"a": 1}}', b"<html>"])
def test_what_is_no_object_has_no_fields(raw: bytes) -> None:
    with pytest.raises(NotJSON):
        run_fields(raw)


@given(
    st.dictionaries(
        st.sampled_from([*RunFields.__struct_encode_fields__, "other"]),
        st.none() | st.booleans() | st.floats() | st.text() | st.lists(st.integers()),
    )
)
def test_fields_are_the_members_of_their_names(value: dict[str, object]) -> None:
    payload = json.dumps(value).encode()
    fields = run_fields(payload)
    told = {name: bytes(getattr(fields, attribute)) for name, attribute in names_of_fields().items()}
    members = {name: raw for name, raw in split_object(payload).items() if name != "other"}
    assert {name: raw for name, raw in told.items() if raw} == members


def names_of_fields() -> dict[str, str]:
    return dict(zip(RunFields.__struct_encode_fields__, RunFields.__struct_fields__, strict=True))


def test_a_member_of_our_own_name_is_a_field_like_any_other_until_the_codec_says_no() -> None:
    payload = orjson.dumps({"id": "a", CONTENTS_MEMBER: {"inputs": {}}})
    assert bytes(run_fields(payload).contents) == b'{"inputs":{}}'


# --- streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stream_of", "word"),
    [(run_stream, "run"), (feedback_stream, "feedback"), (project_stream, "project"), (trace_stream, "trace")],
)
def test_a_stream_is_written_for_people_and_read_back(stream_of: Callable[[bytes], bytes], word: str) -> None:
    stream = stream_of(ID)
    assert stream_text(stream) == f"{word}:{format_id(ID)}"
    assert stream_from_text(stream_text(stream)) == stream
    assert stream_from_text(f"{word}:{ID.hex().upper()}") == stream


@pytest.mark.parametrize(
    "text", ["", "run", "run:", "run:1", f"lamp:{format_id(ID)}", format_id(ID), f":{format_id(ID)}"]
)
def test_what_names_no_stream_is_none(text: str) -> None:
    assert stream_from_text(text) is None


def test_streams_of_one_id_are_different() -> None:
    assert len({make(ID) for make in (run_stream, feedback_stream, project_stream, trace_stream)}) == 4
