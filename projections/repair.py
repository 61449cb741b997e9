"""Putting one trace right: its rows are folded anew from the log, and those that differ are replaced.

For one trace that was damaged this is quicker than a rebuild: it takes the head for as long as reading the trace's
events takes, and makes no shadow tables. What is counted over all traces (names, projects, stats) is left as it is: it
was counted when the rows were right. Whether that is so, a rebuild of `stats` tells.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Table

from events import log
from events.dialect import Writer
from events.kinds import feedback_stream, run_stream, share_stream
from events.log import RecordedEvent, read_stream_written
from projections import attachments, feedback, feedback_tokens, hierarchy, naming, places, runs, shares
from projections.comparison import Difference
from projections.hierarchy import Change
from projections.naming import UNCHANGED, Naming
from projections.projector import fold_version
from projections.replay import FoldedRun, fold_run
from projections.runs import RunState, Turn
from projections.status import StatusRule

_CUT_OFF: Final = 2  # Where in a stream the id of its subject begins, as SQL counts.


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was found: the rows that differed, how many events were folded, and up to which position."""

    position: int
    events: int
    differences: Sequence[Difference]


async def repair_trace(writer: Writer, trace_id: bytes, *, rule: StatusRule, is_dry_run: bool, shard: int) -> Repaired:
    """Fold every run of a trace anew, its attachments and its feedback, and replace what differs.

    A row counts to the trace when it says so, or is below one that does; a run without any row when its events say so.
    Raises `FoldVersionMismatch` when other folds made the read models: then nothing less than a rebuild is needed.
    """
    repair = _Repair(writer, trace_id, rule, shard)
    try:
        async with writer.transaction():
            head = await log.lock_head(writer, fold_version=fold_version(rule), shard=shard)
            await repair.run()
            if is_dry_run:
                raise _RolledBack
    except _RolledBack:
        pass
    return Repaired(head.position, repair.events, repair.differences)


class _RolledBack(Exception):
    """Ends a transaction that was only for looking."""


