"""Runs and traces on the wire. Answers are written by `service.rendering`; the shapes here document them, and tests
hold the two against each other."""

from typing import Any, Final

from pydantic import ConfigDict, Field

from service.wire.shape import Shape

_PLANNING: Final[dict[str, Any]] = {
    "id": "550e8400-e29b-41d4-a716-446655440000",
    "name": "Agent Planning",
    "run_type": "chain",
    "status": "completed",
    "start_time": "2024-01-15T10:30:00Z",
    "end_time": "2024-01-15T10:30:05Z",
    "duration_ms": 5000,
}
_FACTS: Final[dict[str, Any]] = {
    "error": None,
    "tags": [],
    "total_tokens": None,
    "total_cost": None,
}
_TOKENS = "As the client reported it, in tokens."
_COST = "As the client gave it, in US dollars, a decimal string."


class RunFacts(Shape):
    """What every shape of a run says."""

    id: str = Field(description="The run's id.")
    name: str = Field(description="The run's name; empty when no write told it.")
    run_type: str = Field(description="chain, llm, tool, retriever, prompt, parser, or any other word.")
    status: str = Field(description="running, completed or failed: inferred from what is known.")
    start_time: str | None = Field(description="When it started (UTC).")
    end_time: str | None = Field(description="When it ended (UTC); null while it has not.")
    duration_ms: int | None = Field(description="From start to end in whole milliseconds, never negative.")
    error: str | None = Field(description="The error; in lists its first 500 characters.")
    total_tokens: int | None = Field(description=_TOKENS)
    total_cost: str | None = Field(description=_COST)


class TraceRun(RunFacts):
    """A root run in the list of traces."""

    inputs: Any = Field(description="The inputs; their preview, a string, with `preview=true`.")
    outputs: Any = Field(description="The outputs; their preview, a string, with `preview=true`.")
    project_name: str = Field(description="The project that the run is in.")
    tags: list[str] = Field(description="The run's tags.")
    is_root_missing: bool = Field(description="Whether the root itself never came: this row stands in for it.")
    is_preview: bool = Field(description="Whether inputs and outputs are previews.")
    trace_total_tokens: int | None = Field(
        default=None, description="The tokens of all models in the trace; told with `trace_totals=true`."
    )
    trace_total_cost: str | None = Field(
        default=None, description="What all models in the trace cost, in US dollars; told with `trace_totals=true`."
    )


class RootRunsResponse(Shape):
    """A page of the list of traces."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "runs": [
                        {
                            **_PLANNING,
                            "inputs": {"query": "Analyze market trends"},
                            "outputs": {"result": "Market analysis complete"},
                            "project_name": "market-analysis",
                            **_FACTS,
                            "is_root_missing": False,
                            "is_preview": False,
                        }
                    ],
                    "total": 1,
                    "limit": 50,
                    "offset": 0,
                    "has_more": False,
                    "next": None,
                }
            ]
        }
    )

    runs: list[TraceRun] = Field(description="The traces, newest start first.")
    total: int | None = Field(description="How many traces the filters leave in all; null with `search_in=all`.")
    limit: int = Field(description="How many were asked for.")
    offset: int = Field(description="How many were skipped.")
    has_more: bool = Field(description="Whether more follow after these.")
    next: str | None = Field(description="`after` for the next page; null when this is the last.")


class RunHierarchyNode(RunFacts):
    """A run in its place in the tree."""

    is_missing: bool = Field(description="Whether others name this run, but it never came.")
    is_cycle: bool = Field(description="Whether the run is its own ancestor; the cycle is cut here.")
    children: list["RunHierarchyNode"] = Field(description="The runs below it, by start.")


class RunHierarchyResponse(Shape):
    """A trace as a tree."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "root_run_id": "550e8400-e29b-41d4-a716-446655440000",
                    "hierarchy": {
                        **_PLANNING,
                        **{name: _FACTS[name] for name in ("error", "total_tokens", "total_cost")},
                        "is_missing": False,
                        "is_cycle": False,
                        "children": [],
                    },
                    "total_runs": 1,
                    "max_depth": 1,
                }
            ]
        }
    )

    root_run_id: str = Field(description="The run that the tree is of.")
    hierarchy: RunHierarchyNode = Field(description="The tree.")
    total_runs: int = Field(description="How many runs there are in it; missing ones are not counted.")
    max_depth: int = Field(description="How many levels there are, the root's being 1.")


