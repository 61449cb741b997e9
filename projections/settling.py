"""What lies between runs, settled in shadow tables once every stream is folded: inferred traces, and placeholders.

The same as `projections.hierarchy` keeps up event by event (see there what the rules are), made at once for all.

What is to be settled is looked for in a snapshot: among a million runs that takes longer than writers should wait, and
nobody else writes to shadow tables.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Final

from events.dialect import Writer, open_snapshot
from projections import hierarchy, rebuilds, runs
from projections.hierarchy import Change
from projections.replay import awaits_trace
from projections.runs import RunState
from projections.tally import Tally

_PARENTS: Final = 500
_ROWS: Final = 1000
_NOBODY: Final = b""


class Settling:
    """Works on the shadow of `runs`, which `writer` writes to, and counts in `tally` what is settled."""

    def __init__(self, url: str, writer: Writer, tally: Tally, rebuild_id: int, *, shard: int) -> None:
        self._url = url
        self._writer = writer
        self._tally = tally
        self._rebuild_id = rebuild_id
        self._shard = shard
        self._table = writer.name_of(runs.runs)

    async def settle(self) -> AsyncIterator[None]:
        """Find every trace, then make every placeholder, in short transactions; between them it yields."""
        async for _ in self._settle_below_tops():
            yield
        async for _ in self._settle_cycles():
            yield
        async for _ in self._make_placeholders():
            yield

    # --- traces that follow from parents ------------------------------------------------------------------------------

    async def _settle_below_tops(self) -> AsyncIterator[None]:
        """From every place whose trace is known down to all runs whose traces follow from it."""
        query = (
            f"SELECT DISTINCT parent_run_id FROM {self._table} WHERE shard = ?1 AND is_trace_inferred = 1 "
            "AND parent_run_id > ?2 ORDER BY parent_run_id"
        )
        async with aclosing(self._found(query, _PARENTS)) as portions:
            async for parents in portions:
                async with self._transaction():
                    await self._settle(await self._below(await self._tops(parents)))
                yield

    async def _found(self, query: str, limit: int) -> AsyncGenerator[list[bytes], None]:
        """The ids that a query finds now, in order: so many at a time after the last one, which it is given as `?2`."""
        after = _NOBODY
        snapshot = open_snapshot(self._url)
        try:
            async with snapshot.transaction():
                while True:
                    rows = await snapshot.fetch(f"{query} LIMIT {limit}", self._shard, after)
                    ids = [bytes(row[0]) for row in rows]
                    if ids:
                        yield ids
                        after = ids[-1]
                    if len(ids) < limit:
                        return
        finally:
            await snapshot.close()

    async def _tops(self, parents: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        """Those of the parents whose trace does not follow from theirs, with it. An unknown one gives its own id."""
        known = await runs.load(self._writer, parents, shard=self._shard)
        tops = []
        for parent in parents:
            state = known.get(parent)
            if state is None:
                tops.append((parent, parent))
            elif not awaits_trace(state):
                tops.append((parent, state.trace_id))
        return tops

    async def _below(self, tops: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
        """The trace of every run that is below one of these by way of runs whose traces nobody named."""
        child = (
            f"JOIN {self._table} r ON r.shard = {self._shard} AND r.parent_run_id = {{above}}.id "
            "AND r.is_trace_inferred = 1 AND r.id <> {above}.id"
        )
        rows = await self._writer.lookup(
            "SELECT below.id, below.trace_id FROM (WITH RECURSIVE below(id, trace_id) AS ("
            f"SELECT r.id, k.trace_id FROM k {child.format(above='k')} "
            f"UNION SELECT r.id, below.trace_id FROM below {child.format(above='below')}"
            ") SELECT id, trace_id FROM below) AS below",
            {"id": "bytea", "trace_id": "bytea"},
            tops,
        )
        return {bytes(id_): bytes(trace) for id_, trace in rows}

    async def _settle_cycles(self) -> AsyncIterator[None]:
        """Runs that are each other's ancestors, and what is below them: no known place leads down to them."""
        query = (
            f"SELECT id FROM {self._table} WHERE shard = ?1 AND id > ?2 AND is_trace_inferred = 1 "
            "AND is_root = 1 AND parent_run_id IS NOT NULL AND parent_run_id <> id ORDER BY id"
        )
        async with aclosing(self._found(query, _ROWS)) as portions:
            async for unsettled in portions:
                async with self._transaction():
                    await self._settle(await self._in_cycles(unsettled))
                yield

    async def _in_cycles(self, run_ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """The traces of those of these runs whose way up leads into a cycle."""
        change = Change(self._shard)
        asked: set[bytes] = set()
        new = set(run_ids)
        while new:
            asked |= new
            await change.look_at(self._writer, new)
            states = filter(None, map(change.now, new))
            new = {state.parent_run_id for state in states if state.parent_run_id and awaits_trace(state)} - asked
        found: dict[bytes, bytes | None] = {}
        return {id_: trace for id_ in run_ids if (trace := _trace_of_cycle(change, id_, found)) is not None}

    async def _settle(self, traces: dict[bytes, bytes]) -> None:
        """Write the traces that were found into the rows, and count these."""
        ids = sorted(traces)
        for start in range(0, len(ids), _ROWS):
            states = await runs.load(self._writer, ids[start : start + _ROWS], shard=self._shard)
            for state in states.values():
                state.trace_id = traces[state.id]
                state.is_root = int(state.trace_id == state.id)
                self._tally.count(state)
            await self._writer.replace(runs.runs, [runs.as_row(state) for state in states.values()])

    # --- placeholders -------------------------------------------------------------------------------------------------

    async def _make_placeholders(self) -> AsyncIterator[None]:
        """A row for the root of every trace that has runs and no root."""
        query = (
            f"SELECT DISTINCT r.trace_id FROM {self._table} r WHERE r.shard = ?1 AND r.trace_id > ?2 "
            f"AND r.id <> r.trace_id AND NOT EXISTS (SELECT 1 FROM {self._table} o WHERE o.shard = r.shard "
            "AND o.id = r.trace_id) ORDER BY r.trace_id"
        )
        async with aclosing(self._found(query, _PARENTS)) as portions:
            async for traces in portions:
                async with self._transaction():
                    await self._insert(await hierarchy.placeholders_of(self._writer, traces, shard=self._shard))
                yield

    async def _insert(self, placeholders: Iterable[RunState]) -> None:
        rows = []
        for placeholder in placeholders:
            self._tally.count(placeholder)
            rows.append(runs.as_row(placeholder))
        await self._writer.insert(runs.runs, rows)

    def _transaction(self) -> AbstractAsyncContextManager[None]:
        return rebuilds.owned(self._writer, self._rebuild_id, shard=self._shard)


def _trace_of_cycle(change: Change, run_id: bytes, found: dict[bytes, bytes | None]) -> bytes | None:
    """The trace of a run whose way up leads into a cycle: the smallest id of that. None when it leads elsewhere."""
    way: dict[bytes, int] = {}
    at = run_id
    trace: bytes | None = None
    while True:
        state = change.now(at)
        if at in found:
            trace = found[at]
            break
        if at in way:
            trace = min(list(way)[way[at] :])
            break
        if state is None or not awaits_trace(state) or state.parent_run_id is None:
            break
        way[at] = len(way)
        at = state.parent_run_id
    found.update(dict.fromkeys(way, trace))
    return trace
