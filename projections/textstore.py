"""Where pieces of texts are looked up: what SQLite and PostgreSQL do differently about an index of trigrams.

SQLite has FTS5's trigrams without places, and no text: an entry is the number of an event. PostgreSQL has `pg_trgm`, an
extension that may be missing, over a column of text. Both find every event that holds a piece, and some that do not.
"""

import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import URL, ColumnElement, Select, column, func, literal_column, or_, select, table

from events.dialect import SqliteWriter, Writer, is_sqlite
from events.schema import events

Bounds = tuple[int, int]
"""The first and the last position of events that are looked at."""

_MERGED_PAGES: Final = 200
_DISCARDED_ROWS: Final = 100


class Entry(NamedTuple):
    """The text of an event of a run, folded; None when any piece is to be found in it."""

    position: int
    run_id: bytes
    text: str | None


class TextStore(ABC):
    """The index of one database. Writing methods are called within a transaction, with `full_text_state` locked."""

    @abstractmethod
    async def create(self, writer: Writer) -> bool:
        """Make the index anew, without entries; whether the database can. What was there is left to `discard`."""

    @abstractmethod
    async def add(self, writer: Writer, entries: Sequence[Entry], *, shard: int) -> None:
        """Add entries for events that have none."""

    @abstractmethod
    async def remove(self, writer: Writer, entries: Sequence[Entry], *, shard: int) -> bool:
        """Remove entries, given as they were added; whether `clean` has to do the rest."""

    @abstractmethod
    async def clean(self, writer: Writer, *, is_first: bool) -> bool:
        """Take a step, one transaction long, to drop what was removed from where it still lies; whether one is left."""

    @abstractmethod
    async def discard(self, writer: Writer) -> bool:
        """Take a step, one transaction long, to drop the index that another has replaced; whether one is left."""

    @abstractmethod
    def narrows(self, folded: str) -> bool:
        """Whether the index can tell anything about this piece of a folded text: one that is too short finds all."""

    @abstractmethod
    def hits(self, folded: str, bounds: Bounds | None, *, shard: int) -> Select[Any]:
        """The ids of the runs of which an event may hold this piece of a folded text, as `run_id`. Some come twice."""


def store_of(url: str | URL) -> TextStore:
    """The index of the database that the URL names."""
    return SqliteTexts() if is_sqlite(url) else PostgresTexts()


def store_used_by(writer: Writer) -> TextStore:
    """The index of the database that a writer writes to."""
    return SqliteTexts() if isinstance(writer, SqliteWriter) else PostgresTexts()


_SHARD_BITS: Final = 48
_ANY_PIECE: Final = "\x01\x01\x01"
_GRAM_CHARS: Final = 3
_TRIGRAMS_SINCE: Final = (3, 34)
_GRAMS_MAX: Final = 16


class SqliteTexts(TextStore):
    """A table of FTS5, in which the row of an event has its position as its number, after that of its shard.

    Letters beyond ASCII are indexed byte by byte, so that three letters of Latin, two of Cyrillic or Arabic, or one of
    Chinese can be looked up.
    """

    async def create(self, writer: Writer) -> bool:
        modules = await writer.fetch("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'")
        if not modules or sqlite3.sqlite_version_info < _TRIGRAMS_SINCE:
            return False
        for _ in await writer.fetch("SELECT 1 FROM sqlite_master WHERE name = 'full_text'"):
            # What an earlier renewal left behind goes first; it is small unless that was interrupted.
            await writer.execute("DROP TABLE IF EXISTS full_text_old")
            await writer.execute("ALTER TABLE full_text RENAME TO full_text_old")
        await writer.execute(
            "CREATE VIRTUAL TABLE full_text USING fts5("
            "text, content='', columnsize=0, detail=none, tokenize='trigram case_sensitive 1')"
        )
        return True

    async def add(self, writer: Writer, entries: Sequence[Entry], *, shard: int) -> None:
        rows = [(_row_number(shard, entry), _as_bytes(entry.text)) for entry in entries if entry.text != ""]
        await writer.execute_many("INSERT INTO full_text (rowid, text) VALUES (?1, ?2)", rows)

    async def remove(self, writer: Writer, entries: Sequence[Entry], *, shard: int) -> bool:
        rows = [(_row_number(shard, entry), _as_bytes(entry.text)) for entry in entries if entry.text != ""]
        await writer.execute_many("INSERT INTO full_text (full_text, rowid, text) VALUES ('delete', ?1, ?2)", rows)
        return bool(rows)

    async def clean(self, writer: Writer, *, is_first: bool) -> bool:
        # An entry that was removed is only crossed out until the part of the index that it is in is merged with the
        # part that says so. The first step has all parts merged into one, the others go on with that.
        before = await self._changes(writer)
        pages = -_MERGED_PAGES if is_first else _MERGED_PAGES
        await writer.execute("INSERT INTO full_text (full_text, rank) VALUES ('merge', ?1)", pages)
        return await self._changes(writer) - before > 1

    async def _changes(self, writer: Writer) -> int:
        return int((await writer.fetch("SELECT total_changes()"))[0][0])

    async def discard(self, writer: Writer) -> bool:
        if not await writer.fetch("SELECT 1 FROM sqlite_master WHERE name = 'full_text_old'"):
            return False
        some = f"SELECT id FROM full_text_old_data WHERE id > 10 LIMIT {_DISCARDED_ROWS}"
        await writer.execute(f"DELETE FROM full_text_old_data WHERE id IN ({some})")
        if not await writer.fetch("SELECT 1 FROM full_text_old_data WHERE id > 10 LIMIT 1"):
            await writer.execute("DROP TABLE full_text_old")
        return True

    def narrows(self, folded: str) -> bool:
        return len(_as_bytes(folded)) >= _GRAM_CHARS

    def hits(self, folded: str, bounds: Bounds | None, *, shard: int) -> Select[Any]:
        indexed = table("full_text", column("rowid"), column("full_text"))
        number = indexed.c.rowid - literal_column(str(shard << _SHARD_BITS))
        query = (
            select(func.substr(events.c.stream, 2).label("run_id"))
            .select_from(indexed.join(events, (events.c.shard == shard) & (events.c.position == number)))
            .where(indexed.c.full_text.op("MATCH")(_matching(folded)))
        )
        if bounds is None:
            return query
        first, last = ((shard << _SHARD_BITS) + position for position in bounds)
        return query.where(indexed.c.rowid >= first, indexed.c.rowid <= last)


