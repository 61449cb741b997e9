"""The fold of a run's narrow row (design.md §4)."""

import json
from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.kinds import Operation, Unknown
from events.log import RecordedEvent
from events.times import parse_time
from projections.runs import COLUMNS, UNDUMPED, RunState, as_row, fold
from projections.status import StatusRule
from projections.words import DEFAULT_PROJECT_ID, NAME_CHARS_MAX, project_id_of, read_text
from service.ingest.items import PATCH, POST
from tests.projections.histories import Write, recorded, reordered, writes
from tests.projections.stores import NOW, START, id_text, run_id

histories = st.lists(writes(st.just(1), odd=True), min_size=1, max_size=6)


def folded(
    events: Iterable[RecordedEvent], state: RunState | None = None, rule: StatusRule = "documented"
) -> RunState | None:
    return reduce(lambda so_far, event: fold(so_far, event, shard=0, rule=rule), events, state)


def state_of(*history: tuple[Operation, dict[str, Any]], rule: StatusRule = "documented") -> RunState:
    """The state that these writes of run 1 make; a POST says what it has to."""
    needed = {"name": "a run", "run_type": "chain", "start_time": START}
    told = [
        Write(operation, 1, {name: json.dumps(value).encode() for name, value in fields.items()})
        for operation, fields in ((o, needed | f if o == POST else f) for o, f in history)
    ]
    state = folded(recorded(told), rule=rule)
    assert state is not None
    return state


def told_in(state: RunState) -> dict[str, Any]:
    """What a row says of the run, and not of how it came to be."""
    return {name: value for name, value in zip(COLUMNS, as_row(state), strict=True) if name not in UNDUMPED | {"ranks"}}


def post(**fields: Any) -> tuple[Operation, dict[str, Any]]:
    return POST, fields


def patch(**fields: Any) -> tuple[Operation, dict[str, Any]]:
    return PATCH, fields


def in_both_orders(one: tuple[Operation, dict[str, Any]], other: tuple[Operation, dict[str, Any]], column: str) -> Any:
    """What a column holds, whichever of the two writes comes first."""
    first, second = state_of(one, other), state_of(other, one)
    assert getattr(first, column) == getattr(second, column)
    return getattr(first, column)


def us(text: str) -> int:
    time = parse_time(text)
    assert time is not None
    return time


# --- algebra ----------------------------------------------------------------------------------------------------------


@given(histories, st.integers(0, 6))
def test_folding_goes_on_from_a_stored_row_as_if_it_had_never_stopped(history: list[Write], stop: int) -> None:
    events = recorded(history)
    in_one_go = folded(events)
    stored = folded(events[:stop])
    assert in_one_go is not None
    resumed = folded(events[stop:], None if stored is None else RunState.from_row(as_row(stored)))
    assert resumed is not None
    assert as_row(resumed) == as_row(in_one_go)


@given(histories)
def test_folding_leaves_the_state_that_it_was_given_as_it_was(history: list[Write]) -> None:
    *before, last = recorded(history)
    state = folded(before)
    row = None if state is None else as_row(state)
    fold(state, last, shard=0, rule="documented")
    assert row == (None if state is None else as_row(state))


@given(histories, st.data())
def test_posts_and_patches_of_a_run_may_overtake_each_other(history: list[Write], data: st.DataObject) -> None:
    other = reordered(history, data.draw(st.permutations(range(len(history)))))
    assert said_of(folded(recorded(other)), other) == said_of(folded(recorded(history)), history)


def said_of(state: RunState | None, history: Sequence[Write]) -> dict[str, Any]:
    """The row but for where and when it was recorded, with the writes that hold its inputs and outputs."""
    assert state is not None
    row = {name: value for name, value in zip(COLUMNS, as_row(state), strict=True) if name not in UNDUMPED}
    for name in ("inputs", "outputs"):
        position = getattr(state, f"{name}_position")
        row[name] = None if position is None else history[position - 1].fields[name]
    return row


@given(histories)
def test_every_row_fits_both_databases(history: list[Write]) -> None:
    state = folded(recorded(history))
    assert state is not None
    for value in as_row(state):
        assert value is None or isinstance(value, (int, bytes, str))
        if isinstance(value, str):
            assert "\0" not in value.encode().decode()
        if isinstance(value, int):
            assert -(2**63) <= value < 2**63


# --- what was said ----------------------------------------------------------------------------------------------------


def test_a_patch_wins_over_a_post_whichever_came_first() -> None:
    assert in_both_orders(post(name="posted"), patch(name="patched"), "name") == "patched"


def test_of_two_patches_the_later_wins() -> None:
    assert state_of(patch(name="first"), patch(name="second")).name == "second"


def test_of_two_posts_the_later_wins() -> None:
    assert state_of(post(name="first"), post(name="second")).name == "second"


