"""The events: what can be a fact in the log, each a frozen class, and the union of them.

An event says what a client wrote, not what became of it: its fields are raw JSON, uninterpreted. `projections` gives
them meaning. The name of a class is the event's `kind` in the log.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

import msgspec
from msgspec import Raw

from events.ids import format_id, parse_id
from events.jsontext import split_object

UNSAID: Final = Raw(b"")
_NULL: Final = Raw(b"null")
_SILENT: Final = (b"", b"null")


Operation = Literal["post", "patch"]
"""What a client does to a run: it posts it, or patches it."""


class RunFields(msgspec.Struct, frozen=True, gc=False):
    """The fields of a run write that some read model looks at, each as raw JSON; empty when absent.

    Source: langsmith-wire.md §3.7. Unknown members stay in the payload and are read from there.
    `contents` is ours: where fields too large for the log went (see `events.codec.offload`).
    """

    id: Raw = UNSAID
    name: Raw = UNSAID
    run_type: Raw = UNSAID
    start_time: Raw = UNSAID
    end_time: Raw = UNSAID
    trace_id: Raw = UNSAID
    parent_run_id: Raw = UNSAID
    dotted_order: Raw = UNSAID
    session_name: Raw = UNSAID
    session_id: Raw = UNSAID
    project_name: Raw = UNSAID
    reference_example_id: Raw = UNSAID
    tags: Raw = UNSAID
    status: Raw = UNSAID
    inputs: Raw = UNSAID
    outputs: Raw = UNSAID
    error: Raw = UNSAID
    events: Raw = UNSAID
    extra: Raw = UNSAID
    serialized: Raw = UNSAID
    attachments: Raw = UNSAID
    contents: Raw = msgspec.field(default=UNSAID, name="agent-spy:contents")


CONTENTS_MEMBER: Final = "agent-spy:contents"
_RUN_FIELD_OF: Final = {field.encode_name: field.name for field in msgspec.structs.fields(RunFields)}
_decode_run_fields: Final = msgspec.json.Decoder(RunFields).decode


def said(raw: Raw | bytes) -> bool:
    """Whether a field says anything: absent and null do not."""
    if raw is UNSAID:
        return False
    return raw not in _SILENT if type(raw) is bytes else raw != _NULL and raw != UNSAID


def run_fields(payload: bytes) -> RunFields:
    """Decode a run write from its JSON. Raises `NotJSON` when it is no JSON object."""
    try:
        return _decode_run_fields(payload)
    except (msgspec.DecodeError, RecursionError):
        members = split_object(payload)
        return RunFields(**{_RUN_FIELD_OF[k]: Raw(v) for k, v in members.items() if k in _RUN_FIELD_OF})


# Making a frozen dataclass takes several times as long, and there is one of these for every write.
class RunWrite(msgspec.Struct, frozen=True, gc=False):
    """A POST or a PATCH of a run, as the JSON that came. `words` may hold what the folds read in it beforehand.

    With `is_offloaded`, fields too large for the log were moved, and its member `agent-spy:contents` says where. In any
    other payload that name is a client's, and says nothing.
    """

    run_id: bytes
    payload: bytes
    is_offloaded: bool = False
    words: object = None

    @property
    def fields(self) -> RunFields:
        """The fields that it says, decoded anew whenever they are asked for. Raises `NotJSON` when there are none."""
        fields = run_fields(self.payload)
        if self.is_offloaded or fields.contents is UNSAID:
            return fields
        return msgspec.structs.replace(fields, contents=UNSAID)


class RunPosted(RunWrite, frozen=True, gc=False):
    """A client posted a run, whole or just begun."""


class RunPatched(RunWrite, frozen=True, gc=False):
    """A client patched a run, known or not."""


@dataclass(frozen=True, slots=True)
class AttachmentStored:
    """A client attached a named file to a run, by a POST or a PATCH of it.

    Its bytes are in the content store under `content_hash`.
    """

    run_id: bytes
    name: str
    media_type: str
    size: int
    content_hash: bytes
    operation: Operation


@dataclass(frozen=True, slots=True)
class FeedbackPosted:
    """A client gave feedback. `members` are the fields it named, as raw JSON."""

    feedback_id: bytes
    members: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class FeedbackPatched:
    """A client changed feedback; a member that is null clears the field."""

    feedback_id: bytes
    members: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class FeedbackDeleted:
    """A client deleted feedback."""

    feedback_id: bytes


@dataclass(frozen=True, slots=True)
class FeedbackTokenCreated:
    """Someone let others give a feedback on a run without an API key, until a time (µs). `config` is raw JSON."""

    feedback_id: bytes
    run_id: bytes
    key: str
    expires_at: int
    config: bytes


@dataclass(frozen=True, slots=True)
class FeedbackConfigSet:
    """Someone said how feedback with a key is to be understood. `members` are raw JSON."""

    config_id: bytes
    key: str
    members: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class FeedbackConfigDeleted:
    """Someone took back how feedback with a key is to be understood."""

    config_id: bytes


@dataclass(frozen=True, slots=True)
class RunShared:
    """Someone made the trace of a run readable by everyone who has the token."""

    run_id: bytes
    token: bytes


@dataclass(frozen=True, slots=True)
class RunUnshared:
    """Someone took back that a run was shared."""

    run_id: bytes


@dataclass(frozen=True, slots=True)
class ProjectCreated:
    """Someone created a project by name, or took up one that runs had made. `members` are what else was said of it."""

    project_id: bytes
    name: str
    members: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProjectPatched:
    """Someone changed what is said of a project, but for its name. `members` are raw JSON; null says nothing."""

    project_id: bytes
    members: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class ProjectRenamed:
    """Someone gave a project another name. From here on the former name stands for the project `successor_id`."""

    project_id: bytes
    name: str
    former_name: str
    successor_id: bytes


@dataclass(frozen=True, slots=True)
class ProjectDeleted:
    """Someone deleted a project with all its runs. From here on its name stands for the project `successor_id`."""

    project_id: bytes
    name: str
    successor_id: bytes


@dataclass(frozen=True, slots=True)
class RunReverted:
    """Someone undid what was written to a run after `to_version` and before this. See `projections.reverts`."""

    run_id: bytes
    to_version: int
    reason: str


@dataclass(frozen=True, slots=True)
class TraceErased:
    """Someone erased a trace: the payloads of everything that was written to `streams` are gone, and stay gone."""

    trace_id: bytes
    streams: tuple[bytes, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event of a kind that this version does not know. Kept, skipped by every fold, counted."""

    kind: str


