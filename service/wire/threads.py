"""Threads and traces on the wire, in the second generation of LangSmith's API."""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, ConfigDict, Field

from events.times import parse_time
from service.wire.projects import Uuid
from service.wire.run_queries import NotOffered, RunV2
from service.wire.shape import BodyShape, Shape

_PROJECT_ID: Final = "7d0b7f7e-2d0d-5d5c-9df5-3a9c3f0a4a55"
_RUN_ID: Final = "550e8400-e29b-41d4-a716-446655440000"
_THREAD: Final[dict[str, Any]] = {
    "thread_id": "support-7",
    "count": 2,
    "num_errored_turns": 0,
    "trace_id": _RUN_ID,
    "first_trace_id": _RUN_ID,
    "last_trace_id": _RUN_ID,
    "start_time": "2024-01-15T10:40:00Z",
    "min_start_time": "2024-01-15T10:30:00Z",
    "max_start_time": "2024-01-15T10:40:00Z",
    "first_inputs": "Where is my parcel?",
    "last_outputs": "It arrives today.",
    "last_error": None,
    "latency_p50": 1.5,
    "latency_p99": 4.0,
    "total_tokens": 120,
    "total_cost": 0.02,
    "feedback_stats": None,
}
_FILTER: Final = "in LangSmith's filter language."


def _us(value: Any) -> Any:
    if value is None:
        return None
    us = parse_time(value)
    if us is None:
        raise ValueError("expected a time such as 2024-01-15T10:30:00Z")
    return us


Time = Annotated[int, BeforeValidator(_us), Field(json_schema_extra={"type": "string", "format": "date-time"})]


class _Windowed(BodyShape):
    project_id: Uuid = Field(description="The project.")
    min_start_time: Time | None = Field(default=None, description="Traces that started then or later; a day ago.")
    max_start_time: Time | None = Field(default=None, description="Traces that started before; now by default.")
    trace_filter: str | None = Field(default=None, description=f"Only traces whose root meets this, {_FILTER}")
    tree_filter: str | None = Field(default=None, description=f"Only traces with a run that meets this, {_FILTER}")


class ThreadsQuery(_Windowed):
    """Which threads are wanted. Members that are not named here are not looked at."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"project_id": _PROJECT_ID, "page_size": 20}]})

    filter: str | None = Field(default=None, description=f"The same as `trace_filter`, {_FILTER}")
    thread_filter: NotOffered = None
    ai_search: NotOffered = None
    sem_filter: NotOffered = None
    page_size: int = Field(default=20, ge=1, le=100, description="How many at most.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")


class ThreadsStatsQuery(_Windowed):
    """Which threads are to be summed up, and which sums are wanted."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"project_id": _PROJECT_ID, "select": ["THREAD_COUNT", "TOTAL_TOKENS"]}]}
    )

    select: list[str] = Field(min_length=1, description="The sums, in upper case.")
    filter: str | None = Field(default=None, description=f"The same as `trace_filter`, {_FILTER}")
    thread_filter: NotOffered = None


class ThreadBody(Shape):
    """A thread: the traces of a conversation."""

    model_config = ConfigDict(json_schema_extra={"examples": [_THREAD]})

    thread_id: str = Field(description="Its id.")
    count: int = Field(description="How many traces there are, its turns.")
    num_errored_turns: int = Field(description="How many of them have an error.")
    trace_id: str = Field(description="The last trace.")
    first_trace_id: str = Field(description="The first trace.")
    last_trace_id: str = Field(description="The last trace.")
    start_time: str = Field(description="When the last trace started (UTC).")
    min_start_time: str = Field(description="When the first trace started (UTC).")
    max_start_time: str = Field(description="When the last trace started (UTC).")
    first_inputs: str | None = Field(description="The first inputs, their beginning.")
    last_outputs: str | None = Field(description="The last outputs, their beginning.")
    last_error: str | None = Field(description="The error of the last trace, its beginning.")
    latency_p50: float | None = Field(description="The median latency in seconds.")
    latency_p99: float | None = Field(description="What 99 % stay within, in seconds.")
    total_tokens: int = Field(description="The tokens of its traces.")
    total_cost: float | None = Field(description="Their cost in US dollars; null when unknown.")
    feedback_stats: dict[str, Any] | None = Field(description="The feedback on their roots, by its key.")


