"""Where runs once were: parents that they were under, traces that they were said to be in and projects that they named,
and are or do no more.

Where they are is in `runs`. Both together are every edge there ever was, by which a trace is found as it was then, and
the name of a project (`projections.asof`). The rows of a run follow from its stream alone, and none but an erasure
takes any away.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from sqlalchemy import Column, Index, LargeBinary, PrimaryKeyConstraint, SmallInteger, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Writer
from events.schema import SHARD, metadata
from projections.runs import RunState, gives_project_name

former_places: Final = Table(
    "former_places",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    # The id of a parent, a trace or a project.
    Column("place_id", LargeBinary, nullable=False),
    Column("run_id", LargeBinary, nullable=False),
    PrimaryKeyConstraint("shard", "place_id", "run_id", name="former_places_pk"),
    Index("former_places_run", "shard", "run_id"),
)

# The id of a place and that of a run that was there.
Left = tuple[bytes, bytes]


def left(old: RunState | None, new: RunState | None) -> set[Left]:
    """The places that a run leaves from one state to the next; None before it was told of, and when it is gone."""
    if old is None or old.is_placeholder or (new is not None and stays(old, new)):
        return set()
    return {(place_id, old.id) for place_id in _places(old) - _places(new)}


def stays(old: RunState, new: RunState) -> bool:
    """Whether a run is where it was."""
    return (
        old.trace_id == new.trace_id
        and old.parent_run_id == new.parent_run_id
        and old.is_trace_inferred == new.is_trace_inferred
        and old.project_id == new.project_id
        and gives_project_name(old) == gives_project_name(new)
    )


def said(state: RunState) -> tuple[bytes | None, bytes | None, bytes | None]:
    """The parent that a run was said to be under, the trace that it was said to be in, the project that it named."""
    return (
        state.parent_run_id,
        None if state.is_trace_inferred else state.trace_id,
        state.project_id if gives_project_name(state) else None,
    )


async def note(writer: Writer, places: Iterable[Left], *, shard: int) -> None:
    """Note places that runs left, within the writer's transaction."""
    await writer.replace(former_places, [(shard, *place) for place in sorted(places)])


async def forget(writer: Writer, run_ids: Iterable[bytes], *, shard: int) -> None:
    """Forget where these runs were: they are erased."""
    rows = [(run_id,) for run_id in run_ids]
    table = writer.name_of(former_places)
    await writer.execute_many(f"DELETE FROM {table} WHERE shard = {shard} AND run_id = ?1", rows)


async def once_at(connection: AsyncConnection, place_ids: Sequence[bytes], *, shard: int = SHARD) -> set[bytes]:
    """The runs that were once at one of these places and then left it."""
    query = select(former_places.c.run_id).where(
        former_places.c.shard == shard, former_places.c.place_id.in_(place_ids)
    )
    return {bytes(id_) for id_ in (await connection.execute(query)).scalars()}


def _places(state: RunState | None) -> set[bytes]:
    """Where a run is by what was said of it; a trace that was found by following parents is none of these."""
    if state is None:
        return set()
    return {place_id for place_id in said(state) if place_id is not None}
