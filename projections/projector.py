"""Folds recorded events into every read model, within the transaction that records them."""

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final, Protocol

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, SmallInteger, Table, Text, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Writer
from events.kinds import RunPatched, RunPosted, RunReverted, TraceErased, run_stream
from events.log import RecordedEvent, read_stream_written
from events.schema import SHARD, heads, metadata
from events.turns import portions
from projections import (
    attachments,
    feedback,
    feedback_configs,
    feedback_tokens,
    hierarchy,
    names,
    naming,
    places,
    profiles,
    projects,
    runs,
    shares,
    stats,
)
from projections.hierarchy import Change
from projections.names import Key as NameKey
from projections.naming import Naming
from projections.projects import Project
from projections.recent import Recent
from projections.reverts import effective, shown_version
from projections.runs import RunState, Turn
from projections.stats import Cell
from projections.stats import Key as CellKey
from projections.status import RULE_VERSION, StatusRule
from projections.words import DEFAULT_PROJECT_ID, project_names_in

FOLDS_VERSION: Final = 4
"""Goes up whenever a fold gives another read model for the same events: stored ones are then stale."""

PROJECTIONS: Final = ("attachments", "feedback", "names", "projects", "runs", "shares", "stats")


# A few megabytes: enough for the runs that are under way.
_RECENT_RUNS_MAX: Final = 5000
_RECENT_COUNTS_MAX: Final = 2000


class Added(Protocol):
    """A read model that is added to a program whose log has events already."""

    @property
    def name(self) -> str:
        """Its name among the checkpoints."""

    async def apply(self, writer: Writer, events: Sequence[RecordedEvent], *, shard: int) -> None:
        """Fold events, in order, into its tables, within the writer's transaction. A migration makes the tables."""


ADDED: Final[tuple[Added, ...]] = ()
"""Read models that catch up, while everyone goes on, before they are folded into with the others."""

