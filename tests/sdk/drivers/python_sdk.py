"""Traces what users of the Python SDK trace, through its public names only; prints what should be stored."""

import asyncio
import dataclasses
import datetime
import os
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import langsmith
from expectations import VERSION, Expectations, statuses  # type: ignore[import-not-found]  # It lies beside.
from langsmith import Client, RunTree
from langsmith.run_helpers import trace, tracing_context
from langsmith.schemas import Attachment

PROJECT = os.environ["LANGSMITH_PROJECT"]
THREAD = "thread-café-1"
GREETING = "Grüße 👋🏽, مرحبا بالعالم, 你好世界"

client = Client()
expectations = Expectations(client)


def traced(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    decorator: Callable[[Callable[..., Any]], Callable[..., Any]]
    decorator = langsmith.traceable(client=client, **options)
    return decorator


# Nested runs: an agent that retrieves, calls a model with token usage, and a tool.


@traced(run_type="retriever", tags=["lookup"])
def retrieve(question: str) -> list[dict[str, Any]]:
    expectations.keep()
    return [{"page_content": f"About {question}", "type": "Document", "metadata": {"rank": 1, "score": 0.25}}]


@traced(run_type="llm", name="ChatModel", metadata={"ls_provider": "openai", "ls_model_name": "gpt-test"})
def chat(messages: list[dict[str, str]]) -> dict[str, Any]:
    expectations.keep()
    return {
        "choices": [{"message": {"role": "assistant", "content": GREETING}}],
        "usage_metadata": {
            "input_tokens": 27,
            "output_tokens": 13,
            "total_tokens": 40,
            "input_token_details": {"cache_read": 10},
            "input_cost": 0.0027,
            "output_cost": 0.0026,
            "total_cost": 0.0053,
        },
    }


@traced(run_type="tool")
def multiply(a: int, b: int) -> int:
    expectations.keep()
    return a * b


@traced(name="agent", tags=["décor", "agent"], metadata={"version": "1.2", "nested": [1, {"deep": None}]})
def agent(question: str, *, limit: int = 3) -> dict[str, Any]:
    expectations.keep()
    documents = retrieve(question)
    answer = chat([{"role": "user", "content": question}, {"role": "system", "content": str(len(documents))}])
    return {"answer": answer["choices"][0]["message"]["content"], "product": multiply(6, 7), "limit": limit}


def nested() -> None:
    agent(GREETING, langsmith_extra={"tags": ["call"], "metadata": {"session_id": THREAD, "turn": 1}})
    agent("again", limit=1, langsmith_extra={"metadata": {"thread_id": THREAD, "turn": 2}})


# Asynchronous runs, with children that run at the same time.


@traced(run_type="tool")
async def fetch(number: int) -> dict[str, int]:
    expectations.keep()
    await asyncio.sleep(0.002 * (5 - number))
    return {"number": number}


@traced(name="gather", tags=["async"])
async def gather(numbers: list[int]) -> list[dict[str, int]]:
    expectations.keep()
    return list(await asyncio.gather(*(fetch(number) for number in numbers)))


@traced(run_type="llm", name="stream_async", reduce_fn=lambda chunks: {"text": "".join(chunks)})
async def stream_async(prompt: str) -> AsyncIterator[str]:
    expectations.keep()
    for word in prompt.split(" "):
        await asyncio.sleep(0)
        yield word + " "


@traced(name="reader_of_streams")
async def read_streams() -> str:
    expectations.keep()
    return "".join([chunk async for chunk in stream_async(GREETING)])


async def asynchronous() -> None:
    await gather([0, 1, 2, 3, 4])
    await asyncio.gather(read_streams(), read_streams())


# Streaming generators.


@traced(name="stream")
def stream(count: int) -> Iterator[dict[str, Any]]:
    expectations.keep()
    for number in range(count):
        yield {"chunk": number, "text": "é" * number}


@traced(name="stream_that_fails")
def stream_that_fails() -> Iterator[int]:
    expectations.keep()
    yield 1
    raise RuntimeError("the stream broke off")


def streaming() -> None:
    list(stream(4))
    try:
        list(stream_that_fails())
    except RuntimeError:
        return
    raise AssertionError("The failing stream did not fail.")


# Failing runs.


class OutOfStock(Exception):
    pass


@traced(run_type="tool")
def fail(item: str) -> NoReturn:
    expectations.keep()
    raise OutOfStock(f"no {item} left: 品切れ")


@traced(name="parent_that_fails")
def fail_above(item: str) -> None:
    expectations.keep()
    fail(item)


@traced(name="parent_that_recovers")
def recover(item: str) -> dict[str, Any]:
    expectations.keep()
    try:
        fail(item)
    except OutOfStock as error:
        return {"recovered": True, "because": str(error)}
    raise AssertionError("The failing run did not fail.")


def failing() -> None:
    recover("tea")
    try:
        fail_above("rice")
    except OutOfStock:
        return
    raise AssertionError("The failing run did not fail.")


# Many traces at once, from threads.


@traced(run_type="tool")
def step(worker: int, number: int) -> dict[str, int]:
    expectations.keep()
    return {"worker": worker, "number": number}


@traced(name="worker", tags=["concurrent"])
def work(worker: int) -> dict[str, Any]:
    expectations.keep()
    return {"steps": [step(worker, number) for number in range(2)]}


def concurrent() -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(24)))


