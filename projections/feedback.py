"""The feedback: one row each, and its fold. Feedback may come before its run, or for a run that never comes.

A member that is present sets its field and null clears it. What a PATCH set, a POST that arrives later does not
change: the SDKs queue a POST while a PATCH goes out at once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Row, Writer
from events.ids import parse_id
from events.jsontext import NotJSON, clean, split_object
from events.kinds import FeedbackDeleted, FeedbackPatched, FeedbackPosted, TraceErased, feedback_stream
from events.log import RecordedEvent
from events.prepared import Prepared, Question, given, one_of
from events.schema import SHARD, metadata
from projections.runs import runs
from projections.words import WORD_CHARS_MAX, column_text, read_text

KEY_CHARS_MAX: Final = 255

Level = Literal["run", "session"]
"""What feedback is about: one run, or a project as a whole."""

# The members that say what the feedback is about: null clears none of them.
SUBJECTS: Final = ("run_id", "trace_id", "key")
# The members that the row keeps as clean JSON text.
MEMBERS: Final = (
    *("score", "value", "comment", "correction", "feedback_source", "feedback_config", "feedback_group_id"),
    *("comparative_experiment_id", "session_id", "start_time", "created_at", "modified_at", "extra", "error"),
)
_BITS: Final = {name: 1 << place for place, name in enumerate((*MEMBERS, *SUBJECTS))}

feedback: Final = Table(
    "feedback",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("id", LargeBinary, nullable=False),
    Column("run_id", LargeBinary),
    Column("trace_id", LargeBinary),
    Column("key", Text, nullable=False),
    *(Column(name, Text) for name in MEMBERS),
    Column("patched", BigInteger, nullable=False),
    Column("first_recorded_at", BigInteger, nullable=False),
    Column("last_recorded_at", BigInteger, nullable=False),
    # What can be filtered by, of the members: `session_id`, and in `feedback_source` `type` and `user_id`.
    Column("project_id", LargeBinary),
    Column("source", Text),
    Column("user_id", Text),
    PrimaryKeyConstraint("shard", "id", name="feedback_pk"),
    Index("feedback_run", "shard", "run_id"),
    Index("feedback_trace", "shard", "trace_id"),
    Index("feedback_project", "shard", "project_id"),
)
UNDUMPED: Final = frozenset({"first_recorded_at", "last_recorded_at"})


@dataclass(frozen=True, slots=True)
class Feedback:
    """One feedback. `members` maps names of `MEMBERS` to clean JSON text; times are record times in µs.

    `patched` has a bit for each member that a PATCH has said: those of `MEMBERS`, then those of `SUBJECTS`.
    """

    id: bytes
    run_id: bytes | None
    trace_id: bytes | None
    key: str
    members: Mapping[str, str]
    patched: int
    first_recorded_at: int
    last_recorded_at: int


def fold(state: Feedback | None, event: RecordedEvent) -> Feedback | None:
    """The feedback after one more event of its stream; None when it was deleted or nothing is known of it."""
    match event.body:
        case FeedbackPosted(feedback_id=id_, members=said):
            return _taken(state or _begin(id_, event), said, event, patching=False)
        case FeedbackPatched(feedback_id=id_, members=said):
            return _taken(state or _begin(id_, event), said, event, patching=True)
        case FeedbackDeleted():
            return None
        case _:
            return state


def _begin(id_: bytes, event: RecordedEvent) -> Feedback:
    return Feedback(id_, None, None, "", {}, 0, event.recorded_at, event.recorded_at)


def _taken(state: Feedback, said: Mapping[str, bytes], event: RecordedEvent, *, patching: bool) -> Feedback:
    told = {name: said[name] for name in MEMBERS if name in said}
    subjects: dict[str, Any] = {name: value for name in SUBJECTS if (value := _subject(name, said))}
    if not patching:
        told = {name: raw for name, raw in told.items() if not state.patched & _BITS[name]}
        subjects = {name: value for name, value in subjects.items() if not state.patched & _BITS[name]}
    members = {name: text for name, text in state.members.items() if name not in told}
    members |= {name: clean(raw).decode() for name, raw in told.items() if raw != b"null"}
    patched = sum(_BITS[name] for name in (*told, *subjects)) if patching else 0
    return replace(
        state,
        **subjects,
        members=members,
        patched=state.patched | patched,
        last_recorded_at=event.recorded_at,
    )


def _subject(name: str, said: Mapping[str, bytes]) -> bytes | str | None:
    """An id or the key, when it is said and can be read."""
    raw = said.get(name, b"null")
    if raw == b"null":
        return None
    return column_text(read_text(raw), KEY_CHARS_MAX) if name == "key" else parse_id(read_text(raw))


async def apply(writer: Writer, events: Sequence[RecordedEvent], *, shard: int) -> None:
    """Fold the events into the stored feedback, within the writer's transaction."""
    erased = [(shard, id_) for event in events if isinstance(event.body, TraceErased) for id_ in _erased(event.body)]
    await writer.delete(feedback, erased)
    kinds = (FeedbackPosted, FeedbackPatched, FeedbackDeleted)
    told = [event for event in events if isinstance(event.body, kinds)]
    if not told:
        return
    before = await _load(writer, {event.stream[1:] for event in told}, shard)
    after: dict[bytes, Feedback | None] = dict(before)
    for event in told:
        after[event.stream[1:]] = fold(after.get(event.stream[1:]), event)
    await writer.replace(feedback, [as_row(shard, state) for state in after.values() if state is not None])
    await writer.delete(feedback, [(shard, id_) for id_, state in after.items() if state is None and id_ in before])


def _erased(erasure: TraceErased) -> list[bytes]:
    return [stream[1:] for stream in erasure.streams if stream == feedback_stream(stream[1:])]


