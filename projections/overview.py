"""What happened over a stretch of time: counts and sums from the statistics, and the newest runs of each part of it.

Counts of traces and runs, tokens and costs are exact: they are sums of hourly cells (`projections.stats`). Latencies of
traces, and what is told by name and by model, come from the newest so many runs of every bucket. `is_whole` tells
whether those were all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.schema import SHARD
from projections import sketch
from projections.projects import is_there, projects
from projections.runs import runs
from projections.stats import HOUR_US, stats

ROWS_MAX: Final = 24_000
"""How many traces, and how many runs of models, are looked at, shared among the buckets."""


@dataclass(slots=True)
class Sums:
    """Counts of runs, and sums. Costs in picodollars, latencies as a sketch."""

    runs: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    total_cost: int = 0
    latencies: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Bucket:
    """A part of the stretch, from `start` on and before `end` (µs): its traces by status, and all of its runs."""

    start: int
    end: int
    traces: dict[str, int] = field(default_factory=dict)
    runs: int = 0
    failed_runs: int = 0
    total_tokens: int = 0
    total_cost: int = 0
    latencies: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class Overview:
    """All that is told of a stretch. `names` are those of traces by name, `models` the runs by model."""

    buckets: list[Bucket]
    projects: dict[str, Sums] = field(default_factory=dict)
    names: dict[str, Sums] = field(default_factory=dict)
    models: dict[str, Sums] = field(default_factory=dict)
    is_whole: bool = True


async def read(
    connection: AsyncConnection,
    *,
    first_hour: int,
    hours: int,
    bucket_hours: int,
    project_ids: Sequence[bytes] | None = None,
    shard: int = SHARD,
) -> Overview:
    """The overview of so many hours from one on (hours since 1970), in buckets of so many hours."""
    starts = range(first_hour, first_hour + hours, bucket_hours)
    overview = Overview([Bucket(start * HOUR_US, (start + bucket_hours) * HOUR_US) for start in starts])
    await _take_cells(connection, overview, first_hour, hours, bucket_hours, project_ids, shard)
    rows_max = ROWS_MAX // len(overview.buckets)
    for bucket in overview.buckets:
        if bucket.runs:
            await _take_traces(connection, overview, bucket, rows_max, project_ids, shard)
            await _take_models(connection, overview, bucket, rows_max, project_ids, shard)
    return overview


async def _take_cells(
    connection: AsyncConnection,
    overview: Overview,
    first_hour: int,
    hours: int,
    bucket_hours: int,
    project_ids: Sequence[bytes] | None,
    shard: int,
) -> None:
    columns = (stats.c.hour, stats.c.status, stats.c.runs, stats.c.roots, stats.c.total_tokens, stats.c.total_cost)
    query = (
        select(*columns, projects.c.name)
        .join(projects, and_(projects.c.shard == stats.c.shard, projects.c.id == stats.c.project_id))
        .where(stats.c.shard == shard, stats.c.hour.between(first_hour, first_hour + hours - 1))
    )
    if project_ids is not None:
        query = query.where(stats.c.project_id.in_(project_ids))
    for cell in await connection.execute(query):
        bucket = overview.buckets[(cell.hour - first_hour) // bucket_hours]
        bucket.traces[cell.status] = bucket.traces.get(cell.status, 0) + cell.roots
        project = overview.projects.setdefault(cell.name, Sums())
        is_failed = cell.status == "failed"
        bucket.runs += cell.runs
        bucket.failed_runs += cell.runs if is_failed else 0
        bucket.total_tokens += cell.total_tokens
        bucket.total_cost += cell.total_cost
        project.runs += cell.roots
        project.failed += cell.roots if is_failed else 0
        project.total_tokens += cell.total_tokens
        project.total_cost += cell.total_cost


async def _take_traces(
    connection: AsyncConnection,
    overview: Overview,
    bucket: Bucket,
    rows_max: int,
    project_ids: Sequence[bytes] | None,
    shard: int,
) -> None:
    is_root: ColumnElement[bool] = literal_column("runs.is_root = 1")
    columns = (runs.c.name, runs.c.status, runs.c.start_time, runs.c.end_time)
    query = _newest(select(*columns).where(is_root, runs.c.is_placeholder == 0), bucket, rows_max, project_ids, shard)
    rows = (await connection.execute(query)).all()
    overview.is_whole &= len(rows) < rows_max
    for row in rows:
        sums = overview.names.setdefault(row.name, Sums())
        _count(sums, row)
        if row.end_time is not None:
            sketch.add(bucket.latencies, row.end_time - row.start_time)


async def _take_models(
    connection: AsyncConnection,
    overview: Overview,
    bucket: Bucket,
    rows_max: int,
    project_ids: Sequence[bytes] | None,
    shard: int,
) -> None:
    columns = (
        *(runs.c.model, runs.c.status, runs.c.start_time, runs.c.end_time),
        *(runs.c.prompt_tokens, runs.c.completion_tokens, runs.c.total_tokens, runs.c.total_cost),
    )
    query = _newest(select(*columns).where(runs.c.run_type == "llm"), bucket, rows_max, project_ids, shard)
    rows = (await connection.execute(query)).all()
    overview.is_whole &= len(rows) < rows_max
    for row in rows:
        sums = overview.models.setdefault(row.model or "", Sums())
        _count(sums, row)
        sums.prompt_tokens += row.prompt_tokens or 0
        sums.completion_tokens += row.completion_tokens or 0
        sums.total_tokens += row.total_tokens or 0
        sums.total_cost += row.total_cost or 0


def _newest(
    query: Select[Any], bucket: Bucket, rows_max: int, project_ids: Sequence[bytes] | None, shard: int
) -> Select[Any]:
    query = query.where(runs.c.shard == shard, runs.c.start_time.between(bucket.start, bucket.end - 1))
    if project_ids is None:
        query = query.where(is_there(runs.c.project_id, shard=shard))
    else:
        query = query.where(runs.c.project_id.in_(project_ids))
    return query.order_by(runs.c.start_time.desc()).limit(rows_max)


def _count(sums: Sums, row: Any) -> None:
    sums.runs += 1
    sums.failed += row.status == "failed"
    if row.end_time is not None:
        sketch.add(sums.latencies, row.end_time - row.start_time)
