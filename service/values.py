"""Values of runs as answers show them. Large ones pass through as the bytes they came as."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import orjson

from events.codec import Offloaded
from events.ids import format_id
from events.jsontext import NotJSON, clean, split_array
from events.kinds import said
from events.times import format_time
from projections.attachments import Attachment
from projections.runs import RunState
from projections.words import read_text
from service.addresses import Addresses


def tags_of(run: RunState) -> list[str]:
    """The tags of a row, at most as many as fit it."""
    tags: list[str] = [] if run.tags is None else orjson.loads(run.tags)
    return tags


def texts(raw: bytes) -> list[str]:
    """A value that SDKs read as a list of strings, as one."""
    try:
        entries = split_array(raw)
    except NotJSON:
        entries = [raw]
    return [clean_text(entry) for entry in entries]


def as_object(name: Literal["inputs", "outputs"], raw: bytes) -> Any:
    """A value that readers expect to be an object. Others are wrapped as the SDKs themselves do it."""
    if not said(raw):
        return {} if name == "inputs" else None
    text = clean(raw)
    return fragment(text) if text.lstrip()[:1] == b"{" else {name[:-1]: orjson.Fragment(text)}


def fragment(raw: bytes) -> orjson.Fragment:
    """JSON bytes as part of an answer, made strict."""
    return orjson.Fragment(clean(raw))


def clean_text(raw: bytes) -> str:
    """A field that should be a string, as a string that can be encoded."""
    return read_text(raw).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def place_of(place: Offloaded, name: str, addresses: Addresses) -> dict[str, Any]:
    """Where a value is that is too large for the log."""
    url = addresses.of_content(bytes.fromhex(place.hash), media_type="application/json", name=f"{name}.json")
    return {"preview": place.preview, "size": place.size, "url": url}


def attachment(item: Attachment, addresses: Addresses) -> dict[str, Any]:
    """Where a file of a run can be fetched."""
    url = addresses.of_content(item.content_hash, media_type=item.media_type, name=item.name)
    return {"presigned_url": url, "mime_type": item.media_type, "size": item.size}


def dotted_order(state: RunState, above: Sequence[RunState], members: Mapping[str, bytes]) -> str:
    """As it was said, else made of the start and id of every run from the root down to this one."""
    if "dotted_order" in members:
        return clean_text(members["dotted_order"])
    return ".".join(segment(run) for run in (*reversed(above), state))


def segment(run: RunState) -> str:
    """A run's own part of its dotted order."""
    seconds, fraction = divmod(run.start_time, 1_000_000)
    digits = format_time(seconds * 1_000_000).rstrip("Z").replace("-", "").replace(":", "")
    return f"{digits}{fraction:06d}Z{format_id(run.id)}"


def id_text(id_: bytes | None) -> str | None:
    """An id as text."""
    return None if id_ is None else format_id(id_)


def time_text(us: int | None) -> str | None:
    """A time as text."""
    return None if us is None else format_time(us)


def dollars(picodollars: int | None) -> str | None:
    """An amount in US dollars as a decimal string."""
    if picodollars is None:
        return None
    text = f"{Decimal(picodollars).scaleb(-12):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
