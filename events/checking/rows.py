"""Reading the rows of a slice, in whatever state somebody left them."""

import struct
from collections.abc import Collection, Sequence
from types import NoneType
from typing import Any, Final

import msgspec
import zstandard

from events import chain
from events.checking.slices import Slice
from events.checking.walk import CONTEXT_ROWS
from events.dialect import Row, Snapshot
from events.kinds import stream_text

# Larger bodies are read one at a time: rows times this is the most that a slice holds in memory at once.
_INLINE_BYTES_MAX: Final = 65_536
_STREAM_BYTES: Final = 17

# A SQLite column takes values of any type, and text that is no UTF-8.
NEVER_WRITTEN: Final = (UnicodeEncodeError, struct.error)
UNREADABLE: Final = (ValueError, zstandard.ZstdError, msgspec.MsgspecError)

TEXT: Final = (str, NoneType)
BYTES: Final = (bytes, NoneType)
OTHER_TYPE: Final = "a column holds a value of a type that was never written"


async def read_rows(
    snapshot: Snapshot, part: Slice, table: str, number: str, columns: str, *, body: str | None = None
) -> tuple[list[Row], int]:
    """The rows of a slice in order, with those before them as context, and how many of these there are.

    A `body` comes as two more columns: its size, and its bytes unless they are many. The context has only the size.
    """
    shard = number.replace(number.split(".")[1], "shard")
    size = f", length({body})" if body else ""
    inline = f", {sized(body)}" if body else ""
    context = await snapshot.fetch(
        f"SELECT {columns}{size}{', NULL' if body else ''} FROM {table} WHERE {shard} = ?1 AND {number} <= ?2 "
        f"AND {number} > 0 ORDER BY {number} DESC LIMIT {CONTEXT_ROWS}",
        *(part.shard, part.after),
    )
    rows = await snapshot.fetch(
        f"SELECT {columns}{inline} FROM {table} WHERE {shard} = ?1 AND {number} > ?2 AND {number} <= ?3 "
        f"ORDER BY {number}",
        *(part.shard, part.after, part.upto),
    )
    return [*reversed(context), *rows], len(context)


def sized(column: str) -> str:
    """What to select of a column with bytes: their number, and they themselves unless they are many."""
    return f"length({column}), CASE WHEN length({column}) <= {_INLINE_BYTES_MAX} THEN {column} END"


async def read_known(
    snapshot: Snapshot, table: str, columns: dict[str, str], keys: Collection[tuple[bytes, ...]], shard: int
) -> set[tuple[bytes, ...]]:
    """Those of the keys that a table has."""
    names = ", ".join(f"k.{name}" for name in columns)
    matches = " AND ".join(f"t.{name} = k.{name}" for name in columns)
    query = f"SELECT DISTINCT {names} FROM k JOIN {table} t ON t.shard = {shard} AND {matches}"
    return {tuple(row) for row in await snapshot.lookup(query, columns, list(keys))} if keys else set()


def commits(salt: bytes | None, content: bytes | None, commitment: bytes) -> bool:
    return salt is not None and content is not None and chain.payload_hash(salt, content) == commitment


def are_of_types(row: Sequence[object], types: Sequence[Any]) -> bool:
    return all(map(isinstance, row, types))


def stream_name(stream: bytes) -> str:
    """A stream for people, though it may be none."""
    return stream_text(stream) if len(stream) == _STREAM_BYTES else f"stream {stream.hex()}"
