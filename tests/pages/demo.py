"""Traces as they come from agents at work: what the screenshots show, and what some tests look at.

All goes through the API, as an SDK would send it. The same seed makes the same traces; their times count back from now.
"""

import random
import struct
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx
import orjson

from tests.benchmarks.traffic import Body, multipart_body

Document = dict[str, Any]

_BATCH_RUNS: Final = 200

TRACEBACK: Final = """HTTPStatusError("Server error '503 Service Unavailable' for url 'https://crm.example/v2/accounts/8812'")

Traceback (most recent call last):
  File "/srv/agent/.venv/lib/python3.12/site-packages/langgraph/_internal/_runnable.py", line 656, in invoke
    input = context.run(step.invoke, input, config, **kwargs)
  File "/srv/agent/tools/crm.py", line 41, in lookup_account
    answer = self.client.get(f"/v2/accounts/{account_id}")
  File "/srv/agent/tools/crm.py", line 27, in get
    response.raise_for_status()
  File "/srv/agent/.venv/lib/python3.12/site-packages/httpx/_models.py", line 829, in raise_for_status
    raise HTTPStatusError(message, request=request, response=self)
httpx.HTTPStatusError: Server error '503 Service Unavailable' for url 'https://crm.example/v2/accounts/8812'"""

ANSWER: Final = """Here is how the three plans compare for a team of **40 people**:

| Plan | Seats | Price a month | SSO |
|---|---|---|---|
| Starter | 10 | $290 | no |
| Team | 50 | $890 | yes |
| Business | 250 | $2,400 | yes |

1. *Team* covers all 40 seats and includes SSO.
2. *Business* adds audit logs, which your security review asked for.

To switch, run:

```sh
acme billing change-plan --to team --at next-period
```

See the [pricing page](https://acme.example/pricing) for the small print."""

DOCUMENTS: Final = (
    (
        "Plans are billed per month. A plan can be changed at any time; the difference is settled pro rata.",
        "billing.md",
    ),
    ("Single sign-on (SAML, OIDC) is part of the Team and Business plans and is set up under Settings.", "sso.md"),
    ("Audit logs are kept for 400 days on Business and can be exported as JSON lines.", "audit-logs.md"),
    ("Seats that are not used for 30 days can be released by an administrator.", "seats.md"),
)

_CHART_QUESTION: Final = [{"type": "text", "text": "What does the attached chart say?"}]
_CHART_ANSWER: Final = "Sales **rose every month** from January to August."
_ACCOUNT: Final = '{"plan": "starter", "seats": 38, "sso": false}'
_RATE_LIMIT: Final = (
    "RateLimitError: 429 {'type': 'rate_limit_error', 'message': 'Number of request tokens has exceeded your "
    "per-minute limit'}"
)

QUESTIONS: Final = (
    "Which plan fits a team of 40 that needs SSO?",
    "Why was my card charged twice in November?",
    "Summarise what changed in the EU AI Act since June.",
    "Find flights from Lisbon to Oslo under 200 euros.",
    "What is our refund policy for annual plans?",
    "Draft a reply to ticket 88121 about the failed export.",
    "Compare the latency of our two retrievers.",
    "Is account 8812 allowed to use the beta?",
)


@dataclass
class Told:
    """A run and the runs below it, as they will be sent."""

    name: str
    run_type: str
    start: datetime
    members: Document = field(default_factory=dict)
    end: datetime | None = None
    children: list["Told"] = field(default_factory=list)
    id: str = ""

    def child(self, name: str, run_type: str, *, after_ms: float, took_ms: float | None, **members: Any) -> "Told":
        """A run below this one: so long after its start, for so long (None: it goes on)."""
        start = self.start + timedelta(milliseconds=after_ms)
        told = Told(name, run_type, start, members)
        told.end = None if took_ms is None else start + timedelta(milliseconds=took_ms)
        self.children.append(told)
        return told

    def lasting(self, ms: float | None) -> "Told":
        self.end = None if ms is None else self.start + timedelta(milliseconds=ms)
        return self


