"""From the bytes of a request to the events it brings.

An item is one run write, one feedback or one attachment. Of every item becomes either a sealed event or, when no event
can be made of it, a `Refused` with its bytes and the reason: one bad item never costs its neighbours. A bad field does
not refuse its item: the log keeps the bytes, and readers do what they can with them.
"""

import base64
import binascii
import hashlib
import itertools
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw

from events.codec import Codec, Content, Offloaded, offload
from events.ids import parse_id
from events.jsontext import NotJSON, loads, quoted, split_array, split_object
from events.kinds import (
    CONTENTS_MEMBER,
    AttachmentStored,
    FeedbackDeleted,
    FeedbackPatched,
    FeedbackPosted,
    Operation,
    ProjectCreated,
    RunFields,
    RunPatched,
    RunPosted,
    attachment_payload,
    feedback_stream,
    project_payload,
    project_stream,
    run_fields,
    run_stream,
    said,
)
from events.log import NewEvent, Refused, seal
from events.upcasters import joined
from projections import words
from projections.essence import essence_of
from projections.extraction import preview
from projections.words import (
    NAME_CHARS_MAX,
    Words,
    Written,
    column_text,
    id_of,
    project_id_of,
    read,
    read_id,
    usual,
    words_in,
)
from service.multipart import Multipart, Part

Item = NewEvent | Refused


class _Read(NamedTuple):
    """A run write that was read and is still to be sealed: the arguments of `seal`."""

    kind: str
    stream: bytes
    payload: bytes
    body: RunPosted | RunPatched


POST: Final[Operation] = "post"
PATCH: Final[Operation] = "patch"

_RUN_EVENTS: Final[dict[Operation, type[RunPosted] | type[RunPatched]]] = {POST: RunPosted, PATCH: RunPatched}
_RANKS: Final[dict[Operation, int]] = {POST: words.POST, PATCH: words.PATCH}
# Where a run stands and what it is called stays in the log however long it is: lists and trees are made of it.
_NEVER_MOVED: Final = frozenset(
    {
        *("id", "name", "run_type", "start_time", "end_time", "status", "trace_id", "parent_run_id", "dotted_order"),
        *("session_name", "session_id", "project_name", "reference_example_id"),
    }
)
# How a field begins that comes after others in a JSON object, for those that clients send in parts of their own.
_NAMED: Final = {
    name: f',"{name}":'.encode()
    for name in ("inputs", "outputs", "error", "events", "extra", "serialized", "attachments")
}
_SPACE: Final = frozenset({b" ", b"\t", b"\n", b"\r"})
_NEEDED: Final = ("name", "run_type", "start_time")
_SEALED_AT_ONCE: Final = 16
_DEFAULT_MEDIA_TYPE: Final = "application/octet-stream"
_FEEDBACK_IDS: Final = uuid.UUID("0f4f5d0e-53c0-5a4c-9a4e-0a8f3f6f7d55")


class UnusableItem(Exception):
    """The one item of a request cannot become an event. It is kept in quarantine."""


class UnusableBody(Exception):
    """A body of which no item can be told. It is kept in quarantine."""


# --- one run write ----------------------------------------------------------------------------------------------------


def run_items(
    operation: Operation, raw: bytes, *, source: str, field_bytes_max: int, run_id: bytes | None = None
) -> Iterator[Item]:
    """The event of a run write given as one JSON object, and one for each attachment inside it.

    `run_id` is the id that the path gave, which wins over the one in the object.
    """
    return _sealed(_read_run(operation, raw, source, field_bytes_max, run_id))


def _sealed(items: Iterable[Item | _Read]) -> Iterator[Item]:
    """The same items sealed, a few at a time.

    Compressing one write between reading two costs a fifth more: each pushes the other out of the processor's caches.
    """
    rest = iter(items)
    while read := list(itertools.islice(rest, _SEALED_AT_ONCE)):
        yield from [seal(*item) if isinstance(item, _Read) else item for item in read]


