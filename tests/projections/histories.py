"""Random histories: run writes with any subset of fields, as strategies for hypothesis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from events.jsontext import split_object
from events.kinds import Operation
from events.log import NewEvent, RecordedEvent
from service.ingest.items import PATCH, POST, Item, feedback_patched, feedback_posted
from tests.projections.stores import NOW, id_text, run_id, with_attachments

Strategy = SearchStrategy[bytes]

FEEDBACK_POST: Final = "feedback post"
FEEDBACK_PATCH: Final = "feedback patch"
IDS = range(1, 7)
NULL = st.just(b"null")
EMPTY = st.sampled_from([b"{}", b"[]", b"{ }"])


def _json(*texts: str) -> Strategy:
    return st.sampled_from([text.encode() for text in texts])


def _quoted(texts: Sequence[str]) -> list[str]:
    return [f'"{text}"' for text in texts]


ids = _json(*_quoted([id_text(number) for number in IDS]))
times = _json(
    *_quoted([f"2025-12-{day}T{hour:02d}:30:00Z" for day in (30, 31) for hour in (0, 7, 8)]),
    "1767225600000",
    '"2025-12-31T08:00:00"',
)
texts = _json('"a"', '"b"', '"Ünï"', '""')
dotted_orders = st.lists(st.sampled_from(IDS), min_size=1, max_size=3).flatmap(
    lambda numbers: st.sampled_from(["20251230T070000000000Z", "20251231T080000123456Z", "Z"]).map(
        lambda stamp: f'"{".".join(stamp + id_text(number) for number in numbers)}"'.encode()
    )
)
usages = _json(
    '{"input_tokens": 3, "output_tokens": 4}', '{"total_tokens": 9, "total_cost": 0.25}', '{"output_tokens": 1}'
)
models = _json('"gpt"', '"claude"')


def _object(members: Mapping[str, Strategy]) -> Strategy:
    return st.fixed_dictionaries({}, optional=dict(members)).map(joined)


def joined(members: Mapping[str, bytes]) -> bytes:
    """A JSON object of members that are raw JSON."""
    return b"{" + b",".join(f'"{name}":'.encode() + raw for name, raw in members.items()) + b"}"


GOOD_FIELDS: dict[str, Strategy] = {
    "name": texts,
    "run_type": _json('"chain"', '"llm"'),
    "start_time": times,
    "end_time": times,
    "parent_run_id": ids,
    "trace_id": ids,
    "dotted_order": dotted_orders,
    "session_name": _json('"one"', '"two"'),
    "project_name": _json('"one"', '"three"'),
    "session_id": ids,
    "reference_example_id": ids,
    "tags": _json('["a"]', '["b", "c"]'),
    "status": _json('"success"', '"failed"', '"pending"', '"other"'),
    "inputs": _json('{"q": 1}', '{"q": 2}', '"text"'),
    "outputs": st.one_of(
        _json('{"a": 1}', '"text"'), _object({"usage_metadata": usages, "model": models, "a": _json("1")})
    ),
    "error": _json('"boom"', '"bang"', '""'),
    "events": _json(
        '[{"name": "new_token", "time": "2025-12-31T08:00:01Z"}]',
        '[{"name": "new_token", "time": "2025-12-31T08:00:02Z"}]',
        '[{"name": "end"}]',
    ),
    "extra": _object(
        {
            "metadata": _object(
                {
                    "thread_id": texts,
                    "conversation_id": texts,
                    "session_id": _json('"s"', "7"),
                    "ls_model_name": models,
                    "ls_provider": _json('"x"', '"y"'),
                    "usage_metadata": usages,
                    "k": _json("1", "2", "null", "{}"),
                }
            ),
            "invocation_params": _object({"model": models}).filter(lambda raw: raw != b"{}"),
            "runtime": _json("1", "[]", '{"sdk": "x"}'),
        }
    ),
    "unheard_of": _json("1", "[2]"),
}
"""Values that are what they should be, by field."""

ODD_VALUES = _json(
    *(
        "7",
        "-0.5",
        "true",
        "[1]",
        '{"a": null}',
        "NaN",
        '"\\u0000x"',
        '"\\ud800"',
        "1e999",
        str(2**70),
        '"soon"',
        "[[],{}]",
    )
)


def _writes(fields: Mapping[str, Strategy], needed: Sequence[str]) -> SearchStrategy[dict[str, bytes]]:
    return st.fixed_dictionaries(
        {name: fields[name] for name in needed},
        optional={name: value for name, value in fields.items() if name not in needed},
    )


_POSTED_FILES = _json('{"a": ["text/plain", "eA=="]}', '{"a": ["image/png", "eQ=="], "b": ["text/plain", "eA=="]}')
_PATCHED_FILES = _json(
    '{"c": ["text/plain", "eA=="]}', '{"a": ["text/html", "eg=="]}', '{"a": ["text/plain", "/not/base64"]}', "[]"
)

_ODD_FIELDS = {name: st.one_of(good, good, NULL, EMPTY, ODD_VALUES) for name, good in GOOD_FIELDS.items()}
# A POST that lacks one of these, or says it with null, is no event.
_NEEDED = ("name", "run_type", "start_time")
_ODD_POSTS = {**_ODD_FIELDS, **{name: st.one_of(GOOD_FIELDS[name], ODD_VALUES) for name in _NEEDED}}
_EMPTYING = {name: st.one_of(good, NULL, EMPTY) if name not in _NEEDED else good for name, good in GOOD_FIELDS.items()}


@dataclass(frozen=True)
class Write:
    """A POST or PATCH of the run, or of the feedback, with this number."""

    operation: Operation | Literal["feedback post", "feedback patch"]
    number: int
    fields: Mapping[str, bytes]

    @property
    def raw(self) -> bytes:
        return joined({"id": f'"{id_text(self.number)}"'.encode(), **self.fields})

    @property
    def items(self) -> list[Item]:
        """The run write and its attachments, or the feedback."""
        if self.operation == FEEDBACK_POST:
            return [feedback_posted(self.raw, source=self.operation)]
        if self.operation == FEEDBACK_PATCH:
            return [feedback_patched(run_id(self.number), self.raw, source=self.operation)]
        return with_attachments(self.operation, self.raw)

    def __repr__(self) -> str:
        return f"{self.operation} {self.number} {joined(self.fields).decode()}"


_FEEDBACK_FIELDS: dict[str, Strategy] = {
    "run_id": ids,
    "trace_id": ids,
    "key": _json('"good"', '"bad"'),
    "score": _json("1", "0.5", "true", "null", "NaN"),
    "value": _json('"v"', '{"a": 1}', "null"),
    "comment": _json('"fine"', "null", '"\\u0000"'),
    "error": _json("true", "false"),
}


def feedback(numbers: SearchStrategy[int]) -> SearchStrategy[Write]:
    """Feedback given and changed."""
    posts, patches = _writes(_FEEDBACK_FIELDS, ["key"]), _writes(_FEEDBACK_FIELDS, ())
    return st.one_of(
        st.builds(Write, st.just(FEEDBACK_POST), numbers, posts),
        st.builds(Write, st.just(FEEDBACK_PATCH), numbers, patches),
    )


def writes(numbers: SearchStrategy[int], *, odd: bool) -> SearchStrategy[Write]:
    """Writes of these runs. `odd` ones may say anything; the others say good values, null, or nothing."""
    posts = _writes((_ODD_POSTS if odd else _EMPTYING) | {"attachments": _POSTED_FILES}, _NEEDED)
    patches = _writes((_ODD_FIELDS if odd else _EMPTYING) | {"attachments": _PATCHED_FILES}, ())
    return st.one_of(
        st.builds(Write, st.just(POST), numbers, posts), st.builds(Write, st.just(PATCH), numbers, patches)
    )


def placing_writes(numbers: SearchStrategy[int]) -> SearchStrategy[Write]:
    """Writes that say little but where a run belongs: its parent, its trace, its project, its start."""
    fields = {name: GOOD_FIELDS[name] for name in ("trace_id", "dotted_order", "session_name", "start_time")}
    parents = {"parent_run_id": ids}
    needed = {"name": texts, "run_type": _json('"chain"'), "start_time": times}
    # A trace that is said leaves nothing to find out, so most writes say none.
    optional = st.one_of(_object(parents), _object(parents), _object(parents | fields)).map(split_object)
    posts = st.builds(lambda told, more: told | more, st.fixed_dictionaries(needed), optional)
    return st.one_of(
        st.builds(Write, st.just(POST), numbers, posts), st.builds(Write, st.just(PATCH), numbers, optional)
    )


def recorded(history: Sequence[Write], *, after: int = 0) -> list[RecordedEvent]:
    """The writes of one run as events of its stream."""
    events = []
    for version, write in enumerate(history, after + 1):
        new = write.items[0]
        assert isinstance(new, NewEvent)
        events.append(
            RecordedEvent(version, b"r" + run_id(write.number), version, new.kind, NOW, 1, new.body, new.payload)
        )
    return events


def reordered(history: Sequence[Write], order: Sequence[int]) -> list[Write]:
    """The writes in another order, in which the posts of a run keep theirs and its patches keep theirs.

    `order` is a permutation of their places.
    """
    queues: dict[tuple[str, int], list[Write]] = {}
    for write in history:
        queues.setdefault((write.operation, write.number), []).append(write)
    return [queues[write.operation, write.number].pop(0) for write in (history[place] for place in order)]
