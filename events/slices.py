"""Checking the log slice by slice: each reads its rows in one snapshot and finds what is not as it was written.

A slice is some hundreds of rows of one table, so the memory it takes does not grow with the log. What it cannot decide
by itself, because it goes on in the next slice, it hands over in `Checked`.
"""

import re
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from types import NoneType
from typing import Any, Final, Literal, NamedTuple

import msgspec
import zstandard

from events import chain
from events.codec import Codec, offloaded, unpack
from events.dialect import Row, Snapshot
from events.findings import Finding, Place
from events.kinds import COMMANDS, AttachmentStored, RunPatched, RunPosted, TraceErased, decode, stream_text
from events.upcasters import upcast

Kind = Literal["receipts", "events", "quarantine", "contents", "holders", "duplicates", "streams"]

# Larger bodies are read one at a time: rows times this is the most that a slice holds in memory at once.
_INLINE_BYTES_MAX: Final = 65_536
_FINDINGS_MAX: Final = 100
_STREAM_BYTES: Final = 17
_RETRY: Final = re.compile(r"\bquarantine(?:/0*([1-9]\d{0,18})/retry| retry 0*([1-9]\d{0,18}))/?\Z")
_CONTEXT_ROWS: Final = 2
# A SQLite column takes values of any type, and text that is no UTF-8.
_NEVER_WRITTEN: Final = (UnicodeEncodeError, struct.error)
_UNREADABLE: Final = (ValueError, zstandard.ZstdError, msgspec.MsgspecError)

_UNCHAINED: Final = "its chain value does not follow from the one before: that or another column of it was changed"

_TEXT: Final = (str, NoneType)
_BYTES: Final = (bytes, NoneType)
_OTHER_TYPE: Final = "a column holds a value of a type that was never written"


@dataclass(frozen=True, slots=True)
class Slice:
    """The rows of one kind with numbers (or hashes, or streams) after `after` up to `upto`.

    `end` is the number of the last one that there should be, `receipts` that of the last receipt.
    """

    kind: Kind
    shard: int
    after: Any = None
    upto: Any = None
    end: int = 0
    receipts: int = 0


class Share(NamedTuple):
    """How many events name a receipt, as far as one slice has them, and how many of those are erased."""

    events: int
    erased: int


@dataclass(slots=True)
class Checked:
    """What came of a slice. `found` counts the findings, of which the first are in `findings`."""

    rows: int = 0
    findings: list[Finding] = field(default_factory=list)
    found: int = 0
    applied: int = 0
    events: int = 0
    shares: dict[int, Share] = field(default_factory=dict)
    """Of the receipts whose events may go on in the slices before and after."""
    doubted: set[int] = field(default_factory=set)
    """Receipts whose events cannot be counted, because what is wrong with them was found already."""
    erased: set[bytes] = field(default_factory=set)
    """The streams that events of this slice erased."""
    erased_at: int = 0
    """When the latest of these events was recorded."""
    emptied: tuple[int, int] = (0, 0)
    """When the latest quarantined item that is erased came, and its number."""

    def find(self, finding: Finding | None) -> None:
        """Note a finding, if it is one."""
        if finding is None:
            return
        self.found += 1
        if len(self.findings) < _FINDINGS_MAX:
            self.findings.append(finding)


async def check(snapshot: Snapshot, part: Slice) -> Checked:
    """Check one slice within the snapshot's transaction."""
    match part.kind:
        case "receipts":
            return await _check_receipts(snapshot, part)
        case "events":
            return await _check_events(snapshot, part)
        case "quarantine":
            return await _check_quarantine(snapshot, part)
        case "contents":
            return await _check_contents(snapshot, part)
        case "holders":
            return await _check_holders(snapshot, part)
        case "duplicates":
            return await _check_duplicates(snapshot, part)
        case "streams":
            return await _check_streams(snapshot, part)


# --- numbers without gaps, and chains ---------------------------------------------------------------------------------