def _read_run(
    operation: Operation, raw: bytes, source: str, field_bytes_max: int, run_id: bytes | None = None
) -> Iterator[Item | _Read]:
    written = usual(raw)
    if written is None:
        yield from _read_odd_run(operation, raw, source, field_bytes_max, run_id)
        return
    item = _usual_run(operation, raw, written, run_id or id_of(written.id), source, field_bytes_max)
    yield item
    if said(written.attachments) and not isinstance(item, Refused):
        yield from _inline_attachments(operation, item.stream[1:], bytes(written.attachments))


def _read_odd_run(
    operation: Operation, raw: bytes, source: str, field_bytes_max: int, run_id: bytes | None
) -> Iterator[Item | _Read]:
    try:
        fields = run_fields(raw)
    except NotJSON as error:
        yield Refused(source, f"{source} is not a JSON object: {error}", raw)
        return
    item = _odd_run(operation, raw, fields, run_id or read_id(fields.id), source, field_bytes_max)
    yield item
    if said(fields.attachments) and not isinstance(item, Refused):
        yield from _inline_attachments(operation, item.stream[1:], bytes(fields.attachments))


def _usual_run(
    operation: Operation, raw: bytes, written: Written, run_id: bytes | None, source: str, field_bytes_max: int
) -> Item | _Read:
    if operation == POST and (written.name is None or written.run_type is None or written.start_time is None):
        return _unfit(source, raw, run_id, [name for name in _NEEDED if getattr(written, name) is None])
    if run_id is None:
        return _unfit(source, raw, run_id)
    if len(raw) > field_bytes_max and (large := _offloaded_run(operation, run_id, raw, field_bytes_max)) is not None:
        return large
    return _read_as(operation, run_id, raw, words_in(written, _RANKS[operation]))


def _odd_run(
    operation: Operation, raw: bytes, fields: RunFields, run_id: bytes | None, source: str, field_bytes_max: int
) -> Item | _Read:
    """The same of a write in which something is not what it should be."""
    missing = [name for name in _NEEDED if not said(getattr(fields, name))] if operation == POST else []
    if missing or run_id is None:
        return _unfit(source, raw, run_id, missing)
    if len(raw) > field_bytes_max and (large := _offloaded_run(operation, run_id, raw, field_bytes_max)) is not None:
        return large
    return _read_as(operation, run_id, raw, read(_RUN_EVENTS[operation](run_id, raw)))


def _read_as(operation: Operation, run_id: bytes, raw: bytes, told: Words) -> _Read:
    event = _RUN_EVENTS[operation]
    return _Read(event.__name__, run_stream(run_id), raw, event(run_id, raw, words=told))


def _unfit(source: str, raw: bytes, run_id: bytes | None, missing: Sequence[str] = ()) -> Refused:
    if run_id is None:
        return Refused(source, f"{source} has no id that is a UUID", raw)
    needed = "a post needs name, run_type and start_time"
    return Refused(source, f"{source}: {needed}, and {', '.join(missing)} is missing", raw)


def _offloaded_run(operation: Operation, run_id: bytes, raw: bytes, field_bytes_max: int) -> NewEvent | None:
    """The event of a run write whose large fields go whole to the content store; None when no field is large.

    In the log stays of each what the folds read in it, so status, usage and the like do not depend on its size.
    """
    members = split_object(raw)
    large = {
        name: value
        for name, value in members.items()
        if len(value) > field_bytes_max and name not in _NEVER_MOVED and name != CONTENTS_MEMBER
    }
    if not large:
        return None
    contents = {name: Content(hashlib.sha256(value).digest(), value) for name, value in large.items()}
    moved = {
        name: Offloaded(content.hash.hex(), len(content.body), preview(content.body))
        for name, content in contents.items()
    }
    essences = {name: essence for name, value in large.items() if (essence := essence_of(name, value)) is not None}
    payload = offload(members, moved, essences)
    event = _RUN_EVENTS[operation]
    told = read(event(run_id, payload, is_offloaded=True))
    return seal(
        event.__name__,
        run_stream(run_id),
        payload,
        event(run_id, payload, is_offloaded=True, words=told),
        codec=Codec.OFFLOADED,
        contents=tuple(contents.values()),
    )


