"""Queries of runs on the wire, in both generations of LangSmith's API."""

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from events.ids import parse_id
from events.times import LATEST_US, parse_time
from service.wire.shape import BodyShape, Shape

_EXAMPLE_ID: Final = "550e8400-e29b-41d4-a716-446655440000"
_PROJECT_ID: Final = "7d0b7f7e-2d0d-5d5c-9df5-3a9c3f0a4a55"
_RUN_ID: Final = "01a2078f-3e69-76da-ad58-65973016606d"
IDS_MAX: Final = 10_000


def _id(value: Any) -> Any:
    id_ = parse_id(value) if isinstance(value, str) else None
    if id_ is None:
        raise ValueError("expected a UUID")
    return id_


def _time(value: Any) -> Any:
    us = parse_time(value)
    if us is None:
        raise ValueError("expected a time such as 2024-01-15T10:30:00Z")
    return us


def _list(value: Any) -> Any:
    """One value stands for a list of it."""
    return [value] if isinstance(value, str) else value


def _clean(value: Any) -> Any:
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else value


_ID_SCHEMA: Final[dict[str, Any]] = {"type": "string", "format": "uuid"}
_TIME_SCHEMA: Final[dict[str, Any]] = {"type": "string", "format": "date-time"}
Id = Annotated[bytes, BeforeValidator(_id), Field(json_schema_extra=_ID_SCHEMA)]
Ids = Annotated[list[Id], BeforeValidator(_list), Field(max_length=IDS_MAX)]
Time = Annotated[int, BeforeValidator(_time), Field(le=LATEST_US, json_schema_extra=_TIME_SCHEMA)]
Text = Annotated[str, BeforeValidator(_clean)]
NotOffered = Annotated[str | None, Field(max_length=0, description="Not offered here: must be null.")]
_FILTER: Final = 'In LangSmith\'s filter language, such as `and(eq(run_type, "llm"), gt(latency, 5))`.'


class RunFilters(BodyShape):
    """Which runs. What is null, or not sent, filters nothing; members that are not named here are not looked at."""

    id: Ids | None = Field(None, description="Only these runs; nothing else is then looked at.")
    session: Ids | None = Field(None, description="Only runs in these projects.")
    trace: Id | None = Field(None, description="Only runs of this trace.")
    parent_run: Id | None = Field(None, description="Only runs right below this one.")
    run_type: Text | None = Field(None, description="Only runs of this type.")
    reference_example: Ids | None = Field(None, description="Only runs on these examples.")
    is_root: bool | None = Field(None, description="Only roots of traces, or only other runs.")
    execution_order: int | None = Field(
        None, ge=0, le=2**31, description="1: only roots of traces; no run has another."
    )
    error: bool | None = Field(None, description="Only runs with an error, or only runs without.")
    start_time: Time | None = Field(None, description="Only runs that started then or later.")
    end_time: Time | None = Field(None, description="Only runs that started then or earlier.")
    query: Text | None = Field(None, description="Only runs that hold this text, upper or lower case.")
    filter: Text | None = Field(None, description=f"About the run. {_FILTER}")
    trace_filter: Text | None = Field(None, description="The same about the root of the run's trace.")
    tree_filter: Text | None = Field(None, description="The same about any run of the run's trace.")
    search_filter: Text | None = Field(None, description="A further filter about the run.")


class RunsQuery(RunFilters):
    """A query of runs."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "session": [_PROJECT_ID],
                    "is_root": True,
                    "filter": 'and(eq(run_type, "chain"), gt(latency, 10))',
                    "select": ["id", "name", "total_tokens"],
                    "limit": 10,
                }
            ]
        }
    )

    cursor: str | None = Field(None, description="What `cursors.next` of the answer before was.")
    limit: int | None = Field(None, ge=1, description="How many at most. A page holds 100, however many are asked for.")
    select: list[str] | None = Field(
        None,
        description="The fields wanted; others are not read. Some are always there, unknown ones are left out.",
    )
    order: Literal["asc", "desc"] | None = Field(None, description="By start: newest first, unless `asc`.")
    skip_pagination: bool | None = Field(None, description="Whether to leave out the cursor.")


class RunCursors(Shape):
    """The places of a query's next and former pages."""

    next: str | None = Field(description="The `cursor` of the next page; null after the last run.")
    prev: str | None = Field(description="Always null: pages go on only.")


