"""Literals of a filter to the values that rows hold, by the kind of the field that they are compared with."""

import math
import re
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Final

from events.ids import parse_id
from events.times import parse_time
from projections.filters.conditions import Kind, Order, Value
from projections.filters.syntax import Literal
from projections.pairs import number_text
from projections.status import langsmith_status_filter
from projections.words import column_text

NUMBER_LIMIT: Final = 2**62
_EXACT: Final = Context(prec=400)
_SCALES: Final = {Kind.DURATION: 6, Kind.COST: 12, Kind.COUNT: 0}
_DURATION: Final = re.compile(r"(\d{1,15}(?:\.\d{0,15})?)\s*(us|ms|s|m|h|d)?", re.ASCII)
_SECONDS: Final = {
    None: Decimal(1),
    "us": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_NUMBER: Final = re.compile(r"[+-]?\d{1,40}(\.\d{0,40})?([eE][+-]?\d{1,3})?", re.ASCII)


def value_of(kind: Kind, literal: Literal, chars_max: int) -> Value | Decimal | None:
    """What the literal stands for; None when it is of another kind. Numbers are scaled, and may lie between values."""
    given = literal.value
    match kind:
        case Kind.TEXT:
            text = text_of(literal)
            return None if text is None else column_text(text, chars_max)
        case Kind.ID:
            return parse_id(given) if isinstance(given, str) else None
        case Kind.STATUS:
            return langsmith_status_filter(given) if isinstance(given, str) else None
        case Kind.TIME:
            return parse_time(float(given) if isinstance(given, Decimal) else given)
        case Kind.TRUTH:
            return _truth(given)
        case _:
            number = _duration(given) if kind is Kind.DURATION and isinstance(given, str) else number_of(literal)
            return None if number is None else _EXACT.scaleb(number, _SCALES[kind])


def text_of(literal: Literal) -> str | None:
    """The text that a literal is compared as; None for null and lists."""
    match literal.value:
        case str() as text:
            return text
        case bool() as truth:
            return "true" if truth else "false"
        case Decimal() as number:
            return number_text(number)
        case _:
            return None


def number_of(literal: Literal) -> Decimal | None:
    """The number that a literal is, also in quotation marks; truths count as 1 and 0. None when it is none."""
    match literal.value:
        case bool() as truth:
            return Decimal(int(truth))
        case Decimal() as number:
            return number
        case str() as text if _NUMBER.fullmatch(text.strip()):
            return Decimal(text.strip())
        case _:
            return None


def float_of(literal: Literal) -> float | None:
    """The number that a literal is, as a double; None when it is none, or too large for one."""
    number = number_of(literal)
    value = None if number is None else float(number)
    return value if value is not None and math.isfinite(value) else None


def whole(number: Decimal) -> int | None:
    """The integer that a number is; None when no column could hold it."""
    if abs(number) >= NUMBER_LIMIT or number != number.to_integral_value():
        return None
    return int(number)


def bound(order: Order, number: Decimal) -> int:
    """The integer that integers are in this order with just when they are with the number."""
    if abs(number) >= NUMBER_LIMIT:
        return NUMBER_LIMIT if number > 0 else -NUMBER_LIMIT
    return int(number.to_integral_value(ROUND_FLOOR if order in ("gt", "lte") else ROUND_CEILING))


def _truth(given: object) -> int | None:
    if isinstance(given, bool):
        return int(given)
    if isinstance(given, Decimal) and given in (0, 1):
        return int(given)
    return {"true": 1, "false": 0}.get(given.lower()) if isinstance(given, str) else None


def _duration(text: str) -> Decimal | None:
    match = _DURATION.fullmatch(text.strip())
    return None if match is None else Decimal(match[1]) * _SECONDS[match[2]]
