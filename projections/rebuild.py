"""Making read models anew from the log, beside the live ones and while everyone goes on reading and writing.

Shadow tables are filled by folding the log stream by stream up to a position, then follow it through the same projector
as the live tables, and are compared with these in one snapshot, when both have come to the same position. At last,
holding the head for a moment, they take in what came since, and the names of the live tables. Until then nothing that
is live is touched: a rebuild that fails, is cancelled or is killed leaves it as it was.
"""

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from events import log
from events.dialect import Writer, open_engine, open_snapshot, open_writer
from events.errors import LogError, Unavailable
from events.reading import read_end
from events.schema import SHARD
from projections import comparison, projector, rebuilds, shadow
from projections.comparison import Difference
from projections.dialect import ddl_of
from projections.projector import PROJECTIONS, fold_version
from projections.rebuilds import Order, Outcome, RebuildSuperseded, Step
from projections.repair import repair_trace
from projections.replay import Part, Task
from projections.settling import Settling
from projections.shadow import Shadows
from projections.status import StatusRule
from projections.tally import Tally
from projections.workers import replay_all

_PART_EVENTS: Final = 10_000
# Starting processes takes as long as folding this many events.
_ALONE_EVENTS_MAX: Final = 30_000
_PROCESSES_MAX: Final = 2
_TELL_S: Final = 1.0
_CATCH_UP_TRIES: Final = 200
_SWAP_TRIES: Final = 150
_SWAP_PAUSE_S: Final = 0.2
# What is taken in at once while everyone writes: of 500 events each, slices held SQLite's lock for 65 to 130 ms, and in
# the 5 ms between them others, who look every 5 ms, found it free by chance (both seen).
_CATCH_UP_EVENTS: Final = 200
_PAUSE_S: Final = 0.01
# Who waits for SQLite's lock looks every few milliseconds whether it is free: four times of five it then is.
_REST_TIMES: Final = 4
_REST_S_MAX: Final = 0.02

EVERYTHING: Final = Order(projections=PROJECTIONS)


class RebuildCancelled(LogError):
    """Somebody asked for the rebuild to be cancelled."""


