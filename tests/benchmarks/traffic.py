"""Runs like those of an agent with a model, tools and a retriever, and the requests that carry them.

A run is 5.8 KB of JSON, its POST and its PATCH together; ten of them are a trace. The same seed makes the same runs.
"""

import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, Literal, NamedTuple

import orjson
import zstandard

Operation = Literal["post", "patch"]
Shape = Literal["multipart", "batch", "zstd"]
Document = dict[str, Any]

SHAPES: Final[tuple[Shape, ...]] = ("multipart", "batch", "zstd")
RUNS_PER_TRACE: Final = 10
PROJECTS: Final = ("support-agent", "research", "checkout")
_BOUNDARY: Final = "9ac8ebcf2d17413a89f33ead9f3e4db7"
# What Python's SDK sends in parts of their own (langsmith-wire.md §3.2).
_OUT_OF_BAND: Final = ("inputs", "outputs", "events", "extra", "error", "serialized")
_KINDS: Final = ("chain", "llm", "tool", "retriever", "llm", "tool", "parser", "llm", "tool", "prompt")
_NAMES: Final = {
    "chain": "AgentExecutor",
    "llm": "ChatOpenAI",
    "tool": "search_orders",
    "retriever": "VectorStoreRetriever",
    "parser": "JsonOutputParser",
    "prompt": "ChatPromptTemplate",
}
_SYLLABLES: Final = [
    "ka",
    "lo",
    "mi",
    "ren",
    "ta",
    "su",
    "vel",
    "or",
    "and",
    "pre",
    "con",
    "ing",
    "ter",
    "es",
    "ion",
    "al",
    "ity",
    "der",
    "un",
    "able",
    "st",
    "ri",
    "qua",
    "no",
]
_FIRST_START: Final = datetime(2026, 11, 23, tzinfo=UTC)


class Item(NamedTuple):
    """One run write."""

    operation: Operation
    document: Document


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the client tells it: when it starts, when it ends, and both at once."""

    id: str
    post: Document
    patch: Document

    @property
    def merged(self) -> Document:
        """What an SDK sends when the run ended before its POST was sent: one POST with everything."""
        return {**self.post, **self.patch}


class Body(NamedTuple):
    """A request, ready to be sent."""

    path: str
    headers: dict[str, str]
    content: bytes


def make_runs(count: int, *, seed: int, per_trace: int = RUNS_PER_TRACE) -> Iterator[Run]:
    """So many runs, in whole traces but for the last."""
    source = random.Random(seed)
    for first in range(0, count, per_trace):
        yield from _trace(source, min(per_trace, count - first), first // per_trace)


def make_trace(size: int, *, seed: int) -> Iterator[Run]:
    """One trace of so many runs, all of them below its root."""
    yield from _trace(random.Random(seed), size, seed)


def encode(items: Sequence[Item], shape: Shape) -> Body:
    """The request that brings these items."""
    if shape == "batch":
        return _encode_batch(items)
    body = _encode_multipart(items)
    if shape == "multipart":
        return body
    content = zstandard.ZstdCompressor(level=1).compress(body.content)
    return Body(body.path, {**body.headers, "Content-Encoding": "zstd"}, content)


def multipart_body(parts: Sequence[tuple[str, str, bytes]]) -> Body:
    """The multipart request of these parts: name, media type and bytes of each."""
    pieces = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\nContent-Type: {media_type}\r\n'
        f"Content-Length: {len(data)}\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, media_type, data in parts
    ]
    content = b"".join(pieces) + f"--{_BOUNDARY}--\r\n".encode()
    return Body("/runs/multipart", {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}, content)


def run_parts(item: Item) -> Iterator[tuple[str, str, bytes]]:
    """The parts in which Python's SDK sends a run write."""
    name = f"{item.operation}.{item.document['id']}"
    main = {key: value for key, value in item.document.items() if key not in _OUT_OF_BAND}
    yield name, "application/json", orjson.dumps(main)
    for field in _OUT_OF_BAND:
        if item.document.get(field) is not None:
            yield f"{name}.{field}", "application/json", orjson.dumps(item.document[field])


def _encode_batch(items: Sequence[Item]) -> Body:
    groups = {
        operation: [item.document for item in items if item.operation == operation] for operation in ("post", "patch")
    }
    return Body("/runs/batch", {"Content-Type": "application/json"}, orjson.dumps(groups))


def _encode_multipart(items: Sequence[Item]) -> Body:
    return multipart_body([part for item in items for part in run_parts(item)])


