"""Runs and traces as they were: what a store would answer that was told the events up to a position and no more.

A run is folded from its stream up to there. Its trace is found as it was then: by what was said, or by following the
parents of then. The runs of a trace are looked for among all that are, or ever were, in it or below one that is or was
(`runs` knows the present places, `places` the former ones); each is asked where it was.

What was erased since cannot be told: it reads as if it had never come. A project that runs name by nothing but its id
goes by the name that the store knows for it now.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.ids import format_id
from events.kinds import project_stream, run_stream
from events.log import RecordedEvent, read_stream, read_streams
from events.schema import SHARD
from projections import attachments, hierarchy, naming, places, profiles, projects, record, runs
from projections.attachments import Attachment
from projections.hierarchy import Change
from projections.naming import Naming
from projections.profiles import Profile
from projections.record import Record
from projections.reverts import effective, shown_version
from projections.runs import RunState
from projections.status import StatusRule
from projections.traces import NamedRun, Outline, outline
from projections.words import DEFAULT_PROJECT, DEFAULT_PROJECT_ID, project_names_in

_IDS_PER_QUERY: Final = 500


@dataclass(frozen=True, slots=True)
class WholeRun:
    """A run with all that is told of it. `above` are its ancestors, its parent first, unless its place is told."""

    named: NamedRun
    record: Record
    attachments: Sequence[Attachment]
    above: Sequence[RunState]


@dataclass(frozen=True, slots=True)
class WholeTrace:
    """A trace and its runs, with the one that it is named after even when that says it is elsewhere."""

    id: bytes
    runs: Sequence[Outline]


async def run_at(
    connection: AsyncConnection, run_id: bytes, position: int, *, rule: StatusRule, shard: int = SHARD
) -> WholeRun | None:
    """A run as of a position; None when nothing had been told of it, or it was erased since."""
    stream = await read_stream(connection, run_stream(run_id), shard=shard)
    events = [event for event in stream if event.position <= position]
    counting = effective(events)
    given = await naming.read(connection, None, shard=shard)
    past = _Past(connection, position, rule, given, shard)
    state = past.put(run_id, events)
    if state is None:
        return None
    told = record.fold(counting)
    above = await past.above(state) if state.is_trace_inferred or needs_above(told) else []
    past.settle([run_id])
    return WholeRun(
        NamedRun(state, await _project_name(connection, state.project_id, counting, position, given, shard)),
        told,
        sorted(attachments.fold(counting).values(), key=lambda attached: attached.name),
        above if needs_above(told) else [],
    )


async def trace_at(
    connection: AsyncConnection, trace_or_run_id: bytes, position: int, *, rule: StatusRule, shard: int = SHARD
) -> WholeTrace | None:
    """As of a position: the trace that goes by this id, or that the run belonged to; None when there was neither."""
    past = _Past(connection, position, rule, await naming.read(connection, None, shard=shard), shard)
    await past.load([trace_or_run_id])
    run = past.states[trace_or_run_id]
    trace_id = trace_or_run_id
    if run is not None:
        await past.above(run)
        past.settle([run.id])
        trace_id = run.trace_id
    candidates = await _ever_in(connection, trace_id, shard)
    await past.load(candidates)
    past.settle(candidates)
    then = [state for id_ in candidates if (state := past.states[id_]) is not None]
    members = [outline(state) for state in then if trace_id in (state.trace_id, state.id)]
    return WholeTrace(trace_id, members) if members else None


def needs_above(told: Record) -> bool:
    """Whether a run's place below its ancestors has to be found, because nobody told it."""
    return "dotted_order" not in told.members