# Shapes of values: large, empty, bare, and of Python's own types.


@dataclasses.dataclass
class Address:
    street: str
    number: int


@traced()
def give_nothing() -> None:
    expectations.keep()


@traced()
def give_scalar(value: Any) -> Any:
    expectations.keep()
    return value


@traced(name="python values")
def take_python_values(**values: Any) -> dict[str, Any]:
    expectations.keep()
    return {"when": values["when"], "ids": [values["id"]]}


@traced(name="big")
def take_much(text: str) -> dict[str, Any]:
    expectations.keep()
    return {"length": len(text), "rows": [{"row": row, "text": "0123456789" * 10} for row in range(500)]}


def values() -> None:
    give_nothing()
    bare: list[Any] = [
        7,
        2.5,
        True,
        "plain",
        "",
        [1, "two", None, [3]],
        {},
        {"empty": {}, "none": None},
        2**53,
    ]
    for value in bare:
        give_scalar(value)
    take_python_values(
        when=datetime.datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=datetime.UTC),
        id=uuid.UUID("0f0e0d0c-0b0a-4908-8706-050403020100"),
        address=Address("Главная улица", 3),
        tags={"only"},
        data=b"\x00\xff raw",
    )
    take_much("ж0123456" * 120_000)


# Attachments, as bytes and as a file.


@traced(name="attached")
def attach(question: str, picture: Attachment) -> str:
    expectations.keep()
    return f"{question}: {len(picture.data)} bytes"


@traced(name="attached file", **({"dangerously_allow_filesystem": True} if VERSION >= (0, 3) else {}))
def attach_file(table: Attachment) -> str:
    expectations.keep()
    return "read"


def attachments() -> None:
    attach("what is this", Attachment(mime_type="image/png", data=bytes(range(256)) * 40))
    if VERSION >= (0, 3):
        path = Path("table.csv").resolve()
        path.write_bytes("a,b\r\n1,é\r\n".encode())
        attach_file(Attachment(mime_type="text/csv", data=path))
    tree = RunTree(
        name="attached by hand",
        inputs={"n": 1},
        project_name=PROJECT,
        client=client,
        attachments={"audio": ("audio/wav", b"RIFF\x00\x00--boundary\r\n\r\n"), "empty": ("text/plain", b"")},
    )
    tree.post()
    tree.end(outputs={"n": 2})
    tree.patch()
    expectations.keep(tree)


# Run trees by hand: a finished one with children, one that never ends, one from another process.


def run_trees() -> None:
    root = RunTree(
        name="by hand",
        run_type="chain",
        inputs={"question": GREETING},
        tags=["manual"],
        extra={"metadata": {"made": "by hand"}},
        project_name=PROJECT,
        client=client,
    )
    root.post()
    child = root.create_child(name="child by hand", run_type="tool", inputs={"x": 1}, tags=["manual-child"])
    child.post()
    child.end(error="ValueError('by hand')")
    child.patch()
    root.add_event({"name": "checkpoint", "time": "2024-01-02T03:04:05+00:00", "kwargs": {"at": 1}})
    root.end(outputs={"answer": 42})
    root.patch()
    waiting = root.create_child(name="never ends", run_type="llm", inputs={"prompt": "?"})
    waiting.post()
    for tree in (root, child, waiting):
        expectations.keep(tree)