class _Walk:
    """Goes along the rows of a chained table in order and tells where numbers or the chain break.

    A row that does not follow from the stored value before it may follow from the computed one: then that value alone
    was changed, and this row is sound. Up to two rows before the slice are walked as context.
    """

    def __init__(self, place: Place, part: Slice, context: int) -> None:
        self._place: Place = place
        self._part = part
        self._is_begin = context < _CONTEXT_ROWS
        self._number: int | None = 0 if self._is_begin else None
        self._stored: bytes | None = chain.GENESIS if self._is_begin else None
        self._computed: bytes | None = None

    def step(self, number: int, receipt_id: int) -> Finding | None:
        """Move on to the row with this number, and tell what is wrong with that, or with what should be before it.

        A row whose number is none is told, and passed over.
        """
        if number <= 0:
            wrong = "its number is none that was ever given"
            return Finding(self._place, number, wrong, self._part.receipts, follows=True)
        before, self._number = self._number, number
        if before is None or number == before + 1 <= self._part.end:
            return None
        self._stored = self._computed = None
        if number > self._part.end:
            wrong = f"it is beyond the head, which says that {self._part.end} is the last"
            return Finding(self._place, number, wrong, receipt_id)
        return missing(self._place, before + 1, number - 1, receipt_id)

    def follows(self, leaf: bytes | None, stored: object) -> bool:
        """Whether the row's chain value follows, by its leaf, from the row before. True when nothing is known of that.

        A row without a leaf cannot be checked, and does not follow.
        """
        before, computed = self._stored, self._computed
        self._stored, self._computed = stored if isinstance(stored, bytes) else None, None
        if leaf is None:
            return False
        if before is None:
            return True
        self._computed = chain.link(before, leaf)
        if self._computed == stored:
            return True
        return computed is not None and chain.link(computed, leaf) == stored


def missing(place: Place, first: int, last: int, receipt_id: int) -> Finding:
    """That rows are not there."""
    wrong = "it is missing" if first == last else f"it is missing, and so is all up to {place} {last}"
    return Finding(place, first, wrong, receipt_id)


# --- receipts ---------------------------------------------------------------------------------------------------------


class _Receipt(NamedTuple):
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
            )
        except _NEVER_WRITTEN:
            return None

    @property
    def is_erased(self) -> bool:
        """Whether the hash of the request was erased."""
        return self.content_hash is None and self.content_salt is None


_RECEIPT_TYPES: Final = (*[int] * 6, str, *[_TEXT] * 6, int, *[_BYTES] * 2, bytes, bytes)
# Whether an item in quarantine that came with the receipt `r` was erased.
EMPTIED: Final = (
    "EXISTS (SELECT 1 FROM quarantine q WHERE q.shard = r.shard AND q.receipt_id = r.receipt_id AND q.raw IS NULL)"
)
_RECEIPT_COLUMNS: Final = ", ".join(f"r.{name}" for name in _Receipt._fields)


async def _check_receipts(snapshot: Snapshot, part: Slice) -> Checked:
    rows, context = await _read(snapshot, part, "receipts r", "r.receipt_id", _RECEIPT_COLUMNS)
    kept = await _per_receipt(snapshot, part, "count(*), sum(CASE WHEN raw IS NULL THEN 1 ELSE 0 END)", "quarantine")
    again = await _per_receipt(snapshot, part, "sum(times), 0", "duplicates")
    walk, checked = _Walk("receipt", part, context), Checked(rows=len(rows) - context)
    latest: int | None = None
    retries: dict[int, int] = {}
    for place, row in enumerate(map(_Receipt._make, rows)):
        gap = walk.step(row.receipt_id, row.receipt_id)
        if row.receipt_id <= 0:
            checked.find(gap)
            continue
        has_types = _has_types(row, _RECEIPT_TYPES)
        follows = walk.follows(row.leaf(part.shard) if has_types else None, row.chain)
        before, latest = latest, row.received_at
        if place < context:
            continue
        checked.find(gap)
        if not has_types:
            checked.find(Finding("receipt", row.receipt_id, _OTHER_TYPE, row.receipt_id))
            continue
        checked.applied += row.applied
        errors = [] if follows else [_UNCHAINED]
        quarantined, emptied = kept.get(row.receipt_id, (0, 0))
        errors += _receipt_errors(row, emptied)
        if isinstance(before, int) and row.received_at < before:
            errors.append("it was received before the one that precedes it")
        _find(checked, "receipt", row.receipt_id, errors, row.receipt_id)
        if not errors:
            noted, _ = again.get(row.receipt_id, (0, 0))
            for wrong in _count_errors(row, quarantined, noted):
                checked.find(Finding("receipt", row.receipt_id, wrong, row.receipt_id, follows=True))
            if (item := retried_item(row.endpoint)) is not None and row.applied + row.duplicate:
                retries[row.receipt_id] = item
    await _check_retries(snapshot, part, checked, retries)
    return checked


