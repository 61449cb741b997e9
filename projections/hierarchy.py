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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from events.dialect import Writer
from projections import runs
from projections.runs import RunState


@dataclass(slots=True)
class Change:
    """Rows of `runs` before and after: those that a group of events touches, directly or through the hierarchy.

    `before` also holds rows that were looked at and not changed.
    """

    shard: int
    before: dict[bytes, RunState] = field(default_factory=dict)
    after: dict[bytes, RunState] = field(default_factory=dict)

    def now(self, run_id: bytes) -> RunState | None:
        """The newest known state of a run; None for a placeholder and for a run not looked at."""
        state = self.after.get(run_id) or self.before.get(run_id)
        return None if state is None or state.is_placeholder else state

    async def look_at(self, writer: Writer, ids: Iterable[bytes]) -> None:
        """Load rows that were not looked at yet."""
        missing = [id_ for id_ in set(ids) if id_ not in self.before]
        if missing:
            self.before.update(await runs.load(writer, missing, shard=self.shard))


async def resolve_traces(writer: Writer, change: Change) -> None:
    """Give every touched run of an inferred trace, and every run below one whose trace changed, its trace."""
    inferred = [state for state in change.after.values() if state.is_trace_inferred]
    await change.look_at(writer, (state.parent_run_id for state in inferred if state.parent_run_id))
    for state in inferred:
        trace, is_cycle = _trace_above(change, state)
        if is_cycle or _has_new_parent(change, state):
            trace = await _trace_of_cycle(writer, change, state) or trace
        _set_trace(change, state, trace)
    await _move_descendants(writer, change)


def _trace_above(change: Change, state: RunState) -> tuple[bytes, bool]:
    """The trace found by following parents, and whether the way led back to where it had been.

    A stored run that is not touched knows its trace, so the walk goes through touched runs only.
    """
    seen = {state.id}
    while state.is_trace_inferred:
        if state.parent_run_id is None or state.parent_run_id == state.id:
            return state.id, False
        if state.parent_run_id in seen:
            return state.id, True
        above = change.now(state.parent_run_id)
        if above is None:
            return state.parent_run_id, False
        if above.id not in change.after:
            if above.trace_id in seen:
                return above.trace_id, True
            if above.trace_id not in change.after:
                return above.trace_id, False
            above = change.after[above.trace_id]
        seen.add(above.id)
        state = above
    return state.trace_id, False


def _has_new_parent(change: Change, state: RunState) -> bool:
    """Whether a run that was stored under one parent now names another, maybe one below itself."""
    before = change.before.get(state.id)
    return before is not None and not before.is_placeholder and before.parent_run_id != state.parent_run_id


async def _trace_of_cycle(writer: Writer, change: Change, state: RunState) -> bytes | None:
    """Walk up run by run. When the way closes, its cycle's trace is the smallest id in it; else there is none."""
    path = [state]
    places = {state.id: 0}
    while True:
        last = path[-1]
        if not last.is_trace_inferred or last.parent_run_id is None or last.parent_run_id == last.id:
            return None
        if last.parent_run_id in places:
            members = path[places[last.parent_run_id] :]
            break
        await change.look_at(writer, [last.parent_run_id])
        above = change.now(last.parent_run_id)
        if above is None:
            return None
        places[above.id] = len(path)
        path.append(above)
    trace = min(member.id for member in members)
    for member in members:
        _set_trace(change, member, trace)
    return trace


async def _move_descendants(writer: Writer, change: Change) -> None:
    """Runs below that were waiting for a parent, or whose ancestors moved to another trace, follow."""
    moved = {state.id for state in change.after.values() if _has_moved(change, state)}
    while moved:
        rows = await writer.lookup(
            f"SELECT r.id FROM k JOIN runs r ON r.shard = {change.shard} AND r.parent_run_id = k.id "
            "AND r.is_trace_inferred = 1",
            {"id": "bytea"},
            [(id_,) for id_ in moved],
        )
        children = {bytes(row[0]) for row in rows}
        children |= {state.id for state in change.after.values() if state.parent_run_id in moved}
        await change.look_at(writer, children)
        moved = {child_id for child_id in children if _follows(change, child_id)}


def _follows(change: Change, child_id: bytes) -> bool:
    """Move a run of an inferred trace to its parent's trace; False when it is there already."""
    child = change.now(child_id)
    if child is None or not child.is_trace_inferred or child.parent_run_id in (None, child_id):
        return False
    parent = change.now(child.parent_run_id or b"")
    if parent is None or parent.trace_id == child.trace_id:
        return False
    _set_trace(change, child, parent.trace_id)
    return True


def _set_trace(change: Change, state: RunState, trace_id: bytes) -> None:
    if state.trace_id == trace_id and state.is_root == (trace_id == state.id):
        return
    if state.id not in change.after:
        state = copy.copy(state)
        change.after[state.id] = state
    state.trace_id = trace_id
    state.is_root = int(trace_id == state.id)


def _has_moved(change: Change, state: RunState) -> bool:
    before = change.before.get(state.id)
    return before is None or bool(before.is_placeholder) or before.trace_id != state.trace_id


async def settle_placeholders(writer: Writer, change: Change) -> list[tuple[RunState | None, RunState | None]]:
    """Make, renew or drop the placeholders of the traces that the change touched; return (before, after) of each.

    The changed rows must have been written already: the first run of a trace is looked up in the table.
    """
    traces = {state.trace_id for state in change.after.values() if not state.is_root}
    traces |= {old.trace_id for id_, old in change.before.items() if id_ in change.after and not old.is_root}
    await change.look_at(writer, traces)
    rootless = sorted(trace for trace in traces if change.now(trace) is None)
    firsts = await _first_runs(writer, change, rootless)
    turns: list[tuple[RunState | None, RunState | None]] = []
    for trace in rootless:
        before, first = change.before.get(trace), firsts.get(trace)
        after = None if first is None else _placeholder(trace, first)
        if (before is None and after is None) or (before and after and runs.as_row(before) == runs.as_row(after)):
            continue
        turns.append((before, after))
    await writer.delete(runs.runs, [(change.shard, old.id) for old, new in turns if old and not new])
    await writer.replace(runs.runs, [runs.as_row(new) for _, new in turns if new])
    return turns


async def _first_runs(writer: Writer, change: Change, traces: Sequence[bytes]) -> dict[bytes, RunState]:
    if not traces:
        return {}
    rows = await writer.lookup(
        f"SELECT k.trace_id, (SELECT r.id FROM runs r WHERE r.shard = {change.shard} "
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
