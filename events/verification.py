"""Verifying the log: everything that it must be, read through in one snapshot while others go on writing.

The tables are cut into slices, which `events.checking` checks: here, or in processes that join the snapshot. What no
slice can tell alone (the head, receipts whose events are in two slices, sums, what was erased) is compared at the end.
"""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from events import chain
from events.attestation import Attestation, deviations
from events.checking.receipts import EMPTIED, share_errors
from events.checking.rows import stream_name
from events.checking.slices import Checked, Kind, Share, Slice
from events.checking.walk import missing
from events.checking.workers import check, joined_workers
from events.dialect import Snapshot, open_snapshot
from events.findings import Finding, Findings, Place

FINDINGS_KEPT_MAX: Final = 20

_SLICE_ROWS: Final[Mapping[Kind, int]] = {
    "receipts": 2000,
    "events": 1000,
    "quarantine": 1000,
    "contents": 200,
    "holders": 500,
    "duplicates": 1000,
}
# Starting a process takes as long as checking this many events.
_ALONE_EVENTS_MAX: Final = 30_000
_PAGE_ROWS: Final = 5000
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1

Progress = Callable[[int, int], None]
"""Called with the number of rows that are checked, and of those that there are in all."""
Compare = Callable[[], AsyncIterator[Finding]]
"""Tells where the read models differ from a fold of the log."""
Comparison = Literal["made", "not asked for", "impossible"]
"""Whether the read models were compared. A log that was tampered with cannot be folded: then it is impossible."""


@dataclass(frozen=True, slots=True)
class End:
    """Where a shard ends, as its head says."""

    shard: int
    position: int
    chain: bytes
    receipt_id: int
    receipt_chain: bytes
    quarantine_id: int
    quarantine_chain: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """What was verified, and what is wrong with it: `findings` are the first of `found`, in order."""

    ends: Sequence[End]
    rows: Mapping[Kind, int]
    seconds: float
    found: int
    findings: Sequence[Finding]
    comparison: Comparison

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.found


async def verify(
    url: str,
    *,
    fold_version: str | None = None,
    attestations: Sequence[Attestation] = (),
    compare: Compare | None = None,
    processes: int | None = None,
    findings_max: int = FINDINGS_KEPT_MAX,
    progress: Progress = lambda done, total: None,
) -> Report:
    """Verify every shard of a log, that it extends the `attestations`, and with `compare` a whole log's read models.

    `fold_version` is the one that the head should name. A long log is checked by `processes`, or by as many as there
    are processors. Raises `Unavailable` when the database cannot be read.
    """
    begun = time.monotonic()
    verification = _Verification(url, fold_version, findings_max, progress)
    await verification.run(os.cpu_count() or 1 if processes is None else processes, attestations)
    comparison: Comparison = "not asked for"
    if compare is not None:
        comparison = "impossible" if verification.findings.count else "made"
    if compare is not None and comparison == "made":
        verification.findings.add([finding async for finding in compare()])
    return verification.report(time.monotonic() - begun, comparison)


@dataclass(slots=True)
class _Sums:
    """What the slices of one shard hand over."""

    applied: int = 0
    events: int = 0
    shares: dict[int, Share] = field(default_factory=dict)
    doubted: set[int] = field(default_factory=set)
    erased: set[bytes] = field(default_factory=set)
    erased_at: int = 0
    emptied: tuple[int, int] = (0, 0)

    def take(self, checked: Checked) -> None:
        """Add what came of one slice."""
        self.applied += checked.applied
        self.events += checked.events
        self.doubted |= checked.doubted
        self.erased |= checked.erased
        self.erased_at = max(self.erased_at, checked.erased_at)
        self.emptied = max(self.emptied, checked.emptied)
        for receipt_id, share in checked.shares.items():
            before = self.shares.get(receipt_id, Share(0, 0))
            self.shares[receipt_id] = Share(before.events + share.events, before.erased + share.erased)


