"""What SQLite and PostgreSQL do differently: opening them, and the verbs of the hot path.

Reads go through SQLAlchemy's async engine. Writes of the log and its read models go through a `Writer`: one connection
of the driver's own, because that is three to five times faster than SQLAlchemy there (design.md §5). PostgreSQL's
driver is imported when it is needed: a server on SQLite starts sooner without, and is smaller.
"""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, event, func, make_url, select
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from events.dialect import sqlite, sqlite_connection
from events.dialect.contract import ITSELF, LOCK_PATIENCE_S, Row, Snapshot, Writer
from events.dialect.sqlite import SqliteSnapshot, SqliteWriter

__all__ = [
    "Row",
    "Snapshot",
    "SqliteWriter",
    "Writer",
    "driver_errors",
    "is_sqlite",
    "migrating",
    "open_engine",
    "open_snapshot",
    "open_writer",
    "stored_bytes",
]

_STATEMENT_PATIENCE_S: Final = 30.0
_WRITES: Final = "agent_spy_writes"
_MIGRATION_LOCK: Final = 0x41_67_65_6E_74_53_70_79  # "AgentSpy"


def is_sqlite(url: str | URL) -> bool:
    """Whether a database URL names SQLite. PostgreSQL is the other one."""
    return make_url(url).get_backend_name() == "sqlite"


def open_engine(url: str, *, pool_size: int = 20, echo: bool = False) -> AsyncEngine:
    """An engine for reads and migrations. Connects to nothing yet."""
    if not is_sqlite(url):
        return create_async_engine(url, pool_size=pool_size, echo=echo, pool_pre_ping=True)
    address = make_url(url)
    (path,), options = address.get_dialect()().create_connect_args(address)
    connect = partial(sqlite_connection.connect, path, (*sqlite.PRAGMAS, sqlite.READER_CACHE), timeout=LOCK_PATIENCE_S)
    engine = create_async_engine(url, pool_size=pool_size, echo=echo, async_creator=partial(connect, **options))

    # The driver itself would begin a transaction for INSERT and the like alone: queries of one answer would each see
    # another moment, and a migration that fails would leave the tables that it had made.
    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(_WRITES, False):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection.connection.driver_connection.begin()  # type: ignore[union-attr]

    return engine


@contextlib.asynccontextmanager
async def migrating(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that changes the schema. Of several that begin at once each waits for the one before."""
    async with engine.connect() as connection:
        await connection.execution_options(**{_WRITES: True})
        async with connection.begin():
            if not is_sqlite(engine.url):
                await connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            yield connection


async def stored_bytes(connection: AsyncConnection) -> int:
    """How many bytes of disk the database takes: SQLite's file and its write-ahead log, PostgreSQL's own figure."""
    url = connection.engine.url
    if is_sqlite(url):
        files = (Path(f"{url.database}{suffix}") for suffix in ("", "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())
    found = await connection.execute(select(func.pg_database_size(func.current_database())))
    return int(found.scalar_one())


def open_writer(
    url: str,
    *,
    lock_patience_s: float = LOCK_PATIENCE_S,
    statement_patience_s: float = _STATEMENT_PATIENCE_S,
    stand_ins: Mapping[str, str] = ITSELF,
    is_durable: bool = True,
) -> Writer:
    """A writer for the database that the URL names. Connects when it first begins a transaction.

    `lock_patience_s` is how long it waits for SQLite's lock, or for PostgreSQL to accept a connection;
    `statement_patience_s` how long for PostgreSQL to answer a statement, waiting for the head's lock included.
    `stand_ins` names the tables that stand in for others: see `Writer.name_of`. Without `is_durable` the machine's
    power may take with it what was committed, until somebody commits something durable after it.
    """
    if is_sqlite(url):
        return SqliteWriter(make_url(url), lock_patience_s=lock_patience_s, stand_ins=stand_ins, is_durable=is_durable)
    from events.dialect.postgresql import PostgresWriter

    return PostgresWriter(
        make_url(url),
        connect_patience_s=lock_patience_s,
        statement_patience_s=statement_patience_s,
        stand_ins=stand_ins,
        is_durable=is_durable,
    )


def open_snapshot(url: str, *, token: str | None = None) -> Snapshot:
    """A snapshot of the moment when its transaction begins, or of the one that `token` was given out for."""
    address = make_url(url)
    if is_sqlite(url):
        return SqliteSnapshot(address)
    from events.dialect.postgresql import PostgresSnapshot

    return PostgresSnapshot(address, token)


def driver_errors(name: str) -> tuple[type[Exception], ...]:
    """What the driver of a database raises, `sqlite` or `postgresql`."""
    if name == "sqlite":
        return (sqlite3.Error, OSError)
    import asyncpg

    return (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
