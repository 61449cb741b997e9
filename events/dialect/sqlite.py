"""SQLite: one connection that writes, statements in the event loop."""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from sqlalchemy import Table
from sqlalchemy.engine import URL

from events.dialect.contract import ITSELF, LOCK_PATIENCE_S, Row, Writer
from events.errors import DataRefused, LogError, Unavailable
from events.turns import Turn, portions

Outcome = TypeVar("Outcome")

# What is asked for at once: few sizes, so that statements that name each row are prepared once and found again.
_USUAL_SIZES: Final = (256, 64, 16, 4, 1)
_STATEMENTS_KEPT: Final = 512
_LOCK_PAUSE_S: Final = 0.005

PRAGMAS: Final = (
    # For files that are new. Events take 1 to 2 KB: of 4,096 bytes a quarter stayed empty, and files were 17 % larger.
    "PRAGMA page_size=8192",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA secure_delete=ON",  # erased bytes must not stay in the file
    "PRAGMA temp_store=MEMORY",
)
# What a connection keeps of the file for itself, in KiB. There is one that writes, and a pool of those that read.
_WRITER_CACHE: Final = "PRAGMA cache_size=-32768"
READER_CACHE: Final = "PRAGMA cache_size=-4096"


class SqliteWriter(Writer):
    """Statements run in the event loop (a thread would cost more in lock hand-offs than they take); only what
    waits for the disk, the commit and the checkpoint after an erasure, runs in a thread."""

    def __init__(
        self,
        url: URL,
        *,
        lock_patience_s: float,
        stand_ins: Mapping[str, str] = ITSELF,
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
                for pragma in (*PRAGMAS, _WRITER_CACHE):
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
        connection = self._open
        await _in_thread(lambda: connection.execute("COMMIT"))

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
        connection = self._open
        (is_busy, *_) = await _in_thread(lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
        return not is_busy

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


async def _in_thread(work: Callable[[], Outcome]) -> Outcome:
    """What some work in a thread comes to. Who is cancelled waits for its end: until then the connection is taken."""
    working = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        while not working.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({working})
        raise


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


class SqliteSnapshot(SqliteWriter):
    """A read transaction. Its text may hold lone surrogates: they stand for bytes that are no UTF-8."""

    def __init__(self, url: URL) -> None:
        super().__init__(url, lock_patience_s=LOCK_PATIENCE_S)
        self._url = url

    async def _begin(self) -> None:
        self._open.text_factory = lambda raw: raw.decode(errors="surrogateescape")
        self._open.execute("BEGIN")
        self._open.execute("SELECT 1 FROM heads").fetchone()  # The moment is that of the first read, not of BEGIN.

    @contextlib.asynccontextmanager
    async def sharing(self) -> AsyncIterator[str]:
        lock = SqliteWriter(self._url, lock_patience_s=LOCK_PATIENCE_S)
        try:
            async with lock.transaction():
                self._open.execute("ROLLBACK")
                await self._begin()
                yield ""
        finally:
            await lock.close()