Event = (
    RunPosted
    | RunPatched
    | AttachmentStored
    | FeedbackPosted
    | FeedbackPatched
    | FeedbackDeleted
    | FeedbackTokenCreated
    | FeedbackConfigSet
    | FeedbackConfigDeleted
    | RunShared
    | RunUnshared
    | ProjectCreated
    | ProjectPatched
    | ProjectRenamed
    | ProjectDeleted
    | RunReverted
    | TraceErased
    | Unknown
)

# --- streams ----------------------------------------------------------------------------------------------------------

_STREAM_WORDS: Final = {
    b"r": "run",
    b"f": "feedback",
    b"c": "feedback-config",
    b"s": "share",
    b"p": "project",
    b"t": "trace",
}


def run_stream(run_id: bytes) -> bytes:
    """The stream of a run: one letter and 16 bytes."""
    return b"r" + run_id


def feedback_stream(feedback_id: bytes) -> bytes:
    """The stream of one feedback."""
    return b"f" + feedback_id


def feedback_config_stream(config_id: bytes) -> bytes:
    """The stream of how feedback with one key is to be understood."""
    return b"c" + config_id


def share_stream(run_id: bytes) -> bytes:
    """The stream of who may read a run without an API key."""
    return b"s" + run_id


def project_stream(project_id: bytes) -> bytes:
    """The stream of one project."""
    return b"p" + project_id


def trace_stream(trace_id: bytes) -> bytes:
    """The stream of what is done to a trace as a whole."""
    return b"t" + trace_id


def stream_text(stream: bytes) -> str:
    """`run:018f…`: how a stream is written for people."""
    return f"{_STREAM_WORDS.get(stream[:1], 'unknown')}:{format_id(stream[1:])}"


