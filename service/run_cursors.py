"""Cursors of run queries: opaque words for the place of a run in the order of a query."""

import base64
import binascii
import struct
from typing import Final

from projections.queries import Place
from service.cursors import InvalidCursor

# The order, so that a cursor is not taken into a query that goes the other way; the start; the id.
_PACKED: Final = struct.Struct(">?q16s")


def run_cursor(place: Place, *, is_ascending: bool) -> str:
    """The cursor of a place."""
    return base64.urlsafe_b64encode(_PACKED.pack(is_ascending, *place)).decode().rstrip("=")


def place_at(cursor: str, *, is_ascending: bool) -> Place:
    """The place that a cursor names. Raises `InvalidCursor`."""
    try:
        order, start_time, id_ = _PACKED.unpack(base64.b64decode(cursor.encode() + b"==", b"-_", validate=False))
    except (binascii.Error, struct.error, UnicodeEncodeError):
        raise InvalidCursor(f"{cursor!r} is no cursor of runs: give one that an earlier answer gave") from None
    if order != is_ascending:
        raise InvalidCursor(f"the cursor {cursor!r} is of a query in the other order: send it with the query it is of")
    return Place(start_time, id_)
