"""Folding the log stream by stream: what each stream makes, and whole parts of the log into shadow tables.

Live, an event is folded into what is stored, in the order of the log. Here a stream's events come one after the other,
so its rows are written once. What no stream can tell alone, because it lies between runs, is `projections.settling`'s.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from events import log
from events.dialect import Snapshot, Writer, open_snapshot, open_writer
from events.kinds import (
    AttachmentStored,
    RunPatched,
    RunPosted,
    RunReverted,
    feedback_config_stream,
    feedback_stream,
    project_stream,
    run_stream,
    share_stream,
)
from events.log import RecordedEvent, StoredEvent
from projections import (
    attachments,
    feedback,
    feedback_configs,
    feedback_tokens,
    naming,
    places,
    profiles,
    rebuilds,
    runs,
    shares,
)
from projections.naming import UNCHANGED, Grant, Naming
from projections.places import Left
from projections.profiles import Profile
from projections.projects import Project
from projections.reverts import effective, shown_version
from projections.runs import RunState, gives_project_name
from projections.shadow import Shadows
from projections.status import StatusRule
from projections.tally import Tally
from projections.usual import fold_usual
from projections.words import project_names_in

_READ_EVENTS: Final = 2000
_PAUSE_S: Final = 0.02
_RUN_LETTER: Final = run_stream(b"")
_ATTACHED: Final = AttachmentStored.__name__
_AFTER_PROJECTS: Final = bytes([project_stream(b"")[0] + 1])

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the log: the streams from `first` up to, and without, `before`; events up to the position `upto`."""

    first: bytes
    before: bytes
    upto: int


@dataclass(frozen=True, slots=True)
class Task:
    """What a rebuild does with parts of the log: which read models it makes, where and by which rule."""

    url: str
    projections: Sequence[str]
    rebuild_id: int
    rule: StatusRule
    shard: int


@dataclass(slots=True)
class Rows:
    """What streams make: rows by read model, and what is counted over the runs."""

    runs: list[Row] = field(default_factory=list)
    places: set[Left] = field(default_factory=set)
    attachments: list[Row] = field(default_factory=list)
    feedback: list[Row] = field(default_factory=list)
    tokens: list[Row] = field(default_factory=list)
    configs: list[Row] = field(default_factory=list)
    shares: list[Row] = field(default_factory=list)
    profiles: list[Row] = field(default_factory=list)
    grants: list[Row] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)


# --- one stream -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FoldedRun:
    """What a run's stream makes. The trace of `state` may have to be found yet; None when nobody tells of the run."""

    state: RunState | None
    former: set[Left]
    counting: Sequence[RecordedEvent]


def fold_run(events: Sequence[RecordedEvent], *, shard: int, rule: StatusRule, naming: Naming = UNCHANGED) -> FoldedRun:
    """Fold a run's whole stream, or its beginning."""
    if any(isinstance(event.body, RunReverted) for event in events):
        return _fold_reverted(events, shard=shard, rule=rule, naming=naming)
    state: RunState | None = None
    former: set[Left] = set()
    for event in events:
        if not isinstance(event.body, (RunPosted, RunPatched)):
            continue
        if state is None:
            state = runs.begin(shard, event.stream[1:], event.recorded_at)
            runs.fold_into(state, event, rule=rule, naming=naming)
            continue
        before = places.said(state)
        runs.fold_into(state, event, rule=rule, naming=naming)
        after = places.said(state)
        if before != after:
            former.update((place, state.id) for place in before if place is not None and place not in after)
    return FoldedRun(state, former, events)


def _fold_reverted(events: Sequence[RecordedEvent], *, shard: int, rule: StatusRule, naming: Naming) -> FoldedRun:
    state: RunState | None = None
    former: set[Left] = set()
    for count, event in enumerate(events, 1):
        before = state
        if isinstance(event.body, RunReverted):
            state = runs.fold_all(effective(events[:count]), shard=shard, rule=rule, naming=naming)
        elif isinstance(event.body, (RunPosted, RunPatched)):
            state = runs.fold(state, event, shard=shard, rule=rule, naming=naming)
        former |= places.left(before, state)
    if state is not None:
        state.version = shown_version(events)
    return FoldedRun(state, former, effective(events))