class _Verification:
    def __init__(self, url: str, fold_version: str | None, findings_max: int, progress: Progress) -> None:
        self._url = url
        self._fold_version = fold_version
        self._progress = progress
        self._ends: list[End] = []
        self._sums: defaultdict[int, _Sums] = defaultdict(_Sums)
        self._rows: defaultdict[Kind, int] = defaultdict(int)
        self._done = 0
        self.findings = Findings(findings_max)

    async def run(self, processes: int, attestations: Sequence[Attestation]) -> None:
        """Verify the log in one snapshot."""
        snapshot = open_snapshot(self._url)
        try:
            async with snapshot.transaction():
                (events,) = (await snapshot.fetch("SELECT coalesce(max(position), 0) FROM events"))[0]
                is_long = processes > 1 and events > _ALONE_EVENTS_MAX
                async with joined_workers(self._url, snapshot, processes if is_long else 0) as workers:
                    await self._check(snapshot, [worker.check for worker in workers])
                for end in self._ends:
                    await self._compare_sums(snapshot, end.shard)
                    await self._check_erasures(snapshot, end.shard)
                for attestation in attestations:
                    self.findings.add([found async for found in deviations(snapshot, attestation)])
        finally:
            await snapshot.close()

    def report(self, seconds: float, comparison: Comparison) -> Report:
        """What was found."""
        return Report(self._ends, dict(self._rows), seconds, self.findings.count, self.findings.first, comparison)

    async def _check(self, snapshot: Snapshot, checkers: Sequence[Callable[[Slice], Awaitable[Checked]]]) -> None:
        """Cut everything into slices and have them checked, the next one by whoever is free."""
        slices = [part async for part in self._slices(snapshot)]
        total = sum(_SLICE_ROWS.get(part.kind, 0) for part in slices)
        rest = iter(slices)

        async def drain(checker: Callable[[Slice], Awaitable[Checked]]) -> None:
            for part in rest:
                self._take(part, await checker(part), total)

        async with asyncio.TaskGroup() as group:
            for checker in checkers or [lambda part: check(snapshot, part)]:
                group.create_task(drain(checker))
        self._progress(total, total)

    def _take(self, part: Slice, checked: Checked, total: int) -> None:
        self.findings.add(checked.findings, count=checked.found)
        self._sums[part.shard].take(checked)
        self._rows[part.kind] += checked.rows
        self._done += _SLICE_ROWS.get(part.kind, 0)
        self._progress(self._done, total)

    async def _slices(self, snapshot: Snapshot) -> AsyncIterator[Slice]:
        for shard in await self._shards(snapshot):
            head = await self._head(snapshot, shard)
            if head is None:
                continue
            self._ends.append(head)
            yield Slice("streams", shard)
            receipts = await self._end(snapshot, shard, _RECEIPTS, head.receipt_id, head.receipt_chain)
            events = await self._end(snapshot, shard, _EVENTS, head.position, head.chain)
            quarantine = await self._end(snapshot, shard, _QUARANTINE, head.quarantine_id, head.quarantine_chain)
            ends: Sequence[tuple[Kind, _Chained, int]] = (
                ("events", _EVENTS, events),
                ("receipts", _RECEIPTS, receipts),
                ("quarantine", _QUARANTINE, quarantine),
            )
            for kind, table, end in ends:
                async for after, upto in _cuts(snapshot, shard, kind, table.column, _INT_MIN, _SLICE_ROWS[kind]):
                    yield Slice(kind, shard, after, upto, end, receipts)
            async for after, upto in _cuts(snapshot, shard, "contents", "hash", b"", _SLICE_ROWS["contents"]):
                yield Slice("contents", shard, after, upto)
            async for after, upto in _cuts(snapshot, shard, "duplicates", "stream", b"", _SLICE_ROWS["duplicates"]):
                yield Slice("duplicates", shard, after, upto)
            async for after, upto in _cuts(snapshot, shard, "content_holders", "stream", b"", _SLICE_ROWS["holders"]):
                yield Slice("holders", shard, after, upto)

    # --- heads --------------------------------------------------------------------------------------------------------

    async def _shards(self, snapshot: Snapshot) -> list[int]:
        """The shards that there are. One with rows, but without a head or an `instance`, was tampered with."""
        having = {table: set(await _shards_of(snapshot, table)) for table in _TABLES}
        shards = set().union(*having.values())
        for shard in sorted(shards):
            where = ", ".join(table for table in _TABLES if shard in having[table])
            for table, wrong in (("instance", f"it never began, but has rows in {where}"), ("heads", "it has no head")):
                if shard not in having[table]:
                    self.findings.add([Finding("shard", shard, wrong)])
        return sorted(having["heads"] & having["instance"])

    async def _head(self, snapshot: Snapshot, shard: int) -> End | None:
        """The head of a shard, or None when it holds nothing that could be compared."""
        query = (
            "SELECT position, chain, receipt_id, receipt_chain, quarantine_id, quarantine_chain, recorded_at, "
            "fold_version FROM heads WHERE shard = ?1"
        )
        (row,) = await snapshot.fetch(query, shard)
        if not all(map(isinstance, row, (int, bytes, int, bytes, int, bytes, int, str))):
            self.findings.add([Finding("head", shard, "a column holds a value of a type that was never written")])
            return None
        latest = "SELECT received_at FROM receipts WHERE shard = ?1 ORDER BY receipt_id DESC LIMIT 1"
        received = [found[0] for found in await snapshot.fetch(latest, shard)] or [0]
        if row[6] != received[0]:
            wrong = "its recorded_at is not the time of the last receipt"
            self.findings.add([Finding("head", shard, wrong)])
        folded_by = [self._fold_version, ""] if row[0] == 0 else [self._fold_version]
        if self._fold_version is not None and row[7] not in folded_by:
            wrong = (
                f"it says that the read models were folded by {row[7]!r}, and this program folds by {folded_by[0]!r}: "
                "another version of it, or another STATUS_RULE"
            )
            self.findings.add([Finding("head", shard, wrong)])
        return End(shard, *row[:6])

    async def _end(self, snapshot: Snapshot, shard: int, table: "_Chained", number: int, value: bytes) -> int:
        """The last number that there should be in a table: what the head says, unless the head itself was changed."""
        last, last_value, receipt_id = await _last(snapshot, shard, table)
        unnumbered = f"SELECT count(*) FROM {table.table} WHERE shard = ?1 AND {table.column} > {_INT_MAX}"
        if (await snapshot.fetch(unnumbered, shard))[0][0]:  # SQLite would take a text for a number.
            self.findings.add([Finding(table.place, "?", "its number is no number", receipt_id)])
        if last == number:
            if last_value != value:
                self._find_head(shard, f"its chain value for {table.place} {number} is another")
            return number
        if await _value_at(snapshot, shard, table, number) == value:
            return number  # The slices find what is beyond.
        if last_value == value:
            self._find_head(shard, f"it says {table.place} {number} is the last, with the chain value of {last}")
            return last
        if number > last:
            self.findings.add([missing(table.place, last + 1, number, receipt_id)])
        else:
            self._find_head(shard, f"its chain value for {table.place} {number} is another")
        return number

    def _find_head(self, shard: int, wrong: str) -> None:
        self.findings.add([Finding("head", shard, wrong)])

    # --- sums ---------------------------------------------------------------------------------------------------------

    async def _compare_sums(self, snapshot: Snapshot, shard: int) -> None:
        """Compare receipts with all the events that name them, where no slice could."""
        sums = self._sums[shard]
        ids = sorted(sums.shares.keys() - sums.doubted)
        rows = await snapshot.lookup(
            f"SELECT r.receipt_id, r.applied, r.content_hash IS NULL, {EMPTIED} FROM k JOIN receipts r "
            f"ON r.shard = {shard} AND r.receipt_id = k.receipt_id ORDER BY r.receipt_id",
            {"receipt_id": "bigint"},
            [(id_,) for id_ in ids],
        )
        for id_, applied, is_erased, has_emptied in rows:
            errors = share_errors(sums.shares[id_], applied, bool(is_erased), bool(has_emptied))
            self.findings.add(Finding("receipt", id_, wrong, id_, follows=True) for wrong in errors)
        if sums.applied != sums.events:
            await self._find_unnamed(snapshot, shard)

    async def _find_unnamed(self, snapshot: Snapshot, shard: int) -> None:
        """Find receipts that count events, while no event names them."""
        rows = await snapshot.fetch(
            "SELECT receipt_id FROM receipts WHERE shard = ?1 AND receipt_id > 0 AND applied > 0 "
            f"EXCEPT SELECT receipt_id FROM events WHERE shard = ?1 ORDER BY receipt_id LIMIT {_PAGE_ROWS}",
            shard,
        )
        wrong = "it counts applied events, and none names it"
        self.findings.add(Finding("receipt", id_, wrong, id_, follows=True) for (id_,) in rows)

    # --- erasures -----------------------------------------------------------------------------------------------------

    async def _check_erasures(self, snapshot: Snapshot, shard: int) -> None:
        """What events erased is in the table `erased`, nothing else is, and its payloads are gone."""
        emptied_at, quarantine_id = self._sums[shard].emptied
        if emptied_at > self._sums[shard].erased_at:
            wrong = "its bytes are gone, but nothing was erased since it came"
            self.findings.add([Finding("quarantine", quarantine_id, wrong)])
        told = set(self._sums[shard].erased)
        after = b""
        while page := await snapshot.fetch(
            f"SELECT stream FROM erased WHERE shard = ?1 AND stream > ?2 ORDER BY stream LIMIT {_PAGE_ROWS}",
            shard,
            after,
        ):
            wrong = "it is listed as erased, but no event says so"
            self.findings.add(
                Finding("erasure", stream_name(stream), wrong) for (stream,) in page if stream not in told
            )
            told.difference_update(stream for (stream,) in page)
            after = page[-1][0]
        wrong = "an event says that it was erased, but it is not listed: late writes would bring it back"
        self.findings.add(Finding("erasure", stream_name(stream), wrong) for stream in told)
        rows = await snapshot.fetch(
            "SELECT e.position, e.receipt_id FROM erased r JOIN events e ON e.shard = r.shard AND e.stream = r.stream "
            "WHERE r.shard = ?1 AND e.payload IS NOT NULL AND e.kind <> 'TraceErased' "
            f"ORDER BY e.position LIMIT {_PAGE_ROWS}",
            shard,
        )
        wrong = "it was erased, but its payload is still there"
        self.findings.add(Finding("event", position, wrong, receipt_id) for position, receipt_id in rows)


