"""Checking events: numbers, chain, payload, event id, and what they say of contents and erasures."""

from collections import Counter
from collections.abc import Iterator, Sequence
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
from events.dialect import Snapshot
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


async def check_events(snapshot: Snapshot, part: Slice) -> Checked:
    rows, context = await read_rows(snapshot, part, "events e", "e.position", EVENT_COLUMNS, body="e.payload")
    events = [LoggedRow._make(row) for row in rows]
    checking = _Events(part, context, await read_named(snapshot, part, {event.receipt_id for event in events}))
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

    def __init__(self, part: Slice, context: int, receipts: dict[int, Named]) -> None:
        self._part = part
        self._context = context
        self._receipts = receipts
        self._walk = Walk("event", part, context)
        self._checked = Checked()
        self._before: LoggedRow | None = None
        self._is_shaken = False
        self._counts: Counter[int] = Counter()
        self._erased_counts: Counter[int] = Counter()
        self.erased: list[LoggedRow] = []
        """Those without a payload."""
        self.held: list[tuple[LoggedRow, bytes]] = []
        """Those that say that their stream holds a content, with its hash."""

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
        if event.kind == "TraceErased":
            yield "its payload is gone, which says what was erased and is never erased itself"
        elif (event.stored_size, event.payload_salt, event.event_id) == (None, None, None):
            self.erased.append(event)
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
            self._note(event, payload)
        except UNREADABLE:
            yield "its payload cannot be read"

    def _note(self, event: LoggedRow, payload: bytes) -> None:
        """Note the contents that an event holds, and what it erased."""
        if event.kind == "TraceErased":
            body = decode(event.kind, event.stream, upcast(event.kind, event.schema_version, payload))
            assert isinstance(body, TraceErased)
            self._checked.erased.update(body.streams, [event.stream])
            self._checked.erased_at = event.recorded_at
        elif event.kind in CONTENT_KINDS or event.codec & OFFLOADED:
            self.held += [(event, hash_) for hash_ in contents_held(event, payload)]

    def _count(self, event: LoggedRow, before: LoggedRow | None, *, is_sound: bool) -> None:
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