class QueriedRun(Shape):
    """A run with the fields that were selected."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "id": _RUN_ID,
                    "name": "support-agent",
                    "run_type": "chain",
                    "status": "success",
                    "start_time": "2026-01-15T10:30:00.000000Z",
                    "trace_id": _RUN_ID,
                    "session_id": _PROJECT_ID,
                    "parent_run_id": None,
                    "inputs": {"question": "Where is my order?"},
                    "outputs": {"answer": "On its way."},
                    "total_tokens": 321,
                    "total_cost": "0.0042",
                }
            ]
        },
    )

    id: str = Field(description="The run's id.")
    name: str = Field(description="Its name.")
    run_type: str = Field(description="chain, llm, tool, retriever, prompt, parser, or any other word.")
    status: Literal["success", "error", "pending"] = Field(description="In LangSmith's words.")
    start_time: str = Field(description="When it started (UTC).")
    trace_id: str = Field(description="The root run of its trace.")
    session_id: str = Field(description="The project that it is in.")
    parent_run_id: str | None = Field(description="The run above it.")


class RunsPage(Shape):
    """A page of runs."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "runs": [
                        {
                            "id": _EXAMPLE_ID,
                            "name": "Agent Planning",
                            "run_type": "chain",
                            "status": "success",
                            "start_time": "2024-01-15T10:30:00Z",
                            "trace_id": _EXAMPLE_ID,
                            "session_id": _PROJECT_ID,
                            "parent_run_id": None,
                        }
                    ],
                    "cursors": {"next": None, "prev": None},
                    "search_cursors": None,
                    "parsed_query": None,
                }
            ]
        }
    )

    runs: list[QueriedRun] = Field(description="The runs.")
    cursors: RunCursors = Field(description="Where to go on.")
    search_cursors: None = Field(description="Always null.")
    parsed_query: None = Field(description="Always null.")


class StatsQuery(RunFilters):
    """Which runs to sum up."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"session": [_PROJECT_ID], "is_root": True}]})


class RunStats(Shape):
    """Runs summed up. Latencies and times to the first token are in seconds, at most 1.6 % off."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "run_count": 2,
                    "latency_p50": 1.5,
                    "latency_p99": 4.0,
                    "first_token_p50": None,
                    "first_token_p99": None,
                    "total_tokens": 120,
                    "prompt_tokens": 100,
                    "completion_tokens": 20,
                    "median_tokens": 60,
                    "total_cost": "0.0012",
                    "prompt_cost": "0.001",
                    "completion_cost": "0.0002",
                    "error_rate": 0.5,
                    "streaming_rate": 0.0,
                    "last_run_start_time": "2024-01-15T10:30:00Z",
                    "feedback_stats": {},
                    "run_facets": [],
                }
            ]
        }
    )

    run_count: int = Field(description="How many runs there are.")
    latency_p50: float | None = Field(description="The median from start to end of those that ended.")
    latency_p99: float | None = Field(description="What 99 % of them stay within.")
    first_token_p50: float | None = Field(description="The median from start to the first token.")
    first_token_p99: float | None = Field(description="What 99 % of them stay within.")
    total_tokens: int = Field(description="Tokens: of roots, of their whole traces; else of the runs of models.")
    prompt_tokens: int = Field(description="Of these, those that models read.")
    completion_tokens: int = Field(description="Of these, those that models wrote.")
    median_tokens: int | None = Field(description="The median of those runs that tell of any.")
    total_cost: str | None = Field(description="Likewise in US dollars, a decimal string; null when nothing is known.")
    prompt_cost: str | None = Field(description="Of this, what was read.")
    completion_cost: str | None = Field(description="Of this, what was written.")
    error_rate: float | None = Field(description="The part with an error, from 0 to 1.")
    streaming_rate: float | None = Field(description="The part of which the first token's time is known, from 0 to 1.")
    last_run_start_time: str | None = Field(description="When the newest started (UTC).")
    feedback_stats: dict[str, Any] = Field(description="The feedback on these runs, by its key.")
    run_facets: list[Any] = Field(description="Always empty.")


