"""Checking the quarantine: numbers, chain, the hash of the bytes, and the note of a retry."""

from collections.abc import Iterator
from types import NoneType
from typing import Final, NamedTuple

from events import chain
from events.checking.receipts import Named, is_to_blame, read_named
from events.checking.retries import retried_item
from events.checking.rows import BYTES, NEVER_WRITTEN, OTHER_TYPE, TEXT, UNREADABLE, are_of_types, commits, read_rows
from events.checking.slices import Checked, Slice
from events.checking.walk import UNCHAINED, Walk
from events.codec import unpack
from events.dialect import Snapshot
from events.findings import Finding


class _Quarantined(NamedTuple):
    quarantine_id: int
    receipt_id: int
    recorded_at: int
    source: str
    reason: str
    codec: int
    raw_size: int
    raw_salt: bytes | None
    raw_hash: bytes
    chain: bytes
    retried_at: int | None
    retry_receipt_id: int | None
    outcome: str | None
    stored_size: int | None
    stored: bytes | None

    def leaf(self, shard: int, receipt_leaf: bytes | None) -> bytes | None:
        """The hash that the chain covers, or None when it cannot be computed."""
        if receipt_leaf is None:
            return None
        try:
            return chain.quarantine_leaf(
                shard=shard,
                quarantine_id=self.quarantine_id,
                receipt_id=self.receipt_id,
                recorded_at=self.recorded_at,
                codec=self.codec,
                raw_size=self.raw_size,
                source=self.source,
                reason=self.reason,
                hashed=self.raw_hash,
                receipt_leaf=receipt_leaf,
            )
        except NEVER_WRITTEN:
            return None


_QUARANTINE_TYPES: Final = (
    *([int] * 3),
    *(str, str, int, int, BYTES, bytes, bytes),
    *((int, NoneType), (int, NoneType), TEXT),
    *((int, NoneType), BYTES),
)
_QUARANTINE_COLUMNS: Final = ", ".join(f"q.{name}" for name in _Quarantined._fields[:13])


async def check_quarantine(snapshot: Snapshot, part: Slice) -> Checked:
    rows, context = await read_rows(
        snapshot, part, "quarantine q", "q.quarantine_id", _QUARANTINE_COLUMNS, body="q.raw"
    )
    items = [_Quarantined._make(row) for row in rows]
    of_retries = {item.retry_receipt_id for item in items if item.retry_receipt_id is not None}
    receipts = await read_named(snapshot, part, {item.receipt_id for item in items} | of_retries)
    walk, checked = Walk("quarantine", part, context), Checked(rows=len(items) - context)
    before: int | None = None
    for place, item in enumerate(items):
        has_types = are_of_types(item, _QUARANTINE_TYPES)
        came_with = before or 0
        gap = walk.step(item.quarantine_id, came_with)
        if item.quarantine_id <= 0:
            checked.find(gap)
            continue
        receipt = receipts.get(item.receipt_id)
        leaf = item.leaf(part.shard, receipt and receipt.leaf) if has_types else None
        follows = walk.follows(leaf, item.chain)
        before = item.receipt_id if has_types else before
        if place < context:
            continue
        checked.find(gap)
        if not has_types:
            checked.find(Finding("quarantine", item.quarantine_id, OTHER_TYPE, came_with))
            continue
        stored = item.stored
        if stored is None and item.stored_size is not None:
            query = "SELECT raw FROM quarantine WHERE shard = ?1 AND quarantine_id = ?2"
            stored = (await snapshot.fetch(query, part.shard, item.quarantine_id))[0][0]
        is_unchained = not follows and is_to_blame(receipt, leaf)
        errors = list(_quarantine_errors(part, item, receipt, stored, is_unchained=is_unchained))
        if stored is None:
            checked.emptied = max(checked.emptied, (item.recorded_at, item.quarantine_id))
        checked.find_all("quarantine", item.quarantine_id, errors, min(came_with, item.receipt_id))
        if not errors and (wrong := _retry_error(part, item, receipts)) is not None:
            receipt_id = max(item.receipt_id, item.retry_receipt_id or 0)
            checked.find(Finding("quarantine", item.quarantine_id, wrong, receipt_id, follows=True))
    return checked


def _quarantine_errors(
    part: Slice, item: _Quarantined, receipt: Named | None, stored: bytes | None, *, is_unchained: bool
) -> Iterator[str]:
    if receipt is None:
        if not 0 < item.receipt_id <= part.receipts:
            yield f"it names receipt {item.receipt_id}, and there never was such a one"
    elif is_unchained:
        yield UNCHAINED
    if stored is not None:
        if not commits(item.raw_salt, stored, item.raw_hash):
            yield "its bytes are not those that were recorded"
        elif _unpacked_size(item.codec, stored) != item.raw_size:
            yield f"its bytes cannot be read, or are not {item.raw_size}"
    elif item.raw_salt is not None:
        yield "it is erased in part: raw and raw_salt go together"
    elif receipt is not None and not receipt.receipt.is_erased:
        yield "its bytes are gone, but nothing that came with it was erased"


def _retry_error(part: Slice, item: _Quarantined, receipts: dict[int, Named]) -> str | None:
    """What is wrong with the note of a retry. It stands outside the chain, but a receipt in the chain bears it out."""
    if item.retry_receipt_id is None:
        is_empty = item.retried_at is None and item.outcome is None
        return None if is_empty else "the note of its retry is there in part"
    named = receipts.get(item.retry_receipt_id)
    if named is None:
        was_there = 0 < item.retry_receipt_id <= part.receipts  # That it is missing is told of the receipt.
        return None if was_there else f"it was retried with receipt {item.retry_receipt_id}, which never was there"
    receipt = named.receipt
    noted = (item.quarantine_id, item.retried_at, item.outcome)
    if noted == (retried_item(receipt.endpoint), receipt.received_at, "applied" if receipt.applied else "duplicate"):
        return None
    return f"the note of its retry is not what receipt {receipt.receipt_id} says" if named.is_sound else None


def _unpacked_size(codec: int, stored: bytes) -> int | None:
    try:
        return len(unpack(codec, stored))
    except UNREADABLE:
        return None
