"""From the JSON of run writes to their events: one alone, or a batch of them."""

import base64
import binascii
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from events.codec import Codec, Content, Offloaded, offload
from events.jsontext import NotJSON, loads, split_array, split_object
from events.kinds import (
    CONTENTS_MEMBER,
    AttachmentStored,
    Operation,
    RunFields,
    RunPatched,
    RunPosted,
    attachment_payload,
    run_fields,
    run_stream,
    said,
)
from events.log import NewEvent, Refused, seal
from projections import words
from projections.essence import essence_of
from projections.extraction import preview
from projections.words import Words, Written, id_of, read, read_id, usual, words_in
from service.ingest.items import PATCH, POST, Item


class ReadRun(NamedTuple):
    """A run write that was read and is still to be sealed: the arguments of `seal`."""

    kind: str
    stream: bytes
    payload: bytes
    body: RunPosted | RunPatched


_RUN_EVENTS: Final[dict[Operation, type[RunPosted] | type[RunPatched]]] = {POST: RunPosted, PATCH: RunPatched}
_RANKS: Final[dict[Operation, int]] = {POST: words.POST, PATCH: words.PATCH}
# Where a run stands and what it is called stays in the log however long it is: lists and trees are made of it.
_NEVER_MOVED: Final = frozenset(
    {
        *("id", "name", "run_type", "start_time", "end_time", "status", "trace_id", "parent_run_id", "dotted_order"),
        *("session_name", "session_id", "project_name", "reference_example_id"),
    }
)
_NEEDED: Final = ("name", "run_type", "start_time")
_SEALED_AT_ONCE: Final = 16


def run_items(
    operation: Operation, raw: bytes, *, source: str, field_bytes_max: int, run_id: bytes | None = None
) -> Iterator[Item]:
    """The event of a run write given as one JSON object, and one for each attachment inside it.

    `run_id` is the id that the path gave, which wins over the one in the object.
    """
    return sealed(_read_run(operation, raw, source, field_bytes_max, run_id))


def sealed(items: Iterable[Item | ReadRun]) -> Iterator[Item]:
    """The same items sealed, a few at a time.

    Compressing one write between reading two costs a fifth more: each pushes the other out of the processor's caches.
    """
    rest = iter(items)
    while read := list(itertools.islice(rest, _SEALED_AT_ONCE)):
        yield from [seal(*item) if isinstance(item, ReadRun) else item for item in read]


def _read_run(
    operation: Operation, raw: bytes, source: str, field_bytes_max: int, run_id: bytes | None = None
) -> Iterator[Item | ReadRun]:
    if (written := usual(raw)) is not None:
        item = usual_run(operation, raw, written, run_id or id_of(written.id), source, field_bytes_max)
        attached = written.attachments
    else:
        try:
            fields = run_fields(raw)
        except NotJSON as error:
            yield Refused(source, f"{source} is not a JSON object: {error}", raw)
            return
        item = odd_run(operation, raw, fields, run_id or read_id(fields.id), source, field_bytes_max)
        attached = fields.attachments
    yield item
    if said(attached) and not isinstance(item, Refused):
        yield from _inline_attachments(operation, item.stream[1:], bytes(attached))


def usual_run(
    operation: Operation, raw: bytes, written: Written, run_id: bytes | None, source: str, field_bytes_max: int
) -> Item | ReadRun:
    if operation == POST and (written.name is None or written.run_type is None or written.start_time is None):
        return _unfit(source, raw, run_id, [name for name in _NEEDED if getattr(written, name) is None])
    if run_id is None:
        return _unfit(source, raw, run_id)
    if len(raw) > field_bytes_max and (large := _offloaded_run(operation, run_id, raw, field_bytes_max)) is not None:
        return large
    return _read_as(operation, run_id, raw, words_in(written, _RANKS[operation]))


def odd_run(
    operation: Operation, raw: bytes, fields: RunFields, run_id: bytes | None, source: str, field_bytes_max: int
) -> Item | ReadRun:
    """The same of a write in which something is not what it should be."""
    missing = [name for name in _NEEDED if not said(getattr(fields, name))] if operation == POST else []
    if missing or run_id is None:
        return _unfit(source, raw, run_id, missing)
    if len(raw) > field_bytes_max and (large := _offloaded_run(operation, run_id, raw, field_bytes_max)) is not None:
        return large
    return _read_as(operation, run_id, raw, read(_RUN_EVENTS[operation](run_id, raw)))


def _read_as(operation: Operation, run_id: bytes, raw: bytes, told: Words) -> ReadRun:
    event = _RUN_EVENTS[operation]
    return ReadRun(event.__name__, run_stream(run_id), raw, event(run_id, raw, words=told))


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


def batch_items(body: bytes, *, field_bytes_max: int) -> list[Item]:
    """The items of `{"post": [...], "patch": [...]}`, either of which may be missing.

    Raises NotJSON when the body is no such object: then nothing of it can be told apart.
    """
    return list(each_of_batch(body, field_bytes_max=field_bytes_max))


def each_of_batch(body: bytes, *, field_bytes_max: int) -> Iterator[Item]:
    """The same, one after the other. What it raises, it raises at once."""
    members = split_object(body)
    return sealed(
        itertools.chain.from_iterable(
            _items_of(operation, members.get(operation, b"null"), field_bytes_max) for operation in (POST, PATCH)
        )
    )


def _items_of(operation: Operation, raw: bytes, field_bytes_max: int) -> Iterator[Item | ReadRun]:
    if raw == b"null":
        return
    try:
        entries = split_array(raw)
    except NotJSON as error:
        yield Refused(operation, f"{operation} is not a JSON array: {error}", raw)
        return
    for place, entry in enumerate(entries):
        yield from _read_run(operation, entry, f"{operation}[{place}]", field_bytes_max)
