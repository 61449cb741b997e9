"""The index of words: which runs may hold a piece of text. It follows the log from a checkpoint of its own.

An entry is the text of one event, which never changes; a run is found by any of its events, and looked into before it
is told. So nothing is ever entered anew: events are added in the order of the log, and erased ones removed. Runs with
events after the checkpoint are found as if they held everything, as long as these are few.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    FromClause,
    PrimaryKeyConstraint,
    Select,
    SmallInteger,
    Table,
    case,
    func,
    select,
    true,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import log
from events.dialect import Writer, open_writer
from events.errors import DataRefused
from events.kinds import RunPatched, RunPosted
from events.log import RecordedEvent
from events.prepared import Prepared, given
from events.reading import read_end
from events.schema import SHARD, events, metadata
from projections.filters.compiling import NoTextIndex, TextIndex
from projections.filters.conditions import All, AnyOf, Condition, Search
from projections.folding import folded
from projections.projector import checkpoints, reached
from projections.texts import TEXTS_VERSION, searched_text
from projections.textstore import Bounds, Entry, TextStore, store_of, store_used_by

NAME: Final = "full_text"

_SLICE_EVENTS: Final = 100
_SLICE_CHARS: Final = 400_000
# With more events than that to follow, the index is of no use to a query.
_LAG_MAX: Final = 2_000
# So many entries are looked up for one query at once.
_FEW_ENTRIES: Final = 2_000
_PAUSE_S: Final = 0.01
_ELSEWHERE_S: Final = 0.1

full_text_state: Final = Table(
    "full_text_state",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    # How the texts were made that are indexed: see `projections.texts`. 0 while there is no index.
    Column("texts_version", BigInteger, nullable=False),
    # 1 when removed entries still lie somewhere in the file.
    Column("is_unclean", SmallInteger, nullable=False),
    PrimaryKeyConstraint("shard", name="full_text_state_pk"),
)


# --- following the log ------------------------------------------------------------------------------------------------

Step = Literal["added", "nothing new", "elsewhere"]


async def prepare(writer: Writer, *, anew: bool = False, shard: int = SHARD) -> bool:
    """Have an index be there, an empty one if there is none of today's texts or `anew`; whether the database can."""
    store = store_used_by(writer)
    try:
        async with writer.transaction():
            if await _lock(writer, shard) == TEXTS_VERSION and not anew:
                return True
            can = await store.create(writer)
            version = TEXTS_VERSION if can else 0
            await writer.execute("UPDATE full_text_state SET texts_version = ?1 WHERE shard = ?2", version, shard)
            await writer.delete(checkpoints, [(shard, NAME)])
            await writer.replace(checkpoints, [(shard, NAME, 0)] * can)
    except DataRefused:  # That it may not make an extension is one way in which PostgreSQL cannot.
        return False
    while can:
        async with writer.transaction():
            if not await store.discard(writer):
                break
        await asyncio.sleep(0)
    return can


async def follow(engine: AsyncEngine, writer: Writer, *, shard: int = SHARD) -> Step:
    """Add the next few events to the index, in a short transaction that has nothing to do with the head.

    `elsewhere` when another process was quicker, or an event was erased meanwhile: what was read is then dropped.
    """
    async with engine.connect() as connection:
        after = await position(connection, shard=shard)
        slice_ = await _next_events(connection, after, shard)
    if not slice_:
        return "nothing new"
    entries, last = _entries(slice_)
    taken = [event for event in slice_ if event.position <= last]
    async with writer.transaction():
        version = await _lock(writer, shard)
        if version != TEXTS_VERSION or await reached(writer, NAME, shard=shard) != after:
            return "elsewhere"
        if await _are_erased(writer, taken, shard):
            return "elsewhere"
        await store_used_by(writer).add(writer, entries, shard=shard)
        await writer.replace(checkpoints, [(shard, NAME, last)])
    return "added"


async def renew(url: str, engine: AsyncEngine, *, shard: int = SHARD) -> int | None:
    """Make the index anew, up to the position that is returned; None when the database cannot.

    Servers may follow the log with it meanwhile, and searches find what they did, more slowly.
    """
    writer = open_writer(url, is_durable=False)
    try:
        if not await prepare(writer, anew=True, shard=shard):
            return None
        step: Step = "added"
        while step != "nothing new":
            step = await follow(engine, writer, shard=shard)
            await asyncio.sleep(_ELSEWHERE_S if step == "elsewhere" else _PAUSE_S)
    finally:
        await writer.close()
    async with engine.connect() as connection:
        return await position(connection, shard=shard)


