"""The overview: what happened over a stretch of time, for charts."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Query

from projections import overview, projects, sketch
from projections.overview import Bucket, Sums
from projections.stats import DAY_US, HOUR_US
from service.auth import authorise
from service.dashboard import TIME_SCHEMA, Text, Time
from service.keys import Scope
from service.parameters import KNOWN_PARAMETERS_ONLY
from service.parts import EnginePart
from service.wire.errors import error_responses
from service.wire.overview import Latency, OverviewBucket, OverviewLine, OverviewResponse, TracesByStatus

router = APIRouter(
    prefix="/dashboard/stats",
    tags=["dashboard"],
    dependencies=[Depends(authorise(Scope.READ)), KNOWN_PARAMETERS_ONLY],
    responses=error_responses(401, 403, 504),
)

BUCKETS_MAX: Final = 200
_BUCKETS_WANTED: Final = 48
_LINES_MAX: Final = 20
_US_PER_S: Final = 1_000_000
_US_PER_MS: Final = 1000
_HOURS_MAX: Final = BUCKETS_MAX * 8784


@router.get("/overview")
async def read_overview(
    engine: EnginePart,
    project: Annotated[Text, Query(description="Only this project, by its exact name.")] = None,
    start_time_gte: Annotated[
        Time, Query(description="From the hour of then on. Else: 24 hours.", json_schema_extra=TIME_SCHEMA)
    ] = None,
    start_time_lte: Annotated[
        Time, Query(description="Up to the hour of then. Else: until now.", json_schema_extra=TIME_SCHEMA)
    ] = None,
    hours: Annotated[
        int | None,
        Query(ge=1, le=_HOURS_MAX, description="So many hours, the last of which is that of the end, by our clock."),
    ] = None,
    bucket_hours: Annotated[
        int | None,
        Query(ge=1, le=8784, description="How many hours a bucket has. Else as many as make about 48 buckets."),
    ] = None,
) -> OverviewResponse:
    """What happened over a stretch of time, by its parts, by project, by model and by name of traces."""
    end = start_time_lte if start_time_lte is not None else time.time_ns() // 1000
    if start_time_gte is not None and hours is not None:
        raise HTTPException(422, "start_time_gte and hours both say where to begin: expected one of them")
    start = end - (DAY_US if hours is None else (hours - 1) * HOUR_US) if start_time_gte is None else start_time_gte
    first_hour, hours = start // HOUR_US, end // HOUR_US - start // HOUR_US + 1
    if hours < 1:
        raise HTTPException(422, "start_time_lte is before start_time_gte: expected a stretch of time")
    width = bucket_hours or max(1, round(hours / _BUCKETS_WANTED))
    if hours > BUCKETS_MAX * width:
        raise HTTPException(422, f"{hours} hours make more than {BUCKETS_MAX} buckets of {width}: expected longer ones")
    async with engine.connect() as connection:
        ids = None if project is None else await projects.ids_of(connection, [project])
        found = await overview.read(connection, first_hour=first_hour, hours=hours, bucket_hours=width, project_ids=ids)
    return OverviewResponse(
        start=_time(found.buckets[0].start),
        end=_time(found.buckets[-1].end),
        bucket_hours=width,
        buckets=[_bucket(bucket) for bucket in found.buckets],
        projects=[_project(name, sums) for name, sums in _first(found.projects, "runs")],
        models=[_model(name, sums) for name, sums in _first(found.models, "total_tokens")],
        names=[_name(name, sums) for name, sums in _first(found.names, "runs")],
        is_whole=found.is_whole,
    )


def _first(sums: Mapping[str, Sums], most: str) -> list[tuple[str, Sums]]:
    """The first of them by one of their members, the largest first, then by name."""
    return sorted(sums.items(), key=lambda pair: (-getattr(pair[1], most), pair[0]))[:_LINES_MAX]


def _bucket(bucket: Bucket) -> OverviewBucket:
    return OverviewBucket(
        start=_time(bucket.start),
        end=_time(bucket.end),
        traces=TracesByStatus.model_validate(bucket.traces),
        runs=bucket.runs,
        failed_runs=bucket.failed_runs,
        total_tokens=bucket.total_tokens,
        total_cost=_dollars(bucket.total_cost),
        latency_ms=_latency(bucket.latencies),
    )


def _project(name: str, sums: Sums) -> OverviewLine:
    tokens, cost = sums.total_tokens, _dollars(sums.total_cost)
    return OverviewLine(name=name, runs=sums.runs, failed=sums.failed, total_tokens=tokens, total_cost=cost)


def _model(name: str, sums: Sums) -> OverviewLine:
    return OverviewLine(
        name=name,
        runs=sums.runs,
        failed=sums.failed,
        prompt_tokens=sums.prompt_tokens,
        completion_tokens=sums.completion_tokens,
        total_tokens=sums.total_tokens,
        total_cost=_dollars(sums.total_cost),
        latency_ms=_latency(sums.latencies),
    )


def _name(name: str, sums: Sums) -> OverviewLine:
    return OverviewLine(name=name, runs=sums.runs, failed=sums.failed, latency_ms=_latency(sums.latencies))


def _latency(latencies: Mapping[int, int]) -> Latency | None:
    p50, p95, p99 = (sketch.quantile(latencies, q) for q in (0.5, 0.95, 0.99))
    if p50 is None or p95 is None or p99 is None:
        return None
    return Latency(p50=p50 / _US_PER_MS, p95=p95 / _US_PER_MS, p99=p99 / _US_PER_MS)


def _dollars(picodollars: int) -> str:
    return f"{Decimal(picodollars).scaleb(-12).normalize():f}"


def _time(us: int) -> datetime:
    return datetime.fromtimestamp(us / _US_PER_S, UTC)
