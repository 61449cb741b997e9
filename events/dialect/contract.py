"""The contract of both: the verbs of the hot path, for which SQLAlchemy is too slow, and reads of one moment."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Protocol

from sqlalchemy import Table

from events.errors import LogError

Row = Sequence[Any]

LOCK_PATIENCE_S: Final = 8.0
ITSELF: Final[Mapping[str, str]] = MappingProxyType({})
"""No table stands in for another."""


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
