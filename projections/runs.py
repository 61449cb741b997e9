"""The runs: one narrow row per run, its pure fold, and how rows are loaded.

A row holds what is filtered, sorted or shown in lists. Inputs and outputs stay in the log: the row says at which
positions the winning ones are. A row is also the state that the next event is folded into, so for every field it
keeps a *rank*, which says how strong the word was that its value rests on (design.md §4):

    0   nothing, or an empty value of a POST
    1   an empty value of a PATCH, or what the strongest dotted order implies
    2   a POST
    3   a PATCH

A word replaces one of its own rank or lower, so PATCHes win over POSTs in any order of arrival, and among equals the
later position wins. Facts dug out of `extra` carry the precedence of the key they were under before the rank. Facts
dug out of the outputs stand only while `extra` tells nothing, and go when other outputs win.
"""

import copy
import uuid
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Raw
from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)

from events.codec import Offloaded, offloaded
from events.dialect import Row, Writer
from events.ids import DottedOrder, dotted_order_ends, parse_id, uuid7_time
from events.jsontext import NotJSON, dumps, loads, split_array
from events.kinds import RunFields, RunPatched, RunPosted, said
from events.log import RecordedEvent
from events.schema import metadata
from events.times import parse_time
from projections.extraction import (
    Usage,
    extra_facts,
    first_token_time,
    model_of_outputs,
    preview,
    usage_of_metadata,
    usage_of_outputs,
)
from projections.status import StatusRule, infer, langsmith_status

NAME_CHARS_MAX: Final = 500
RUN_TYPE_CHARS_MAX: Final = 100
ERROR_CHARS_MAX: Final = 500
TAGS_MAX: Final = 100
TAG_CHARS_MAX: Final = 200
WORD_CHARS_MAX: Final = 255