async def _per_receipt(snapshot: Snapshot, part: Slice, sums: str, table: str) -> dict[int, tuple[int, int]]:
    """Two sums over the rows that a table has of each receipt in the slice."""
    rows = await snapshot.fetch(
        f"SELECT receipt_id, {sums} FROM {table} WHERE shard = ?1 AND receipt_id > ?2 AND receipt_id <= ?3 "
        "GROUP BY receipt_id",
        *(part.shard, part.after, part.upto),
    )
    return {receipt_id: (first, second) for receipt_id, first, second in rows}


def _count_errors(row: _Receipt, quarantined: int, noted: int) -> Iterator[str]:
    """What other tables have of a receipt that it does not count."""
    if quarantined != row.quarantined:
        yield f"it counts {row.quarantined} quarantined, and there are {quarantined} in quarantine"
    if noted != row.duplicate:
        yield f"it counts {row.duplicate} duplicates, and {noted} are noted"


def _receipt_errors(row: _Receipt, emptied: int) -> Iterator[str]:
    """What is wrong within a receipt itself."""
    if row.received != row.applied + row.duplicate + row.quarantined:
        yield "received is not applied + duplicate + quarantined"
    if not row.is_erased:
        if not _commits(row.content_salt, row.content_hash, row.content_commitment):
            yield "the hash of its request is not the one that was recorded"
    elif not row.applied and not emptied:
        yield "the hash of its request is gone, but nothing that came with it was erased"


class _Named(NamedTuple):
    """A receipt as the events and quarantined items that name it need it."""

    leaf: bytes | None
    is_sound: bool
    receipt: _Receipt
    has_emptied: bool
    """Whether a quarantined item that came with it was erased."""


async def _named(snapshot: Snapshot, part: Slice, receipt_ids: Iterable[object]) -> dict[int, _Named]:
    """Receipts by their ids, each checked against the chain value of the one before it."""
    ids = {id_ for id_ in receipt_ids if isinstance(id_, int) and 0 < id_ <= part.receipts}
    rows = await snapshot.lookup(
        f"SELECT {_RECEIPT_COLUMNS}, r.content_hash IS NULL AND {EMPTIED} FROM k "
        f"JOIN receipts r ON r.shard = {part.shard} AND r.receipt_id = k.receipt_id",
        {"receipt_id": "bigint"},
        [(id_,) for id_ in ids | {id_ - 1 for id_ in ids}],
    )
    read = {row[0]: _Receipt._make(row[:-1]) for row in rows if _has_types(row[:-1], _RECEIPT_TYPES)}
    emptied = {row[0] for row in rows if row[-1]}
    named = {}
    for id_ in ids & read.keys():
        receipt = read[id_]
        leaf = receipt.leaf(part.shard)
        before = chain.GENESIS if id_ == 1 else read[id_ - 1].chain if id_ - 1 in read else None
        is_sound = leaf is not None and before is not None and chain.link(before, leaf) == receipt.chain
        named[id_] = _Named(leaf, is_sound, receipt, id_ in emptied)
    return named


def _is_to_blame(receipt: _Named | None, leaf: bytes | None) -> bool:
    """Whether a row that does not follow is itself at fault, and not the receipt that its leaf covers."""
    return receipt is not None and (receipt.is_sound or (receipt.leaf is not None and leaf is None))


# --- events -----------------------------------------------------------------------------------------------------------


