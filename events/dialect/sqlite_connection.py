"""SQLite's connections for reads, as SQLAlchemy uses them: a statement is one errand of the connection's thread.

aiosqlite sends its thread on four: to make a cursor, to execute, to fetch the rows, to close the cursor. Handing over
costs more than a usual statement does, so what belongs together goes together: a transaction begins with its first
statement, and a statement brings as many rows as most answers have.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import aiosqlite

Outcome = TypeVar("Outcome")

# What comes with a statement. Whoever streams a whole table is not to get all of it at once.
_ROWS_AT_ONCE: Final = 1000
_STATEMENTS_KEPT: Final = 256
_URGED_AFTER_S: Final = 0.02


async def connect(path: str, pragmas: Sequence[str], **options: Any) -> "ReadConnection":
    """A connection to the file, prepared by these pragmas. `options` are those of `sqlite3.connect`."""

    def opened() -> sqlite3.Connection:
        connection: sqlite3.Connection = sqlite3.connect(
            path, isolation_level=None, cached_statements=_STATEMENTS_KEPT, **options
        )
        try:
            for pragma in pragmas:
                connection.execute(pragma)
        except BaseException:
            connection.close()
            raise
        return connection

    connection = ReadConnection(opened, _ROWS_AT_ONCE)
    connection._thread.daemon = True  # A process that ends does not wait for it.
    try:
        await connection
    except sqlite3.Error:
        connection._thread.join()  # It ends, and would tell so a loop that may be closed by then.
        raise
    return connection


class ReadConnection(aiosqlite.Connection):
    """A connection of aiosqlite's whose cursors are `ReadCursor`s, and which begins transactions late."""

    _begin: str | None = None
    _is_ending = False

    def begin(self) -> None:
        """Begin a transaction together with the next statement: until then it would hold nothing anyway."""
        if not self._is_in_transaction:
            self._begin = "BEGIN"

    async def rows(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Any]]:
        """All rows of each statement, given its values, in the transaction that was begun, or that begins with them."""
        self.begin()
        return await self.errand(lambda connection: [connection.execute(*each).fetchall() for each in statements])

    def cursor(self) -> "ReadCursor":  # type: ignore[override]
        return ReadCursor(self)

    @property
    def _is_in_transaction(self) -> bool:
        return not self._is_ending and self._conn.in_transaction  # In this order: the thread changes the latter first.

    async def commit(self) -> None:
        self._begin = None
        if self._is_in_transaction:
            try:
                await self._execute(self._conn.execute, "COMMIT")  # type: ignore[no-untyped-call]
            except asyncio.CancelledError:
                await self._come_to_rest(lambda: None)
                raise

    async def rollback(self) -> None:
        """Send the thread to do so, and do not wait: every read ends so, and whatever comes next is done after it."""
        self._begin = None
        if self._is_in_transaction:
            self._is_ending = True
            self._tx.put_nowait((None, self._roll_back))

    def _roll_back(self) -> None:
        try:
            self._conn.execute("ROLLBACK")
        finally:
            self._is_ending = False

    async def errand(self, work: Callable[[sqlite3.Connection], Outcome]) -> Outcome:
        """What the thread's work comes to, in the transaction that was begun.

        Work that nobody waits for any more is not begun, or interrupted. Until it has ended, who was cancelled waits:
        the connection goes back to its pool, and nobody could tell there whether it is in a transaction.
        """
        begin, self._begin = self._begin, None
        is_wanted = True

        def done() -> Outcome:
            if not is_wanted:
                raise asyncio.CancelledError
            if begin is not None:
                self._conn.execute(begin)
            return work(self._conn)

        try:
            outcome: Outcome = await self._execute(done)  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            is_wanted = False
            await self._come_to_rest(self._conn.interrupt)
            raise
        return outcome

    async def _come_to_rest(self, urge: Callable[[], None]) -> None:
        """Urge the thread, and wait until it has done all that it was sent for, however often one is cancelled."""
        resting = asyncio.ensure_future(self._execute(lambda: None))  # type: ignore[no-untyped-call]
        while not resting.done():
            urge()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({resting}, timeout=_URGED_AFTER_S)
        resting.exception()  # That of a connection that is closed: it is at rest.


class ReadCursor:
    """What SQLAlchemy uses of a cursor. The first rows come with the statement, more when they are asked for."""

    arraysize = 1
    rowcount = -1
    lastrowid: int | None = None
    description: Any = None

    def __init__(self, connection: ReadConnection) -> None:
        self._connection = connection
        self._cursor: sqlite3.Cursor | None = None
        self._rows: list[Any] = []

    async def __aenter__(self) -> "ReadCursor":
        return self

    async def execute(self, statement: str, values: Sequence[Any] = ()) -> "ReadCursor":
        await self._run(lambda connection: connection.execute(statement, values))
        return self

    async def executemany(self, statement: str, rows: Sequence[Sequence[Any]]) -> "ReadCursor":
        await self._run(lambda connection: connection.executemany(statement, rows))
        return self

    async def _run(self, execute: Callable[[sqlite3.Connection], sqlite3.Cursor]) -> None:
        def done(connection: sqlite3.Connection) -> tuple[sqlite3.Cursor, list[Any]]:
            cursor = execute(connection)
            return cursor, cursor.fetchmany(_ROWS_AT_ONCE)

        cursor, self._rows = await self._connection.errand(done)
        self.rowcount, self.lastrowid, self.description = cursor.rowcount, cursor.lastrowid, cursor.description
        self._cursor = cursor if len(self._rows) == _ROWS_AT_ONCE else None  # Else it has given all that it has.

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        if self._cursor is not None:
            cursor, self._cursor = self._cursor, None
            rows += await self._connection.errand(lambda _: cursor.fetchall())
        return rows

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        wanted = size or self.arraysize
        if not self._rows and self._cursor is not None:
            cursor = self._cursor
            self._rows = await self._connection.errand(lambda _: cursor.fetchmany(max(wanted, _ROWS_AT_ONCE)))
            if not self._rows:
                self._cursor = None
        rows, self._rows = self._rows[:wanted], self._rows[wanted:]
        return rows

    async def fetchone(self) -> Any:
        rows = await self.fetchmany(1)
        return rows[0] if rows else None

    async def close(self) -> None:
        if self._cursor is not None:
            cursor, self._cursor = self._cursor, None
            await self._connection.errand(lambda _: cursor.close())
