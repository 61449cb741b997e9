"""PostgreSQL: COPY for inserts, arrays for look-ups, by way of asyncpg."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any, Final

import asyncpg
from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import URL

from events.dialect.contract import ITSELF, LOCK_PATIENCE_S, Row, Writer
from events.errors import DataRefused, LogError, Unavailable
from events.turns import portions

# What is given at once: encoding a row takes up to 25 microseconds.
_COPIED_ROWS: Final = 1000
_STATISTICS_ROWS_MIN: Final = 500
_SCAN_PATIENCE_S: Final = 3600.0  # a whole index, of whatever size

_GONE: Final = (
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
        stand_ins: Mapping[str, str] = ITSELF,
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
        if isinstance(error, _GONE):
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
    return ",".join(f"${n}::{column.type.compile(_DIALECT)}[]" for n, column in enumerate(columns, 1))


_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


class PostgresSnapshot(PostgresWriter):
    """A transaction that reads, in the isolation where all queries see the same."""

    def __init__(self, url: URL, token: str | None) -> None:
        super().__init__(url, connect_patience_s=LOCK_PATIENCE_S, statement_patience_s=_SCAN_PATIENCE_S)
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
