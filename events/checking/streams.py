"""Checking streams: their versions are 1 to n, and what came again repeats an event that is there."""

from events.checking.rows import stream_name
from events.checking.slices import FINDINGS_MAX, Checked, Slice
from events.dialect import Snapshot
from events.findings import Finding


async def check_duplicates(snapshot: Snapshot, part: Slice) -> Checked:
    """What came again repeats an event that is there, and came with a receipt that is there."""
    rows = await snapshot.fetch(
        "SELECT d.stream, d.version, d.receipt_id, d.times, "
        "(SELECT min(e.receipt_id) FROM events e WHERE e.shard = d.shard AND e.stream = d.stream "
        "AND e.version = d.version), "
        "(SELECT 1 FROM receipts r WHERE r.shard = d.shard AND r.receipt_id = d.receipt_id) "
        "FROM duplicates d WHERE d.shard = ?1 AND d.stream > ?2 AND d.stream <= ?3",
        *(part.shard, part.after, part.upto),
    )
    checked = Checked(rows=len(rows))
    for stream, version, receipt_id, times, first_receipt_id, is_receipt in rows:
        if not is_receipt or times < 1 or first_receipt_id is None or first_receipt_id > receipt_id:
            wrong = f"receipt {receipt_id} is noted to have repeated version {version}, which cannot be"
            checked.find(Finding("stream", stream_name(stream), wrong))
    return checked


async def check_streams(snapshot: Snapshot, part: Slice) -> Checked:
    """The versions of every stream are 1 to n: counted by the database, along an index."""
    rows = await snapshot.fetch(
        "SELECT stream, count(*), min(version), max(version) FROM events WHERE shard = ?1 GROUP BY stream "
        "HAVING min(version) <> 1 OR max(version) <> count(*) OR count(DISTINCT version) <> count(*) "
        f"ORDER BY stream LIMIT {FINDINGS_MAX}",
        part.shard,
    )
    checked = Checked()
    for stream, count, first, last in rows:
        wrong = f"its {count} events have versions {first} to {last}, not each version from 1 to {count} once"
        checked.find(Finding("stream", stream_name(stream), wrong))
    return checked