class TraceColumns(Shape):
    """The runs of a trace, one list for each thing that is known of them. Entries of one place are of one run."""

    id: list[str] = Field(description="Its id.")
    level: list[int] = Field(description="How deep it lies, the root's level being 1.")
    name: list[str | None] = Field(description="Its name. Null, like all below, when the run itself never came.")
    run_type: list[str | None] = Field(description="chain, llm, tool, retriever, prompt, parser, or any other word.")
    status: list[str | None] = Field(description="running, completed or failed.")
    start_us: list[int | None] = Field(description="When it started, in microseconds after `start_time`.")
    duration_us: list[int | None] = Field(description="How long it took, in microseconds; null while it has not ended.")
    error: list[str | None] = Field(description="The first 500 characters of its error.")
    total_tokens: list[int | None] = Field(description=_TOKENS)
    total_cost: list[str | None] = Field(description=_COST)


class TraceOutlineResponse(Shape):
    """A trace in columns: the rows of its tree, from the top down."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "root_run_id": "550e8400-e29b-41d4-a716-446655440000",
                    "total_runs": 1,
                    "max_depth": 1,
                    "start_time": "2024-01-15T10:30:00Z",
                    "cycles": [],
                    "runs": {
                        "id": ["550e8400-e29b-41d4-a716-446655440000"],
                        "level": [1],
                        "name": ["Agent Planning"],
                        "run_type": ["chain"],
                        "status": ["completed"],
                        "start_us": [0],
                        "duration_us": [5_000_000],
                        "error": [None],
                        "total_tokens": [None],
                        "total_cost": [None],
                    },
                }
            ]
        }
    )

    root_run_id: str = Field(description="The run that the tree is of.")
    total_runs: int = Field(description="How many runs there are in it; missing ones are not counted.")
    max_depth: int = Field(description="How many levels there are, the root's being 1.")
    start_time: str | None = Field(description="The earliest start of all (UTC); null when no run came.")
    cycles: list[str] = Field(description="The runs that are their own ancestors; the cycle is cut there.")
    runs: TraceColumns = Field(description="The runs, row by row.")


class PresignedAttachment(Shape):
    """Where a file can be fetched without an API key, for an hour."""

    presigned_url: str = Field(description="Where the bytes are.")
    mime_type: str = Field(description="Their media type.")
    size: int = Field(description="How many bytes there are.")


class RunResponse(RunFacts):
    """A run with all that is known of it. Members that clients sent and that are not named here come as sent."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    **_PLANNING,
                    **_FACTS,
                    "trace_id": "550e8400-e29b-41d4-a716-446655440000",
                    "parent_run_id": None,
                    "dotted_order": "20240115T103000000000Z550e8400-e29b-41d4-a716-446655440000",
                    "project_name": "market-analysis",
                    "session_name": "market-analysis",
                    "session_id": "7d0b7f7e-2d0d-5d5c-9df5-3a9c3f0a4a55",
                    "inputs": {"query": "Analyze market trends"},
                    "outputs": {"result": "Market analysis complete"},
                    "extra": {},
                    "events": [],
                    "serialized": None,
                    "reference_example_id": None,
                    "thread_id": None,
                    "model": None,
                    "provider": None,
                    "prompt_tokens": None,
                    "completion_tokens": None,
                    "prompt_cost": None,
                    "completion_cost": None,
                    "first_token_time": None,
                    "version": 2,
                    "parent_run_ids": [],
                    "app_path": "/o/0d2f7a52-5f0b-4d3e-8d57-2f4f8a6f3c11/projects/p/"
                    "7d0b7f7e-2d0d-5d5c-9df5-3a9c3f0a4a55/r/550e8400-e29b-41d4-a716-446655440000?trace_id=550e8400-e29b-41d4-a716-446655440000"
                    "&start_time=2024-01-15T10:30:00Z",
                    "feedback_stats": None,
                }
            ]
        },
    )

    status: str = Field(
        description="running, completed or failed; in LangSmith's words (pending, success, error) for its SDKs."
    )
    trace_id: str = Field(description="The root run of its trace.")
    parent_run_id: str | None = Field(description="The run above it.")
    dotted_order: str | None = Field(description="Its place in the trace: start and id of every run from the root on.")
    project_name: str = Field(description="The project that it is in.")
    session_name: str = Field(description="The same under LangSmith's name.")
    session_id: str = Field(description="The id of that project.")
    inputs: Any = Field(description="The inputs. A value that is no object is given as {input: value}.")
    outputs: Any = Field(description="The outputs. A value that is no object is given as {output: value}.")
    tags: list[str] = Field(description="The tags.")
    extra: dict[str, Any] = Field(description="Metadata, runtime, and what else clients put there.")
    events: Any = Field(description="The run's own events.")
    serialized: Any = Field(description="The serialized component, as sent.")
    reference_example_id: str | None = Field(description="The dataset example that it was run on.")
    thread_id: str | None = Field(description="The conversation that it belongs to.")
    model: str | None = Field(description="The model that was used.")
    provider: str | None = Field(description="Who provides the model.")
    prompt_tokens: int | None = Field(description=_TOKENS)
    completion_tokens: int | None = Field(description=_TOKENS)
    prompt_cost: str | None = Field(description=_COST)
    completion_cost: str | None = Field(description=_COST)
    first_token_time: str | None = Field(description="When the first token came (UTC).")
    version: int = Field(description="How many writes there were to this run.")
    parent_run_ids: list[str] = Field(description="The runs above it, from the root down to its parent.")
    app_path: str = Field(description="The path of its page.")
    child_run_ids: list[str] = Field(
        default_factory=list, description="The runs below it; told to LangSmith's SDKs alone."
    )
    feedback_stats: dict[str, Any] | None = Field(description="The feedback on it in numbers, by its key.")
    s3_urls: dict[str, PresignedAttachment] = Field(
        default_factory=dict, description="Its attachments as `attachment.<name>`; absent when there are none."
    )
    offloaded: dict[str, Any] = Field(
        default_factory=dict,
        description="Members larger than MAX_TRACE_SIZE_MB: their preview, size in bytes and URL; absent when none.",
    )


