"""Erasing a trace: the event that says so, and what goes with it from the log and from every read model."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from events import log
from events.dialect import Writer
from events.erasure import erase_streams, refuse_from_now_on
from events.errors import LogError
from events.ids import dotted_order_ends, format_id
from events.kinds import (
    FeedbackPatched,
    FeedbackPosted,
    FeedbackTokenCreated,
    RunPatched,
    RunPosted,
    TraceErased,
    erasure_payload,
    feedback_stream,
    run_stream,
    said,
    share_stream,
    trace_stream,
)
from events.log import Head, NewEvent, RecordedEvent, Submission, seal
from events.receipts import Origin
from events.schema import SHARD, erased, events
from projections import fulltext, projector, shadow
from projections.status import StatusRule
from projections.words import read_id, read_text

REASON_CHARS_MAX: Final = 500
_ERASURES_AT_ONCE: Final = 100


class NoSuchTrace(LogError):
    """There is no trace with this id, or no longer."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased: the event that says so, and how many runs and feedbacks went."""

    event: RecordedEvent
    runs: int
    feedback: int


async def erase_trace(
    writer: Writer, head: Head, trace_id: bytes, *, reason: str, origin: Origin, rule: StatusRule, now: int
) -> Erased:
    """Erase a trace within a transaction that holds the head. Raises `NoSuchTrace`.

    Appends `TraceErased` first, then erases the payloads of every run that is in the trace now, whenever they were
    recorded, and of the feedback on them, and takes them out of the read models.
    """
    streams = await _streams_of_trace(writer, trace_id, head.shard)
    if not streams:
        raise NoSuchTrace(f"there is no trace {format_id(trace_id)}")
    whole, reason = trace_stream(trace_id), reason[:REASON_CHARS_MAX]
    root_names = await _root_names(writer, trace_id, head.shard)
    event = seal("TraceErased", whole, erasure_payload(streams, reason), TraceErased(trace_id, tuple(streams), reason))
    appended = await log.append(writer, head, [Submission(origin, [event])], now=now)
    await projector.apply(writer, appended.events, rule=rule, shard=head.shard)
    await fulltext.forget(writer, streams, shard=head.shard)
    await erase_streams(writer, streams, shard=head.shard)
    await refuse_from_now_on(writer, [*streams, whole], shard=head.shard)
    await shadow.forget(
        writer,
        run_ids=[stream[1:] for stream in streams if stream == run_stream(stream[1:])],
        feedback_ids=[stream[1:] for stream in streams if stream == feedback_stream(stream[1:])],
        root_names=root_names,
        now=now,
        shard=head.shard,
    )
    run_count = sum(stream == run_stream(stream[1:]) for stream in streams)
    feedback_count = sum(stream == feedback_stream(stream[1:]) for stream in streams)
    return Erased(appended.events[0], run_count, feedback_count)


async def erasure_of(connection: AsyncConnection, stream: bytes, *, shard: int = SHARD) -> RecordedEvent | None:
    """The event that erased this stream of a run or trace; None when none did.

    A root's trace has its id. Of any other stream nothing tells the trace any more: the erasures are looked through,
    which are few, since people ask for each.
    """
    is_erased = select(erased.c.stream).where(erased.c.shard == shard, erased.c.stream == stream)
    if (await connection.execute(is_erased)).first() is None:
        return None
    after = 0
    erasures = await log.read_stream(connection, trace_stream(stream[1:]), shard=shard)
    while not (found := [event for event in erasures if _erases(event, stream)]):
        query = (
            select(events.c.position, events.c.stream)
            .where(events.c.shard == shard, events.c.kind == "TraceErased", events.c.position > after)
            .order_by(events.c.position)
            .limit(_ERASURES_AT_ONCE)
        )
        rows = (await connection.execute(query)).all()
        if not rows:
            return None
        after = rows[-1].position
        read = await log.read_streams(connection, [bytes(row.stream) for row in rows], shard=shard)
        erasures = list(chain.from_iterable(read.values()))
    return found[0]


def _erases(event: RecordedEvent, stream: bytes) -> bool:
    return isinstance(event.body, TraceErased) and stream in (event.stream, *event.body.streams)


def streams_of(event: NewEvent) -> Iterable[bytes]:
    """The streams that a new event belongs to: its own, and those of what it says it is part of."""
    yield event.stream
    match event.body:
        case RunPosted(fields=fields) | RunPatched(fields=fields):
            if (trace := read_id(fields.trace_id)) is not None:
                yield trace_stream(trace)
            if (parent := read_id(fields.parent_run_id)) is not None:
                yield run_stream(parent)
            dotted = dotted_order_ends(read_text(fields.dotted_order)) if said(fields.dotted_order) else None
            if dotted is not None:
                yield trace_stream(dotted.root_id)
        case FeedbackPosted(members=members) | FeedbackPatched(members=members):
            if (run_id := read_id(members.get("run_id", b""))) is not None:
                yield run_stream(run_id)
            if (trace := read_id(members.get("trace_id", b""))) is not None:
                yield trace_stream(trace)
        case FeedbackTokenCreated(run_id=run_id):
            yield run_stream(run_id)
        case _:
            return


async def _root_names(writer: Writer, trace_id: bytes, shard: int) -> list[str]:
    rows = await writer.fetch(
        "SELECT DISTINCT name FROM runs WHERE shard = ?1 AND trace_id = ?2 AND is_root = 1", shard, trace_id
    )
    return [row[0] for row in rows]


async def _streams_of_trace(writer: Writer, trace_id: bytes, shard: int) -> list[bytes]:
    """The streams of the runs in a trace, of the feedback on them or on the trace, and of who may read them."""
    rows = await writer.fetch(
        "SELECT id FROM runs WHERE shard = ?1 AND trace_id = ?2 AND is_placeholder = 0 ORDER BY id", shard, trace_id
    )
    run_ids = [bytes(row[0]) for row in rows]
    on_runs = await writer.lookup(
        f"SELECT f.id FROM k JOIN feedback f ON f.shard = {shard} AND f.run_id = k.id",
        {"id": "bytea"},
        [(run_id,) for run_id in run_ids],
    )
    on_trace = await writer.fetch("SELECT id FROM feedback WHERE shard = ?1 AND trace_id = ?2", shard, trace_id)
    tokens, shared = [
        await writer.lookup(
            f"SELECT t.{column} FROM k JOIN {table} t ON t.shard = {shard} AND t.run_id = k.id",
            {"id": "bytea"},
            [(run_id,) for run_id in run_ids],
        )
        for column, table in (("id", "feedback_tokens"), ("run_id", "shares"))
    ]
    feedback_ids = sorted({bytes(row[0]) for row in (*on_runs, *on_trace, *tokens)})
    share_ids = sorted(bytes(row[0]) for row in shared)
    return [*map(run_stream, run_ids), *map(feedback_stream, feedback_ids), *map(share_stream, share_ids)]
