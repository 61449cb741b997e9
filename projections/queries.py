"""Queries of runs: which ones, in which order, page by page.

A page begins after a place, the start and id of the run that ended the page before. So a page costs what the first did,
and runs that come meanwhile neither hide others nor show them twice.
"""

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnClause

from events import positions
from events.schema import SHARD
from projections import subjects
from projections.filters.compiling import Bounds, NoTextIndex, TextIndex, compiled
from projections.filters.conditions import EVERYTHING, Condition
from projections.projects import is_there
from projections.runs import RunState, runs

_SLICE_ROWS: Final = 100
_SLICE_ROWS_MAX: Final = 800
# A page ends by then, so that what is rare is told while more is looked for.
_PATIENCE_S: Final = 5.0
_WINDOW_ROWS: Final = 2_000
_WINDOW_ROWS_MAX: Final = 16_000
_SCOPES_MAX: Final = 32
NO_INDEX: Final[TextIndex] = NoTextIndex()


class Place(NamedTuple):
    """Where a run stands in the order of a query: its start (µs) and its id."""

    start_time: int
    id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs; None leaves a filter out. Times in µs, both ends included. `status` in documented words.

    `condition` is about the run, `trace_condition` about the root of its trace, `tree_condition` about any run of it.
    With `ids` nothing else counts; `only_ids` is a filter like others. Without `with_placeholders`
    a trace whose root never came has no root.
    """

    ids: Sequence[bytes] | None = None
    only_ids: Sequence[bytes] | None = None
    project_ids: Sequence[bytes] | None = None
    trace_id: bytes | None = None
    parent_run_id: bytes | None = None
    run_type: str | None = None
    status: str | None = None
    reference_example_ids: Sequence[bytes] | None = None
    is_root: bool | None = None
    has_error: bool | None = None
    start_from: int | None = None
    start_to: int | None = None
    condition: Condition = EVERYTHING
    trace_condition: Condition = EVERYTHING
    tree_condition: Condition = EVERYTHING
    is_ascending: bool = False
    with_placeholders: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Runs in order, and the place after which there are more; None when there are none."""

    runs: list[RunState]
    next: Place | None

    def after(self, count: int) -> Place | None:
        """The place after which there are more, when only so many of the page's runs are told."""
        return self.next if count == len(self.runs) else _place(self.runs[count - 1])


async def find(
    connection: AsyncConnection,
    query: RunQuery,
    *,
    limit: int,
    after: Place | None = None,
    index: TextIndex = NO_INDEX,
    may_be_empty: bool = False,
    shard: int = SHARD,
) -> Page:
    """A page of the runs that the query asks for, the newest start first unless it says otherwise.

    A page that takes long ends before it is full; one without any run only if it `may_be_empty`: not every reader goes
    on after that.
    """
    give_up = time.monotonic() + _PATIENCE_S
    found: list[RunState] = []
    async for slice_ in walk(connection, query, after=after, rows=limit + 1, index=index, shard=shard):
        found += slice_.runs
        if len(found) > limit:
            return Page(found[:limit], _place(found[limit - 1]))
        if (found or may_be_empty) and time.monotonic() > give_up:
            return Page(found, slice_.end)
    return Page(found, None)


def in_sql(
    query: RunQuery, *, index: TextIndex = NO_INDEX, shard: int = SHARD
) -> tuple[FromClause, list[ColumnElement[bool]]] | None:
    """A table like `runs`, and the conditions that hold of just those rows of it that a query asks for.

    None when SQL cannot tell them all, or tells them slice by slice.
    """
    if index.is_windowed:
        return None
    looking = _Looking(query, _Window(None, None, index), index, shard)
    return looking.rows() if looking.is_exact else None


class Slice(NamedTuple):
    """Those runs that the query asks for among some that follow one another, and the place of the last of all these."""

    runs: list[RunState]
    end: Place


