"""From the parts of a multipart body to items, in the order in which they begin. Parts: langsmith-wire.md §3.2."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw

from events.ids import parse_id
from events.jsontext import NotJSON, loads, quoted, split_object
from events.kinds import Operation, run_fields
from events.log import Refused
from events.upcasters import joined
from projections.words import Written, usual
from service.ingest.items import PATCH, POST, Item, feedback_posted
from service.ingest.multipart import Multipart, Part
from service.ingest.run_items import ReadRun, attachment_item, odd_run, sealed, usual_run

_OPERATIONS: Final[tuple[Operation, ...]] = (POST, PATCH)
# How a field begins that comes after others in a JSON object, for those that clients send in parts of their own.
_NAMED: Final = {
    name: f',"{name}":'.encode()
    for name in ("inputs", "outputs", "error", "events", "extra", "serialized", "attachments")
}
_SPACE: Final = frozenset({b" ", b"\t", b"\n", b"\r"})
_DEFAULT_MEDIA_TYPE: Final = "application/octet-stream"


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
        if kind in _OPERATIONS:
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
    return sealed(_item(entry, writes, field_bytes_max) for entry in gathered)


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


def _item(
    entry: _RunParts | _Attached | Item, writes: Mapping[bytes, Operation], field_bytes_max: int
) -> Item | ReadRun:
    if isinstance(entry, _RunParts):
        return _run_of_parts(entry, field_bytes_max)
    if isinstance(entry, _Attached):
        # No part tells which write a file came with. SDKs send it after that; alone, it is taken for a POST's.
        operation = entry.operation or writes.get(entry.run_id, POST)
        return attachment_item(entry.run_id, entry.name, entry.media_type, entry.body, operation)
    return entry


def _run_of_parts(run: _RunParts, field_bytes_max: int) -> Item | ReadRun:
    payload = _put_together(run)
    written = None if payload is None else _decoded_whole(payload, run.fields)
    if payload is None or written is None:
        return _odd_run_of_parts(run, field_bytes_max)
    return usual_run(run.operation, payload, written, run.run_id, run.source, field_bytes_max)


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


def _odd_run_of_parts(run: _RunParts, field_bytes_max: int) -> Item | ReadRun:
    sent = b"{}" if run.main is None else run.main
    main = sent.strip()
    try:
        run_fields(main)
    except NotJSON as error:
        return Refused(run.source, f"{run.source} is not a JSON object: {error}", _assembled(b"{}", run.fields, sent))
    payload = _assembled(main, {name: _readable(raw) for name, raw in run.fields.items()})
    return odd_run(run.operation, payload, run_fields(payload), run.run_id, run.source, field_bytes_max)


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