def stream_from_text(text: str) -> bytes | None:
    """The stream that `stream_text` wrote, or None when the text names none."""
    word, _, id_text = text.partition(":")
    letters = [letter for letter, known in _STREAM_WORDS.items() if known == word]
    subject = parse_id(id_text)
    return letters[0] + subject if letters and subject is not None else None


# --- from payload to event --------------------------------------------------------------------------------------------


class _AttachmentPayload(msgspec.Struct, frozen=True):
    name: str
    media_type: str
    size: int
    content_hash: str
    operation: Operation


class _TokenPayload(msgspec.Struct, frozen=True):
    run_id: str
    key: str
    expires_at: int
    config: Raw


class _ConfigPayload(msgspec.Struct, frozen=True):
    key: str
    members: dict[str, Raw]


class _SharePayload(msgspec.Struct, frozen=True):
    token: str


class _RenamingPayload(msgspec.Struct, frozen=True):
    name: str
    former_name: str
    successor_id: str


class _DeletionPayload(msgspec.Struct, frozen=True):
    name: str
    successor_id: str


class _RevertPayload(msgspec.Struct, frozen=True):
    to_version: int
    reason: str


class _ErasurePayload(msgspec.Struct, frozen=True):
    streams: list[str]
    reason: str


NO_MEMBERS: Final[Mapping[str, bytes]] = MappingProxyType({})


def _attachment(subject: bytes, payload: bytes) -> AttachmentStored:
    told = msgspec.json.decode(payload, type=_AttachmentPayload)
    hash_ = bytes.fromhex(told.content_hash)
    return AttachmentStored(subject, told.name, told.media_type, told.size, hash_, told.operation)


def attachment_payload(name: str, media_type: str, size: int, content_hash: bytes, operation: Operation) -> bytes:
    """The payload of `AttachmentStored`, as JSON."""
    return msgspec.json.encode(_AttachmentPayload(name, media_type, size, content_hash.hex(), operation))


def project_payload(name: str, members: Mapping[str, bytes] = NO_MEMBERS) -> bytes:
    """The payload of `ProjectCreated`, as JSON."""
    return msgspec.json.encode({"name": name, **{key: Raw(value) for key, value in members.items()}})


def project_patch_payload(members: Mapping[str, bytes]) -> bytes:
    """The payload of `ProjectPatched`, as JSON."""
    return msgspec.json.encode({key: Raw(value) for key, value in members.items()})


def renaming_payload(name: str, former_name: str, successor_id: bytes) -> bytes:
    """The payload of `ProjectRenamed`, as JSON."""
    return msgspec.json.encode(_RenamingPayload(name, former_name, successor_id.hex()))


def deletion_payload(name: str, successor_id: bytes) -> bytes:
    """The payload of `ProjectDeleted`, as JSON."""
    return msgspec.json.encode(_DeletionPayload(name, successor_id.hex()))


def revert_payload(to_version: int, reason: str) -> bytes:
    """The payload of `RunReverted`, as JSON."""
    return msgspec.json.encode(_RevertPayload(to_version, reason))


def erasure_payload(streams: Iterable[bytes], reason: str) -> bytes:
    """The payload of `TraceErased`, as JSON."""
    return msgspec.json.encode(_ErasurePayload([stream.hex() for stream in streams], reason))


def feedback_token_payload(run_id: bytes, key: str, expires_at: int, config: bytes) -> bytes:
    """The payload of `FeedbackTokenCreated`, as JSON."""
    return msgspec.json.encode(_TokenPayload(run_id.hex(), key, expires_at, Raw(config)))


def feedback_config_payload(key: str, members: Mapping[str, bytes]) -> bytes:
    """The payload of `FeedbackConfigSet`, as JSON."""
    return msgspec.json.encode(_ConfigPayload(key, {name: Raw(raw) for name, raw in members.items()}))


def share_payload(token: bytes) -> bytes:
    """The payload of `RunShared`, as JSON."""
    return msgspec.json.encode(_SharePayload(token.hex()))


def _token_created(subject: bytes, payload: bytes) -> FeedbackTokenCreated:
    told = msgspec.json.decode(payload, type=_TokenPayload)
    return FeedbackTokenCreated(subject, bytes.fromhex(told.run_id), told.key, told.expires_at, bytes(told.config))


