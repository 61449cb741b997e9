"""Random runs and random filters about them, for hypothesis; and the filters as text."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from events.log import NewEvent
from service.ingest.items import Item, feedback_posted
from tests.projections.filters.reference import EPOCH_S, Filter, Sent
from tests.projections.stores import id_text, posted

LONG: Final = "long" * 60
NAMES: Final = ("agent", "Agent", "agent 2", "ä,ö\tü", 'say "x"', "100% a_b")
TAGS: Final = ("a", "b,", ",", '"', "b\\", "ü")
KEYS: Final = ("k", "env", "a.b", "k\tv", "\\n", "thread_id")
VALUES: Final = ("v", "7", "prod", LONG, LONG + "r", "tab\there", "line\nfeed", "")
NUMBERS: Final = (0, 1, 7, 2.5, -3)
SCORES: Final = (0, 0.25, 1, True, None)

texts = st.sampled_from(NAMES)
scalars = st.sampled_from((*VALUES, *NUMBERS, True, None))
documents = st.dictionaries(
    st.sampled_from(("q", "messages", "k")),
    st.one_of(
        scalars,
        st.lists(st.one_of(scalars, st.dictionaries(st.sampled_from(("content", "k")), scalars)), max_size=2),
        st.dictionaries(st.sampled_from(("content", "k")), scalars, max_size=2),
    ),
    max_size=2,
)
metadata: SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(KEYS[:-1]), st.one_of(scalars, st.just([1, "a"]), st.just({"x": {"y": 1}})), max_size=3
)
usages = st.fixed_dictionaries(
    {"total_tokens": st.sampled_from((0, 3, 10))},
    optional={"input_tokens": st.sampled_from((1, 2)), "total_cost": st.sampled_from((0.5, 0.25))},
)
feedback = st.tuples(st.sampled_from("fg"), st.sampled_from(SCORES), st.sampled_from((None, "v", 7)))
seconds = st.sampled_from([Decimal(text) for text in ("0", "1", "1.5", "60", "3600.000001")])


@st.composite
def a_run(draw: st.DrawFn, number: int) -> Sent:
    """A run whose parent, if it has one, has a smaller number."""
    start, usage = draw(seconds), draw(st.one_of(st.none(), usages))
    told = {} if usage is None else {"usage_metadata": usage}
    return Sent(
        number=number,
        name=draw(texts),
        run_type=draw(st.sampled_from(("llm", "chain", "tool"))),
        start=start,
        end=draw(st.one_of(st.none(), seconds)),
        parent=draw(st.one_of(st.none(), st.integers(1, number - 1))) if number > 1 else None,
        error=draw(st.sampled_from((None, None, "boom", "Boom at 7"))),
        tags=draw(st.lists(st.sampled_from(TAGS), max_size=3)),
        metadata=told | draw(metadata) | draw(st.sampled_from(({}, {"thread_id": "t"}, {"thread_id": "7"}))),
        inputs=draw(documents),
        outputs=draw(st.one_of(st.none(), documents)),
        example=draw(st.sampled_from((None, 90, 91))),
        usage=usage,
        feedback=draw(st.lists(feedback, max_size=2)),
    )


@st.composite
def populations(draw: st.DrawFn) -> list[Sent]:
    """A few runs."""
    return [draw(a_run(number)) for number in range(1, draw(st.integers(2, 7)) + 1)]


def items_of(run: Sent) -> list[Item]:
    """What a client would send of a run."""
    fields: dict[str, Any] = {
        "name": run.name,
        "run_type": run.run_type,
        "start_time": moment(run.start),
        "end_time": None if run.end is None else moment(run.end),
        "parent_run_id": None if run.parent is None else id_text(run.parent),
        "error": run.error,
        "tags": run.tags,
        "extra": {"metadata": run.metadata},
        "inputs": run.inputs,
        "outputs": run.outputs,
        "reference_example_id": None if run.example is None else id_text(run.example),
    }
    given = [_feedback(run, place, *told) for place, told in enumerate(run.feedback)]
    return [posted(run.number, **fields), *given]


def _feedback(run: Sent, place: int, key: str, score: Any, value: Any) -> Item:
    told = {"id": id_text(1000 + 10 * run.number + place), "run_id": run.id, "key": key, "score": score, "value": value}
    item = feedback_posted(json.dumps(told).encode(), source="feedback")
    assert isinstance(item, NewEvent)
    return item


def moment(after: Decimal) -> str:
    """A time so many seconds after the epoch of these tests."""
    whole, fraction = divmod(after, 1)
    at = datetime.fromtimestamp(EPOCH_S + int(whole), UTC).replace(microsecond=int(fraction * 1_000_000))
    return at.isoformat()


# --- filters ----------------------------------------------------------------------------------------------------------

EQUALITIES: Final = ("eq", "neq")
ORDERS: Final = ("gt", "gte", "lt", "lte")


def _compared(names: tuple[str, ...], values: SearchStrategy[Any], *, ordered: bool) -> SearchStrategy[Filter]:
    operators = st.sampled_from(EQUALITIES + (ORDERS if ordered else ()))
    one = st.tuples(operators, st.sampled_from(names), values)
    return st.one_of(one, st.tuples(st.just("in"), st.sampled_from(names), st.lists(values, max_size=3)))


def _nullable(names: tuple[str, ...]) -> SearchStrategy[Filter]:
    return st.tuples(st.sampled_from(EQUALITIES), st.sampled_from(names), st.none())


ids = st.sampled_from([id_text(number) for number in (1, 2, 3, 90)])
likes = st.sampled_from(("%", "agent%", "%gent%", "_gent", "%2", "a%t%2", "100% a_b", "%\\%", ""))
leaves: SearchStrategy[Filter] = st.one_of(
    _compared(("id", "trace_id", "parent_run_id", "reference_example_id"), ids, ordered=False),
    _compared(("name", "thread_id"), st.sampled_from((*NAMES, "t", "b")), ordered=True),
    _compared(("error",), st.sampled_from(("boom", "b")), ordered=True),
    _compared(("status",), st.sampled_from(("success", "error", "pending")), ordered=False),
    _compared(("run_type",), st.sampled_from(("llm", "chain")), ordered=True),
    _compared(("latency",), seconds, ordered=True),
    _compared(("start_time", "end_time"), seconds, ordered=True),
    _compared(("total_tokens", "prompt_tokens", "completion_tokens"), st.sampled_from((0, 3, 10, 2.5)), ordered=True),
    _compared(("total_cost",), st.sampled_from((0.5, 0.75, 0)), ordered=True),
    _compared(("execution_order",), st.sampled_from((1, 2)), ordered=True),
    _compared(("is_root",), st.booleans(), ordered=False),
    _nullable(("parent_run_id", "error", "end_time", "latency", "total_tokens", "total_cost", "thread_id", "outputs")),
    st.tuples(st.just("like"), st.sampled_from(("name", "run_type", "error")), likes),
    st.tuples(st.just("has"), st.just("tags"), st.sampled_from((*TAGS, "c"))),
    st.tuples(st.just("has"), st.sampled_from(("metadata", "inputs", "outputs")), st.one_of(metadata, documents)),
    st.tuples(st.just("exists"), st.sampled_from(("metadata", "inputs", "outputs")), st.sampled_from((*KEYS, "q"))),
    st.tuples(st.just("search"), st.sampled_from(("AGENT", "boom", "prod", "longr", "7", "ü", "content"))),
)
keys = st.sampled_from((*KEYS, "q", "messages", "messages.content", "messages.k"))
values = st.sampled_from((*VALUES, *NUMBERS, True))
pair_leaves: SearchStrategy[Filter] = st.one_of(
    _compared(("metadata_key", "input_key", "output_key"), keys, ordered=False),
    _compared(("metadata_value", "input_value", "output_value"), values, ordered=False),
    st.tuples(
        st.sampled_from(ORDERS),
        st.sampled_from(("metadata_value", "input_value")),
        st.sampled_from((*VALUES[:3], *NUMBERS)),
    ),
    st.tuples(st.just("like"), st.sampled_from(("metadata_value", "output_value", "feedback_value")), likes),
    _compared(("feedback_key",), st.sampled_from("fgh"), ordered=False),
    _compared(("feedback_score",), st.sampled_from((0, 0.25, 1)), ordered=True),
    _compared(("feedback_value",), st.sampled_from(("v", 7)), ordered=False),
)
filters: SearchStrategy[Filter] = st.recursive(
    st.one_of(leaves, pair_leaves),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(("and", "or")), st.lists(inner, min_size=1, max_size=3)),
        st.tuples(st.just("and"), st.lists(pair_leaves, min_size=1, max_size=4)),
        st.tuples(st.just("not"), inner),
    ),
    max_leaves=6,
)


def text_of(filter_: Filter) -> str:
    """The filter as a client writes it."""
    match filter_:
        case ("and" | "or" as logic, list(parts)):
            return f"{logic}({', '.join(map(text_of, parts))})"
        case ("not", part):
            return f"not({text_of(part)})"
        case ("search", word):
            return f"search({literal(word)})"
        case ("has", document, part) if document != "tags":
            return f"has({document}, {literal(json.dumps(part))})"
        case (operator, name, value):
            is_time = name in ("start_time", "end_time")
            said = [moment(one) if is_time and one is not None else one for one in _several(value)]
            return f"{operator}({name}, {literal(said if isinstance(value, list) else said[0])})"
    raise AssertionError(filter_)


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def literal(value: Any) -> str:
    match value:
        case list():
            return f"[{', '.join(map(literal, value))}]"
        case None | bool():
            return json.dumps(value)
        case int() | float() | Decimal():
            return str(value)
        case _:
            return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
