"""Reading the log as it was written, by position: for whoever pages through it, follows it or audits it.

Here an event is its row. Nothing is upcast and nothing interpreted; `events.log` reads events to fold them.
"""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from events import chain
from events.codec import unpack
from events.schema import SHARD, events, heads

# Up to here it is cheaper to look at every event than to ask an index which of them are wanted.
_SCANNED_MAX: Final = 1000
_STREAMS_PER_QUERY: Final = 1000


class End(NamedTuple):
    """The last event of a shard; position 0 and the genesis value of the chain when there is none."""

    shard: int
    position: int
    chain: bytes
    recorded_at: int


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event as it stands in the log.

    `payload` is the JSON that was recorded, as of `schema_version`; None when it was erased or not asked for.
    """

    shard: int
    position: int
    stream: bytes
    version: int
    kind: str
    recorded_at: int
    receipt_id: int
    schema_version: int
    payload_size: int
    payload_hash: bytes
    chain: bytes
    is_erased: bool
    payload: bytes | None


async def read_end(connection: AsyncConnection, *, shard: int = SHARD) -> End:
    """Where the log ends. What is at this position or before can be read by every later query."""
    query = select(heads.c.shard, heads.c.position, heads.c.chain, heads.c.recorded_at).where(heads.c.shard == shard)
    row = (await connection.execute(query)).one()
    return End(row.shard, row.position, bytes(row.chain), row.recorded_at)


async def chain_at(connection: AsyncConnection, number: Any, value: int, *, shard: int = SHARD) -> bytes | None:
    """The chain of a numbered table, up to and with the row of this number; None when there is no such row.

    `number` is the column that numbers it: of events, receipts or quarantine.
    """
    if value == 0:
        return chain.GENESIS
    query = select(number.table.c.chain).where(number.table.c.shard == shard, number == value)
    found = (await connection.execute(query)).scalar_one_or_none()
    return None if found is None else bytes(found)


async def find_positions(
    connection: AsyncConnection,
    *,
    after: int,
    upto: int,
    limit: int,
    kinds: Sequence[str] | None = None,
    streams: Sequence[bytes] | None = None,
    shard: int = SHARD,
) -> list[int]:
    """The positions of the first `limit` events after one position and up to another: of these kinds and streams only.

    None leaves a filter out.
    """
    if kinds is None and streams is None:  # Positions have no gaps.
        return list(range(after + 1, min(upto, after + limit) + 1))
    between = (events.c.shard == shard, events.c.position > after, events.c.position <= upto)
    if upto - after <= _SCANNED_MAX:
        found = await _scan(connection, between, kinds, streams)
    elif streams is not None:
        found = await _of_streams(connection, between, kinds, streams)
    else:
        found = await _of_kinds(connection, between, kinds or (), limit)
    return sorted(found)[:limit]


async def read_events(
    connection: AsyncConnection,
    positions: Sequence[int],
    *,
    with_payload: bool = True,
    bytes_max: int,
    shard: int = SHARD,
) -> list[LoggedEvent]:
    """The events at these ascending positions: at least one, and as many as `bytes_max` of payload allow."""
    if not positions:
        return []
    if with_payload:
        positions = await _within(connection, positions, bytes_max, shard)
    columns = (*_COLUMNS, *((events.c.codec, events.c.payload) if with_payload else ()))
    query = _at(select(*columns), positions, shard).order_by(events.c.position)
    return [_logged(row, with_payload) for row in await connection.execute(query)]


async def first_position_of(connection: AsyncConnection, receipt_id: int, *, shard: int = SHARD) -> int:
    """The position of the first event that came with this receipt or a later one; beyond the end when there is none.

    The holder of the head numbers receipts and events in one order, so it is found by halving.
    """
    low, high = 1, (await read_end(connection, shard=shard)).position + 1
    while low < high:
        middle = (low + high) // 2
        query = select(events.c.receipt_id).where(events.c.shard == shard, events.c.position == middle)
        if (await connection.execute(query)).scalar_one() < receipt_id:
            low = middle + 1
        else:
            high = middle
    return low


_COLUMNS: Final = (
    events.c.shard,
    events.c.position,
    events.c.stream,
    events.c.version,
    events.c.kind,
    events.c.recorded_at,
    events.c.receipt_id,
    events.c.schema_version,
    events.c.payload_size,
    events.c.payload_hash,
    events.c.chain,
    events.c.payload.is_(None).label("is_erased"),
)


def _logged(row: Any, with_payload: bool) -> LoggedEvent:
    return LoggedEvent(
        shard=row.shard,
        position=row.position,
        stream=bytes(row.stream),
        version=row.version,
        kind=row.kind,
        recorded_at=row.recorded_at,
        receipt_id=row.receipt_id,
        schema_version=row.schema_version,
        payload_size=row.payload_size,
        payload_hash=bytes(row.payload_hash),
        chain=bytes(row.chain),
        is_erased=bool(row.is_erased),
        payload=unpack(row.codec, bytes(row.payload)) if with_payload and row.payload is not None else None,
    )


def _at(query: Select[Any], positions: Sequence[int], shard: int) -> Select[Any]:
    first, last = positions[0], positions[-1]
    is_range = last - first + 1 == len(positions)
    wanted = events.c.position.between(first, last) if is_range else events.c.position.in_(positions)
    return query.where(events.c.shard == shard, wanted)


async def _within(connection: AsyncConnection, positions: Sequence[int], bytes_max: int, shard: int) -> Sequence[int]:
    """The first of these positions, as many as `bytes_max` of payload allow, and at least one."""
    query = _at(select(events.c.payload_size), positions, shard).order_by(events.c.position)
    sums = itertools.accumulate((await connection.execute(query)).scalars())
    return positions[: max(1, sum(1 for size in sums if size <= bytes_max))]


async def _scan(
    connection: AsyncConnection,
    between: Iterable[ColumnElement[bool]],
    kinds: Sequence[str] | None,
    streams: Sequence[bytes] | None,
) -> list[int]:
    query = select(events.c.position, events.c.kind, events.c.stream).where(*between)
    wanted = None if streams is None else set(streams)
    return [
        row.position
        for row in await connection.execute(query)
        if (kinds is None or row.kind in kinds) and (wanted is None or bytes(row.stream) in wanted)
    ]


async def _of_streams(
    connection: AsyncConnection,
    between: Iterable[ColumnElement[bool]],
    kinds: Sequence[str] | None,
    streams: Sequence[bytes],
) -> list[int]:
    found: list[int] = []
    for start in range(0, len(streams), _STREAMS_PER_QUERY):
        some = streams[start : start + _STREAMS_PER_QUERY]
        query = select(events.c.position).where(*between, events.c.stream.in_(some))
        if kinds is not None:
            query = query.where(events.c.kind.in_(kinds))
        found += (await connection.execute(query)).scalars()
    return found


async def _of_kinds(
    connection: AsyncConnection, between: Iterable[ColumnElement[bool]], kinds: Sequence[str], limit: int
) -> list[int]:
    """One range of the index for each kind: a single query for all would have to sort every event of theirs."""
    ranges = [
        select(
            select(events.c.position)
            .where(*between, events.c.kind == kind)
            .order_by(events.c.position)
            .limit(limit)
            .subquery()
        )
        for kind in kinds
    ]
    return list((await connection.execute(union_all(*ranges))).scalars())