async def _next_events(connection: AsyncConnection, after: int, shard: int) -> list[RecordedEvent]:
    async for slice_ in log.read_all(connection, after=after, upto=after + _SLICE_EVENTS, shard=shard):
        return slice_
    return []


def _entries(slice_: Sequence[RecordedEvent]) -> tuple[list[Entry], int]:
    """The entries of the first events of a slice, at least one, and the position of the last of these."""
    entries: list[Entry] = []
    chars, last = 0, slice_[0].position
    for event in slice_:
        if chars > _SLICE_CHARS:
            break
        last = event.position
        for entry in _entry(event):
            entries.append(entry)
            chars += len(entry.text or "")
    return entries, last


def _entry(event: RecordedEvent) -> Iterator[Entry]:
    match event.body:
        case RunPosted() | RunPatched():
            yield Entry(event.position, event.stream[1:], searched_text(event))
        case _:
            return


async def _are_erased(writer: Writer, slice_: Sequence[RecordedEvent], shard: int) -> bool:
    """Whether one of these events was erased since it was read."""
    rows = await writer.fetch(
        "SELECT count(*) FROM events WHERE shard = ?1 AND position >= ?2 AND position <= ?3 AND payload IS NOT NULL",
        *(shard, slice_[0].position, slice_[-1].position),
    )
    return bool(rows[0][0] != sum(bool(event.payload) for event in slice_))


async def _lock(writer: Writer, shard: int) -> int:
    """Be the only one who changes the index until the transaction ends. Returns the version of its texts."""
    query = f"SELECT texts_version FROM full_text_state WHERE shard = ?1{writer.for_update}"
    return int((await writer.fetch(query, shard))[0][0])


async def position(connection: AsyncConnection, *, shard: int = SHARD) -> int:
    """The position of the last event that is indexed."""
    rows = await _POSITION.rows(connection, shard=shard)
    return int(rows[0][0]) if rows else 0


_POSITION: Final = Prepared(
    select(checkpoints.c.position).where(checkpoints.c.shard == given("shard"), checkpoints.c.projection == NAME)
)


# --- erasing ----------------------------------------------------------------------------------------------------------


async def forget(writer: Writer, streams: Iterable[bytes], *, shard: int) -> None:
    """Remove the events of these streams from the index, before their payloads are erased, in that transaction."""
    if await _lock(writer, shard) != TEXTS_VERSION:
        return
    upto = await reached(writer, NAME, shard=shard)
    entries: list[Entry] = []
    for stream in streams:
        for event in await log.read_stream_written(writer, stream, shard=shard):
            if event.position <= upto:
                entries += _entry(event)
    if await store_used_by(writer).remove(writer, entries, shard=shard):
        await writer.execute("UPDATE full_text_state SET is_unclean = 1 WHERE shard = ?1", shard)


async def is_unclean(connection: AsyncConnection, *, shard: int = SHARD) -> bool:
    """Whether something that was removed still lies somewhere: then there is something to `clean`."""
    return bool(await _UNCLEAN.rows(connection, shard=shard))


_UNCLEAN: Final = Prepared(
    select(full_text_state.c.shard).where(full_text_state.c.shard == given("shard"), full_text_state.c.is_unclean != 0)
)


async def clean(writer: Writer, *, shard: int = SHARD) -> None:
    """Drop what was removed from wherever it still lies, in short transactions. Goes on after an interruption."""
    store = store_used_by(writer)
    async with writer.transaction():
        await _lock(writer, shard)
        if not (await writer.fetch("SELECT is_unclean FROM full_text_state WHERE shard = ?1", shard))[0][0]:
            return
        # What is removed from here on says so again.
        await writer.execute("UPDATE full_text_state SET is_unclean = 2 WHERE shard = ?1", shard)
        is_left = await store.clean(writer, is_first=True)
    while is_left:
        await asyncio.sleep(_PAUSE_S)  # For others who write.
        async with writer.transaction():
            await _lock(writer, shard)
            is_left = await store.clean(writer, is_first=False)
    async with writer.transaction():
        await writer.execute("UPDATE full_text_state SET is_unclean = 0 WHERE shard = ?1 AND is_unclean = 2", shard)
    await writer.purge()