class _Event(NamedTuple):
    position: int
    stream: bytes
    version: int
    kind: str
    event_id: bytes | None
    recorded_at: int
    receipt_id: int
    schema_version: int
    codec: int
    payload_size: int
    payload_salt: bytes | None
    payload_hash: bytes
    chain: bytes
    stored_size: int | None
    stored: bytes | None

    def leaf(self, shard: int, receipt_leaf: bytes | None) -> bytes | None:
        """The hash that the chain covers, or None when it cannot be computed."""
        if receipt_leaf is None:
            return None
        try:
            return chain.event_leaf(
                shard=shard,
                position=self.position,
                version=self.version,
                recorded_at=self.recorded_at,
                receipt_id=self.receipt_id,
                schema_version=self.schema_version,
                codec=self.codec,
                payload_size=self.payload_size,
                stream=self.stream,
                kind=self.kind,
                hashed=self.payload_hash,
                receipt_leaf=receipt_leaf,
            )
        except _NEVER_WRITTEN:
            return None

    @property
    def is_erased(self) -> bool:
        """Whether the payload was erased, at least in part."""
        return self.stored_size is None or self.payload_salt is None or self.event_id is None


_EVENT_TYPES: Final = (int, bytes, int, str, _BYTES, *[int] * 5, _BYTES, bytes, bytes, (int, NoneType), _BYTES)
_EVENT_COLUMNS: Final = ", ".join(f"e.{name}" for name in _Event._fields[:13])
_OFFLOADED: Final = int(Codec.OFFLOADED)  # Comparing enumerations takes a microsecond.
_CONTENT_KINDS: Final = ("AttachmentStored",)


async def _check_events(snapshot: Snapshot, part: Slice) -> Checked:
    rows, context = await _read(snapshot, part, "events e", "e.position", _EVENT_COLUMNS, body="e.payload")
    events = [_Event._make(row) for row in rows]
    checking = _Events(part, context, await _named(snapshot, part, {event.receipt_id for event in events}))
    for event in events:
        stored = event.stored
        if stored is None and event.stored_size is not None and event.position > part.after:
            query = "SELECT payload FROM events WHERE shard = ?1 AND position = ?2"
            stored = (await snapshot.fetch(query, part.shard, event.position))[0][0]
        checking.take(event, stored)
    checked = checking.end(rows=len(events) - context)
    await _check_erased(snapshot, part, checked, checking.erased)
    await _check_held(snapshot, part, checked, checking.held)
    return checked