class GroupsQuery(BodyShape):
    """Which conversations. Members that are not named here are not looked at."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"session_id": _PROJECT_ID, "group_by": "conversation", "limit": 10}]}
    )

    session_id: Id = Field(description="The project.")
    group_by: Literal["conversation"] = Field("conversation", description="What makes a group: its thread.")
    filter: Text | None = Field(None, description=f"About the root runs. {_FILTER}")
    start_time: Time | None = Field(None, description="Only traces that started then or later.")
    end_time: Time | None = Field(None, description="Only traces that started then or earlier.")
    limit: int = Field(10, ge=1, le=1000, description="How many at most.")
    offset: int = Field(0, ge=0, le=2**62, description="How many to skip.")


class RunGroup(Shape):
    """A conversation: the traces of one thread, summed up."""

    thread_id: str = Field(description="The thread.")
    group_key: str = Field(description="The same, as older clients know it.")
    filter: str = Field(description="A filter that finds its runs.")
    count: int = Field(description="How many traces there are.")
    total_tokens: int = Field(description="Their tokens.")
    total_cost: str | None = Field(description="Their cost in US dollars, a decimal string; null when unknown.")
    min_start_time: str = Field(description="When the first started (UTC).")
    max_start_time: str = Field(description="When the last started (UTC).")
    latency_p50: float | None = Field(description="The median latency in seconds.")
    latency_p99: float | None = Field(description="What 99 % stay within, in seconds.")
    feedback_stats: dict[str, Any] | None = Field(description="The feedback on these traces' roots, by its key.")
    first_inputs: str | None = Field(description="The first inputs, their beginning.")
    last_outputs: str | None = Field(description="The last outputs, their beginning.")
    last_error: str | None = Field(description="The last error, its beginning; null when the last trace has none.")


class RunGroups(Shape):
    """Conversations, those with the newest trace first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "groups": [
                        {
                            "thread_id": "support-7",
                            "group_key": "support-7",
                            "filter": 'eq(thread_id, "support-7")',
                            "count": 2,
                            "total_tokens": 120,
                            "total_cost": None,
                            "min_start_time": "2024-01-15T10:30:00Z",
                            "max_start_time": "2024-01-15T10:40:00Z",
                            "latency_p50": 1.5,
                            "latency_p99": 4.0,
                            "feedback_stats": None,
                            "first_inputs": "Where is my parcel?",
                            "last_outputs": "It arrives today.",
                            "last_error": None,
                        }
                    ],
                    "total": 1,
                }
            ]
        }
    )

    groups: list[RunGroup] = Field(description="The conversations.")
    total: int = Field(description="How many there are in all.")


class RunsQueryV2(BodyShape):
    """A query of runs, second generation. Members that are not named here are not looked at."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"project_ids": [_PROJECT_ID], "selects": ["ID", "NAME", "TOTAL_TOKENS"], "page_size": 10}]
        }
    )

    project_ids: Ids | None = Field(None, description="Only runs in these projects.")
    reference_dataset_id: Id | None = Field(None, description="Only runs on examples of this dataset: there are none.")
    ids: Ids | None = Field(None, description="Only these runs.")
    trace_id: Id | None = Field(None, description="Only runs of this trace.")
    reference_examples: Ids | None = Field(None, description="Only runs on these examples.")
    run_type: Text | None = Field(None, description="Only runs of this type, in upper or lower case.")
    is_root: bool | None = Field(None, description="Only roots of traces, or only other runs.")
    has_error: bool | None = Field(None, description="Only runs with an error, or only runs without.")
    filter: Text | None = Field(None, description=f"About the run. {_FILTER}")
    trace_filter: Text | None = Field(None, description="The same about the root of the run's trace.")
    tree_filter: Text | None = Field(None, description="The same about any run of the run's trace.")
    min_start_time: Time | None = Field(None, description="Only runs that started then or later; a day ago by default.")
    max_start_time: Time | None = Field(None, description="Only runs that started then or earlier; now by default.")
    page_size: int = Field(100, ge=1, le=1000, description="How many at most.")
    cursor: str | None = Field(None, description="What `next_cursor` of the answer before was.")
    selects: list[str] | None = Field(None, description="The fields wanted, in upper case; only the id by default.")
    include_subtree_usage: bool | None = Field(
        None, description="Whether tokens and cost are those of a run with all below it, and not the run's own."
    )
    ai_search: NotOffered = None
    sem_filter: NotOffered = None
    min_feedback_modified_at: NotOffered = None
    max_feedback_modified_at: NotOffered = None


class RunV2(Shape):
    """A run with the fields that were selected."""

    model_config = ConfigDict(
        extra="allow", json_schema_extra={"examples": [{"id": _EXAMPLE_ID, "name": "Agent Planning"}]}
    )

    id: str = Field(description="The run's id.")


class RunsPageV2(Shape):
    """A page of runs, second generation."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [{"id": _EXAMPLE_ID}], "next_cursor": None}]})

    items: list[RunV2] = Field(description="The runs.")
    next_cursor: str | None = Field(description="The `cursor` of the next page; null after the last run.")


class RunUrl(Shape):
    """Where a run is shown."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "url": "http://127.0.0.1:8000/o/0d2f7a52-5f0b-4d3e-8d57-2f4f8a6f3c11/projects/p/"
                    f"{_PROJECT_ID}/r/{_EXAMPLE_ID}?trace_id={_EXAMPLE_ID}&start_time=2024-01-15T10:30:00Z"
                }
            ]
        }
    )

    url: str = Field(description="The address of its page.")