async def _load(writer: Writer, ids: Iterable[bytes], shard: int) -> dict[bytes, Feedback]:
    columns = ", ".join(f"f.{column.name}" for column in feedback.columns)
    rows = await writer.lookup(
        f"SELECT {columns} FROM k JOIN {writer.name_of(feedback)} f ON f.shard = {shard} AND f.id = k.id",
        {"id": "bytea"},
        [(id_,) for id_ in ids],
    )
    return {state.id: state for state in map(_from_row, rows)}


def as_row(shard: int, state: Feedback) -> tuple[Any, ...]:
    """The row of a feedback, in the order of the table's columns."""
    texts = (state.members.get(name) for name in MEMBERS)
    times = (state.first_recorded_at, state.last_recorded_at)
    about = (shard, state.id, state.run_id, state.trace_id, state.key)
    return (*about, *texts, state.patched, *times, *_filtered_by(state.members))


def _filtered_by(members: Mapping[str, str]) -> tuple[bytes | None, str | None, str | None]:
    """The project, the type of the source and its user, as far as the members tell."""
    project_id = parse_id(read_text(members["session_id"].encode())) if "session_id" in members else None
    source = read_object(members.get("feedback_source", "null").encode())
    texts = (source.get(name, b"null") for name in ("type", "user_id"))
    kind, user = (None if raw == b"null" else column_text(read_text(raw), WORD_CHARS_MAX) for raw in texts)
    return project_id, kind, user


def read_object(raw: bytes) -> dict[str, bytes]:
    """The members of what should be an object; none when it is something else."""
    try:
        return split_object(raw)
    except NotJSON:
        return {}


def _from_row(row: Row) -> Feedback:
    id_, run_id, trace_id, key = row[1:5]
    texts, (patched, first, last) = row[5 : 5 + len(MEMBERS)], row[5 + len(MEMBERS) : 8 + len(MEMBERS)]
    members = {name: text for name, text in zip(MEMBERS, texts, strict=True) if text is not None}
    ids = (bytes(id_), run_id and bytes(run_id), trace_id and bytes(trace_id))
    return Feedback(*ids, key, members, patched, first, last)


async def get(connection: AsyncConnection, feedback_id: bytes, *, shard: int = SHARD) -> Feedback | None:
    """One feedback, or None when there is none with this id."""
    found = await connection.execute(select(feedback).where(feedback.c.shard == shard, feedback.c.id == feedback_id))
    row = found.one_or_none()
    return None if row is None else _from_row(row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which feedback; empty or None leaves a filter out. `on_runs_of` is a trace; times in µs."""

    run_ids: Sequence[bytes] = ()
    keys: Sequence[str] = ()
    sources: Sequence[str] = ()
    project_ids: Sequence[bytes] = ()
    users: Sequence[str] = ()
    has_comment: bool | None = None
    has_score: bool | None = None
    level: Level | None = None
    on_runs_of: bytes | None = None
    recorded_from: int | None = None
    recorded_to: int | None = None

    def conditions(self, shard: int) -> Iterator[ColumnElement[bool]]:
        """The same as conditions of SQL."""
        yield feedback.c.shard == shard
        texts = ((feedback.c.key, self.keys), (feedback.c.source, self.sources), (feedback.c.user_id, self.users))
        for column, words in texts:
            if words:
                yield column.in_([column_text(word, KEY_CHARS_MAX) for word in words])
        if self.run_ids:
            yield feedback.c.run_id.in_(self.run_ids)
        if self.project_ids:
            in_project = select(runs.c.id).where(
                runs.c.shard == shard, runs.c.id == feedback.c.run_id, runs.c.project_id.in_(self.project_ids)
            )
            yield feedback.c.project_id.in_(self.project_ids) | in_project.exists()
        for column, is_said in ((feedback.c.comment, self.has_comment), (feedback.c.score, self.has_score)):
            if is_said is not None:
                yield column.is_not(None) if is_said else column.is_(None)
        if self.level is not None:
            yield feedback.c.run_id.is_(None) if self.level == "session" else feedback.c.run_id.is_not(None)
        if self.on_runs_of is not None:
            in_trace = select(runs.c.id).where(runs.c.shard == shard, runs.c.trace_id == self.on_runs_of)
            yield feedback.c.run_id.in_(in_trace)
        if self.recorded_from is not None:
            yield feedback.c.first_recorded_at >= self.recorded_from
        if self.recorded_to is not None:
            yield feedback.c.first_recorded_at <= self.recorded_to


async def find(
    connection: AsyncConnection, wanted: Wanted, *, limit: int = 100, offset: int = 0, shard: int = SHARD
) -> list[Feedback]:
    """A page of feedback, the newest first."""
    query = select(feedback).where(*wanted.conditions(shard))
    query = query.order_by(feedback.c.first_recorded_at.desc(), feedback.c.id).limit(limit).offset(offset)
    return [_from_row(row) for row in await connection.execute(query)]


async def of_runs(connection: AsyncConnection, run_ids: Sequence[bytes], *, shard: int = SHARD) -> list[Feedback]:
    """All feedback of these runs, the oldest first."""
    return await on_runs(run_ids, shard=shard).answer(connection)


def on_runs(run_ids: Sequence[bytes], *, shard: int = SHARD) -> Question[list[Feedback]]:
    """All feedback of these runs, the oldest first."""
    return _OF_RUNS.asking(lambda rows: list(map(_from_row, rows)), shard=shard, run_ids=run_ids)


_OF_RUNS: Final = Prepared(
    select(feedback)
    .where(feedback.c.shard == given("shard"), feedback.c.run_id.in_(one_of("run_ids")))
    .order_by(feedback.c.first_recorded_at, feedback.c.id)
)