class ThreadPage(Shape):
    """A page of threads."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_THREAD], "next_cursor": None}]})

    items: list[ThreadBody] = Field(description="The threads.")
    next_cursor: str | None = Field(description="The `cursor` of the next page; null after the last thread.")


class ThreadTraceBody(Shape):
    """A trace of a thread, with the fields that were selected."""

    model_config = ConfigDict(extra="allow")

    trace_id: str = Field(description="The trace.")


class ThreadTracePage(Shape):
    """A page of the traces of a thread."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"items": [{"trace_id": _RUN_ID, "turn_number": 1}], "next_cursor": None}]}
    )

    items: list[ThreadTraceBody] = Field(description="The traces.")
    next_cursor: str | None = Field(description="The `cursor` of the next page; null after the last trace.")


class _Sums(Shape):
    prompt_tokens: int | None = Field(default=None, description="Tokens of inputs.")
    completion_tokens: int | None = Field(default=None, description="Tokens of outputs.")
    total_tokens: int | None = Field(default=None, description="Tokens in all.")
    prompt_cost: float | None = Field(default=None, description="Cost of inputs in US dollars.")
    completion_cost: float | None = Field(default=None, description="Cost of outputs in US dollars.")
    total_cost: float | None = Field(default=None, description="Cost in all in US dollars.")
    error_rate: float | None = Field(default=None, description="The part of the traces that have an error.")
    streaming_rate: float | None = Field(default=None, description="The part of the traces that streamed tokens.")
    median_tokens: int | None = Field(default=None, description="The median of a trace's tokens.")
    latency_p50_seconds: float | None = Field(default=None, description="The median latency in seconds.")
    latency_p99_seconds: float | None = Field(default=None, description="What 99 % stay within, in seconds.")
    first_token_p50_seconds: float | None = Field(default=None, description="The median time to the first token.")
    first_token_p99_seconds: float | None = Field(default=None, description="What 99 % stay within, in seconds.")
    feedback_stats: dict[str, Any] | None = Field(default=None, description="The feedback on roots, by its key.")


class ThreadsStats(_Sums):
    """Threads summed up. What was not selected is null."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"thread_count": 12, "total_tokens": 4821}]})

    thread_count: int | None = Field(default=None, description="How many threads there are.")
    trace_count: int | None = Field(default=None, description="How many traces they have.")


class ThreadStatsBody(_Sums):
    """A thread summed up. What was not selected is null."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"turns": 2, "total_tokens": 120}]})

    turns: int | None = Field(default=None, description="How many traces there are.")
    first_start_time: str | None = Field(default=None, description="When the first started (UTC).")
    last_start_time: str | None = Field(default=None, description="When the last started (UTC).")
    last_end_time: str | None = Field(default=None, description="When the last of them to end ended (UTC).")


class TracesQuery(_Windowed):
    """Which traces are wanted. Members that are not named here are not looked at."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"project_id": _PROJECT_ID, "selects": ["ID", "NAME", "TOTAL_TOKENS"]}]}
    )

    trace_ids: list[Uuid] | None = Field(default=None, description="Only these traces, whenever they started.")
    ai_search: NotOffered = None
    sem_filter: NotOffered = None
    min_feedback_modified_at: NotOffered = None
    max_feedback_modified_at: NotOffered = None
    selects: list[str] | None = Field(default=None, description="The fields, in upper case; only the id by default.")
    page_size: int = Field(default=20, ge=1, le=100, description="How many at most.")
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")


class TraceBody(Shape):
    """A trace: its root, and what its runs sum up to."""

    root_run: RunV2 = Field(description="The root, with the fields that were selected.")
    trace_aggregates: dict[str, Any] | None = Field(
        default=None, description="Of the whole trace: `total_tokens`, `total_cost` and `first_token_time`."
    )


class TracePage(Shape):
    """A page of traces."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"items": [{"root_run": {"id": _RUN_ID}}], "next_cursor": None}]}
    )

    items: list[TraceBody] = Field(description="The traces.")
    next_cursor: str | None = Field(description="The `cursor` of the next page; null after the last trace.")


class TraceRuns(Shape):
    """The runs of a trace."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [{"id": _RUN_ID}]}]})

    items: list[RunV2] = Field(description="The runs, with the fields that were selected.")