class _Events:
    """Takes the events of a slice in order."""

    def __init__(self, part: Slice, context: int, receipts: dict[int, _Named]) -> None:
        self._part = part
        self._context = context
        self._receipts = receipts
        self._walk = _Walk("event", part, context)
        self._checked = Checked()
        self._before: _Event | None = None
        self._is_shaken = False
        self._counts: Counter[int] = Counter()
        self._erased_counts: Counter[int] = Counter()
        self.erased: list[_Event] = []
        """Those without a payload."""
        self.held: list[tuple[_Event, bytes]] = []
        """Those that say that their stream holds a content, with its hash."""

    def take(self, event: _Event, stored: bytes | None) -> None:
        """Check the next event."""
        has_types = _has_types(event, _EVENT_TYPES)
        before = self._before
        came_with = before.receipt_id if before is not None else 0
        gap = self._walk.step(event.position, came_with)
        if event.position <= 0:
            self._checked.find(gap)
            return
        receipt = self._receipts.get(event.receipt_id)
        leaf = event.leaf(self._part.shard, receipt and receipt.leaf) if has_types else None
        follows = self._walk.follows(leaf, event.chain)
        self._before = event if has_types else before
        if self._context:
            self._context -= 1
            return
        self._checked.find(gap)
        if not has_types:
            self._checked.find(Finding("event", event.position, _OTHER_TYPE, came_with))
            self._is_shaken = True
            return
        is_unchained = not follows and _is_to_blame(receipt, leaf)
        errors = list(self._errors(event, before, receipt, is_unchained=is_unchained))
        is_sound = not errors and gap is None
        errors += self._erasure_errors(event) if event.is_erased else self._payload_errors(event, stored)
        _find(self._checked, "event", event.position, errors, min(came_with, event.receipt_id))
        self._count(event, before, is_sound=is_sound)

    def _errors(
        self, event: _Event, before: _Event | None, receipt: _Named | None, *, is_unchained: bool
    ) -> Iterator[str]:
        """What is wrong with the columns."""
        if receipt is None:
            if not 0 < event.receipt_id <= self._part.receipts:
                yield f"it names receipt {event.receipt_id}, and there never was such a one"
            return
        if is_unchained:
            yield _UNCHAINED
        if receipt.is_sound and event.recorded_at != receipt.receipt.received_at:
            yield "it was not recorded when its request was received"
        if before is not None and event.receipt_id < before.receipt_id:
            yield f"it names receipt {event.receipt_id}, but the event before it names {before.receipt_id}"

    def _erasure_errors(self, event: _Event) -> Iterator[str]:
        if event.kind == "TraceErased":
            yield "its payload is gone, which says what was erased and is never erased itself"
        elif (event.stored_size, event.payload_salt, event.event_id) == (None, None, None):
            self.erased.append(event)
        else:
            yield "it is erased in part: payload, payload_salt and event_id go together"

    def _payload_errors(self, event: _Event, stored: bytes | None) -> Iterator[str]:
        if stored is None or not _commits(event.payload_salt, stored, event.payload_hash):
            yield "its payload is not the one that was recorded"
            return
        try:
            payload = unpack(event.codec, stored)
            if len(payload) != event.payload_size:
                yield f"its payload has {len(payload)} bytes, not {event.payload_size}"
            if not _is_id(event, payload):
                yield "its event_id is not that of its payload"
            self._note(event, payload)
        except _UNREADABLE:
            yield "its payload cannot be read"

    def _note(self, event: _Event, payload: bytes) -> None:
        """Note the contents that an event holds, and what it erased."""
        if event.kind == "TraceErased":
            body = decode(event.kind, event.stream, upcast(event.kind, event.schema_version, payload))
            assert isinstance(body, TraceErased)
            self._checked.erased.update(body.streams, [event.stream])
            self._checked.erased_at = event.recorded_at
        elif event.kind in _CONTENT_KINDS or event.codec & _OFFLOADED:
            self.held += [(event, hash_) for hash_ in _held(event, payload)]

    def _count(self, event: _Event, before: _Event | None, *, is_sound: bool) -> None:
        """Count the event for its receipt, unless there is doubt about which that is."""
        if not is_sound or self._is_shaken:
            self._checked.doubted |= {event.receipt_id} | ({before.receipt_id} if before else set())
        self._is_shaken = not is_sound
        self._checked.events += 1
        self._counts[event.receipt_id] += 1
        if event.stored_size is None:
            self._erased_counts[event.receipt_id] += 1

    def end(self, rows: int) -> Checked:
        """Compare with what the receipts say, and hand over what other slices may know more of."""
        self._checked.rows = rows
        ids = list(self._counts)
        for id_ in ids:
            share = Share(self._counts[id_], self._erased_counts[id_])
            receipt = self._receipts.get(id_)
            if id_ in (ids[0], ids[-1]):
                self._checked.shares[id_] = share
            elif receipt is not None and id_ not in self._checked.doubted:
                for wrong in share_errors(
                    share, receipt.receipt.applied, receipt.receipt.is_erased, receipt.has_emptied
                ):
                    self._checked.find(Finding("receipt", id_, wrong, id_, follows=True))
        return self._checked


def share_errors(share: Share, applied: int, is_erased: bool, has_emptied: bool) -> Iterator[str]:
    """What is wrong with a receipt, given all the events that name it, and whether an item in quarantine was erased."""
    if share.events != applied:
        yield f"it counts {applied} applied, and {share.events} events name it"
    elif is_erased and not share.erased and not has_emptied:
        yield "the hash of its request is gone, but nothing that came with it was erased"
    elif share.erased and not is_erased:
        yield "an event that came with it was erased, but not the hash of its request"


def _is_id(event: _Event, payload: bytes) -> bool:
    """Whether the event_id is that of the payload. That of a command may tell that it repeats an earlier one."""
    if event.event_id == chain.event_id(event.kind, event.stream, payload):
        return True
    if event.kind not in COMMANDS:
        return False
    return event.event_id == chain.event_id(event.kind, event.stream, payload, after_version=event.version - 1)


