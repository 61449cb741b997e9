"""The calls of a filter's text to conditions: what each function takes, and which pairs conditions speak of.

Conditions on parts of pairs that stand beside each other in one `and` speak of the same pair: a key, and the values
after it up to the next key. Values without any key beside them speak of one pair together. But `neq` of a key says that
no pair has it, and `neq` of a value without a key that no pair has that.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Final, cast

from events.jsontext import NotJSON, dumps, loads
from projections import words
from projections.filters.conditions import (
    DOCUMENTS,
    FIELDS,
    HAS_DOCUMENT,
    PAIR_FIELDS,
    SEARCHED,
    All,
    AnyOf,
    Condition,
    Contains,
    Document,
    Family,
    Field,
    HasTag,
    Kind,
    Like,
    Not,
    OneOf,
    Order,
    Ordered,
    PairField,
    PartCondition,
    PartLike,
    PartNot,
    PartOneOf,
    PartOrdered,
    Search,
    SomePair,
    Value,
)
from projections.filters.literals import bound, float_of, text_of, value_of, whole
from projections.filters.syntax import Argument, Call, InvalidFilter, Literal, Name, parse

_ORDERS: Final[tuple[Order, ...]] = ("gt", "gte", "lt", "lte")
_CHARS_MAX: Final[Mapping[str, int]] = {
    "name": words.NAME_CHARS_MAX,
    "run_type": words.RUN_TYPE_CHARS_MAX,
    "thread_id": words.WORD_CHARS_MAX,
    "error": words.ERROR_CHARS_MAX,
}
_UNORDERED: Final = frozenset({Kind.ID, Kind.TRUTH, Kind.STATUS})
_FAMILY_OF: Final[Mapping[str, Family]] = {"metadata": "metadata", "inputs": "input", "outputs": "output"}
_CALLS: Final = 'a condition: and, or, not, eq, neq, gt, gte, lt, lte, in, like, has, exists or search, then "("'


def read(text: str) -> Condition:
    """The condition that a filter's text states. Raises `InvalidFilter`."""
    return _Reader(text).condition(parse(text))


@dataclass(frozen=True, slots=True)
class _PairPart:
    """A condition on a part of a pair that is not named yet."""

    field: PairField
    condition: PartCondition


