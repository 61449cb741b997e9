"""Which version of the schema a database has, and which this program needs.

Asked at every start and by every health check, so without Alembic: that would take 12 MB of an idle server.
"""

import re
from functools import cache
from importlib import resources
from typing import Final

from sqlalchemy import Column, MetaData, Table, Text, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events.errors import SchemaMismatch

_VERSION: Final = Table("alembic_version", MetaData(), Column("version_num", Text))
_MIGRATION: Final = re.compile(r"(\d{4})_\w+\.py")


async def revision_of(connection: AsyncConnection) -> str | None:
    """The revision of the database that is connected to, or None when no migration was ever applied to it."""
    if not await connection.run_sync(lambda sync: inspect(sync).has_table(_VERSION.name)):
        return None
    return (await connection.execute(select(_VERSION.c.version_num))).scalar_one_or_none()


@cache
def known() -> frozenset[str]:
    """The revisions that this program has: the numbers at the beginning of the files in `migrations/versions`."""
    files = (file.name for file in resources.files("migrations").joinpath("versions").iterdir())
    return frozenset(found[1] for found in map(_MIGRATION.fullmatch, files) if found)


def newest() -> str:
    """The revision that this program needs: the last one in `migrations`."""
    return max(known())


async def require_newest(engine: AsyncEngine) -> None:
    """Raise SchemaMismatch, which says what to do, unless the database is at the newest revision."""
    async with engine.connect() as connection:
        found = await revision_of(connection)
    if found != newest():
        state = f"is at {found}" if found else "was never made"
        remedy = "a newer version of this program" if found and found not in known() else "agent-spy migrate"
        raise SchemaMismatch(f"The database's schema {state}, but {newest()} is needed: run {remedy}.")