class Teller:
    """Makes traces from one source of chance."""

    def __init__(self, seed: int, now: datetime | None = None) -> None:
        self.now = now or datetime.now(UTC)
        self._chance = random.Random(seed)

    def trace(self, name: str, ago: timedelta, **members: Any) -> Told:
        return Told(name, "chain", self.now - ago, members)

    def support(self, ago: timedelta, *, fails: bool = False, goes_on: bool = False) -> Told:
        """A LangGraph agent that looks something up and answers."""
        question = self._chance.choice(QUESTIONS)
        pace = self._chance.uniform(0.6, 2.2)
        root = self.trace(
            "support-agent",
            ago,
            session_name="customer-support",
            inputs={"messages": [{"type": "human", "content": question, "id": str(uuid.uuid4())}]},
            tags=["production", "v2.4"],
            extra={
                "metadata": {"thread_id": f"thread-{self._chance.randrange(40)}", "customer": "acme", "region": "eu"}
            },
        )
        call = {"name": "lookup_account", "args": {"account_id": 8812, "fields": ["plan", "seats"]}, "id": "call_9f2c"}
        agent = root.child("agent", "chain", after_ms=4, took_ms=1310 * pace, **_state(question))
        agent.child("ChatPromptTemplate", "prompt", after_ms=3, took_ms=1.4)
        self._model(agent, question, 12, 1280 * pace, tool_call=call)
        if goes_on:
            tools = root.child("tools", "chain", after_ms=1330 * pace, took_ms=None)
            tools.child("lookup_account", "tool", after_ms=3, took_ms=None, inputs=call["args"])
            return root
        failure = {"error": TRACEBACK} if fails else {"outputs": {"output": _ACCOUNT}}
        root.child("should_continue", "chain", after_ms=1322 * pace, took_ms=0.4, outputs={"output": "tools"})
        tools = root.child(
            "tools", "chain", after_ms=1330 * pace, took_ms=640 * pace, **({"error": TRACEBACK} if fails else {})
        )
        tools.child("lookup_account", "tool", after_ms=3, took_ms=630 * pace, inputs=call["args"], **failure)
        if fails:
            root.members["error"] = TRACEBACK
            return root.lasting(1975 * pace)
        last = root.child("agent", "chain", after_ms=1990 * pace, took_ms=2420 * pace, **_state(question))
        last.child("ChatPromptTemplate", "prompt", after_ms=3, took_ms=1.2)
        self._model(last, question, 14, 2390 * pace, answer=ANSWER, seen=call)
        root.members["outputs"] = {"messages": [_human(question), {"type": "ai", "content": ANSWER}]}
        return root.lasting(4430 * pace)

    def research(self, ago: timedelta, *, fails: bool = False) -> Told:
        """A chain that retrieves documents and asks a model of Anthropic's."""
        question = self._chance.choice(QUESTIONS)
        pace = self._chance.uniform(0.5, 3.0)
        root = self.trace("answer_with_sources", ago, session_name="research", inputs={"question": question})
        found = [
            {"page_content": text, "metadata": {"source": source, "score": round(self._chance.uniform(0.6, 0.95), 3)}}
            for text, source in DOCUMENTS
        ]
        rag = root.child("RunnableParallel", "chain", after_ms=2, took_ms=402 * pace)
        hit = rag.child(
            "HybridRetriever",
            "retriever",
            after_ms=1,
            took_ms=398 * pace,
            inputs={"query": question},
            outputs={"documents": found},
        )
        hit.child("embed_query", "embedding", after_ms=2, took_ms=120 * pace)
        hit.child(
            "rerank",
            "tool",
            after_ms=260 * pace,
            took_ms=120 * pace,
            inputs={"top_k": 4},
            outputs={"output": [3, 1, 0, 2]},
        )
        root.child("rag_prompt", "prompt", after_ms=408 * pace, took_ms=0.9)
        blocks = [
            {"type": "thinking", "thinking": "The sources agree on plans. I only need the table."},
            {"type": "text", "text": ANSWER},
        ]
        usage = _usage(self._chance.randrange(2200, 5200), self._chance.randrange(180, 620), 3e-6, 15e-6)
        error = {"error": _RATE_LIMIT}
        ends = error if fails else {"outputs": {"role": "assistant", "content": blocks, "usage_metadata": usage}}
        root.child(
            "ChatAnthropic",
            "llm",
            after_ms=412 * pace,
            took_ms=(310 if fails else 3120) * pace,
            inputs={
                "messages": [
                    {"role": "system", "content": "Answer from the sources only."},
                    {"role": "user", "content": question},
                ]
            },
            events=[] if fails else self._tokens(root.start, 412 * pace, 620 * pace, 3000 * pace),
            extra={"metadata": {"ls_provider": "anthropic", "ls_model_name": "claude-sonnet-4-5"}},
            **ends,
        )
        if fails:
            root.members |= error
            return root.lasting(730 * pace)
        root.child("StrOutputParser", "parser", after_ms=3536 * pace, took_ms=0.6, outputs={"output": ANSWER})
        root.members["outputs"] = {"answer": ANSWER, "sources": [source for _, source in DOCUMENTS]}
        return root.lasting(3540 * pace)

    def evaluation(self, ago: timedelta, cases: int) -> Told:
        """A long trace: many cases, one after the other in four lanes."""
        root = self.trace(
            "nightly-eval",
            ago,
            session_name="evals",
            inputs={"dataset": "support-golden", "cases": cases},
            tags=["nightly"],
        )
        lanes = [4.0] * 4
        for number in range(cases):
            lane = number % 4
            took = self._chance.uniform(300, 2600)
            fails = self._chance.random() < 0.03
            broken = (
                {"error": "AssertionError: expected an answer that cites sso.md"}
                if fails
                else {"outputs": {"passed": True}}
            )
            case = root.child(f"case {number + 1}", "chain", after_ms=lanes[lane], took_ms=took, **broken)
            self._model(case, QUESTIONS[number % len(QUESTIONS)], 3, took * 0.7, answer="The Team plan.")
            case.child("judge", "tool", after_ms=took * 0.72, took_ms=took * 0.26, **broken)
            lanes[lane] += took + 15
        root.members["outputs"] = {"passed": cases - 3, "failed": 3}
        return root.lasting(max(lanes))

    def _model(
        self,
        parent: Told,
        question: str,
        after_ms: float,
        took_ms: float,
        *,
        answer: str = "",
        tool_call: Document | None = None,
        seen: Document | None = None,
    ) -> None:
        usage = _usage(self._chance.randrange(700, 2600), self._chance.randrange(40, 480), 2.5e-6, 10e-6)
        said = [
            _serialized(
                "SystemMessage", content="You are the support agent of Acme. Look accounts up before you answer."
            ),
            _serialized("HumanMessage", content=question),
        ]
        if seen:
            said += [
                _serialized("AIMessage", content="", tool_calls=[seen]),
                _serialized(
                    "ToolMessage",
                    content=_ACCOUNT,
                    name=seen["name"],
                    tool_call_id=seen["id"],
                ),
            ]
        message = _serialized(
            "AIMessage", content=answer, tool_calls=[tool_call] if tool_call else [], usage_metadata=usage
        )
        parent.child(
            "ChatOpenAI",
            "llm",
            after_ms=after_ms,
            took_ms=took_ms,
            inputs={"messages": [said]},
            outputs={"generations": [[{"text": answer, "message": message}]]},
            events=self._tokens(parent.start, after_ms, took_ms * 0.28, took_ms),
            extra={
                "metadata": {"ls_provider": "openai", "ls_model_name": "gpt-5-mini", "ls_temperature": 0.2},
                "invocation_params": {"model": "gpt-5-mini"},
            },
        )

    def _tokens(self, start: datetime, after_ms: float, first_ms: float, last_ms: float) -> list[Document]:
        times = [after_ms + first_ms + (last_ms - first_ms) * n / 40 for n in range(40)]
        tokens = [
            {"name": "new_token", "time": _text(start + timedelta(milliseconds=ms)), "kwargs": {"token": "…"}}
            for ms in times
        ]
        return [{"name": "start", "time": _text(start + timedelta(milliseconds=after_ms))}, *tokens]


