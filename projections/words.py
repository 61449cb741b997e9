"""What one write says of a run, read and cut to what columns take: the words that `projections.runs` folds.

Reading is the costly part of folding, and needs nothing but the write itself: it may be done before the head is locked
(`RunPosted.words`). Usual writes are decoded in one go, into types; those that say anything odd field by field.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import msgspec
from msgspec import Raw

from events.codec import Offloaded, offloaded
from events.ids import Places, dotted_order_places, parse_id
from events.jsontext import REFUSALS, NotJSON, dumps, loads, split_array
from events.kinds import CONTENTS_MEMBER, UNSAID, RunFields, RunPatched, RunPosted, said
from events.log import RecordedEvent
from events.times import parse_time
from projections import pairs
from projections.extraction import (
    Usage,
    extra_facts,
    first_token_time,
    metadata_of,
    model_of_outputs,
    preview,
    usage_of_metadata,
    usage_of_outputs,
)

NAME_CHARS_MAX: Final = 500
RUN_TYPE_CHARS_MAX: Final = 100
ERROR_CHARS_MAX: Final = 500
TAGS_MAX: Final = 100
TAG_CHARS_MAX: Final = 200
WORD_CHARS_MAX: Final = 255

POST: Final = 2
PATCH: Final = 3
"""How strong the words of a write are: those of a PATCH win over those of a POST."""

# Fields that may say something empty: such a word is weaker, see `Words.rank_of`.
NAME, RUN_TYPE, ERROR, STATUS, TAGS, INPUTS, OUTPUTS, EVENTS = (1 << place for place in range(8))

_NOTHING: Final[Mapping[str, Offloaded]] = MappingProxyType({})
_EMPTY: Final = frozenset({b"{}", b"[]"})
# Pretty-printers put white space into empty values; one with more of it is taken at its word.
_EMPTY_BYTES_MAX: Final = 16


class Outputs(msgspec.Struct, frozen=True, gc=False):
    """What a write says of a run's outputs: a preview, and the usage and the model that they tell of."""

    preview: str
    usage: Usage | None
    model: str | None


class Facts(msgspec.Struct, frozen=True, gc=False):
    """What `extra` says, cut for columns; None is not said."""

    thread_id: str | None
    conversation_id: str | None
    session_id: str | None
    invocation_model: str | None
    ls_model_name: str | None
    ls_provider: str | None
    usage: Usage | None
    # The metadata, as a column of its own would hold it (`projections.pairs`).
    metadata: str | None


class Words(msgspec.Struct, frozen=True, gc=False):
    """What a write says of a run; None is not said. Times in microseconds.

    An `error` that was said may be empty, and so may `tags`, which are otherwise the JSON of a list of texts. `project`
    is its id, and its name unless only the id was said. `first_token_time` is for those who said `events`.
    """

    rank: int
    empty: int
    name: str | None
    run_type: str | None
    error: str | None
    status: str | None
    tags: str | None
    start_time: int | None
    end_time: int | None
    parent_run_id: bytes | None
    trace_id: bytes | None
    reference_example_id: bytes | None
    project: tuple[bytes, str | None] | None
    dotted_order: Places | None
    inputs: str | None
    outputs: Outputs | None
    says_events: bool
    first_token_time: int | None
    facts: Facts | None

    def rank_of(self, field: int) -> int:
        """How strong the word about a field is: an empty object or array never replaces what is not empty."""
        return self.rank - 2 if self.empty & field else self.rank


def words_of(body: RunPosted | RunPatched) -> Words:
    """What a run write says: read beforehand, or now."""
    return body.words if isinstance(body.words, Words) else read(body)


def read(body: RunPosted | RunPatched) -> Words:
    """What a run write says, read from its payload."""
    rank = POST if isinstance(body, RunPosted) else PATCH
    written = usual(body.payload)
    if written is None:
        return read_oddly(body.fields, rank)
    return words_in(written, rank, offloaded(written.contents) if body.is_offloaded else _NOTHING)


