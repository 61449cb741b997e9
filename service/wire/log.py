"""The log on the wire: events, receipts and the quarantine. `service.log_rendering` writes these shapes."""

from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from service.wire.shape import Shape

_CURSOR: Final = "AAAAAAAAAAAAAAAqn4bA"
_HASH: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_RUN: Final = "550e8400-e29b-41d4-a716-446655440000"
_TIME: Final = "2024-01-15T10:30:00.120000Z"

_EVENT: Final[dict[str, Any]] = {
    "cursor": _CURSOR,
    "position": 42,
    "stream": f"run:{_RUN}",
    "run_id": _RUN,
    "version": 1,
    "kind": "RunPosted",
    "recorded_at": _TIME,
    "receipt_id": 17,
    "schema_version": 1,
    "payload_size": 132,
    "payload_hash": _HASH,
    "chain": _HASH,
    "is_erased": False,
    "payload": {"id": _RUN, "name": "Agent Planning", "run_type": "chain", "start_time": "2024-01-15T10:30:00Z"},
}
_HEAD: Final[dict[str, Any]] = {"position": 42, "chain": _HASH, "recorded_at": _TIME, "cursor": _CURSOR}
_COUNTS: Final = {"received": 3, "applied": 1, "duplicate": 1, "quarantined": 1}
_RECEIPT: Final[dict[str, Any]] = {
    "cursor": _CURSOR,
    "receipt_id": 17,
    "received_at": _TIME,
    **_COUNTS,
    "endpoint": "POST /api/v1/runs/multipart",
    "request_id": "0b9f3c1e-6f0e-4a53-9d0a-3a1f4f0c2f6e",
    "key_id": "2cf24dba",
    "user_agent": "langsmith-py/0.4.60",
    "sdk": "langsmith-py",
    "sdk_version": "0.4.60",
    "remote_address": "127.0.0.1",
    "content_size": 1024,
    "content_hash": _HASH,
    "content_salt": "00112233445566778899aabbccddeeff",
    "content_commitment": _HASH,
    "repetitions_hash": _HASH,
    "chain": _HASH,
    "positions": {"first": 42, "last": 42},
}
_QUARANTINED: Final[dict[str, Any]] = {
    "cursor": _CURSOR,
    "quarantine_id": 7,
    "receipt_id": 17,
    "recorded_at": _TIME,
    "source": "post[2]",
    "reason": "post[2]: a post needs name, run_type and start_time, and run_type is missing",
    "raw_size": 62,
    "raw_hash": _HASH,
    "chain": _HASH,
    "is_erased": False,
    "retried_at": None,
    "retry_receipt_id": None,
    "outcome": None,
}


def _example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [value]})


class EventBody(Shape):
    """One event, as it stands in the log."""

    model_config = _example(_EVENT)

    cursor: str = Field(description="The place after this event: for `after` and `Last-Event-ID`.")
    position: int = Field(description="Its place in the log: 1, 2, 3 and so on, without gaps, in the order of commits.")
    stream: str = Field(description="What it is about: run, feedback, project or trace, and its id.")
    run_id: str | None = Field(description="The run that it is about; null when it is about something else.")
    version: int = Field(description="Its place in its stream: 1, 2, 3 and so on.")
    kind: str = Field(description="What happened.")
    recorded_at: str = Field(description="When it was recorded (UTC).")
    receipt_id: int = Field(description="The receipt of the request that brought it.")
    schema_version: int = Field(description="The version of the payload's shape.")
    payload_size: int = Field(description="Bytes of the payload, before compression.")
    payload_hash: str = Field(description="sha256 of a salt and the payload as it is stored (hex).")
    chain: str = Field(description="The log's hash up to and with this event (hex).")
    is_erased: bool = Field(description="Whether the payload was erased.")
    payload: Any = Field(
        default=None,
        description="What the client sent. Null when it was erased; not there when it was not asked for.",
    )


class HeadBody(Shape):
    """Where the log ended when it was read."""

    model_config = _example(_HEAD)

    position: int = Field(description="The position of the last event; 0 when there is none.")
    chain: str = Field(description="The log's hash (hex).")
    recorded_at: str | None = Field(description="When the last event was recorded (UTC).")
    cursor: str = Field(description="The place after the last event.")


class EventPage(Shape):
    """Events in the order of the log."""

    model_config = _example({"events": [_EVENT], "next": None, "head": _HEAD})

    events: list[EventBody] = Field(description="The events.")
    next: str | None = Field(description="`after` for the next page; null at the end of the log.")
    head: HeadBody = Field(description="The end of the log at that moment.")


class CountsBody(Shape):
    """received = applied + duplicate + quarantined, always."""

    model_config = _example(dict(_COUNTS))

    received: int = Field(description="Items that came.")
    applied: int = Field(description="Items that became events.")
    duplicate: int = Field(description="Items that were there already.")
    quarantined: int = Field(description="Items that no event could be made of, or that belong to an erased trace.")


class PositionsBody(Shape):
    """A range of positions, both ends included."""

    model_config = _example({"first": 42, "last": 42})

    first: int = Field(description="The first position.")
    last: int = Field(description="The last position.")