def fill(client: httpx.Client, *, traces: int = 240, seed: int = 7) -> dict[str, str]:
    """Send a week of traces; the ids of those that are worth a look, by what they show."""
    teller = Teller(seed)
    chance = random.Random(seed)
    told = [_one_of_many(teller, chance, number, traces) for number in range(traces)]
    shown = {
        "failing": teller.support(timedelta(minutes=3), fails=True),
        "answered": teller.support(timedelta(minutes=5)),
        "sources": teller.research(timedelta(minutes=9)),
        "running": teller.support(timedelta(seconds=14), goes_on=True),
        "long": teller.evaluation(timedelta(minutes=40), 130),
    }
    send(client, [*told, *shown.values()])
    _orphans(client, teller)
    _corrected(client, shown["answered"])
    _feedback(client, shown["answered"])
    _with_chart(client, teller)
    client.post("/api/v1/runs/batch", json={"post": [{"id": str(uuid.uuid4()), "name": "no type and no start"}]})
    return {name: trace.id for name, trace in shown.items()}


def send(client: httpx.Client, traces: Sequence[Told]) -> None:
    """Send traces; what has not ended is sent without an end."""
    runs = [run for trace in traces for run in documents(trace)]
    for first in range(0, len(runs), _BATCH_RUNS):
        batch(client, post=runs[first : first + _BATCH_RUNS])


