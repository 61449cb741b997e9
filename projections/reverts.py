"""Which events of a run's stream count, once reverts are taken into account."""

from collections.abc import Sequence

from events.kinds import RunPatched, RunPosted, RunReverted
from events.log import RecordedEvent


def effective(events: Sequence[RecordedEvent]) -> list[RecordedEvent]:
    """The events that a run's state is the fold of, in order.

    `events` is the whole stream, or its beginning. A revert to version n takes away what came after version n and
    before it, earlier reverts among it: reverting to before a revert undoes that one too. What comes after a revert
    counts as usual.
    """
    counting: list[RecordedEvent] = []
    end = len(events)
    for place in range(len(events) - 1, -1, -1):
        body = events[place].body
        if place < end and isinstance(body, RunReverted):
            counting = [*events[place + 1 : end], *counting]
            end = min(body.to_version, place)
    return [*events[:end], *counting]


def shown_version(events: Sequence[RecordedEvent]) -> int:
    """The version that a run shows: that of the last post, patch or revert among these events; 0 when there is none."""
    versions = (e.version for e in reversed(events) if isinstance(e.body, (RunPosted, RunPatched, RunReverted)))
    return next(versions, 0)
