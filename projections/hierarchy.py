"""Which trace a run belongs to when nobody said so, and which traces have no root yet.

The edges of the trees are columns of `runs` (`parent_run_id`, `trace_id`): one row less per run than a table of their
own. Three facts about them do not follow from one run's events alone and are kept here, in the same transaction:

- A run whose trace no event named (SDKs up to 0.0.92) belongs to its parent's trace; without a parent it is a root
  itself. While the parent is unknown, the trace goes by the parent's id. When the parent comes, the whole subtree
  below it moves. Runs that are each other's ancestors form a trace named after the smallest id among them.
- A run is listed as a root when its trace is named after it.
- A trace that has runs but no root has a placeholder row in `runs`, with what its first run says, until the root
  comes.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from events.dialect import Writer
from projections import runs
from projections.runs import RunState


@dataclass(slots=True)
class Change:
    """Rows of `runs` before and after: those that a group of events touches, directly or through the hierarchy.

    `before` also holds rows that were looked at and not changed. Those in `gone` are no more. `recent` are some stored
    rows as they are, which need not be loaded.
    """

    shard: int
    recent: Mapping[bytes, RunState] = field(default_factory=dict)
    before: dict[bytes, RunState] = field(default_factory=dict)
    after: dict[bytes, RunState] = field(default_factory=dict)
    gone: set[bytes] = field(default_factory=set)
    _asked: set[bytes] = field(default_factory=set)

    def now(self, run_id: bytes) -> RunState | None:
        """The newest known state of a run; None for a placeholder and for a run not looked at."""
        if run_id in self.gone:
            return None
        state = self.after.get(run_id) or self.before.get(run_id)
        return None if state is None or state.is_placeholder else state

    async def look_at(self, writer: Writer, ids: Iterable[bytes]) -> None:
        """Load rows that were not looked at yet."""
        missing = set(ids) - self.before.keys() - self._asked
        for id_ in self.recent.keys() & missing:
            self.before[id_] = self.recent[id_]
        unknown = missing - self.before.keys()
        if unknown:
            self._asked |= unknown
            self.before.update(await runs.load(writer, list(unknown), shard=self.shard))


async def resolve_traces(writer: Writer, change: Change) -> None:
    """Give every run whose trace nobody named, and whose place or whose ancestors' places changed, its trace."""
    placed = {state.id for state in change.after.values() if _is_placed_anew(change, state)}
    affected = placed | await _below(writer, change.shard, [*placed, *change.gone])
    await change.look_at(writer, affected)
    await change.look_at(writer, _parents(change, affected))
    found: dict[bytes, bytes] = {}
    for run_id in affected:
        find_trace(change, run_id, affected, found)
    for run_id, trace in found.items():
        _set_trace(change, run_id, trace)


def _is_placed_anew(change: Change, state: RunState) -> bool:
    """Whether the run is new, or its trace is not the stored one, or what that follows from has changed."""
    before = change.before.get(state.id)
    return before is None or bool(before.is_placeholder) or _place(before) != _place(state)


def _place(state: RunState) -> tuple[int, bytes, bytes | None]:
    return state.is_trace_inferred, state.trace_id, state.parent_run_id if state.is_trace_inferred else None


async def _below(writer: Writer, shard: int, ids: Sequence[bytes]) -> set[bytes]:
    """The stored runs below these whose traces follow from theirs."""
    table = writer.name_of(runs.runs)
    if not ids or not await writer.fetch(_ANY_INFERRED.format(runs=table), shard, b""):
        return set()
    rows = await writer.lookup(
        f"SELECT below.id FROM (WITH RECURSIVE below(id) AS ({_CHILDREN.format(above='k', runs=table, shard=shard)} "
        f"UNION {_CHILDREN.format(above='below', runs=table, shard=shard)}) SELECT id FROM below) AS below",
        {"id": "bytea"},
        [(id_,) for id_ in ids],
    )
    return {bytes(row[0]) for row in rows}


# Newer SDKs name the trace of every run, and then there is none. Asked for a parent that IS NOT NULL instead of one
# greater than nothing, SQLite looks at every run that has one (seen: it passes over the partial index).
_ANY_INFERRED: Final = "SELECT 1 FROM {runs} WHERE shard = ?1 AND is_trace_inferred = 1 AND parent_run_id > ?2 LIMIT 1"
_CHILDREN: Final = (
    "SELECT r.id FROM {above} JOIN {runs} r ON r.shard = {shard} AND r.parent_run_id = {above}.id "
    "AND r.is_trace_inferred = 1"
)


