"""The metadata of a run as a column: one line for each key, so that SQL finds a key, or a key with its value, as text.

    \\n key \\t value \\t rank \\n key \\t value \\t rank \\n

Keys and values are escaped, so that line feeds, tabs and carriage returns are never theirs. A carriage return after a
value says that it was cut. Of more keys than fit, those are kept that sort first, whatever came first; a line that is
nothing but a carriage return says that others were left out. The rank is that of the word the value rests on
(`projections.runs`): by it, metadata is merged key by key.
"""

import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

from events.jsontext import NotJSON, dumps, loads, split_object

KEYS_MAX: Final = 64
KEY_CHARS_MAX: Final = 100
VALUE_CHARS_MAX: Final = 200
_CUT: Final = "\r"
_KEPT_BYTES_MAX: Final = 64
_ESCAPES: Final = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\ufffd"}
_TO_ESCAPE: Final = re.compile("[\\\\\n\t\r\0]")
_ESCAPED: Final = re.compile(r"\\(.)")
_UNESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
_INTEGERS_OF_A_DOUBLE: Final = 2**53
_EMPTY: Final = frozenset({"{}", "[]"})
_KEYS: Final = re.compile("\n([^\t\n]*+)\t")
_STRONGEST_LINE_END: Final = "\t3\n"


class Pair(NamedTuple):
    """A key and its value as text. With `is_cut` the value goes on."""

    key: str
    value: str
    is_cut: bool


class Pairs(NamedTuple):
    """The metadata that a column holds, and whether that is all of it."""

    pairs: tuple[Pair, ...]
    is_whole: bool


def written(raw: bytes, rank: int, weigh: Callable[[bytes, int], int]) -> str | None:
    """The column that one write of metadata, a JSON object, of this rank makes alone; None when it says nothing.

    `weigh(raw, rank)` gives the rank of a single value. null is not said.
    """
    return column_of({k: (value, weigh(value, rank)) for k, value in _members(raw).items() if value != b"null"})


def column_of(values: Mapping[str, tuple[bytes, int]]) -> str | None:
    """The column that these values make, raw JSON each with its rank; None when there are none."""
    lines: dict[str, str] = {}
    for key, (raw, rank) in values.items():
        if len(key) > KEY_CHARS_MAX:
            lines[_CUT] = ""
        else:
            lines[_escape(key)] = (
                _usual_line_value(raw, rank) if len(raw) <= _KEPT_BYTES_MAX else _line_value(raw, rank)
            )
    return _column(lines)


def plain(members: Mapping[str, Any], rank: int) -> str | None:
    """The same column of decoded metadata in which no text needs an escape; None when some of it is cut or empty."""
    lines = []
    for key, value in members.items():
        if value is None:
            continue
        text = value if type(value) is str else value_text(value)
        if len(text) > VALUE_CHARS_MAX or len(key) > KEY_CHARS_MAX or text in _EMPTY:
            return None
        lines.append(f"{key}\t{text}\t{rank}")
    if not lines or len(lines) > KEYS_MAX:
        return None
    lines.sort()  # A tab comes before all that may be in a key.
    return "\n" + "\n".join(lines) + "\n"


def as_patched(column: str) -> str:
    """The column that a PATCH makes of the metadata of which a POST makes this one: each rank is one higher."""
    return column.replace("\t2\n", _STRONGEST_LINE_END).replace("\t0\n", "\t1\n")


def merged(column: str | None, newer: str | None) -> str | None:
    """A column after a newer one: a value replaces one of its own rank or lower."""
    if newer is None or newer == column:
        return column
    if column is None or _is_all_replaced(column, newer):
        return newer
    lines = _lines(column)
    for key, rest in _lines(newer).items():
        if _rank_of(rest) >= _rank_of(lines.get(key)):
            lines[key] = rest
    return _column(lines)


def _is_all_replaced(column: str, newer: str) -> bool:
    """Whether a newer column has each key of a column, in the strongest words: a PATCH repeats its POST."""
    if column.endswith(LEFT_OUT_PIECE):
        return False
    keys = _KEYS.findall(newer)
    return newer.count(_STRONGEST_LINE_END) == len(keys) and set(keys).issuperset(_KEYS.findall(column))


