"""The overview on the wire."""

from datetime import datetime
from typing import Any, Final

from pydantic import ConfigDict, Field

from service.wire.shape import Shape

_COST = "In US dollars, a decimal string."
_LATENCY: Final[dict[str, Any]] = {"p50": 1240.0, "p95": 4310.0, "p99": 8020.0}
_SUMS: Final[dict[str, Any]] = {
    "runs": 120,
    "failed": 3,
    "prompt_tokens": 210_000,
    "completion_tokens": 31_000,
    "total_tokens": 241_000,
    "total_cost": "0.835",
    "latency_ms": _LATENCY,
}


class Latency(Shape):
    """Percentiles in milliseconds, off by at most 1.6 %."""

    p50: float = Field(description="Half of them took no longer.")
    p95: float = Field(description="95 % of them took no longer.")
    p99: float = Field(description="99 % of them took no longer.")


class TracesByStatus(Shape):
    """How many traces."""

    running: int = Field(default=0, description="Traces whose root is running.")
    completed: int = Field(default=0, description="Traces whose root completed.")
    failed: int = Field(default=0, description="Traces whose root failed.")


class OverviewBucket(Shape):
    """A part of the stretch."""

    start: datetime = Field(description="From then on (UTC).")
    end: datetime = Field(description="Before then (UTC).")
    traces: TracesByStatus = Field(description="The traces that started in it: exact.")
    runs: int = Field(description="The runs that started in it: exact.")
    failed_runs: int = Field(description="Those of them that failed: exact.")
    total_tokens: int = Field(description="The tokens of its runs, as clients reported them: exact.")
    total_cost: str = Field(description=_COST + " Exact.")
    latency_ms: Latency | None = Field(description="Of the traces that ended; null when none did.")


class OverviewLine(Shape):
    """What is counted under one name."""

    name: str = Field(description="The project, the model, or the name of traces.")
    runs: int = Field(description="Traces; of models their runs.")
    failed: int = Field(description="How many of these failed.")
    prompt_tokens: int | None = Field(default=None, description="As reported. Told of models only.")
    completion_tokens: int | None = Field(default=None, description="As reported. Told of models only.")
    total_tokens: int | None = Field(default=None, description="As reported. Not told of names.")
    total_cost: str | None = Field(default=None, description=_COST + " Not told of names.")
    latency_ms: Latency | None = Field(default=None, description="Of those that ended. Not told of projects.")


class OverviewResponse(Shape):
    """What happened over a stretch of time."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "start": "2024-01-15T10:00:00Z",
                    "end": "2024-01-16T10:00:00Z",
                    "bucket_hours": 24,
                    "buckets": [
                        {
                            "start": "2024-01-15T10:00:00Z",
                            "end": "2024-01-16T10:00:00Z",
                            "traces": {"running": 1, "completed": 112, "failed": 3},
                            "runs": 1160,
                            "failed_runs": 9,
                            "total_tokens": 241_000,
                            "total_cost": "0.835",
                            "latency_ms": _LATENCY,
                        }
                    ],
                    "projects": [
                        {
                            **_SUMS,
                            "name": "customer-support",
                            "prompt_tokens": None,
                            "completion_tokens": None,
                            "latency_ms": None,
                        }
                    ],
                    "models": [{**_SUMS, "name": "gpt-5-mini"}],
                    "names": [{"name": "support-agent", "runs": 112, "failed": 3, "latency_ms": _LATENCY}],
                    "is_whole": True,
                }
            ]
        }
    )

    start: datetime = Field(description="Where the first bucket begins: the whole hour before what was asked for.")
    end: datetime = Field(description="Where the last bucket ends.")
    bucket_hours: int = Field(description="How many hours a bucket has.")
    buckets: list[OverviewBucket] = Field(description="The stretch in parts, in order, also those without any run.")
    projects: list[OverviewLine] = Field(description="By project, the most traces first: exact.")
    models: list[OverviewLine] = Field(description="By model, the most tokens first.")
    names: list[OverviewLine] = Field(description="By name of traces, the most traces first.")
    is_whole: bool = Field(
        description="Whether latencies, models and names are told from all that there is. If not, they are told from "
        "the newest of every bucket; counts, tokens and costs of buckets and projects are exact all the same."
    )