def _parents(change: Change, ids: Iterable[bytes]) -> Iterator[bytes]:
    for id_ in ids:
        state = change.now(id_)
        if state is not None and state.is_trace_inferred and state.parent_run_id is not None:
            yield state.parent_run_id


def find_trace(change: Change, run_id: bytes, affected: Set[bytes], found: dict[bytes, bytes]) -> None:
    """Follow parents to the first run whose trace is known, and note the trace for every run on the way.

    Stored runs that are not affected know theirs. A way that leads back into itself ends in a cycle.
    """
    way: dict[bytes, int] = {}
    trace: bytes | None = None
    at = run_id
    while trace is None:
        state = change.now(at)
        if state is None:
            trace = at  # Nobody told of this parent: until then the trace goes by its id.
        elif at in way:
            trace = min(list(way)[way[at] :])
        elif at in found:
            trace = found[at]
        elif at not in affected or not state.is_trace_inferred:
            trace = state.trace_id
        else:
            way[at] = len(way)
            if state.parent_run_id is None or state.parent_run_id == at:
                trace = at
            else:
                at = state.parent_run_id
    found.update(dict.fromkeys(way, trace))


def _set_trace(change: Change, run_id: bytes, trace_id: bytes) -> None:
    state = change.now(run_id)
    if state is None or (state.trace_id == trace_id and state.is_root == (trace_id == run_id)):
        return
    if run_id not in change.after:
        state = change.after[run_id] = copy.copy(state)
    state.trace_id = trace_id
    state.is_root = int(trace_id == run_id)


async def settle_placeholders(writer: Writer, change: Change) -> list[tuple[RunState | None, RunState | None]]:
    """Make, renew or drop the placeholders of the traces that the change touched; return (before, after) of each.

    The changed rows must have been written already: the first run of a trace is looked up in the table.
    """
    traces = {state.trace_id for state in change.after.values() if not state.is_root}
    traces |= {old.trace_id for id_, old in change.before.items() if id_ in change.after and not old.is_root}
    traces |= {change.before[id_].trace_id for id_ in change.gone} | change.gone
    await change.look_at(writer, traces - change.after.keys())
    rootless = sorted(trace for trace in traces if change.now(trace) is None)
    firsts = await _first_runs(writer, change, rootless)
    turns: list[tuple[RunState | None, RunState | None]] = []
    for trace in rootless:
        before, first = None if trace in change.gone else change.before.get(trace), firsts.get(trace)
        after = None if first is None else _placeholder(trace, first)
        if (before is None and after is None) or (before and after and runs.as_row(before) == runs.as_row(after)):
            continue
        turns.append((before, after))
    await runs.store(writer, turns)
    return turns


async def placeholders_of(writer: Writer, traces: Sequence[bytes], *, shard: int) -> list[RunState]:
    """The placeholders of these traces, which have no root: of each what its first stored run says."""
    firsts = await _first_runs(writer, Change(shard), traces)
    return [_placeholder(trace, first) for trace, first in firsts.items()]


async def _first_runs(writer: Writer, change: Change, traces: Sequence[bytes]) -> dict[bytes, RunState]:
    if not traces:
        return {}
    rows = await writer.lookup(
        f"SELECT k.trace_id, (SELECT r.id FROM {writer.name_of(runs.runs)} r WHERE r.shard = {change.shard} "
        "AND r.trace_id = k.trace_id AND r.is_placeholder = 0 ORDER BY r.start_time, r.id LIMIT 1) FROM k",
        {"trace_id": "bytea"},
        [(trace,) for trace in traces],
    )
    first_ids = {bytes(trace): bytes(run_id) for trace, run_id in rows if run_id is not None}
    states = await runs.load(writer, list(first_ids.values()), shard=change.shard)
    return {trace: states[run_id] for trace, run_id in first_ids.items()}


def _placeholder(trace: bytes, first: RunState) -> RunState:
    """A row that stands in for the root of a trace: what its first run says about when and where."""
    state = runs.begin(first.shard, trace, first.first_recorded_at)
    state.is_placeholder = state.is_root = 1
    state.project_id, state.start_time = first.project_id, first.start_time
    state.name, state.run_type = first.name, first.run_type
    state.status, state.langsmith_status = "running", "pending"
    return state
