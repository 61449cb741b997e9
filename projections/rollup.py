"""Tokens and cost of a run with all that is below it, each counted once.

What counts are the runs of models (`llm`) that tell their usage. Of two such runs, one above the other, the upper one
counts: it tells of the same call. A run that is no such run itself shows the sum of those below it; when there are
none, what it tells itself.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    SmallInteger,
    bindparam,
    func,
    literal_column,
    select,
    text,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import BigInteger

from events.prepared import Prepared
from events.schema import SHARD
from projections.runs import RunState, runs

COUNTING_RUN_TYPE: Final = "llm"
AMOUNTS: Final = (
    *("prompt_tokens", "completion_tokens", "total_tokens"),
    *("prompt_cost", "completion_cost", "total_cost"),
)


class Totals(NamedTuple):
    """Tokens, and costs in picodollars; None where nothing is known."""

    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    prompt_cost: int | None
    completion_cost: int | None
    total_cost: int | None


def own_totals(run: RunState) -> Totals:
    """What a run tells of itself."""
    return Totals(*(getattr(run, name) for name in AMOUNTS))


def counts(run: RunState) -> bool:
    """Whether a run's own usage stands for it and for all that is below it."""
    return run.run_type == COUNTING_RUN_TYPE and (run.total_tokens is not None or run.total_cost is not None)


def amount_of(run: str, amount: str) -> ColumnElement[int]:
    """One of `AMOUNTS` as SQL, of the row of `runs` that a query knows by the name `run`."""
    own = f"{run}.{amount}"
    below = _BELOW_ONE.format(run=run, amount=amount)
    amount_now = f"CASE WHEN {_counting(run)} THEN {own} ELSE coalesce(({below}), {own}) END"
    # Coerced, or the names of parameters that it is compared with would be made of its text.
    return type_coerce(literal_column(amount_now), BigInteger)


async def totals_of(
    connection: AsyncConnection, states: Sequence[RunState], *, shard: int = SHARD
) -> dict[bytes, Totals]:
    """The totals of these runs."""
    summed = [state.id for state in states if not counts(state)]
    found: Mapping[bytes, Totals] = {}
    if summed:
        rows = await _BELOW_MANY.rows(connection, shard=shard, ids=summed)
        found = {row[0]: Totals(*(None if sum_ is None else int(sum_) for sum_ in row[1:])) for row in rows}
    return {state.id: found.get(state.id) or own_totals(state) for state in states}


async def covered(connection: AsyncConnection, run_ids: Sequence[bytes], *, shard: int = SHARD) -> set[bytes]:
    """Those of these runs above which there is one whose usage stands for them, too."""
    if not run_ids:
        return set()
    return {row[0] for row in await _COVERED.rows(connection, shard=shard, ids=run_ids)}


def is_counted(run: str) -> ColumnElement[int]:
    """As SQL, 1 where what the row of `runs` tells of itself counts, which a query knows by the name `run`; else 0.

    It does not for a run that is no model's, tells no usage, or has one above it whose usage stands for it.
    """
    found = f"CASE WHEN {_counting(run)} AND NOT EXISTS ({_COUNTING_ABOVE.format(run=run)}) THEN 1 ELSE 0 END"
    return type_coerce(literal_column(found), SmallInteger)


def _counting(run: str) -> str:
    return (
        f"({run}.run_type = '{COUNTING_RUN_TYPE}' AND ({run}.total_tokens IS NOT NULL OR {run}.total_cost IS NOT NULL))"
    )


def _prepared(query: str) -> Prepared:
    """A query of the shard `:shard` and the runs `:ids`."""
    ids = bindparam("ids", expanding=True, type_=LargeBinary)
    return Prepared(text(query).bindparams(bindparam("shard", type_=SmallInteger), ids))


_FLAG: Final = f"CASE WHEN {_counting('r')} THEN 1 ELSE 0 END"
# UNION without ALL: a run that was met before is not followed again, so that a cycle ends.
_BELOW_ONE: Final = f"""
    WITH RECURSIVE below(id, counts) AS (
        SELECT r.id, {_FLAG} FROM runs r WHERE r.shard = {{run}}.shard AND r.parent_run_id = {{run}}.id
        UNION
        SELECT r.id, {_FLAG} FROM below JOIN runs r ON r.shard = {{run}}.shard AND r.parent_run_id = below.id
        WHERE below.counts = 0
    )
    SELECT sum(c.{{amount}}) FROM below JOIN runs c ON c.shard = {{run}}.shard AND c.id = below.id
    WHERE below.counts = 1
"""
_SUMS: Final = ", ".join(f"sum(c.{amount})" for amount in AMOUNTS)
_BELOW_MANY: Final = _prepared(
    f"""
    WITH RECURSIVE below(top, id, counts) AS (
        SELECT r.parent_run_id, r.id, {_FLAG} FROM runs r WHERE r.shard = :shard AND r.parent_run_id IN :ids
        UNION
        SELECT below.top, r.id, {_FLAG} FROM below JOIN runs r ON r.shard = :shard AND r.parent_run_id = below.id
        WHERE below.counts = 0
    )
    SELECT below.top, {_SUMS} FROM below JOIN runs c ON c.shard = :shard AND c.id = below.id
    WHERE below.counts = 1 GROUP BY below.top
    """
)
_PARENT_FLAG: Final = f"CASE WHEN {_counting('p')} THEN 1 ELSE 0 END"
_COUNTING_ABOVE: Final = f"""
    WITH RECURSIVE above(id, parent_run_id, counts) AS (
        SELECT p.id, p.parent_run_id, {_PARENT_FLAG} FROM runs p
        WHERE p.shard = {{run}}.shard AND p.id = {{run}}.parent_run_id AND p.id <> {{run}}.id
        UNION
        SELECT p.id, p.parent_run_id, {_PARENT_FLAG} FROM above
        JOIN runs p ON p.shard = {{run}}.shard AND p.id = above.parent_run_id
        WHERE above.counts = 0
    )
    SELECT 1 FROM above WHERE counts = 1
"""
_COVERED: Final = _prepared(
    f"""
    WITH RECURSIVE above(bottom, id, counts) AS (
        SELECT r.id, p.id, {_PARENT_FLAG} FROM runs r
        JOIN runs p ON p.shard = :shard AND p.id = r.parent_run_id AND p.id <> r.id
        WHERE r.shard = :shard AND r.id IN :ids
        UNION
        SELECT above.bottom, p.id, {_PARENT_FLAG} FROM above
        JOIN runs r ON r.shard = :shard AND r.id = above.id
        JOIN runs p ON p.shard = :shard AND p.id = r.parent_run_id
        WHERE above.counts = 0
    )
    SELECT DISTINCT bottom FROM above WHERE counts = 1
    """
)


async def first_tokens_of(
    connection: AsyncConnection, trace_ids: Sequence[bytes], *, shard: int = SHARD
) -> dict[bytes, int]:
    """When the first token of each of these traces came (µs); traces without any are left out."""
    first = func.min(runs.c.first_token_time)
    query = (
        select(runs.c.trace_id, first)
        .where(runs.c.shard == shard, runs.c.trace_id.in_(trace_ids), runs.c.first_token_time.is_not(None))
        .group_by(runs.c.trace_id)
    )
    return {bytes(trace): start for trace, start in await connection.execute(query)}