def read_oddly(fields: RunFields, rank: int) -> Words:
    """The same of a write in which something is not what it should be, field by field."""
    written = Written(
        name=_text(fields.name),
        run_type=_text(fields.run_type),
        start_time=_moment(fields.start_time),
        end_time=_moment(fields.end_time),
        trace_id=_text(fields.trace_id),
        parent_run_id=_text(fields.parent_run_id),
        dotted_order=_text(fields.dotted_order),
        session_name=_text(fields.session_name),
        session_id=_text(fields.session_id),
        project_name=_text(fields.project_name),
        reference_example_id=_text(fields.reference_example_id),
        tags=_texts(fields.tags) if said(fields.tags) else None,
        status=_text(fields.status),
        inputs=fields.inputs,
        outputs=fields.outputs,
        error=fields.error,
        events=fields.events,
        extra=fields.extra,
    )
    return words_in(written, rank, offloaded(fields.contents), _empty_texts(fields))


def words_in(
    written: "Written", rank: int, moved: Mapping[str, Offloaded] = _NOTHING, empty: int | None = None
) -> Words:
    """What a decoded write says. `moved` says where fields are that the log has no room for.

    `empty` are those that should be texts, or a list of them, and are empty objects or arrays.
    """
    if empty is None:
        empty = (TAGS if written.tags == [] else 0) | (ERROR if is_empty(written.error) else 0)
    dotted = written.dotted_order
    # By position, because naming that many takes longer than making the object.
    return Words(
        rank,
        empty | _empty_values(written, moved),
        cut(written.name, NAME_CHARS_MAX),
        cut(written.run_type, RUN_TYPE_CHARS_MAX),
        cut(_text(written.error), ERROR_CHARS_MAX),
        cut(written.status, WORD_CHARS_MAX),
        None if written.tags is None else tags_text(written.tags),
        parse_time(written.start_time),
        parse_time(written.end_time),
        id_of(written.parent_run_id),
        id_of(written.trace_id),
        id_of(written.reference_example_id),
        project_of(written),
        None if dotted is None else dotted_order_places(dotted),
        inputs_of(written.inputs, moved.get("inputs")),
        outputs_of(written.outputs, moved.get("outputs")),
        said(written.events),
        first_token_time(bytes(written.events)),
        facts_of(written.extra, rank) if said(written.extra) else None,
    )


class Written(msgspec.Struct, frozen=True, gc=False):
    """A run write as it usually is, with every field that `RunFields` has."""

    id: str | None = None
    name: str | None = None
    run_type: str | None = None
    start_time: str | int | float | None = None
    end_time: str | int | float | None = None
    trace_id: str | None = None
    parent_run_id: str | None = None
    dotted_order: str | None = None
    session_name: str | None = None
    session_id: str | None = None
    project_name: str | None = None
    reference_example_id: str | None = None
    tags: list[str] | None = None
    status: str | None = None
    inputs: Raw = UNSAID
    outputs: Raw = UNSAID
    error: Raw = UNSAID
    events: Raw = UNSAID
    extra: Raw = UNSAID
    serialized: Raw = UNSAID
    attachments: Raw = UNSAID
    contents: Raw = msgspec.field(default=UNSAID, name=CONTENTS_MEMBER)


_decode: Final = msgspec.json.Decoder(Written).decode


def usual(payload: bytes) -> Written | None:
    """A run write as it usually is; None when something in it is odd, or it is none at all."""
    try:
        return _decode(payload)
    except REFUSALS:
        return None


def _empty_texts(fields: RunFields) -> int:
    """Which of the fields that should be texts, or a list of them, are empty objects or arrays."""
    raws = {NAME: fields.name, RUN_TYPE: fields.run_type, ERROR: fields.error, STATUS: fields.status, TAGS: fields.tags}
    return sum(field for field, raw in raws.items() if is_empty(raw))


def _empty_values(written: Written, moved: Mapping[str, Offloaded]) -> int:
    """Which of the fields that may hold anything are empty objects or arrays. What was moved is large."""
    empty = EVENTS if is_empty(written.events) else 0
    if is_empty(written.inputs) and "inputs" not in moved:
        empty |= INPUTS
    if is_empty(written.outputs) and "outputs" not in moved:
        empty |= OUTPUTS
    return empty


