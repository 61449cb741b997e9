"""The log on the wire: events, receipts and quarantined items as JSON. Shapes: `service.wire.log`."""

import asyncio
import base64
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson

from events.ids import format_id
from events.jsontext import clean
from events.kinds import run_stream, stream_text
from events.quarantine import Quarantined
from events.reading import End, LoggedEvent
from events.receipts import Counts, Repetition, StoredReceipt
from events.times import format_time
from service.cursors import cursor

# Rendering more payload would hold up every other request for milliseconds.
_IN_LOOP_BYTES_MAX: Final = 256 * 1024


async def off_loop_if_large(events: Sequence[LoggedEvent], render: Callable[[], bytes]) -> bytes:
    """What `render` makes of the events; in a thread when they carry much."""
    size = sum(len(event.payload or b"") for event in events)
    return render() if size <= _IN_LOOP_BYTES_MAX else await asyncio.to_thread(render)


def render_event(event: LoggedEvent, *, with_payload: bool = True) -> bytes:
    """An event as JSON, its payload as it was recorded or, where that was no strict JSON, as it reads."""
    shown: dict[str, Any] = {
        "cursor": cursor(event.position, event.chain, shard=event.shard),
        "position": event.position,
        "stream": stream_text(event.stream),
        "run_id": format_id(event.stream[1:]) if event.stream == run_stream(event.stream[1:]) else None,
        "version": event.version,
        "kind": event.kind,
        "recorded_at": format_time(event.recorded_at),
        "receipt_id": event.receipt_id,
        "schema_version": event.schema_version,
        "payload_size": event.payload_size,
        "payload_hash": event.payload_hash.hex(),
        "chain": event.chain.hex(),
        "is_erased": event.is_erased,
    }
    if with_payload:
        shown["payload"] = None if event.payload is None else orjson.Fragment(clean(event.payload))
    return orjson.dumps(shown)


def event_page(events: list[LoggedEvent], end: End, *, has_more: bool, with_payload: bool) -> bytes:
    """A page of events and where the log ends."""
    last = events[-1] if has_more else None
    return orjson.dumps(
        {
            "events": [orjson.Fragment(render_event(event, with_payload=with_payload)) for event in events],
            "next": None if last is None else cursor(last.position, last.chain, shard=last.shard),
            "head": {
                "position": end.position,
                "chain": end.chain.hex(),
                "recorded_at": format_time(end.recorded_at) if end.position else None,
                "cursor": cursor(end.position, end.chain, shard=end.shard),
            },
        }
    )


def receipt(stored: StoredReceipt, first_position: int) -> dict[str, Any]:
    """A receipt, and the range of positions of the events that came with it."""
    last = first_position + stored.applied - 1
    return {
        "cursor": cursor(stored.receipt_id, stored.chain, shard=stored.shard),
        "receipt_id": stored.receipt_id,
        "received_at": format_time(stored.received_at),
        **counts(Counts(stored.received, stored.applied, stored.duplicate, stored.quarantined)),
        "endpoint": stored.endpoint,
        "request_id": stored.request_id,
        "key_id": stored.key_id,
        "user_agent": stored.user_agent,
        "sdk": stored.sdk,
        "sdk_version": stored.sdk_version,
        "remote_address": stored.remote_address,
        "content_size": stored.content_size,
        "content_hash": _hex(stored.content_hash),
        "content_salt": _hex(stored.content_salt),
        "content_commitment": stored.content_commitment.hex(),
        "repetitions_hash": _hex(stored.repetitions_hash),
        "chain": stored.chain.hex(),
        "positions": {"first": first_position, "last": last} if stored.applied else None,
    }


def counts(sums: Counts) -> dict[str, int]:
    """received = applied + duplicate + quarantined."""
    return sums._asdict()


def repetition(repeated: Repetition) -> dict[str, Any]:
    """An event that a request brought again."""
    return {"stream": stream_text(repeated.stream), "version": repeated.version, "times": repeated.times}


def quarantined(item: Quarantined) -> dict[str, Any]:
    """An item in quarantine, without its bytes."""
    is_retried = item.retried_at is not None
    return {
        "cursor": cursor(item.quarantine_id, item.chain, shard=item.shard),
        "quarantine_id": item.quarantine_id,
        "receipt_id": item.receipt_id,
        "recorded_at": format_time(item.recorded_at),
        "source": item.source,
        "reason": item.reason,
        "raw_size": item.raw_size,
        "raw_hash": item.raw_hash.hex(),
        "chain": item.chain.hex(),
        "is_erased": item.is_erased,
        "retried_at": format_time(item.retried_at or 0) if is_retried else None,
        "retry_receipt_id": item.retry_receipt_id,
        "outcome": item.outcome,
    }


def raw(stored: bytes | None) -> dict[str, str | None]:
    """The bytes of an item: as text when they are UTF-8, else in base64, and which of the two."""
    if stored is None:
        return {"raw": None, "raw_encoding": None}
    try:
        return {"raw": stored.decode(), "raw_encoding": "utf-8"}
    except UnicodeDecodeError:
        return {"raw": base64.b64encode(stored).decode(), "raw_encoding": "base64"}


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