def read(column: str | None) -> Pairs:
    """What a column says."""
    lines = _lines(column)
    is_whole = lines.pop(_CUT, None) is None
    return Pairs(tuple(_pair(key, rest) for key, rest in lines.items()), is_whole)


def key_piece(key: str) -> str:
    """The text that a column holds just when it has a line for the key."""
    return f"\n{_escape(key)}\t"


def pair_piece(key: str, value: str) -> str:
    """The text that a column holds just when it has a line with this key and all of this value."""
    return f"\n{_escape(key)}\t{_escape(value)}\t"


def value_piece(value: str) -> str:
    """The text that a column holds just when some line has all of this value."""
    return f"\t{_escape(value)}\t"


def cut_piece(value: str) -> str:
    """The text that a column holds when some line has a longer value that begins as this one does."""
    return f"\t{_escape(value[:VALUE_CHARS_MAX])}{_CUT}\t"


LEFT_OUT_PIECE: Final = f"\n{_CUT}\n"
"""The text that a column holds just when keys were left out."""
CUT_PIECE: Final = f"{_CUT}\t"
"""The text that a column holds just when a value was cut."""


def value_text(value: Any) -> str:
    """A JSON value as the text that it is compared as: strings as they are, anything else as compact JSON."""
    match value:
        case str():
            return value
        case bool() | None:
            return dumps(value).decode()
        case int() | float():
            return number_text(value)
        case _:
            return dumps(value).decode()


def number_text(number: int | float | Decimal) -> str:
    """A number as the shortest text that means it, so that 1, 1.0 and 1e0 are one."""
    if isinstance(number, int):
        return str(number)
    double = float(number)
    if math.isfinite(double) and double.is_integer() and abs(double) < _INTEGERS_OF_A_DOUBLE:
        return str(int(double))
    if isinstance(number, Decimal) and number == number.to_integral_value() and abs(number) < Decimal(10) ** 40:
        return str(int(number))
    return repr(double) if math.isfinite(double) else str(number)


def _lines(column: str | None) -> dict[str, str]:
    """What follows the key on each line, by escaped key."""
    if not column:
        return {}
    lines = {}
    for line in column[1:-1].split("\n"):
        key, _, rest = line.partition("\t")
        lines[key] = rest
    return lines


def _column(lines: Mapping[str, str]) -> str | None:
    if not lines:
        return None
    is_cut = _CUT in lines
    keys = sorted(key for key in lines if key != _CUT)
    kept = [f"{key}\t{lines[key]}" for key in keys[:KEYS_MAX]]
    if is_cut or len(keys) > KEYS_MAX:
        kept.append(_CUT)
    return "\n" + "\n".join(kept) + "\n"


def _rank_of(rest: str | None) -> int:
    return int(rest[-1]) if rest else 0


def _line_value(raw: bytes, rank: int) -> str:
    text = _plain_text(raw) or value_text(_value(raw))
    cut = _CUT if len(text) > VALUE_CHARS_MAX else ""
    return f"{_escape(text[:VALUE_CHARS_MAX])}{cut}\t{rank}"


# Most values are those of the run before.
_usual_line_value = lru_cache(maxsize=4096)(_line_value)


def _plain_text(raw: bytes) -> str | None:
    """The text of a JSON string without escapes, which most values are, and which needs no parser."""
    if raw[:1] != b'"' or raw[-1:] != b'"' or b"\\" in raw:
        return None
    try:
        return raw[1:-1].decode()
    except UnicodeDecodeError:
        return None


def _pair(key: str, rest: str) -> Pair:
    value = rest.rpartition("\t")[0]
    is_cut = value.endswith(_CUT)
    return Pair(_unescape(key), _unescape(value.removesuffix(_CUT)), is_cut)


def _members(raw: bytes) -> Mapping[str, bytes]:
    try:
        return split_object(raw)
    except NotJSON:
        return {}


def _value(raw: bytes) -> Any:
    try:
        return loads(raw)
    except NotJSON:
        return raw.decode("utf-8", "replace")


def _escape(text: str) -> str:
    return _TO_ESCAPE.sub(lambda match: _ESCAPES[match[0]], text)


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda match: _UNESCAPES[match[1]], text) if "\\" in text else text