def _inline_attachments(operation: Operation, run_id: bytes, raw: bytes) -> Iterator[Item]:
    """Attachments inside a run's JSON: `{"name": ["type", "base64"]}`.

    A client that attached a file of its own disk sends its path there: that is not base64 and is never opened.
    """
    try:
        attached = loads(raw)
    except NotJSON:
        return
    for name, value in attached.items() if isinstance(attached, dict) else ():
        match value:
            case [str(media_type), str(encoded)]:
                try:
                    body = base64.b64decode(encoded, validate=True)
                except (binascii.Error, ValueError):
                    continue
                yield attachment_item(run_id, name, media_type, body, operation)
            case _:
                continue


def attachment_item(run_id: bytes, name: str, media_type: str, body: bytes, operation: Operation) -> NewEvent:
    """The event of an attachment. Its bytes are stored once, whoever else attached the same."""
    content = Content(hashlib.sha256(body).digest(), body)
    payload = attachment_payload(name, media_type, len(body), content.hash, operation)
    event = AttachmentStored(run_id, name, media_type, len(body), content.hash, operation)
    return seal("AttachmentStored", run_stream(run_id), payload, event, contents=(content,))


# --- feedback and projects --------------------------------------------------------------------------------------------


def feedback_posted(raw: bytes, *, source: str, feedback_id: bytes | None = None) -> Item:
    """The event of new feedback. One without an id gets one that follows from its bytes, so that a retry is known."""
    try:
        members = split_object(raw)
    except NotJSON as error:
        return Refused(source, f"{source} is not a JSON object: {error}", raw)
    if members.get("key", b"null") == b"null":
        return Refused(source, f"{source}: feedback needs a key", raw)
    id_ = feedback_id or read_id(members.get("id", b"")) or _minted_feedback_id(raw)
    return seal("FeedbackPosted", feedback_stream(id_), raw, FeedbackPosted(id_, members))


def new_id() -> bytes:
    """An id that nobody else has."""
    return uuid.uuid4().bytes


def _minted_feedback_id(raw: bytes) -> bytes:
    return uuid.uuid5(_FEEDBACK_IDS, hashlib.sha256(raw).hexdigest()).bytes


def feedback_patched(feedback_id: bytes, raw: bytes, *, source: str) -> Item:
    """The event of a change of feedback, known or not."""
    try:
        members = split_object(raw)
    except NotJSON as error:
        return Refused(source, f"{source} is not a JSON object: {error}", raw)
    return seal("FeedbackPatched", feedback_stream(feedback_id), raw, FeedbackPatched(feedback_id, members))


def feedback_deleted(feedback_id: bytes) -> Item:
    """The event that deletes feedback."""
    return seal("FeedbackDeleted", feedback_stream(feedback_id), b"{}", FeedbackDeleted(feedback_id))


def project_created(name: str) -> Item:
    """The event that creates a project by name."""
    name = column_text(name, NAME_CHARS_MAX)  # As runs that name it find it.
    id_ = project_id_of(name)
    return seal("ProjectCreated", project_stream(id_), project_payload(name), ProjectCreated(id_, name))


# --- a batch of run writes, as JSON -----------------------------------------------------------------------------------


def batch_items(body: bytes, *, field_bytes_max: int) -> list[Item]:
    """The items of `{"post": [...], "patch": [...]}`, either of which may be missing.

    Raises NotJSON when the body is no such object: then nothing of it can be told apart.
    """
    return list(each_of_batch(body, field_bytes_max=field_bytes_max))


