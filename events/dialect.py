"""What SQLite and PostgreSQL do differently: opening them, and the verbs of the hot path.

Reads go through SQLAlchemy's async engine. Writes of the log and its read models go through a `Writer`: one connection
of the driver's own, because that is three to five times faster than SQLAlchemy there (design.md §5).
"""

import asyncio
import contextlib
import sqlite3
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

import asyncpg
from sqlalchemy import Column, Connection, Table, event, func, make_url, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from events import sqlite_connection
from events.errors import DataRefused, LogError, Unavailable
from events.turns import Turn, portions

Row = Sequence[Any]

# What SQLite is asked for at once: few sizes, so that statements that name each row are prepared once and found again.
_USUAL_SIZES: Final = (256, 64, 16, 4, 1)
_STATEMENTS_KEPT: Final = 512
# What PostgreSQL is given at once: encoding a row takes up to 25 microseconds.
_COPIED_ROWS: Final = 1000
_LOCK_PATIENCE_S: Final = 8.0
_LOCK_PAUSE_S: Final = 0.005
_STATEMENT_PATIENCE_S: Final = 30.0
_STATISTICS_ROWS_MIN: Final = 500
_SCAN_PATIENCE_S: Final = 3600.0  # a whole index, of whatever size

_WRITES: Final = "agent_spy_writes"
_MIGRATION_LOCK: Final = 0x41_67_65_6E_74_53_70_79  # "AgentSpy"

_SQLITE_PRAGMAS: Final = (
    # For files that are new. Events take 1 to 2 KB: of 4,096 bytes a quarter stayed empty, and files were 17 % larger.
    "PRAGMA page_size=8192",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",  # erased bytes must not stay in the file
    "PRAGMA temp_store=MEMORY",
)
# What a connection keeps of the file for itself, in KiB. There is one that writes, and a pool of those that read.
_WRITER_CACHE: Final = "PRAGMA cache_size=-32768"
_READER_CACHE: Final = "PRAGMA cache_size=-4096"


def is_sqlite(url: str | URL) -> bool:
    """Whether a database URL names SQLite. PostgreSQL is the other one."""
    return make_url(url).get_backend_name() == "sqlite"


def open_engine(url: str, *, pool_size: int = 20, echo: bool = False) -> AsyncEngine:
    """An engine for reads and migrations. Connects to nothing yet."""
    if not is_sqlite(url):
        return create_async_engine(url, pool_size=pool_size, echo=echo, pool_pre_ping=True)
    address = make_url(url)
    (path,), options = address.get_dialect()().create_connect_args(address)
    connect = partial(sqlite_connection.connect, path, (*_SQLITE_PRAGMAS, _READER_CACHE), timeout=_LOCK_PATIENCE_S)
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


_ITSELF: Final[Mapping[str, str]] = MappingProxyType({})


def open_writer(
    url: str,
    *,
    lock_patience_s: float = _LOCK_PATIENCE_S,
    statement_patience_s: float = _STATEMENT_PATIENCE_S,
    stand_ins: Mapping[str, str] = _ITSELF,
    is_durable: bool = True,
) -> "Writer":
    """A writer for the database that the URL names. Connects when it first begins a transaction.

    `lock_patience_s` is how long it waits for SQLite's lock, or for PostgreSQL to accept a connection;
    `statement_patience_s` how long for PostgreSQL to answer a statement, waiting for the head's lock included.
    `stand_ins` names the tables that stand in for others: see `Writer.name_of`. Without `is_durable` the machine's
    power may take with it what was committed, until somebody commits something durable after it.
    """
    if is_sqlite(url):
        return SqliteWriter(make_url(url), lock_patience_s=lock_patience_s, stand_ins=stand_ins, is_durable=is_durable)
    return PostgresWriter(
        make_url(url),
        connect_patience_s=lock_patience_s,
        statement_patience_s=statement_patience_s,
        stand_ins=stand_ins,
        is_durable=is_durable,
    )