def _trace(source: random.Random, size: int, number: int) -> Iterator[Run]:
    start = _FIRST_START + timedelta(seconds=number)
    root = _new_id(source, start)
    project = source.choice(PROJECTS)
    thread = str(uuid.UUID(int=source.getrandbits(128), version=4))
    order = _segment(start, root)
    for place in range(size):
        began = start + timedelta(milliseconds=37 * place)
        run_id = root if place == 0 else _new_id(source, began)
        place_in_trace = {
            "id": run_id,
            "trace_id": root,
            "dotted_order": order if place == 0 else f"{order}.{_segment(began, run_id)}",
            "parent_run_id": None if place == 0 else root,
        }
        kind = _KINDS[place % len(_KINDS)]
        extra = _extra(kind, thread)
        yield Run(
            run_id,
            {**place_in_trace, **_beginning(source, kind, project, began), "extra": extra},
            {**place_in_trace, **_end(source, kind, began, extra)},
        )


def _beginning(source: random.Random, kind: str, project: str, began: datetime) -> dict[str, Any]:
    return {
        "name": _NAMES[kind],
        "run_type": kind,
        "start_time": began.isoformat(),
        "session_name": project,
        "tags": ["production", f"seq:step:{source.randrange(9)}"],
        "inputs": _inputs(source, kind),
        "outputs": {},
        "events": [],
    }


def _end(source: random.Random, kind: str, began: datetime, extra: dict[str, Any]) -> dict[str, Any]:
    """As SDKs say it: with the `extra` of the POST, to which that of a model's run adds the usage."""
    ended = began + timedelta(milliseconds=source.randrange(20, 4000))
    failed = source.random() < 0.02
    outputs = None if failed else _outputs(source, kind)
    if outputs is not None and "usage_metadata" in outputs:
        extra = {**extra, "metadata": {**extra["metadata"], "usage_metadata": outputs["usage_metadata"]}}
    return {
        "end_time": ended.isoformat(),
        "outputs": outputs,
        "error": f"TimeoutError({_text(source, 30)!r})" if failed else None,
        "events": [{"name": "end", "time": ended.isoformat()}],
        "extra": extra,
    }


def _inputs(source: random.Random, kind: str) -> dict[str, Any]:
    if kind != "llm":
        return {"query": _text(source, 200), "chat_history": [_text(source, 150)]}
    return {
        "messages": [
            {"role": "system", "content": _text(source, 210)},
            {"role": "user", "content": _text(source, 150)},
        ],
        "stream": False,
    }


def _outputs(source: random.Random, kind: str) -> dict[str, Any]:
    if kind != "llm":
        return {
            "output": _text(source, 165),
            "documents": [
                {"page_content": _text(source, 75), "metadata": {"source": f"doc-{source.randrange(999)}"}}
                for _ in range(2)
            ],
        }
    prompt, completion = source.randrange(50, 3000), source.randrange(5, 900)
    usage = {"input_tokens": prompt, "output_tokens": completion, "total_tokens": prompt + completion}
    message = {"role": "assistant", "content": _text(source, 300), "usage_metadata": usage}
    return {"choices": [{"index": 0, "finish_reason": "stop", "message": message}], "usage_metadata": usage}


def _extra(kind: str, thread: str) -> dict[str, Any]:
    model = {"ls_provider": "openai", "ls_model_name": "gpt-4o-mini", "ls_model_type": "chat", "ls_temperature": 0.2}
    return {
        "metadata": {
            "thread_id": thread,
            "revision_id": "b2f1c7e-dirty",
            "ls_method": "traceable",
            **(model if kind == "llm" else {}),
        },
        "runtime": {
            "sdk": "langsmith-py",
            "sdk_version": "0.15.0",
            "library": "langsmith",
            "platform": "Linux-6.8.0-x86_64-with-glibc2.39",
            "runtime": "python",
            "py_implementation": "CPython",
            "runtime_version": "3.12.4",
            "langchain_version": "1.7.2",
            "langchain_core_version": "1.7.2",
        },
    }


@cache
def _vocabulary() -> list[str]:
    source = random.Random(0)
    return ["".join(source.choices(_SYLLABLES, k=source.randrange(1, 4))) for _ in range(4000)]


def _text(source: random.Random, words: int) -> str:
    return " ".join(source.choices(_vocabulary(), k=words))


def _new_id(source: random.Random, created: datetime) -> str:
    """A UUIDv7, as SDKs have made them for some time: ids of one moment are neighbours in every index."""
    milliseconds = int(created.timestamp() * 1000)
    return str(
        uuid.UUID(int=milliseconds << 80 | 7 << 76 | source.getrandbits(12) << 64 | 2 << 62 | source.getrandbits(62))
    )


def _segment(start: datetime, run_id: str) -> str:
    return f"{start:%Y%m%dT%H%M%S%f}Z{run_id}"
