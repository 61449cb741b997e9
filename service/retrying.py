"""Driving an item in quarantine again, as it is or corrected, through the code that its request went through."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import log, quarantine, receipts
from events.dialect import Writer
from events.errors import DataRefused, LogError
from events.ids import parse_id
from events.jsontext import NotJSON, split_array, split_object, unquoted
from events.kinds import Operation
from events.log import ERASED_REASON, Head, NewEvent, Refused, Submission
from events.quarantine import Quarantined
from events.receipts import Origin
from projections import erasure, projector
from projections.status import StatusRule
from service.ingest.items import PATCH, POST, Item, feedback_patched, feedback_posted
from service.ingest.multipart import MalformedMultipart, Multipart, Part, split
from service.ingest.multipart_items import multipart_items
from service.ingest.run_items import batch_items, run_items
from service.ingest.writer import IngestWriter
from service.settings import Settings

_BOUNDARY_LINE: Final = re.compile(rb"\s*--([^\r\n]{1,200})\r\n")
_ENDPOINT_OF_ONE: Final = re.compile(r"(POST) .*/(runs|feedback)|(PATCH) .*/(runs|feedback)/[^/]+")
# What a refused item is called: where it stood, or the kind of the event that could not be stored.
_OPERATION_OF: Final[dict[str, Operation]] = {POST: POST, PATCH: PATCH, "RunPosted": POST, "RunPatched": PATCH}
_FEEDBACK: Final = frozenset({"feedback", "FeedbackPosted", "FeedbackPatched"})


class NotInQuarantine(LogError):
    """There is no item of this number in quarantine."""

    def __init__(self, quarantine_id: int) -> None:
        super().__init__(f"there is no item {quarantine_id} in quarantine")


class AlreadyRetried(LogError):
    """A retry of the item succeeded before, so it is in the log."""

    def __init__(self, quarantine_id: int, outcome: str) -> None:
        super().__init__(f"item {quarantine_id} was retried before with success ({outcome}): it is in the log")


class ItemErased(LogError):
    """The bytes of the item were erased, so there is nothing to retry."""

    def __init__(self, quarantine_id: int) -> None:
        super().__init__(f"the bytes of item {quarantine_id} were erased: it cannot be retried")


class StillUnusable(LogError):
    """No events can be made of the item, nor of its correction. Nothing was written; the item stays."""


@dataclass(frozen=True, slots=True)
class Retried:
    """What a retry came to: the receipt it has, and the positions of its events if it brought new ones."""

    outcome: str
    receipt_id: int
    positions: Sequence[int]


async def read_item(connection: AsyncConnection, quarantine_id: int) -> Quarantined:
    """An item in quarantine. Raises `NotInQuarantine`."""
    item = await quarantine.read_item(connection, quarantine_id)
    if item is None:
        raise NotInQuarantine(quarantine_id)
    return item


async def retry(
    engine: AsyncEngine,
    writer: IngestWriter,
    settings: Settings,
    quarantine_id: int,
    *,
    corrected: bytes | None,
    origin: Origin,
) -> Retried:
    """Make events of an item, or of what is given in its place: all that it holds, or nothing.

    Raises `NotInQuarantine`, `AlreadyRetried`, `ItemErased`, `StillUnusable`, and what `IngestWriter.command` raises.
    """
    async with engine.connect() as connection:
        item = await read_item(connection, quarantine_id)
        raw = await quarantine.read_raw(connection, quarantine_id)
        receipt = await receipts.read_receipt(connection, item.receipt_id)
    if item.outcome is not None:
        raise AlreadyRetried(quarantine_id, item.outcome)
    if not raw:
        raise ItemErased(quarantine_id)
    place = _Place(item, "" if receipt is None else receipt.endpoint, settings.max_trace_bytes)
    items = await asyncio.to_thread(_usable, place, raw, corrected)

    async def work(writer: Writer, head: Head, now: int) -> Retried:
        return await _append(writer, head, item, Submission(origin, items), now=now, rule=settings.status_rule)

    try:
        return await writer.command(work)
    except DataRefused as error:
        raise StillUnusable(f"{item.source} could not be stored: {error}") from error


async def _append(
    writer: Writer, head: Head, item: Quarantined, submission: Submission, *, now: int, rule: StatusRule
) -> Retried:
    """Append within the transaction that holds the head, so that of two retries at once the later finds the other."""
    outcome = await quarantine.outcome_of(writer, item.quarantine_id, shard=head.shard)
    if outcome is not None:
        raise AlreadyRetried(item.quarantine_id, outcome)
    appended = await log.append(writer, head, [submission], now=now, streams_of=erasure.streams_of)
    if "erased" in appended.outcomes[0]:
        raise StillUnusable(f"{item.source}: {ERASED_REASON}")
    await projector.apply(writer, appended.events, rule=rule, shard=head.shard)
    outcome = "applied" if appended.events else "duplicate"
    receipt_id = head.receipt_id + 1
    at = max(now, head.recorded_at)
    await quarantine.note_retry(
        writer, item.quarantine_id, at=at, receipt_id=receipt_id, outcome=outcome, shard=head.shard
    )
    return Retried(outcome, receipt_id, [event.position for event in appended.events])


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an item stood, and which of its fields are too large for the log."""

    item: Quarantined
    endpoint: str
    field_bytes_max: int

    @property
    def source(self) -> str:
        return self.item.source


