"""What makes one installation different from another: its tenant id, and the key that it signs addresses with."""

from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.errors import SchemaMismatch
from events.schema import SHARD, instance


@dataclass(frozen=True, slots=True)
class Instance:
    """Made by the first migration, at `created_at` (µs), and never changed."""

    tenant_id: bytes
    signing_key: bytes = field(repr=False)
    created_at: int


async def read_instance(connection: AsyncConnection) -> Instance:
    """This installation. Raises `SchemaMismatch` when the database was not migrated."""
    query = select(instance.c.tenant_id, instance.c.signing_key, instance.c.created_at).where(instance.c.shard == SHARD)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise SchemaMismatch("the database has no instance: it was not migrated")
    return Instance(bytes(row.tenant_id), bytes(row.signing_key), row.created_at)
