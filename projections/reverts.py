"""Which events of a run's stream count, once reverts are taken into account."""

from collections.abc import Sequence

from events.kinds import RunReverted
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
