"""Whole streams of usual writes folded in one go, against the fold event by event."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from events.codec import Codec
from events.kinds import Operation, run_stream
from events.log import StoredEvent
from projections.naming import UNCHANGED, Naming
from projections.replay import fold_run
from projections.runs import RunState, as_row
from projections.usual import fold_usual
from projections.words import DEFAULT_PROJECT_ID, project_id_of
from service.ingest.items import PATCH, POST
from tests.projections.histories import Write, recorded, writes
from tests.projections.stores import NOW, START, run_id

RENAMED = Naming.of([(project_id_of("one"), 2, run_id(8)), (DEFAULT_PROJECT_ID, 3, run_id(9))])


def stored(history: Sequence[Write]) -> list[StoredEvent]:
    return [
        StoredEvent(e.position, e.stream, e.version, e.kind, NOW + e.position, 1, 1, int(Codec.JSON), e.payload)
        for e in recorded(history)
    ]


def in_one_go(stream: Sequence[StoredEvent], naming: Naming = UNCHANGED) -> RunState | None:
    return fold_usual(stream, shard=0, rule="documented", naming=naming)


def one_by_one(stream: Sequence[StoredEvent], naming: Naming = UNCHANGED) -> tuple[Any, ...]:
    folded = fold_run([e.recorded() for e in stream], shard=0, rule="documented", naming=naming)
    assert folded.state is not None
    return (as_row(folded.state), folded.former)


@pytest.mark.parametrize("odd", [False, True])
@given(st.data(), st.sampled_from([UNCHANGED, RENAMED]))
def test_one_go_makes_what_one_by_one_makes_or_nothing(odd: bool, data: st.DataObject, naming: Naming) -> None:
    history = data.draw(st.lists(writes(st.just(1), odd=odd), min_size=1, max_size=6))
    stream = stored(history)
    state = in_one_go(stream, naming)
    event("unusual" if state is None else "usual")
    if state is not None:
        assert (as_row(state), set()) == one_by_one(stream, naming)


def told(*history: tuple[Operation, dict[str, Any]]) -> list[StoredEvent]:
    needed = {"name": "a run", "run_type": "chain", "start_time": START}
    writes = [(o, needed | f if o == POST else f) for o, f in history]
    return stored([Write(o, 1, {k: json.dumps(v).encode() for k, v in f.items()}) for o, f in writes])


METADATA = [
    {},
    {"a": "1", "b": "2"},
    {"a": "1", "b": "2", "thread_id": "t"},
    {"a": None, "b": {}, "thread_id": None, "session_id": "s"},
    {"a": "\0", "b": "3", "conversation_id": "c\0"},
    {"k" * 101: 1, "b": "4"},
    {f"key {n:03}": "x" for n in range(70)},
    {f"key {n:03}": "y" for n in range(35, 105)},
    {"usage_metadata": {"input_tokens": 3}, "session_id": "s", "ls_model_name": "m"},
    {"usage_metadata": {"input_tokens": 4}, "ls_model_name": "n", "ls_provider": "p"},
    {"usage_metadata": {}, "session_id": 7, "\0": "c"},
    {"session_id": "", "ls_model_name": None},
]


@pytest.mark.parametrize("one", METADATA)
@pytest.mark.parametrize("other", METADATA)
@pytest.mark.parametrize("operations", [(POST, PATCH), (PATCH, POST), (PATCH, PATCH)])
def test_metadata_is_merged_key_by_key(
    one: dict[str, Any], other: dict[str, Any], operations: tuple[Operation, Operation]
) -> None:
    said = [{"metadata": one, "invocation_params": {"model": "x"}}, {"metadata": other}]
    stream = told(*((operation, {"extra": extra}) for operation, extra in zip(operations, said, strict=True)))
    state = in_one_go(stream)
    assert state is not None
    assert (as_row(state), set()) == one_by_one(stream)


@pytest.mark.parametrize("extra", METADATA)
@pytest.mark.parametrize("operations", [(POST, PATCH), (PATCH, POST), (PATCH, PATCH)])
def test_an_extra_that_is_said_again_counts_once(
    extra: dict[str, Any], operations: tuple[Operation, Operation]
) -> None:
    stream = told(*((operation, {"extra": {"metadata": extra}}) for operation in operations))
    state = in_one_go(stream)
    assert state is not None
    assert (as_row(state), set()) == one_by_one(stream)


@pytest.mark.parametrize("extra", [[1], "text", 7, {"metadata": []}, {"metadata": "x", "invocation_params": 3}])
def test_an_extra_that_is_odd_is_read_as_it_is_one_by_one(extra: object) -> None:
    stream = told((POST, {"extra": {"metadata": {"a": "1"}}}), (PATCH, {"extra": extra}))
    state = in_one_go(stream)
    assert state is not None
    assert (as_row(state), set()) == one_by_one(stream)


USUAL = [
    [(POST, {}), (PATCH, {"end_time": START, "outputs": {"a": 1}})],
    [(PATCH, {"outputs": {"a": 1}}), (POST, {"outputs": {}, "events": [], "inputs": {"q": 1}, "tags": ["t"]})],
    [(POST, {"parent_run_id": str(run_id(2).hex())}), (PATCH, {"parent_run_id": str(run_id(2).hex())})],
]


@pytest.mark.parametrize("history", USUAL)
def test_usual_streams_are_folded_in_one_go(history: list[tuple[Operation, dict[str, Any]]]) -> None:
    assert in_one_go(told(*history)) is not None


def test_what_is_unusual_is_left_to_others() -> None:
    usual = told((POST, {}))
    (event_,) = usual
    for change in (
        {"kind": "AttachmentStored"},
        {"codec": int(Codec.OFFLOADED)},
        {"schema_version": 2},
        {"payload": None},
        {"payload": b'{"tags": [1]}'},
        {"payload": b'{"end_time": "soon"}'},
    ):
        assert in_one_go([*usual, event_._replace(**change)]) is None
    elsewhere = told((POST, {"parent_run_id": run_id(2).hex()}), (PATCH, {"parent_run_id": run_id(3).hex()}))
    assert in_one_go(elsewhere) is None
    assert elsewhere[0].stream == run_stream(run_id(1))