@traced(name="caller")
def call_elsewhere() -> dict[str, str]:
    headers: dict[str, str] = expectations.keep().to_headers()
    return headers


@traced(name="callee")
def be_called() -> str:
    expectations.keep()
    return "answered"


def distributed() -> None:
    headers = call_elsewhere()
    with tracing_context(parent=headers):
        be_called()


def blocks() -> None:
    with trace("block", inputs={"a": 1}, tags=["with"], metadata={"kind": "block"}, client=client) as run:
        with trace("inner block", "tool", inputs={"b": 2}) as inner:
            inner.end(outputs={"c": 3})
            expectations.keep(inner)
        run.end(outputs={"d": None})
        expectations.keep(run)


def other_project() -> None:
    agent("elsewhere", langsmith_extra={"project_name": f"{PROJECT}-other"})


# Direct calls of the client: no trace id, no dotted order, one request each.


def direct() -> None:
    start = datetime.datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=datetime.UTC)
    parent = _direct_run("direct", start, None, outputs={"done": True})
    _direct_run("direct child", start, parent, error="TimeoutError()")
    running = _identity("direct and running", start, None)
    client.create_run(**_create_arguments(running), tags=["direct"])
    expectations.expect_run(running | {"tags": ["direct"], **statuses(error=None, ended=False)})


def _direct_run(name: str, start: datetime.datetime, parent: str | None, **ending: Any) -> str:
    run = _identity(name, start, parent)
    end = start + datetime.timedelta(seconds=2, microseconds=7)
    client.create_run(**_create_arguments(run), extra={"metadata": {"direct": True}})
    client.update_run(run["id"], end_time=end, tags=["late"], **ending)
    sent = ending | {"end_time": end.isoformat(), "tags": ["late"], "metadata": {"direct": True}}
    expectations.expect_run(run | sent | statuses(error=ending.get("error"), ended=True))
    return str(run["id"])


def _identity(name: str, start: datetime.datetime, parent: str | None) -> dict[str, Any]:
    run_id = str(uuid.uuid4())
    return {
        "id": run_id,
        "trace_id": parent or run_id,
        "parent_run_id": parent,
        "name": name,
        "run_type": "tool",
        "project": PROJECT,
        "start_time": start.isoformat(),
        "end_time": None,
        "inputs": {"text": GREETING},
        "outputs": None,
        "error": None,
    }


def _create_arguments(run: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": run["id"],
        "name": run["name"],
        "inputs": run["inputs"],
        "run_type": run["run_type"],
        "project_name": run["project"],
        "parent_run_id": run["parent_run_id"],
        "start_time": datetime.datetime.fromisoformat(run["start_time"]),
    }


# Feedback: in the background (it names its trace), directly, changed later.


@traced(name="rated")
def be_rated() -> str:
    expectations.keep()
    return "rate me"


def feedback() -> None:
    tree: list[RunTree] = []
    be_rated(langsmith_extra={"on_end": tree.append})
    run_id, trace_id = tree[0].id, tree[0].trace_id
    _give(run_id, "background", trace_id=trace_id, score=0.75, comment="très bien 👍", value="good")
    _give(run_id, "direct", score=1, correction={"output": "better"}, value={"grade": "A"})
    _give(run_id, "boolean", score=True, source_info={"judge": "human"})
    changed = _give(run_id, "changed", score=0, comment="first")
    client.update_feedback(changed["id"], score=0.5, comment="second", value="middling")
    expectations.expect_feedback(changed | {"score": 0.5, "comment": "second", "value": "middling"})


def _give(run_id: uuid.UUID, key: str, **said: Any) -> dict[str, Any]:
    given = client.create_feedback(run_id, key, **said)
    kept = {"id": str(given.id), "run_id": str(run_id), "key": key}
    kept |= {name: said[name] for name in ("score", "value", "comment", "correction") if name in said}
    if key != "changed":
        expectations.expect_feedback(kept)
    return kept


def main() -> None:
    nested()
    asyncio.run(asynchronous())
    streaming()
    failing()
    concurrent()
    values()
    attachments()
    run_trees()
    distributed()
    blocks()
    other_project()
    direct()
    feedback()
    expectations.report()


if __name__ == "__main__":
    main()
