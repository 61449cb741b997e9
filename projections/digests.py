"""Digests of read models: equal for stores that were told the same, on either database, wherever the rows lie."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projections.canonical import UNDUMPED
from projections.shadow import TABLES

_PART_ROWS: Final = 1000
_DIGEST_BYTES: Final = 32


async def count_rows(connection: AsyncConnection, projection: str) -> int:
    """How many rows a read model has."""
    counts = [
        (await connection.execute(select(func.count()).select_from(table))).scalar_one() for table in TABLES[projection]
    ]
    return sum(counts)


async def digest(connection: AsyncConnection, projection: str) -> str:
    """A digest, in hex, of the canonical dump of a read model. Reads every row, some at a time.

    It is the sum of the hashes of the rows, so that their order does not matter: databases sort text differently.
    """
    total = 0
    for table in TABLES[projection]:
        if table not in UNDUMPED:
            continue
        columns = [column for column in table.c if column.name not in UNDUMPED[table]]
        rows = await connection.stream(select(*columns))
        async for part in rows.partitions(_PART_ROWS):
            total += sum(_hash((table.name, *row)) for row in part)
    return (total % (1 << 8 * _DIGEST_BYTES)).to_bytes(_DIGEST_BYTES).hex()


def _hash(row: Sequence[object]) -> int:
    return int.from_bytes(sha256(repr(row).encode("utf-8", "surrogatepass")).digest())