def awaits_trace(state: RunState) -> bool:
    """Whether the run's trace follows from its parent, and so is not known from its stream alone."""
    return bool(state.is_trace_inferred) and state.parent_run_id not in (None, state.id)


def is_of(events: Sequence[RecordedEvent], stream: Callable[[bytes], bytes]) -> bool:
    """Whether these events of one stream are of a kind of stream, such as `run_stream`."""
    return events[0].stream == stream(events[0].stream[1:])


# --- a part of the log ------------------------------------------------------------------------------------------------


async def replay(task: Task, part: Part, *, progress: Callable[[int], None]) -> Tally:
    """Fold a part of the log into the shadow tables; return what was counted over its runs.

    Runs whose trace has to be found are not counted yet, but in their projects. `progress` is called with numbers of
    events. Memory does not grow with the part, but for what is counted; the longest stream has to fit.
    """
    shadows = Shadows(task.url, task.projections, task.rebuild_id, shard=task.shard)
    snapshot = open_snapshot(task.url)
    writer = open_writer(task.url, stand_ins=shadows.stand_ins, is_durable=False)
    pace = _Pace()
    try:
        async with snapshot.transaction():
            folding = _Folding(task, await _read_naming(snapshot, part.upto, task.shard))
            after, rest = (part.first, 0), list[StoredEvent]()
            while True:
                events = await log.read_by_stream(
                    snapshot, after=after, before=part.before, upto=part.upto, limit=_READ_EVENTS, shard=task.shard
                )
                is_last = len(events) < _READ_EVENTS
                streams = [list(of_one) for _, of_one in groupby([*rest, *events], key=attrgetter("stream"))]
                rest = [] if is_last or not streams else streams.pop()
                for of_one in streams:
                    folding.take(of_one)
                await _write(writer, task, folding.rows_taken(), pace)
                progress(len(events))
                if is_last:
                    return folding.rows.tally
                after = (events[-1].stream, events[-1].version)
    finally:
        await writer.close()
        await snapshot.close()


async def _read_naming(snapshot: Snapshot, upto: int, shard: int) -> Naming:
    """What names stand for, by the events of projects up to a position: there are few of them."""
    after, grants = (project_stream(b""), 0), list[Grant]()
    while True:
        events = await log.read_by_stream(
            snapshot, after=after, before=_AFTER_PROJECTS, upto=upto, limit=_READ_EVENTS, shard=shard
        )
        grants += [grant for event in events for grant in profiles.grants_of(event.recorded())]
        if len(events) < _READ_EVENTS:
            return Naming.of(grants)
        after = (events[-1].stream, events[-1].version)