def test_null_is_not_said() -> None:
    fields = ("name", "error", "tags", "outputs", "inputs", "end_time", "parent_run_id", "session_name", "status")
    told = state_of(
        post(
            error="boom",
            tags=["a"],
            inputs={"q": 1},
            outputs={"a": 1},
            end_time=START,
            parent_run_id=id_text(2),
            session_name="one",
            status="failed",
        )
    )
    after = state_of(
        post(
            error="boom",
            tags=["a"],
            inputs={"q": 1},
            outputs={"a": 1},
            end_time=START,
            parent_run_id=id_text(2),
            session_name="one",
            status="failed",
        ),
        patch(**dict.fromkeys(fields)),
    )
    assert told_in(after) == told_in(told)


@pytest.mark.parametrize("empty", [{}, []])
@pytest.mark.parametrize("field", ["inputs", "outputs", "tags", "name", "error", "status"])
def test_an_empty_value_replaces_nothing(field: str, empty: Any) -> None:
    column = {"inputs": "inputs_preview", "outputs": "outputs_preview", "status": "said_status"}.get(field, field)
    kept = getattr(state_of(post(**{field: ["x"]})), column)
    assert in_both_orders(post(**{field: ["x"]}), patch(**{field: empty}), column) == kept


def test_white_space_does_not_make_an_empty_value_a_full_one() -> None:
    told = [
        Write(POST, 1, {"outputs": b'{"a": 1}'}),
        Write(PATCH, 1, {"outputs": b"{ }"}),
        Write(PATCH, 1, {"outputs": b"[\n]"}),
    ]
    needed = {"name": b'"n"', "run_type": b'"chain"', "start_time": b"1"}
    events = recorded([Write(told[0].operation, 1, needed | dict(told[0].fields)), *told[1:]])
    state = folded(events)
    assert state is not None
    assert state.outputs_preview == '{"a":1}'


def test_an_empty_value_of_a_patch_replaces_one_of_a_post() -> None:
    assert in_both_orders(post(outputs={}), patch(outputs=[]), "outputs_preview") == "[]"


def test_a_project_has_two_names_for_its_field() -> None:
    assert state_of(post(session_name="one")).project_id == project_id_of("one")
    assert state_of(post(project_name="one")).project_id == project_id_of("one")
    assert state_of(post()).project_id == DEFAULT_PROJECT_ID


def test_a_patch_that_names_no_project_does_not_move_the_run() -> None:
    assert state_of(post(session_name="one"), patch(end_time=START)).project_id == project_id_of("one")


def test_a_patch_moves_the_run_to_the_project_that_it_names() -> None:
    assert in_both_orders(post(session_name="one"), patch(session_name="two"), "project_id") == project_id_of("two")


# --- when and where ---------------------------------------------------------------------------------------------------


def test_a_patch_alone_shows_what_is_known() -> None:
    state = state_of(patch(outputs={"a": 1}, end_time=START))
    assert (state.name, state.run_type, state.status) == ("", "", "completed")
    assert state.start_time == NOW


def test_the_start_is_said_or_in_the_dotted_order_or_in_the_id_or_when_it_was_recorded() -> None:
    dotted = f"20251231T110000000000Z{id_text(1)}"
    by_id = Write(PATCH, 0x0199_0000_0000_7000_8000_0000_0000_0000, {})
    assert state_of(patch(start_time=START, dotted_order=dotted)).start_time == us(START)
    assert state_of(patch(dotted_order=dotted)).start_time == us("2025-12-31T11:00:00Z")
    (state,) = [folded(recorded([by_id]))]
    assert state is not None
    assert state.start_time == 0x0199_0000_0000 * 1000
    assert state_of(patch()).start_time == NOW


def test_a_start_that_is_no_time_says_nothing() -> None:
    assert in_both_orders(post(start_time=START), patch(start_time="soon"), "start_time") == us(START)


def test_what_is_said_outright_wins_over_what_a_dotted_order_implies() -> None:
    implied = patch(dotted_order=f"20251231T110000000000Z{id_text(5)}.20251231T110000000000Z{id_text(1)}")
    told = post(trace_id=id_text(6), parent_run_id=id_text(7))
    assert in_both_orders(told, implied, "trace_id") == run_id(6)
    assert in_both_orders(told, implied, "parent_run_id") == run_id(7)
    assert in_both_orders(told, implied, "start_time") == us(START)


def test_of_two_dotted_orders_the_patches_wins_as_a_whole() -> None:
    below = f"20251231T110000000000Z{id_text(5)}.20251231T110000000000Z{id_text(1)}"
    alone = f"Z{id_text(1)}"
    one, other = post(dotted_order=below, start_time="soon"), patch(dotted_order=alone)
    assert in_both_orders(one, other, "parent_run_id") is None
    assert in_both_orders(one, other, "trace_id") == run_id(1)
    assert in_both_orders(one, other, "start_time") == NOW
    one, other = post(dotted_order=alone, start_time="soon"), patch(dotted_order=below)
    assert in_both_orders(one, other, "parent_run_id") == run_id(5)
    assert in_both_orders(one, other, "start_time") == us("2025-12-31T11:00:00Z")


