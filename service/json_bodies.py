"""Bodies that are JSON, whatever their sender says they are."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from starlette.datastructures import MutableHeaders

from service.routes import LateRoute


class JsonRoute(LateRoute):
    """A route that takes every body for JSON: `LateRouter(route_class=JsonRoute)`.

    The JavaScript SDK sends some of its JSON as text/plain, and so do pages that avoid a preflight request.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            MutableHeaders(scope=request.scope)["Content-Type"] = "application/json"
            return await handle(Request(request.scope, request.receive))

        return handle_json
