"""Undoing what was written to a run, by an event that says so."""

from typing import Final

from events import log
from events.dialect import Writer
from events.errors import LogError
from events.ids import format_id
from events.kinds import RunReverted, revert_payload, run_stream
from events.log import Head, RecordedEvent, Submission, read_stream_written, seal
from events.receipts import Origin
from projections import projector
from projections.status import StatusRule

REASON_CHARS_MAX: Final = 500


class NoSuchRun(LogError):
    """No event told of this run."""


class NoSuchVersion(LogError):
    """The run has no such version to go back to."""


async def revert_run(
    writer: Writer,
    head: Head,
    run_id: bytes,
    *,
    to_version: int,
    reason: str,
    origin: Origin,
    rule: StatusRule,
    now: int,
) -> RecordedEvent:
    """Undo what was written to a run after `to_version`, within a transaction that holds the head, by a new event.

    Raises `NoSuchRun` and `NoSuchVersion`. Asked for twice in a row, it is done once.
    """
    stream = run_stream(run_id)
    there = await read_stream_written(writer, stream, shard=head.shard)
    if not there:
        raise NoSuchRun(f"there is no run {format_id(run_id)}")
    if not 1 <= to_version <= len(there):
        raise NoSuchVersion(f"run {format_id(run_id)} has versions 1 to {len(there)}, not {to_version}")
    reason = reason[:REASON_CHARS_MAX]
    event = seal("RunReverted", stream, revert_payload(to_version, reason), RunReverted(run_id, to_version, reason))
    appended = await log.append(writer, head, [Submission(origin, [event])], now=now)
    await projector.apply(writer, appended.events, rule=rule, shard=head.shard)
    return appended.events[0] if appended.events else there[-1]