@pytest.mark.parametrize("text", [id_text(7).upper(), id_text(7).replace("-", ""), f"{{{id_text(7)}}}"])
def test_an_id_may_be_written_in_unusual_ways(text: str) -> None:
    assert state_of(post(parent_run_id=text)).parent_run_id == run_id(7)


# --- facts ------------------------------------------------------------------------------------------------------------


def test_status_follows_the_rule_and_langsmiths_status_follows_langsmiths() -> None:
    failed_early = (post(error="boom"),)
    assert state_of(*failed_early).status == "running"
    assert state_of(*failed_early, rule="ended").status == "failed"
    assert state_of(*failed_early).langsmith_status == "error"
    assert state_of(post(end_time=START)).status == "running"
    assert state_of(post(end_time=START), rule="ended").status == "completed"
    assert state_of(post(end_time=START)).langsmith_status == "success"


def test_an_error_that_is_empty_is_none() -> None:
    state = in_both_orders(post(error="boom", end_time=START, outputs={"a": 1}), patch(error=""), "status")
    assert state == "completed"


def test_usage_in_metadata_wins_over_usage_in_outputs() -> None:
    said_in_outputs = patch(outputs={"usage_metadata": {"total_tokens": 5}})
    said_in_metadata = post(extra={"metadata": {"usage_metadata": {"total_tokens": 7}}})
    assert in_both_orders(said_in_metadata, said_in_outputs, "total_tokens") == 7


def test_usage_and_model_in_outputs_go_when_other_outputs_win() -> None:
    one = post(outputs={"usage_metadata": {"total_tokens": 5}, "model": "gpt"})
    assert (state_of(one).total_tokens, state_of(one).model) == (5, "gpt")
    assert in_both_orders(one, patch(outputs={"a": 1}), "total_tokens") is None
    assert in_both_orders(one, patch(outputs={"a": 1}), "model") is None


def test_the_first_token_is_that_of_the_events_that_won() -> None:
    token = [{"name": "new_token", "time": "2025-12-31T12:00:01Z"}]
    assert in_both_orders(post(events=token), patch(events=[]), "first_token_time") == us("2025-12-31T12:00:01Z")
    assert in_both_orders(post(events=token), patch(events=[{"name": "end"}]), "first_token_time") is None


def test_a_thread_is_named_by_session_id_then_conversation_id_then_thread_id() -> None:
    def of(**metadata: str) -> str | None:
        return state_of(post(extra={"metadata": metadata})).thread_id

    assert of(session_id="s", conversation_id="c", thread_id="t") == "s"
    assert of(conversation_id="c", thread_id="t") == "c"
    assert of(thread_id="t") == "t"
    assert of() is None


# --- columns ----------------------------------------------------------------------------------------------------------


def test_a_long_name_is_cut_for_the_column() -> None:
    assert state_of(post(name="ü" * 20_000)).name == "ü" * NAME_CHARS_MAX


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'"plain"', "plain"),
        (b'  "spaced" ', "spaced"),
        (b'"a\\ud800b"', "a\ufffdb"),
        (b'"caf\xe9"', "caf\ufffd"),
        (b"7.50", "7.50"),
        (b'{"a" : NaN}', '{"a" : NaN}'),
        (b"[" * 5000, "[" * 5000),
        (b'"ends not', '"ends not'),
        (b"", ""),
    ],
)
def test_a_text_is_a_string_or_whatever_came_in_its_place(raw: bytes, text: str) -> None:
    assert read_text(raw) == text


def test_tags_that_are_no_texts_are_shown_as_they_came() -> None:
    assert state_of(post(tags=["a", 1, {"b": 2}, None])).tags == '["a","1","{\\"b\\": 2}","null"]'
    assert state_of(post(tags="alone")).tags == '["alone"]'


@pytest.mark.parametrize("depth", range(950, 1010))
def test_a_fold_does_not_depend_on_how_deep_the_interpreters_stack_is(depth: int) -> None:
    deep = b"[ " * depth + b"]" * depth
    history = [Write(PATCH, 1, dict.fromkeys(("name", "tags", "status", "start_time", "error", "extra"), deep))]
    state = folded(recorded(history))
    assert state is not None
    assert state.name == deep.decode()[:NAME_CHARS_MAX]


def test_an_event_of_another_kind_moves_the_version_alone() -> None:
    (event,) = recorded([Write(PATCH, 1, {"name": b'"n"'})])
    state = folded([event])
    assert state is not None
    other = RecordedEvent(9, event.stream, 9, "RunSung", NOW + 1, 1, Unknown("RunSung"), b"{}")
    after = fold(state, other, shard=0, rule="documented")
    assert (after.version, after.last_recorded_at) == (9, NOW + 1)
    assert [getattr(after, name) for name in COLUMNS if name not in UNDUMPED] == [
        getattr(state, name) for name in COLUMNS if name not in UNDUMPED
    ]
