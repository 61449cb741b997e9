"""The history of a run: what each event of its stream changed. Pure; the events are read elsewhere.

A field is a member of the run, or a key of `extra` or of the metadata in it, since these are merged key by key
(design.md §4), or an attachment. It is known by its path: `("outputs",)`, `("extra", "metadata", "thread_id")`,
`("attachments", "plot.png")`. Its value is its JSON as it was sent, or where the content store keeps it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

from events.codec import Offloaded, offloaded
from events.jsontext import NotJSON, dumps, split_object
from events.kinds import CONTENTS_MEMBER, AttachmentStored, RunFields, RunPatched, RunPosted, RunReverted, Unknown
from events.log import RecordedEvent
from projections import attachments
from projections.attachments import Attachment
from projections.record import Folding, Record
from projections.reverts import effective
from projections.words import is_usable, rank_of, read_time

Path = tuple[str, ...]
Value = bytes | Offloaded
Fields = dict[Path, Value]

Effect = Literal["set", "changed", "cleared", "left"]
"""What a mutation did to a field: gave the first value, gave another, took it away (only reverts do), or nothing."""

Cause = Literal["null", "same", "empty", "outranked", "unreadable"]
"""Why a field was left as it was: nothing was said; the same was; something empty never replaces what is not; a patch's
word stands against a post's; it is not what the field takes, which is a time, an id, or an object that is merged."""

Content = Literal["recorded", "erased", "unknown"]
"""Whether the content of an event can be told: it is there; it was erased; a newer program wrote it."""

