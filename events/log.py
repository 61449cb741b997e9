"""The log: append under the head's lock, and read.

The head row of a shard is locked before anything else is looked at, and its holder numbers the events itself. That is
why positions are gapless and in commit order: a sequence would hand out a number to a transaction that commits after
one with a higher number, and a reader that had passed the higher one would never see the lower.
"""

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, NamedTuple, cast

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from events import chain, receipts
from events.codec import Codec, Content, pack, unpack
from events.dialect import Snapshot, Writer
from events.errors import FoldVersionMismatch, SchemaMismatch
from events.kinds import COMMANDS, Event, Unknown, decode
from events.prepared import Prepared, given, one_of
from events.receipts import Counts, Origin
from events.schema import SHARD, column_text, content_holders, contents, duplicates, quarantine
from events.schema import events as events_table
from events.schema import receipts as receipts_table
from events.turns import portions
from events.upcasters import UPCASTERS, Upcasters, schema_version, upcast

_READ_ROWS: Final = 500
# Unpacking more takes longer than others should have to wait.
_IN_LOOP_BYTES_MAX: Final = 256 * 1024
_REASON_CHARS_MAX: Final = 1000
_OFFLOADED_BIT: Final = int(Codec.OFFLOADED)  # Members of an enumeration take a microsecond to compare.


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """An event on its way into the log, sealed: hashed, compressed and salted, but without a place yet."""

    stream: bytes
    kind: str
    body: Event
    payload: bytes
    codec: int
    stored: bytes
    salt: bytes
    hashed: bytes
    event_id: bytes
    contents: tuple[Content, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """An item that no event can be made of, with its bytes, where it stood in the request, and why."""

    source: str
    reason: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Submission:
    """What one request brought, in its order. `items` is one entry per item received."""

    origin: Origin
    items: Sequence[NewEvent | Refused]


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a shard. Whoever read it from a transaction with the lock is the shard's only writer."""

    shard: int
    position: int
    chain: bytes
    recorded_at: int
    receipt_id: int
    receipt_chain: bytes
    quarantine_id: int
    quarantine_chain: bytes
    fold_version: str


class RecordedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event with its place in the log. `payload` is its JSON, empty when it was erased."""

    position: int
    stream: bytes
    version: int
    kind: str
    recorded_at: int
    receipt_id: int
    body: Event
    payload: bytes


# What is erased is not revived: a late write to it is counted as quarantined, and nothing of it is kept.
Outcome = Literal["applied", "duplicate", "quarantined", "erased"]
ERASED_REASON: Final = "it belongs to a trace that was erased"


@dataclass(slots=True)
class Appended:
    """What an append did: the recorded events, and for every submission the outcome of each of its items."""

    events: list[RecordedEvent] = field(default_factory=list)
    outcomes: list[list[Outcome]] = field(default_factory=list)


def seal(
    kind: str,
    stream: bytes,
    payload: bytes,
    body: Event,
    *,
    codec: Codec = Codec.JSON,
    contents: tuple[Content, ...] = (),
    salt: bytes | None = None,
) -> NewEvent:
    """Hash, compress and salt a payload. The costly part of an append, and it needs no lock."""
    packing, stored = pack(payload, int(codec))
    salt = os.urandom(chain.SALT_BYTES) if salt is None else salt
    hashed = chain.payload_hash(salt, stored)
    event_id = chain.event_id(kind, stream, payload)
    return NewEvent(stream, kind, body, payload, packing, stored, salt, hashed, event_id, contents)


async def lock_head(writer: Writer, *, fold_version: str | None, shard: int = SHARD) -> Head:
    """Lock the shard's head, or wait for it. Raises `FoldVersionMismatch` when other folds made the read models.

    Whoever is about to replace these gives no `fold_version`, and takes the head whichever it names.
    """
    query = (
        "SELECT shard, position, chain, recorded_at, receipt_id, receipt_chain, quarantine_id, quarantine_chain, "
        "fold_version FROM heads WHERE shard = ?1"
    )
    rows = await writer.fetch(query + writer.for_update, shard)
    if not rows:
        raise SchemaMismatch(f"shard {shard} has no head: the database was not migrated")
    head = Head(*rows[0])
    if fold_version is None:
        return head
    if head.position == 0:  # Nothing was folded yet, so any folds will do.
        return replace(head, fold_version=fold_version)
    if head.fold_version != fold_version:
        raise FoldVersionMismatch(stored=head.fold_version, own=fold_version)
    return head


async def touch(writer: Writer, head: Head) -> None:
    """Write the head as it is: changes nothing, and reaches the disk like any other write."""
    await writer.execute("UPDATE heads SET position = ?1 WHERE shard = ?2", head.position, head.shard)


StreamsOf = Callable[[NewEvent], Iterable[bytes]]


def own_stream(event: NewEvent) -> Iterable[bytes]:
    """The streams that an event belongs to, as far as the log itself can tell."""
    return (event.stream,)


async def append(
    writer: Writer,
    head: Head,
    submissions: Sequence[Submission],
    *,
    now: int,
    streams_of: StreamsOf = own_stream,
    random_bytes: Callable[[int], bytes] = os.urandom,
    upcasters: Upcasters = UPCASTERS,
) -> Appended:
    """Append what the submissions bring, move the head, and say what became of every item.

    The caller holds the transaction in which `head` was locked. Within a shard `recorded_at` (from `now`, microseconds)
    never goes back. A duplicate is counted in its receipt, and noted with the event that it repeats; it changes nothing
    else. An event is refused when one of
    the streams that `streams_of` gives for it was erased. `random_bytes` makes the salts: given the same, the same
    head, submissions and `now`, an append writes the same rows.
    """
    placing = _Placing(head, now=max(now, head.recorded_at), random_bytes=random_bytes, upcasters=upcasters)
    await placing.look_up(writer, submissions, streams_of)
    for submission in submissions:
        await placing.place(submission)
    await placing.write(writer)
    return placing.appended


class _Placing:
    """Gives every new event of a group its place, and collects the rows to write."""

    def __init__(self, head: Head, *, now: int, random_bytes: Callable[[int], bytes], upcasters: Upcasters) -> None:
        self._shard = head.shard
        self._now = now
        self._random_bytes = random_bytes
        self._upcasters = upcasters
        self._position, self._chain = head.position, head.chain
        self._receipt_id, self._receipt_chain = head.receipt_id, head.receipt_chain
        self._quarantine_id, self._quarantine_chain = head.quarantine_id, head.quarantine_chain
        self._fold_version = head.fold_version
        self._known: dict[tuple[bytes, bytes], int] = {}
        self._versions: dict[bytes, int] = {}
        self._latest: dict[bytes, bytes | None] = {}
        self._erased: set[int] = set()
        self._event_rows: list[Sequence[object]] = []
        self._receipt_rows: list[Sequence[object]] = []
        self._quarantine_rows: list[Sequence[object]] = []
        self._duplicate_rows: list[Sequence[object]] = []
        self._contents: dict[bytes, bytes] = {}
        self._holders: set[tuple[bytes, bytes]] = set()
        self.appended = Appended()

    async def look_up(self, writer: Writer, submissions: Sequence[Submission], streams_of: StreamsOf) -> None:
        """Look up which of the events are there already or erased, and how long their streams are."""
        new = [item for submission in submissions for item in submission.items if isinstance(item, NewEvent)]
        versions = await writer.lookup(
            f"SELECT k.stream, (SELECT max(e.version) FROM events e WHERE e.shard = {self._shard} "
            "AND e.stream = k.stream) FROM k",
            {"stream": "bytea"},
            [(stream,) for stream in {item.stream for item in new}],
        )
        self._versions = {bytes(stream): version or 0 for stream, version in versions}
        known = await writer.lookup(
            f"SELECT k.stream, k.event_id, e.version FROM k JOIN events e ON e.shard = {self._shard} "
            "AND e.stream = k.stream AND e.event_id = k.event_id",
            {"stream": "bytea", "event_id": "bytea"},
            list({(item.stream, item.event_id) for item in new if self._versions[item.stream]}),
        )
        self._known = {(bytes(stream), bytes(event_id)): version for stream, event_id, version in known}
        await self._find_latest(writer, {item.stream for item in new if item.kind in COMMANDS})
        await self._find_erased(writer, new, streams_of)

    async def _find_latest(self, writer: Writer, streams: set[bytes]) -> None:
        rows = await writer.lookup(
            f"SELECT k.stream, e.event_id FROM k JOIN events e ON e.shard = {self._shard} "
            "AND e.stream = k.stream AND e.version = k.version",
            {"stream": "bytea", "version": "bigint"},
            [(stream, self._versions[stream]) for stream in streams],
        )
        self._latest = {bytes(stream): event_id and bytes(event_id) for stream, event_id in rows}

    async def _find_erased(self, writer: Writer, new: Sequence[NewEvent], streams_of: StreamsOf) -> None:
        if not await writer.fetch("SELECT 1 FROM erased LIMIT 1"):
            return
        belonging = {id(item): tuple(streams_of(item)) for item in new}
        streams = {stream for of_one in belonging.values() for stream in of_one}
        rows = await writer.lookup(
            f"SELECT k.stream FROM k JOIN erased e ON e.shard = {self._shard} AND e.stream = k.stream",
            {"stream": "bytea"},
            [(stream,) for stream in streams],
        )
        gone = {bytes(row[0]) for row in rows}
        self._erased = {key for key, of_one in belonging.items() if not gone.isdisjoint(of_one)}

    async def place(self, submission: Submission) -> None:
        """Place the items of one request under one receipt. Others have their turn: nobody else can write meanwhile."""
        outcomes: list[Outcome] = []
        placed: list[_Placed] = []
        again: Counter[tuple[bytes, int]] = Counter()
        for item in submission.items:
            if isinstance(item, Refused):
                outcomes.append("quarantined")
            elif id(item) in self._erased:
                outcomes.append("erased")
            elif (new := self._take(item)) is None:
                outcomes.append("duplicate")
                again[item.stream, self._original(item)] += 1
            else:
                outcomes.append("applied")
                placed.append(new)
        leaf = self._write_receipt(submission.origin, outcomes, again)
        async for portion in portions(placed):
            for new in portion:
                self._write_event(new, leaf)
        self._duplicate_rows += [(self._shard, *what, self._receipt_id, times) for what, times in again.items()]
        for item, outcome in zip(submission.items, outcomes, strict=True):
            if isinstance(item, Refused):
                self._write_refused(item, leaf)
            elif outcome == "erased":
                self._write_refused(Refused(item.kind, ERASED_REASON, b""), leaf)
        self.appended.outcomes.append(outcomes)

    def _take(self, item: NewEvent) -> "_Placed | None":
        """The item with its id and its version, or None when the stream has it already."""
        event_id = self._id_unless_duplicate(item)
        if event_id is None:
            return None
        version = self._versions[item.stream] = self._versions[item.stream] + 1
        self._known[item.stream, event_id] = version
        self._latest[item.stream] = event_id
        return _Placed(item, event_id, version)

    def _id_unless_duplicate(self, item: NewEvent) -> bytes | None:
        is_known = (item.stream, item.event_id) in self._known
        if item.kind not in COMMANDS:
            return None if is_known else item.event_id
        version = self._versions[item.stream]
        latest = self._latest.get(item.stream)
        if latest is not None and latest in (item.event_id, _repeated_id(item, version - 1)):
            return None
        return _repeated_id(item, version) if is_known else item.event_id

    def _original(self, item: NewEvent) -> int:
        """The version of the event that a duplicate repeats."""
        return self._versions[item.stream] if item.kind in COMMANDS else self._known[item.stream, item.event_id]

    def _write_receipt(
        self, origin: Origin, outcomes: Sequence[Outcome], again: Mapping[tuple[bytes, int], int]
    ) -> bytes:
        self._receipt_id += 1
        counts = Counts(
            received=len(outcomes),
            applied=outcomes.count("applied"),
            duplicate=outcomes.count("duplicate"),
            quarantined=outcomes.count("quarantined") + outcomes.count("erased"),
        )
        if "erased" in outcomes:  # Nothing is to be kept by which a guess at what came late could be confirmed.
            origin = replace(origin, content_hash=b"")
        recorded = receipts.record(
            origin,
            counts,
            shard=self._shard,
            receipt_id=self._receipt_id,
            received_at=self._now,
            salt=self._random_bytes(chain.SALT_BYTES),
            previous_chain=self._receipt_chain,
            repetitions=[(*what, times) for what, times in again.items()],
        )
        self._receipt_chain = recorded.chain
        self._receipt_rows.append(recorded.row)
        return recorded.leaf

    def _write_event(self, placed: "_Placed", receipt_leaf: bytes) -> None:
        item, version = placed.item, placed.version
        self._position += 1
        number = schema_version(item.kind, self._upcasters)
        size = len(item.payload)
        leaf = chain.event_leaf(
            shard=self._shard,
            position=self._position,
            version=version,
            recorded_at=self._now,
            receipt_id=self._receipt_id,
            schema_version=number,
            codec=item.codec,
            payload_size=size,
            stream=item.stream,
            kind=item.kind,
            hashed=item.hashed,
            receipt_leaf=receipt_leaf,
        )
        self._chain = chain.link(self._chain, leaf)
        # fmt: off
        self._event_rows.append((
            self._shard, self._position, item.stream, version, item.kind, placed.event_id, self._now,
            self._receipt_id, number, item.codec, size, item.salt, item.hashed, self._chain, item.stored,
        ))
        # fmt: on
        for content in item.contents:
            self._contents[content.hash] = content.body
            self._holders.add((item.stream, content.hash))
        self.appended.events.append(
            RecordedEvent(
                self._position,
                item.stream,
                version,
                item.kind,
                self._now,
                self._receipt_id,
                item.body,
                item.payload,
            )
        )

    def _write_refused(self, item: Refused, receipt_leaf: bytes) -> None:
        self._quarantine_id += 1
        codec, raw = pack(item.raw)
        source, reason = (column_text(text, _REASON_CHARS_MAX) for text in (item.source, item.reason))
        salt = self._random_bytes(chain.SALT_BYTES)
        hashed = chain.payload_hash(salt, raw)
        leaf = chain.quarantine_leaf(
            shard=self._shard,
            quarantine_id=self._quarantine_id,
            receipt_id=self._receipt_id,
            recorded_at=self._now,
            codec=codec,
            raw_size=len(item.raw),
            source=source,
            reason=reason,
            hashed=hashed,
            receipt_leaf=receipt_leaf,
        )
        self._quarantine_chain = chain.link(self._quarantine_chain, leaf)
        self._quarantine_rows.append(
            (
                *(self._shard, self._quarantine_id, self._receipt_id, self._now, source, reason),
                *(codec, len(item.raw), salt, hashed, self._quarantine_chain, raw),
                *(None, None, None),
            )
        )

    async def write(self, writer: Writer) -> None:
        """Write all rows and move the head."""
        await writer.insert(receipts_table, self._receipt_rows)
        await writer.insert(events_table, self._event_rows)
        await writer.insert(quarantine, self._quarantine_rows)
        if self._duplicate_rows:
            await writer.insert(duplicates, self._duplicate_rows)
        await self._write_contents(writer)
        await writer.execute(
            "UPDATE heads SET position = ?1, chain = ?2, recorded_at = ?3, receipt_id = ?4, receipt_chain = ?5, "
            "quarantine_id = ?6, quarantine_chain = ?7, fold_version = ?8 WHERE shard = ?9",
            *(self._position, self._chain, self._now, self._receipt_id, self._receipt_chain),
            *(self._quarantine_id, self._quarantine_chain, self._fold_version, self._shard),
        )

    async def _write_contents(self, writer: Writer) -> None:
        """Store each content once, whoever holds it."""
        if not self._contents:
            return
        there = await writer.lookup(
            f"SELECT k.hash FROM k JOIN contents c ON c.shard = {self._shard} AND c.hash = k.hash",
            {"hash": "bytea"},
            [(hash_,) for hash_ in self._contents],
        )
        for (hash_,) in there:
            self._contents.pop(bytes(hash_), None)
        await writer.insert(contents, [(self._shard, hash_, len(body), body) for hash_, body in self._contents.items()])
        await writer.replace(content_holders, [(self._shard, *holder) for holder in sorted(self._holders)])


class _Placed(NamedTuple):
    item: NewEvent
    event_id: bytes
    version: int


def _repeated_id(item: NewEvent, after_version: int) -> bytes:
    return chain.event_id(item.kind, item.stream, item.payload, after_version=after_version)


# --- reading ----------------------------------------------------------------------------------------------------------

_READ_COLUMNS: Final = (
    events_table.c.position,
    events_table.c.stream,
    events_table.c.version,
    events_table.c.kind,
    events_table.c.recorded_at,
    events_table.c.receipt_id,
    events_table.c.schema_version,
    events_table.c.codec,
    events_table.c.payload,
)
_VERSION_MAX: Final = 2**63 - 1
_OF_STREAM: Final = Prepared(
    select(*_READ_COLUMNS)
    .where(
        events_table.c.shard == given("shard"),
        events_table.c.stream == given("stream"),
        events_table.c.version > given("after"),
        events_table.c.version <= given("upto"),
    )
    .order_by(events_table.c.version)
    .limit(_READ_ROWS)
)
_SIZES_AT: Final = Prepared(
    select(events_table.c.position, events_table.c.payload_size).where(
        events_table.c.shard == given("shard"), events_table.c.position.in_(one_of("positions"))
    )
)
_AT: Final = Prepared(
    select(*_READ_COLUMNS).where(
        events_table.c.shard == given("shard"), events_table.c.position.in_(one_of("positions"))
    )
)


class StoredEvent(NamedTuple):
    """An event as it is stored: a row of `_READ_COLUMNS`, of which nothing is unpacked before somebody asks."""

    position: int
    stream: bytes
    version: int
    kind: str
    recorded_at: int
    receipt_id: int
    schema_version: int
    codec: int
    payload: bytes | None

    def recorded(self) -> RecordedEvent:
        """The event, read as every other way to read here gives it."""
        return _recorded(self, UPCASTERS)

    def usual_payload(self) -> bytes | None:
        """The JSON as it was recorded; None when it was erased, is of another schema version or in several places."""
        if self.payload is None or self.codec & _OFFLOADED_BIT or self.schema_version != schema_version(self.kind):
            return None
        return unpack(self.codec, self.payload)


async def read_stream(
    connection: AsyncConnection,
    stream: bytes,
    *,
    upto_version: int | None = None,
    shard: int = SHARD,
    upcasters: Upcasters = UPCASTERS,
) -> list[RecordedEvent]:
    """All events of one stream, or those up to a version, in order, as of the current schema versions.

    As with every way to read here, an event reads as `Unknown` when its payload was erased, and when a newer program
    wrote it: with a kind, or a schema version of a kind, that is not known yet.
    """
    events: list[RecordedEvent] = []
    while True:  # In slices, so that a long stream does not hold up everyone else.
        after = events[-1].version if events else 0
        upto = _VERSION_MAX if upto_version is None else upto_version
        rows = await _OF_STREAM.rows(connection, shard=shard, stream=stream, after=after, upto=upto)
        slice_ = [_recorded(StoredEvent(*row), upcasters) for row in rows]
        events += slice_
        if len(slice_) < _READ_ROWS:
            return events


async def read_stream_written(writer: Writer, stream: bytes, *, shard: int = SHARD) -> list[RecordedEvent]:
    """The same within a writer's transaction, what it has just appended included."""
    names = ", ".join(column.name for column in _READ_COLUMNS)
    query = f"SELECT {names} FROM events WHERE shard = ?1 AND stream = ?2 ORDER BY version"
    return [StoredEvent(*row).recorded() for row in await writer.fetch(query, shard, stream)]


async def read_streams(
    connection: AsyncConnection,
    streams: Sequence[bytes],
    *,
    upto: int | None = None,
    shard: int = SHARD,
    upcasters: Upcasters = UPCASTERS,
) -> dict[bytes, list[RecordedEvent]]:
    """All events of several streams, or those up to a position, each in order."""
    query = (
        select(*_READ_COLUMNS)
        .where(events_table.c.shard == shard, events_table.c.stream.in_(streams))
        .order_by(events_table.c.stream, events_table.c.version)
    )
    if upto is not None:
        query = query.where(events_table.c.position <= upto)
    found: dict[bytes, list[RecordedEvent]] = {stream: [] for stream in streams}
    for row in await connection.execute(query):
        found[bytes(row.stream)].append(_recorded(row, upcasters))
    return found


async def read_at(
    connection: AsyncConnection,
    positions: Sequence[int],
    *,
    bytes_max: int,
    shard: int = SHARD,
    upcasters: Upcasters = UPCASTERS,
) -> dict[int, RecordedEvent]:
    """The events at these positions, by position: in the order given, as many as `bytes_max` of payload allow."""
    if not positions:
        return {}
    sizes: dict[int, int] = dict(await _SIZES_AT.rows(connection, shard=shard, positions=positions))  # type: ignore[arg-type]
    sums = itertools.accumulate(sizes.get(position, 0) for position in positions)
    within = [position for position, size in zip(positions, sums, strict=True) if size <= bytes_max]
    rows = [StoredEvent(*row) for row in await _AT.rows(connection, shard=shard, positions=within)]

    def unpacked() -> dict[int, RecordedEvent]:
        return {row.position: _recorded(row, upcasters) for row in rows}

    is_little = sum(sizes[position] for position in sizes.keys() & within) <= _IN_LOOP_BYTES_MAX
    return unpacked() if is_little else await asyncio.to_thread(unpacked)


async def read_all(
    connection: AsyncConnection,
    *,
    after: int = 0,
    upto: int | None = None,
    shard: int = SHARD,
    upcasters: Upcasters = UPCASTERS,
) -> AsyncIterator[list[RecordedEvent]]:
    """The log after a position, in order, in slices; a slice is one query."""
    while True:
        query = (
            select(*_READ_COLUMNS)
            .where(events_table.c.shard == shard, events_table.c.position > after)
            .order_by(events_table.c.position)
            .limit(_READ_ROWS)
        )
        if upto is not None:
            query = query.where(events_table.c.position <= upto)
        events = [_recorded(row, upcasters) for row in await connection.execute(query)]
        if not events:
            return
        yield events
        after = events[-1].position


async def read_written(writer: Writer, *, after: int, limit: int, shard: int = SHARD) -> list[RecordedEvent]:
    """The first events after a position, in order, within a writer's transaction."""
    names = ", ".join(column.name for column in _READ_COLUMNS)
    query = f"SELECT {names} FROM events WHERE shard = ?1 AND position > ?2 ORDER BY position LIMIT {limit}"
    return [StoredEvent(*row).recorded() for row in await writer.fetch(query, shard, after)]


async def read_by_stream(
    snapshot: Snapshot, *, after: tuple[bytes, int], before: bytes, upto: int, limit: int, shard: int = SHARD
) -> list[StoredEvent]:
    """The first events after a version of a stream, in the order of their streams, up to the stream `before`.

    Those after the position `upto` are left out.
    """
    names = ", ".join(column.name for column in _READ_COLUMNS)
    # The plus keeps SQLite from walking the log by position instead.
    rows = await snapshot.fetch(
        f"SELECT {names} FROM events WHERE shard = ?1 AND (stream, version) > (?2, ?3) AND stream < ?4 "
        f"AND +position <= ?5 ORDER BY stream, version LIMIT {limit}",
        *(shard, *after, before, upto),
    )
    return list(map(StoredEvent._make, rows))


async def cut_by_stream(
    snapshot: Snapshot, *, first: bytes, before: bytes, events: int, shard: int = SHARD
) -> list[bytes]:
    """Streams at which to cut those from `first` up to `before` into parts of about so many events each."""
    cuts: list[bytes] = []
    at = first
    while True:
        rows = await snapshot.fetch(
            "SELECT stream FROM events WHERE shard = ?1 AND stream >= ?2 AND stream < ?3 ORDER BY stream, version "
            f"LIMIT 1 OFFSET {events}",
            *(shard, at, before),
        )
        if not rows:
            return cuts
        # A stream longer than a part stays whole: the next part begins after it.
        at = bytes(rows[0][0]) if bytes(rows[0][0]) > at else bytes(rows[0][0]) + b"\0"
        cuts.append(at)


def _recorded(row: Any, upcasters: Upcasters) -> RecordedEvent:
    stream = bytes(row.stream)
    payload, body = b"", cast(Event, Unknown(row.kind))
    if row.payload is not None:
        payload = unpack(row.codec, bytes(row.payload))
        if row.schema_version <= schema_version(row.kind, upcasters):
            payload = upcast(row.kind, row.schema_version, payload, upcasters)
            body = decode(row.kind, stream, payload, is_offloaded=bool(row.codec & _OFFLOADED_BIT))
    return RecordedEvent(row.position, stream, row.version, row.kind, row.recorded_at, row.receipt_id, body, payload)
