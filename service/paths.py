"""Under which paths the API is found."""

from collections.abc import Iterable
from typing import Final

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import ASGIApp, Receive, Scope, Send

API_ROOT: Final = "/api/v1"
API_V2_ROOT: Final = "/api/v2"


class Paths:
    """ASGI middleware: takes `/x`, `/api/x` and `{API_PREFIX}/x` for `/api/v1/x`, and drops a trailing slash.

    This holds for every x whose first segment is that of a route below /api/v1. Other paths stay as they are.
    """

    def __init__(self, app: ASGIApp, *, prefix: str) -> None:
        self._app = app
        self._prefixes = sorted({prefix, API_ROOT, "/api", ""}, key=len, reverse=True)
        self._nouns: frozenset[str] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if self._nouns is None:
                self._nouns = nouns(scope["app"])
            scope = {**scope, "path": declared_path(scope["path"], self._prefixes, self._nouns)}
        await self._app(scope, receive, send)


def nouns(app: FastAPI) -> frozenset[str]:
    """The first segments of the paths below /api/v1, such as `runs`."""
    paths = (route.path or "" for route in iter_route_contexts(app.routes))
    return frozenset(path.split("/")[3] for path in paths if path.startswith(API_ROOT + "/"))


def declared_path(path: str, prefixes: Iterable[str], nouns: frozenset[str]) -> str:
    """The path of the route that a path asks for, else the path itself, without a trailing slash.

    Prefixes are tried in the order given: longer ones must come first.
    """
    path = path.rstrip("/") or "/"
    for prefix in prefixes:
        rest = path.removeprefix(prefix)
        if path.startswith(prefix + "/") and rest.split("/")[1] in nouns:
            return API_ROOT + rest
    return path