_EXTRA: Final = "extra"
_METADATA: Final = "metadata"
_ATTACHMENTS: Final = "attachments"
_RANK_OF_A_POST: Final = 2


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one field. `said` is what an event said, where that is not what stands after it."""

    path: Path
    effect: Effect
    before: Value | None
    after: Value | None
    said: Value | None = None
    cause: Cause | None = None


@dataclass(frozen=True, slots=True)
class Mutation:
    """One event of a run, when it says that it happened (µs), and what it changed, field by field."""

    event: RecordedEvent
    happened_at: int | None
    content: Content
    changes: Sequence[Change]


def mutations(events: Sequence[RecordedEvent], *, after: int = 0) -> Iterator[Mutation]:
    """The mutations after a version, in order. `events` is the stream from its beginning."""
    state = _State.of(events[:after])
    for place in range(after, len(events)):
        event = events[place]
        if isinstance(event.body, RunReverted):
            before, state = state, _State.of(events[: place + 1])
            changes = _differences(before.fields(), state.fields())
        else:
            changes = state.take(event)
        yield Mutation(event, _happened_at(event), content_of(event), changes)


def difference(events: Sequence[RecordedEvent], from_version: int, to_version: int) -> list[Change]:
    """The fields that differ between two versions of a run. `events` is the stream from its beginning."""
    return _differences(fields_at(events, from_version), fields_at(events, to_version))


def fields_at(events: Sequence[RecordedEvent], version: int) -> Fields:
    """Every field of a run as of a version. `events` is the stream from its beginning."""
    return _State.of(events[:version]).fields()


def fields_said(event: RecordedEvent) -> Fields:
    """Every field that an event says, in its order, whether or not it counted."""
    match event.body:
        case RunPosted(fields=fields) | RunPatched(fields=fields):
            return _flat(split_object(event.payload), offloaded(fields.contents))
        case AttachmentStored():
            return {_attachment_path(a): _attachment(a) for a in attachments.fold([event]).values()}
        case _:
            return {}


class _State:
    """A run on its way through its events: its record and its attachments."""

    def __init__(self) -> None:
        self._folding = Folding()
        self._attached: dict[attachments.Key, Attachment] = {}

    @classmethod
    def of(cls, events: Sequence[RecordedEvent]) -> "_State":
        """The state that the beginning of a stream makes."""
        state = cls()
        for event in effective(events):
            state._step(event)
        return state

    def take(self, event: RecordedEvent) -> list[Change]:
        """Fold one more event, and tell what became of each field that it says."""
        said = fields_said(event)
        before = {path: self._value(path) for path in said}
        self._step(event)
        return [_change(path, before[path], self._value(path), value) for path, value in said.items()]

    def fields(self) -> Fields:
        """Every field that has a value."""
        record = self._folding.record
        extra = {key: raw for key, raw in record.extra.items() if key != _METADATA or not _is_empty(raw)}
        return {
            **{(name,): raw for name, raw in record.members.items()},
            **{(name,): place for name, place in record.moved.items()},
            **{(_EXTRA, key): raw for key, raw in extra.items()},
            **{(_EXTRA, _METADATA, key): raw for key, raw in record.metadata.items()},
            **{_attachment_path(attached): _attachment(attached) for attached in self._attached.values()},
        }

    def _step(self, event: RecordedEvent) -> None:
        self._folding.take(event)
        self._attached = attachments.fold([event], self._attached)

    def _value(self, path: Path) -> Value | None:
        for attached in self._attached.values():
            if path == _attachment_path(attached):
                return _attachment(attached)
        return _standing(self._folding.record, path)


def _standing(record: Record, path: Path) -> Value | None:
    match path:
        case (name,):
            return record.moved.get(name) or record.members.get(name)
        case ("extra", key):
            return record.extra.get(key)
        case ("extra", "metadata", key):
            return record.metadata.get(key)
        case _:
            return None


def _flat(members: Mapping[str, bytes], moved: Mapping[str, Offloaded]) -> Fields:
    """The members of a write as fields. Of a moved `extra` those keys stand beside it that stayed in the log."""
    flat: Fields = {}
    for name, raw in members.items():
        if name == _EXTRA:
            flat |= _flat_extra(raw)
        elif name != CONTENTS_MEMBER:
            flat[(name,)] = raw
    return flat | {(name,): place for name, place in moved.items()}


def _flat_extra(raw: bytes) -> Fields:
    extra = _members(raw)
    if extra is None:
        return {(_EXTRA,): raw}
    flat: Fields = {}
    for key, value in extra.items():
        inside = _members(value) if key == _METADATA else None
        if inside is None:
            flat[_EXTRA, key] = value
        else:
            flat |= {(_EXTRA, _METADATA, inner): word for inner, word in inside.items()}
    return flat


def _members(raw: bytes) -> dict[str, bytes] | None:
    try:
        return split_object(raw)
    except NotJSON:
        return None


def _change(path: Path, before: Value | None, after: Value | None, said: Value) -> Change:
    """What became of a field that an event said."""
    if before is None and after is not None:
        return Change(path, "set", before, after)
    if not _is_same(before, after):
        return Change(path, "changed", before, after)
    if _is_same(said, after):
        return Change(path, "left", before, after, cause="same")
    return Change(path, "left", before, after, said, _cause(path, said, after))


def _cause(path: Path, said: Value, standing: Value | None) -> Cause:
    if said == b"null":
        return "null"
    if standing is None or (len(path) == 1 and isinstance(said, bytes) and not is_usable(path[0], said)):
        return "unreadable"
    return "empty" if isinstance(said, bytes) and _is_empty(said) else "outranked"


def _differences(before: Fields, after: Fields) -> list[Change]:
    return [
        _change_between(path, before.get(path), after.get(path))
        for path in dict.fromkeys([*before, *after])
        if not _is_same(before.get(path), after.get(path))
    ]


def _change_between(path: Path, before: Value | None, after: Value | None) -> Change:
    effect: Effect = "set" if before is None else "cleared" if after is None else "changed"
    return Change(path, effect, before, after)


def _is_same(one: Value | None, other: Value | None) -> bool:
    if one is None or other is None:
        return one is other
    if isinstance(one, bytes) and isinstance(other, bytes):
        return one == other
    return hash_of(one) == hash_of(other)


def hash_of(value: Value) -> str:
    """The sha256 of a value's JSON as it was sent, in hex."""
    return value.hash if isinstance(value, Offloaded) else sha256(value).hexdigest()


def _is_empty(raw: bytes) -> bool:
    return rank_of(raw, _RANK_OF_A_POST) < _RANK_OF_A_POST


def _attachment_path(attached: Attachment) -> Path:
    return (_ATTACHMENTS, attached.name)


def _attachment(attached: Attachment) -> bytes:
    told = {"media_type": attached.media_type, "size": attached.size, "sha256": attached.content_hash.hex()}
    return dumps(told)


def _happened_at(event: RecordedEvent) -> int | None:
    """When a write says that it happened: at the end that it tells of, else at the start."""
    match event.body:
        case RunPosted(fields=fields) | RunPatched(fields=fields):
            return _latest(fields)
        case _:
            return None


def _latest(fields: RunFields) -> int | None:
    end = read_time(fields.end_time)
    return read_time(fields.start_time) if end is None else end


def content_of(event: RecordedEvent) -> Content:
    """Whether the content of an event can be told."""
    if not isinstance(event.body, Unknown):
        return "recorded"
    return "unknown" if event.payload else "erased"
