"""Folds recorded events into every read model, within the transaction that records them."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, SmallInteger, Table, Text

from events.dialect import Writer
from events.kinds import RunPatched, RunPosted, RunReverted, TraceErased, run_stream
from events.log import RecordedEvent, read_stream_written
from events.schema import SHARD, metadata
from projections import attachments, feedback, hierarchy, names, projects, runs, stats
from projections.hierarchy import Change
from projections.reverts import effective
from projections.runs import Turn
from projections.status import RULE_VERSION, StatusRule

FOLDS_VERSION: Final = 1
"""Goes up whenever a fold gives another read model for the same events: stored ones are then stale."""

PROJECTIONS: Final = ("attachments", "feedback", "names", "projects", "runs", "stats")

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


async def apply(
    writer: Writer, events: Sequence[RecordedEvent], *, rule: StatusRule, shard: int = SHARD
) -> None:
    """Fold events, in order, into all read models and move their checkpoints.

    The caller holds the shard's head. Applying the same events in other portions gives the same rows.
    """
    if not events:
        return
    reverted = await _reverted_runs(writer, events, shard)
    await attachments.apply(writer, events, shard=shard)
    for run_id, left in reverted.items():
        await attachments.renew(writer, [run_id], left.counting, shard=shard)
    change = await _change_runs(writer, events, reverted, rule=rule, shard=shard)
    turns = _turns(change) + await hierarchy.settle_placeholders(writer, change)
    await stats.apply(writer, turns)
    await names.apply(writer, turns, shard=shard)
    naming = [*itertools.chain.from_iterable(left.counting for left in reverted.values()), *events]
    await projects.apply(writer, turns, naming, shard=shard)
    await feedback.apply(writer, events, shard=shard)
    await writer.replace(checkpoints, [(shard, name, events[-1].position) for name in PROJECTIONS])


@dataclass(frozen=True, slots=True)
class _Reverted:
    """A run that went back: the events that count now, and the version that its stream has reached."""

    counting: list[RecordedEvent]
    version: int


async def _reverted_runs(
    writer: Writer, events: Sequence[RecordedEvent], shard: int
) -> dict[bytes, _Reverted]:
    """What is left of every run that is reverted among these events. Read from the log: a row alone cannot go back."""
    run_ids = dict.fromkeys(event.body.run_id for event in events if isinstance(event.body, RunReverted))
    reverted = {}
    for run_id in run_ids:
        stream = await read_stream_written(writer, run_stream(run_id), shard=shard)
        upto = [event for event in stream if event.position <= events[-1].position]
        reverted[run_id] = _Reverted(effective(upto), upto[-1].version)
    return reverted


async def _change_runs(
    writer: Writer,
    events: Sequence[RecordedEvent],
    reverted: Mapping[bytes, _Reverted],
    *,
    rule: StatusRule,
    shard: int,
) -> Change:
    """Fold the events into rows of runs, find their traces, and write them."""
    change = Change(shard)
    told = [event for event in events if isinstance(event.body, (RunPosted, RunPatched))]
    erased = {id_ for event in events if isinstance(event.body, TraceErased) for id_ in _erased_runs(event.body)}
    await change.look_at(writer, {event.stream[1:] for event in told} | erased | set(reverted))
    for event in told:
        run_id = event.stream[1:]
        if run_id not in reverted:
            state = change.after.get(run_id) or change.before.get(run_id)
            change.after[run_id] = runs.fold(state, event, shard=shard, rule=rule)
    for run_id, left in reverted.items():
        restored = runs.fold_all(left.counting, shard=shard, rule=rule)
        if restored is None:
            erased.add(run_id)
        else:
            restored.version = left.version
            change.after[run_id] = restored
    change.gone = {id_ for id_ in erased if change.now(id_) is not None}
    for id_ in change.gone:
        change.after.pop(id_, None)
    await writer.delete(runs.runs, [(shard, id_) for id_ in sorted(change.gone)])
    await hierarchy.resolve_traces(writer, change)
    await writer.replace(runs.runs, [runs.as_row(state) for state in change.after.values()])
    await attachments.renew(writer, sorted(change.gone), [], shard=shard)
    return change


def _erased_runs(erasure: TraceErased) -> list[bytes]:
    return [stream[1:] for stream in erasure.streams if stream == run_stream(stream[1:])]


def _turns(change: Change) -> list[Turn]:
    turns: list[Turn] = [(change.before.get(id_), state) for id_, state in change.after.items()]
    return turns + [(change.before.get(id_), None) for id_ in change.gone]
