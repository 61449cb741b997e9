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
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
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

from events.dialect import Row, Writer
from events.ids import Places, dotted_order_start, uuid7_time
from events.kinds import RunPatched, RunPosted
from events.log import RecordedEvent
from events.schema import metadata
from projections import pairs, words
from projections.extraction import Usage
from projections.naming import UNCHANGED, Naming
from projections.status import StatusRule, infer, langsmith_status
from projections.words import DEFAULT_PROJECT_ID, Facts, Outputs, Words, words_of

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
    # The merged metadata of `extra`, as much of it as filters look through: see `projections.pairs`.
    Column("metadata", Text),
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
    Index(
        "roots_thread",
        *("shard", "project_id", "thread_id", "start_time", "id"),
        sqlite_where=text("is_root = 1 AND thread_id IS NOT NULL"),
        postgresql_where=text("is_root = 1 AND thread_id IS NOT NULL"),
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
    metadata: str | None

    @classmethod
    def from_row(cls, row: Row) -> "RunState":
        """The state that a row in the order of `COLUMNS` holds."""
        return cls(*row)


# An old row out and a new one in; None where there was or is none.
Turn = tuple[RunState | None, RunState | None]

as_row: Final[Callable[[RunState], tuple[Any, ...]]] = msgspec.structs.astuple


# --- the fold ---------------------------------------------------------------------------------------------------------

# Where each field's two bits of rank stand in `ranks`.
NAME, RUN_TYPE, START, END, PARENT, TRACE, PROJECT = range(0, 14, 2)
INPUTS, OUTPUTS, ERROR, STATUS, TAGS, EXAMPLE, EVENTS, PROVIDER, DOTTED_ORDER = range(14, 32, 2)
# Where each dug-out fact's precedence (high bits) and rank (low two bits) stand.
THREAD, USAGE, MODEL = 32, 37, 42
_FACT_MASK: Final = (1 << 5) - 1
# One bit: whether the word that the project rests on gave its name, and not only its id.
_PROJECT_NAMED: Final = 47
PROJECT_NAMED: Final = 1 << _PROJECT_NAMED

IMPLIED: Final = 1

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


def fold(
    state: RunState | None, event: RecordedEvent, *, shard: int, rule: StatusRule, naming: Naming = UNCHANGED
) -> RunState:
    """The state after one more event of the run's stream.

    `trace_id` is final only when an event named it; otherwise `projections.hierarchy` finds it by way of the parents.
    """
    if state is None or state.is_placeholder:
        state = begin(shard, event.stream[1:], event.recorded_at)
    else:
        state = copy.copy(state)
    fold_into(state, event, rule=rule, naming=naming)
    return state


def fold_all(
    events: Iterable[RecordedEvent], *, shard: int, rule: StatusRule, naming: Naming = UNCHANGED
) -> RunState | None:
    """The state that these events of one stream make; None when none of them tells of the run."""
    state: RunState | None = None
    for event in events:
        if isinstance(event.body, (RunPosted, RunPatched)):
            state = state or begin(shard, event.stream[1:], event.recorded_at)
            fold_into(state, event, rule=rule, naming=naming)
    return state


def fold_into(state: RunState, event: RecordedEvent, *, rule: StatusRule, naming: Naming = UNCHANGED) -> None:
    """Fold one more event into a state that nobody else holds, which spares `fold`'s copy."""
    if not state.version:
        state.project_id = naming.project_of(DEFAULT_PROJECT_ID, event.position)
    state.version = event.version
    state.last_recorded_at = event.recorded_at
    # Attachments have a read model of their own; an erased or unknown event says nothing.
    if isinstance(event.body, (RunPosted, RunPatched)):
        _take(state, words_of(event.body), event.position, naming)
    settle(state, rule)


def _take(state: RunState, told: Words, position: int, naming: Naming) -> None:
    """Take over every field that the write says with at least the rank that the state has."""
    _take_texts(state, told)
    _take_places(state, told, told.rank)
    if told.project is not None and wins(state, PROJECT, told.rank):
        take_project(state, *told.project, position, naming)
    if told.inputs is not None and wins(state, INPUTS, told.rank_of(words.INPUTS)):
        state.inputs_position, state.inputs_preview = position, told.inputs
    if told.outputs is not None and wins(state, OUTPUTS, told.rank_of(words.OUTPUTS)):
        take_outputs(state, told.outputs, position)
    if told.facts is not None:
        take_facts(state, told.facts, told.rank)
    if told.says_events and wins(state, EVENTS, told.rank_of(words.EVENTS)):
        state.first_token_time = told.first_token_time


def _take_texts(state: RunState, told: Words) -> None:
    if told.name is not None and wins(state, NAME, told.rank_of(words.NAME)):
        state.name = told.name
    if told.run_type is not None and wins(state, RUN_TYPE, told.rank_of(words.RUN_TYPE)):
        state.run_type = told.run_type
    if told.error is not None and wins(state, ERROR, told.rank_of(words.ERROR)):
        state.error = told.error or None
    if told.status is not None and wins(state, STATUS, told.rank_of(words.STATUS)):
        state.said_status = told.status
    if told.tags is not None and wins(state, TAGS, told.rank_of(words.TAGS)):
        state.tags = told.tags or None


def _take_places(state: RunState, told: Words, rank: int) -> None:
    """Where the run belongs: in time, below its parent, in its trace and project."""
    if told.start_time is not None and wins(state, START, rank):
        state.start_time = told.start_time
    if told.end_time is not None and wins(state, END, rank):
        state.end_time = told.end_time
    if told.parent_run_id is not None and wins(state, PARENT, rank):
        state.parent_run_id = told.parent_run_id
    if told.trace_id is not None and wins(state, TRACE, rank):
        state.trace_id = told.trace_id
    if told.reference_example_id is not None and wins(state, EXAMPLE, rank):
        state.reference_example_id = told.reference_example_id
    if told.dotted_order is not None and wins(state, DOTTED_ORDER, rank):
        _take_dotted_order(state, told.dotted_order)


def take_project(state: RunState, named_id: bytes, name: str | None, position: int, naming: Naming) -> None:
    state.project_id = named_id if name is None else naming.project_of(named_id, position, state.project_id)
    state.ranks = state.ranks & ~(1 << _PROJECT_NAMED) | (name is not None) << _PROJECT_NAMED


def _take_dotted_order(state: RunState, dotted: Places) -> None:
    """What a dotted order implies, or leaves out, stands in for what was not said in so many words."""
    if wins(state, TRACE, IMPLIED):
        state.trace_id = dotted.root_id
    if wins(state, PARENT, IMPLIED):
        state.parent_run_id = dotted.parent_id
    if wins(state, START, IMPLIED):
        start = dotted_order_start(dotted.stamp)
        if start is None:
            state.ranks &= ~(0b11 << START)
        else:
            state.start_time = start


def take_outputs(state: RunState, told: Outputs, position: int) -> None:
    state.has_outputs = 1
    state.outputs_position, state.outputs_preview = position, told.preview
    if not _is_told_by_extra(state, USAGE):
        set_usage(state, told.usage)
    if not _is_told_by_extra(state, MODEL):
        state.model = told.model


def take_facts(state: RunState, facts: Facts, rank: int) -> None:
    state.metadata = pairs.merged(state.metadata, facts.metadata)
    if facts.thread_id is not None and _fact_wins(state, THREAD, 1, rank):
        state.thread_id = facts.thread_id
    if facts.conversation_id is not None and _fact_wins(state, THREAD, 2, rank):
        state.thread_id = facts.conversation_id
    if facts.session_id is not None and _fact_wins(state, THREAD, 3, rank):
        state.thread_id = facts.session_id
    if facts.invocation_model is not None and _fact_wins(state, MODEL, 1, rank):
        state.model = facts.invocation_model
    if facts.ls_model_name is not None and _fact_wins(state, MODEL, 2, rank):
        state.model = facts.ls_model_name
    if facts.ls_provider is not None and wins(state, PROVIDER, rank):
        state.provider = facts.ls_provider
    if facts.usage is not None and _fact_wins(state, USAGE, 1, rank):
        set_usage(state, facts.usage)


def set_usage(state: RunState, usage: Usage | None) -> None:
    usage = usage or _NO_USAGE
    state.prompt_tokens, state.completion_tokens = usage.prompt_tokens, usage.completion_tokens
    state.total_tokens = usage.total_tokens
    state.prompt_cost, state.completion_cost = usage.prompt_cost, usage.completion_cost
    state.total_cost = usage.total_cost


_NO_USAGE: Final = Usage(None, None, None, None, None, None)


def wins(state: RunState, place: int, rank: int) -> bool:
    """Whether a word of this rank replaces the field's, noting its rank if so."""
    if rank < state.ranks >> place & 0b11:
        return False
    state.ranks = state.ranks & ~(0b11 << place) | rank << place
    return True


def _fact_wins(state: RunState, place: int, precedence: int, rank: int) -> bool:
    """The same for a fact that may come from several sources: the better source wins, then the rank."""
    if precedence << 2 | rank < state.ranks >> place & _FACT_MASK:
        return False
    state.ranks = with_fact(state.ranks, place, precedence, rank)
    return True


def with_fact(ranks: int, place: int, precedence: int, rank: int) -> int:
    """The ranks with those of a fact, the last of which is forgotten."""
    return ranks & ~(_FACT_MASK << place) | (precedence << 2 | rank) << place


def _is_told_by_extra(state: RunState, place: int) -> bool:
    """Whether a fact has come from `extra`, which is believed before the outputs."""
    return state.ranks >> place & _FACT_MASK > 0


def settle(state: RunState, rule: StatusRule) -> None:
    """What follows from the fields once all words are in."""
    if state.ranks >> START & 0b11 == 0:
        own = uuid7_time(state.id)
        state.start_time = state.first_recorded_at if own is None else own
    state.is_trace_inferred = int(state.ranks >> TRACE & 0b11 == 0)
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


def tells_dotted_order(state: RunState) -> bool:
    """Whether an event named the run's place in its trace by a dotted order."""
    return state.ranks >> DOTTED_ORDER & 0b11 > 0


# --- rows -------------------------------------------------------------------------------------------------------------

_SELECTED: Final = ", ".join(f"r.{name}" for name in COLUMNS)
# Indexes stand on these. The others change with almost every write, and where nothing else does no index is touched but
# those by the status of roots.
_PLACING: Final = ("trace_id", "parent_run_id", "project_id", "start_time", "name")
_BEING: Final = ("is_root", "is_placeholder", "is_trace_inferred")
_UPDATED: Final = tuple(name for name in COLUMNS if name not in ("shard", "id", *_PLACING, *_BEING))
_indexed: Final[Callable[[RunState], tuple[Any, ...]]] = operator.attrgetter(*_PLACING, *_BEING)
_updating: Final[Callable[[RunState], tuple[Any, ...]]] = operator.attrgetter(*_UPDATED, "shard", "id")


async def load(writer: Writer, ids: Sequence[bytes], *, shard: int) -> dict[bytes, RunState]:
    """The stored rows of these runs, placeholders included, within the writer's transaction."""
    rows = await writer.lookup(
        f"SELECT {_SELECTED} FROM k JOIN {writer.name_of(runs)} r ON r.shard = {shard} AND r.id = k.id",
        {"id": "bytea"},
        [(id_,) for id_ in ids],
    )
    return {state.id: state for state in map(RunState.from_row, rows)}


async def store(writer: Writer, turns: Iterable[Turn]) -> None:
    """Write the new rows of these turns, whose old ones are those that are stored, and delete those without a new one.

    Within the writer's transaction. A turn from nothing to nothing is passed over.
    """
    inserted, replaced, updated, deleted = list[Row](), list[Row](), list[Row](), list[Row]()
    for old, new in turns:
        if new is None:
            if old is not None:
                deleted.append((old.shard, old.id))
        elif old is None:
            inserted.append(as_row(new))
        elif _indexed(old) == _indexed(new):
            updated.append(_updating(new))
        else:
            replaced.append(as_row(new))
    await writer.delete(runs, deleted)
    await writer.insert(runs, inserted)
    await writer.replace(runs, replaced)
    await writer.update(runs, _UPDATED, updated)
