"""The list of traces: root runs, newest first, filtered and in pages; and the runs of one trace."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
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

from events.prepared import Prepared, given, one_of
from events.schema import SHARD
from events.turns import portions
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
    shape = await _shape(connection, filters, shard)
    place = {} if after is None else {"after_start": after.start, "after_id": after.id}
    gone = [] if filters.project_ids is not None else await stats.deleted_projects(connection, shard=shard)
    page = _page(shape, after is not None, bool(gone))
    rows = await page.rows(
        connection, **_values(filters, shard), **place, gone=gone, page_limit=limit, page_offset=offset
    )
    found = [_named(row) for row in rows]
    return sorted(found, key=lambda named: (named.run.start_time, named.run.id), reverse=True)


async def count_roots(connection: AsyncConnection, filters: Filters, *, shard: int = SHARD) -> int:
    """How many root runs the filters leave. Exact; from the statistics, or from the names, where these know it."""
    if filters.start_from is None and filters.start_to is None:
        ids = filters.project_ids
        if filters.search is None:
            return await stats.count_roots(connection, project_ids=ids, status=filters.status, shard=shard)
        if filters.status is None:
            return await names.count_named_like(connection, filters.search, project_ids=ids, shard=shard)
    shape = await _shape(connection, filters, shard)
    rows = await _count(shape).rows(connection, **_values(filters, shard))
    return int(rows[0][0])


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a query of root runs asks for, without the values: it is built once for each.

    `projects` is how many are named, 2 standing for any other number than one; None for all of them. With
    `begins_with_names` it looks first of all for the few roots that bear a name looked for: databases do not know how
    few these are, and would go through all roots, or all of a project, by start.
    """

    projects: int | None
    has_status: bool
    has_search: bool
    has_start_from: bool
    has_start_to: bool
    begins_with_names: bool


async def _shape(connection: AsyncConnection, filters: Filters, shard: int) -> _Shape:
    ids, search = filters.project_ids, filters.search
    begins_with_names = search is not None and (
        await names.count_named_like(connection, search, project_ids=ids, shard=shard) <= _SORTED_MAX
    )
    return _Shape(
        projects=None if ids is None else 1 if len(ids) == 1 else 2,
        has_status=filters.status is not None,
        has_search=search is not None,
        has_start_from=filters.start_from is not None,
        has_start_to=filters.start_to is not None,
        begins_with_names=begins_with_names,
    )


def _values(filters: Filters, shard: int) -> dict[str, Any]:
    """What goes with a query of any shape."""
    ids = filters.project_ids or ()
    return {
        "shard": shard,
        "project_id": ids[0] if len(ids) == 1 else None,
        "project_ids": ids,
        "status": filters.status,
        "sought": None if filters.search is None else names.sought(filters.search),
        "start_from": filters.start_from,
        "start_to": filters.start_to,
    }


@cache
def _page(shape: _Shape, is_after: bool, is_any_gone: bool) -> Prepared:
    roots = _roots(shape)
    query = select(roots.c.id).where(*_conditions(roots, shape))
    if is_after:
        query = query.where(tuple_(roots.c.start_time, roots.c.id) < tuple_(given("after_start"), given("after_id")))
    if is_any_gone:
        query = query.where(roots.c.project_id.not_in(one_of("gone")))
    # Whole rows are only read of those that are on the page: those before it are passed in the index alone.
    newest = query.order_by(roots.c.start_time.desc(), roots.c.id.desc())
    page = newest.limit(given("page_limit")).offset(given("page_offset")).subquery("page")
    return Prepared(
        select(*_NAMED)
        .select_from(page)
        .join(runs, (runs.c.shard == given("shard")) & (runs.c.id == page.c.id))
        .join(projects, _OWN_PROJECT)
    )


@cache
def _count(shape: _Shape) -> Prepared:
    roots = _roots(shape)
    query = select(func.count()).select_from(roots).where(*_conditions(roots, shape))
    if shape.projects is None:
        query = query.where(is_there(roots.c.project_id, shard=given("shard")))
    return Prepared(query)