def _held(event: _Event, payload: bytes) -> list[bytes]:
    """The hashes of the contents that an event holds."""
    body = decode(event.kind, event.stream, upcast(event.kind, event.schema_version, payload))
    match body:
        case AttachmentStored(content_hash=hash_):
            return [hash_]
        case RunPosted(fields=fields) | RunPatched(fields=fields) if event.codec & _OFFLOADED:
            return [bytes.fromhex(moved.hash) for moved in offloaded(fields.contents).values()]
        case _:
            return []


async def _check_erased(snapshot: Snapshot, part: Slice, checked: Checked, erased: Sequence[_Event]) -> None:
    """An event may be without its payload only when its stream was erased."""
    known = await _known(snapshot, "erased", {"stream": "bytea"}, {(event.stream,) for event in erased}, part.shard)
    for event in erased:
        if (event.stream,) not in known:
            wrong = f"its payload is gone, but {stream_name(event.stream)} was never erased"
            checked.find(Finding("event", event.position, wrong, event.receipt_id))


async def _check_held(snapshot: Snapshot, part: Slice, checked: Checked, held: Sequence[tuple[_Event, bytes]]) -> None:
    """What an event holds must be known to be held, or erasing someone else's would drop it."""
    columns = {"stream": "bytea", "hash": "bytea"}
    pairs = {(event.stream, hash_) for event, hash_ in held}
    known = await _known(snapshot, "content_holders", columns, pairs, part.shard)
    for event, hash_ in held:
        if (event.stream, hash_) not in known:
            wrong = f"event {event.position} holds it, but content_holders does not say so"
            checked.find(Finding("content", hash_.hex(), wrong))


# --- quarantine -------------------------------------------------------------------------------------------------------


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
        except _NEVER_WRITTEN:
            return None


_QUARANTINE_TYPES: Final = (
    *([int] * 3),
    *(str, str, int, int, _BYTES, bytes, bytes),
    *((int, NoneType), (int, NoneType), _TEXT),
    *((int, NoneType), _BYTES),
)
_QUARANTINE_COLUMNS: Final = ", ".join(f"q.{name}" for name in _Quarantined._fields[:13])


async def _check_quarantine(snapshot: Snapshot, part: Slice) -> Checked:
    rows, context = await _read(snapshot, part, "quarantine q", "q.quarantine_id", _QUARANTINE_COLUMNS, body="q.raw")
    items = [_Quarantined._make(row) for row in rows]
    of_retries = {item.retry_receipt_id for item in items if item.retry_receipt_id is not None}
    receipts = await _named(snapshot, part, {item.receipt_id for item in items} | of_retries)
    walk, checked = _Walk("quarantine", part, context), Checked(rows=len(items) - context)
    before: int | None = None
    for place, item in enumerate(items):
        has_types = _has_types(item, _QUARANTINE_TYPES)
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
            checked.find(Finding("quarantine", item.quarantine_id, _OTHER_TYPE, came_with))
            continue
        stored = item.stored
        if stored is None and item.stored_size is not None:
            query = "SELECT raw FROM quarantine WHERE shard = ?1 AND quarantine_id = ?2"
            stored = (await snapshot.fetch(query, part.shard, item.quarantine_id))[0][0]
        is_unchained = not follows and _is_to_blame(receipt, leaf)
        errors = list(_quarantine_errors(part, item, receipt, stored, is_unchained=is_unchained))
        if stored is None:
            checked.emptied = max(checked.emptied, (item.recorded_at, item.quarantine_id))
        _find(checked, "quarantine", item.quarantine_id, errors, min(came_with, item.receipt_id))
        if not errors and (wrong := _retry_error(part, item, receipts)) is not None:
            receipt_id = max(item.receipt_id, item.retry_receipt_id or 0)
            checked.find(Finding("quarantine", item.quarantine_id, wrong, receipt_id, follows=True))
    return checked


def _quarantine_errors(
    part: Slice, item: _Quarantined, receipt: _Named | None, stored: bytes | None, *, is_unchained: bool
) -> Iterator[str]:
    if receipt is None:
        if not 0 < item.receipt_id <= part.receipts:
            yield f"it names receipt {item.receipt_id}, and there never was such a one"
    elif is_unchained:
        yield _UNCHAINED
    if stored is not None:
        if not _commits(item.raw_salt, stored, item.raw_hash):
            yield "its bytes are not those that were recorded"
        elif _unpacked_size(item.codec, stored) != item.raw_size:
            yield f"its bytes cannot be read, or are not {item.raw_size}"
    elif item.raw_salt is not None:
        yield "it is erased in part: raw and raw_salt go together"
    elif receipt is not None and not receipt.receipt.is_erased:
        yield "its bytes are gone, but nothing that came with it was erased"