class _Past:
    """Runs as of a position, as far as they were loaded; None stands for those that were not there."""

    def __init__(self, connection: AsyncConnection, position: int, rule: StatusRule, given: Naming, shard: int) -> None:
        self.states: dict[bytes, RunState | None] = {}
        self._connection = connection
        self._position = position
        self._rule: StatusRule = rule
        self._naming = given
        self._shard = shard

    def put(self, run_id: bytes, events: Sequence[RecordedEvent]) -> RunState | None:
        """Fold the events that had been told of a run. Its trace may have to be found yet."""
        state = runs.fold_all(effective(events), shard=self._shard, rule=self._rule, naming=self._naming)
        if state is not None:
            state.version = shown_version(events)
        self.states[run_id] = state
        return state

    async def load(self, run_ids: Iterable[bytes]) -> None:
        """Fold those of these runs that were not folded yet."""
        missing = [run_stream(run_id) for run_id in run_ids if run_id not in self.states]
        for some in _chunks(missing):
            read = await read_streams(self._connection, some, upto=self._position, shard=self._shard)
            for stream, events in read.items():
                self.put(stream[1:], events)

    async def above(self, run: RunState) -> list[RunState]:
        """The ancestors of a run, its parent first, as far as they were known. A cycle ends where it closes."""
        await self.load(await self._above_now(run.id))  # Mostly those of then, and at once.
        found: list[RunState] = []
        seen = {run.id}
        parent_id = run.parent_run_id
        while parent_id is not None and parent_id not in seen:
            await self.load([parent_id])
            parent = self.states[parent_id]
            if parent is None:
                break
            seen.add(parent_id)
            found.append(parent)
            parent_id = parent.parent_run_id
        return found

    async def _above_now(self, run_id: bytes) -> list[bytes]:
        table = runs.runs
        own = select(table.c.parent_run_id.label("id")).where(table.c.shard == self._shard, table.c.id == run_id)
        above = own.cte("above", recursive=True)
        # A join would let PostgreSQL read the whole table again for each level.
        parent = select(table.c.parent_run_id).where(table.c.shard == self._shard, table.c.id == above.c.id)
        further = select(parent.scalar_subquery()).where(above.c.id.is_not(None))
        query = select(above.union(further).c.id)
        return [bytes(id_) for id_ in (await self._connection.execute(query)).scalars() if id_ is not None]

    def settle(self, run_ids: Iterable[bytes]) -> None:
        """Find the traces of these runs as of then. A parent that was not loaded counts as unknown."""
        change = Change(self._shard, after={id_: state for id_, state in self.states.items() if state is not None})
        affected = frozenset(change.after)
        found: dict[bytes, bytes] = {}
        for run_id in run_ids:
            hierarchy.find_trace(change, run_id, affected, found)
        for run_id, trace_id in found.items():
            state = change.after[run_id]
            state.trace_id, state.is_root = trace_id, int(trace_id == run_id)


async def _ever_in(connection: AsyncConnection, trace_id: bytes, shard: int) -> list[bytes]:
    """Every run that is or ever was in a trace, or below one that is or was. Some of them never were in it at all.

    Of two queries that look for the same, that for the present comes first: what moves in between is then found by the
    one for the past.
    """
    present = select(runs.runs.c.id).where(
        runs.runs.c.shard == shard, runs.runs.c.trace_id == trace_id, runs.runs.c.is_placeholder == 0
    )
    found: set[bytes] = set()
    new = {trace_id, *map(bytes, (await connection.execute(present)).scalars())}
    while new:
        found |= new
        reached: set[bytes] = set()
        for some in _chunks(sorted(new)):
            reached |= await _below_elsewhere(connection, some, trace_id, shard)
            reached |= await places.once_at(connection, some, shard=shard)
        new = reached - found
    return sorted(found)


async def _below_elsewhere(
    connection: AsyncConnection, run_ids: Sequence[bytes], trace_id: bytes, shard: int
) -> set[bytes]:
    """The runs below these that are in another trace now."""
    table = runs.runs
    elsewhere = (table.c.shard == shard) & (table.c.trace_id != trace_id) & (table.c.is_placeholder == 0)
    below = select(table.c.id).where(elsewhere, table.c.parent_run_id.in_(run_ids)).cte("below", recursive=True)
    further = select(table.c.id).where(elsewhere, table.c.parent_run_id == below.c.id)
    return {bytes(id_) for id_ in (await connection.execute(select(below.union(further).c.id))).scalars()}


async def _project_name(
    connection: AsyncConnection,
    project_id: bytes,
    counting: Iterable[RecordedEvent],
    position: int,
    given: Naming,
    shard: int,
) -> str:
    """The name of a run's project: what somebody had called it, else as the run's own writes give it, else as it is."""
    profile: Profile | None = None
    for event in await read_stream(connection, project_stream(project_id), shard=shard):
        profile = profiles.fold(profile, event) if event.position <= position else profile
    if profile is not None:
        return profile.name
    names = {DEFAULT_PROJECT_ID: DEFAULT_PROJECT, **given.by_bearer(dict(project_names_in(counting)))}
    if project_id in names:
        return names[project_id]
    known = await projects.find(connection, ids=[project_id], shard=shard)
    return known[0].name if known else format_id(project_id)


def _chunks(ids: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(ids), _IDS_PER_QUERY):
        yield ids[start : start + _IDS_PER_QUERY]
