"""Checking receipts: numbers, chain, the hash of the request, and each count against the rows that it counts."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from events import chain
from events.checking.retries import check_retries, retried_item
from events.checking.rows import BYTES, NEVER_WRITTEN, OTHER_TYPE, TEXT, are_of_types, commits, read_rows
from events.checking.slices import Checked, Share, Slice
from events.checking.walk import UNCHAINED, Walk
from events.dialect import Row, Snapshot
from events.findings import Finding

_REPETITIONS_PAGE: Final = 5000
_INT_MIN: Final = -(2**63)
_REPETITION_TYPES: Final = (bytes, int, int)


class Receipt(NamedTuple):
    receipt_id: int
    received_at: int
    received: int
    applied: int
    duplicate: int
    quarantined: int
    endpoint: str
    request_id: str | None
    key_id: str | None
    user_agent: str | None
    sdk: str | None
    sdk_version: str | None
    remote_address: str | None
    content_size: int
    content_hash: bytes | None
    content_salt: bytes | None
    content_commitment: bytes
    chain: bytes
    repetitions_hash: bytes | None

    def leaf(self, shard: int) -> bytes | None:
        """The hash that the chain covers, or None when a column holds what was never written."""
        try:
            return chain.receipt_leaf(
                shard=shard,
                receipt_id=self.receipt_id,
                received_at=self.received_at,
                counts=(self.received, self.applied, self.duplicate, self.quarantined),
                content_size=self.content_size,
                texts=self[6:13],
                content_commitment=self.content_commitment,
                repetitions_hash=self.repetitions_hash,
            )
        except NEVER_WRITTEN:
            return None

    @property
    def is_erased(self) -> bool:
        """Whether the hash of the request was erased."""
        return self.content_hash is None and self.content_salt is None


_RECEIPT_TYPES: Final = (*[int] * 6, str, *[TEXT] * 6, int, *[BYTES] * 2, bytes, bytes, BYTES)
# Whether an item in quarantine that came with the receipt `r` was erased.
EMPTIED: Final = (
    "EXISTS (SELECT 1 FROM quarantine q WHERE q.shard = r.shard AND q.receipt_id = r.receipt_id AND q.raw IS NULL)"
)
_RECEIPT_COLUMNS: Final = ", ".join(f"r.{name}" for name in Receipt._fields)


async def check_receipts(snapshot: Snapshot, part: Slice) -> Checked:
    rows, context = await read_rows(snapshot, part, "receipts r", "r.receipt_id", _RECEIPT_COLUMNS)
    kept = await _quarantined(snapshot, part)
    again = await _repeated(snapshot, part)
    walk, checked = Walk("receipt", part, context), Checked(rows=len(rows) - context)
    latest: int | None = None
    retries: dict[int, int] = {}
    for place, row in enumerate(map(Receipt._make, rows)):
        gap = walk.step(row.receipt_id, row.receipt_id)
        if row.receipt_id <= 0:
            checked.find(gap)
            continue
        has_types = are_of_types(row, _RECEIPT_TYPES)
        follows = walk.follows(row.leaf(part.shard) if has_types else None, row.chain)
        before, latest = latest, row.received_at
        if place < context:
            continue
        checked.find(gap)
        if not has_types:
            checked.find(Finding("receipt", row.receipt_id, OTHER_TYPE, row.receipt_id))
            continue
        checked.applied += row.applied
        errors = [] if follows else [UNCHAINED]
        quarantined, emptied = kept.get(row.receipt_id, (0, 0))
        errors += _receipt_errors(row, emptied)
        if isinstance(before, int) and row.received_at < before:
            errors.append("it was received before the one that precedes it")
        checked.find_all("receipt", row.receipt_id, errors, row.receipt_id)
        if not errors:
            for wrong in _count_errors(row, quarantined, again.get(row.receipt_id, _Repeated())):
                checked.find(Finding("receipt", row.receipt_id, wrong, row.receipt_id, follows=True))
            if (item := retried_item(row.endpoint)) is not None and row.applied + row.duplicate:
                retries[row.receipt_id] = item
    await check_retries(snapshot, part, checked, retries)
    return checked


async def _quarantined(snapshot: Snapshot, part: Slice) -> dict[int, tuple[int, int]]:
    """How many items came into quarantine with each receipt in the slice, and how many of them are erased."""
    rows = await snapshot.fetch(
        "SELECT receipt_id, count(*), sum(CASE WHEN raw IS NULL THEN 1 ELSE 0 END) FROM quarantine "
        "WHERE shard = ?1 AND receipt_id > ?2 AND receipt_id <= ?3 GROUP BY receipt_id",
        *(part.shard, part.after, part.upto),
    )
    return {receipt_id: (count, erased) for receipt_id, count, erased in rows}


@dataclass(slots=True)
class _Repeated:
    """What is noted in `duplicates` with one receipt: how often in all, and the hash of it."""

    times: int = 0
    is_readable: bool = True
    _hash: chain.RepetitionsHash = field(default_factory=chain.RepetitionsHash)

    def take(self, repetition: Row) -> None:
        """Take in the next row: stream, version and times."""
        self.is_readable = self.is_readable and are_of_types(repetition, _REPETITION_TYPES)
        if self.is_readable:
            self.times += repetition[2]
            self._hash.add(*repetition)

    @property
    def hashed(self) -> bytes | None:
        """What a receipt says of them; None when it never said so."""
        return self._hash.digest() if self.is_readable else None


async def _repeated(snapshot: Snapshot, part: Slice) -> dict[int, _Repeated]:
    """What came again with each receipt in the slice. Read in pages: a request may bring any number of duplicates."""
    found: defaultdict[int, _Repeated] = defaultdict(_Repeated)
    after = (part.after + 1, b"", _INT_MIN)
    while rows := await snapshot.fetch(
        "SELECT receipt_id, stream, version, times FROM duplicates WHERE shard = ?1 AND receipt_id <= ?2 "
        "AND receipt_id >= ?3 AND (receipt_id, stream, version) > (?3, ?4, ?5) "
        f"ORDER BY receipt_id, stream, version LIMIT {_REPETITIONS_PAGE}",
        *(part.shard, part.upto, *after),
    ):
        for receipt_id, *repetition in rows:
            found[receipt_id].take(repetition)
        after = tuple(rows[-1])[:3]
    return found


def _count_errors(row: Receipt, quarantined: int, again: _Repeated) -> Iterator[str]:
    """What other tables have of a receipt that it does not count."""
    if quarantined != row.quarantined:
        yield f"it counts {row.quarantined} quarantined, and there are {quarantined} in quarantine"
    if again.times != row.duplicate:
        yield f"it counts {row.duplicate} duplicates, and {again.times} are noted"
    elif row.repetitions_hash is not None and again.hashed != row.repetitions_hash:
        yield "the events that it is noted to have repeated are not those that it repeated"


def _receipt_errors(row: Receipt, emptied: int) -> Iterator[str]:
    """What is wrong within a receipt itself."""
    if row.received != row.applied + row.duplicate + row.quarantined:
        yield "received is not applied + duplicate + quarantined"
    if not row.is_erased:
        if not commits(row.content_salt, row.content_hash, row.content_commitment):
            yield "the hash of its request is not the one that was recorded"
    elif not row.applied and not emptied:
        yield "the hash of its request is gone, but nothing that came with it was erased"


class Named(NamedTuple):
    """A receipt as the events and quarantined items that name it need it."""

    leaf: bytes | None
    is_sound: bool
    receipt: Receipt
    has_emptied: bool
    """Whether a quarantined item that came with it was erased."""


async def read_named(snapshot: Snapshot, part: Slice, receipt_ids: Iterable[object]) -> dict[int, Named]:
    """Receipts by their ids, each checked against the chain value of the one before it."""
    ids = {id_ for id_ in receipt_ids if isinstance(id_, int) and 0 < id_ <= part.receipts}
    rows = await snapshot.lookup(
        f"SELECT {_RECEIPT_COLUMNS}, r.content_hash IS NULL AND {EMPTIED} FROM k "
        f"JOIN receipts r ON r.shard = {part.shard} AND r.receipt_id = k.receipt_id",
        {"receipt_id": "bigint"},
        [(id_,) for id_ in ids | {id_ - 1 for id_ in ids}],
    )
    read = {row[0]: Receipt._make(row[:-1]) for row in rows if are_of_types(row[:-1], _RECEIPT_TYPES)}
    emptied = {row[0] for row in rows if row[-1]}
    named = {}
    for id_ in ids & read.keys():
        receipt = read[id_]
        leaf = receipt.leaf(part.shard)
        before = chain.GENESIS if id_ == 1 else read[id_ - 1].chain if id_ - 1 in read else None
        is_sound = leaf is not None and before is not None and chain.link(before, leaf) == receipt.chain
        named[id_] = Named(leaf, is_sound, receipt, id_ in emptied)
    return named


def is_to_blame(receipt: Named | None, leaf: bytes | None) -> bool:
    """Whether a row that does not follow is itself at fault, and not the receipt that its leaf covers."""
    return receipt is not None and (receipt.is_sound or (receipt.leaf is not None and leaf is None))


def share_errors(share: Share, applied: int, is_erased: bool, has_emptied: bool) -> Iterator[str]:
    """What is wrong with a receipt, given all the events that name it, and whether an item in quarantine was erased."""
    if share.events != applied:
        yield f"it counts {applied} applied, and {share.events} events name it"
    elif is_erased and not share.erased and not has_emptied:
        yield "the hash of its request is gone, but nothing that came with it was erased"
    elif share.erased and not is_erased:
        yield "an event that came with it was erased, but not the hash of its request"
