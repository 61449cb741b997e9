"""What SQLite and PostgreSQL do differently when tables take the place of others, and in queries of texts."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import Integer, Table, Text
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from events.dialect import SqliteWriter, Writer, is_sqlite
from events.errors import SchemaMismatch, Unavailable

# While this waits for its locks, every writer waits for the head, and every reader for the tables.
_LOCK_PATIENCE_MS: Final = 60
_DROP_TRIES: Final = 200
_SLICE_ROWS: Final = 1000

Renaming = tuple[str, str]
"""A name now and a name to be."""


class Ddl(ABC):
    """Making, renaming and dropping tables, in transactions so short that nobody notices."""

    commits_tail_apart: bool
    """Whether what comes last into a new table has to be committed before the table takes its place.

    On PostgreSQL a reader who waits for the table sees it as of when it began to wait.
    """
    has_global_constraint_names: bool
    """Whether no two tables may have a constraint of the same name."""
    _dialect: Dialect

    def creation(self, table: Table) -> list[str]:
        """The statements that make a table with all its indexes."""
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        return [self._sql(CreateTable(table)), *(self._sql(CreateIndex(index)) for index in indexes)]

    @abstractmethod
    async def existing(self, writer: Writer, names: Sequence[str]) -> list[str]:
        """Those of these tables that there are."""

    @abstractmethod
    async def finish(self, writer: Writer, names: Sequence[str]) -> None:
        """Make tables that were filled ready to be read."""

    @abstractmethod
    async def lock(self, writer: Writer, names: Sequence[str]) -> None:
        """Have these tables for the transaction alone. Raises `Unavailable` when readers do not let go of them soon."""

    @abstractmethod
    async def rename(self, writer: Writer, tables: Sequence[Renaming], indexes: Sequence[Renaming]) -> None:
        """Rename tables, then indexes, in the order given."""

    @abstractmethod
    def discard(self, writer: Writer, name: str) -> AsyncIterator[None]:
        """Drop a table in small steps, each a transaction of its own."""

    @contextlib.asynccontextmanager
    async def one_moment(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        """A connection whose queries all see the database as of the first one."""
        async with engine.connect() as connection:
            await self._isolate(connection)
            yield connection

    @abstractmethod
    async def _isolate(self, connection: AsyncConnection) -> None: ...

    def _sql(self, statement: CreateTable | CreateIndex) -> str:
        return str(statement.compile(dialect=self._dialect)).strip()


def ddl_of(url: str) -> Ddl:
    """How it is done in the database that the URL names."""
    return _ddl(is_sqlite(url))


def ddl_used_by(writer: Writer) -> Ddl:
    """How it is done in the database that a writer writes to."""
    return _ddl(isinstance(writer, SqliteWriter))


@cache
def _ddl(of_sqlite: bool) -> Ddl:
    return _Sqlite() if of_sqlite else _Postgres()


class _Sqlite(Ddl):
    commits_tail_apart = False
    has_global_constraint_names = False
    _dialect = sqlite.dialect()

    async def existing(self, writer: Writer, names: Sequence[str]) -> list[str]:
        rows = await writer.lookup(
            "SELECT k.name FROM k JOIN sqlite_master m ON m.type = 'table' AND m.name = k.name",
            {"name": "text"},
            [(name,) for name in names],
        )
        return [name for (name,) in rows]

    async def finish(self, writer: Writer, names: Sequence[str]) -> None:
        """Nothing is needed."""

    async def lock(self, writer: Writer, names: Sequence[str]) -> None:
        """Whoever writes is alone anyway, and readers go on with what they see."""

    async def rename(self, writer: Writer, tables: Sequence[Renaming], indexes: Sequence[Renaming]) -> None:
        for old, new in tables:
            await writer.execute(f"ALTER TABLE {old} RENAME TO {new}")
        await writer.execute("PRAGMA writable_schema=ON")
        try:
            for old, new in indexes:
                await self._rename_index(writer, old, new)
            # A new schema version has every connection read the schema again, this one included.
            (version,) = (await writer.fetch("PRAGMA schema_version"))[0]
            await writer.execute(f"PRAGMA schema_version={version + 1}")
        finally:
            await writer.execute("PRAGMA writable_schema=OFF")

    async def _rename_index(self, writer: Writer, old: str, new: str) -> None:
        """SQLite has no statement for it. That an index is called otherwise changes nothing else in the file
        (https://www.sqlite.org/lang_altertable.html, section 7, on such changes)."""
        rows = await writer.fetch("SELECT sql FROM sqlite_master WHERE type = 'index' AND name = ?1", old)
        before = rows[0][0] if rows else ""
        begin = f"CREATE INDEX {old} ON "
        if not before.startswith(begin):
            raise SchemaMismatch(f"the index {old} is not as this program makes it: {before or 'there is none'}")
        after = f"CREATE INDEX {new} ON " + before.removeprefix(begin)
        await writer.execute(
            "UPDATE sqlite_master SET name = ?1, sql = ?2 WHERE type = 'index' AND name = ?3", new, after, old
        )

    async def discard(self, writer: Writer, name: str) -> AsyncIterator[None]:
        # Dropping a large table at once would keep everyone else from writing for seconds.
        is_empty = False
        while not is_empty:
            async with writer.transaction():
                if await self.existing(writer, [name]):
                    some = f"SELECT rowid FROM {name} LIMIT {_SLICE_ROWS}"
                    await writer.execute(f"DELETE FROM {name} WHERE rowid IN ({some})")
                    is_empty = not await writer.fetch(f"SELECT 1 FROM {name} LIMIT 1")
                else:
                    is_empty = True
            yield
        async with writer.transaction():
            await writer.execute(f"DROP TABLE IF EXISTS {name}")
        yield

    async def _isolate(self, connection: AsyncConnection) -> None:
        """Every transaction of SQLite is so."""


class _Postgres(Ddl):
    commits_tail_apart = True
    has_global_constraint_names = True

    def __init__(self) -> None:
        from sqlalchemy.dialects import postgresql  # Which imports its drivers.

        self._dialect = postgresql.dialect()  # type: ignore[no-untyped-call]

    async def existing(self, writer: Writer, names: Sequence[str]) -> list[str]:
        rows = await writer.lookup(
            "SELECT k.name FROM k WHERE to_regclass(k.name) IS NOT NULL", {"name": "text"}, [(name,) for name in names]
        )
        return [name for (name,) in rows]

    async def finish(self, writer: Writer, names: Sequence[str]) -> None:
        # A table without statistics is read by plans that are wrong.
        for name in names:
            async with writer.transaction():
                await writer.execute(f"ANALYZE {name}")

    async def lock(self, writer: Writer, names: Sequence[str]) -> None:
        # Not lock_timeout: that would begin anew with each of the tables.
        await writer.execute(f"SET LOCAL statement_timeout = {_LOCK_PATIENCE_MS}")
        await writer.execute(f"LOCK TABLE {', '.join(names)} IN ACCESS EXCLUSIVE MODE")
        await writer.execute("SET LOCAL statement_timeout TO DEFAULT")

    async def rename(self, writer: Writer, tables: Sequence[Renaming], indexes: Sequence[Renaming]) -> None:
        for kind, renamings in (("TABLE", tables), ("INDEX", indexes)):
            for old, new in renamings:
                await writer.execute(f"ALTER {kind} {old} RENAME TO {new}")

    async def discard(self, writer: Writer, name: str) -> AsyncIterator[None]:
        for tried in range(1, _DROP_TRIES + 1):
            try:
                await self._drop(writer, name)
                return
            except Unavailable:
                if tried == _DROP_TRIES:
                    raise
            yield

    async def _drop(self, writer: Writer, name: str) -> None:
        """Drop a table. Raises `Unavailable` when somebody still reads it: nobody is to wait for that with the head."""
        async with writer.transaction():
            # An erasure looks, holding the head, for tables to erase from.
            await writer.fetch("SELECT 1 FROM heads FOR UPDATE")
            if await self.existing(writer, [name]):
                await writer.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE NOWAIT")
                await writer.execute(f"DROP TABLE {name}")

    async def _isolate(self, connection: AsyncConnection) -> None:
        await connection.execution_options(isolation_level="REPEATABLE READ")


# --- texts in queries -------------------------------------------------------------------------------------------------


class position_of(FunctionElement[int]):
    """`position_of(text, piece)`: where a piece begins in a text, letter by letter, counted from 1; 0 when nowhere."""

    type = Integer()
    inherit_cache = True


@compiles(position_of, "sqlite")
def _position_on_sqlite(element: position_of, compiler: SQLCompiler, **options: Any) -> str:
    return f"instr({compiler.process(element.clauses, **options)})"


@compiles(position_of, "postgresql")
def _position_on_postgresql(element: position_of, compiler: SQLCompiler, **options: Any) -> str:
    return f"strpos({compiler.process(element.clauses, **options)})"


class code_points(FunctionElement[str]):
    """`code_points(text)`: a text that is compared by its code points, as SQLite does it and Python."""

    type = Text()
    inherit_cache = True


@compiles(code_points, "sqlite")
def _code_points_on_sqlite(element: code_points, compiler: SQLCompiler, **options: Any) -> str:
    return f"({compiler.process(element.clauses, **options)})"


@compiles(code_points, "postgresql")
def _code_points_on_postgresql(element: code_points, compiler: SQLCompiler, **options: Any) -> str:
    return f'(({compiler.process(element.clauses, **options)}) COLLATE "C")'