# --- tables -----------------------------------------------------------------------------------------------------------


class _Chained(NamedTuple):
    table: str
    column: str
    place: Place


_EVENTS: Final = _Chained("events", "position", "event")
_RECEIPTS: Final = _Chained("receipts", "receipt_id", "receipt")
_QUARANTINE: Final = _Chained("quarantine", "quarantine_id", "quarantine")
_TABLES: Final = (
    "heads",
    "instance",
    "receipts",
    "events",
    "quarantine",
    "contents",
    "content_holders",
    "duplicates",
    "erased",
)


async def _shards_of(snapshot: Snapshot, table: str) -> list[int]:
    """The shards that a table has rows of, each found with one step along its primary key."""
    shards = []
    (shard,) = (await snapshot.fetch(f"SELECT min(shard) FROM {table}"))[0]
    while shard is not None:
        shards.append(shard)
        (shard,) = (await snapshot.fetch(f"SELECT min(shard) FROM {table} WHERE shard > ?1", shard))[0]
    return shards


async def _last(snapshot: Snapshot, shard: int, table: _Chained) -> tuple[int, bytes, int]:
    """The number, the chain value and the receipt of the last row."""
    rows = await snapshot.fetch(
        f"SELECT {table.column}, chain, receipt_id FROM {table.table} WHERE shard = ?1 AND {table.column} <= ?2 "
        f"ORDER BY {table.column} DESC LIMIT 1",
        *(shard, _INT_MAX),
    )
    number, value, receipt_id = rows[0] if rows else (0, chain.GENESIS, 0)
    return number, value, receipt_id


async def _value_at(snapshot: Snapshot, shard: int, table: _Chained, number: int) -> bytes | None:
    query = f"SELECT chain FROM {table.table} WHERE shard = ?1 AND {table.column} = ?2"
    rows = await snapshot.fetch(query, shard, number)
    return rows[0][0] if rows else chain.GENESIS if number == 0 else None


async def _cuts(
    snapshot: Snapshot, shard: int, table: str, column: str, after: Any, rows: int
) -> AsyncIterator[tuple[Any, Any]]:
    """Cut a table into slices of so many rows: from after one key up to another."""
    bound = f"AND {column} <= {_INT_MAX}" if isinstance(after, int) else ""
    query = f"SELECT {column} FROM {table} WHERE shard = ?1 AND {column} > ?2 {bound} ORDER BY {column} {{}} LIMIT 1"
    last = await snapshot.fetch(query.format("DESC"), shard, after)
    if not last:
        return
    while cut := await snapshot.fetch(query.format("ASC") + f" OFFSET {rows - 1}", shard, after):
        yield after, cut[0][0]
        after = cut[0][0]
    if after != last[0][0]:
        yield after, last[0][0]