class RebuildFailed(LogError):
    """The rebuild could not be brought to its end. What is live is as it was."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rebuild is: what it does, how many events of how many are folded, and since how many seconds."""

    step: Step
    events: int
    events_total: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a rebuild. `fold_seconds` is the time until the read models were made, up to `position`."""

    rebuild_id: int
    outcome: Outcome
    position: int
    events: int
    fold_seconds: float
    seconds: float
    differences: Sequence[Difference]


async def rebuild(
    url: str,
    order: Order = EVERYTHING,
    *,
    rule: StatusRule,
    rebuild_id: int | None = None,
    processes: int | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    shard: int = SHARD,
) -> Result:
    """Rebuild read models, or compare them only, in the database that the URL names; say what became of it.

    Read models that are made together with those that were asked for are rebuilt too (`shadow.whole`). With
    `rebuild_id`, carry out one that was begun for this process. The outcome is `different`, and nothing is replaced,
    when the live ones differ though they were made by the same folds, unless the order says to replace them.

    Raises `RebuildRunning` while another one is under way, `RebuildCancelled` when somebody cancels this one, and
    `RebuildFailed`, `RebuildSuperseded` or `Unavailable` when it cannot be done.
    """
    writer = open_writer(url)
    order = replace(order, projections=shadow.whole(order.projections))
    try:
        async with writer.transaction():
            if rebuild_id is None:
                rebuild_id = await rebuilds.begin(
                    writer, order, fold_version=fold_version(rule), now=_now(), shard=shard
                )
            else:
                order = await rebuilds.adopt(writer, rebuild_id, now=_now(), shard=shard)
        rebuilding = _Rebuilding(url, order, rule, rebuild_id, processes, progress, shard)
        return await rebuilding.run(writer)
    finally:
        await writer.close()


async def compare(
    url: str, *, rule: StatusRule, projections: Sequence[str] = PROJECTIONS, shard: int = SHARD
) -> AsyncIterator[Difference]:
    """The first rows in which the live read models differ from a fold of the log. Changes nothing that is live.

    Raises as `rebuild` does.
    """
    order = Order(projections=projections, is_dry_run=True)
    for difference in (await rebuild(url, order, rule=rule, shard=shard)).differences:
        yield difference


class _Rebuilding:
    """One rebuild, from its beginning to its end."""

    def __init__(
        self,
        url: str,
        order: Order,
        rule: StatusRule,
        rebuild_id: int,
        processes: int | None,
        progress: Callable[[Progress], None],
        shard: int,
    ) -> None:
        self._url = url
        self._order = order
        self._rule: StatusRule = rule
        self._rebuild_id = rebuild_id
        self._processes = processes
        self._progress = progress
        self._shard = shard
        self._begun = time.monotonic()
        self._fold_seconds = 0.0
        self._step: Step = "waiting"
        self._events = self._total = 0
        self._position = 0
        self._is_cancelled = False
        self._ddl = ddl_of(url)
        self._shadows = Shadows(url, order.projections, rebuild_id, shard=shard)
        self._filler = open_writer(url, stand_ins=self._shadows.stand_ins, is_durable=False)

    async def run(self, writer: Writer) -> Result:
        """Carry it out, and note what became of it. `writer` is for that note."""
        outcome: Outcome = "failed"
        note: str | None = None
        found: list[Difference] = []
        try:
            async with self._telling():
                try:
                    outcome, found = await self._carry_out()
                    note = "\n".join(difference.place for difference in found) or None
                finally:
                    await self._filler.close()
                    await self._clear(writer)
        except (RebuildCancelled, asyncio.CancelledError) as error:
            outcome, note = "cancelled", str(error) or "the process that ran it was interrupted"
            raise
        except BaseException as error:
            note = str(error) or type(error).__name__
            raise
        finally:
            await self._note(writer, "replaced" if self._step == "swapped" else outcome, note)
        seconds = time.monotonic() - self._begun
        return Result(self._rebuild_id, outcome, self._position, self._total, self._fold_seconds, seconds, tuple(found))

    async def _clear(self, writer: Writer) -> None:
        """Drop what is left of shadow and old tables, unless another rebuild has them now.

        What cannot be dropped, the next rebuild drops first.
        """
        with contextlib.suppress(RebuildSuperseded, Unavailable):
            async with rebuilds.owned(writer, self._rebuild_id, shard=self._shard):
                pass
            if self._step != "swapped":
                self._at("discarding")
            await self._discard(writer)

    async def _note(self, writer: Writer, outcome: Outcome, note: str | None) -> None:
        """Note what became of it. Should that fail, it counts as interrupted, or as what `note_swap` said."""
        with contextlib.suppress(Unavailable):
            async with writer.transaction():
                await rebuilds.end(
                    *(writer, self._rebuild_id, outcome, note),
                    step=self._step,
                    position=self._position,
                    events=self._events,
                    total=self._total,
                    now=_now(),
                    shard=self._shard,
                )

    async def _discard(self, writer: Writer) -> None:
        await self._gently(shadow.discard(writer, self._url))

    async def _gently(self, steps: AsyncIterator[None]) -> None:
        """Take steps that are short transactions, and give way after each for longer than it took."""
        begun = time.monotonic()
        async for _ in steps:
            self._look()
            await asyncio.sleep(min(_REST_TIMES * (time.monotonic() - begun), _REST_S_MAX))
            begun = time.monotonic()

    async def _carry_out(self) -> tuple[Outcome, list[Difference]]:
        if self._order.trace_id is not None:
            return await self._repair(self._order.trace_id)
        engine = open_engine(self._url, pool_size=2)
        try:
            return await self._make(engine)
        finally:
            await engine.dispose()

    async def _make(self, engine: AsyncEngine) -> tuple[Outcome, list[Difference]]:
        """Make the read models, compare them with the live ones, and have them take their places."""
        stored = await self._stored_version(engine)
        is_own = stored in ("", fold_version(self._rule))
        if not is_own and not self._order.is_dry_run and set(self._order.projections) != set(PROJECTIONS):
            raise RebuildFailed(f"the read models were made by the folds {stored}: all of them have to be rebuilt")
        await self._discard(self._filler)
        async with engine.connect() as connection:
            self._position = self._total = (await read_end(connection, shard=self._shard)).position
        await self._shadows.create(self._filler)
        await self._fold()
        found = await self._compare(engine) if is_own or self._order.is_dry_run else []
        if self._order.is_dry_run:
            return ("different" if found else "equal"), found
        if found and not self._order.replaces_differing:
            return "different", found
        await self._swap(engine)
        return "replaced", found

    # --- folding ------------------------------------------------------------------------------------------------------

    async def _fold(self) -> None:
        """Fill the shadows with what the log makes up to a position."""
        self._at("folding")
        task = Task(self._url, self._order.projections, self._rebuild_id, self._rule, self._shard)
        processes = self._processes or min(os.cpu_count() or 1, _PROCESSES_MAX)
        if self._total <= _ALONE_EVENTS_MAX:
            processes = 1
        tallies = await replay_all(task, await self._parts(), processes=processes, progress=self._count)
        tally = Tally()
        for counted in tallies:
            tally.add(counted)
        self._at("settling")
        await self._shadows.finish(self._filler)
        if "runs" in self._order.projections:
            settling = Settling(self._url, self._filler, tally, self._rebuild_id, shard=self._shard)
            await self._gently(settling.settle())
            await self._gently(self._store(tally))
        self._fold_seconds = time.monotonic() - self._begun

    async def _store(self, tally: Tally) -> AsyncIterator[None]:
        """Store what was counted, in short transactions."""
        for part in tally.portions():
            async with rebuilds.owned(self._filler, self._rebuild_id, shard=self._shard):
                await part.store(self._filler, shard=self._shard)
            yield

    async def _parts(self) -> list[Part]:
        """The log, cut into parts of streams that matter to what is rebuilt."""
        parts = []
        snapshot = open_snapshot(self._url)
        try:
            async with snapshot.transaction():
                for first, before in _letters(self._order.projections):
                    cuts = await log.cut_by_stream(
                        snapshot, first=first, before=before, events=_PART_EVENTS, shard=self._shard
                    )
                    bounds = [first, *cuts, before]
                    parts += [Part(one, other, self._position) for one, other in itertools.pairwise(bounds)]
        finally:
            await snapshot.close()
        return parts

    def _count(self, events: int) -> None:
        self._events += events
        self._look()

    # --- following, comparing and swapping ----------------------------------------------------------------------------

    async def _catch_up(self, engine: AsyncEngine, *, within: Writer | None = None) -> None:
        """Fold into the shadows what was appended since, in short transactions or within that of a writer."""
        async with engine.connect() as connection:
            async for read in log.read_all(connection, after=self._position, shard=self._shard):
                for start in range(0, len(read), _CATCH_UP_EVENTS):
                    events = read[start : start + _CATCH_UP_EVENTS]
                    if within is not None:
                        await self._apply(within, events)
                    else:
                        async with rebuilds.owned(self._filler, self._rebuild_id, shard=self._shard):
                            await self._apply(self._filler, events)
                        await asyncio.sleep(_PAUSE_S)
                    self._position = events[-1].position
                    self._look()

    async def _apply(self, writer: Writer, events: Sequence[log.RecordedEvent]) -> None:
        await projector.apply(writer, events, rule=self._rule, shard=self._shard, only=self._order.projections)

    async def _compare(self, engine: AsyncEngine) -> list[Difference]:
        """The first differences between live and shadow tables, in a snapshot where both are at the same position."""
        self._at("comparing")
        shadows = self._shadows.shadows
        pairs = {table: shadows[table] for table in self._shadows.tables}
        for _ in range(_CATCH_UP_TRIES):
            await self._catch_up(engine)
            async with self._ddl.one_moment(engine) as connection:
                end = await read_end(connection, shard=self._shard)
                if end.position == self._position:
                    return [found async for found in comparison.differences(connection, pairs)]
            self._look()
        raise RebuildFailed("the log grew faster than the rebuild could follow it")

    async def _stored_version(self, engine: AsyncEngine) -> str:
        async with engine.connect() as connection:
            return await projector.folded_by(connection, shard=self._shard)

    async def _swap(self, engine: AsyncEngine) -> None:
        """Put the shadows in the places of the live tables."""
        self._at("swapping")
        holder = open_writer(self._url, stand_ins=self._shadows.stand_ins)
        try:
            for tried in range(1, _SWAP_TRIES + 1):
                await self._catch_up(engine)
                before = self._position
                try:
                    await self._swap_now(engine, holder)
                    return
                except Unavailable:
                    if not self._ddl.commits_tail_apart:
                        self._position = before  # What was folded within the transaction is gone with it.
                    if tried == _SWAP_TRIES:
                        raise
                self._look()
                await asyncio.sleep(_SWAP_PAUSE_S)
        finally:
            await holder.close()

    async def _swap_now(self, engine: AsyncEngine, holder: Writer) -> None:
        """Hold the head, fold the tail, and swap; all in a moment, or not at all."""
        async with rebuilds.owned(holder, self._rebuild_id, shard=self._shard):
            await log.lock_head(holder, fold_version=None, shard=self._shard)
            await self._catch_up(engine, within=None if self._ddl.commits_tail_apart else holder)
            await self._shadows.take_places(holder)
            await holder.execute(
                "UPDATE heads SET fold_version = ?1 WHERE shard = ?2", fold_version(self._rule), self._shard
            )
            await holder.execute_many(
                "INSERT INTO checkpoints (shard, projection, position) VALUES (?1, ?2, ?3) "
                "ON CONFLICT (shard, projection) DO UPDATE SET position = excluded.position",
                [(self._shard, name, self._position) for name in self._order.projections],
            )
            await rebuilds.note_swap(holder, self._rebuild_id, position=self._position, shard=self._shard)
        self._step = "swapped"

    async def _repair(self, trace_id: bytes) -> tuple[Outcome, list[Difference]]:
        """Fold one trace anew and put right what is wrong with it."""
        self._at("folding")
        writer = open_writer(self._url)
        try:
            repaired = await repair_trace(
                writer, trace_id, rule=self._rule, is_dry_run=self._order.is_dry_run, shard=self._shard
            )
        finally:
            await writer.close()
        self._position, self._events, self._total = repaired.position, repaired.events, repaired.events
        self._fold_seconds = time.monotonic() - self._begun
        if not repaired.differences:
            return "equal", []
        return ("different" if self._order.is_dry_run else "replaced"), list(repaired.differences)

    # --- telling ------------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _telling(self) -> AsyncIterator[None]:
        """Have the database know, every second, how far this is, and find out there whether to go on."""
        writer = open_writer(self._url, is_durable=False)
        await self._tell(writer)  # It may have been cancelled before it began.
        task = asyncio.create_task(self._tell_again_and_again(writer), name="telling of a rebuild")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await writer.close()

    async def _tell_again_and_again(self, writer: Writer) -> None:
        while True:
            await asyncio.sleep(_TELL_S)
            await self._tell(writer)

    async def _tell(self, writer: Writer) -> None:
        # When it cannot be told now, it is told a second later.
        with contextlib.suppress(Unavailable):
            async with writer.transaction():
                self._is_cancelled = await rebuilds.tell(
                    *(writer, self._rebuild_id),
                    step=self._step,
                    events=self._events,
                    total=self._total,
                    now=_now(),
                    shard=self._shard,
                )

    def _at(self, step: Step) -> None:
        self._step = step
        self._look()

    def _look(self) -> None:
        """Tell of the progress. Raises `RebuildCancelled` when somebody asked for that."""
        if self._is_cancelled and self._step not in ("swapped", "discarding"):
            raise RebuildCancelled(f"rebuild {self._rebuild_id} was cancelled")
        self._progress(Progress(self._step, self._events, self._total, time.monotonic() - self._begun))


def _letters(projections: Sequence[str]) -> Iterator[tuple[bytes, bytes]]:
    """The ranges of streams that these read models are made of: each kind of stream has a letter."""
    if "feedback" in projections:
        yield b"c", b"d"
        yield b"f", b"g"
    if "runs" in projections:
        yield b"p", b"q"
    if "runs" in projections or "attachments" in projections:
        yield b"r", b"s"
    if "shares" in projections:
        yield b"s", b"t"


def _now() -> int:
    return time.time_ns() // 1000
