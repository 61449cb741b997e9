"""Errors to statuses, in one table, and how each is answered."""

import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from events.errors import FoldVersionMismatch, PayloadErased, SchemaMismatch, Unavailable
from projections.erasure import NoSuchTrace
from projections.feedback_config_changes import ConfigExists, NoSuchConfig
from projections.filters.syntax import InvalidFilter
from projections.project_changes import NoSuchProject, ProjectExists
from projections.rebuilds import NoSuchRebuild, RebuildRunning
from projections.reverting import NoSuchRun, NoSuchVersion
from projections.sharing import TokenTaken
from service.auth import Forbidden, Unauthenticated
from service.cursors import InvalidCursor
from service.ingest.body import BodyNotDecodable, BodyTooLarge, EncodingNotSupported
from service.ingest.items import UnusableBody, UnusableItem
from service.ingest.multipart import MalformedMultipart
from service.logs import request_id
from service.retrying import AlreadyRetried, ItemErased, NotInQuarantine, StillUnusable
from service.routes import LateRoute
from service.unoffered import unoffered

log = logging.getLogger(__name__)

STATUS_OF: Final[dict[type[Exception], int]] = {
    Unauthenticated: 401,
    Forbidden: 403,
    BodyNotDecodable: 400,
    InvalidFilter: 400,
    MalformedMultipart: 400,
    NoSuchRun: 404,
    NoSuchTrace: 404,
    NoSuchProject: 404,
    ProjectExists: 409,
    TokenTaken: 409,
    NoSuchConfig: 404,
    ConfigExists: 400,  # What LangSmith answers.
    NotInQuarantine: 404,
    NoSuchRebuild: 404,
    AlreadyRetried: 409,
    RebuildRunning: 409,
    PayloadErased: 410,
    ItemErased: 410,
    BodyTooLarge: 413,
    EncodingNotSupported: 415,
    NoSuchVersion: 422,
    InvalidCursor: 422,
    StillUnusable: 422,
    UnusableItem: 422,
    UnusableBody: 400,
    ClientDisconnect: 499,  # Nobody reads this answer: it is for the access log.
    Unavailable: 503,
    FoldVersionMismatch: 503,
    SchemaMismatch: 503,
    ValueError: 400,
    ValidationError: 500,  # A ValueError of pydantic's, about a shape of ours and not about the request.
}
"""The status of each exception that is answered. An exception's own class counts before its bases."""

# Python's LangSmith SDK sends again after these seconds, and drops the batch after four attempts.
RETRY_AFTER_S: Final = 10


class IngestFailed(Exception):
    """An unexpected exception while ingesting: the server's fault, whatever its class.

    It is answered 500, so that SDKs send it again: what is answered 4xx they drop. Its cause is the other.
    """


class IngestRoute(LateRoute):
    """A route that takes data in: `LateRouter(route_class=IngestRoute)`.

    On such a route an exception is answered by the table only when it was raised on purpose: when the table
    names its class, or a base of it other than ValueError. Every other one becomes an `IngestFailed`.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_ingest(request: Request) -> Response:
            try:
                return await handle(request)
            except (HTTPException, RequestValidationError):
                raise
            except Exception as error:
                if _tabled(error) in (None, ValueError):
                    raise IngestFailed from error
                raise

        return handle_ingest


class UnexpectedErrors:
    """ASGI middleware: logs an exception that nothing else answered, and answers it 500.

    With `debug` the answer tells the exception. When an answer has begun it cannot be replaced: then the
    exception goes on to the server, which closes the connection.
    """

    def __init__(self, app: ASGIApp, *, debug: bool) -> None:
        self._app = app
        self._debug = debug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_noting_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_noting_start)
        except Exception as error:
            log.exception("%s %s failed", scope["method"], scope["path"])
            if started:
                raise
            await self._answer(error)(scope, receive, send)

    def _answer(self, error: Exception) -> Response:
        if not self._debug:
            return error_response(500, "Internal server error")
        cause = error.__cause__ if isinstance(error, IngestFailed) and error.__cause__ else error
        return error_response(500, str(cause), type=type(cause).__name__)


def error_response(
    status: int, detail: object, *, headers: Mapping[str, str] | None = None, **more: object
) -> JSONResponse:
    """An error as it is answered everywhere: `detail`, `request_id`, and a Retry-After with 503."""
    body = {"detail": detail, **more, "request_id": request_id.get()}
    retry = {"Retry-After": str(RETRY_AFTER_S)} if status == 503 else {}
    return JSONResponse(body, status_code=status, headers={**retry, **(headers or {})})


def answer_errors(app: FastAPI) -> None:
    """Have the application answer what the table names, HTTP's own errors, and values that do not fit."""
    for kind in STATUS_OF:
        app.add_exception_handler(kind, _answer_tabled)
    app.add_exception_handler(HTTPException, _answer_http)
    app.add_exception_handler(RequestValidationError, _answer_invalid)


def _tabled(error: Exception) -> type[Exception] | None:
    return next((kind for kind in type(error).__mro__ if kind in STATUS_OF), None)


async def _answer_tabled(request: Request, error: Exception) -> Response:
    kind = _tabled(error)
    if kind is None or STATUS_OF[kind] == 500:
        raise error
    if STATUS_OF[kind] == 503:
        request.app.state.metrics.refused(error)
    return error_response(STATUS_OF[kind], str(error), headers=getattr(error, "headers", None))


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    has_route = "endpoint" in request.scope
    detail = error.detail if has_route else unoffered(request.scope["path"]) or error.detail
    return error_response(error.status_code, detail, headers=error.headers)


async def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [{name: problem[name] for name in ("loc", "msg", "type")} for problem in error.errors()]
    return error_response(422, problems)
