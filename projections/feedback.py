"""The feedback: one row each, and its fold. Feedback may come before its run, or for a run that never comes.

A member that is present sets its field and null clears it. What a PATCH set, a POST that arrives later does not
change: the SDKs queue a POST while a PATCH goes out at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, PrimaryKeyConstraint, SmallInteger, Table, Text, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Row, Writer
from events.ids import parse_id
from events.jsontext import clean
from events.kinds import FeedbackDeleted, FeedbackPatched, FeedbackPosted
from events.log import RecordedEvent
from events.schema import SHARD, metadata
from projections.runs import column_text, read_text

KEY_CHARS_MAX: Final = 255

# The members that the row keeps as clean JSON text, in the order of their bits in `patched`.
MEMBERS: Final = (
    *("score", "value", "comment", "correction", "feedback_source", "feedback_config", "feedback_group_id"),
    *("comparative_experiment_id", "session_id", "start_time", "created_at", "modified_at", "extra", "error"),
)

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
    PrimaryKeyConstraint("shard", "id", name="feedback_pk"),
    Index("feedback_run", "shard", "run_id"),
)
UNDUMPED: Final = frozenset({"first_recorded_at", "last_recorded_at"})


@dataclass(frozen=True, slots=True)
class Feedback:
    """One feedback. `members` maps names of `MEMBERS` to clean JSON text; times are record times in µs."""

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
    members, patched = dict(state.members), state.patched
    for place, name in enumerate(MEMBERS):
        if name not in said or (not patching and patched >> place & 1):
            continue
        if patching:
            patched |= 1 << place
        if said[name] == b"null":
            members.pop(name, None)
        else:
            members[name] = clean(said[name]).decode()
    return replace(
        state,
        run_id=_id(said, "run_id") or state.run_id,
        trace_id=_id(said, "trace_id") or state.trace_id,
        key=_key(said) or state.key,
        members=members,
        patched=patched,
        last_recorded_at=event.recorded_at,
    )


def _id(said: Mapping[str, bytes], name: str) -> bytes | None:
    return parse_id(read_text(said[name])) if name in said else None


def _key(said: Mapping[str, bytes]) -> str:
    raw = said.get("key", b"null")
    return "" if raw == b"null" else column_text(read_text(raw), KEY_CHARS_MAX)


async def apply(writer: Writer, events: Sequence[RecordedEvent], *, shard: int) -> None:
    """Fold the events into the stored feedback, within the writer's transaction."""
    kinds = (FeedbackPosted, FeedbackPatched, FeedbackDeleted)
    told = [event for event in events if isinstance(event.body, kinds)]
    if not told:
        return
    before = await _load(writer, {event.stream[1:] for event in told}, shard)
    after: dict[bytes, Feedback | None] = dict(before)
    for event in told:
        after[event.stream[1:]] = fold(after.get(event.stream[1:]), event)
    await writer.replace(feedback, [_row(shard, state) for state in after.values() if state is not None])
    await writer.delete(feedback, [(shard, id_) for id_, state in after.items() if state is None and id_ in before])


async def _load(writer: Writer, ids: Iterable[bytes], shard: int) -> dict[bytes, Feedback]:
    columns = ", ".join(f"f.{column.name}" for column in feedback.columns)
    rows = await writer.lookup(
        f"SELECT {columns} FROM k JOIN feedback f ON f.shard = {shard} AND f.id = k.id",
        {"id": "bytea"},
        [(id_,) for id_ in ids],
    )
    return {state.id: state for state in map(_from_row, rows)}


def _row(shard: int, state: Feedback) -> tuple[Any, ...]:
    texts = (state.members.get(name) for name in MEMBERS)
    times = (state.first_recorded_at, state.last_recorded_at)
    return (shard, state.id, state.run_id, state.trace_id, state.key, *texts, state.patched, *times)


def _from_row(row: Row) -> Feedback:
    id_, run_id, trace_id, key = row[1:5]
    texts, (patched, first, last) = row[5:-3], row[-3:]
    members = {name: text for name, text in zip(MEMBERS, texts, strict=True) if text is not None}
    ids = (bytes(id_), run_id and bytes(run_id), trace_id and bytes(trace_id))
    return Feedback(*ids, key, members, patched, first, last)


async def get(connection: AsyncConnection, feedback_id: bytes, *, shard: int = SHARD) -> Feedback | None:
    """One feedback, or None when there is none with this id."""
    found = await connection.execute(select(feedback).where(feedback.c.shard == shard, feedback.c.id == feedback_id))
    row = found.one_or_none()
    return None if row is None else _from_row(row)


async def find(
    connection: AsyncConnection,
    *,
    run_ids: Sequence[bytes] = (),
    keys: Sequence[str] = (),
    limit: int = 100,
    offset: int = 0,
    shard: int = SHARD,
) -> list[Feedback]:
    """Feedback of these runs and with these keys when given, the newest first."""
    query = select(feedback).where(feedback.c.shard == shard)
    if run_ids:
        query = query.where(feedback.c.run_id.in_(run_ids))
    if keys:
        query = query.where(feedback.c.key.in_([column_text(key, KEY_CHARS_MAX) for key in keys]))
    query = query.order_by(feedback.c.first_recorded_at.desc(), feedback.c.id).limit(limit).offset(offset)
    return [_from_row(row) for row in await connection.execute(query)]
