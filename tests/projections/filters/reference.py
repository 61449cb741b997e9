"""A slow and simple reading of filters, to hold the real one against: no text, no SQL, runs as they were sent."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from tests.projections.stores import id_text

Filter = tuple[Any, ...]
"""`("eq", "name", "x")`, `("and", [filter, …])`, `("has", "tags", "x")`, `("search", "text")` and so on."""

EPOCH_S: Final = 1_767_139_200
"""2025-12-31T00:00:00Z: runs start some seconds after."""
AMOUNTS: Final = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": "total_tokens",
    "total_cost": "total_cost",
}


@dataclass(frozen=True)
class Sent:
    """A run as it was sent; times are seconds after the epoch of these tests, feedback is (key, score, value)."""

    number: int
    name: str
    run_type: str
    start: Decimal
    end: Decimal | None
    parent: int | None
    error: str | None
    tags: list[str]
    metadata: dict[str, Any]
    inputs: dict[str, Any]
    outputs: dict[str, Any] | None
    example: int | None
    usage: dict[str, Any] | None
    feedback: list[tuple[str, Any, Any]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return id_text(self.number)


class World:
    """All the runs there are."""

    def __init__(self, runs: Sequence[Sent]) -> None:
        self.runs = {run.number: run for run in runs}

    def root(self, run: Sent) -> Sent:
        """The root of its trace. Parents are older runs here, so there is one."""
        return run if run.parent is None else self.root(self.runs[run.parent])

    def trace(self, run: Sent) -> list[Sent]:
        root = self.root(run)
        return [other for other in self.runs.values() if self.root(other) is root]

    def children(self, run: Sent) -> list[Sent]:
        return [other for other in self.runs.values() if other.parent == run.number]

    def amount(self, run: Sent, name: str) -> Any:
        """Tokens or cost of the run and all below it."""
        own = None if run.usage is None else run.usage.get(name)
        if counts(run):
            return own
        below = [self._counted(child, name) for child in self.children(run)]
        known = [amount for amounts in below for amount in amounts if amount is not None]
        return sum(known) if known else own

    def _counted(self, run: Sent, name: str) -> list[Any]:
        if counts(run):
            assert run.usage is not None
            return [run.usage.get(name)]
        return [amount for child in self.children(run) for amount in self._counted(child, name)]

    def value(self, run: Sent, name: str) -> Any:
        """The value of a field, as a filter's literal would say it."""
        match name:
            case "id":
                return run.id
            case "trace_id":
                return self.root(run).id
            case "parent_run_id":
                return None if run.parent is None else id_text(run.parent)
            case "reference_example_id":
                return None if run.example is None else id_text(run.example)
            case "status":
                return "error" if run.error else "pending" if run.end is None else "success"
            case "start_time":
                return run.start
            case "end_time":
                return run.end
            case "latency":
                return None if run.end is None else max(run.end - run.start, Decimal(0))
            case "execution_order":
                return 1 if run.parent is None else None
            case "is_root":
                return run.parent is None
            case "thread_id":
                return run.metadata.get("thread_id")
            case "error":
                return run.error or None
            case amount if amount in AMOUNTS:
                return self.amount(run, AMOUNTS[amount])
            case other:
                return getattr(run, other)

    # --- filters ------------------------------------------------------------------------------------------------------

    def holds(self, filter_: Filter, run: Sent) -> bool:
        """Whether a filter holds of a run."""
        match filter_:
            case ("and", list(parts)):
                return self._all(parts, run)
            case ("or", list(parts)):
                return any(self.holds(part, run) for part in parts)
            case ("not", part):
                return not self.holds(part, run)
            case ("has", "tags", tag):
                return tag in run.tags
            case ("has", document, part):
                return contains(getattr(run, document), part)
            case ("exists", document, key):
                keys = run.metadata if document == "metadata" else dict(pairs(getattr(run, document)))
                return keys.get(key, None) is not None or (document != "metadata" and key in keys)
            case ("search", text):
                return any(text.lower() in word.lower() for word in self._words(run))
            case (_, name, _) if is_part(name):
                return self._all([filter_], run)
            case (operator, name, value):
                return compare(operator, self.value(run, name), value)
        raise AssertionError(filter_)

    def _all(self, parts: Sequence[Filter], run: Sent) -> bool:
        about_pairs = [part for part in parts if len(part) == 3 and is_part(part[1])]
        others = [part for part in parts if part not in about_pairs]
        families = {part[1].split("_")[0] for part in about_pairs}
        return all(self.holds(part, run) for part in others) and all(
            pairs_hold([part for part in about_pairs if part[1].split("_")[0] == family], FAMILIES[family](run))
            for family in families
        )

    def _words(self, run: Sent) -> Iterator[str]:
        yield from (run.name, run.run_type, run.error or "", *run.tags)
        yield from (text(word) for pair in run.metadata.items() for word in pair if word is not None)
        yield from words(run.inputs)
        yield from words(run.outputs)


