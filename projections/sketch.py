"""Latency distributions that can be added up and subtracted from: counts in buckets that grow with the value.

Each power of two is divided into 32 buckets of equal width, so a bucket is at most 1/32 of its values wide
and its middle at most 1/64 (1.6 %) off any of them; below 64 µs every microsecond has its own bucket. This is
DDSketch's promise with integer arithmetic alone: a logarithm in floating point may put a value that lies on
an edge elsewhere on another machine, and a rebuilt sketch would then differ from the live one.

A sketch is a plain `dict` of bucket to count; counts are positive, an absent bucket holds nothing.
"""

from collections.abc import Iterable, Mapping
from itertools import accumulate
from math import ceil

RELATIVE_ACCURACY = 1 / 64
"""A quantile is off by at most this part of the true value."""

_SUBDIVISION_BITS = 5
_SUBDIVISIONS = 1 << _SUBDIVISION_BITS
_EXACT_BELOW_US = 2 * _SUBDIVISIONS
_EXPONENT_MAX = 63 - _SUBDIVISION_BITS - 1  # that of the largest value in 64 bits


def bucket(us: int) -> int:
    """The bucket of a duration in microseconds; 0 for zero and anything negative (clocks may disagree)."""
    if us < _EXACT_BELOW_US:
        return max(us, 0)
    exponent = us.bit_length() - _SUBDIVISION_BITS - 1
    return (exponent << _SUBDIVISION_BITS) + (us >> exponent)


def bucket_in_sql(us: str) -> str:
    """The bucket of a value as SQL, given the name of its column, in words that SQLite and PostgreSQL share."""
    above = (
        f"WHEN {us} < {_EXACT_BELOW_US << exponent} THEN {exponent << _SUBDIVISION_BITS} + ({us} >> {exponent})"
        for exponent in range(1, _EXPONENT_MAX)
    )
    highest = f"{_EXPONENT_MAX << _SUBDIVISION_BITS} + ({us} >> {_EXPONENT_MAX})"
    return f"CASE WHEN {us} < 0 THEN 0 WHEN {us} < {_EXACT_BELOW_US} THEN {us} {' '.join(above)} ELSE {highest} END"


def midpoint(bucket_number: int) -> int:
    """The middle of a bucket, in microseconds."""
    if bucket_number < _EXACT_BELOW_US:
        return bucket_number
    exponent = (bucket_number >> _SUBDIVISION_BITS) - 1
    lowest = (_SUBDIVISIONS + bucket_number % _SUBDIVISIONS) << exponent
    return lowest + ((1 << exponent) - 1) // 2


def add(counts: dict[int, int], us: int, n: int = 1) -> None:
    """Counts a duration `n` times, or takes it away `-n` times.

    Raises ValueError, and changes nothing, when more would be taken away than was counted.
    """
    number = bucket(us)
    count = counts.get(number, 0) + n
    if count < 0:
        raise ValueError(f"bucket {number} ({us} µs) would hold {count} durations")
    if count:
        counts[number] = count
    else:
        counts.pop(number, None)


def merge(sketches: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """The sketch of all durations in all of them."""
    merged: dict[int, int] = {}
    for counts in sketches:
        for number, count in counts.items():
            merged[number] = merged.get(number, 0) + count
    return merged


def changed(counts: Mapping[int, int], changes: Mapping[int, int]) -> dict[int, int]:
    """The sketch after changes of some buckets' counts, up or down. What then holds nothing is left out."""
    after = dict(counts)
    for number, change in changes.items():
        count = after.pop(number, 0) + change
        if count:
            after[number] = count
    return after


def total(counts: Mapping[int, int]) -> int:
    """How many durations were counted."""
    return sum(counts.values())


def quantile(counts: Mapping[int, int], q: float) -> int | None:
    """The shortest duration, in microseconds, that a part `q` of all durations does not exceed (the nearest
    rank).

    Off by at most RELATIVE_ACCURACY. None when nothing was counted. Raises ValueError when q is not within 0
    and 1.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"a quantile lies between 0 and 1, not at {q}")
    # 0.07 * 100 is 7.000000000000001 in floating point: rounded first, or the rank would be 8.
    rank = max(1, ceil(round(q * total(counts), 6)))
    for number in sorted(counts):
        rank -= counts[number]
        if rank <= 0:
            return midpoint(number)
    return None


def pack(counts: Mapping[int, int]) -> bytes:
    """The sketch as bytes, equal for equal sketches: by rising bucket, the distance from the last one and the
    count.

    Both are variable-length integers of seven bits a byte, low bits first. Raises ValueError for a count
    below one.
    """
    pieces = []
    previous = 0
    for number in sorted(counts):
        count = counts[number]
        if count < 1 or number < 0:
            raise ValueError(f"bucket {number} holds {count} durations")
        distance = number - previous
        pieces.append(_VARINTS[distance] if distance < _TABLED else _varint(distance))
        pieces.append(_VARINTS[count] if count < _TABLED else _varint(count))
        previous = number
    return b"".join(pieces)


def _varint(value: int) -> bytes:
    packed = bytearray()
    while value > 0x7F:
        packed.append(value & 0x7F | 0x80)
        value >>= 7
    packed.append(value)
    return bytes(packed)


# The sketch of a busy cell is packed with every group of events.
_TABLED = 2048
_VARINTS = [_varint(value) for value in range(_TABLED)]


def unpack(packed: bytes) -> dict[int, int]:
    """The sketch that `pack` turned into these bytes; ValueError for bytes that `pack` does not make."""
    values = _varints(packed)
    distances, counts = values[::2], values[1::2]
    if len(distances) != len(counts) or 0 in counts or 0 in distances[1:]:
        raise ValueError("a packed sketch is a list of distances and counts, none of them zero but the first distance")
    return dict(zip(accumulate(distances), counts, strict=True))


def _varints(packed: bytes) -> list[int]:
    values = []
    value = shift = 0
    for byte in packed:
        if byte > 0x7F:
            value |= (byte & 0x7F) << shift
            shift += 7
        elif byte or not shift:
            values.append(value | byte << shift)
            value = shift = 0
        else:
            raise ValueError("a number in a packed sketch is longer than it need be")
    if shift:
        raise ValueError("a packed sketch ends within a number")
    return values
