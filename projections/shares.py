"""Which runs are shared: readable, with their traces, by everyone who has the token."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Column, Index, LargeBinary, PrimaryKeyConstraint, SmallInteger, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Writer
from events.kinds import RunShared, RunUnshared, TraceErased, share_stream
from events.log import RecordedEvent
from events.schema import SHARD, metadata

shares: Final = Table(
    "shares",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("run_id", LargeBinary, nullable=False),
    Column("token", LargeBinary, nullable=False),
    PrimaryKeyConstraint("shard", "run_id", name="shares_pk"),
    Index("shares_token", "shard", "token"),
)


def fold(events: Iterable[RecordedEvent]) -> dict[bytes, bytes | None]:
    """The token of each run that the events tell of; None when it is no longer shared."""
    folded: dict[bytes, bytes | None] = {}
    for event in events:
        match event.body:
            case RunShared(run_id=run_id, token=token):
                folded[run_id] = token
            case RunUnshared(run_id=run_id):
                folded[run_id] = None
            case TraceErased(streams=streams):
                folded.update((stream[1:], None) for stream in streams if stream == share_stream(stream[1:]))
            case _:
                continue
    return folded


async def apply(writer: Writer, events: Sequence[RecordedEvent], *, shard: int) -> None:
    """Fold the events into the stored shares, within the writer's transaction."""
    folded = fold(events)
    if not folded:
        return
    await writer.replace(shares, [as_row(shard, run_id, token) for run_id, token in folded.items() if token])
    await writer.delete(shares, [(shard, run_id) for run_id, token in folded.items() if not token])


def as_row(shard: int, run_id: bytes, token: bytes) -> tuple[Any, ...]:
    """The row of a share, in the order of the table's columns."""
    return shard, run_id, token


async def token_of(connection: AsyncConnection, run_id: bytes, *, shard: int = SHARD) -> bytes | None:
    """The token of a run, or None when it is not shared."""
    query = select(shares.c.token).where(shares.c.shard == shard, shares.c.run_id == run_id)
    token = (await connection.execute(query)).scalar_one_or_none()
    return None if token is None else bytes(token)


async def tokens_of(connection: AsyncConnection, run_ids: Sequence[bytes], *, shard: int = SHARD) -> dict[bytes, bytes]:
    """The tokens of those of these runs that are shared, by run."""
    query = select(shares.c.run_id, shares.c.token).where(shares.c.shard == shard, shares.c.run_id.in_(run_ids))
    return {bytes(run_id): bytes(token) for run_id, token in await connection.execute(query)}


async def run_of(connection: AsyncConnection, token: bytes, *, shard: int = SHARD) -> bytes | None:
    """The run that a token shares: of several, which only clients that choose one twice can make, the smallest id."""
    query = select(shares.c.run_id).where(shares.c.shard == shard, shares.c.token == token).order_by(shares.c.run_id)
    run_id = (await connection.execute(query.limit(1))).scalar_one_or_none()
    return None if run_id is None else bytes(run_id)