def is_part(name: Any) -> bool:
    """Whether a field is a part of pairs."""
    family, _, part = str(name).partition("_")
    return family in FAMILIES and part in ("key", "value", "score")


def counts(run: Sent) -> bool:
    return run.run_type == "llm" and run.usage is not None


def compare(operator: str, own: Any, value: Any) -> bool:
    match operator:
        case "eq":
            return bool(own == value)
        case "neq":
            return bool(own != value)
        case "in":
            return own in value
        case _ if own is None:
            return False
        case "gt":
            return bool(own > value)
        case "gte":
            return bool(own >= value)
        case "lt":
            return bool(own < value)
        case "lte":
            return bool(own <= value)
        case "like":
            return like(own, value)
    raise AssertionError(operator)


def like(own: str, pattern: str) -> bool:
    """By trying every way to divide the text."""
    if not pattern:
        return not own
    if pattern[0] == "%":
        return any(like(own[start:], pattern[1:]) for start in range(len(own) + 1))
    return bool(own) and pattern[0] in ("_", own[0]) and like(own[1:], pattern[1:])


# --- pairs ------------------------------------------------------------------------------------------------------------

Pair = dict[str, Any]
FAMILIES: Final[dict[str, Callable[[Sent], list[Pair]]]] = {
    "metadata": lambda run: [{"key": k, "value": text(v)} for k, v in run.metadata.items() if v is not None],
    "input": lambda run: [{"key": k, "value": text(v)} for k, v in pairs(run.inputs)],
    "output": lambda run: [{"key": k, "value": text(v)} for k, v in pairs(run.outputs)],
    "feedback": lambda run: [
        {"key": k, "score": None if s is None else float(s), "value": None if v is None else text(v)}
        for k, s, v in run.feedback
    ],
}


def pairs_hold(parts: Sequence[Filter], held: Sequence[Pair]) -> bool:
    """Whether pairs are as conditions say that stand beside each other: keys begin pairs, values go with them."""
    is_key = [name.endswith("_key") for _, name, _ in parts]
    without = [part for part, key in zip(parts, is_key, strict=True) if key and part[0] == "neq"]
    rest = [part for part in parts if part not in without]
    if any(pair["key"] == value for _, _, value in without for pair in held):
        return False
    groups: list[list[Filter]] = [[]]
    has_key = False
    for part in rest:
        if part[1].endswith("_key"):
            if has_key:
                groups.append([])
            has_key = True
        groups[-1].append(part)
    if not has_key:
        denied = [part for part in rest if part[0] == "neq"]
        if any(pair_holds(("eq", *part[1:]), pair) for part in denied for pair in held):
            return False
        groups = [[part for part in rest if part not in denied]]
    return all(any(all(pair_holds(part, pair) for part in group) for pair in held) for group in groups if group)


def pair_holds(part: Filter, pair: Pair) -> bool:
    operator, name, value = part
    own = pair[name.split("_")[1]]
    if operator in ("gt", "gte", "lt", "lte") and isinstance(own, str) and not isinstance(value, str):
        try:
            own = Decimal(own)
        except ArithmeticError:
            return False
    if operator in ("eq", "neq", "in") and not name.endswith("_score"):
        value = [text(one) for one in value] if operator == "in" else text(value)
    if operator == "like" and own is None:
        return False
    return compare(operator, own, value)


def pairs(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        found = [(f"{prefix}{key}", inner) for key, inner in value.items()]
        return found + [pair for key, inner in value.items() for pair in pairs(inner, f"{prefix}{key}.")]
    if isinstance(value, list) and prefix:
        found = [(prefix[:-1], inner) for inner in value]
        return found + [pair for inner in value for pair in pairs(inner, prefix)]
    return []


def text(value: Any) -> str:
    """As JSON, but for strings."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case int() | float() | Decimal():
            return str(int(value)) if value == int(value) else str(float(value))
        case list():
            return "[" + ",".join(quoted(inner) for inner in value) + "]"
        case dict():
            return "{" + ",".join(f"{quoted(key)}:{quoted(inner)}" for key, inner in value.items()) + "}"
    raise AssertionError(value)


def quoted(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else text(value)


def words(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from words(inner)
    elif value is not None:
        yield text(value)


def contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(contains(one, wanted) for one in whole) for wanted in part)
    return whole is part if isinstance(part, bool) or isinstance(whole, bool) else bool(whole == part)