def inputs_of(raw: Raw, place: Offloaded | None = None) -> str | None:
    """The preview of inputs, which may have been moved to `place`; None when nothing was said."""
    if place is not None:
        return place.preview
    return preview(bytes(raw)) if said(raw) else None


def outputs_of(field: Raw, place: Offloaded | None = None) -> Outputs | None:
    """What outputs say, which may have been moved to `place`; None when nothing was said."""
    if place is None and not said(field):
        return None
    raw = bytes(field)  # Of those that were moved: their essence.
    if raw == b"{}" and place is None:  # As the POST of a run that has just begun says.
        return _NO_OUTPUTS
    return Outputs(
        preview(raw) if place is None else place.preview,
        usage_of_outputs(raw),
        cut(model_of_outputs(raw), WORD_CHARS_MAX),
    )


_NO_OUTPUTS: Final = Outputs(preview(b"{}"), None, None)


def facts_of(raw: Raw, rank: int) -> Facts:
    """What the `extra` of a POST or a PATCH says."""
    extra = bytes(raw)
    if len(extra) > _CACHED_EXTRA_BYTES_MAX:
        return _as_patched(_read_facts(extra)) if rank == PATCH else _read_facts(extra)
    return _cached_patched(extra) if rank == PATCH else _cached_posted(extra)


def _as_patched(facts: Facts) -> Facts:
    """What a PATCH says with the `extra` of which a POST says this."""
    if facts.metadata is None:
        return facts
    return msgspec.structs.replace(facts, metadata=pairs.as_patched(facts.metadata))


def _read_facts(extra: bytes) -> Facts:
    """What the `extra` of a POST says."""
    facts = extra_facts(extra)
    return Facts(
        cut(facts.thread_id, WORD_CHARS_MAX),
        cut(facts.conversation_id, WORD_CHARS_MAX),
        cut(facts.session_id, WORD_CHARS_MAX),
        cut(facts.invocation_model, WORD_CHARS_MAX),
        cut(facts.ls_model_name, WORD_CHARS_MAX),
        cut(facts.ls_provider, WORD_CHARS_MAX),
        None if facts.usage_metadata is None else usage_of_metadata(facts.usage_metadata),
        _metadata(extra, facts.metadata),
    )


# Runs of one program are much alike in their `extra`, and a run's PATCH mostly repeats that of its POST.
_cached_posted: Final = lru_cache(maxsize=1024)(_read_facts)
_cached_patched: Final = lru_cache(maxsize=1024)(lambda extra: _as_patched(_cached_posted(extra)))
_CACHED_EXTRA_BYTES_MAX: Final = 2048


def _metadata(extra: bytes, usual: dict[str, Any] | None) -> str | None:
    """The column of metadata. Of usual metadata mostly nothing has to be escaped or cut."""
    # Without a backslash there are no control characters either: JSON has them as escapes alone.
    if usual is not None and b"\\" not in extra and (column := pairs.plain(usual, POST)) is not None:
        return column
    raw = metadata_of(extra)
    return None if raw is None else pairs.written(raw, POST, rank_of)


# --- projects ---------------------------------------------------------------------------------------------------------

DEFAULT_PROJECT: Final = "default"
_PROJECTS: Final = uuid.UUID("6c1f0e3a-9a55-5d0b-8d7e-5f1f6c2a7f10")


@lru_cache(maxsize=4096)
def project_id_of(name: str) -> bytes:
    """The id of the project that runs name so: the same in every store and after every rebuild."""
    return uuid.uuid5(_PROJECTS, name.encode("utf-8", "replace").decode()).bytes


DEFAULT_PROJECT_ID: Final = project_id_of(DEFAULT_PROJECT)


def _project_named(body: RunPosted | RunPatched) -> tuple[bytes, str | None] | None:
    written = usual(body.payload)
    if written is not None:
        return project_of(written)
    fields = body.fields
    return project_of(
        Written(
            project_name=_text(fields.project_name),
            session_name=_text(fields.session_name),
            session_id=_text(fields.session_id),
        )
    )


