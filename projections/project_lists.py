"""Projects with what is said of them, filtered, sorted and in pages."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.jsontext import loads
from events.schema import SHARD
from projections import stats
from projections.names import folded
from projections.profiles import profiles
from projections.projects import projects
from projections.runs import runs
from projections.stats import ProjectStats

SortColumn = Literal["name", "start_time", "last_run_start_time", "latency_p50", "latency_p99", "error_rate"]


@dataclass(frozen=True, slots=True)
class DescribedProject:
    """A project that is there, with what people said of it. Times in µs; `others` are members kept as they came."""

    id: bytes
    name: str
    start_time: int
    end_time: int | None
    description: str | None
    extra: Any
    reference_dataset_id: bytes | None
    others: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which projects; None leaves a filter out. `metadata` is to be contained in that of the project."""

    ids: Sequence[bytes] | None = None
    name: str | None = None
    name_contains: str | None = None
    dataset_ids: Sequence[bytes] | None = None
    is_experiment: bool | None = None
    metadata: Mapping[str, Any] | None = None

    def matches(self, project: DescribedProject) -> bool:
        """Whether a project meets what SQL does not look at."""
        if self.name_contains is not None and folded(self.name_contains) not in folded(project.name):
            return False
        return self.metadata is None or contains(metadata_of(project), self.metadata)

    @property
    def is_told_by_sql(self) -> bool:
        """Whether SQL alone finds them."""
        return self.name_contains is None and self.metadata is None


@dataclass(frozen=True, slots=True)
class Order:
    """By what projects are sorted. Those of which it is not known come last; the newest first among equals."""

    by: SortColumn = "start_time"
    is_descending: bool = True


NEWEST_FIRST: Final = Order()

# The first run of a project is recorded after it started, and SDKs look for runs from the project's start on.
_FIRST_RUN: Final = (
    select(runs.c.start_time)
    .where(
        runs.c.shard == projects.c.shard,
        runs.c.project_id == projects.c.id,
        runs.c.start_time < projects.c.first_recorded_at,
        runs.c.is_placeholder == 0,
    )
    .order_by(runs.c.start_time)
    .limit(1)
    .correlate(projects)
    .scalar_subquery()
)
_START: Final = func.coalesce(profiles.c.start_time, _FIRST_RUN, projects.c.first_recorded_at).label("start_time")


async def find(
    connection: AsyncConnection,
    wanted: Wanted,
    *,
    order: Order = NEWEST_FIRST,
    limit: int,
    offset: int,
    shard: int = SHARD,
) -> list[DescribedProject]:
    """A page of projects."""
    query = _query(wanted, shard)
    if wanted.is_told_by_sql and order == NEWEST_FIRST:
        query = query.limit(limit).offset(offset)
        return [_described(row) for row in await connection.execute(query)]
    # There are few projects: what their runs say of them is known by statistics alone.
    found = [project for project in map(_described, await connection.execute(query)) if wanted.matches(project)]
    ordered = await _sorted(connection, found, order, shard)
    return ordered[offset : offset + limit]


def _query(wanted: Wanted, shard: int) -> Select[Any]:
    query = (
        select(
            projects.c.id,
            projects.c.name,
            _START,
            *(profiles.c[name] for name in ("end_time", "description", "extra", "reference_dataset_id", "others")),
        )
        .outerjoin(profiles, (profiles.c.shard == projects.c.shard) & (profiles.c.project_id == projects.c.id))
        .where(projects.c.shard == shard)
        .order_by(_START.desc(), projects.c.id)
    )
    if wanted.ids is not None:
        query = query.where(projects.c.id.in_(wanted.ids))
    if wanted.name is not None:
        query = query.where(projects.c.name == wanted.name)
    if wanted.dataset_ids is not None:
        query = query.where(profiles.c.reference_dataset_id.in_(wanted.dataset_ids))
    if wanted.is_experiment is not None:
        dataset = profiles.c.reference_dataset_id
        query = query.where(dataset.is_not(None) if wanted.is_experiment else dataset.is_(None))
    return query


def _described(row: Any) -> DescribedProject:
    return DescribedProject(
        id=bytes(row.id),
        name=row.name,
        start_time=row.start_time,
        end_time=row.end_time,
        description=row.description,
        extra={} if row.extra is None else loads(row.extra.encode()),
        reference_dataset_id=row.reference_dataset_id and bytes(row.reference_dataset_id),
        others={} if row.others is None else loads(row.others.encode()),
    )


async def _sorted(
    connection: AsyncConnection, found: Sequence[DescribedProject], order: Order, shard: int
) -> list[DescribedProject]:
    if order.by == "start_time":
        return sorted(found, key=lambda project: project.start_time, reverse=order.is_descending)
    if order.by == "name":
        return sorted(found, key=lambda project: folded(project.name), reverse=order.is_descending)
    told = await stats.of_projects(connection, [project.id for project in found], shard=shard)
    value = _VALUES[order.by]
    known = [project for project in found if value(told[project.id]) is not None]
    unknown = [project for project in found if value(told[project.id]) is None]
    return sorted(known, key=lambda project: value(told[project.id]) or 0, reverse=order.is_descending) + unknown


_VALUES: Final[Mapping[str, Callable[[ProjectStats], float | None]]] = {
    "last_run_start_time": lambda told: told.last_start,
    "latency_p50": lambda told: told.latency_p50,
    "latency_p99": lambda told: told.latency_p99,
    "error_rate": lambda told: told.errors / told.runs if told.runs else None,
}


def metadata_of(project: DescribedProject) -> Any:
    """What a project's `extra` says under `metadata`."""
    return project.extra.get("metadata") if isinstance(project.extra, dict) else None


def contains(whole: Any, part: Any) -> bool:
    """Whether JSON contains other JSON: each member of an object, each entry of an array, or the same value."""
    if isinstance(part, Mapping):
        return isinstance(whole, Mapping) and all(
            name in whole and contains(whole[name], value) for name, value in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(contains(there, entry) for there in whole) for entry in part)
    return bool(whole == part and isinstance(whole, bool) == isinstance(part, bool))