async def walk(
    connection: AsyncConnection,
    query: RunQuery,
    *,
    after: Place | None = None,
    rows: int = _SLICE_ROWS_MAX,
    index: TextIndex = NO_INDEX,
    shard: int = SHARD,
) -> AsyncIterator[Slice]:
    """All runs that the query asks for, in slices; a slice is one look into the table, or the end of a window."""
    async for window in _windows(connection, query, after, index, shard):
        async for slice_ in _walk(connection, query, window, rows, index, shard):
            yield slice_
        if window.upto is not None:
            yield Slice([], window.upto)


async def _walk(
    connection: AsyncConnection, query: RunQuery, window: "_Window", rows: int, index: TextIndex, shard: int
) -> AsyncIterator[Slice]:
    looking = _Looking(query, window, index, shard)
    rows = rows if looking.is_exact else max(rows, _SLICE_ROWS)
    after = window.after
    while True:
        states = [RunState.from_row(row) for row in await connection.execute(looking.statement(after, rows))]
        if not states:
            return
        after = _place(states[-1])
        kept = states if looking.is_exact else await _kept(connection, query, states, index, shard)
        yield Slice(kept, after)
        if len(states) < rows:
            return
        rows = min(2 * rows, max(rows, _SLICE_ROWS_MAX))


def _place(run: RunState) -> Place:
    return Place(run.start_time, run.id)


# --- the statement ----------------------------------------------------------------------------------------------------


class _Looking:
    """How the table is looked through for a query."""

    def __init__(self, query: RunQuery, window: "_Window", index: TextIndex, shard: int) -> None:
        self._query = query
        self._run = _few_or_all(window.index.few(query.condition) if query.ids is None else None, shard)
        own = compiled(query.condition, self._run, window.index)
        of_trace = _of_root(query.trace_condition, self._run, index)
        of_tree = _of_any(query.tree_condition, self._run, index)
        self.is_exact = query.ids is not None or (own.is_exact and of_trace.is_exact and of_tree.is_exact)
        self._conditions = [*_fixed(query, self._run, shard)]
        if query.ids is None:
            self._conditions += [own.may, of_trace.may, of_tree.may]
        if window.upto is not None:
            self._conditions.append(_is_upto(self._run, window.upto, is_ascending=query.is_ascending))

    def statement(self, after: Place | None, rows: int) -> Select[Any]:
        """The next rows after a place."""
        run = self._run
        scopes = [select(*run.c).where(scope) for scope in self._scopes()]
        if len(scopes) == 1:
            return self._ordered(scopes[0], run, after, rows)
        # One by one, each in the order of its index: several at once would be sorted as a whole.
        parts = [self._ordered(scope, run, after, rows).subquery() for scope in scopes]
        every = union_all(*(select(part) for part in parts)).subquery()
        return self._sorted(select(*every.c), every).limit(rows)

    def rows(self) -> tuple[FromClause, list[ColumnElement[bool]]]:
        """All rows, in no order: the table, and what holds of them."""
        return self._run, [or_(*self._scopes()), *self._conditions]

    def place(self, after: Place | None, nth: int) -> Select[Any]:
        """The start and id of the nth row after a place."""
        rows = self.statement(after, nth).subquery()
        return self._sorted(select(rows.c.start_time, rows.c.id), rows).limit(1).offset(nth - 1)

    def _scopes(self) -> list[ColumnElement[bool]]:
        """The projects to look through, or one expression that stands for all that are meant."""
        ids = self._query.project_ids
        if self._query.ids is not None or ids is None:
            return [true()]
        column = self._run.c.project_id
        if not 0 < len(set(ids)) <= _SCOPES_MAX:
            return [column.in_(ids)]
        return [column == id_ for id_ in dict.fromkeys(ids)]

    def _ordered(self, query: Select[Any], run: FromClause, after: Place | None, rows: int) -> Select[Any]:
        query = query.where(*self._conditions)
        if after is not None:
            query = query.where(_is_after(run, after, is_ascending=self._query.is_ascending))
        return self._sorted(query, run).limit(rows)

    def _sorted(self, query: Select[Any], run: FromClause) -> Select[Any]:
        columns = (run.c.start_time, run.c.id)
        return query.order_by(*(column if self._query.is_ascending else column.desc() for column in columns))


