"""The texts of an event in which searches look for words."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from events.codec import offloaded
from events.jsontext import NotJSON, loads, split_object
from events.kinds import RunFields, RunPatched, RunPosted, said
from events.log import RecordedEvent
from projections.filters.evaluating import texts_in
from projections.folding import folded
from projections.pairs import value_text
from projections.words import NAME_CHARS_MAX, RUN_TYPE_CHARS_MAX, column_text, read_tags, read_text

TEXTS_VERSION: Final = 1
"""Goes up whenever the same event gives other texts: what was indexed before is then of no use."""
INDEXED_CHARS_MAX: Final = 262_144
"""Events with more text than that are not indexed. Whoever searches looks into each of them."""
# What is larger is not even parsed.
_PAYLOAD_BYTES_MAX: Final = 4 * INDEXED_CHARS_MAX
_BETWEEN: Final = "\n"


def searched_text(event: RecordedEvent) -> str | None:
    """All texts of an event, folded, one after the other; None when there is too much, or it is not in the log.

    Whatever a search finds in a run is in the text of one of its events, or one of these has too much.
    """
    match event.body:
        case RunPosted(fields=fields) | RunPatched(fields=fields):
            if len(event.payload) > _PAYLOAD_BYTES_MAX or offloaded(fields.contents):
                return None
            text = _BETWEEN.join(dict.fromkeys(_texts(fields)))
        case _:
            return ""
    return None if len(text) > INDEXED_CHARS_MAX else folded(text.replace("\0", "\ufffd"))


def _texts(fields: RunFields) -> Iterator[str]:
    if said(fields.name):
        yield column_text(read_text(fields.name), NAME_CHARS_MAX)
    if said(fields.run_type):
        yield column_text(read_text(fields.run_type), RUN_TYPE_CHARS_MAX)
    if said(fields.error):
        yield read_text(fields.error)
    if said(fields.tags) and (tags := read_tags(fields.tags)) is not None:
        yield from loads(tags.encode())
    if said(fields.inputs):
        yield from _document_texts(bytes(fields.inputs), "input")
    if said(fields.outputs):
        yield from _document_texts(bytes(fields.outputs), "output")
    if said(fields.extra):
        yield from _metadata_texts(bytes(fields.extra))


def _document_texts(raw: bytes, name: str) -> Iterable[str]:
    value = _value(raw)
    # As it is shown: what is no object stands under a name in one.
    return texts_in(value if isinstance(value, dict) else {name: value})


def _metadata_texts(extra: bytes) -> Iterator[str]:
    for key, raw in _members(_members(extra).get("metadata", b"")).items():
        yield key
        yield value_text(_value(raw))


def _members(raw: bytes) -> dict[str, bytes]:
    try:
        return split_object(raw)
    except NotJSON:
        return {}


def _value(raw: bytes) -> Any:
    try:
        return loads(raw)
    except NotJSON:
        return raw.decode("utf-8", "replace")
