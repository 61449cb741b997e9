"""Runs summed up: all that a query asks for, and the conversations that its traces belong to."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    case,
    func,
    literal_column,
    null,
    select,
    type_coerce,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from events.schema import SHARD
from projections import feedback, project_feedback, queries, rollup, sketch
from projections.feedback_stats import FeedbackTallies
from projections.filters.compiling import TextIndex
from projections.filters.conditions import FIELDS, All, Not, OneOf
from projections.queries import NO_INDEX, RunQuery, walk
from projections.rollup import AMOUNTS, Totals
from projections.runs import RunState

_HALF: Final = 32
NOTHING = Totals(None, None, None, None, None, None)
THREADED = Not(OneOf(FIELDS["thread_id"], (None,)))
"""Of runs that belong to a thread."""


@dataclass(slots=True)
class Sums:
    """Runs summed up. The sketches (`projections.sketch`) are of µs, that of tokens of tokens."""

    runs: int = 0
    errors: int = 0
    totals: Totals = NOTHING
    latencies: dict[int, int] = field(default_factory=dict)
    first_tokens: dict[int, int] = field(default_factory=dict)
    tokens: dict[int, int] = field(default_factory=dict)
    last_start: int | None = None
    feedback: FeedbackTallies = field(default_factory=FeedbackTallies)

    def count(self, run: RunState, totals: Totals) -> None:
        """Count one more run, with the tokens and cost that count for it."""
        self.runs += 1
        self.errors += run.error is not None
        if totals is not NOTHING:  # As most runs are, of which no model is asked.
            self.totals = added(self.totals, totals)
        if run.end_time is not None:
            sketch.add(self.latencies, run.end_time - run.start_time)
        if run.first_token_time is not None:
            sketch.add(self.first_tokens, run.first_token_time - run.start_time)
        if totals.total_tokens is not None:
            sketch.add(self.tokens, totals.total_tokens)
        self.last_start = run.start_time if self.last_start is None else max(self.last_start, run.start_time)


async def sum_up(
    connection: AsyncConnection, query: RunQuery, *, index: TextIndex = NO_INDEX, shard: int = SHARD
) -> Sums:
    """The runs that a query asks for, summed up.

    Of roots, tokens and cost are those of their whole traces; otherwise those of the runs of models among the runs that
    are asked for. Nothing is counted twice.
    """
    rows = None if query.is_root else queries.in_sql(query, index=index, shard=shard)
    if rows is not None:
        return await _sum_up_in_sql(connection, *rows)
    sums = Sums()
    async for slice_ in walk(connection, query, index=index, shard=shard):
        counted = await _counted(connection, slice_.runs, query, shard)
        for run in slice_.runs:
            sums.count(run, counted.get(run.id, NOTHING))
        for told in await feedback.of_runs(connection, [run.id for run in slice_.runs], shard=shard):
            sums.feedback.count(told)
    return sums


async def _sum_up_in_sql(connection: AsyncConnection, run: FromClause, conditions: list[ColumnElement[bool]]) -> Sums:
    """The rows of a table like `runs` that the conditions hold of, summed up by the database.

    Of hundreds of thousands of rows each would cost more to bring here than to count there.
    """
    told = (
        select(
            run.c.start_time,
            case((run.c.error.is_not(None), 1), else_=0).label("is_error"),
            (run.c.end_time - run.c.start_time).label("latency"),
            (run.c.first_token_time - run.c.start_time).label("first_token"),
            rollup.is_counted("run").label("is_counted"),
            *(run.c[name] for name in AMOUNTS),
        )
        .where(*conditions)
        .cte("told")
        .prefix_with("MATERIALIZED")
    )
    counted = [case((told.c.is_counted == 1, told.c[name])) for name in AMOUNTS]
    halves = [func.sum(half) for amount in counted for half in (_high(amount), _low(amount))]
    numbers = [func.count(), func.sum(told.c.is_error), func.max(told.c.start_time), *halves]
    whole = select(literal_column("'whole'").label("name"), literal_column("0").label("bucket"), *numbers)
    nothing: list[Any] = [null()] * (len(numbers) - 1)
    sketches = [
        select(literal_column(f"'{name}'"), bucket.label("bucket"), func.count(), *nothing)
        .where(value.is_not(None))
        .group_by(literal_column("2"))
        for name, value, bucket in (
            ("latency", told.c.latency, _bucket("told.latency")),
            ("first_token", told.c.first_token, _bucket("told.first_token")),
            ("tokens", counted[2], _bucket("told.total_tokens")),
        )
    ]
    sums = Sums(feedback=await project_feedback.of_runs(connection, run, conditions))
    of_name = {"latency": sums.latencies, "first_token": sums.first_tokens, "tokens": sums.tokens}
    rows: Sequence[Any] = (await connection.execute(union_all(whole, *sketches))).all()
    for name, bucket, count, *others in rows:
        if name in of_name:
            of_name[name][int(bucket)] = count
        else:
            errors, sums.last_start, *halves_told = others
            sums.runs, sums.errors = count, int(errors or 0)
            sums.totals = Totals(*map(_joined, halves_told[::2], halves_told[1::2]))
    return sums


def _high(amount: ColumnElement[Any]) -> ColumnElement[Any]:
    return amount.op(">>")(literal_column(str(_HALF)))


def _low(amount: ColumnElement[Any]) -> ColumnElement[Any]:
    return amount.op("&")(literal_column(str(2**_HALF - 1)))


def _bucket(column: str) -> ColumnElement[int]:
    return type_coerce(literal_column(sketch.bucket_in_sql(column)), BigInteger)


def _joined(high: Any, low: Any) -> int | None:
    """A sum of the two halves of each amount: a database refuses a sum beyond 64 bits."""
    return None if high is None else (int(high) << _HALF) + int(low)


async def _counted(
    connection: AsyncConnection, runs: Sequence[RunState], query: RunQuery, shard: int
) -> dict[bytes, Totals]:
    if query.is_root:
        return await rollup.totals_of(connection, runs, shard=shard)
    counting = {run.id: rollup.own_totals(run) for run in runs if rollup.counts(run)}
    covered = await rollup.covered(connection, list(counting), shard=shard)
    return {id_: totals for id_, totals in counting.items() if id_ not in covered}


@dataclass(slots=True)
class Conversation:
    """The traces of one thread: their roots summed up, the first and the last of them."""

    thread_id: str
    first: RunState
    last: RunState
    sums: Sums = field(default_factory=Sums)

    def count(self, root: RunState, totals: Totals) -> None:
        """Count one more trace."""
        self.sums.count(root, totals)
        self.first = min(self.first, root, key=_moment)
        self.last = max(self.last, root, key=_moment)


async def conversations(
    connection: AsyncConnection,
    query: RunQuery,
    *,
    limit: int,
    offset: int,
    index: TextIndex = NO_INDEX,
    shard: int = SHARD,
) -> tuple[list[Conversation], int]:
    """The conversations that the roots which a query asks for belong to, the newest first, and how many there are."""
    found: dict[str, Conversation] = {}
    threaded = replace(query, is_root=True, condition=All((THREADED, query.condition)))
    async for slice_ in walk(connection, threaded, index=index, shard=shard):
        totals = await rollup.totals_of(connection, slice_.runs, shard=shard)
        for root in slice_.runs:
            if root.thread_id is not None:
                one = found.setdefault(root.thread_id, Conversation(root.thread_id, root, root))
                one.count(root, totals[root.id])
    newest = sorted(found.values(), key=lambda one: _moment(one.last), reverse=True)
    page = newest[offset : offset + limit]
    await _count_feedback(connection, page, threaded, index, shard)
    return page, len(newest)


async def _count_feedback(
    connection: AsyncConnection, page: Sequence[Conversation], query: RunQuery, index: TextIndex, shard: int
) -> None:
    by_thread = {one.thread_id: one for one in page}
    if not by_thread:
        return
    asked = replace(query, condition=All((OneOf(FIELDS["thread_id"], tuple(by_thread)), query.condition)))
    async for slice_ in walk(connection, asked, index=index, shard=shard):
        threads = {root.id: root.thread_id for root in slice_.runs}
        for told in await feedback.of_runs(connection, list(threads), shard=shard):
            thread = None if told.run_id is None else threads[told.run_id]
            if thread is not None:
                by_thread[thread].sums.feedback.count(told)


def added(one: Totals, other: Totals) -> Totals:
    """The sum of both; what neither knows stays unknown."""
    return Totals(*(b if a is None else a if b is None else a + b for a, b in zip(one, other, strict=True)))


def _moment(run: RunState) -> tuple[int, bytes]:
    return run.start_time, run.id