@dataclass(slots=True)
class _Repair:
    writer: Writer
    trace_id: bytes
    rule: StatusRule
    shard: int
    events: int = 0
    differences: list[Difference] = field(default_factory=list)
    _naming: Naming = UNCHANGED
    _streams: dict[bytes, list[RecordedEvent]] = field(default_factory=dict)

    async def run(self) -> None:
        """Find what belongs to the trace, and put it right."""
        self._naming = await naming.load(self.writer, None, shard=self.shard)
        run_ids = await self._run_ids()
        await self._repair_runs(run_ids)
        await self._repair_rows(attachments.attachments, "run_id", run_ids, self._attachments(run_ids))
        await self._repair_rows(places.former_places, "run_id", run_ids, self._places(run_ids))
        feedback_ids = await self._feedback_ids(run_ids)
        await self._repair_rows(feedback.feedback, "id", feedback_ids, await self._feedback(feedback_ids))
        await self._repair_rows(feedback_tokens.feedback_tokens, "id", feedback_ids, await self._tokens(feedback_ids))
        await self._repair_rows(shares.shares, "run_id", run_ids, await self._shares(run_ids))

    # --- what belongs to it -------------------------------------------------------------------------------------------

    async def _run_ids(self) -> list[bytes]:
        """The runs of the trace."""
        rows = await self.writer.fetch(
            "WITH RECURSIVE inside(id) AS (SELECT id FROM runs WHERE shard = ?1 AND (trace_id = ?2 OR id = ?2) UNION "
            "SELECT r.id FROM inside JOIN runs r ON r.shard = ?1 AND r.parent_run_id = inside.id) "
            "SELECT id FROM inside",
            *(self.shard, self.trace_id),
        )
        found = {self.trace_id, *(bytes(row[0]) for row in rows)}
        rowless = {run_id: await self._state(run_id) for run_id in await self._rowless(run_stream, "runs")}
        grown = True
        while grown:
            more = {
                run_id
                for run_id, state in rowless.items()
                if state is not None and (state.trace_id == self.trace_id or state.parent_run_id in found)
            }
            grown = not more <= found
            found |= more
        for run_id in found:
            await self._read(run_stream(run_id))
        return sorted(found)

    async def _rowless(self, stream_of: Any, table: str) -> list[bytes]:
        """The subjects of streams that there is no row of. Most of them are erased."""
        first = stream_of(b"")
        rows = await self.writer.fetch(
            "SELECT DISTINCT e.stream FROM events e WHERE e.shard = ?1 AND e.version = 1 AND e.payload IS NOT NULL "
            f"AND e.stream > ?2 AND e.stream < ?3 AND NOT EXISTS (SELECT 1 FROM {table} t WHERE t.shard = e.shard "
            f"AND t.id = substr(e.stream, {_CUT_OFF}))",
            *(self.shard, first, bytes([first[0] + 1])),
        )
        return [bytes(row[0])[1:] for row in rows]

    async def _feedback_ids(self, run_ids: Sequence[bytes]) -> list[bytes]:
        on_runs = await self.writer.lookup(
            f"SELECT f.id FROM k JOIN feedback f ON f.shard = {self.shard} AND f.run_id = k.id",
            {"id": "bytea"},
            [(run_id,) for run_id in run_ids],
        )
        on_trace = await self.writer.fetch(
            "SELECT id FROM feedback WHERE shard = ?1 AND trace_id = ?2", self.shard, self.trace_id
        )
        tokens = await self.writer.lookup(
            f"SELECT t.id FROM k JOIN feedback_tokens t ON t.shard = {self.shard} AND t.run_id = k.id",
            {"id": "bytea"},
            [(run_id,) for run_id in run_ids],
        )
        found = {bytes(row[0]) for row in (*on_runs, *on_trace, *tokens)}
        for feedback_id in await self._rowless(feedback_stream, "feedback"):
            state = await self._feedback_state(feedback_id)
            if state is not None and (state.trace_id == self.trace_id or state.run_id in run_ids):
                found.add(feedback_id)
        return sorted(found)

    async def _read(self, stream: bytes) -> list[RecordedEvent]:
        if stream not in self._streams:
            self._streams[stream] = await read_stream_written(self.writer, stream, shard=self.shard)
            self.events += len(self._streams[stream])
        return self._streams[stream]

    async def _state(self, run_id: bytes) -> RunState | None:
        await self._read(run_stream(run_id))
        return self._folded(run_id).state

    async def _feedback_state(self, feedback_id: bytes) -> feedback.Feedback | None:
        state: feedback.Feedback | None = None
        for event in await self._read(feedback_stream(feedback_id)):
            state = feedback.fold(state, event)
        return state

    # --- what it must be ----------------------------------------------------------------------------------------------

    async def _repair_runs(self, run_ids: Sequence[bytes]) -> None:
        change = Change(self.shard)
        await change.look_at(self.writer, run_ids)
        for run_id in run_ids:
            state = await self._state(run_id)
            if state is not None:
                change.after[run_id] = state
            elif change.now(run_id) is not None:
                change.gone.add(run_id)
        await self.writer.delete(runs.runs, [(self.shard, run_id) for run_id in sorted(change.gone)])
        await self._resolve(change)
        await self.writer.replace(runs.runs, [runs.as_row(state) for state in change.after.values()])
        turns: list[Turn] = [(change.before.get(id_), state) for id_, state in change.after.items()]
        turns += [(change.before[id_], None) for id_ in sorted(change.gone)]
        turns += await hierarchy.settle_placeholders(self.writer, change)
        for old, new in turns:
            for state in filter(None, (old, new)):
                key = (state.id,)
            rows = [None if state is None else runs.as_row(state) for state in (old, new)]
            self._compare(runs.runs, key, *rows)

    async def _resolve(self, change: Change) -> None:
        """Find the traces of the runs as if each were placed anew."""
        looked_at, change.before = change.before, {}
        await hierarchy.resolve_traces(self.writer, change)
        change.before.update(looked_at)

    def _attachments(self, run_ids: Iterable[bytes]) -> list[tuple[Any, ...]]:
        left = [attachments.fold(self._folded(run_id).counting) for run_id in run_ids]
        return [attachments.as_row(self.shard, attachment) for of_run in left for attachment in of_run.values()]

    def _places(self, run_ids: Iterable[bytes]) -> list[tuple[Any, ...]]:
        return [(self.shard, *place) for run_id in run_ids for place in sorted(self._folded(run_id).former)]

    def _folded(self, run_id: bytes) -> FoldedRun:
        return fold_run(self._streams[run_stream(run_id)], shard=self.shard, rule=self.rule, naming=self._naming)

    async def _feedback(self, feedback_ids: Iterable[bytes]) -> list[tuple[Any, ...]]:
        states = [await self._feedback_state(feedback_id) for feedback_id in feedback_ids]
        return [feedback.as_row(self.shard, state) for state in states if state is not None]

    async def _tokens(self, feedback_ids: Iterable[bytes]) -> list[tuple[Any, ...]]:
        told = [feedback_tokens.fold(await self._read(feedback_stream(id_))) for id_ in feedback_ids]
        return [feedback_tokens.as_row(self.shard, token) for tokens in told for token in tokens.values()]

    async def _shares(self, run_ids: Iterable[bytes]) -> list[tuple[Any, ...]]:
        told = [shares.fold(await self._read(share_stream(run_id))) for run_id in run_ids]
        return [shares.as_row(self.shard, id_, token) for of_run in told for id_, token in of_run.items() if token]

    async def _repair_rows(
        self, table: Table, column: str, ids: Sequence[bytes], should_be: Sequence[tuple[Any, ...]]
    ) -> None:
        """Make the rows of these subjects those that should be."""
        columns = ", ".join(f"t.{c.name}" for c in table.columns)
        rows = await self.writer.lookup(
            f"SELECT {columns} FROM k JOIN {table.name} t ON t.shard = {self.shard} AND t.{column} = k.id",
            {"id": "bytea"},
            [(id_,) for id_ in ids],
        )
        there, right = _by_key(table, rows), _by_key(table, should_be)
        for key in sorted(there.keys() | right.keys()):
            self._compare(table, key[1:], there.get(key), right.get(key))
        await self.writer.delete(table, sorted(there.keys() - right.keys()))
        await self.writer.replace(table, [row for key, row in right.items() if row != there.get(key)])

    def _compare(
        self, table: Table, key: tuple[Any, ...], live: Sequence[Any] | None, right: Sequence[Any] | None
    ) -> None:
        """Note the difference between a live row and what it should be, if there is one."""
        if live is None or right is None:
            if live is not right:
                self.differences.append(Difference(table.name, key, live is None, {}))
            return
        pairs = {c.name: pair for c, pair in zip(table.columns, zip(live, right, strict=True), strict=True)}
        columns = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        if columns:
            self.differences.append(Difference(table.name, key, False, columns))


def _by_key(table: Table, rows: Iterable[Sequence[Any]]) -> Mapping[tuple[Any, ...], tuple[Any, ...]]:
    places_ = [table.columns.keys().index(column.name) for column in table.primary_key]
    return {tuple(row[place] for place in places_): tuple(row) for row in rows}
