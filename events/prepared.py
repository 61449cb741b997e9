"""Queries that are written as SQLAlchemy's, built once, and run by the driver itself.

Building a statement for each request, and taking its rows through SQLAlchemy's results, costs five to ten times what
a driver takes to find a few rows (docs/performance.md).
"""

import itertools
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from sqlalchemy import BindParameter, Dialect, TextClause, bindparam
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import SelectBase

from events.dialect import driver_errors
from events.dialect.sqlite_connection import ReadConnection

Row = Sequence[Any]
Statement = tuple[str, tuple[Any, ...]]
"""SQL, and the values of its places."""
Answer = TypeVar("Answer")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

_log = logging.getLogger("sqlalchemy.engine.Engine")

_PADDED_MAX: Final = 1024
_MANY: Final = re.compile(r"(NOT )?IN \(?__\[POSTCOMPILE_(\w+)\]\)?")


def given(name: str) -> BindParameter[Any]:
    """A value of a query, which is given when it is run."""
    return bindparam(name)


def one_of(name: str) -> BindParameter[Any]:
    """Values of a query, for `column.in_(…)`, which are given as a sequence when it is run. There may be none."""
    return bindparam(name, expanding=True)


class Prepared:
    """A query whose values are `given` or `one_of` when it is run."""

    def __init__(self, query: SelectBase | TextClause) -> None:
        self._query = query
        self._written: dict[str, _Written] = {}

    async def rows(self, connection: AsyncConnection, **values: Any) -> list[Row]:
        """The rows as the driver gives them, all of them, in the connection's transaction.

        On SQLite one is begun when there is none; on PostgreSQL, where each statement sees its own moment anyway, the
        first ones of a connection need none. Raises SQLAlchemy's DBAPIError when the database does not answer.
        """
        (rows,) = await _rows(connection, [self.statement(connection, values)])
        return rows

    def asking(self, read: Callable[[list[Row]], Answer], **values: Any) -> "Question[Answer]":
        """The question that `read` answers from the rows, to be asked with others."""
        return Question(self, values, read)

    def statement(self, connection: AsyncConnection, values: Mapping[str, Any]) -> Statement:
        """The query in the words of this database, with the values."""
        dialect = connection.dialect
        written = self._written.get(dialect.name)
        if written is None:
            written = self._written[dialect.name] = _write(self._query, dialect)
        return written.filled(values)


class Question(Generic[Answer]):
    """A query with its values, and how its rows are read."""

    def __init__(self, query: Prepared, values: Mapping[str, Any], read: Callable[[list[Row]], Answer]) -> None:
        self._query, self._values, self._read = query, values, read

    async def answer(self, connection: AsyncConnection) -> Answer:
        """The answer. Raises DBAPIError as `Prepared.rows` does."""
        return self._read(await self._query.rows(connection, **self._values))

    def statement(self, connection: AsyncConnection) -> Statement:
        """What is asked of this database."""
        return self._query.statement(connection, self._values)

    def read(self, rows: list[Row]) -> Answer:
        """The answer that the rows give."""
        return self._read(rows)


async def answers(
    connection: AsyncConnection, first: Question[A], second: Question[B], third: Question[C], fourth: Question[D]
) -> tuple[A, B, C, D]:
    """The answers to four questions of which none waits for another's.

    On SQLite they are one errand of the connection's thread: handing over costs more than finding a few rows does.
    Raises DBAPIError as `Prepared.rows` does.
    """
    asked = (first, second, third, fourth)
    a, b, c, d = await _rows(connection, [question.statement(connection) for question in asked])
    return first.read(a), second.read(b), third.read(c), fourth.read(d)


async def _rows(connection: AsyncConnection, statements: Sequence[Statement]) -> list[list[Row]]:
    """The rows of each statement, from one moment on SQLite."""
    for text, arguments in statements:
        _announce(connection, text, arguments)
    driver: Any = connection.sync_connection.connection.driver_connection  # type: ignore[union-attr]
    try:
        if isinstance(driver, ReadConnection):
            return await driver.rows(statements)
        return [await driver.fetch(text, *arguments) for text, arguments in statements]
    except driver_errors(connection.dialect.name) as error:
        raise DBAPIError(statements[0][0], None, error) from error


def _announce(connection: AsyncConnection, text: str, arguments: tuple[Any, ...]) -> None:
    """Tell whoever listens to SQLAlchemy's statements, and its log when that is asked for, of this one, too."""
    sync = connection.sync_connection
    assert sync is not None
    for hear in sync.dispatch.before_cursor_execute:
        hear(sync, None, text, arguments, None, False)
    if sync.engine.echo:
        _log.info("%s %r", text, arguments)


class _Written(NamedTuple):
    """A query in the words of one database, the names of its values in their order, and the values of its own."""

    text: str
    names: Sequence[str]
    own: Mapping[str, Any]
    spread: frozenset[str]
    """Those names that stand for several values, each with a place of its own."""

    def filled(self, values: Mapping[str, Any]) -> Statement:
        """The text, and the values in the order of their places."""
        every = {**self.own, **values}
        if not self.spread:
            return self.text, tuple(every[name] for name in self.names)
        padded = {name: _padded(every[name]) for name in self.spread}
        text = _MANY.sub(lambda found: _spread(bool(found[1]), len(padded[found[2]])), self.text)
        spread = (padded[name] if name in padded else (every[name],) for name in self.names)
        return text, tuple(itertools.chain.from_iterable(spread))


def _spread(is_denied: bool, count: int) -> str:
    marks = ",".join("?" * count)
    # With nothing at all in the parentheses SQLite reads the whole table to find nothing.
    return f"NOT IN ({marks})" if is_denied else f"IN ({marks or 'NULL'})"


def _padded(values: Sequence[Any]) -> list[Any]:
    """The values, the last one repeated: of few lengths, so that SQLite keeps the statement of each.

    Many stay as they are, since SQLite takes no more than a number of them that depends on how it was built.
    """
    size = 1 << max(len(values) - 1, 0).bit_length()
    return [*values, *[values[-1]] * (size - len(values))] if values and size <= _PADDED_MAX else [*values]


def _write(query: SelectBase | TextClause, dialect: Dialect) -> _Written:
    compiled: Any = query.compile(dialect=dialect)
    text, names = compiled.string, list(compiled.positiontup or ())
    own = {name: value for name, value in compiled.params.items() if not compiled.binds[name].required}
    many = [name for name in dict.fromkeys(names) if compiled.binds[name].expanding]
    if dialect.name == "sqlite":
        return _Written(text, names, own, frozenset(many))
    # One array for several values, whatever their number.
    names = [*(name for name in names if name not in many), *many]
    kinds = {name: compiled.binds[name].type.compile(dialect) for name in many}
    arrays = {name: f"(${names.index(name) + 1}::{kind}[])" for name, kind in kinds.items()}
    text = _MANY.sub(lambda found: f"{'<> ALL' if found[1] else '= ANY'} {arrays[found[2]]}", text)
    return _Written(text, names, own, frozenset())
