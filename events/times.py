"""Times as integer microseconds since 1970 (UTC), and their text forms."""

import math
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_US_PER_DAY = 86_400_000_000
_US_PER_SECOND = 1_000_000

EARLIEST_US = -719_162 * _US_PER_DAY
"""0001-01-01T00:00:00Z, the first microsecond that is a time."""
LATEST_US = 2_932_897 * _US_PER_DAY - 1
"""9999-12-31T23:59:59.999999Z, the last microsecond that is a time."""

# Bounded, because int() takes quadratic time over digits.
_NUMBER = re.compile(r"[+-]?(\d{1,20})(\.\d{0,40})?(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_ZONE_AFTER_SPACE = re.compile(r"(?<=\d) (?=\d\d:?\d\d\Z)", re.ASCII)
_LENGTHS_OF_USUAL_FORMS = frozenset({len("2024-01-15T10:30:00.123456Z"), len("2024-01-15T10:30:00.123456+00:00")})


def parse_time(value: object) -> int | None:
    """Microseconds since 1970, or None when value is no time in the years 1 to 9999 (UTC).

    Text is ISO 8601: with Z, an offset, or neither (then it is UTC), with T or a space, any number of
    fraction digits (those beyond the sixth are cut), or a date only. A number, and text that is a number, is
    milliseconds since 1970. A datetime without a zone is UTC.
    """
    if isinstance(value, str):
        if len(value) in _LENGTHS_OF_USUAL_FORMS and value[4] == "-":
            try:
                moment = datetime.fromisoformat(value)
            except ValueError:
                return _from_text(value)
            return (moment - _EPOCH) // _MICROSECOND if moment.tzinfo is UTC else _from_datetime(moment)
        return _from_text(value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _from_milliseconds(value)
    if isinstance(value, datetime):
        return _from_datetime(value)
    return None


def format_time(us: int) -> str:
    """`2024-01-15T10:30:00Z`, or with six digits of fraction when there is one.

    Raises OverflowError when us is not between EARLIEST_US and LATEST_US.
    """
    second, fraction = divmod(us, _US_PER_SECOND)
    return f"{_format_second(second)}.{fraction:06d}Z" if fraction else f"{_format_second(second)}Z"


# A trace of many runs has few seconds.
@lru_cache(maxsize=4096)
def _format_second(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).isoformat()[:-6]


def _from_text(text: str) -> int | None:
    text = text.strip().upper()
    number = _NUMBER.fullmatch(text)
    if number is not None:
        return _from_milliseconds(float(text) if number[2] or number[3] else int(text))
    try:
        return _from_datetime(datetime.fromisoformat(text))
    except ValueError:
        pass
    try:
        # Form decoding turns the plus of an offset into a space.
        return _from_datetime(datetime.fromisoformat(_ZONE_AFTER_SPACE.sub("+", text)))
    except ValueError:
        return None


def _from_datetime(moment: datetime) -> int | None:
    if moment.utcoffset() is None:
        moment = moment.replace(tzinfo=UTC)
    # An offset can carry a moment of year 1 or 9999 over the edge.
    return _within((moment - _EPOCH) // _MICROSECOND)


def _from_milliseconds(ms: float) -> int | None:
    if isinstance(ms, float) and not math.isfinite(ms):
        return None
    # A double holds whole milliseconds of these years exactly, but not their microseconds.
    whole = math.floor(ms)
    return _within(whole * 1000 + round((ms - whole) * 1000))


def _within(us: int) -> int | None:
    return us if EARLIEST_US <= us <= LATEST_US else None
