"""Cursors: opaque words for a place to go on reading after, in a numbered table of the log or among the traces.

A cursor of the log names the shard, the number of a row, and the beginning of the chain's value there. So one that was
given out by another database, or before an older backup was restored, is found out, instead of leaving a gap or telling
twice.
"""

import base64
import binascii
import struct
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from events.reading import chain_at
from events.schema import SHARD
from projections.traces import Place

_PACKED: Final = struct.Struct(">HQ5s")
_CHAIN_BYTES: Final = 5
_PLACE: Final = struct.Struct(">q16s")


class InvalidCursor(Exception):
    """A word that is no cursor of what is asked for."""


def cursor(number: int, chain: bytes, *, shard: int = SHARD) -> str:
    """The cursor of a row, by its number and the chain's value there. Twenty letters, digits, `-` and `_`."""
    return base64.urlsafe_b64encode(_PACKED.pack(shard, number, chain[:_CHAIN_BYTES])).decode()


async def number_of(connection: AsyncConnection, column: Any, text: str, *, shard: int = SHARD) -> int:
    """The number that a cursor names; `column` is what numbers the rows. Raises `InvalidCursor`."""
    try:
        its_shard, number, start = _PACKED.unpack(base64.b64decode(text.encode(), b"-_", validate=True))
    except (binascii.Error, struct.error, UnicodeEncodeError):
        raise InvalidCursor(f"{text!r} is no cursor: give one that an earlier answer gave") from None
    found = await chain_at(connection, column, number, shard=shard) if number < 2**63 else None
    if its_shard != shard or found is None or found[:_CHAIN_BYTES] != start:
        raise InvalidCursor(
            f"the cursor {text!r} is of something else, of another database, or of this one before a backup was "
            "restored: begin anew without it"
        )
    return int(number)


def cursor_of_place(place: Place) -> str:
    """The cursor of a trace, by where it stands in the list of traces. 32 letters, digits, `-` and `_`."""
    return base64.urlsafe_b64encode(_PLACE.pack(*place)).decode()


def place_of(text: str) -> Place:
    """The place that a cursor names. Raises `InvalidCursor`."""
    try:
        return Place(*_PLACE.unpack(base64.b64decode(text.encode(), b"-_", validate=True)))
    except (binascii.Error, struct.error, UnicodeEncodeError):
        raise InvalidCursor(f"{text!r} is no cursor of traces: give one that an earlier answer gave") from None
