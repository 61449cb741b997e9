"""A run with every field that was ever said of it: the fold of its stream that keeps whole values.

The same rules as `projections.runs`, for all members of the payloads, also those that this program knows nothing of.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from events.codec import Offloaded, offloaded
from events.jsontext import NotJSON, split_object
from events.kinds import CONTENTS_MEMBER, RunPatched, RunPosted
from events.log import RecordedEvent
from projections.words import is_usable, rank_of

_POST, _PATCH = 2, 3
_MERGED: Final = "extra"
_MERGED_INSIDE: Final = "metadata"


@dataclass(slots=True)
class Record:
    """Every member that events said, as raw JSON, and where members too large for the log are.

    A time that is none and an id that is none say nothing, as in `projections.runs`: the log alone has them.
    `extra` and the `metadata` in it are merged key by key and given as their keys.
    """

    members: dict[str, bytes] = field(default_factory=dict)
    extra: dict[str, bytes] = field(default_factory=dict)
    metadata: dict[str, bytes] = field(default_factory=dict)
    moved: dict[str, Offloaded] = field(default_factory=dict)


def fold(events: Iterable[RecordedEvent]) -> Record:
    """The record that a run's events make, in order."""
    folding = Folding()
    for event in events:
        folding.take(event)
    return folding.record


class Folding:
    """A record in the making: `record` is that of the events taken so far."""

    def __init__(self) -> None:
        self.record = Record()
        self._ranks: dict[str, int] = {}

    def take(self, event: RecordedEvent) -> None:
        """Fold one more event of the run's stream."""
        match event.body:
            case RunPosted(fields=fields):
                self._take(split_object(event.payload), offloaded(fields.contents), _POST)
            case RunPatched(fields=fields):
                self._take(split_object(event.payload), offloaded(fields.contents), _PATCH)
            case _:
                pass

    def _take(self, said: Mapping[str, bytes], moved: Mapping[str, Offloaded], rank: int) -> None:
        for name, raw in said.items():
            if name == _MERGED:
                self._take_extra(raw, rank)
            elif name != CONTENTS_MEMBER and self._wins(name, raw, rank):
                self.record.members[name] = raw
                self.record.moved.pop(name, None)
        for name, place in moved.items():
            if self._wins(name, b"moved", rank):
                self.record.moved[name] = place
                self.record.members.pop(name, None)

    def _take_extra(self, raw: bytes, rank: int) -> None:
        for name, value in _members(raw).items():
            inside = _members(value) if name == _MERGED_INSIDE else {}
            for key, inner in inside.items():
                if self._wins(f"metadata.{key}", inner, rank):
                    self.record.metadata[key] = inner
                elif inner == b"null":  # Clients do send null as a value here; it only never replaces another.
                    self.record.metadata.setdefault(key, inner)
            if not inside and self._wins(f"extra.{name}", value, rank):
                self.record.extra[name] = value

    def _wins(self, name: str, raw: bytes, rank: int) -> bool:
        if raw == b"null" or not is_usable(name, raw):
            return False
        strength = rank_of(raw, rank)
        if strength < self._ranks.get(name, 0):
            return False
        self._ranks[name] = strength
        return True


def _members(raw: bytes) -> dict[str, bytes]:
    """The members of what should be an object; none when it is something else."""
    try:
        return split_object(raw)
    except NotJSON:
        return {}