def batch(client: httpx.Client, **items: list[Document]) -> None:
    """Send run writes, every one of which must be usable."""
    answer = client.post("/api/v1/runs/batch", content=orjson.dumps(items))
    answer.raise_for_status()
    assert answer.json()["errors"] == [], answer.text


def documents(trace: Told) -> Iterator[Document]:
    """The runs of a trace as an SDK sends them: with ids, the trace, and their place in it."""
    waiting: list[tuple[Told, Told | None, str]] = [(trace, None, "")]
    while waiting:
        told, parent, above = waiting.pop()
        told.id = told.id or str(uuid.uuid4())
        order = f"{above}{told.start:%Y%m%dT%H%M%S%fZ}{told.id}"
        yield {
            "id": told.id,
            "trace_id": trace.id,
            "parent_run_id": parent.id if parent else None,
            "dotted_order": order,
            "name": told.name,
            "run_type": told.run_type,
            "start_time": _text(told.start),
            "end_time": None if told.end is None else _text(told.end),
            "session_name": trace.members.get("session_name"),
            **({} if told.end is None or "error" in told.members else {"outputs": {"output": None}}),
            **told.members,
        }
        waiting.extend((child, told, f"{order}.") for child in reversed(told.children))


def with_attachment(run: Document, name: str, media_type: str, data: bytes) -> Body:
    """The request that brings a run and a file attached to it, as SDKs send them."""
    parts = [
        (f"post.{run['id']}", "application/json", orjson.dumps(run)),
        (f"attachment.{run['id']}.{name}", media_type, data),
    ]
    return multipart_body(parts)


def chart() -> bytes:
    """A small PNG: bars of rising height."""
    width, height = 240, 120
    rows = []
    for y in range(height):
        row = bytearray(b"\0")
        for x in range(width):
            bar, inside = divmod(x, 30)
            is_bar = inside > 7 and height - y < 14 + bar * 13
            row += bytes((91, 102, 232) if is_bar else (247, 247, 245))
        rows.append(bytes(row))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows), 9)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