def _retry_error(part: Slice, item: _Quarantined, receipts: dict[int, _Named]) -> str | None:
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


def retried_item(endpoint: str) -> int | None:
    """The item of the quarantine that a request retried, by its endpoint; None when it was no retry."""
    match = _RETRY.search(endpoint)
    return int(match[1] or match[2]) if match else None


async def _check_retries(snapshot: Snapshot, part: Slice, checked: Checked, retries: dict[int, int]) -> None:
    """A receipt of a retry that succeeded is noted with the item that was retried. `retries`: receipts to items."""
    rows = await snapshot.lookup(
        "SELECT k.quarantine_id, q.retry_receipt_id FROM k JOIN quarantine q "
        f"ON q.shard = {part.shard} AND q.quarantine_id = k.quarantine_id",
        {"quarantine_id": "bigint"},
        [(item,) for item in set(retries.values())],
    )
    noted = {quarantine_id: receipt_id for quarantine_id, receipt_id in rows}
    for receipt_id, item in retries.items():
        if item in noted and noted[item] != receipt_id:
            wrong = f"receipt {receipt_id} retried it, and that is not noted"
            checked.find(Finding("quarantine", item, wrong, receipt_id, follows=True))


def _unpacked_size(codec: int, stored: bytes) -> int | None:
    try:
        return len(unpack(codec, stored))
    except _UNREADABLE:
        return None


# --- contents ---------------------------------------------------------------------------------------------------------


async def _check_contents(snapshot: Snapshot, part: Slice) -> Checked:
    """Each content has the hash and the size that it is known by, and somebody holds it."""
    rows = await snapshot.fetch(
        f"SELECT hash, size, length(body), CASE WHEN length(body) <= {_INLINE_BYTES_MAX} THEN body END FROM contents "
        "WHERE shard = ?1 AND hash > ?2 AND hash <= ?3 ORDER BY hash",
        *(part.shard, part.after, part.upto),
    )
    held = await _known(snapshot, "content_holders", {"hash": "bytea"}, {(row[0],) for row in rows}, part.shard)
    checked = Checked(rows=len(rows))
    for hash_, size, stored_size, body in rows:
        if body is None:
            query = "SELECT body FROM contents WHERE shard = ?1 AND hash = ?2"
            body = (await snapshot.fetch(query, part.shard, hash_))[0][0]
        errors = []
        if not isinstance(body, bytes) or sha256(body).digest() != hash_:
            errors.append("its bytes do not have this hash")
        if size != stored_size:
            errors.append(f"it has {stored_size} bytes, not {size}")
        if (hash_,) not in held:
            errors.append("nothing holds it")
        _find(checked, "content", hash_.hex(), errors, 0)
    return checked


async def _check_holders(snapshot: Snapshot, part: Slice) -> Checked:
    """Each stream that is said to hold a content has an event that says so, and the content is there."""
    rows = await snapshot.fetch(
        "SELECT h.stream, h.hash, (SELECT 1 FROM contents c WHERE c.shard = h.shard AND c.hash = h.hash) "
        "FROM content_holders h WHERE h.shard = ?1 AND h.stream > ?2 AND h.stream <= ?3 ORDER BY h.stream, h.hash",
        *(part.shard, part.after, part.upto),
    )
    kinds = ", ".join(f"'{kind}'" for kind in _CONTENT_KINDS)
    events = await snapshot.lookup(
        f"SELECT {_EVENT_COLUMNS}, length(e.payload), e.payload FROM k "
        f"JOIN events e ON e.shard = {part.shard} AND e.stream = k.stream "
        f"WHERE e.payload IS NOT NULL AND (e.kind IN ({kinds}) OR (e.codec & {_OFFLOADED}) <> 0)",
        {"stream": "bytea"},
        [(stream,) for stream in {row[0] for row in rows}],
    )
    told = {(event.stream, hash_) for event in map(_Event._make, events) for hash_ in _told(event)}
    checked = Checked(rows=len(rows))
    for stream, hash_, is_there in rows:
        errors = [] if is_there else [f"it is missing, and {stream_name(stream)} holds it"]
        if (stream, hash_) not in told:
            errors.append(f"{stream_name(stream)} is said to hold it, but no event of it does")
        _find(checked, "content", hash_.hex(), errors, 0)
    return checked


