"""ASGI middleware around every request: its id, its line in the access log, and how long it may take."""

import asyncio
import logging
import re
import time
from typing import Final
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import error_response
from service.logs import request_id

access_log = logging.getLogger("service.access")

# A client's id goes into headers and log lines: nothing that either could take for something else.
_SANE_ID: Final = re.compile(r"[A-Za-z0-9._:/@+=-]{1,128}")
_QUERY_PATHS: Final = ("/query", "/stats", "/group")


class RequestIds:
    """Gives every request an id: the client's `X-Request-ID` when it is sane, else a new one.

    It is in `request.state.request_id`, its answer's `X-Request-ID`, every log line and every error's body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identity = sane_request_id(Headers(scope=scope).get("x-request-id")) or str(uuid4())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = identity
            await send(message)

        scope.setdefault("state", {})["request_id"] = identity
        token = request_id.set(identity)
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            request_id.reset(token)


class AccessLog:
    """Logs one line for each request when it has been answered: method, path, status and milliseconds.

    The path is the one that was sent, still percent-encoded, without its query, which may hold a signature.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # What the server answers when the application fails to.

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        path = sent_path(scope)
        try:
            await self._app(scope, receive, send_noting_status)
        finally:
            _log_access(scope["method"], path, status, (time.perf_counter() - began) * 1000)


class ReadTimeout:
    """Answers 504 when a read has not begun to answer after `seconds`.

    Reads are GET, HEAD, and POST to a path that ends in /query, /stats or /group. What has begun may go on,
    and streams (`Accept: text/event-stream`) may begin late.
    """

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_bounded_read(scope):
            await self._app(scope, receive, send)
            return

        async def send_in_time(message: Message) -> None:
            if not deadline.expired():
                deadline.reschedule(None)
                await send(message)

        try:
            async with asyncio.timeout(self._seconds) as deadline:
                await self._app(scope, receive, send_in_time)
        except TimeoutError:
            if not deadline.expired():
                raise
            detail = f"The read took longer than {self._seconds:g} s (REQUEST_TIMEOUT)."
            await error_response(504, detail)(scope, receive, send)


def sane_request_id(sent: str | None) -> str | None:
    """The id as it was sent if it is 1 to 128 letters, digits and `._:/@+=-`, else None."""
    return sent if sent is not None and _SANE_ID.fullmatch(sent) else None


def is_langsmith_sdk(headers: Headers) -> bool:
    """Whether the request comes from one of LangSmith's own SDKs, by its user agent."""
    return headers.get("user-agent", "").startswith("langsmith")


def sent_path(scope: Scope) -> str:
    """The path as it was sent, percent-encoded: no letter of it can be taken for the end of a log line."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return raw.partition(b"?")[0].decode("ascii", "backslashreplace")


def is_bounded_read(scope: Scope) -> bool:
    """Whether the request is a read that must answer in time."""
    if scope["method"] == "POST":
        return str(scope["path"]).endswith(_QUERY_PATHS)
    wants = Headers(scope=scope).get("accept", "")
    return scope["method"] in ("GET", "HEAD") and "text/event-stream" not in wants


def _log_access(method: str, path: str, status: int, duration_ms: float) -> None:
    access_log.info(
        "%s %s %d in %.1f ms",
        method,
        path,
        status,
        duration_ms,
        extra={"method": method, "path": path, "status": status, "duration_ms": round(duration_ms, 3)},
    )