class _Folding:
    """Folds stream after stream, and collects what they make."""

    def __init__(self, task: Task, naming: Naming) -> None:
        self._task = task
        self._naming = naming
        self._names: dict[bytes, str] = {}
        self.rows = Rows()

    def rows_taken(self) -> Rows:
        """What was made since the last time, with all that was counted so far."""
        taken, self.rows = self.rows, Rows(tally=self.rows.tally)
        return taken

    def take(self, stored: Sequence[StoredEvent]) -> None:
        """Fold one whole stream."""
        if stored[0].stream[:1] == _RUN_LETTER:
            self._take_run(stored)
            return
        events = [event.recorded() for event in stored]
        if is_of(events, feedback_stream):
            self._take_feedback(events)
        elif is_of(events, project_stream):
            self._take_project(events)
        elif is_of(events, feedback_config_stream):
            self._take_feedback_config(events)
        elif is_of(events, share_stream):
            shared = shares.fold(events).items()
            self.rows.shares += [shares.as_row(self._task.shard, run_id, token) for run_id, token in shared if token]

    def _take_run(self, stored: Sequence[StoredEvent]) -> None:
        shard, rule = self._task.shard, self._task.rule
        if "runs" not in self._task.projections and all(event.kind != _ATTACHED for event in stored):
            return
        state = fold_usual(stored, shard=shard, rule=rule, naming=self._naming)
        # The name of a project is looked for where it is first told; that is seldom.
        if state is not None and self._is_named(state):
            self._take_state(state, ())
            return
        folded = fold_run([event.recorded() for event in stored], shard=shard, rule=rule, naming=self._naming)
        if "attachments" in self._task.projections:
            left = attachments.fold(folded.counting)
            self.rows.attachments += [attachments.as_row(shard, attachment) for attachment in left.values()]
        if "runs" in self._task.projections:
            self.rows.places |= folded.former
            if folded.state is not None:
                self._take_state(folded.state, folded.counting)

    def _take_state(self, state: RunState, counting: Sequence[RecordedEvent]) -> None:
        self.rows.runs.append(runs.as_row(state))
        self.rows.tally.count_project(state, self._project_name(state, counting))
        if not awaits_trace(state):
            self.rows.tally.count(state)

    def _is_named(self, state: RunState) -> bool:
        return state.project_id in self._names or not gives_project_name(state)

    def _project_name(self, state: RunState, counting: Sequence[RecordedEvent]) -> str:
        """The name of the run's project, when the run gives it; else nothing."""
        if not gives_project_name(state):
            return ""
        known = self._names.get(state.project_id)
        if known is None:
            names = self._naming.by_bearer(dict(project_names_in(counting)))
            known = self._names[state.project_id] = names[state.project_id]
        return known

    def _take_feedback(self, events: Sequence[RecordedEvent]) -> None:
        state: feedback.Feedback | None = None
        for event in events:
            state = feedback.fold(state, event)
        if state is not None:
            self.rows.feedback.append(feedback.as_row(self._task.shard, state))
        tokens = feedback_tokens.fold(events).values()
        self.rows.tokens += [feedback_tokens.as_row(self._task.shard, token) for token in tokens]

    def _take_feedback_config(self, events: Sequence[RecordedEvent]) -> None:
        state: feedback_configs.FeedbackConfig | None = None
        for event in events:
            state = feedback_configs.fold(state, event)
        if state is not None:
            self.rows.configs.append(feedback_configs.as_row(self._task.shard, state))

    def _take_project(self, events: Sequence[RecordedEvent]) -> None:
        if "projects" not in self._task.projections:
            return
        profile: Profile | None = None
        for event in events:
            profile = profiles.fold(profile, event)
            self.rows.grants += [(self._task.shard, *grant) for grant in profiles.grants_of(event)]
        if profile is not None:
            self.rows.profiles.append(profiles.as_row(self._task.shard, profile))
            self.rows.tally.add_project(Project(profile.project_id, profile.name, 0, 0, 1, events[0].recorded_at))


async def _write(writer: Writer, task: Task, rows: Rows, pace: "_Pace") -> None:
    """Write rows in one short transaction."""
    async with rebuilds.owned(writer, task.rebuild_id, shard=task.shard):
        is_busy = await pace.look(writer, task.shard)
        await writer.insert(runs.runs, rows.runs)
        await writer.insert(places.former_places, [(task.shard, *place) for place in sorted(rows.places)])
        await writer.insert(attachments.attachments, rows.attachments)
        await writer.insert(feedback.feedback, rows.feedback)
        await writer.insert(feedback_tokens.feedback_tokens, rows.tokens)
        await writer.insert(feedback_configs.feedback_configs, rows.configs)
        await writer.insert(shares.shares, rows.shares)
        await writer.insert(profiles.profiles, rows.profiles)
        await writer.insert(naming.project_names, rows.grants)
    if is_busy:
        await asyncio.sleep(_PAUSE_S)


class _Pace:
    """Sees whether others write, who are to find the lock free now and then."""

    def __init__(self) -> None:
        self._position: int | None = None

    async def look(self, writer: Writer, shard: int) -> bool:
        """Whether something was appended since the last look."""
        before = self._position
        (self._position,) = (await writer.fetch("SELECT position FROM heads WHERE shard = ?1", shard))[0]
        return before not in (None, self._position)
