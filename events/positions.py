"""Where in the log something is: its last event, as of a time too, and the events of a stream."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.schema import SHARD, heads
from events.schema import events as events_table


async def last_position(connection: AsyncConnection, *, recorded_by: int | None = None, shard: int = SHARD) -> int:
    """The position of the last event, or of the last that was recorded at a time (µs) or before; 0 when there is none.

    Positions have no gaps and times never go back, so a time is found by halving.
    """
    query = select(heads.c.position).where(heads.c.shard == shard)
    low = 0
    high: int = (await connection.execute(query)).scalar_one()
    while recorded_by is not None and low < high:
        middle = (low + high + 1) // 2
        at = select(events_table.c.recorded_at).where(events_table.c.shard == shard, events_table.c.position == middle)
        if (await connection.execute(at)).scalar_one() <= recorded_by:
            low = middle
        else:
            high = middle - 1
    return high


async def recorded_at(connection: AsyncConnection, position: int, *, shard: int = SHARD) -> int:
    """When the event at a position was recorded (µs); 0 when there is none there."""
    query = select(events_table.c.recorded_at).where(events_table.c.shard == shard, events_table.c.position == position)
    found: int | None = (await connection.execute(query)).scalar_one_or_none()
    return found or 0


async def last_version(connection: AsyncConnection, stream: bytes, *, shard: int = SHARD) -> int:
    """The version of the last event of a stream; 0 when there is none."""
    query = select(func.max(events_table.c.version)).where(
        events_table.c.shard == shard, events_table.c.stream == stream
    )
    found: int | None = (await connection.execute(query)).scalar_one()
    return found or 0


async def position_of(connection: AsyncConnection, stream: bytes, version: int, *, shard: int = SHARD) -> int | None:
    """The position of an event of a stream; None when it has no such version."""
    query = select(events_table.c.position).where(
        events_table.c.shard == shard, events_table.c.stream == stream, events_table.c.version == version
    )
    found: int | None = (await connection.execute(query)).scalar_one_or_none()
    return found
