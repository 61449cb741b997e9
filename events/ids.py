"""UUIDs as 16 bytes, dotted orders as what they say, and their text forms."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from events.times import LATEST_US, parse_time

_UNUSUAL_FORM = re.compile(
    r"\s*(?:urn:uuid:)?\{?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})\}?\s*",
    re.ASCII | re.IGNORECASE,
)
_USUAL_CHARS = 36
_CACHED_CHARS_MAX = 500
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class DottedOrder:
    """What the ends of a dotted order say: the trace's root run, the run itself, its parent and its start.

    parent_id is None for a root run; start_us is None when the run's own segment holds no time that can be
    read.
    """

    root_id: bytes
    parent_id: bytes | None
    own_id: bytes
    start_us: int | None


def parse_id(text: str) -> bytes | None:
    """The 16 bytes of a UUID of any version, or None when text is no UUID.

    Upper case, missing hyphens, braces, `urn:uuid:` and surrounding white space are tolerated.
    """
    if len(text) == _USUAL_CHARS:
        return _parse_usual(text)
    match = _UNUSUAL_FORM.fullmatch(text)
    return bytes.fromhex("".join(match.groups())) if match else None


# The ids of one trace come again and again: in every run of it, several times in each.
@lru_cache(maxsize=4096)
def _parse_usual(text: str) -> bytes | None:
    if text[8] == text[13] == text[18] == text[23] == "-":
        try:
            raw = bytes.fromhex(text.replace("-", ""))
        except ValueError:
            return None
        # fromhex skips white space, which leaves fewer than 16 bytes.
        return raw if len(raw) == 16 else None
    match = _UNUSUAL_FORM.fullmatch(text)
    return bytes.fromhex("".join(match.groups())) if match else None


def format_id(id: bytes) -> str:
    """The UUID of 16 bytes in lower case with hyphens."""
    digits = id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid7_time(id: bytes) -> int | None:
    """When a version 7 UUID says it was made, in microseconds since 1970 (whole milliseconds).

    None for any other version or variant, and for a time beyond the year 9999.
    """
    if id[6] >> 4 != 7 or id[8] >> 6 != 0b10:
        return None
    us = int.from_bytes(id[:6]) * 1000
    return us if us <= LATEST_US else None


def parse_dotted_order(text: str) -> list[tuple[int | None, bytes]] | None:
    """(start in microseconds since 1970, run id) of every segment from the root run to the run itself.

    A start is None when its segment's time cannot be read. The whole is None when any segment has no id.
    """
    segments = []
    for segment in text.split("."):
        stamp, id = _parse_segment(segment)
        if id is None:
            return None
        segments.append((dotted_order_start(stamp), id))
    return segments


def dotted_order_ends(text: str) -> DottedOrder | None:
    """What the first and the last two segments say, or None when one of them has no id.

    The segments between are not looked at: deep agents send dotted orders of tens of kilobytes.
    """
    places = dotted_order_places(text)
    return None if places is None else DottedOrder(*places[:3], dotted_order_start(places.stamp))


class Places(NamedTuple):
    """What the ends of a dotted order say, with the run's start as the text that `dotted_order_start` reads."""

    root_id: bytes
    parent_id: bytes | None
    own_id: bytes
    stamp: str


def dotted_order_places(text: str) -> Places | None:
    """The same as `dotted_order_ends`, for whom the start may not interest: reading it takes most of the time."""
    return _cached_places(text) if len(text) <= _CACHED_CHARS_MAX else _places(text)


def _places(text: str) -> Places | None:
    last = text.rfind(".")
    stamp, own_id = _parse_segment(text[last + 1 :])
    if own_id is None:
        return None
    if last < 0:
        return Places(own_id, None, own_id, stamp)
    before = text.rfind(".", 0, last)
    parent_id = _parse_segment(text[before + 1 : last])[1]
    root_id = parent_id if before < 0 else _parse_segment(text[: text.index(".")])[1]
    if parent_id is None or root_id is None:
        return None
    return Places(root_id, parent_id, own_id, stamp)


# A run's PATCH repeats what its POST said.
_cached_places = lru_cache(maxsize=4096)(_places)


def _parse_segment(segment: str) -> tuple[str, bytes | None]:
    # Split at the Z and not by width: old clients sent three digits of fraction. No UUID holds a Z.
    stamp, _, id = segment.rpartition("Z")
    return stamp, parse_id(id)


def dotted_order_start(stamp: str) -> int | None:
    """The start that a segment of a dotted order gives before its id, or None when it cannot be read."""
    match = _STAMP.fullmatch(stamp)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction = match.groups()
    return parse_time(f"{year}-{month}-{day}T{hour}:{minute}:{second}.{fraction:0<6}Z")
