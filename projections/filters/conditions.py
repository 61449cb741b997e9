"""The typed tree that a filter is read into, and the fields that conditions are about.

Values in the tree are what rows hold: ids are 16 bytes, times and durations are microseconds, costs are picodollars.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal

Value = str | int | bytes
Document = Literal["inputs", "outputs", "metadata"]
Family = Literal["metadata", "feedback", "input", "output"]


class Kind(Enum):
    """What a field's values are, and so how literals are read."""

    ID = "the id of something: a UUID"
    TEXT = "text"
    STATUS = "a status: success, error or pending (or completed, failed or running)"
    TIME = "a time such as 2024-01-15T10:30:00Z"
    DURATION = 'a number of seconds, or text such as "1.5s"'
    COUNT = "a number"
    COST = "an amount in US dollars"
    TRUTH = "true or false"


@dataclass(frozen=True, slots=True)
class Field:
    """A fact about a run that is compared: the name that filters use, and the kind of its values."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class PairField:
    """A part of pairs that runs hold: `part` is `key`, or what belongs to a key."""

    name: str
    family: Family
    part: str


FIELDS: Final = {
    field.name: field
    for field in (
        *(Field(name, Kind.ID) for name in ("id", "trace_id", "parent_run_id", "session_id", "reference_example_id")),
        *(Field(name, Kind.TEXT) for name in ("name", "run_type", "thread_id", "error")),
        Field("status", Kind.STATUS),
        *(Field(name, Kind.TIME) for name in ("start_time", "end_time", "first_token_time")),
        Field("latency", Kind.DURATION),
        *(Field(name, Kind.COUNT) for name in ("total_tokens", "prompt_tokens", "completion_tokens")),
        *(Field(name, Kind.COST) for name in ("total_cost", "prompt_cost", "completion_cost")),
        Field("execution_order", Kind.COUNT),
        Field("is_root", Kind.TRUTH),
    )
}
HAS_DOCUMENT: Final[dict[str, Field]] = {name: Field(f"has_{name}", Kind.TRUTH) for name in ("inputs", "outputs")}
"""Whether a run said any inputs or outputs."""

_PARTS: Final[dict[Family, tuple[str, ...]]] = {
    "metadata": ("key", "value"),
    "input": ("key", "value"),
    "output": ("key", "value"),
    "feedback": ("key", "score", "value", "comment", "source"),
}
PAIR_FIELDS: Final = {
    f"{family}_{part}": PairField(f"{family}_{part}", family, part)
    for family, parts in _PARTS.items()
    for part in parts
}
DOCUMENTS: Final[tuple[Document, ...]] = ("inputs", "outputs", "metadata")
SEARCHED: Final = ("name", "run_type", "error", "tags", "inputs", "outputs", "metadata")
"""Where search() looks for words, unless it is told one of these."""

Order = Literal["gt", "gte", "lt", "lte"]


@dataclass(frozen=True, slots=True)
class All:
    """Every one of these holds; with none of them, it does."""

    conditions: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of these holds; with none of them, it does not."""

    conditions: "tuple[Condition, ...]"


@dataclass(frozen=True, slots=True)
class Not:
    """It does not hold."""

    condition: "Condition"


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field is one of these values, None among them standing for nothing said."""

    field: Field
    values: tuple[Value | None, ...]


@dataclass(frozen=True, slots=True)
class Ordered:
    """The field is said, and greater or less than the value. Texts are in the order of their code points."""

    field: Field
    order: Order
    value: Value


@dataclass(frozen=True, slots=True)
class Like:
    """The field is said, and of this pattern: `%` stands for any characters, `_` for one."""

    field: Field
    pattern: str


@dataclass(frozen=True, slots=True)
class HasTag:
    """One of the run's tags is this one."""

    tag: str


@dataclass(frozen=True, slots=True)
class PartOneOf:
    """A part of a pair is one of these texts, or numbers where scores are meant."""

    part: str
    values: tuple[str | float, ...]


@dataclass(frozen=True, slots=True)
class PartOrdered:
    """A part of a pair is greater or less: by number when the value is one, else by the code points of texts."""

    part: str
    order: Order
    value: str | float


@dataclass(frozen=True, slots=True)
class PartLike:
    """A part of a pair is a text of this pattern."""

    part: str
    pattern: str


@dataclass(frozen=True, slots=True)
class PartNot:
    """A part of a pair is not as this says; also when it is missing."""

    condition: PartOneOf


PartCondition = PartOneOf | PartOrdered | PartLike | PartNot


@dataclass(frozen=True, slots=True)
class SomePair:
    """The run has a pair of this family of which all of these hold."""

    family: Family
    parts: tuple[PartCondition, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """A document of the run contains this one: objects by their members, arrays by their elements. Canonical JSON."""

    document: Document
    json: str


@dataclass(frozen=True, slots=True)
class Search:
    """One of these fields of the run holds the text, upper or lower case."""

    fields: tuple[str, ...]
    text: str


Condition = All | AnyOf | Not | OneOf | Ordered | Like | HasTag | SomePair | Contains | Search

EVERYTHING: Final = All(())