runs: Final = Table(
    "runs",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("id", LargeBinary, nullable=False),
    Column("trace_id", LargeBinary, nullable=False),
    Column("parent_run_id", LargeBinary),
    Column("project_id", LargeBinary, nullable=False),
    Column("start_time", BigInteger, nullable=False),
    Column("end_time", BigInteger),
    Column("status", Text, nullable=False),
    Column("langsmith_status", Text, nullable=False),
    Column("run_type", Text, nullable=False),
    Column("name", Text, nullable=False),
    # 1 when the run is the one its trace is named after, and so stands in the list of traces.
    Column("is_root", SmallInteger, nullable=False),
    # 1 when no event told of this run: it stands in for a root that its trace's runs name.
    Column("is_placeholder", SmallInteger, nullable=False),
    # 1 when no event named the trace: it was found by following parents, and changes when they do.
    Column("is_trace_inferred", SmallInteger, nullable=False),
    Column("has_outputs", SmallInteger, nullable=False),
    Column("said_status", Text),
    Column("error", Text),
    Column("tags", Text),
    Column("reference_example_id", LargeBinary),
    Column("thread_id", Text),
    Column("model", Text),
    Column("provider", Text),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("total_tokens", BigInteger),
    # Costs are whole picodollars: sums of integers are exact and do not depend on their order.
    Column("prompt_cost", BigInteger),
    Column("completion_cost", BigInteger),
    Column("total_cost", BigInteger),
    Column("first_token_time", BigInteger),
    Column("inputs_position", BigInteger),
    Column("outputs_position", BigInteger),
    Column("inputs_preview", Text),
    Column("outputs_preview", Text),
    Column("version", BigInteger, nullable=False),
    Column("ranks", BigInteger, nullable=False),
    Column("first_recorded_at", BigInteger, nullable=False),
    Column("last_recorded_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("shard", "id", name="runs_pk"),
    Index("runs_start", "shard", "start_time"),
    Index("runs_trace", "shard", "trace_id", "start_time", "id"),
    Index("runs_project_start", "shard", "project_id", "start_time"),
    Index("runs_parent", "shard", "parent_run_id"),
    Index(
        "runs_inferred",
        *("shard", "parent_run_id"),
        sqlite_where=text("is_trace_inferred = 1"),
        postgresql_where=text("is_trace_inferred = 1"),
    ),
    *(
        Index(name, *columns, sqlite_where=text("is_root = 1"), postgresql_where=text("is_root = 1"))
        for name, columns in {
            "roots_start": ("shard", "start_time", "id"),
            "roots_status": ("shard", "status", "start_time", "id"),
            "roots_project": ("shard", "project_id", "start_time", "id"),
            "roots_project_status": ("shard", "project_id", "status", "start_time", "id"),
            "roots_name": ("shard", "name", "start_time", "id"),
        }.items()
    ),
)
COLUMNS: Final = tuple(runs.columns.keys())
# What two stores that were told the same in another order may differ in: where and when it was recorded.
UNDUMPED: Final = frozenset({"version", "inputs_position", "outputs_position", "first_recorded_at", "last_recorded_at"})


class RunState(msgspec.Struct, eq=False, gc=False):
    """A row of `runs`, column for column and in the order of these. Folding copies it; nothing else changes one."""

    shard: int
    id: bytes
    trace_id: bytes
    parent_run_id: bytes | None
    project_id: bytes
    start_time: int
    end_time: int | None
    status: str
    langsmith_status: str
    run_type: str
    name: str
    is_root: int
    is_placeholder: int
    is_trace_inferred: int
    has_outputs: int
    said_status: str | None
    error: str | None
    tags: str | None
    reference_example_id: bytes | None
    thread_id: str | None
    model: str | None
    provider: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    prompt_cost: int | None
    completion_cost: int | None
    total_cost: int | None
    first_token_time: int | None
    inputs_position: int | None
    outputs_position: int | None
    inputs_preview: str | None
    outputs_preview: str | None
    version: int
    ranks: int
    first_recorded_at: int
    last_recorded_at: int

    @classmethod
    def from_row(cls, row: Row) -> "RunState":
        """The state that a row in the order of `COLUMNS` holds."""
        return cls(*row)


# An old row out and a new one in; None where there was or is none.
Turn = tuple[RunState | None, RunState | None]

as_row: Final[Callable[[RunState], tuple[Any, ...]]] = msgspec.structs.astuple


# --- project ids ------------------------------------------------------------------------------------------------------

DEFAULT_PROJECT: Final = "default"
_PROJECTS: Final = uuid.UUID("6c1f0e3a-9a55-5d0b-8d7e-5f1f6c2a7f10")


@lru_cache(maxsize=4096)
def project_id_of(name: str) -> bytes:
    """The id of the project that runs name so: the same in every store and after every rebuild."""
    return uuid.uuid5(_PROJECTS, name.encode("utf-8", "replace").decode()).bytes


DEFAULT_PROJECT_ID: Final = project_id_of(DEFAULT_PROJECT)


def project_named(fields: RunFields) -> tuple[bytes, str | None] | None:
    """The project that a run write names: its id, and its name unless only the id was given."""
    for raw in (fields.project_name, fields.session_name):
        if said(raw) and (name := column_text(read_text(raw), NAME_CHARS_MAX)):
            return project_id_of(name), name
    given = read_id(fields.session_id)
    return None if given is None else (given, None)


# --- the fold ---------------------------------------------------------------------------------------------------------

# Where each field's two bits of rank stand in `ranks`.
_NAME, _RUN_TYPE, _START, _END, _PARENT, _TRACE, _PROJECT = range(0, 14, 2)
_INPUTS, _OUTPUTS, _ERROR, _STATUS, _TAGS, _EXAMPLE, _EVENTS, _PROVIDER, _DOTTED_ORDER = range(14, 32, 2)
# Where each dug-out fact's precedence (high bits) and rank (low two bits) stand.
_THREAD, _USAGE, _MODEL = 32, 37, 42
_FACT_BITS: Final = 5
# One bit: whether the word that the project rests on gave its name, and not only its id.
_PROJECT_NAMED: Final = 47

_EMPTY: Final = frozenset({b"{}", b"[]"})
_POST, _PATCH = 2, 3
_IMPLIED = 1
# Pretty-printers put white space into empty values; one with more of it is taken at its word.
_EMPTY_BYTES_MAX = 16


_BLANK: Final = RunState.from_row((None,) * len(COLUMNS))


def begin(shard: int, run_id: bytes, recorded_at: int) -> RunState:
    """The state of a run that no event has told of yet."""
    state = copy.copy(_BLANK)
    state.shard, state.id, state.trace_id = shard, run_id, run_id
    state.project_id = DEFAULT_PROJECT_ID
    state.name = state.run_type = ""
    state.is_root = state.is_placeholder = state.is_trace_inferred = state.has_outputs = 0
    state.version = state.ranks = state.start_time = 0
    state.first_recorded_at = state.last_recorded_at = recorded_at
    return state


def fold(state: RunState | None, event: RecordedEvent, *, shard: int, rule: StatusRule) -> RunState:
    """The state after one more event of the run's stream.

    `trace_id` is final only when an event named it; otherwise `projections.hierarchy` finds it by way of the parents.
    """
    if state is None or state.is_placeholder:
        state = begin(shard, event.stream[1:], event.recorded_at)
    else:
        state = copy.copy(state)
    fold_into(state, event, rule=rule)
    return state


def fold_all(events: Iterable[RecordedEvent], *, shard: int, rule: StatusRule) -> RunState | None:
    """The state that these events of one stream make; None when none of them tells of the run."""
    state: RunState | None = None
    for event in events:
        if isinstance(event.body, (RunPosted, RunPatched)):
            state = state or begin(shard, event.stream[1:], event.recorded_at)
            fold_into(state, event, rule=rule)
    return state


def fold_into(state: RunState, event: RecordedEvent, *, rule: StatusRule) -> None:
    """Fold one more event into a state that nobody else holds, which spares `fold`'s copy."""
    state.version = event.version
    state.last_recorded_at = event.recorded_at
    match event.body:
        case RunPosted(fields=fields):
            _take(state, fields, _POST, event.position)
        case RunPatched(fields=fields):
            _take(state, fields, _PATCH, event.position)
        case _:
            pass  # Attachments have a read model of their own; an erased or unknown event says nothing.
    _settle(state, rule)


def _take(state: RunState, fields: RunFields, rank: int, position: int) -> None:
    """Take over every field that the write says with at least the rank that the state has."""
    moved = offloaded(fields.contents)
    _take_words(state, fields, rank)
    _take_places(state, fields, rank)
    _take_inputs(state, fields, rank, position, moved)
    _take_outputs(state, fields, rank, position, moved)
    if said(fields.extra):
        _take_extra(state, fields.extra, rank)
    if said(fields.events) and _wins(state, _EVENTS, rank_of(fields.events, rank)):
        state.first_token_time = first_token_time(bytes(fields.events))


def _take_words(state: RunState, fields: RunFields, rank: int) -> None:
    if said(fields.name) and _wins(state, _NAME, rank_of(fields.name, rank)):
        state.name = column_text(read_text(fields.name), NAME_CHARS_MAX)
    if said(fields.run_type) and _wins(state, _RUN_TYPE, rank_of(fields.run_type, rank)):
        state.run_type = column_text(read_text(fields.run_type), RUN_TYPE_CHARS_MAX)
    if said(fields.error) and _wins(state, _ERROR, rank_of(fields.error, rank)):
        state.error = column_text(read_text(fields.error), ERROR_CHARS_MAX) or None
    if said(fields.status) and _wins(state, _STATUS, rank_of(fields.status, rank)):
        state.said_status = column_text(read_text(fields.status), WORD_CHARS_MAX)
    if said(fields.tags) and _wins(state, _TAGS, rank_of(fields.tags, rank)):
        state.tags = read_tags(fields.tags)


def _take_places(state: RunState, fields: RunFields, rank: int) -> None:
    """Where the run belongs: in time, below its parent, in its trace and project."""
    start = read_time(fields.start_time)
    if start is not None and _wins(state, _START, rank):
        state.start_time = start
    end = read_time(fields.end_time)
    if end is not None and _wins(state, _END, rank):
        state.end_time = end
    parent = read_id(fields.parent_run_id)
    if parent is not None and _wins(state, _PARENT, rank):
        state.parent_run_id = parent
    trace = read_id(fields.trace_id)
    if trace is not None and _wins(state, _TRACE, rank):
        state.trace_id = trace
    example = read_id(fields.reference_example_id)
    if example is not None and _wins(state, _EXAMPLE, rank):
        state.reference_example_id = example
    project = project_named(fields)
    if project is not None and _wins(state, _PROJECT, rank):
        state.project_id = project[0]
        state.ranks = state.ranks & ~(1 << _PROJECT_NAMED) | (project[1] is not None) << _PROJECT_NAMED
    dotted = _read_dotted_order(fields.dotted_order)
    if dotted is not None and _wins(state, _DOTTED_ORDER, rank):
        _take_dotted_order(state, dotted)


def _take_dotted_order(state: RunState, dotted: DottedOrder) -> None:
    """What a dotted order implies, or leaves out, stands in for what was not said in so many words."""
    if _wins(state, _TRACE, _IMPLIED):
        state.trace_id = dotted.root_id
    if _wins(state, _PARENT, _IMPLIED):
        state.parent_run_id = dotted.parent_id
    if _wins(state, _START, _IMPLIED):
        if dotted.start_us is None:
            state.ranks &= ~(0b11 << _START)
        else:
            state.start_time = dotted.start_us


def _take_inputs(state: RunState, fields: RunFields, rank: int, position: int, moved: dict[str, Offloaded]) -> None:
    if "inputs" in moved:
        if _wins(state, _INPUTS, rank):
            state.inputs_position, state.inputs_preview = position, moved["inputs"].preview
    elif said(fields.inputs) and _wins(state, _INPUTS, rank_of(fields.inputs, rank)):
        state.inputs_position, state.inputs_preview = position, preview(bytes(fields.inputs))


def _take_outputs(state: RunState, fields: RunFields, rank: int, position: int, moved: dict[str, Offloaded]) -> None:
    place = moved.get("outputs")
    if place is None and not said(fields.outputs):
        return
    raw = bytes(fields.outputs)  # Of those that were moved: their essence.
    if not _wins(state, _OUTPUTS, rank_of(raw, rank) if place is None else rank):
        return
    state.has_outputs = 1
    state.outputs_position, state.outputs_preview = position, preview(raw) if place is None else place.preview
    if not _is_told_by_extra(state, _USAGE):
        _set_usage(state, usage_of_outputs(raw))
    if not _is_told_by_extra(state, _MODEL):
        model = model_of_outputs(raw)
        state.model = None if model is None else column_text(model, WORD_CHARS_MAX)


def _take_extra(state: RunState, extra: Raw, rank: int) -> None:
    facts = extra_facts(bytes(extra))
    threads = (facts.thread_id, facts.conversation_id, facts.session_id)
    for precedence, thread in enumerate(threads, 1):
        if thread is not None and _fact_wins(state, _THREAD, precedence, rank):
            state.thread_id = column_text(thread, WORD_CHARS_MAX)
    for precedence, model in enumerate((facts.invocation_model, facts.ls_model_name), 1):
        if model is not None and _fact_wins(state, _MODEL, precedence, rank):
            state.model = column_text(model, WORD_CHARS_MAX)
    if facts.ls_provider is not None and _wins(state, _PROVIDER, rank):
        state.provider = column_text(facts.ls_provider, WORD_CHARS_MAX)
    if facts.usage_metadata is not None:
        usage = usage_of_metadata(facts.usage_metadata)
        if usage is not None and _fact_wins(state, _USAGE, 1, rank):
            _set_usage(state, usage)


def _set_usage(state: RunState, usage: Usage | None) -> None:
    usage = usage or _NO_USAGE
    state.prompt_tokens, state.completion_tokens = usage.prompt_tokens, usage.completion_tokens
    state.total_tokens = usage.total_tokens
    state.prompt_cost, state.completion_cost = usage.prompt_cost, usage.completion_cost
    state.total_cost = usage.total_cost


_NO_USAGE: Final = Usage(None, None, None, None, None, None)


def _wins(state: RunState, place: int, rank: int) -> bool:
    """Whether a word of this rank replaces the field's, noting its rank if so."""
    if rank < state.ranks >> place & 0b11:
        return False
    state.ranks = state.ranks & ~(0b11 << place) | rank << place
    return True


def _fact_wins(state: RunState, place: int, precedence: int, rank: int) -> bool:
    """The same for a fact that may come from several sources: the better source wins, then the rank."""
    strength = precedence << 2 | rank
    mask = (1 << _FACT_BITS) - 1
    if strength < state.ranks >> place & mask:
        return False
    state.ranks = state.ranks & ~(mask << place) | strength << place
    return True


def _is_told_by_extra(state: RunState, place: int) -> bool:
    """Whether a fact has come from `extra`, which is believed before the outputs."""
    return state.ranks >> place & (1 << _FACT_BITS) - 1 > 0


def rank_of(raw: Raw | bytes, rank: int) -> int:
    """The rank of a value that may be an empty object or array: such a one never replaces one that is not empty."""
    view = memoryview(raw)
    if len(view) < 2 or view[0] not in b"{[" or len(view) > _EMPTY_BYTES_MAX:
        return rank
    return rank - 2 if bytes(view).translate(None, b" \t\n\r") in _EMPTY else rank


def _settle(state: RunState, rule: StatusRule) -> None:
    """What follows from the fields once all words are in."""
    if state.ranks >> _START & 0b11 == 0:
        own = uuid7_time(state.id)
        state.start_time = state.first_recorded_at if own is None else own
    state.is_trace_inferred = int(state.ranks >> _TRACE & 0b11 == 0)
    state.is_root = int(state.trace_id == state.id)
    ended = state.end_time is not None
    state.status = infer(
        rule,
        ended=ended,
        has_outputs=bool(state.has_outputs),
        error=state.error,
        said=state.said_status,
    )
    state.langsmith_status = langsmith_status(ended=ended, error=state.error)


def gives_project_name(state: RunState) -> bool:
    """Whether the run is in its project because an event named that by name."""
    return bool(state.ranks >> _PROJECT_NAMED & 1)


# --- reading raw fields -----------------------------------------------------------------------------------------------

_decode_str = msgspec.json.Decoder(str).decode


def read_text(raw: Raw | bytes) -> str:
    """A field that should be a string. Anything else, also what is no JSON, reads as its text."""
    try:
        return _decode_str(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _read_odd_text(bytes(raw).strip())


def _read_odd_text(raw: bytes) -> str:
    # Only strings are parsed: how deep a value may be nested depends on the stack, and a fold must not.
    if raw[:1] == b'"':
        try:
            return str(loads(raw))
        except NotJSON:
            pass
    return raw.decode("utf-8", "replace")


def read_time(raw: Raw | bytes) -> int | None:
    """A field that should be a time, in microseconds; None when it is absent, null or no time."""
    if not said(raw):
        return None
    try:
        return parse_time(loads(bytes(raw)))
    except NotJSON:
        return None


def read_id(raw: Raw | bytes) -> bytes | None:
    """A field that should be a UUID; None when it is absent, null or none."""
    return parse_id(read_text(raw)) if said(raw) else None


def column_text(value: str, chars_max: int) -> str:
    """What both databases take and can index: no U+0000, nothing too long. The log keeps the rest."""
    return value.replace("\0", "\ufffd")[:chars_max]


def read_tags(raw: Raw | bytes) -> str | None:
    """A field that should be a list of texts, as the JSON of one that fits a column; None when it is empty."""
    try:
        tags = split_array(bytes(raw))
    except NotJSON:
        tags = [bytes(raw)]
    words = [column_text(read_text(tag), TAG_CHARS_MAX) for tag in tags[:TAGS_MAX]]
    return dumps(words).decode() if words else None


def _read_dotted_order(raw: Raw) -> DottedOrder | None:
    return dotted_order_ends(read_text(raw)) if said(raw) else None


# --- loading ----------------------------------------------------------------------------------------------------------

_SELECTED: Final = ", ".join(f"r.{name}" for name in COLUMNS)


async def load(writer: Writer, ids: Sequence[bytes], *, shard: int) -> dict[bytes, RunState]:
    """The stored rows of these runs, placeholders included, within the writer's transaction."""
    rows = await writer.lookup(
        f"SELECT {_SELECTED} FROM k JOIN {writer.name_of(runs)} r ON r.shard = {shard} AND r.id = k.id",
        {"id": "bytea"},
        [(id_,) for id_ in ids],
    )
    return {state.id: state for state in map(RunState.from_row, rows)}