def each_of_batch(body: bytes, *, field_bytes_max: int) -> Iterator[Item]:
    """The same, one after the other. What it raises, it raises at once."""
    members = split_object(body)
    return _sealed(
        itertools.chain.from_iterable(
            _items_of(operation, members.get(operation, b"null"), field_bytes_max) for operation in (POST, PATCH)
        )
    )


def _items_of(operation: Operation, raw: bytes, field_bytes_max: int) -> Iterator[Item | _Read]:
    if raw == b"null":
        return
    try:
        entries = split_array(raw)
    except NotJSON as error:
        yield Refused(operation, f"{operation} is not a JSON array: {error}", raw)
        return
    for place, entry in enumerate(entries):
        yield from _read_run(operation, entry, f"{operation}[{place}]", field_bytes_max)


# --- the parts of a multipart body ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _RunParts:
    """A run write in parts: the main one, and those of its fields that came out of band."""

    operation: Operation
    run_id: bytes
    source: str
    # What the names of the parts of its fields begin with.
    prefix: str
    main: bytes | None = None
    fields: dict[str, bytes] = field(default_factory=dict)


class _Attached(NamedTuple):
    """An attachment in a part of its own."""

    run_id: bytes
    name: str
    media_type: str
    body: bytes
    operation: Operation | None


def multipart_items(multipart: Multipart, *, field_bytes_max: int) -> list[Item]:
    """The items of a body in parts, in the order in which they begin. Parts: langsmith-wire.md §3.2."""
    return list(each_of_multipart(multipart, field_bytes_max=field_bytes_max))


def each_of_multipart(multipart: Multipart, *, field_bytes_max: int) -> Iterator[Item]:
    """The same, one after the other."""
    gathered: list[_RunParts | _Attached | Item] = []
    writes: dict[bytes, Operation] = {}  # of each run the last so far
    open_runs: dict[tuple[Operation, bytes], _RunParts] = {}
    run: _RunParts | None = None  # whose part came last: the next one is most likely another of its fields
    for part in multipart.parts:
        if run is not None and part.name.startswith(run.prefix) and len(part.name) > len(run.prefix):
            run.fields[part.name[len(run.prefix) :]] = part.data
            continue
        kind, _, rest = part.name.partition(".")
        if kind in _RUN_EVENTS:
            run = _gather_run_part(kind, rest, part, gathered, open_runs) or run
            if run is not None:
                writes[run.run_id] = run.operation
        elif kind == "attachment":
            gathered.append(_attachment_part(rest, part, writes))
        elif kind == "feedback":
            gathered.append(feedback_posted(part.data, source=part.name, feedback_id=parse_id(rest)))
        else:
            gathered.append(Refused(part.name or "part", _unknown_part(part), part.data))
    if multipart.truncated:
        gathered.append(Refused("body", "the body ends before its closing boundary", multipart.truncated))
    return _sealed(_item(entry, writes, field_bytes_max) for entry in gathered)


def _gather_run_part(
    operation: Operation,
    rest: str,
    part: Part,
    gathered: list[_RunParts | _Attached | Item],
    open_runs: dict[tuple[Operation, bytes], _RunParts],
) -> _RunParts | None:
    """The run write that the part belongs to; None when its name holds no id."""
    id_text, _, name = rest.partition(".")
    run_id = parse_id(id_text)
    if run_id is None:
        gathered.append(Refused(part.name, f"{part.name}: {id_text!r} is not a UUID", part.data))
        return None
    run = open_runs.get((operation, run_id))
    if run is None or (not name and run.main is not None):
        run = _RunParts(operation, run_id, f"{operation}.{id_text}", f"{operation}.{id_text}.")
        open_runs[operation, run_id] = run
        gathered.append(run)
    if name:
        run.fields[name] = part.data
    else:
        run.main = part.data
    return run


def _attachment_part(rest: str, part: Part, writes: Mapping[bytes, Operation]) -> "_Attached | Refused":
    """The attachment, with the write of its run that came last before it, if one did."""
    id_text, _, name = rest.partition(".")
    run_id = parse_id(id_text)
    if run_id is None or not name:
        return Refused(part.name, f"{part.name}: expected attachment.<run id>.<name>", part.data)
    return _Attached(run_id, name, part.content_type or _DEFAULT_MEDIA_TYPE, part.data, writes.get(run_id))


