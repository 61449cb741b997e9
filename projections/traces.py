"""The list of traces: root runs, newest first, filtered and in pages; and the runs of one trace."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
from sqlalchemy import (
    ColumnElement,
    FromClause,
    LargeBinary,
    func,
    literal,
    literal_column,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from events.schema import SHARD
from projections import names, stats
from projections.projects import is_there, projects
from projections.runs import RunState, runs

# Written out, because a partial index is only used where its condition is seen and not bound.
_IS_ROOT: Final[ColumnElement[bool]] = literal_column("runs.is_root = 1")
# Of so many runs at most a search takes all and sorts them; among more, the newest that match are soon met.
_SORTED_MAX: Final = 5000
_SLICE_ROWS: Final = 1000


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


class Place(NamedTuple):
    """Where a root run stands in the list: its start (µs) and its id."""

    start: int
    id: bytes


class Outline(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What a tree shows of a run: some columns of `runs`, by their names."""

    id: bytes
    start_time: int
    end_time: int | None
    status: str
    run_type: str
    name: str
    error: str | None
    total_tokens: int | None
    total_cost: int | None
    parent_run_id: bytes | None


async def find_roots(
    connection: AsyncConnection,
    filters: Filters,
    *,
    limit: int,
    offset: int,
    after: Place | None = None,
    shard: int = SHARD,
) -> list[NamedRun]:
    """A page of root runs, the newest start first; runs of one start in the falling order of their ids.

    Pages that begin `after` the last run of the one before neither skip nor repeat a run when others come meanwhile.
    """
    roots = await _roots(connection, filters, shard)
    beyond = [] if after is None else [tuple_(roots.c.start_time, roots.c.id) < tuple_(*after)]
    if filters.project_ids is None and (gone := await stats.deleted_projects(connection, shard=shard)):
        beyond.append(roots.c.project_id.not_in(gone))
    # Whole rows are only read of those that are on the page: those before it are passed in the index alone.
    page = (
        select(roots.c.id)
        .where(*_conditions(roots, filters, shard), *beyond)
        .order_by(roots.c.start_time.desc(), roots.c.id.desc())
        .limit(limit)
        .offset(offset)
        .subquery("page")
    )
    query = (
        select(*_NAMED)
        .select_from(page)
        .join(runs, (runs.c.shard == shard) & (runs.c.id == page.c.id))
        .join(projects, _OWN_PROJECT)
    )
    found = [_named(row) for row in await connection.execute(query)]
    return sorted(found, key=lambda named: (named.run.start_time, named.run.id), reverse=True)


async def count_roots(connection: AsyncConnection, filters: Filters, *, shard: int = SHARD) -> int:
    """How many root runs the filters leave. Exact; from the statistics, or from the names, where these know it."""
    if filters.start_from is None and filters.start_to is None:
        if filters.search is None:
            ids, status = filters.project_ids, filters.status
            return await stats.count_roots(connection, project_ids=ids, status=status, shard=shard)
        if filters.status is None:
            return await _count_named(connection, filters.search, filters, shard)
    roots = await _roots(connection, filters, shard)
    query = select(func.count()).select_from(roots).where(*_conditions(roots, filters, shard))
    if filters.project_ids is None:
        query = query.where(is_there(roots.c.project_id, shard=shard))
    return int((await connection.execute(query)).scalar_one())


async def _count_named(connection: AsyncConnection, search: str, filters: Filters, shard: int) -> int:
    """How many root runs bear a name that the search finds, whatever their start and status."""
    query = names.count_named_like(search, project_ids=filters.project_ids, shard=shard)
    return int((await connection.execute(query)).scalar_one())


async def _roots(connection: AsyncConnection, filters: Filters, shard: int) -> FromClause:
    """Where to look for root runs: in the whole table, or first of all for the few that bear a name looked for.

    Databases do not know how few these are. They would go through all roots, or all of a project, by start.
    """
    if filters.search is None or await _count_named(connection, filters.search, filters, shard) > _SORTED_MAX:
        return runs
    named = select(*_FILTERED).where(runs.c.shard == shard, _IS_ROOT, _bears_name(filters.search, filters, shard))
    return named.cte("named").prefix_with("MATERIALIZED")


