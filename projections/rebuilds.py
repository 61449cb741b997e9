"""The rebuilds: what was asked for, how far each is, and what became of it. One at a time.

A row without an outcome is a rebuild under way. It belongs to a process, which says every second that it is there.
When that process is gone, or silent for too long, the next rebuild takes over; should the silent one wake up after
all, it finds at its next write that it is no longer the one under way, and stops (`still_owned`).
"""

import contextlib
import os
import socket
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Writer
from events.errors import LogError
from events.schema import SHARD, metadata

Outcome = Literal["equal", "replaced", "different", "cancelled", "failed", "interrupted"]
Step = Literal["waiting", "folding", "settling", "comparing", "swapping", "swapped", "discarding"]

SILENT_US_MAX: Final = 15_000_000
_NOTE_CHARS_MAX: Final = 20_000

rebuilds: Final = Table(
    "rebuilds",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("rebuild_id", BigInteger, nullable=False),
    # The names of the projections, with spaces between.
    Column("projections", Text, nullable=False),
    Column("trace_id", LargeBinary),
    Column("is_dry_run", SmallInteger, nullable=False),
    Column("replaces_differing", SmallInteger, nullable=False),
    Column("fold_version", Text, nullable=False),
    # The host and the process that it runs in.
    Column("owner", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("step", Text, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("events_total", BigInteger, nullable=False),
    # Up to where in the log the read models were made, or compared.
    Column("position", BigInteger, nullable=False),
    Column("is_cancelled", SmallInteger, nullable=False),
    Column("outcome", Text),
    Column("note", Text),
    PrimaryKeyConstraint("shard", "rebuild_id", name="rebuilds_pk"),
)


class RebuildRunning(LogError):
    """Another rebuild is under way."""


class RebuildSuperseded(LogError):
    """This rebuild was silent for so long that another one took its place, or somebody ended it."""


class NoSuchRebuild(LogError):
    """There never was a rebuild of this number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be rebuilt: some read models, or one trace of them.

    With `is_dry_run` they are only compared; with `replaces_differing` they are replaced though they differ.
    """

    projections: Sequence[str]
    trace_id: bytes | None = None
    is_dry_run: bool = False
    replaces_differing: bool = False


@dataclass(frozen=True, slots=True)
class Rebuild:
    """A rebuild as far as it is. Times in µs; no `outcome` while it is under way; `note` tells about the outcome."""

    rebuild_id: int
    order: Order
    fold_version: str
    owner: str
    started_at: int
    seen_at: int
    ended_at: int | None
    step: Step
    events: int
    events_total: int
    position: int
    is_cancelled: bool
    outcome: Outcome | None
    note: str | None


async def begin(
    writer: Writer, order: Order, *, fold_version: str, now: int, owner: str | None = None, shard: int = SHARD
) -> int:
    """Begin a rebuild, and return its number. Raises `RebuildRunning`.

    One that was silent for too long, or whose process is gone, is noted as interrupted. Within a transaction.
    """
    # Of two that begin at once, the other waits here and then sees the first.
    await writer.fetch(f"SELECT 1 FROM heads WHERE shard = ?1{writer.for_update}", shard)
    running = await writer.fetch(
        "SELECT rebuild_id, owner, seen_at, step FROM rebuilds WHERE shard = ?1 AND outcome IS NULL", shard
    )
    for rebuild_id, its_owner, seen_at, step in running:
        if _is_there(its_owner, seen_at, now):
            raise RebuildRunning(
                f"rebuild {rebuild_id} is under way, and there is one at a time: wait for it, or cancel it"
            )
        outcome: Outcome = "replaced" if step == "swapped" else "interrupted"
        await end(writer, rebuild_id, outcome, "its process ended before its time", now=now, shard=shard)
    (last,) = (await writer.fetch("SELECT coalesce(max(rebuild_id), 0) FROM rebuilds WHERE shard = ?1", shard))[0]
    row = (
        *(shard, last + 1, " ".join(order.projections), order.trace_id),
        *(int(order.is_dry_run), int(order.replaces_differing)),
        *(fold_version, owner or this_process(), now, now, None, "waiting", 0, 0, 0, 0, None, None),
    )
    await writer.insert(rebuilds, [row])
    return int(last) + 1


async def adopt(writer: Writer, rebuild_id: int, *, now: int, shard: int = SHARD) -> Order:
    """Take over, for this process, a rebuild that another one began for it. Raises `RebuildSuperseded`."""
    await still_owned(writer, rebuild_id, shard=shard)
    await writer.execute(
        "UPDATE rebuilds SET owner = ?1, seen_at = ?2 WHERE shard = ?3 AND rebuild_id = ?4",
        *(this_process(), now, shard, rebuild_id),
    )
    columns = "projections, trace_id, is_dry_run, replaces_differing"
    query = f"SELECT {columns} FROM rebuilds WHERE shard = ?1 AND rebuild_id = ?2"
    names, trace_id, is_dry_run, replaces = (await writer.fetch(query, shard, rebuild_id))[0]
    return Order(
        projections=names.split(" "),
        trace_id=trace_id and bytes(trace_id),
        is_dry_run=bool(is_dry_run),
        replaces_differing=bool(replaces),
    )


async def still_owned(writer: Writer, rebuild_id: int, *, shard: int = SHARD) -> None:
    """Raise `RebuildSuperseded` unless this rebuild is the one under way. Before every write to shadow tables."""
    query = "SELECT 1 FROM rebuilds WHERE shard = ?1 AND rebuild_id = ?2 AND outcome IS NULL"
    if not await writer.fetch(query, shard, rebuild_id):
        raise RebuildSuperseded(f"rebuild {rebuild_id} was ended from elsewhere")


@contextlib.asynccontextmanager
async def owned(writer: Writer, rebuild_id: int, *, shard: int = SHARD) -> AsyncIterator[None]:
    """A transaction of a rebuild that is still the one under way. Raises `RebuildSuperseded`."""
    async with writer.transaction():
        await still_owned(writer, rebuild_id, shard=shard)
        yield


async def is_under_way(writer: Writer, *, now: int, shard: int = SHARD) -> bool:
    """Whether a rebuild is under way whose process is there. Within a transaction."""
    query = "SELECT owner, seen_at FROM rebuilds WHERE shard = ?1 AND outcome IS NULL"
    return any(_is_there(owner, seen_at, now) for owner, seen_at in await writer.fetch(query, shard))


async def tell(
    writer: Writer, rebuild_id: int, *, step: Step, events: int, total: int, now: int, shard: int = SHARD
) -> bool:
    """Say how far a rebuild is, and that it is there. Whether somebody asked for it to be cancelled."""
    await writer.execute(
        "UPDATE rebuilds SET step = CASE step WHEN 'swapped' THEN step ELSE ?1 END, events = ?2, events_total = ?3, "
        "seen_at = ?4 WHERE shard = ?5 AND rebuild_id = ?6 AND outcome IS NULL",
        *(step, events, total, now, shard, rebuild_id),
    )
    query = "SELECT is_cancelled FROM rebuilds WHERE shard = ?1 AND rebuild_id = ?2"
    rows = await writer.fetch(query, shard, rebuild_id)
    return bool(rows and rows[0][0])


async def note_swap(writer: Writer, rebuild_id: int, *, position: int, shard: int = SHARD) -> None:
    """Note that the read models are replaced, in the transaction that replaces them. From then on that stands."""
    await writer.execute(
        "UPDATE rebuilds SET step = 'swapped', position = ?1 WHERE shard = ?2 AND rebuild_id = ?3",
        *(position, shard, rebuild_id),
    )


async def end(
    writer: Writer,
    rebuild_id: int,
    outcome: Outcome,
    note: str | None,
    *,
    now: int,
    step: Step | None = None,
    position: int | None = None,
    events: int | None = None,
    total: int | None = None,
    shard: int = SHARD,
) -> None:
    """Note what became of a rebuild, and how far it came where that is given. What was noted first stays."""
    await writer.execute(
        "UPDATE rebuilds SET outcome = ?1, note = ?2, ended_at = ?3, seen_at = ?3, position = coalesce(?4, position), "
        "events = coalesce(?5, events), events_total = coalesce(?6, events_total), step = coalesce(?7, step) "
        "WHERE shard = ?8 AND rebuild_id = ?9 AND outcome IS NULL",
        *(outcome, note and note[:_NOTE_CHARS_MAX], now, position, events, total, step, shard, rebuild_id),
    )


async def ask_to_cancel(writer: Writer, rebuild_id: int, *, shard: int = SHARD) -> None:
    """Have the process that runs a rebuild end it. Does nothing when it has ended."""
    await writer.execute(
        "UPDATE rebuilds SET is_cancelled = 1 WHERE shard = ?1 AND rebuild_id = ?2 AND outcome IS NULL",
        *(shard, rebuild_id),
    )


async def read(connection: AsyncConnection, rebuild_id: int, *, shard: int = SHARD) -> Rebuild:
    """One rebuild. Raises `NoSuchRebuild`."""
    query = select(*_READ).where(rebuilds.c.shard == shard, rebuilds.c.rebuild_id == rebuild_id)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NoSuchRebuild(f"there never was a rebuild {rebuild_id}")
    return _read(row)


async def last_of(
    connection: AsyncConnection, names: Collection[str], *, is_dry_run: bool = False, shard: int = SHARD
) -> dict[str, Rebuild]:
    """The last whole rebuild, or dry run, of each of these projections that has had one, be it under way or ended."""
    query = (
        select(*_READ)
        .where(rebuilds.c.shard == shard, rebuilds.c.trace_id.is_(None), rebuilds.c.is_dry_run == int(is_dry_run))
        .order_by(rebuilds.c.rebuild_id.desc())
        .limit(_LAST_OF)
    )
    found: dict[str, Rebuild] = {}
    for row in await connection.execute(query):
        rebuild = _read(row)
        for name in rebuild.order.projections:
            if name in names:
                found.setdefault(name, rebuild)
    return found


_READ: Final = tuple(column for column in rebuilds.columns if column.name != "shard")
_LAST_OF: Final = 100


def _read(row: Any) -> Rebuild:
    order = Order(
        projections=tuple(row.projections.split(" ")),
        trace_id=row.trace_id and bytes(row.trace_id),
        is_dry_run=bool(row.is_dry_run),
        replaces_differing=bool(row.replaces_differing),
    )
    return Rebuild(
        *(row.rebuild_id, order, row.fold_version, row.owner, row.started_at, row.seen_at, row.ended_at, row.step),
        *(row.events, row.events_total, row.position, bool(row.is_cancelled), row.outcome, row.note),
    )


def this_process() -> str:
    """How a rebuild names the process that it runs in."""
    return f"{socket.gethostname()} {os.getpid()}"


def _is_there(owner: str, seen_at: int, now: int) -> bool:
    return now - seen_at < SILENT_US_MAX and not _is_gone(owner)


def _is_gone(owner: str) -> bool:
    """Whether a process of this host is no more. What runs elsewhere cannot be told."""
    host, _, pid = owner.rpartition(" ")
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
