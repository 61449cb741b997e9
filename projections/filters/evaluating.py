"""A yes or no: whether a condition holds of one run."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Protocol

from events.jsontext import loads
from projections.filters.conditions import (
    All,
    AnyOf,
    Condition,
    Contains,
    Document,
    Family,
    Field,
    HasTag,
    Like,
    Not,
    OneOf,
    Order,
    Ordered,
    PartCondition,
    PartLike,
    PartNot,
    PartOneOf,
    PartOrdered,
    Search,
    SomePair,
    Value,
)
from projections.folding import folded
from projections.pairs import value_text

Part = str | float | None
Pair = Mapping[str, Part]
"""A pair by the names of its parts. A part that nobody said is missing or None."""


class Subject(Protocol):
    """What is asked about a run."""

    def value(self, field: Field) -> Value | None:
        """The run's value of a field; None when it is not said."""

    def tags(self) -> Iterable[str]:
        """The run's tags."""

    def pairs(self, family: Family) -> Iterable[Pair]:
        """The run's pairs of a family."""

    def document(self, document: Document) -> Any:
        """The run's inputs, outputs or metadata as a JSON value."""

    def texts(self, field: str) -> Iterable[str]:
        """The texts in which a search looks for words."""


def holds(condition: Condition, run: Subject) -> bool:
    """Whether the condition holds of the run."""
    match condition:
        case All(conditions):
            return all(holds(one, run) for one in conditions)
        case AnyOf(conditions):
            return any(holds(one, run) for one in conditions)
        case Not(inner):
            return not holds(inner, run)
        case OneOf(field, values):
            return run.value(field) in values
        case Ordered(field, order, value):
            own = run.value(field)
            return own is not None and ORDERS[order](own, value)
        case Like(field, pattern):
            own = run.value(field)
            return isinstance(own, str) and is_like(own, pattern)
        case HasTag(tag):
            return tag in run.tags()
        case SomePair(family, parts):
            return any(pair_holds(parts, pair) for pair in run.pairs(family))
        case Contains(document, text):
            return contains(run.document(document), loads(text.encode()))
        case Search(fields, text):
            wanted = folded(text)
            return any(wanted in folded(one) for field in fields for one in run.texts(field))


_NUMBER: Final = re.compile(r"[+-]?\d{1,40}(\.\d{0,40})?([eE][+-]?\d{1,3})?", re.ASCII)
ORDERS: Final[Mapping[Order, Callable[[Any, Any], bool]]] = {
    "gt": lambda own, value: bool(own > value),
    "gte": lambda own, value: bool(own >= value),
    "lt": lambda own, value: bool(own < value),
    "lte": lambda own, value: bool(own <= value),
}


def pair_holds(parts: Iterable[PartCondition], pair: Pair) -> bool:
    """Whether every condition on its parts holds of a pair."""
    return all(_part_holds(condition, pair) for condition in parts)


def _part_holds(condition: PartCondition, pair: Pair) -> bool:
    match condition:
        case PartNot(inner):
            return not _part_holds(inner, pair)
        case PartOneOf(part, values):
            return pair.get(part) in values
        case PartOrdered(part, order, value):
            own = _comparable(pair.get(part), value)
            return own is not None and ORDERS[order](own, value)
        case PartLike(part, pattern):
            text = pair.get(part)
            return isinstance(text, str) and is_like(text, pattern)


def _comparable(own: Part, value: Part) -> Part:
    """A part as a number when it is compared with one; None when it is none."""
    if isinstance(own, str) and not isinstance(value, str):
        return float(own) if _NUMBER.fullmatch(own) else None
    return own if isinstance(own, str) == isinstance(value, str) else None


def is_like(text: str, pattern: str) -> bool:
    """Whether all of a text is of a pattern in which `%` stands for any characters, and `_` for one."""
    first, *others = pattern.split("%")
    if not others:
        return _piece(first).fullmatch(text) is not None
    *middle, last = others
    begin, end = len(first), len(text) - len(last)
    if begin > end or not _piece(first).match(text) or not _piece(last).fullmatch(text, max(end, 0)):
        return False
    # Piece by piece, each where it first fits: one expression with many gaps could take for ever.
    for piece in middle:
        match = _piece(piece).search(text, begin, end)
        if match is None:
            return False
        begin = match.end()
    return True


@lru_cache(maxsize=256)
def _piece(piece: str) -> re.Pattern[str]:
    return re.compile("".join("." if char == "_" else re.escape(char) for char in piece), re.DOTALL)


def contains(whole: Any, part: Any) -> bool:
    """Whether a JSON value contains another: every member and every element of that, at any depth."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(contains(one, wanted) for one in whole) for wanted in part)
    return is_same(whole, part)


def is_same(one: Any, other: Any) -> bool:
    """Whether two JSON scalars are one value: true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def pairs_of(value: Any) -> Iterator[dict[str, Part]]:
    """The pairs of inputs or outputs: every member, those further down by the keys on the way there, `a.b`.

    The elements of an array go by the key of the array.
    """
    for key, below in _flattened(value):
        yield {"key": key, "value": value_text(below)}


def _flattened(value: Any) -> Iterator[tuple[str, Any]]:
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        prefix, at = waiting.pop()
        if isinstance(at, dict):
            members = [(f"{prefix}.{key}" if prefix else str(key), below) for key, below in at.items()]
            yield from members
            waiting += members
        elif isinstance(at, list) and prefix:
            yield from ((prefix, below) for below in at)
            waiting += [(prefix, below) for below in at]


def texts_in(value: Any) -> Iterator[str]:
    """The texts that a search finds in a JSON value: every string, key and number of it."""
    waiting = [value]
    while waiting:
        at = waiting.pop()
        if isinstance(at, dict):
            yield from map(str, at)
            waiting += at.values()
        elif isinstance(at, list):
            waiting += at
        elif at is not None:
            yield at if isinstance(at, str) else json.dumps(at)