def _roots(shape: _Shape) -> FromClause:
    if not shape.begins_with_names:
        return runs
    named = select(*_FILTERED).where(runs.c.shard == given("shard"), _IS_ROOT, _bears_name(shape))
    return named.cte("named").prefix_with("MATERIALIZED")


def _conditions(roots: FromClause, shape: _Shape) -> Iterator[ColumnElement[bool]]:
    yield roots.c.shard == given("shard")
    if roots is runs:
        yield _IS_ROOT
        if shape.has_search:
            yield _bears_name(shape)
    # Equality for one, so that an index gives the rows in the order of what follows the column.
    if shape.projects == 1:
        yield roots.c.project_id == given("project_id")
    elif shape.projects is not None:
        yield roots.c.project_id.in_(one_of("project_ids"))
    if shape.has_status:
        yield roots.c.status == given("status")
    if shape.has_start_from:
        yield roots.c.start_time >= given("start_from")
    if shape.has_start_to:
        yield roots.c.start_time <= given("start_to")


def _bears_name(shape: _Shape) -> ColumnElement[bool]:
    return runs.c.name.in_(names.named_like(of_projects=shape.projects is not None))


async def get_run(connection: AsyncConnection, run_id: bytes, *, shard: int = SHARD) -> NamedRun | None:
    """One run; None when no event told of it."""
    rows = await _RUN.rows(connection, shard=shard, run_id=run_id)
    return _named(rows[0]) if rows else None


async def find_trace_of(connection: AsyncConnection, run_id: bytes, *, shard: int = SHARD) -> bytes | None:
    """The trace that a run belongs to, or that goes by this id; None when there is neither."""
    rows = await _TRACE_OF_RUN.rows(connection, shard=shard, run_id=run_id)
    return rows[0][0] if rows else None


async def runs_of_trace(connection: AsyncConnection, trace_id: bytes, *, shard: int = SHARD) -> list[Outline]:
    """Every run of a trace, and the run that it is named after even when that says it is elsewhere."""
    gone = await stats.deleted_projects(connection, shard=shard)
    rows = await _RUNS_OF_TRACE.rows(connection, shard=shard, trace_id=trace_id, gone=gone)
    found: list[Outline] = []
    async for some in portions(rows, _SLICE_ROWS):  # A trace may have tens of thousands of runs.
        found += [Outline(*row) for row in some]
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
_RUN: Final = Prepared(
    select(*_NAMED)
    .join(projects, _OWN_PROJECT)
    .where(runs.c.shard == given("shard"), runs.c.id == given("run_id"), runs.c.is_placeholder == 0)
)
_IS_SEEN: Final = is_there(runs.c.project_id, shard=given("shard"))
_TRACE_OF_RUN: Final = Prepared(
    select(runs.c.trace_id).where(runs.c.shard == given("shard"), runs.c.id == given("run_id"), _IS_SEEN)
)
# To look up the project of each of tens of thousands of runs takes a third as long as to read them.
_TOLD: Final = select(*_OUTLINED).where(
    runs.c.shard == given("shard"), runs.c.is_placeholder == 0, runs.c.project_id.not_in(one_of("gone"))
)
# With one OR in place of the union, SQLite goes through the whole table.
_RUNS_OF_TRACE: Final = Prepared(
    union_all(
        _TOLD.where(runs.c.trace_id == given("trace_id")),
        _TOLD.where(runs.c.id == given("trace_id"), runs.c.trace_id != given("trace_id")),
    )
)


def outline(run: RunState) -> Outline:
    """The same of a run that was folded and not read."""
    return Outline(*(getattr(run, name) for name in Outline.__struct_fields__))


def _named(row: Any) -> NamedRun:
    *state, project_name = row
    return NamedRun(_state(state), project_name)


def _state(row: Any) -> RunState:
    return RunState.from_row(row)