# --- searching --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FullTextIndex:
    """What the index tells about the searches of one query; see `projections.filters.compiling.TextIndex`.

    Pieces that few runs hold are looked up at once. For those that many hold, `within` looks at a part of the log.
    """

    store: TextStore
    after: int
    rare: Mapping[str, Sequence[bytes]]
    common: frozenset[str]
    bounds: Bounds | None = None
    shard: int = SHARD

    def may_hold(self, search: Search, run: FromClause) -> ColumnElement[bool]:
        """True of every run that may hold the text of the search."""
        piece = _piece(search)
        if piece in self.rare:
            return run.c.id.in_(self.rare[piece])
        if piece in self.common and self.bounds is not None:
            return run.c.id.in_(union_all(self.store.hits(piece, self.bounds, shard=self.shard), self._behind()))
        return true()

    def few(self, condition: Condition) -> Sequence[bytes] | None:
        """The ids of all runs of which the condition may hold; None when these are many, or it does not know."""
        match condition:
            case Search() as search:
                return self.rare.get(_piece(search))
            case All(conditions):
                known = [few for few in map(self.few, conditions) if few is not None]
                return min(known, key=len, default=None)
            case AnyOf(conditions) if conditions:
                of_each = [self.few(one) for one in conditions]
                known = [few for few in of_each if few is not None]
                return sorted(set().union(*known)) if len(known) == len(of_each) else None
            case _:
                return None

    def _behind(self) -> Select[Any]:
        """The runs with events that were not indexed before the pieces were looked up, or are no longer.

        The index may be made anew between two statements of a query.
        """
        now = func.coalesce(func.max(checkpoints.c.position), 0)
        indexed = select(case((now < self.after, now), else_=self.after)).where(
            checkpoints.c.shard == self.shard, checkpoints.c.projection == NAME
        )
        return select(func.substr(events.c.stream, 2)).where(
            events.c.shard == self.shard, events.c.position > indexed.scalar_subquery()
        )

    @property
    def is_windowed(self) -> bool:
        """Whether it tells more about runs of which all events lie within bounds."""
        return bool(self.common)

    def within(self, bounds: Bounds) -> "FullTextIndex":
        """The index for runs of which all events lie within these bounds."""
        return replace(self, bounds=bounds)


def _piece(search: Search) -> str:
    return folded(search.text.replace("\0", "\ufffd"))


async def open_index(connection: AsyncConnection, conditions: Iterable[Condition], *, shard: int = SHARD) -> TextIndex:
    """What the index tells about the searches of a query; nothing while it is far behind, or not there."""
    store = store_of(connection.engine.url)
    pieces = {_piece(search) for condition in conditions for search in _searches(condition)}
    pieces = {piece for piece in pieces if store.narrows(piece)}
    if not pieces or not await _is_there(connection, shard):
        return NoTextIndex()
    after = await position(connection, shard=shard)
    if (await read_end(connection, shard=shard)).position - after > _LAG_MAX:
        return NoTextIndex()
    looked_up = {piece: await _few_runs(connection, store, piece, shard) for piece in pieces}
    behind = await _behind(connection, after, shard)
    if await position(connection, shard=shard) < after:  # It was made anew meanwhile.
        return NoTextIndex()
    rare = {piece: sorted(found | behind) for piece, found in looked_up.items() if found is not None}
    return FullTextIndex(store, after, rare, frozenset(pieces - rare.keys()), shard=shard)


def _searches(condition: Condition) -> Iterator[Search]:
    """The searches that can narrow what a condition may find. What is denied cannot."""
    match condition:
        case All(conditions) | AnyOf(conditions):
            for one in conditions:
                yield from _searches(one)
        case Search() as search:
            yield search
        case _:
            return


async def _is_there(connection: AsyncConnection, shard: int) -> bool:
    version = select(full_text_state.c.texts_version).where(full_text_state.c.shard == shard)
    return bool((await connection.execute(version)).scalar_one() == TEXTS_VERSION)


async def _behind(connection: AsyncConnection, after: int, shard: int) -> set[bytes]:
    """The ids of the runs with events after a position."""
    streams = select(events.c.stream).where(events.c.shard == shard, events.c.position > after)
    return {bytes(stream)[1:] for stream in (await connection.execute(streams)).scalars()}


async def _few_runs(connection: AsyncConnection, store: TextStore, piece: str, shard: int) -> set[bytes] | None:
    """The ids of the runs of which an event may hold a piece; None when there are many such events."""
    some = store.hits(piece, None, shard=shard).limit(_FEW_ENTRIES + 1)
    found = (await connection.execute(some)).scalars().all()
    return {bytes(id_) for id_ in found} if len(found) <= _FEW_ENTRIES else None