class ReceiptBody(CountsBody):
    """What one request brought, when, and from whom."""

    model_config = _example(_RECEIPT)

    cursor: str = Field(description="The place after this receipt.")
    receipt_id: int = Field(description="Its number: 1, 2, 3 and so on, without gaps.")
    received_at: str = Field(description="When it was recorded (UTC).")
    endpoint: str = Field(description="Method and path, or the command.")
    request_id: str | None = Field(description="The request's X-Request-ID.")
    key_id: str | None = Field(description="A hash of the API key; null where none is asked for.")
    user_agent: str | None = Field(description="The client, as it names itself.")
    sdk: str | None = Field(description="The LangSmith SDK, if it was one.")
    sdk_version: str | None = Field(description="The version of the SDK.")
    remote_address: str | None = Field(description="Where the request came from.")
    content_size: int = Field(description="Bytes of the body, decompressed.")
    content_hash: str | None = Field(description="sha256 of the body (hex); null once something in it was erased.")
    content_salt: str | None = Field(description="The salt of `content_commitment` (hex); null likewise.")
    content_commitment: str = Field(description="sha256 of the salt and `content_hash` (hex). The chain covers it.")
    repetitions_hash: str | None = Field(
        description="sha256 of what the request brought again (hex); null when nothing. The chain covers it."
    )
    chain: str = Field(description="The receipts' hash up to and with this one (hex).")
    positions: PositionsBody | None = Field(description="Where the events are that it brought; null when none.")


class ReceiptPage(Shape):
    """Receipts in order, and the sums of all there are."""

    model_config = _example({"receipts": [_RECEIPT], "next": None, "sums": _COUNTS})

    receipts: list[ReceiptBody] = Field(description="The receipts.")
    next: str | None = Field(description="`after` for the next page; null at the end.")
    sums: CountsBody = Field(description="The sums over all receipts, not only those of the page.")


class RepetitionBody(Shape):
    """An event that came again."""

    model_config = _example({"stream": f"run:{_RUN}", "version": 1, "times": 1})

    stream: str = Field(description="Its stream.")
    version: int = Field(description="Its version.")
    times: int = Field(description="How often it came in this request.")


class QuarantinedBody(Shape):
    """An item that no event could be made of, and what became of it since."""

    model_config = _example(_QUARANTINED)

    cursor: str = Field(description="The place after this item.")
    quarantine_id: int = Field(description="Its number: 1, 2, 3 and so on, without gaps.")
    receipt_id: int = Field(description="The receipt of the request that brought it.")
    recorded_at: str = Field(description="When it was recorded (UTC).")
    source: str = Field(description="Where it stood in the request.")
    reason: str = Field(description="Why no event could be made of it.")
    raw_size: int = Field(description="Its bytes.")
    raw_hash: str = Field(description="sha256 of a salt and the bytes as they are stored (hex).")
    chain: str = Field(description="The quarantine's hash up to and with this item (hex).")
    is_erased: bool = Field(description="Whether its bytes were erased.")
    retried_at: str | None = Field(description="When a retry succeeded (UTC); null when none did.")
    retry_receipt_id: int | None = Field(description="The receipt of that retry.")
    outcome: Literal["applied", "duplicate"] | None = Field(description="What that retry came to.")


class QuarantinedItem(QuarantinedBody):
    """An item in quarantine with its bytes."""

    model_config = _example({**_QUARANTINED, "raw": '{"id": "…", "name": "Agent Planning"}', "raw_encoding": "utf-8"})

    raw: str | None = Field(description="Its bytes; null when they were erased.")
    raw_encoding: Literal["utf-8", "base64"] | None = Field(description="How `raw` tells them: as text if they are.")


class QuarantinePage(Shape):
    """Items in quarantine in the order in which they came."""

    model_config = _example({"items": [_QUARANTINED], "next": None})

    items: list[QuarantinedBody] = Field(description="The items.")
    next: str | None = Field(description="`after` for the next page; null at the end.")


class ReceiptDetail(ReceiptBody):
    """A receipt, and what became of what did not become an event."""

    model_config = _example(
        {
            **_RECEIPT,
            "duplicates": [{"stream": f"run:{_RUN}", "version": 1, "times": 1}],
            "quarantine": [_QUARANTINED],
        }
    )

    duplicates: list[RepetitionBody] = Field(description="The events that it brought again.")
    quarantine: list[QuarantinedBody] = Field(description="The items of it that are in quarantine.")


class RetryReport(Shape):
    """What a retry came to."""

    model_config = _example(
        {"quarantine_id": 7, "outcome": "applied", "receipt_id": 18, "positions": {"first": 43, "last": 43}}
    )

    quarantine_id: int = Field(description="The item.")
    outcome: Literal["applied", "duplicate"] = Field(description="Applied, or duplicate when it was there already.")
    receipt_id: int = Field(description="The receipt of the retry.")
    positions: PositionsBody | None = Field(description="Where its events are; null when they were there already.")


RETRY_REQUEST: Final[dict[str, Any]] = {
    "requestBody": {
        "required": False,
        "description": "The item, corrected, in the shape in which it first came. Without a body it is tried as it is.",
        "content": {
            "application/json": {
                "schema": {"type": "object", "additionalProperties": True},
                "example": _EVENT["payload"],
            }
        },
    }
}

STREAM_RESPONSE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Events without end.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": f'id: {_CURSOR}\nevent: RunPosted\ndata: {{"position": 42, "kind": "RunPosted"}}\n\n',
            }
        },
    }
}