class Writer(ABC):
    """One connection that writes, used by one task at a time.

    Queries number their values `?1`, `?2`. Every method raises `Unavailable` when the database cannot be reached, is
    locked or full, and `DataRefused` when it does not take a value.
    """

    for_update: str = ""

    def __init__(self, stand_ins: Mapping[str, str], *, is_durable: bool) -> None:
        self._stand_ins = stand_ins
        self._is_durable = is_durable
        self.kept: dict[str, Any] = {}
        """What its user keeps in memory of rows as its transactions leave them. Emptied whenever others may have
        changed some since, and when a transaction is rolled back."""

    def name_of(self, table: Table) -> str:
        """The name under which this writer reads and writes a table: its own, or that of one that stands in for it."""
        return self._stand_ins.get(table.name, table.name)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """Begin; commit at the end, or roll back when the block raises."""
        with self._translated():
            await self._begin()
        try:
            with self._translated():
                yield
                await self._commit()
        except BaseException:
            self.kept.clear()
            await self._rollback()
            raise

    @abstractmethod
    async def fetch(self, query: str, *values: object) -> list[Row]:
        """The rows of one query."""

    @abstractmethod
    async def lookup(self, query: str, columns: dict[str, str], rows: Sequence[Row]) -> list[Row]:
        """The rows of a query that joins `k`: a relation of `columns` (name to PostgreSQL type) holding `rows`."""

    @abstractmethod
    async def execute(self, query: str, *values: object) -> None:
        """Run one statement."""

    @abstractmethod
    async def execute_many(self, query: str, rows: Sequence[Row]) -> None:
        """Run one statement once for each row of values."""

    @abstractmethod
    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert whole rows, values in the order of the table's columns."""

    @abstractmethod
    async def replace(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert whole rows in place of those with the same primary key. Of several given with one, the last counts."""

    @abstractmethod
    async def update(self, table: Table, names: Sequence[str], rows: Sequence[Row]) -> None:
        """Set these columns of rows that are there: of each their values, then those of its primary key."""

    @abstractmethod
    async def delete(self, table: Table, keys: Sequence[Row]) -> None:
        """Delete rows by primary key."""

    @abstractmethod
    async def purge(self) -> bool:
        """Have what was erased leave the files, outside a transaction. False when that is still to come."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connection. A later transaction opens another."""

    @abstractmethod
    def abort(self) -> None:
        """Have what waits for the database fail now, with `Unavailable`, and what comes later not wait."""

    @abstractmethod
    async def _begin(self) -> None: ...

    @abstractmethod
    async def _commit(self) -> None: ...

    @abstractmethod
    async def _rollback(self) -> None: ...

    @abstractmethod
    def _translate(self, error: Exception) -> LogError | None: ...

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except LogError:
            raise
        except Exception as error:
            translation = self._translate(error)
            if translation is None:
                raise
            raise translation from error


class SqliteWriter(Writer):
    """Statements run in the event loop (a thread would cost more in lock hand-offs than they take); only the commit,
    which waits for the disk, runs in a thread."""

    def __init__(
        self,
        url: URL,
        *,
        lock_patience_s: float,
        stand_ins: Mapping[str, str] = _ITSELF,
        is_durable: bool = True,
    ) -> None:
        super().__init__(stand_ins, is_durable=is_durable)
        self._path = url.database or ":memory:"
        self._lock_patience_s = lock_patience_s
        self._connection: sqlite3.Connection | None = None
        self._data_version = 0

    @property
    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(
                self._path,
                timeout=0,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=_STATEMENTS_KEPT,
            )
            try:
                for pragma in (*_SQLITE_PRAGMAS, _WRITER_CACHE):
                    connection.execute(pragma)
                if not self._is_durable:
                    connection.execute("PRAGMA synchronous=NORMAL")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    async def _begin(self) -> None:
        give_up = time.monotonic() + self._lock_patience_s
        while True:
            try:
                self._open.execute("BEGIN IMMEDIATE")
                self._forget_what_others_changed()
                return
            except sqlite3.OperationalError as error:
                if not _is_lock(error) or time.monotonic() > give_up:
                    raise
            await asyncio.sleep(_LOCK_PAUSE_S)

    def _forget_what_others_changed(self) -> None:
        # It goes up with every commit of another connection, and with none of this one.
        (version,) = self._open.execute("PRAGMA data_version").fetchone()
        if version != self._data_version:
            self._data_version = version
            self.kept.clear()

    async def _commit(self) -> None:
        await asyncio.to_thread(self._open.execute, "COMMIT")

    async def _rollback(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:  # Closing it rolls back what is still open.
                await self.close()

    async def fetch(self, query: str, *values: object) -> list[Row]:
        return self._open.execute(query, values).fetchall()

    async def lookup(self, query: str, columns: dict[str, str], rows: Sequence[Row]) -> list[Row]:
        # SQLite cannot know how few rows `k` holds. It read the whole log instead, for about a hundred of them (seen).
        in_order = query.replace(" JOIN ", " CROSS JOIN ")
        marks = "(" + ",".join("?" * len(columns)) + ")"
        found: list[Row] = []
        turn = Turn()
        for chunk in _in_usual_sizes(rows):
            keys = ",".join([marks] * len(chunk))
            flat = [value for row in chunk for value in row]
            found += self._open.execute(f"WITH k({','.join(columns)}) AS (VALUES {keys}) {in_order}", flat)
            await turn.give_way()
        return found

    async def execute(self, query: str, *values: object) -> None:
        self._open.execute(query, values)

    async def execute_many(self, query: str, rows: Sequence[Row]) -> None:
        async for portion in portions(rows):
            self._open.executemany(query, portion)

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        # What is refused undoes the whole transaction, as it does here in any case. To be able to undo a statement
        # alone, SQLite would keep a journal for each row of a table that has a trigger (migration 0011).
        await self._many("INSERT OR ROLLBACK INTO", table, rows)

    async def replace(self, table: Table, rows: Sequence[Row]) -> None:
        await self._many("INSERT OR REPLACE INTO", table, rows)

    async def update(self, table: Table, names: Sequence[str], rows: Sequence[Row]) -> None:
        places = ",".join(f"{name} = ?" for name in names)
        matches = " AND ".join(f"{column.name} = ?" for column in table.primary_key)
        await self.execute_many(f"UPDATE {self.name_of(table)} SET {places} WHERE {matches}", rows)

    async def delete(self, table: Table, keys: Sequence[Row]) -> None:
        matches = " AND ".join(f"{column.name} = ?" for column in table.primary_key)
        await self.execute_many(f"DELETE FROM {self.name_of(table)} WHERE {matches}", keys)

    async def purge(self) -> bool:
        # The main file gets the zeroed pages when the write-ahead log is copied back to it, and older copies of them
        # stay in that log until it is cut. Both have to wait for whoever reads at that moment.
        row = await asyncio.to_thread(lambda: self._open.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
        return not row[0]

    async def close(self) -> None:
        self.kept.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def abort(self) -> None:
        self._lock_patience_s = 0  # Nothing else waits.

    async def _many(self, verb: str, table: Table, rows: Sequence[Row]) -> None:
        names = ",".join(column.name for column in table.columns)
        marks = ",".join("?" * len(table.columns))
        await self.execute_many(f"{verb} {self.name_of(table)} ({names}) VALUES ({marks})", rows)

    def _translate(self, error: Exception) -> LogError | None:
        if isinstance(error, sqlite3.OperationalError):
            if _is_lock(error):
                return Unavailable(f"the SQLite file {self._path} is locked by another process")
            if "full" in str(error):
                return Unavailable(f"the disk that holds {self._path} is full")
            if error.sqlite_errorname in _WRITE_FAILED:
                return Unavailable(f"the disk that holds {self._path} took no write: is it full, or a quota reached?")
            return Unavailable(f"SQLite: {error}")
        if type(error) is sqlite3.DatabaseError:  # The file is no database, or damaged.
            return Unavailable(f"SQLite: {error}: {self._path}")
        if isinstance(error, (sqlite3.DatabaseError, OverflowError, UnicodeEncodeError)):
            return DataRefused(f"SQLite: {error}")
        return None


# SQLite says "full" of what the system calls so. Quotas and limits of a file's size it calls errors.
_WRITE_FAILED: Final = frozenset({"SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_TRUNCATE"})


def _in_usual_sizes(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows in chunks of these sizes."""
    start = 0
    for size in _USUAL_SIZES:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def _is_lock(error: sqlite3.OperationalError) -> bool:
    return "locked" in str(error) or "busy" in str(error)


_POSTGRES_GONE: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.ReadOnlySQLTransactionError,  # what a standby answers
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.PostgresSystemError,
    asyncpg.ObjectInUseError,
    asyncpg.LockNotAvailableError,
    asyncpg.CannotConnectNowError,
    asyncpg.InvalidCachedStatementError,
    OSError,
    TimeoutError,
)


class PostgresWriter(Writer):
    """A connection of asyncpg's: COPY for inserts, arrays for look-ups."""

    for_update = " FOR UPDATE"

    def __init__(
        self,
        url: URL,
        *,
        connect_patience_s: float,
        statement_patience_s: float,
        stand_ins: Mapping[str, str] = _ITSELF,
        is_durable: bool = True,
    ) -> None:
        super().__init__(stand_ins, is_durable=is_durable)
        self._connect_patience_s = connect_patience_s
        self._statement_patience_s = statement_patience_s
        # As SQLAlchemy understands the URL, so that reads and writes reach the same server in the same way.
        self._address: Mapping[str, Any] = url.get_dialect()().create_connect_args(url)[1]
        self._connection: Any = None
        self._connecting: asyncio.Future[Any] | None = None
        self._transaction: Any = None
        self._statistics = _Statistics()

    async def _begin(self) -> None:
        self.kept.clear()  # Other workers write as well.
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
        await self._statistics.keep(self._connection)
        self._transaction = self._connection.transaction()
        try:
            await self._transaction.start()
        except BaseException:
            # It may have begun all the same, and asyncpg would make the next transaction a savepoint in it, whose
            # "commit" commits nothing.
            self._abandon()
            raise

    async def _connect(self) -> Any:
        self._connecting = asyncio.ensure_future(
            asyncpg.connect(
                **self._address,
                timeout=self._connect_patience_s,
                command_timeout=self._statement_patience_s,
                server_settings={
                    "synchronous_commit": "on" if self._is_durable else "off",
                    "application_name": "agent-spy writer",
                    "jit": "off",  # compiling takes longer than any query of a writer
                },
            )
        )
        try:
            await asyncio.wait({self._connecting})
        finally:
            self._connecting.cancel()  # Whoever is cancelled while waiting does not leave it behind.
        if self._connecting.cancelled():
            raise Unavailable("PostgreSQL: the connection was given up")
        return self._connecting.result()

    async def _commit(self) -> None:
        await self._transaction.commit()
        self._statistics.committed()

    async def _rollback(self) -> None:
        try:
            await self._transaction.rollback()
        except BaseException as error:
            self._abandon()
            if not isinstance(error, Exception):
                raise

    def abort(self) -> None:
        self._connect_patience_s = 0.0
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.terminate()

    def _abandon(self) -> None:
        """Close a connection that is in doubt. The server rolls back what it left open."""
        self._connection.terminate()
        self._connection = None

    async def fetch(self, query: str, *values: object) -> list[Row]:
        rows: list[Row] = await self._connection.fetch(query.replace("?", "$"), *values)
        return rows

    async def lookup(self, query: str, columns: dict[str, str], rows: Sequence[Row]) -> list[Row]:
        if not rows:
            return []
        arrays = ",".join(f"${n}::{kind}[]" for n, kind in enumerate(columns.values(), 1))
        keys = f"WITH k({','.join(columns)}) AS (SELECT * FROM unnest({arrays}))"
        found: list[Row] = await self._connection.fetch(f"{keys} {query}", *_transposed(rows, len(columns)))
        return found

    async def execute(self, query: str, *values: object) -> None:
        await self._connection.execute(query.replace("?", "$"), *values)

    async def execute_many(self, query: str, rows: Sequence[Row]) -> None:
        await self._connection.executemany(query.replace("?", "$"), rows)

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        if rows:
            names = [column.name for column in table.columns]
            async for portion in portions(rows, _COPIED_ROWS):
                await self._connection.copy_records_to_table(self.name_of(table), records=portion, columns=names)
            self._statistics.count(self.name_of(table), len(rows))

    async def replace(self, table: Table, rows: Sequence[Row]) -> None:
        places = [table.columns.keys().index(column.name) for column in table.primary_key]
        by_key = {tuple(row[place] for place in places): row for row in rows}
        if not by_key:
            return
        columns = list(table.columns)
        set_ = ",".join(f"{column.name} = excluded.{column.name}" for column in columns if not column.primary_key)
        # In one round trip, and without touching indexes on what stays as it was.
        added: int = await self._connection.fetchval(
            f"WITH put AS (INSERT INTO {self.name_of(table)} ({','.join(table.columns.keys())}) "
            f"SELECT * FROM unnest({_arrays(columns)}) ON CONFLICT ({','.join(table.primary_key.columns.keys())}) "
            f"DO {f'UPDATE SET {set_}' if set_ else 'NOTHING'} RETURNING xmax = 0 AS is_new) "
            "SELECT count(*) FILTER (WHERE is_new) FROM put",
            *_transposed(list(by_key.values()), len(columns)),
        )
        self._statistics.count(self.name_of(table), added)

    async def update(self, table: Table, names: Sequence[str], rows: Sequence[Row]) -> None:
        if not rows:
            return
        keys = [column.name for column in table.primary_key]
        given = [table.columns[name] for name in (*names, *keys)]
        places = ",".join(f"{name} = k.{name}" for name in names)
        matches = " AND ".join(f"t.{name} = k.{name}" for name in keys)
        await self._connection.execute(
            f"UPDATE {self.name_of(table)} t SET {places} "
            f"FROM unnest({_arrays(given)}) AS k({','.join((*names, *keys))}) WHERE {matches}",
            *_transposed(rows, len(given)),
        )

    async def delete(self, table: Table, keys: Sequence[Row]) -> None:
        if not keys:
            return
        columns = list(table.primary_key)
        names = ",".join(column.name for column in columns)
        matches = " AND ".join(f"t.{column.name} = k.{column.name}" for column in columns)
        status = await self._connection.execute(
            f"DELETE FROM {self.name_of(table)} t USING unnest({_arrays(columns)}) AS k({names}) WHERE {matches}",
            *_transposed(keys, len(columns)),
        )
        self._statistics.count(self.name_of(table), -int(status.removeprefix("DELETE ")))

    async def purge(self) -> bool:
        # The next vacuum does it, and nobody is to wait for one of a large table.
        return False

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close(timeout=self._connect_patience_s)
            self._connection = None

    def _translate(self, error: Exception) -> LogError | None:
        if isinstance(error, asyncpg.DiskFullError):
            return Unavailable("the disk of the PostgreSQL server is full")
        said = f"PostgreSQL: {type(error).__name__}: {error}"
        if isinstance(error, (ValueError, OverflowError)):  # asyncpg's own refusal of a value is a ValueError
            return DataRefused(said)
        if isinstance(error, _POSTGRES_GONE):
            return Unavailable(said)
        return DataRefused(said) if isinstance(error, asyncpg.PostgresError) else None


class _Statistics:
    """Has PostgreSQL look at a table anew whenever this writer has doubled it.

    PostgreSQL itself does so once a minute at best. Until then it takes a table that grows from nothing for a small
    one, and plans to read all of it again and again: at 25,000 events an append took 8 s, with the head locked (seen).
    """

    def __init__(self) -> None:
        self._uncommitted: Counter[str] = Counter()
        self._grown: Counter[str] = Counter()
        self._due: dict[str, float] = {}

    def count(self, table: str, rows: int) -> None:
        """Rows were added to a table, or taken from it when negative."""
        self._uncommitted[table] += rows

    def committed(self) -> None:
        """What was counted since the last transaction is there to stay."""
        self._grown.update(self._uncommitted)

    async def keep(self, connection: Any) -> None:
        """Between transactions: bring the statistics of tables that have doubled up to date."""
        self._uncommitted.clear()
        due = [table for table, rows in self._grown.items() if rows >= self._due.get(table, _STATISTICS_ROWS_MIN)]
        for table in due:
            if self._grown[table] >= await _known_rows(connection, table):
                self._grown[table] = 0
                # Where another session does this already, nobody waits for it.
                await connection.execute(f"ANALYZE (SKIP_LOCKED) {table}")
            self._due[table] = max(_STATISTICS_ROWS_MIN, await _known_rows(connection, table))


async def _known_rows(connection: Any, table: str) -> float:
    """How many rows PostgreSQL believes a table to have: -1 when it never looked, infinite when there is no table."""
    query = "SELECT coalesce((SELECT reltuples FROM pg_class WHERE oid = to_regclass($1)), 'infinity'::real)"
    rows: float = await connection.fetchval(query, table)
    return rows


def _transposed(rows: Sequence[Row], width: int) -> list[list[Any]]:
    return [[row[place] for row in rows] for place in range(width)]


def _arrays(columns: Iterable[Column[Any]]) -> str:
    """Parameters that each hold the values of one column, with the types that PostgreSQL has to know."""
    return ",".join(f"${n}::{column.type.compile(_POSTGRES)}[]" for n, column in enumerate(columns, 1))


_POSTGRES: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


# --- one moment of a database -----------------------------------------------------------------------------------------


class Snapshot(Protocol):
    """A connection that reads what the database held at one moment, used by one task at a time. Nobody waits for it."""

    def transaction(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Begin; what is read within the block is of this moment."""

    def sharing(self) -> contextlib.AbstractAsyncContextManager[str]:
        """Within the transaction, before anything is read: let others join it with a token, while the block lasts.

        On SQLite nobody can write meanwhile, and the moment is that of the block's beginning.
        """

    async def fetch(self, query: str, *values: object) -> list[Row]:
        """The rows of one query, which numbers its values `?1`, `?2`."""

    async def lookup(self, query: str, columns: dict[str, str], rows: Sequence[Row]) -> list[Row]:
        """The rows of a query that joins `k`: see `Writer.lookup`."""

    async def close(self) -> None:
        """Close the connection."""


def open_snapshot(url: str, *, token: str | None = None) -> Snapshot:
    """A snapshot of the moment when its transaction begins, or of the one that `token` was given out for."""
    address = make_url(url)
    return SqliteSnapshot(address) if is_sqlite(url) else PostgresSnapshot(address, token)


class SqliteSnapshot(SqliteWriter):
    """A read transaction. Its text may hold lone surrogates: they stand for bytes that are no UTF-8."""

    def __init__(self, url: URL) -> None:
        super().__init__(url, lock_patience_s=_LOCK_PATIENCE_S)
        self._url = url

    async def _begin(self) -> None:
        self._open.text_factory = lambda raw: raw.decode(errors="surrogateescape")
        self._open.execute("BEGIN")
        self._open.execute("SELECT 1 FROM heads").fetchone()  # The moment is that of the first read, not of BEGIN.

    @contextlib.asynccontextmanager
    async def sharing(self) -> AsyncIterator[str]:
        lock = SqliteWriter(self._url, lock_patience_s=_LOCK_PATIENCE_S)
        try:
            async with lock.transaction():
                self._open.execute("ROLLBACK")
                await self._begin()
                yield ""
        finally:
            await lock.close()


class PostgresSnapshot(PostgresWriter):
    """A transaction that reads, in the isolation where all queries see the same."""

    def __init__(self, url: URL, token: str | None) -> None:
        super().__init__(url, connect_patience_s=_LOCK_PATIENCE_S, statement_patience_s=_SCAN_PATIENCE_S)
        self._token = token

    async def _begin(self) -> None:
        self._connection = await asyncpg.connect(
            **self._address, timeout=self._connect_patience_s, command_timeout=self._statement_patience_s
        )
        self._transaction = self._connection.transaction(isolation="repeatable_read", readonly=True)
        await self._transaction.start()
        if self._token is not None:
            await self._connection.execute(f"SET TRANSACTION SNAPSHOT '{self._token}'")

    @contextlib.asynccontextmanager
    async def sharing(self) -> AsyncIterator[str]:
        yield await self._connection.fetchval("SELECT pg_export_snapshot()")