def _row_number(shard: int, entry: Entry) -> int:
    return (shard << _SHARD_BITS) + entry.position


def _as_bytes(text: str | None) -> str:
    """A text of which every letter stands for a byte."""
    if text is None:
        return _ANY_PIECE
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("latin-1")


def _matching(folded: str) -> str:
    """FTS5's expression for events that have every trigram of a piece, or any piece."""
    grams = " AND ".join(f'"{gram}"' for gram in _quoted_grams(_as_bytes(folded)))
    return f'({grams}) OR "{_ANY_PIECE}"'


def _quoted_grams(text: str) -> Iterator[str]:
    grams = list(dict.fromkeys(text[at : at + _GRAM_CHARS] for at in range(len(text) - _GRAM_CHARS + 1)))
    step = max(1, -(-len(grams) // _GRAMS_MAX))
    return (gram.replace('"', '""') for gram in grams[::step])


_LOOKED_UP: Final = re.compile("[a-z0-9]{3}")
_WILD: Final = re.compile(r"[\\%_]")


class PostgresTexts(TextStore):
    """A table with the texts, and `pg_trgm`'s index over them.

    What letters are depends on the locale of a database, so those beyond ASCII are written as their numbers: `中` as
    `\\u4e2d`, which is a word of its own wherever it is.
    """

    async def create(self, writer: Writer) -> bool:
        await writer.execute("DROP TABLE IF EXISTS full_text")
        if not await writer.fetch("SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'"):
            if not await writer.fetch("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'"):
                return False
            await writer.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        await writer.execute(
            "CREATE TABLE full_text (shard smallint NOT NULL, position bigint NOT NULL, run_id bytea NOT NULL, "
            "text text NOT NULL, is_any smallint NOT NULL, CONSTRAINT full_text_pk PRIMARY KEY (shard, position))"
        )
        await writer.execute("CREATE INDEX full_text_grams ON full_text USING gin (text gin_trgm_ops)")
        await writer.execute("CREATE INDEX full_text_any ON full_text (shard, position) WHERE is_any = 1")
        return True

    async def add(self, writer: Writer, entries: Sequence[Entry], *, shard: int) -> None:
        rows = [
            (shard, entry.position, entry.run_id, _as_numbers(entry.text or ""), int(entry.text is None))
            for entry in entries
            if entry.text != ""
        ]
        await writer.execute_many(
            "INSERT INTO full_text (shard, position, run_id, text, is_any) VALUES (?1, ?2, ?3, ?4, ?5)", rows
        )

    async def remove(self, writer: Writer, entries: Sequence[Entry], *, shard: int) -> bool:
        await writer.execute_many(
            "DELETE FROM full_text WHERE shard = ?1 AND position = ?2", [(shard, entry.position) for entry in entries]
        )
        return False  # The next VACUUM does it.

    async def clean(self, writer: Writer, *, is_first: bool) -> bool:
        return False

    async def discard(self, writer: Writer) -> bool:
        return False

    def narrows(self, folded: str) -> bool:
        return _LOOKED_UP.search(_as_numbers(folded)) is not None

    def hits(self, folded: str, bounds: Bounds | None, *, shard: int) -> Select[Any]:
        indexed = table("full_text", *(column(name) for name in ("shard", "position", "run_id", "text")))
        pattern = "%" + _WILD.sub(r"\\\g<0>", _as_numbers(folded)) + "%"
        found: ColumnElement[bool] = or_(indexed.c.text.op("LIKE")(pattern), literal_column("is_any = 1"))
        query = select(indexed.c.run_id).where(indexed.c.shard == shard, found)
        return query if bounds is None else query.where(indexed.c.position.between(*bounds))


def _as_numbers(text: str) -> str:
    return text if text.isascii() else text.encode("ascii", "backslashreplace").decode()
