"""Reading the quarantine: items that no event could be made of, and what became of them since."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.codec import unpack
from events.dialect import Writer
from events.schema import SHARD, quarantine


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An item in quarantine: where it stood in its request, why it is here, and which retry made events of it.

    `raw_size` is in bytes. `outcome` is None until a retry succeeded, then what that was: applied or duplicate.
    """

    shard: int
    quarantine_id: int
    receipt_id: int
    recorded_at: int
    source: str
    reason: str
    raw_size: int
    raw_hash: bytes
    chain: bytes
    is_erased: bool
    retried_at: int | None
    retry_receipt_id: int | None
    outcome: str | None


async def read_page(
    connection: AsyncConnection, *, after: int, limit: int, newest_first: bool = False, shard: int = SHARD
) -> list[Quarantined]:
    """The items after one (0: all), in order: the oldest first, or the newest."""
    number = quarantine.c.quarantine_id
    query = _select(shard).limit(limit)
    if newest_first:
        query = query.where(number < after if after else number > 0).order_by(number.desc())
    else:
        query = query.where(number > after).order_by(number)
    return [_quarantined(row) for row in await connection.execute(query)]


async def read_of_receipt(connection: AsyncConnection, receipt_id: int, *, shard: int = SHARD) -> list[Quarantined]:
    """The items that came with a receipt."""
    query = _select(shard).where(quarantine.c.receipt_id == receipt_id).order_by(quarantine.c.quarantine_id)
    return [_quarantined(row) for row in await connection.execute(query)]


async def read_item(connection: AsyncConnection, quarantine_id: int, *, shard: int = SHARD) -> Quarantined | None:
    """One item, or None when there is none of this number."""
    row = (await connection.execute(_select(shard).where(quarantine.c.quarantine_id == quarantine_id))).one_or_none()
    return None if row is None else _quarantined(row)


async def read_raw(connection: AsyncConnection, quarantine_id: int, *, shard: int = SHARD) -> bytes | None:
    """The bytes of an item as they came, or None when they were erased."""
    query = select(quarantine.c.codec, quarantine.c.raw).where(
        quarantine.c.shard == shard, quarantine.c.quarantine_id == quarantine_id
    )
    row = (await connection.execute(query)).one()
    return None if row.raw is None else unpack(row.codec, bytes(row.raw))


async def outcome_of(writer: Writer, quarantine_id: int, *, shard: int) -> str | None:
    """What the retry that succeeded came to; None when none did. Within a transaction that holds the head."""
    query = "SELECT outcome FROM quarantine WHERE shard = ?1 AND quarantine_id = ?2"
    ((outcome,),) = await writer.fetch(query, shard, quarantine_id)
    return None if outcome is None else str(outcome)


async def note_retry(writer: Writer, quarantine_id: int, *, at: int, receipt_id: int, outcome: str, shard: int) -> None:
    """Note with an item which request made events of it, and when (µs). The item stays as it came."""
    await writer.execute(
        "UPDATE quarantine SET retried_at = ?1, retry_receipt_id = ?2, outcome = ?3 "
        "WHERE shard = ?4 AND quarantine_id = ?5",
        *(at, receipt_id, outcome, shard, quarantine_id),
    )


_COLUMNS: Final[Sequence[Any]] = (
    quarantine.c.shard,
    quarantine.c.quarantine_id,
    quarantine.c.receipt_id,
    quarantine.c.recorded_at,
    quarantine.c.source,
    quarantine.c.reason,
    quarantine.c.raw_size,
    quarantine.c.raw_hash,
    quarantine.c.chain,
    quarantine.c.raw.is_(None).label("is_erased"),
    quarantine.c.retried_at,
    quarantine.c.retry_receipt_id,
    quarantine.c.outcome,
)


def _select(shard: int) -> Select[Any]:
    return select(*_COLUMNS).where(quarantine.c.shard == shard)


def _quarantined(row: Any) -> Quarantined:
    values = row._asdict()
    return Quarantined(
        **values
        | {
            "raw_hash": bytes(row.raw_hash),
            "chain": bytes(row.chain),
            "is_erased": bool(row.is_erased),
        }
    )
