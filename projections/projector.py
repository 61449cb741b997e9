"""Folds recorded events into every read model, within the transaction that records them."""

import itertools
from collections.abc import Sequence
from typing import Final

from sqlalchemy import BigInteger, Column, PrimaryKeyConstraint, SmallInteger, Table, Text

from events.dialect import Writer
from events.kinds import RunPatched, RunPosted
from events.log import RecordedEvent
from events.schema import SHARD, metadata
from projections import attachments, feedback, hierarchy, names, projects, runs, stats
from projections.hierarchy import Change
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


async def apply(writer: Writer, events: Sequence[RecordedEvent], *, rule: StatusRule, shard: int = SHARD) -> None:
    """Fold events, in order, into all read models and move their checkpoints.

    The caller holds the shard's head. Applying the same events in other portions gives the same rows.
    """
    if not events:
        return
    await _apply_runs(writer, events, rule=rule, shard=shard)
    await projects.apply(writer, events, shard=shard)
    await attachments.apply(writer, events, shard=shard)
    await feedback.apply(writer, events, shard=shard)
    await writer.replace(checkpoints, [(shard, name, events[-1].position) for name in PROJECTIONS])


async def _apply_runs(writer: Writer, events: Sequence[RecordedEvent], *, rule: StatusRule, shard: int) -> None:
    """Runs, and the read models that are differences of their rows: names and statistics."""
    told = [event for event in events if isinstance(event.body, (RunPosted, RunPatched))]
    if not told:
        return
    change = Change(shard)
    await change.look_at(writer, {event.stream[1:] for event in told})
    for event in told:
        run_id = event.stream[1:]
        state = change.after.get(run_id) or change.before.get(run_id)
        change.after[run_id] = runs.fold(state, event, shard=shard, rule=rule)
    await hierarchy.resolve_traces(writer, change)
    await writer.replace(runs.runs, [runs.as_row(state) for state in change.after.values()])
    turns: list[stats.Turn] = [(change.before.get(id_), state) for id_, state in change.after.items()]
    turns = list(itertools.chain(turns, await hierarchy.settle_placeholders(writer, change)))
    await stats.apply(writer, turns)
    await names.apply(writer, turns, shard=shard)