def _few_or_all(ids: Sequence[bytes] | None, shard: int) -> FromClause:
    """The table of runs, or first of all those few of it that can be meant.

    Databases do not know how few these are. They would go through all runs by start.
    """
    if ids is None:
        return runs.alias("run")
    return select(*runs.c).where(runs.c.shard == shard, runs.c.id.in_(ids)).cte("run").prefix_with("MATERIALIZED")


def _is_after(run: FromClause, place: Place, *, is_ascending: bool) -> ColumnElement[bool]:
    here, there = tuple_(run.c.start_time, run.c.id), tuple_(*place)
    return here > there if is_ascending else here < there


def _is_upto(run: FromClause, place: Place, *, is_ascending: bool) -> ColumnElement[bool]:
    here, there = tuple_(run.c.start_time, run.c.id), tuple_(*place)
    return here <= there if is_ascending else here >= there


def _fixed(query: RunQuery, run: FromClause, shard: int) -> Iterator[ColumnElement[bool]]:
    """The conditions that need no filter language."""
    yield run.c.shard == shard
    if not query.with_placeholders:
        yield run.c.is_placeholder == 0
    yield is_there(run.c.project_id, shard=shard)
    if query.ids is not None:
        yield run.c.id.in_(query.ids)
        return
    if query.only_ids is not None:
        yield run.c.id.in_(query.only_ids)
    if query.trace_id is not None:
        yield run.c.trace_id == query.trace_id
    if query.parent_run_id is not None:
        yield run.c.parent_run_id == query.parent_run_id
    if query.run_type is not None:
        yield run.c.run_type == query.run_type
    if query.status is not None:
        yield run.c.status == query.status
    if query.reference_example_ids is not None:
        yield run.c.reference_example_id.in_(query.reference_example_ids)
    if query.is_root is not None:
        yield _is_root(query.is_root)
    if query.has_error is not None:
        yield run.c.error.is_not(None) if query.has_error else run.c.error.is_(None)
    if query.start_from is not None:
        yield run.c.start_time >= query.start_from
    if query.start_to is not None:
        yield run.c.start_time <= query.start_to


def _is_root(wanted: bool) -> ColumnElement[bool]:
    # Written out, because a partial index is only used where its condition is seen and not bound.
    column: ColumnClause[bool] = literal_column(f"run.is_root = {int(wanted)}")
    return column


def _of_root(condition: Condition, run: FromClause, index: TextIndex) -> Bounds:
    """The bounds of what is asked of the root of the run's trace."""
    if condition == EVERYTHING:
        return compiled(EVERYTHING, run, index)
    root = runs.alias("root")
    return _exists(root, and_(root.c.id == run.c.trace_id), compiled(condition, root, index), run)


def _of_any(condition: Condition, run: FromClause, index: TextIndex) -> Bounds:
    """The bounds of what is asked of any run of the run's trace."""
    if condition == EVERYTHING:
        return compiled(EVERYTHING, run, index)
    other = runs.alias("other")
    return _exists(other, and_(other.c.trace_id == run.c.trace_id), compiled(condition, other, index), run)


def _exists(other: FromClause, place: ColumnElement[bool], bounds: Bounds, run: FromClause) -> Bounds:
    there = and_(other.c.shard == run.c.shard, place, other.c.is_placeholder == 0)
    may = exists().where(there, bounds.may).correlate(run)
    return Bounds(may, may if bounds.is_exact else exists().where(there, bounds.must).correlate(run))


# --- windows ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Window:
    """A part of the order of a query: after a place, up to another, both None at the ends; and an index for it."""

    after: Place | None
    upto: Place | None
    index: TextIndex