class ProjectStats(Shape):
    """What happened in one project."""

    name: str = Field(description="The project's name.")
    total_runs: int = Field(description="How many runs there are in it.")
    total_traces: int = Field(description="How many traces there are in it.")
    last_activity: str = Field(description="When its newest run started (UTC).")


class DashboardStats(Shape):
    """Counts over all projects."""

    total_runs: int = Field(description="How many runs there are.")
    total_traces: int = Field(description="How many traces there are.")
    recent_runs_24h: int = Field(description="How many runs started in the last 24 hours.")
    status_distribution: dict[str, int] = Field(description="Runs by status.")
    run_type_distribution: dict[str, int] = Field(description="Runs by type.")
    project_distribution: dict[str, int] = Field(description="Runs by project.")


class StatsSummaryResponse(Shape):
    """The numbers of the dashboard, exact as of one moment."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "stats": {
                        "total_runs": 1500,
                        "total_traces": 300,
                        "recent_runs_24h": 50,
                        "status_distribution": {"completed": 1200, "failed": 200, "running": 100},
                        "run_type_distribution": {"chain": 800, "llm": 400, "tool": 200, "retrieval": 100},
                        "project_distribution": {"market-analysis": 600, "customer-support": 500, "research": 400},
                    },
                    "recent_projects": [
                        {
                            "name": "market-analysis",
                            "total_runs": 600,
                            "total_traces": 120,
                            "last_activity": "2024-01-15T10:30:00Z",
                        }
                    ],
                    "timestamp": "2024-01-15T10:30:00Z",
                }
            ]
        }
    )

    stats: DashboardStats = Field(description="The counts.")
    recent_projects: list[ProjectStats] = Field(description="The projects, the most recently active first.")
    timestamp: str = Field(description="When this was counted (UTC).")
