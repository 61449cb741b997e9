"""Whether the events of one stream are what the log's chain says: the check of `events.verification`, of a few."""

from dataclasses import dataclass

from events.checking.slices import Slice
from events.checking.workers import check
from events.dialect import open_snapshot
from events.schema import SHARD


@dataclass(frozen=True, slots=True)
class CheckedEvent:
    """An event, and what is wrong with it, each in a sentence."""

    version: int
    position: int
    wrong: list[str]


async def check_stream(url: str, stream: bytes, *, events_max: int, shard: int = SHARD) -> list[CheckedEvent]:
    """The newest events of a stream, checked: payload, columns, receipt, and the link to the event before in the log.

    That the rest of the log is sound is not looked at: `verify` does that.
    """
    snapshot = open_snapshot(url)
    try:
        async with snapshot.transaction():
            ((end, receipts),) = await snapshot.fetch("SELECT position, receipt_id FROM heads WHERE shard = ?1", shard)
            found = await snapshot.fetch(
                "SELECT version, position FROM events WHERE shard = ?1 AND stream = ?2 "
                f"ORDER BY position DESC LIMIT {events_max:d}",
                *(shard, stream),
            )
            checked = []
            for version, position in found:
                part = await check(snapshot, Slice("events", shard, position - 1, position, end, receipts))
                checked.append(CheckedEvent(version, position, [finding.wrong for finding in part.findings]))
    finally:
        await snapshot.close()
    return checked