checkpoints: Final = Table(
    "checkpoints",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("projection", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    PrimaryKeyConstraint("shard", "projection", name="checkpoints_pk"),
)


def fold_version(rule: StatusRule) -> str:
    """What the head says of the folds that made its read models, such as `1.1/documented`."""
    return f"{FOLDS_VERSION}.{RULE_VERSION}/{rule}"


async def folded_by(connection: AsyncConnection, *, shard: int = SHARD) -> str:
    """The version of the folds that made the read models; empty before anything was folded."""
    query = select(heads.c.fold_version).where(heads.c.shard == shard)
    return str((await connection.execute(query)).scalar_one())


async def apply(
    writer: Writer,
    events: Sequence[RecordedEvent],
    *,
    rule: StatusRule,
    shard: int = SHARD,
    only: Collection[str] | None = None,
) -> None:
    """Fold events, in order, into all read models, or into some of `PROJECTIONS` only, and move their checkpoints.

    The caller holds the shard's head. Applying the same events in other portions gives the same rows. Names, projects
    and stats follow from changes of runs, so they are folded where runs are.
    """
    if not events:
        return
    if only is None:
        only = PROJECTIONS
        await apply_added(writer, events, ADDED, shard=shard)
    reverted = await _reverted_runs(writer, events, shard)
    if "attachments" in only:
        await _change_attachments(writer, events, reverted, shard)
    if "runs" in only:
        await _change_runs(writer, events, reverted, rule=rule, shard=shard)
    if "feedback" in only:
        await feedback.apply(writer, events, shard=shard)
        await feedback_tokens.apply(writer, events, shard=shard)
        await feedback_configs.apply(writer, events, shard=shard)
    if "shares" in only:
        await shares.apply(writer, events, shard=shard)
    await writer.replace(checkpoints, [(shard, name, events[-1].position) for name in only])


async def apply_added(writer: Writer, events: Sequence[RecordedEvent], added: Sequence[Added], *, shard: int) -> None:
    """Fold events, in order, into those added read models that are where these events begin.

    The others have to catch up first (`projections.joining`); they take part from the moment that they have.
    """
    for projection in added if events else ():
        if await reached(writer, projection.name, shard=shard) == events[0].position - 1:
            await projection.apply(writer, events, shard=shard)
            await writer.replace(checkpoints, [(shard, projection.name, events[-1].position)])


async def reached(writer: Writer, name: str, *, shard: int) -> int:
    """The last position that a read model has taken in; 0 when it has not begun."""
    query = f"SELECT position FROM {writer.name_of(checkpoints)} WHERE shard = ?1 AND projection = ?2"
    rows = await writer.fetch(query, shard, name)
    return int(rows[0][0]) if rows else 0


@dataclass(frozen=True, slots=True)
class _Reverted:
    """A run that went back: its stream, and the events in it that count now."""

    stream: list[RecordedEvent]
    counting: list[RecordedEvent]


async def _reverted_runs(writer: Writer, events: Sequence[RecordedEvent], shard: int) -> dict[bytes, _Reverted]:
    """What is left of every run that is reverted among these events. Read from the log: a row alone cannot go back."""
    run_ids = dict.fromkeys(event.body.run_id for event in events if isinstance(event.body, RunReverted))
    reverted = {}
    for run_id in run_ids:
        stream = await read_stream_written(writer, run_stream(run_id), shard=shard)
        upto = [event for event in stream if event.position <= events[-1].position]
        reverted[run_id] = _Reverted(upto, effective(upto))
    return reverted


async def _change_attachments(
    writer: Writer, events: Sequence[RecordedEvent], reverted: Mapping[bytes, _Reverted], shard: int
) -> None:
    await attachments.apply(writer, events, shard=shard)
    for run_id, left in reverted.items():
        await attachments.renew(writer, [run_id], left.counting, shard=shard)
    erased = _erased(events)
    if erased:
        await attachments.renew(writer, sorted(erased), [], shard=shard)


async def _change_runs(
    writer: Writer,
    events: Sequence[RecordedEvent],
    reverted: Mapping[bytes, _Reverted],
    *,
    rule: StatusRule,
    shard: int,
) -> None:
    """Fold the events into runs, and what follows from how these change into all that counts them."""
    await profiles.apply(writer, events, shard=shard)
    names_told = _names_told(events, reverted)
    recent = _recent_rows(writer, shard)
    told_projects = _projects_told(events)
    if recent.is_naming_changed is None or told_projects:
        recent.is_naming_changed = await naming.is_changed(writer, shard=shard)
    # Also those who name no project are in one, whose name is another's when it was renamed.
    meant = {*names_told, DEFAULT_PROJECT_ID} if recent.is_naming_changed else ()
    given = await naming.load(writer, meant, shard=shard) if meant else naming.UNCHANGED
    folding = _Folding(Change(shard, recent.runs), rule, given)
    change = folding.change
    told = [event for event in events if isinstance(event.body, (RunPosted, RunPatched))]
    erased = _erased(events)
    await change.look_at(writer, {event.stream[1:] for event in told} | erased | reverted.keys())
    for run_id, left in reverted.items():
        folding.go_back(run_id, left, events[0].position)
    async for portion in portions(told):
        for event in portion:
            if event.stream[1:] not in reverted:
                folding.take(event)
    folding.leave_out(erased)
    await runs.store(writer, [(change.before[id_], None) for id_ in change.gone])
    await hierarchy.resolve_traces(writer, change)
    await runs.store(writer, [(change.before.get(id_), state) for id_, state in change.after.items()])
    await places.note(writer, folding.former, shard=shard)
    if erased:
        await places.forget(writer, sorted(erased), shard=shard)
    turns = _turns(change) + await hierarchy.settle_placeholders(writer, change)
    recent.note_runs(turns)
    await stats.apply(writer, turns, recent.cells)
    await names.apply(writer, turns, recent.names, shard=shard)
    await projects.apply(writer, turns, given.by_bearer(names_told), told_projects, recent.projects, shard=shard)


def _names_told(events: Iterable[RecordedEvent], reverted: Mapping[bytes, _Reverted]) -> dict[bytes, str]:
    """The names of projects that the runs which change rest on, by the ids that follow from them."""
    streams = itertools.chain.from_iterable(left.stream for left in reverted.values())
    return dict(project_names_in(itertools.chain(streams, events)))


def _projects_told(events: Iterable[RecordedEvent]) -> dict[bytes, int]:
    """The projects that somebody said something of, and when (µs)."""
    return {event.body.project_id: event.recorded_at for event in events if isinstance(event.body, profiles.KINDS)}


@dataclass(slots=True)
class _RecentRows:
    """Rows as the last transactions of a writer left them, while nobody else writes."""

    runs: Recent[bytes, RunState] = field(default_factory=lambda: Recent(_RECENT_RUNS_MAX))
    cells: Recent[CellKey, Cell] = field(default_factory=lambda: Recent(_RECENT_COUNTS_MAX))
    names: Recent[NameKey, int] = field(default_factory=lambda: Recent(_RECENT_COUNTS_MAX))
    projects: Recent[bytes, Project] = field(default_factory=lambda: Recent(_RECENT_COUNTS_MAX))
    # Whether any name of a project stands for another one than once; None when nobody looked.
    is_naming_changed: bool | None = None

    def note_runs(self, turns: Iterable[Turn]) -> None:
        """Keep the runs as they are after these turns."""
        for old, new in turns:
            if new is not None:
                self.runs.note(new.id, new)
            elif old is not None:
                self.runs.note(old.id, None)


def _recent_rows(writer: Writer, shard: int) -> _RecentRows:
    kept: _RecentRows = writer.kept.setdefault(f"{writer.name_of(runs.runs)} {shard}", _RecentRows())
    return kept


@dataclass(slots=True)
class _Folding:
    """Folds events into rows of runs, and notes which places these left."""

    change: Change
    rule: StatusRule
    naming: Naming
    former: set[places.Left] = field(default_factory=set)
    undone: set[bytes] = field(default_factory=set)

    def take(self, event: RecordedEvent) -> None:
        """Fold one event of a run that was looked at."""
        change, run_id = self.change, event.stream[1:]
        state = change.after.get(run_id) or change.before.get(run_id)
        folded = runs.fold(state, event, shard=change.shard, rule=self.rule, naming=self.naming)
        change.after[run_id] = folded
        if state is not None and not places.stays(state, folded):
            self.former |= places.left(state, folded)

    def go_back(self, run_id: bytes, left: _Reverted, first: int) -> None:
        """Take a run back to what is left of it. `first` is the position at which this group begins."""
        shard, rule = self.change.shard, self.rule
        restored = runs.fold_all(left.counting, shard=shard, rule=rule, naming=self.naming)
        if restored is None:
            self.undone.add(run_id)
        else:
            restored.version = shown_version(left.stream)
            self.change.after[run_id] = restored
        steps = _steps(left, first, rule=rule, naming=self.naming, shard=shard)
        self.former = self.former.union(*(places.left(old, new) for old, new in itertools.pairwise(steps)))

    def leave_out(self, erased: Set[bytes]) -> None:
        """Have the erased runs, and those of which nothing is left, be no more."""
        change = self.change
        change.gone = {id_ for id_ in erased | self.undone if change.now(id_) is not None}
        for id_ in change.gone:
            change.after.pop(id_, None)


def _steps(left: _Reverted, first: int, *, rule: StatusRule, naming: Naming, shard: int) -> Iterator[RunState | None]:
    """The states of a reverted run: before the event at the position `first`, and after each from there on."""
    begun = sum(event.position < first for event in left.stream)
    for count in range(begun, len(left.stream) + 1):
        yield runs.fold_all(effective(left.stream[:count]), shard=shard, rule=rule, naming=naming)


def _erased(events: Iterable[RecordedEvent]) -> set[bytes]:
    """The runs that these events erase."""
    streams = (event.body.streams for event in events if isinstance(event.body, TraceErased))
    return {stream[1:] for stream in itertools.chain.from_iterable(streams) if stream == run_stream(stream[1:])}


def _turns(change: Change) -> list[Turn]:
    turns: list[Turn] = [(change.before.get(id_), state) for id_, state in change.after.items()]
    return turns + [(change.before.get(id_), None) for id_ in change.gone]