def _conditions(roots: FromClause, filters: Filters, shard: int) -> Iterator[ColumnElement[bool]]:
    yield roots.c.shard == shard
    if roots is runs:
        yield _IS_ROOT
        if filters.search is not None:
            yield _bears_name(filters.search, filters, shard)
    if filters.project_ids is not None:
        yield _is_one_of(roots.c.project_id, filters.project_ids)
    if filters.status is not None:
        yield roots.c.status == filters.status
    if filters.start_from is not None:
        yield roots.c.start_time >= filters.start_from
    if filters.start_to is not None:
        yield roots.c.start_time <= filters.start_to


def _bears_name(search: str, filters: Filters, shard: int) -> ColumnElement[bool]:
    return runs.c.name.in_(names.named_like(search, project_ids=filters.project_ids, shard=shard))


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
    query = select(runs.c.trace_id).where(
        runs.c.shard == shard, runs.c.id == run_id, is_there(runs.c.project_id, shard=shard)
    )
    trace = (await connection.execute(query)).scalar_one_or_none()
    return None if trace is None else bytes(trace)


async def runs_of_trace(connection: AsyncConnection, trace_id: bytes, *, shard: int = SHARD) -> list[Outline]:
    """Every run of a trace, and the run that it is named after even when that says it is elsewhere."""
    told = select(*_OUTLINED).where(
        runs.c.shard == shard, runs.c.is_placeholder == 0, is_there(runs.c.project_id, shard=shard)
    )
    # With one OR in place of the union, SQLite goes through the whole table.
    query = union_all(
        told.where(runs.c.trace_id == trace_id),
        told.where(runs.c.id == trace_id, runs.c.trace_id != trace_id),
    )
    found: list[Outline] = []
    for rows in (await connection.execute(query)).partitions(_SLICE_ROWS):
        found += [Outline(*row) for row in rows]
        await asyncio.sleep(0)  # A trace may have tens of thousands of runs.
    return found


async def ancestors(connection: AsyncConnection, run: RunState, *, shard: int = SHARD) -> Sequence[RunState]:
    """The runs above a run, its parent first, as far as they are known. A cycle ends where it closes."""
    is_known = (runs.c.shard == shard) & (runs.c.is_placeholder == 0)
    line = select(literal(run.parent_run_id, LargeBinary).label("id")).cte("line", recursive=True)
    # A join here would be planned as one over the whole table, once for every level.
    parent = select(runs.c.parent_run_id).where(is_known, runs.c.id == line.c.id).scalar_subquery()
    # Without ALL, so that an id that was found already ends it: that is a cycle.
    line = line.union(select(parent).where(line.c.id.is_not(None)))
    query = select(*runs.c).join(line, line.c.id == runs.c.id).where(is_known)
    found = {state.id: state for state in map(_state, await connection.execute(query))}
    above: list[RunState] = []
    parent_id = run.parent_run_id
    while parent_id != run.id and parent_id in found:
        above.append(found.pop(parent_id))
        parent_id = above[-1].parent_run_id
    return above


_OUTLINED: Final = tuple(runs.c[name] for name in Outline.__struct_fields__)
_FILTERED: Final = (runs.c.shard, runs.c.id, runs.c.project_id, runs.c.status, runs.c.start_time)
_NAMED: Final = (*runs.c, projects.c.name.label("project_name"))
_OWN_PROJECT: Final = (projects.c.shard == runs.c.shard) & (projects.c.id == runs.c.project_id)


def _is_one_of(column: Any, values: Sequence[bytes]) -> ColumnElement[bool]:
    """Equality for one value, so that an index gives the rows in the order of what follows the column."""
    return column == values[0] if len(values) == 1 else column.in_(values)  # type: ignore[no-any-return]


def outline(run: RunState) -> Outline:
    """The same of a run that was folded and not read."""
    return Outline(*(getattr(run, name) for name in Outline.__struct_fields__))


def _named(row: Any) -> NamedRun:
    return NamedRun(_state(row[:-1]), row.project_name)


def _state(row: Any) -> RunState:
    return RunState.from_row(row)
