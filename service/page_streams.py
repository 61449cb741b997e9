"""Pages of the second generation of LangSmith's API: as one answer, or as a stream of patches for those who ask so.

A stream is of server-sent events. Each has a list of JSON patches, which build the page up from nothing: first an empty
one, then its items, last the cursor.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, Final

import orjson
from fastapi import Request
from fastapi.responses import Response, StreamingResponse

_MEDIA_TYPE: Final = "text/event-stream"
_ITEMS_PER_EVENT: Final = 100
_IN_ONE_LINE: Final = bytes.maketrans(b"\r\n", b"  ")
_EXAMPLE: Final = (
    'event: data\ndata: [{"op":"add","path":"","value":{"items":[],"next_cursor":null}}]\n\n'
    'event: data\ndata: [{"op":"add","path":"/items/-","value":{"id":"550e8400-e29b-41d4-a716-446655440000"}}]\n\n'
    'event: data\ndata: [{"op":"replace","path":"/next_cursor","value":null}]\n\n'
    "event: end\ndata: \n\n"
)
STREAMED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {_MEDIA_TYPE: {"schema": {"type": "string"}, "example": _EXAMPLE}}}
}
"""How a route documents that its page may also be had as a stream."""


def page_response(request: Request, items: Sequence[bytes], next_cursor: str | None) -> Response:
    """A page of items, each JSON text, in the form that the request accepts."""
    if _MEDIA_TYPE in request.headers.get("accept", ""):
        return StreamingResponse(_sent(_patches(items, next_cursor)), media_type=_MEDIA_TYPE)
    fragments = orjson.Fragment(b"[" + b",".join(items) + b"]")
    body = orjson.dumps({"items": fragments, "next_cursor": next_cursor})
    return Response(body, media_type="application/json")


async def _sent(events: Iterable[bytes]) -> AsyncIterator[bytes]:
    for event in events:
        yield event


def _patches(items: Sequence[bytes], next_cursor: str | None) -> Iterator[bytes]:
    yield _event([_patch("add", "", {"items": [], "next_cursor": None})])
    for start in range(0, len(items), _ITEMS_PER_EVENT):
        portion = items[start : start + _ITEMS_PER_EVENT]
        yield _event([_patch("add", "/items/-", orjson.Fragment(item)) for item in portion])
    yield _event([_patch("replace", "/next_cursor", next_cursor)])
    yield b"event: end\ndata: \n\n"


def _patch(operation: str, path: str, value: Any) -> dict[str, Any]:
    return {"op": operation, "path": path, "value": value}


def _event(patches: list[dict[str, Any]]) -> bytes:
    # A line ends an event's datum. In JSON it can only be space between values, as some client sent them.
    return b"event: data\ndata: " + orjson.dumps(patches).translate(_IN_ONE_LINE) + b"\n\n"
