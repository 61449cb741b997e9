"""Moving a database's schema from one version to another, and telling which one it has."""

from collections.abc import Callable
from functools import cache
from importlib import resources

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events.dialect import migrating, open_engine
from events.errors import SchemaMismatch
from service.settings import normal_database_url


async def upgrade(database_url: str, revision: str = "head") -> None:
    """Apply, in one transaction, the migrations that are missing up to `revision`.

    Raises alembic's CommandError for a revision that is none.
    """
    await _run(database_url, lambda config: command.upgrade(config, revision))


async def downgrade(database_url: str, revision: str) -> None:
    """Take back, in one transaction, the migrations after `revision`, with the data they made room for.

    `base` is before the first. Raises alembic's CommandError for a revision that is none.
    """
    await _run(database_url, lambda config: command.downgrade(config, revision))


async def current(database_url: str) -> str | None:
    """The revision a database is at, or None when no migration was ever applied to it."""
    engine = open_engine(normal_database_url(database_url))
    try:
        async with engine.connect() as connection:
            return await revision_of(connection)
    finally:
        await engine.dispose()


async def revision_of(connection: AsyncConnection) -> str | None:
    """The revision of the database that is connected to, or None when no migration was ever applied to it."""
    return await connection.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


@cache
def newest() -> str:
    """The revision that this program needs: the last one in `migrations`."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None, "there are no migrations"
    return head


async def require_newest(engine: AsyncEngine) -> None:
    """Raise SchemaMismatch, which says what to do, unless the database is at the newest revision."""
    async with engine.connect() as connection:
        found = await revision_of(connection)
    if found != newest():
        known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
        state = f"is at {found}" if found else "was never made"
        remedy = "a newer version of this program" if found and found not in known else "agent-spy migrate"
        raise SchemaMismatch(f"The database's schema {state}, but {newest()} is needed: run {remedy}.")


async def _run(database_url: str, work: Callable[[Config], None]) -> None:
    engine = open_engine(normal_database_url(database_url))

    def run(connection: Connection) -> None:
        config = _config()
        config.attributes["connection"] = connection
        work(config)

    try:
        async with migrating(engine) as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


def _config() -> Config:
    config = Config()
    scripts = str(resources.files("migrations"))
    config.set_main_option("script_location", scripts.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