class _Reader:
    """Reads the calls of one text, to say where in it something is wrong."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._readers: dict[str, Callable[[Call], Condition | _PairPart]] = {
            "and": lambda call: All(tuple(self._together(self._items(call)))),
            "or": lambda call: AnyOf(tuple(map(self._alone, self._items(call)))),
            "not": lambda call: Not(self._alone(self._only(call))),
            "eq": lambda call: self._equal(call, call.arguments[1:]),
            "neq": self._unequal,
            "in": self._one_of,
            "like": self._like,
            "has": self._has,
            "exists": self._exists,
            "search": self._search,
            **{order: partial(self._ordered, order) for order in _ORDERS},
        }

    def condition(self, call: Call) -> Condition:
        return self._alone(self._read(call))

    # --- logic --------------------------------------------------------------------------------------------------------

    def _read(self, argument: Argument) -> Condition | _PairPart:
        if not isinstance(argument, Call) or argument.function not in self._readers:
            raise self._wrong(argument, _CALLS)
        return self._readers[argument.function](argument)

    def _items(self, call: Call) -> list[Condition | _PairPart]:
        if not call.arguments:
            raise self._wrong(call, f"{call.function}(condition, …) with at least one condition")
        return [self._read(argument) for argument in call.arguments]

    def _only(self, call: Call) -> Condition | _PairPart:
        (item,) = self._arguments(call, 1, "not(condition)")
        return self._read(item)

    def _alone(self, item: Condition | _PairPart) -> Condition:
        if not isinstance(item, _PairPart):
            return item
        (condition,) = self._together([item])
        return condition

    def _together(self, items: Sequence[Condition | _PairPart]) -> Iterator[Condition]:
        """The conditions of one `and`, those on parts of pairs joined to conditions on whole pairs."""
        yield from (item for item in items if not isinstance(item, _PairPart))
        parts = [item for item in items if isinstance(item, _PairPart)]
        for family in dict.fromkeys(part.field.family for part in parts):
            yield from _pairs(family, [part for part in parts if part.field.family == family])

    # --- comparisons --------------------------------------------------------------------------------------------------

    def _equal(self, call: Call, values: Sequence[Argument]) -> Condition | _PairPart:
        name, _ = self._arguments(call, 2, f"{call.function}(field, value)")
        if isinstance(name, Name) and name.text in HAS_DOCUMENT:
            return self._unsaid(HAS_DOCUMENT[name.text], values)
        field = self._field(name)
        if isinstance(field, PairField):
            return _PairPart(field, PartOneOf(field.part, tuple(self._part(field, value) for value in values)))
        if field.name == "error" and any(isinstance(v, Literal) and isinstance(v.value, bool) for v in values):
            return AnyOf(tuple(self._error(field, value) for value in values))
        return OneOf(field, tuple(self._equals(field, values)))

    def _unequal(self, call: Call) -> Condition | _PairPart:
        equal = self._equal(call, call.arguments[1:])
        if isinstance(equal, _PairPart):
            return _PairPart(equal.field, PartNot(cast(PartOneOf, equal.condition)))
        return Not(equal)

    def _one_of(self, call: Call) -> Condition | _PairPart:
        _, values = self._arguments(call, 2, "in(field, [value, …])")
        if not isinstance(values, Literal) or not isinstance(values.value, tuple):
            raise self._wrong(values, "a list such as [1, 2]")
        return self._equal(call, values.value)

    def _ordered(self, order: Order, call: Call) -> Condition | _PairPart:
        name, literal = self._arguments(call, 2, f"{order}(field, value)")
        field = self._field(name)
        if isinstance(field, PairField):
            return _PairPart(field, PartOrdered(field.part, order, self._ordered_part(field, literal)))
        if field.kind in _UNORDERED:
            raise self._wrong(name, "a field that has an order, such as start_time, latency or total_tokens")
        value = self._value(field, literal)
        return Ordered(field, order, bound(order, value) if isinstance(value, Decimal) else value)

    def _like(self, call: Call) -> Condition | _PairPart:
        name, literal = self._arguments(call, 2, 'like(field, "%pattern%")')
        field = self._field(name)
        pattern = self._text_in(literal)
        if isinstance(field, PairField):
            return _PairPart(field, PartLike(field.part, pattern))
        if field.kind is not Kind.TEXT:
            raise self._wrong(name, "a field that is text, such as name or run_type")
        return Like(field, pattern)

    # --- holding and searching ----------------------------------------------------------------------------------------

    def _has(self, call: Call) -> Condition:
        name, literal = self._arguments(call, 2, 'has(tags, "tag") or has(metadata, \'{"key": "value"}\')')
        if isinstance(name, Name) and name.text == "tags":
            return HasTag(words.column_text(self._text_in(literal), words.TAG_CHARS_MAX))
        document = self._document(name)
        text = self._text_in(literal)
        try:
            value = loads(text.encode())
        except NotJSON as error:
            raise self._wrong(literal, f'JSON such as {{"key": "value"}} ({error})') from None
        return Contains(document, dumps(value).decode())

    def _exists(self, call: Call) -> Condition:
        name, literal = self._arguments(call, 2, 'exists(metadata, "key")')
        return SomePair(_FAMILY_OF[self._document(name)], (PartOneOf("key", (self._text_in(literal),)),))

    def _search(self, call: Call) -> Condition:
        if len(call.arguments) == 1:
            return Search(SEARCHED, self._text_in(call.arguments[0]))
        name, literal = self._arguments(call, 2, 'search("text") or search(field, "text")')
        if not isinstance(name, Name) or name.text not in SEARCHED:
            raise self._wrong(name, f"one of {', '.join(SEARCHED)}")
        return Search((name.text,), self._text_in(literal))

    # --- what stands between the brackets -----------------------------------------------------------------------------

    def _arguments(self, call: Call, count: int, form: str) -> tuple[Argument, ...]:
        if len(call.arguments) != count:
            raise self._wrong(call, form)
        return call.arguments

    def _field(self, argument: Argument) -> Field | PairField:
        name = argument.text if isinstance(argument, Name) else ""
        found = FIELDS.get(name) or PAIR_FIELDS.get(name)
        if found is None:
            raise self._wrong(argument, f"a field: one of {', '.join((*FIELDS, *PAIR_FIELDS))}")
        return found

    def _document(self, argument: Argument) -> Document:
        name = argument.text if isinstance(argument, Name) else ""
        for document in DOCUMENTS:
            if name == document:
                return document
        raise self._wrong(argument, "tags, metadata, inputs or outputs")

    def _equals(self, field: Field, literals: Sequence[Argument]) -> Iterator[Value | None]:
        for literal in literals:
            if isinstance(literal, Literal) and literal.value is None:
                yield None
                continue
            value = self._value(field, literal)
            equal = whole(value) if isinstance(value, Decimal) else value
            if equal is not None:  # A fraction of what is counted in whole numbers equals none.
                yield equal

    def _value(self, field: Field, literal: Argument) -> Value | Decimal:
        value = None
        if isinstance(literal, Literal):
            value = value_of(field.kind, literal, _CHARS_MAX.get(field.name, words.NAME_CHARS_MAX))
        if value is None:
            raise self._wrong(literal, field.kind.value)
        return value

    def _error(self, field: Field, literal: Argument) -> Condition:
        """`true` means any error, and `false` none."""
        if isinstance(literal, Literal) and isinstance(literal.value, bool):
            none = OneOf(field, (None,))
            return Not(none) if literal.value else none
        return OneOf(field, tuple(self._equals(field, [literal])))

    def _unsaid(self, field: Field, literals: Sequence[Argument]) -> Condition:
        for literal in literals:
            if not isinstance(literal, Literal) or literal.value is not None:
                raise self._wrong(literal, "null (has() and search() look into inputs and outputs)")
        return OneOf(field, (0,) if literals else ())

    def _part(self, field: PairField, literal: Argument) -> str | float:
        if field.part != "score":
            return self._text_in(literal)
        score = float_of(literal) if isinstance(literal, Literal) else None
        if score is None:
            raise self._wrong(literal, "a number")
        return score

    def _ordered_part(self, field: PairField, literal: Argument) -> str | float:
        if isinstance(literal, Literal) and isinstance(literal.value, Decimal):
            number = float_of(literal)
            if number is None:
                raise self._wrong(literal, "a number that is not as large")
            return number
        return self._part(field, literal)

    def _text_in(self, literal: Argument) -> str:
        text = text_of(literal) if isinstance(literal, Literal) else None
        if text is None:
            raise self._wrong(literal, "text in quotation marks")
        return text

    def _wrong(self, argument: Argument, expected: str) -> InvalidFilter:
        return InvalidFilter(self._text, argument.at, expected)


def _pairs(family: Family, parts: Sequence[_PairPart]) -> Iterator[Condition]:
    """The conditions on whole pairs that conditions on parts of one family make."""
    keys = [part for part in parts if part.field.part == "key"]
    for part in keys:
        if isinstance(part.condition, PartNot):
            yield Not(SomePair(family, (part.condition.condition,)))
    kept = [part for part in parts if not (part.field.part == "key" and isinstance(part.condition, PartNot))]
    if any(part.field.part == "key" for part in kept):
        yield from (SomePair(family, tuple(pair)) for pair in _by_key(kept))
        return
    for part in kept:
        if isinstance(part.condition, PartNot):
            yield Not(SomePair(family, (part.condition.condition,)))
    said = tuple(part.condition for part in kept if not isinstance(part.condition, PartNot))
    if said:
        yield SomePair(family, said)


def _by_key(parts: Sequence[_PairPart]) -> list[list[PartCondition]]:
    """The parts of each pair: every key but the first begins another."""
    pairs: list[list[PartCondition]] = [[]]
    has_key = False
    for part in parts:
        if part.field.part == "key" and has_key:
            pairs.append([])
        has_key = has_key or part.field.part == "key"
        pairs[-1].append(part.condition)
    return pairs
