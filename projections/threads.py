"""Threads: the traces of one conversation, by the thread id that their roots tell in their metadata.

A thread is known by its traces alone. Which ones a project has is told by an index over roots; what they hold is summed
up for those that are asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, and_, func, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.elements import ColumnClause

from events.schema import SHARD
from projections import feedback, rollup
from projections.projects import is_there
from projections.runs import RunState, runs
from projections.summing import Conversation

# Written out, because a partial index is only used where its condition is seen and not bound.
_IS_ROOT: Final[ColumnClause[bool]] = literal_column("runs.is_root = 1")


class ThreadPlace(NamedTuple):
    """Where a thread stands among others: when its last trace started (µs), and its id."""

    last_start: int
    thread_id: str


@dataclass(frozen=True, slots=True)
class Window:
    """A project and a span of time (µs) in which traces started; None is open. The end is not in it."""

    project_id: bytes
    start_from: int | None = None
    start_before: int | None = None

    def conditions(self, shard: int) -> ColumnElement[bool]:
        """The same as a condition of SQL on roots of traces that belong to a thread."""
        within = [
            runs.c.shard == shard,
            _IS_ROOT,
            runs.c.project_id == self.project_id,
            runs.c.thread_id.is_not(None),
        ]
        if self.start_from is not None:
            within.append(runs.c.start_time >= self.start_from)
        if self.start_before is not None:
            within.append(runs.c.start_time < self.start_before)
        return and_(*within)


async def newest(
    connection: AsyncConnection,
    window: Window,
    *,
    limit: int,
    after: ThreadPlace | None = None,
    shard: int = SHARD,
) -> list[ThreadPlace]:
    """The threads of a project, those with the newest trace first."""
    last = func.max(runs.c.start_time)
    query = (
        select(last, runs.c.thread_id)
        .where(window.conditions(shard), is_there(runs.c.project_id, shard=shard))
        .group_by(runs.c.thread_id)
        .order_by(last.desc(), runs.c.thread_id.desc())
        .limit(limit)
    )
    if after is not None:
        query = query.having(tuple_(last, runs.c.thread_id) < tuple_(*after))
    return [ThreadPlace(*row) for row in await connection.execute(query)]


async def summed_up(
    connection: AsyncConnection, window: Window, thread_ids: Sequence[str], *, shard: int = SHARD
) -> dict[str, Conversation]:
    """These threads, by id; those without any trace are left out. Tokens and cost are those of whole traces."""
    query = select(*runs.c).where(
        window.conditions(shard), runs.c.thread_id.in_(thread_ids), is_there(runs.c.project_id, shard=shard)
    )
    roots = [RunState.from_row(row) for row in await connection.execute(query)]
    totals = await rollup.totals_of(connection, roots, shard=shard)
    found: dict[str, Conversation] = {}
    threads: dict[bytes, Conversation] = {}
    for root in roots:
        if root.thread_id is not None:
            one = found.setdefault(root.thread_id, Conversation(root.thread_id, root, root))
            one.count(root, totals[root.id])
            threads[root.id] = one
    for told in await feedback.of_runs(connection, list(threads), shard=shard):
        if told.run_id is not None:
            threads[told.run_id].sums.feedback.count(told)
    return found


async def count(connection: AsyncConnection, window: Window, *, shard: int = SHARD) -> int:
    """How many threads have a trace in the window."""
    query = select(func.count(runs.c.thread_id.distinct())).where(
        window.conditions(shard), is_there(runs.c.project_id, shard=shard)
    )
    return int((await connection.execute(query)).scalar_one())


async def last_end(connection: AsyncConnection, project_id: bytes, thread_id: str, *, shard: int = SHARD) -> int | None:
    """When the last of a thread's traces to end ended (µs); None while none has."""
    query = select(func.max(runs.c.end_time)).where(Window(project_id).conditions(shard), runs.c.thread_id == thread_id)
    end: int | None = (await connection.execute(query)).scalar_one()
    return end


async def turns(
    connection: AsyncConnection, project_id: bytes, thread_id: str, *, shard: int = SHARD
) -> dict[bytes, int]:
    """The place of each trace in its thread, from 1 on, by the id of its root."""
    query = (
        select(runs.c.id)
        .where(Window(project_id).conditions(shard), runs.c.thread_id == thread_id)
        .order_by(runs.c.start_time, runs.c.id)
    )
    return {bytes(id_): number for number, id_ in enumerate((await connection.execute(query)).scalars(), 1)}
