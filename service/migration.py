"""Moving a database's schema from one version to another. A server imports this only when it has to."""

from collections.abc import Callable
from importlib import resources

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from events.dialect import migrating, open_engine
from events.errors import LogError
from service.schema_version import revision_of
from service.settings import normal_database_url


class NoSuchRevision(LogError):
    """A revision was asked for that is none."""


async def upgrade(database_url: str, revision: str = "head") -> None:
    """Apply, in one transaction, the migrations that are missing up to `revision`.

    Raises NoSuchRevision.
    """
    await _run(database_url, lambda config: command.upgrade(config, revision))


async def downgrade(database_url: str, revision: str) -> None:
    """Take back, in one transaction, the migrations after `revision`, with the data they made room for.

    `base` is before the first. Raises NoSuchRevision.
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


async def _run(database_url: str, work: Callable[[Config], None]) -> None:
    engine = open_engine(normal_database_url(database_url))

    def run(connection: Connection) -> None:
        config = _config()
        config.attributes["connection"] = connection
        work(config)

    try:
        async with migrating(engine) as connection:
            await connection.run_sync(run)
    except CommandError as error:
        raise NoSuchRevision(str(error)) from None
    finally:
        await engine.dispose()


def _config() -> Config:
    config = Config()
    scripts = str(resources.files("migrations"))
    config.set_main_option("script_location", scripts.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