async def _windows(
    connection: AsyncConnection, query: RunQuery, after: Place | None, index: TextIndex, shard: int
) -> AsyncIterator[_Window]:
    """The order of a query in windows, each with the index of the events of its runs; one alone if none is needed.

    Runs that follow one another were recorded at about the same time. So what many runs hold is looked up among the
    events of a few thousand of them, and not in the whole log for the sake of one page.
    """
    if not index.is_windowed or query.ids is not None:
        yield _Window(after, None, index)
        return
    rows = _WINDOW_ROWS
    while True:
        looking = _Looking(query, _Window(after, None, NO_INDEX), NO_INDEX, shard)
        upto = await _nth_place(connection, looking, after, rows)
        times = await _recorded(connection, query, after, upto, shard)
        if times is not None:
            first = await positions.last_position(connection, recorded_by=times[0] - 1, shard=shard) + 1
            last = await positions.last_position(connection, recorded_by=times[1], shard=shard)
            yield _Window(after, upto, index.within((first, last)))
        if upto is None:
            return
        after, rows = upto, min(2 * rows, _WINDOW_ROWS_MAX)


async def _nth_place(connection: AsyncConnection, looking: "_Looking", after: Place | None, rows: int) -> Place | None:
    """The place of the run that is so many after a place; None when there are not so many."""
    row = (await connection.execute(looking.place(after, rows))).one_or_none()
    return None if row is None else Place(row.start_time, bytes(row.id))


async def _recorded(
    connection: AsyncConnection, query: RunQuery, after: Place | None, upto: Place | None, shard: int
) -> tuple[int, int] | None:
    """When (µs) the first and the last event of the runs of a window were recorded; None when there are none."""
    run = runs.alias("run")
    wanted = select(func.min(run.c.first_recorded_at), func.max(run.c.last_recorded_at)).where(
        *_fixed(query, run, shard)
    )
    if query.project_ids is not None:
        wanted = wanted.where(run.c.project_id.in_(query.project_ids))
    if after is not None:
        wanted = wanted.where(_is_after(run, after, is_ascending=query.is_ascending))
    if upto is not None:
        wanted = wanted.where(_is_upto(run, upto, is_ascending=query.is_ascending))
    first, last = (await connection.execute(wanted)).one()
    return None if first is None else (first, last)


# --- what SQL could not decide ----------------------------------------------------------------------------------------


async def _kept(
    connection: AsyncConnection, query: RunQuery, states: list[RunState], index: TextIndex, shard: int
) -> list[RunState]:
    """Those runs that the query really asks for."""
    kept = await subjects.holding(connection, query.condition, states, shard=shard)
    for condition, is_of_root in ((query.trace_condition, True), (query.tree_condition, False)):
        if kept and condition != EVERYTHING:
            traces = {state.trace_id for state in kept}
            holding = await _traces_holding(connection, condition, traces, is_of_root, index, shard)
            kept = [state for state in kept if state.trace_id in holding]
    return kept


async def _traces_holding(
    connection: AsyncConnection,
    condition: Condition,
    traces: set[bytes],
    is_of_root: bool,
    index: TextIndex,
    shard: int,
) -> set[bytes]:
    """Those traces of which the root, or any run, is as the condition says."""
    run = runs.alias("run")
    place = run.c.id if is_of_root else run.c.trace_id
    bounds = compiled(condition, run, index)
    statement = select(*run.c).where(
        run.c.shard == shard, run.c.is_placeholder == 0, place.in_(sorted(traces)), bounds.may
    )
    holding: set[bytes] = set()
    states = [RunState.from_row(row) for row in await connection.execute(statement)]
    for start in range(0, len(states), _SLICE_ROWS):
        # Of a trace that is known to hold such a run no other is looked into.
        some = [state for state in states[start : start + _SLICE_ROWS] if _subject(state, is_of_root) not in holding]
        found = await subjects.holding(connection, condition, some, shard=shard)
        holding |= {_subject(state, is_of_root) for state in found}
    return holding


def _subject(state: RunState, is_of_root: bool) -> bytes:
    return state.id if is_of_root else state.trace_id