def _unknown_part(part: Part) -> str:
    expected = "expected post.<id>, patch.<id>, feedback.<id> or attachment.<id>.<name>"
    return f"a part is named {part.name!r}: {expected}" if part.name else f"a part has no name: {expected}"


def _item(entry: _RunParts | _Attached | Item, writes: Mapping[bytes, Operation], field_bytes_max: int) -> Item | _Read:
    if isinstance(entry, _RunParts):
        return _run_of_parts(entry, field_bytes_max)
    if isinstance(entry, _Attached):
        # No part tells which write a file came with. SDKs send it after that; alone, it is taken for a POST's.
        operation = entry.operation or writes.get(entry.run_id, POST)
        return attachment_item(entry.run_id, entry.name, entry.media_type, entry.body, operation)
    return entry


def _run_of_parts(run: _RunParts, field_bytes_max: int) -> Item | _Read:
    payload = _put_together(run)
    written = None if payload is None else _decoded_whole(payload, run.fields)
    if payload is None or written is None:
        return _odd_run_of_parts(run, field_bytes_max)
    return _usual_run(run.operation, payload, written, run.run_id, run.source, field_bytes_max)


def _put_together(run: _RunParts) -> bytes | None:
    """What `_assembled` makes of usual parts, none of which was looked at yet; None when they are not usual."""
    main = run.main
    if main is None or main[:2] != b'{"' or main[-1:] != b"}" or main[-2:-1] in _SPACE:
        return None
    pieces = [main[:-1]]
    for name, raw in run.fields.items():
        named = _NAMED.get(name)
        if named is None:
            return None
        pieces += (named, raw)
    pieces.append(b"}")
    return b"".join(pieces)


def _decoded_whole(payload: bytes, parts: Mapping[str, bytes]) -> Written | None:
    """The write that was put together, when it is JSON in which every part is the value of its name.

    Only then was each of them one JSON value: `1,"name":2` in a part, say, would have added a member.
    """
    written = usual(payload)
    if written is not None:
        for name, raw in parts.items():
            if getattr(written, name) != Raw(raw):
                return None
    return written


def _odd_run_of_parts(run: _RunParts, field_bytes_max: int) -> Item | _Read:
    sent = b"{}" if run.main is None else run.main
    main = sent.strip()
    try:
        run_fields(main)
    except NotJSON as error:
        return Refused(run.source, f"{run.source} is not a JSON object: {error}", _assembled(b"{}", run.fields, sent))
    payload = _assembled(main, {name: _readable(raw) for name, raw in run.fields.items()})
    return _odd_run(run.operation, payload, run_fields(payload), run.run_id, run.source, field_bytes_max)


_decode_raw = msgspec.json.Decoder(Raw).decode


def _is_json(raw: bytes) -> bool:
    try:
        _decode_raw(raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _readable(raw: bytes) -> bytes:
    """The part as it came, or as a JSON string that holds its very bytes when no reader would take it for JSON."""
    if not _is_json(raw):
        try:
            loads(raw)
        except NotJSON:
            return quoted(raw)
    return raw


def _assembled(main: bytes, fields: Mapping[str, bytes], broken_main: bytes | None = None) -> bytes:
    """The run write as one JSON object: the main part's bytes with the fields put back under their names."""
    if broken_main is not None:
        fields = {"main": quoted(broken_main), **{name: _readable(raw) for name, raw in fields.items()}}
    if not fields:
        return main
    if not _is_json(main):  # What only lenient readers take may be too much for them with more at its end.
        return joined({**split_object(main), **fields})
    inside = main[:-1].rstrip()
    comma = b"" if inside == b"{" else b","
    return inside + comma + joined(dict(fields))[1:]