def project_names_in(events: Iterable[RecordedEvent]) -> Iterator[tuple[bytes, str]]:
    """The names by which run writes name their projects, after the ids that follow from them."""
    for event in events:
        if isinstance(event.body, (RunPosted, RunPatched)):
            body = event.body
            project = body.words.project if isinstance(body.words, Words) else _project_named(body)
            if project is not None and project[1] is not None:
                yield project[0], project[1]


def project_of(written: Written) -> tuple[bytes, str | None] | None:
    """The project that a write names: its id, and its name unless only the id was given.

    An id that follows from a name is that of the project unless `projections.naming` knows otherwise.
    """
    for text in (written.project_name, written.session_name):
        if text and (name := column_text(text, NAME_CHARS_MAX)):
            return project_id_of(name), name
    given = id_of(written.session_id)
    return None if given is None else (given, None)


# --- reading raw fields -----------------------------------------------------------------------------------------------

_decode_str: Final = msgspec.json.Decoder(str).decode


def read_text(raw: Raw | bytes) -> str:
    """A field that should be a string. Anything else, also what is no JSON, reads as its text."""
    try:
        return _decode_str(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _read_odd_text(bytes(raw).strip())


def _read_odd_text(raw: bytes) -> str:
    # Only strings are parsed: how deep a value may be nested depends on the stack, and a fold must not.
    if raw[:1] == b'"':
        try:
            return str(loads(raw))
        except NotJSON:
            pass
    return raw.decode("utf-8", "replace")


def read_time(raw: Raw | bytes) -> int | None:
    """A field that should be a time, in microseconds; None when it is absent, null or no time."""
    return parse_time(_moment(raw))


def read_id(raw: Raw | bytes) -> bytes | None:
    """A field that should be a UUID; None when it is absent, null or none."""
    return parse_id(read_text(raw)) if said(raw) else None


_ONE_FORM: Final[Mapping[str, Callable[[bytes], object]]] = {
    "start_time": read_time,
    "end_time": read_time,
    "parent_run_id": read_id,
    "trace_id": read_id,
    "reference_example_id": read_id,
}


def is_usable(name: str, raw: bytes) -> bool:
    """Whether a field that takes a time or an id alone is said by this value. Other fields are by any."""
    read = _ONE_FORM.get(name)
    return read is None or read(raw) is not None


def column_text(value: str, chars_max: int) -> str:
    """What both databases take and can index: no U+0000, nothing too long. The log keeps the rest."""
    return value.replace("\0", "\ufffd")[:chars_max]


def read_tags(raw: Raw | bytes) -> str | None:
    """A field that should be a list of texts, as the JSON of one that fits a column; None when it is empty."""
    return tags_text(_texts(raw)) or None


def is_empty(raw: Raw | bytes) -> bool:
    """Whether a field is an empty object or array."""
    if not 2 <= len(raw) <= _EMPTY_BYTES_MAX:
        return False
    text = bytes(raw)
    return text in _EMPTY or (text[0] in b"{[" and text.translate(None, b" \t\n\r") in _EMPTY)


def rank_of(raw: Raw | bytes, rank: int) -> int:
    """The rank of a value that may be an empty object or array: such a one never replaces one that is not empty."""
    return rank - 2 if is_empty(raw) else rank


def _text(raw: Raw) -> str | None:
    return read_text(raw) if said(raw) else None


def _texts(raw: Raw | bytes) -> list[str]:
    try:
        return [read_text(element) for element in split_array(bytes(raw))[:TAGS_MAX]]
    except NotJSON:
        return [read_text(raw)]


def _moment(raw: Raw | bytes) -> str | int | float | None:
    if not said(raw):
        return None
    try:
        value = loads(bytes(raw))
    except NotJSON:
        return None
    return value if isinstance(value, (str, int, float)) else None


def tags_text(texts: list[str]) -> str:
    """The JSON of some tags; empty when there are none."""
    return dumps([column_text(text, TAG_CHARS_MAX) for text in texts[:TAGS_MAX]]).decode() if texts else ""


def cut(text: str | None, chars_max: int) -> str | None:
    """The text as `column_text` has it, if there is one."""
    return None if text is None else column_text(text, chars_max)


def id_of(text: str | None) -> bytes | None:
    """The id that a text holds; None when there is none."""
    return None if text is None else parse_id(text)