def _told(event: _Event) -> list[bytes]:
    assert event.stored is not None
    try:
        return _held(event, unpack(event.codec, event.stored))
    except _UNREADABLE:
        return []


# --- duplicates -------------------------------------------------------------------------------------------------------


async def _check_duplicates(snapshot: Snapshot, part: Slice) -> Checked:
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


# --- streams ----------------------------------------------------------------------------------------------------------


async def _check_streams(snapshot: Snapshot, part: Slice) -> Checked:
    """The versions of every stream are 1 to n: counted by the database, along an index."""
    rows = await snapshot.fetch(
        "SELECT stream, count(*), min(version), max(version) FROM events WHERE shard = ?1 GROUP BY stream "
        "HAVING min(version) <> 1 OR max(version) <> count(*) OR count(DISTINCT version) <> count(*) "
        f"ORDER BY stream LIMIT {_FINDINGS_MAX}",
        part.shard,
    )
    checked = Checked()
    for stream, count, first, last in rows:
        wrong = f"its {count} events have versions {first} to {last}, not each version from 1 to {count} once"
        checked.find(Finding("stream", stream_name(stream), wrong))
    return checked


# --- reading ----------------------------------------------------------------------------------------------------------


async def _read(
    snapshot: Snapshot, part: Slice, table: str, number: str, columns: str, *, body: str | None = None
) -> tuple[list[Row], int]:
    """The rows of a slice in order, with those before them as context, and how many of these there are.

    A `body` comes as two more columns: its size, and its bytes unless they are many. The context has only the size.
    """
    shard = number.replace(number.split(".")[1], "shard")
    size = f", length({body})" if body else ""
    inline = f", CASE WHEN length({body}) <= {_INLINE_BYTES_MAX} THEN {body} END" if body else ""
    context = await snapshot.fetch(
        f"SELECT {columns}{size}{', NULL' if body else ''} FROM {table} WHERE {shard} = ?1 AND {number} <= ?2 "
        f"AND {number} > 0 ORDER BY {number} DESC LIMIT {_CONTEXT_ROWS}",
        *(part.shard, part.after),
    )
    rows = await snapshot.fetch(
        f"SELECT {columns}{size}{inline} FROM {table} WHERE {shard} = ?1 AND {number} > ?2 AND {number} <= ?3 "
        f"ORDER BY {number}",
        *(part.shard, part.after, part.upto),
    )
    return [*reversed(context), *rows], len(context)


async def _known(
    snapshot: Snapshot, table: str, columns: dict[str, str], keys: Collection[tuple[bytes, ...]], shard: int
) -> set[tuple[bytes, ...]]:
    """Those of the keys that a table has."""
    names = ", ".join(f"k.{name}" for name in columns)
    matches = " AND ".join(f"t.{name} = k.{name}" for name in columns)
    query = f"SELECT DISTINCT {names} FROM k JOIN {table} t ON t.shard = {shard} AND {matches}"
    return {tuple(row) for row in await snapshot.lookup(query, columns, list(keys))} if keys else set()


# --- telling ----------------------------------------------------------------------------------------------------------


def _find(checked: Checked, place: Place, name: int | str, errors: Sequence[str], receipt_id: int) -> None:
    """Note what is wrong with one row, if anything is."""
    if errors:
        checked.find(Finding(place, name, "; ".join(errors), receipt_id))


def _commits(salt: bytes | None, content: bytes | None, commitment: bytes) -> bool:
    return salt is not None and content is not None and chain.payload_hash(salt, content) == commitment


def _has_types(row: Sequence[object], types: Sequence[Any]) -> bool:
    return all(map(isinstance, row, types))


def stream_name(stream: bytes) -> str:
    """A stream for people, though it may be none."""
    return stream_text(stream) if len(stream) == _STREAM_BYTES else f"stream {stream.hex()}"