def _config_set(subject: bytes, payload: bytes) -> FeedbackConfigSet:
    told = msgspec.json.decode(payload, type=_ConfigPayload)
    return FeedbackConfigSet(subject, told.key, {name: bytes(raw) for name, raw in told.members.items()})


def _shared(subject: bytes, payload: bytes) -> RunShared:
    return RunShared(subject, bytes.fromhex(msgspec.json.decode(payload, type=_SharePayload).token))


def _created(subject: bytes, payload: bytes) -> ProjectCreated:
    members = split_object(payload)
    return ProjectCreated(subject, msgspec.json.decode(members.pop("name"), type=str), members)


def _renamed(subject: bytes, payload: bytes) -> ProjectRenamed:
    told = msgspec.json.decode(payload, type=_RenamingPayload)
    return ProjectRenamed(subject, told.name, told.former_name, bytes.fromhex(told.successor_id))


def _deleted(subject: bytes, payload: bytes) -> ProjectDeleted:
    told = msgspec.json.decode(payload, type=_DeletionPayload)
    return ProjectDeleted(subject, told.name, bytes.fromhex(told.successor_id))


def _reverted(subject: bytes, payload: bytes) -> RunReverted:
    told = msgspec.json.decode(payload, type=_RevertPayload)
    return RunReverted(subject, told.to_version, told.reason)


def _erased(subject: bytes, payload: bytes) -> TraceErased:
    told = msgspec.json.decode(payload, type=_ErasurePayload)
    return TraceErased(subject, tuple(bytes.fromhex(stream) for stream in told.streams), told.reason)


_RUN_WRITES: Final[Mapping[str, type[RunPosted] | type[RunPatched]]] = {
    "RunPosted": RunPosted,
    "RunPatched": RunPatched,
}
_DECODERS: Final[dict[str, Callable[[bytes, bytes], Event]]] = {
    **_RUN_WRITES,
    "AttachmentStored": _attachment,
    "FeedbackPosted": lambda subject, payload: FeedbackPosted(subject, split_object(payload)),
    "FeedbackPatched": lambda subject, payload: FeedbackPatched(subject, split_object(payload)),
    "FeedbackDeleted": lambda subject, _: FeedbackDeleted(subject),
    "FeedbackTokenCreated": _token_created,
    "FeedbackConfigSet": _config_set,
    "FeedbackConfigDeleted": lambda subject, _: FeedbackConfigDeleted(subject),
    "RunShared": _shared,
    "RunUnshared": lambda subject, _: RunUnshared(subject),
    "ProjectCreated": _created,
    "ProjectPatched": lambda subject, payload: ProjectPatched(subject, split_object(payload)),
    "ProjectRenamed": _renamed,
    "ProjectDeleted": _deleted,
    "RunReverted": _reverted,
    "TraceErased": _erased,
}

# Every kind that this version knows.
KINDS: Final = tuple(_DECODERS)

# Writes that a client may retry long after others came between are duplicates of any earlier event of their stream.
# The others are commands that people repeat on purpose: duplicates of their stream's latest event only.
COMMANDS: Final = frozenset(
    {
        *("FeedbackPosted", "FeedbackPatched", "FeedbackDeleted", "FeedbackTokenCreated"),
        *("FeedbackConfigSet", "FeedbackConfigDeleted", "RunShared", "RunUnshared"),
        *("ProjectCreated", "ProjectPatched", "ProjectRenamed", "ProjectDeleted"),
        *("RunReverted", "TraceErased"),
    }
)


def decode(kind: str, stream: bytes, payload: bytes, *, is_offloaded: bool = False) -> Event:
    """The event that a payload of the current schema version holds; `Unknown` for a kind of another version.

    `is_offloaded` as in `RunWrite`: the codec that the payload was stored with says it.
    """
    if is_offloaded and kind in _RUN_WRITES:
        return _RUN_WRITES[kind](stream[1:], payload, is_offloaded)
    decoder = _DECODERS.get(kind)
    return Unknown(kind) if decoder is None else decoder(stream[1:], payload)
