"""The list of traces: root runs, newest first, filtered and in pages; and the runs of one trace."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, literal_column, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.schema import SHARD
from projections import names, stats
from projections.projects import projects
from projections.runs import RunState, runs

# Written out, because a partial index is only used where its condition is seen and not bound.
_IS_ROOT: Final[ColumnElement[bool]] = literal_column("runs.is_root = 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which root runs; None leaves a filter out. Times in µs, both ends included. `status` in documented words."""

    project_ids: Sequence[bytes] | None = None
    status: str | None = None
    search: str | None = None
    start_from: int | None = None
    start_to: int | None = None


@dataclass(frozen=True, slots=True)
class NamedRun:
    """A row of `runs` with the name of its project."""

    run: RunState
    project_name: str


async def find_roots(
    connection: AsyncConnection, filters: Filters, *, limit: int, offset: int, shard: int = SHARD
) -> list[NamedRun]:
    """A page of root runs, the newest start first; runs of one start in the order of their ids."""
    query = (
        _filtered(select(*_NAMED), filters, shard)
        .join(projects, _OWN_PROJECT)
        .order_by(runs.c.start_time.desc(), runs.c.id.desc())
        .limit(limit)
        .offset(offset)
    )
    return [_named(row) for row in await connection.execute(query)]


async def count_roots(connection: AsyncConnection, filters: Filters, *, shard: int = SHARD) -> int:
    """How many root runs the filters leave. Exact; from the statistics where these know it."""
    if filters.search is None and filters.start_from is None and filters.start_to is None:
        return await stats.count_roots(connection, project_ids=filters.project_ids, status=filters.status, shard=shard)
    query = _filtered(select(func.count()).select_from(runs), filters, shard)
    return int((await connection.execute(query)).scalar_one())


async def get_run(connection: AsyncConnection, run_id: bytes, *, shard: int = SHARD) -> NamedRun | None:
    """One run; None when no event told of it."""
    query = (
        select(*_NAMED)
        .join(projects, _OWN_PROJECT)
        .where(runs.c.shard == shard, runs.c.id == run_id, runs.c.is_placeholder == 0)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _named(row)


async def find_trace_of(connection: AsyncConnection, run_id: bytes, *, shard: int = SHARD) -> bytes | None:
    """The trace that a run belongs to, or that goes by this id; None when there is neither."""
    query = select(runs.c.trace_id).where(runs.c.shard == shard, runs.c.id == run_id)
    trace = (await connection.execute(query)).scalar_one_or_none()
    return None if trace is None else bytes(trace)


async def runs_of_trace(connection: AsyncConnection, trace_id: bytes, *, shard: int = SHARD) -> list[RunState]:
    """Every run of a trace, and the run that it is named after even when that says it is elsewhere."""
    query = select(*runs.c).where(
        runs.c.shard == shard,
        runs.c.is_placeholder == 0,
        or_(runs.c.trace_id == trace_id, runs.c.id == trace_id),
    )
    return [_state(row) for row in await connection.execute(query)]


async def ancestors(connection: AsyncConnection, run: RunState, *, shard: int = SHARD) -> Sequence[RunState]:
    """The runs above a run, its parent first, as far as they are known. A cycle ends where it closes."""
    above: list[RunState] = []
    seen = {run.id}
    parent_id = run.parent_run_id
    while parent_id is not None and parent_id not in seen:
        parent = await get_run(connection, parent_id, shard=shard)
        if parent is None:
            break
        seen.add(parent_id)
        above.append(parent.run)
        parent_id = parent.run.parent_run_id
    return above


_NAMED: Final = (*runs.c, projects.c.name.label("project_name"))
_OWN_PROJECT: Final = (projects.c.shard == runs.c.shard) & (projects.c.id == runs.c.project_id)


def _filtered(query: Select[Any], filters: Filters, shard: int) -> Select[Any]:
    query = query.where(runs.c.shard == shard, _IS_ROOT)
    if filters.project_ids is not None:
        query = query.where(_is_one_of(runs.c.project_id, filters.project_ids))
    if filters.status is not None:
        query = query.where(runs.c.status == filters.status)
    if filters.search is not None:
        query = query.where(
            runs.c.name.in_(names.named_like(filters.search, project_ids=filters.project_ids, shard=shard))
        )
    if filters.start_from is not None:
        query = query.where(runs.c.start_time >= filters.start_from)
    if filters.start_to is not None:
        query = query.where(runs.c.start_time <= filters.start_to)
    return query


def _is_one_of(column: Any, values: Sequence[bytes]) -> ColumnElement[bool]:
    """Equality for one value, so that an index gives the rows in the order of what follows the column."""
    return column == values[0] if len(values) == 1 else column.in_(values)  # type: ignore[no-any-return]


def _named(row: Any) -> NamedRun:
    return NamedRun(_state(row[:-1]), row.project_name)


def _state(row: Any) -> RunState:
    return RunState.from_row(row)
