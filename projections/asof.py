"""Runs and traces as they were: what a store would answer that was told the events up to a position and no more.

A run is folded from its stream up to there. Its trace is found as it was then: by what was said, or by following the
parents of then. The runs of a trace are looked for among all that are, or ever were, in it or below one that is or was
(`runs` knows the present places, `places` the former ones); each is asked where it was.

A run may say nothing but the id of its project. The name is then that which others gave it, then: they are looked for
in the same way.

What was erased since cannot be told: it reads as if it had never come.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from events.ids import format_id
from events.kinds import project_stream, run_stream
from events.log import RecordedEvent, read_stream, read_streams
from events.positions import recorded_at
from events.schema import SHARD
from projections import attachments, hierarchy, naming, places, profiles, record, runs
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
        NamedRun(state, await past.project_name(state, counting)),
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

    async def project_name(self, run: RunState, counting: Iterable[RecordedEvent]) -> str:
        """The name of a run's project: as somebody had called it, else as the run's writes give it, or another's."""
        project_id = run.project_id
        profile: Profile | None = None
        for event in await read_stream(self._connection, project_stream(project_id), shard=self._shard):
            profile = profiles.fold(profile, event) if event.position <= self._position else profile
        if profile is not None:
            return profile.name
        if project_id == DEFAULT_PROJECT_ID:
            return DEFAULT_PROJECT
        if runs.gives_project_name(run):
            return self._names_in(counting)[project_id]
        return await self._name_given(project_id) or format_id(project_id)

    def _names_in(self, events: Iterable[RecordedEvent]) -> Mapping[bytes, str]:
        return self._naming.by_bearer(dict(project_names_in(events)))

    async def _name_given(self, project_id: bytes) -> str | None:
        """The name that some run which was in the project then gave it."""
        async for some in _ever_naming(self._connection, project_id, self._position, self._shard):
            await self.load(some)
            for run_id in some:
                state = self.states[run_id]
                if state is not None and state.project_id == project_id and runs.gives_project_name(state):
                    stream = await read_stream(self._connection, run_stream(run_id), shard=self._shard)
                    then = [event for event in stream if event.position <= self._position]
                    return self._names_in(effective(then))[project_id]
        return None

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


_NAMING: Final = 20
"""Mostly one of the first few named the project then."""


async def _ever_naming(
    connection: AsyncConnection, project_id: bytes, position: int, shard: int
) -> AsyncIterator[Sequence[bytes]]:
    """The runs that name a project now and were there at a position, the earliest first, then those that once did."""
    table = runs.runs
    query = (
        select(table.c.start_time, table.c.id)
        .where(table.c.shard == shard, table.c.project_id == project_id, table.c.is_placeholder == 0)
        .where(table.c.ranks.op("&")(runs.PROJECT_NAMED) != 0)
        .where(table.c.first_recorded_at <= await recorded_at(connection, position, shard=shard))
        .order_by(table.c.start_time, table.c.id)
        .limit(_NAMING)
    )
    after = None
    while True:
        later = query if after is None else query.where(tuple_(table.c.start_time, table.c.id) > after)
        rows = (await connection.execute(later)).all()
        if not rows:
            break
        yield [bytes(row.id) for row in rows]
        after = tuple_(rows[-1].start_time, rows[-1].id)
    for some in _chunks(sorted(await places.once_at(connection, [project_id], shard=shard))):
        yield some


def _chunks(ids: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(ids), _IDS_PER_QUERY):
        yield ids[start : start + _IDS_PER_QUERY]
