"""Checking events: numbers, chain, payload, event id, and what they say of contents and erasures.

In nearly every slice nothing is wrong. `_take_sound` finds that out in one plain loop, which takes half the time of
looking at each event by itself; only where it meets with anything else does `_Events` go through the slice, and say
what is wrong where.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Final, NamedTuple

from events import chain
from events.checking.receipts import Named, is_to_blame, read_named, share_errors
from events.checking.rows import (
    BYTES,
    NEVER_WRITTEN,
    OTHER_TYPE,
    UNREADABLE,
    are_of_types,
    commits,
    read_known,
    read_rows,
    stream_name,
)
from events.checking.slices import Checked, Share, Slice
from events.checking.walk import UNCHAINED, Walk
from events.codec import Codec, offloaded, unpack
from events.dialect import Row, Snapshot
from events.findings import Finding
from events.kinds import COMMANDS, AttachmentStored, RunPatched, RunPosted, TraceErased, decode
from events.upcasters import upcast


class LoggedRow(NamedTuple):
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
        except NEVER_WRITTEN:
            return None

    @property
    def is_erased(self) -> bool:
        """Whether the payload was erased, at least in part."""
        return self.stored_size is None or self.payload_salt is None or self.event_id is None


_EVENT_TYPES: Final = (int, bytes, int, str, BYTES, *[int] * 5, BYTES, bytes, bytes, (int, NoneType), BYTES)
EVENT_COLUMNS: Final = ", ".join(f"e.{name}" for name in LoggedRow._fields[:13])
OFFLOADED: Final = int(Codec.OFFLOADED)  # Comparing enumerations takes a microsecond.
CONTENT_KINDS: Final = ("AttachmentStored",)
_ERASURE: Final = TraceErased.__name__
_NOTED: Final = frozenset({*CONTENT_KINDS, _ERASURE})
_RECEIPT_ID: Final = LoggedRow._fields.index("receipt_id")


async def check_events(snapshot: Snapshot, part: Slice) -> Checked:
    rows, context = await read_rows(snapshot, part, "events e", "e.position", EVENT_COLUMNS, body="e.payload")
    receipts = await read_named(snapshot, part, {row[_RECEIPT_ID] for row in rows})
    gathered = await _take_sound(snapshot, part, rows, context, receipts)
    if gathered is None:
        checking = _Events(part, context, receipts)
        for event in map(LoggedRow._make, rows):
            stored = event.stored
            if stored is None and event.stored_size is not None and event.position > part.after:
                stored = await _stored(snapshot, part, event.position)
            checking.take(event, stored)
        gathered = checking.gathered
    checked = gathered.end(receipts, rows=len(rows) - context)
    await _check_erased(snapshot, part, checked, gathered.erased)
    await _check_held(snapshot, part, checked, gathered.held)
    return checked


async def _stored(snapshot: Snapshot, part: Slice, position: int) -> bytes:
    """A stored payload that is so large that it is read by itself."""
    query = "SELECT payload FROM events WHERE shard = ?1 AND position = ?2"
    stored: bytes = (await snapshot.fetch(query, part.shard, position))[0][0]
    return stored


@dataclass(slots=True)
class _Gathered:
    """What the events of a slice come to, as far as rows elsewhere have to agree with it."""

    checked: Checked = field(default_factory=Checked)
    counts: Counter[int] = field(default_factory=Counter)
    """Events by the receipt that they name."""
    erased_counts: Counter[int] = field(default_factory=Counter)
    erased: list[LoggedRow] = field(default_factory=list)
    """Those without a payload."""
    held: list[tuple[LoggedRow, bytes]] = field(default_factory=list)
    """Those that say that their stream holds a content, with its hash."""

    def note(self, event: LoggedRow, payload: bytes) -> None:
        """Note the contents that an event holds, and what it erased."""
        if event.kind == _ERASURE:
            body = decode(event.kind, event.stream, upcast(event.kind, event.schema_version, payload))
            assert isinstance(body, TraceErased)
            self.checked.erased.update(body.streams, [event.stream])
            self.checked.erased_at = event.recorded_at
        elif event.kind in CONTENT_KINDS or event.codec & OFFLOADED:
            self.held += [(event, hash_) for hash_ in contents_held(event, payload)]

    def end(self, receipts: Mapping[int, Named], rows: int) -> Checked:
        """Compare with what the receipts say, and hand over what other slices may know more of."""
        self.checked.rows = rows
        self.checked.events = self.counts.total()
        ids = list(self.counts)
        for id_ in ids:
            share = Share(self.counts[id_], self.erased_counts[id_])
            receipt = receipts.get(id_)
            if id_ in (ids[0], ids[-1]):
                self.checked.shares[id_] = share
            elif receipt is not None and id_ not in self.checked.doubted:
                for wrong in share_errors(
                    share, receipt.receipt.applied, receipt.receipt.is_erased, receipt.has_emptied
                ):
                    self.checked.find(Finding("receipt", id_, wrong, id_, follows=True))
        return self.checked


async def _take_sound(
    snapshot: Snapshot, part: Slice, rows: Sequence[Row], context: int, receipts: Mapping[int, Named]
) -> _Gathered | None:
    """What events come to in which nothing is wrong; None as soon as there is any doubt.

    A value of a type that was never written ends it too: such a value can be neither hashed nor compared.
    """
    gathered = _Gathered()
    expected, before, came_with = 1, chain.GENESIS, 0
    if context:
        latest = LoggedRow._make(rows[context - 1])
        expected, before, came_with = latest.position + 1, latest.chain, latest.receipt_id
    if expected + len(rows) - context > part.end + 1:
        return None
    named: Named | None = None
    receipt_leaf = b""
    try:
        for row in rows[context:]:
            position, stream, version, kind, event_id, recorded_at, receipt_id, schema_version, codec = row[:9]
            payload_size, salt, hashed, value, stored_size, stored = row[9:]
            if named is None or receipt_id != named.receipt.receipt_id:
                named = receipts.get(receipt_id)
                if named is None or not named.is_sound or named.leaf is None or receipt_id < came_with:
                    return None
                receipt_leaf, came_with = named.leaf, receipt_id
            if position != expected or recorded_at != named.receipt.received_at:
                return None
            expected += 1
            leaf = chain.event_leaf(
                shard=part.shard,
                position=position,
                version=version,
                recorded_at=recorded_at,
                receipt_id=receipt_id,
                schema_version=schema_version,
                codec=codec,
                payload_size=payload_size,
                stream=stream,
                kind=kind,
                hashed=hashed,
                receipt_leaf=receipt_leaf,
            )
            before = chain.link(before, leaf)
            if before != value:
                return None
            gathered.counts[receipt_id] += 1
            if stored is None:
                if stored_size is None:
                    if salt is not None or event_id is not None or kind == _ERASURE:
                        return None
                    gathered.erased.append(LoggedRow._make(row))
                    gathered.erased_counts[receipt_id] += 1
                    continue
                stored = await _stored(snapshot, part, position)
            if chain.payload_hash(salt, stored) != hashed:
                return None
            payload = unpack(codec, stored)
            if len(payload) != payload_size:
                return None
            if chain.event_id(kind, stream, payload) != event_id and not _is_id(LoggedRow._make(row), payload):
                return None
            if codec & OFFLOADED or kind in _NOTED:
                gathered.note(LoggedRow._make(row), payload)
    except (TypeError, AttributeError, *NEVER_WRITTEN, *UNREADABLE):
        return None
    return gathered


class _Events:
    """Takes the events of a slice in order, and finds what is wrong with them."""

    def __init__(self, part: Slice, context: int, receipts: Mapping[int, Named]) -> None:
        self._part = part
        self._context = context
        self._receipts = receipts
        self._walk = Walk("event", part, context)
        self._before: LoggedRow | None = None
        self._is_shaken = False
        self.gathered = _Gathered()
        self._checked = self.gathered.checked

    def take(self, event: LoggedRow, stored: bytes | None) -> None:
        """Check the next event."""
        has_types = are_of_types(event, _EVENT_TYPES)
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
            self._checked.find(Finding("event", event.position, OTHER_TYPE, came_with))
            self._is_shaken = True
            return
        is_unchained = not follows and is_to_blame(receipt, leaf)
        errors = list(self._errors(event, before, receipt, is_unchained=is_unchained))
        is_sound = not errors and gap is None
        errors += self._erasure_errors(event) if event.is_erased else self._payload_errors(event, stored)
        self._checked.find_all("event", event.position, errors, min(came_with, event.receipt_id))
        self._count(event, before, is_sound=is_sound)

    def _errors(
        self, event: LoggedRow, before: LoggedRow | None, receipt: Named | None, *, is_unchained: bool
    ) -> Iterator[str]:
        """What is wrong with the columns."""
        if receipt is None:
            if not 0 < event.receipt_id <= self._part.receipts:
                yield f"it names receipt {event.receipt_id}, and there never was such a one"
            return
        if is_unchained:
            yield UNCHAINED
        if receipt.is_sound and event.recorded_at != receipt.receipt.received_at:
            yield "it was not recorded when its request was received"
        if before is not None and event.receipt_id < before.receipt_id:
            yield f"it names receipt {event.receipt_id}, but the event before it names {before.receipt_id}"

    def _erasure_errors(self, event: LoggedRow) -> Iterator[str]:
        if event.kind == _ERASURE:
            yield "its payload is gone, which says what was erased and is never erased itself"
        elif (event.stored_size, event.payload_salt, event.event_id) == (None, None, None):
            self.gathered.erased.append(event)
        else:
            yield "it is erased in part: payload, payload_salt and event_id go together"

    def _payload_errors(self, event: LoggedRow, stored: bytes | None) -> Iterator[str]:
        if stored is None or not commits(event.payload_salt, stored, event.payload_hash):
            yield "its payload is not the one that was recorded"
            return
        try:
            payload = unpack(event.codec, stored)
            if len(payload) != event.payload_size:
                yield f"its payload has {len(payload)} bytes, not {event.payload_size}"
            if not _is_id(event, payload):
                yield "its event_id is not that of its payload"
            self.gathered.note(event, payload)
        except UNREADABLE:
            yield "its payload cannot be read"

    def _count(self, event: LoggedRow, before: LoggedRow | None, *, is_sound: bool) -> None:
        """Count the event for its receipt, unless there is doubt about which that is."""
        if not is_sound or self._is_shaken:
            self._checked.doubted |= {event.receipt_id} | ({before.receipt_id} if before else set())
        self._is_shaken = not is_sound
        self.gathered.counts[event.receipt_id] += 1
        if event.stored_size is None:
            self.gathered.erased_counts[event.receipt_id] += 1


def _is_id(event: LoggedRow, payload: bytes) -> bool:
    """Whether the event_id is that of the payload. That of a command may tell that it repeats an earlier one."""
    if event.event_id == chain.event_id(event.kind, event.stream, payload):
        return True
    if event.kind not in COMMANDS:
        return False
    return event.event_id == chain.event_id(event.kind, event.stream, payload, after_version=event.version - 1)


def contents_held(event: LoggedRow, payload: bytes) -> list[bytes]:
    """The hashes of the contents that an event holds."""
    payload = upcast(event.kind, event.schema_version, payload)
    match decode(event.kind, event.stream, payload, is_offloaded=bool(event.codec & OFFLOADED)):
        case AttachmentStored(content_hash=hash_):
            return [hash_]
        case RunPosted(fields=fields) | RunPatched(fields=fields):
            return [bytes.fromhex(moved.hash) for moved in offloaded(fields.contents).values()]
        case _:
            return []


async def _check_erased(snapshot: Snapshot, part: Slice, checked: Checked, erased: Sequence[LoggedRow]) -> None:
    """An event may be without its payload only when its stream was erased."""
    known = await read_known(snapshot, "erased", {"stream": "bytea"}, {(event.stream,) for event in erased}, part.shard)
    for event in erased:
        if (event.stream,) not in known:
            wrong = f"its payload is gone, but {stream_name(event.stream)} was never erased"
            checked.find(Finding("event", event.position, wrong, event.receipt_id))


async def _check_held(
    snapshot: Snapshot, part: Slice, checked: Checked, held: Sequence[tuple[LoggedRow, bytes]]
) -> None:
    """What an event holds must be known to be held, or erasing someone else's would drop it."""
    columns = {"stream": "bytea", "hash": "bytea"}
    pairs = {(event.stream, hash_) for event, hash_ in held}
    known = await read_known(snapshot, "content_holders", columns, pairs, part.shard)
    for event, hash_ in held:
        if (event.stream, hash_) not in known:
            wrong = f"event {event.position} holds it, but content_holders does not say so"
            checked.find(Finding("content", hash_.hex(), wrong))
