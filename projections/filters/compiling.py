"""Conditions to SQL. What SQL cannot decide is given as bounds: what may hold, and what must.

No value reaches SQL but as a parameter. Every expression is true or false, never NULL, so that NOT means it.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import (
    Column,
    ColumnElement,
    FromClause,
    and_,
    case,
    exists,
    false,
    func,
    literal_column,
    not_,
    or_,
    true,
    type_coerce,
)
from sqlalchemy.types import BigInteger

from events.jsontext import dumps, loads
from projections import pairs, rollup
from projections.dialect import code_points, position_of
from projections.feedback import KEY_CHARS_MAX, feedback
from projections.filters.conditions import (
    All,
    AnyOf,
    Condition,
    Contains,
    Family,
    Field,
    HasTag,
    Kind,
    Like,
    Not,
    OneOf,
    Order,
    Ordered,
    PartCondition,
    PartOneOf,
    Search,
    SomePair,
)
from projections.words import column_text

_COMBINATIONS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class Bounds:
    """`may` is true of every run of which the condition holds, `must` of none of which it does not."""

    may: ColumnElement[bool]
    must: ColumnElement[bool]

    @property
    def is_exact(self) -> bool:
        """Whether SQL alone decides."""
        return self.may is self.must


def exactly(expression: ColumnElement[bool]) -> Bounds:
    """The bounds of what SQL decides."""
    return Bounds(expression, expression)


class TextIndex(Protocol):
    """What knows where words are, and so narrows a search before the runs are looked into."""

    def may_hold(self, search: Search, run: FromClause) -> ColumnElement[bool]:
        """An expression that is true of every row of `run` of which the search holds."""

    def few(self, condition: Condition) -> Sequence[bytes] | None:
        """The ids of all runs of which the condition may hold; None when these are many, or it does not know."""

    @property
    def is_windowed(self) -> bool:
        """Whether it tells more about runs of which all events are within bounds."""

    def within(self, bounds: tuple[int, int]) -> "TextIndex":
        """The index for runs of which all events are within these positions, the first and the last."""


class NoTextIndex:
    """Knows nothing: every run may hold any words."""

    def may_hold(self, search: Search, run: FromClause) -> ColumnElement[bool]:
        """True of every run."""
        return true()

    def few(self, condition: Condition) -> None:
        """It does not know."""

    @property
    def is_windowed(self) -> bool:
        """It tells nothing in any case."""
        return False

    def within(self, bounds: tuple[int, int]) -> TextIndex:
        """The same."""
        return self


def compiled(condition: Condition, run: FromClause, index: TextIndex) -> Bounds:
    """The bounds of a condition about the rows of `run`, an alias of the table of runs."""
    match condition:
        case All(conditions):
            return _joined(and_, [compiled(one, run, index) for one in conditions])
        case AnyOf(conditions):
            return _joined(or_, [compiled(one, run, index) for one in conditions])
        case Not(inner):
            return _negated(compiled(inner, run, index))
        case OneOf(field, values):
            return exactly(_one_of(_value(field, run), values))
        case Ordered(field, order, value):
            return exactly(_ordered(field, run, order, value))
        case Like(field, pattern):
            return Bounds(_has_piece(_value(field, run), pattern), false())
        case HasTag(tag):
            return _has_tag(tag, run)
        case SomePair(family, parts):
            return _PAIRS[family](parts, run)
        case Contains() as wanted:
            return _contains(wanted, run)
        case Search() as search:
            return Bounds(index.may_hold(search, run), false())


def _joined(join: Callable[..., ColumnElement[bool]], bounds: Sequence[Bounds]) -> Bounds:
    neutral = true() if join is and_ else false()
    may = join(neutral, *(bound.may for bound in bounds))
    if all(bound.is_exact for bound in bounds):
        return exactly(may)
    return Bounds(may, join(neutral, *(bound.must for bound in bounds)))


def _negated(bounds: Bounds) -> Bounds:
    if bounds.is_exact:
        return exactly(not_(bounds.may))
    return Bounds(not_(bounds.must), not_(bounds.may))


# --- fields -----------------------------------------------------------------------------------------------------------

_COLUMN_OF: Final[Mapping[str, str]] = {"session_id": "project_id", "status": "langsmith_status"}


def _value(field: Field, run: FromClause) -> ColumnElement[Any]:
    """What a row says of a field; NULL when it says nothing."""
    match field.name:
        case "latency":
            spent = run.c.end_time - run.c.start_time
            # Without its type said, PostgreSQL would be given what it is compared with as integers of 32 bits.
            return type_coerce(case((run.c.end_time.is_(None), None), (spent < 0, 0), else_=spent), BigInteger)
        case "execution_order":
            return case((run.c.is_root == 1, literal_column("1", BigInteger)), else_=None)
        case "has_inputs":
            return case((run.c.inputs_position.is_(None), 0), else_=1)
        case name if name in rollup.AMOUNTS:
            return rollup.amount_of(_name_of(run), name)
        case name:
            return run.c[_COLUMN_OF.get(name, name)]


def _name_of(run: FromClause) -> str:
    return str(getattr(run, "name", ""))


def _one_of(own: ColumnElement[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    said = list(dict.fromkeys(value for value in values if value is not None))
    found: ColumnElement[bool] = false()
    if len(said) == 1:
        found = _only_true(own, own == said[0])
    elif said:
        found = _only_true(own, own.in_(said))
    return or_(own.is_(None), found) if None in values else found


_ORDERS: Final[Mapping[Order, Callable[[Any, Any], Any]]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def _ordered(field: Field, run: FromClause, order: Order, value: Any) -> ColumnElement[bool]:
    own = _value(field, run)
    comparable = code_points(own) if field.kind is Kind.TEXT else own
    return _only_true(own, _ORDERS[order](comparable, value))


def _only_true(own: ColumnElement[Any], comparison: ColumnElement[bool]) -> ColumnElement[bool]:
    """The comparison, false where the value is NULL. What has to be worked out is worked out once."""
    if isinstance(own, Column):
        return and_(own.is_not(None), comparison)
    return func.coalesce(comparison, false())


def _has_piece(own: ColumnElement[Any], pattern: str) -> ColumnElement[bool]:
    """Whether a text has the longest piece of a pattern that stands for itself."""
    longest = max(pattern.replace("_", "%").split("%"), key=len)
    return and_(own.is_not(None), _holds(own, longest)) if longest else own.is_not(None)


def _holds(text: ColumnElement[Any], piece: str) -> ColumnElement[bool]:
    return and_(text.is_not(None), position_of(text, piece) > 0)


def _has_tag(tag: str, run: FromClause) -> Bounds:
    """Tags are a JSON array of texts: one stands between quotation marks, after the bracket or a comma."""
    quoted = dumps(tag).decode()
    found = or_(_holds(run.c.tags, "[" + quoted), _holds(run.c.tags, "," + quoted))
    # Between two tags of which the first ends with a comma there is what looks like a tag that is one.
    return Bounds(found, false()) if tag == "," else exactly(found)


# --- pairs and documents ----------------------------------------------------------------------------------------------


def _metadata(parts: Sequence[PartCondition], run: FromClause) -> Bounds:
    """Columns hold metadata line by line, unless there is too much of it (`projections.pairs`)."""
    keys = _texts(parts, "key")
    values = _texts(parts, "value")
    told = sum(texts is not None for texts in (keys, values)) == len(parts)
    lines = _lines(keys, values, run)
    left_out = _holds(run.c.metadata, pairs.LEFT_OUT_PIECE)
    if lines is None:
        return Bounds(run.c.metadata.is_not(None), false())
    cut = _holds(run.c.metadata, pairs.CUT_PIECE) if _may_be_cut(values) else false()
    return Bounds(or_(lines, left_out, cut), lines if told else false())


def _texts(parts: Iterable[PartCondition], name: str) -> Sequence[str] | None:
    """The texts of which the part is one; None when it is said otherwise, in several ways, or not at all."""
    found = [condition.values for condition in parts if isinstance(condition, PartOneOf) and condition.part == name]
    return [str(value) for value in found[0]] if len(found) == 1 else None


def _lines(keys: Sequence[str] | None, values: Sequence[str] | None, run: FromClause) -> ColumnElement[bool] | None:
    if keys is not None and values is not None and len(keys) * len(values) <= _COMBINATIONS_MAX:
        pieces = [pairs.pair_piece(key, value) for key in keys for value in values]
    elif keys is not None and values is None and len(keys) <= _COMBINATIONS_MAX:
        pieces = [pairs.key_piece(key) for key in keys]
    elif values is not None and keys is None and len(values) <= _COMBINATIONS_MAX:
        pieces = [pairs.value_piece(value) for value in values]
    else:
        return None
    return or_(false(), *(_holds(run.c.metadata, piece) for piece in pieces))


def _may_be_cut(values: Sequence[str] | None) -> bool:
    return any(len(value) > pairs.VALUE_CHARS_MAX for value in values or ())


def _feedback(parts: Sequence[PartCondition], run: FromClause) -> Bounds:
    keys = _texts(parts, "key")
    told = and_(feedback.c.shard == run.c.shard, feedback.c.run_id == run.c.id)
    if keys is not None:
        told = and_(told, feedback.c.key.in_([column_text(key, KEY_CHARS_MAX) for key in keys]))
    found = exists().where(told).correlate(run)
    return exactly(found) if keys is not None and len(parts) == 1 else Bounds(found, false())


_PAIRS: Final[Mapping[Family, Callable[[Sequence[PartCondition], FromClause], Bounds]]] = {
    "metadata": _metadata,
    "feedback": _feedback,
    "input": lambda _, run: Bounds(run.c.inputs_position.is_not(None), false()),
    "output": lambda _, run: Bounds(run.c.outputs_position.is_not(None), false()),
}


def _contains(wanted: Contains, run: FromClause) -> Bounds:
    match wanted.document:
        case "inputs":
            return Bounds(run.c.inputs_position.is_not(None), false())
        case "outputs":
            return Bounds(run.c.outputs_position.is_not(None), false())
        case "metadata":
            value = loads(wanted.json.encode())
            keys = [key for key, inner in value.items() if inner is not None] if isinstance(value, dict) else []
            held = [_metadata((PartOneOf("key", (key,)),), run).may for key in keys]
            return Bounds(and_(true(), *held), false())