def _one_of_many(teller: Teller, chance: random.Random, number: int, count: int) -> Told:
    # More by day than by night, as people are awake.
    ago = timedelta(hours=168 * (number + chance.random()) / count)
    hour = (teller.now - ago).hour
    if chance.random() < (0.5 if hour < 7 else 0.1):
        ago = timedelta(hours=max(0.3, ago.total_seconds() / 3600 - 8))
    kind = chance.random()
    if kind < 0.55:
        return teller.support(ago, fails=chance.random() < 0.07)
    if kind < 0.93:
        return teller.research(ago, fails=chance.random() < 0.05)
    return teller.evaluation(ago, 6)


def _orphans(client: httpx.Client, teller: Teller) -> None:
    """Runs whose root never came."""
    start = teller.now - timedelta(minutes=22)
    root, middle = str(uuid.uuid4()), str(uuid.uuid4())
    for number in range(3):
        run = {
            "id": str(uuid.uuid4()),
            "trace_id": root,
            "parent_run_id": middle if number else root,
            "name": f"import_page {number + 1}",
            "run_type": "tool",
            "start_time": _text(start + timedelta(seconds=number)),
            "end_time": _text(start + timedelta(seconds=number + 1)),
            "session_name": "imports",
            "inputs": {"page": number + 1},
            "outputs": {"rows": 500},
        }
        batch(client, post=[run])


def _corrected(client: httpx.Client, trace: Told) -> None:
    """Patches that come later: a score, a correction."""
    patches: list[Document] = [
        {"extra": {"metadata": {"reviewed_by": "dana"}}},
        {
            "outputs": {"messages": [{"type": "ai", "content": ANSWER.replace("40 people", "38 people")}]},
            "tags": ["production", "v2.4", "corrected"],
        },
    ]
    for members in patches:
        batch(
            client,
            patch=[
                {
                    "id": trace.id,
                    "trace_id": trace.id,
                    "dotted_order": next(documents(trace))["dotted_order"],
                    **members,
                }
            ],
        )


def _feedback(client: httpx.Client, trace: Told) -> None:
    for key, score, comment in (
        ("helpfulness", 0.9, "Named the right plan at once."),
        ("cites_sources", 0, "No link to the SSO page."),
    ):
        body = {
            "id": str(uuid.uuid4()),
            "run_id": trace.id,
            "trace_id": trace.id,
            "key": key,
            "score": score,
            "comment": comment,
            "feedback_source": {"type": "api"},
        }
        client.post("/api/v1/feedback", json=body).raise_for_status()


def _with_chart(client: httpx.Client, teller: Teller) -> None:
    """A run with an image attached, as SDKs send one."""
    trace = teller.trace(
        "describe_chart",
        timedelta(minutes=12),
        session_name="research",
        inputs={"messages": [{"role": "user", "content": _CHART_QUESTION}]},
        outputs={"choices": [{"message": {"role": "assistant", "content": _CHART_ANSWER}}]},
    ).lasting(1840)
    (run,) = documents(trace)
    sent = with_attachment(run, "chart.png", "image/png", chart())
    client.post(f"/api/v1{sent.path}", content=sent.content, headers=sent.headers).raise_for_status()


def _state(question: str) -> Document:
    return {"inputs": {"messages": [_human(question)], "remaining_steps": 24}}


def _human(question: str) -> Document:
    return {"type": "human", "content": question}


def _serialized(kind: str, /, **members: Any) -> Document:
    """A message as LangChain's tracer writes it."""
    return {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "messages", kind], "kwargs": members}


def _usage(prompt: int, completion: int, prompt_price: float, completion_price: float) -> Document:
    costs = {"input_cost": round(prompt * prompt_price, 8), "output_cost": round(completion * completion_price, 8)}
    return {
        "input_tokens": prompt,
        "output_tokens": completion,
        "total_tokens": prompt + completion,
        **costs,
        "total_cost": round(sum(costs.values()), 8),
    }


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