def _usable(place: _Place, raw: bytes, corrected: bytes | None) -> list[NewEvent]:
    """The events of an item. Raises `StillUnusable` with every reason when some of it cannot be used."""
    try:
        items = _as_it_was(place, raw) if corrected is None else _itemised(place, corrected)
    except (NotJSON, MalformedMultipart) as error:
        raise StillUnusable(f"{place.source}: {error}") from error
    reasons = [item.reason for item in items if isinstance(item, Refused)]
    if reasons:
        raise StillUnusable("; ".join(reasons))
    if not items:
        raise StillUnusable(f"{place.source}: there is nothing in it")
    return [item for item in items if isinstance(item, NewEvent)]


def _as_it_was(place: _Place, raw: bytes) -> list[Item]:
    """The items of the bytes that were kept: what came in parts, and of which the main one was no JSON, as parts."""
    is_broken_main = place.item.reason.startswith(f"{place.source} is not a JSON object")
    members = split_object(raw) if is_broken_main and "." in place.source else {}
    if "main" not in members:
        return _itemised(place, raw)
    parts = [Part(place.source, None, None, unquoted(members.pop("main")))]
    parts += [Part(f"{place.source}.{name}", None, None, value) for name, value in members.items()]
    return multipart_items(Multipart(parts, None), field_bytes_max=place.field_bytes_max)


def _itemised(place: _Place, raw: bytes) -> list[Item]:
    """The items of what stood in a place of a request.

    `post`, `post[2]`, `post.<id>` and the like are run writes, `feedback` and `feedback.<id>` are feedback, and so is
    the body of a request for one of these. Anything else is taken for the body of many: in parts when it begins with a
    boundary, else `{"post": [...], "patch": [...]}`.
    """
    word, _, rest = (_body_of(place.endpoint) if place.source == "body" else place.source).partition(".")
    subject = parse_id(rest.partition(".")[0]) or parse_id(place.endpoint.rpartition("/")[2])
    operation = _OPERATION_OF.get(word.partition("[")[0])
    if operation is not None:
        return list(_run_items(place, operation, raw, subject))
    if word in _FEEDBACK:
        return [_feedback_item(place, word, raw, subject)]
    if (boundary := _BOUNDARY_LINE.match(raw)) is not None:
        return multipart_items(split(raw, boundary[1]), field_bytes_max=place.field_bytes_max)
    return batch_items(raw, field_bytes_max=place.field_bytes_max)


def _body_of(endpoint: str) -> str:
    """What the whole body of a request is: one item when it is asked for by itself, else `body`."""
    one = _ENDPOINT_OF_ONE.fullmatch(endpoint)
    if one is None:
        return "body"
    return "feedback" if "feedback" in one.groups() else POST if one[1] else PATCH


def _run_items(place: _Place, operation: Operation, raw: bytes, run_id: bytes | None) -> Iterator[Item]:
    """One run write, or an array of them where one stood: `{"post": {…}}` puts the array itself into quarantine."""
    is_array = place.source in (POST, PATCH) and raw.lstrip().startswith(b"[")
    for entry in split_array(raw) if is_array else [raw]:
        yield from run_items(
            operation, entry, source=place.source, field_bytes_max=place.field_bytes_max, run_id=run_id
        )


def _feedback_item(place: _Place, word: str, raw: bytes, feedback_id: bytes | None) -> Item:
    is_patch = word == "FeedbackPatched" or place.endpoint.startswith("PATCH ")
    if is_patch and feedback_id is not None:
        return feedback_patched(feedback_id, raw, source=place.source)
    return feedback_posted(raw, source=place.source, feedback_id=feedback_id)
