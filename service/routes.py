"""Routes whose declarations are read when they are needed, and not when the process starts."""

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import compile_path

_OWN: Final = "dependency_overrides_provider"  # Each router brings its own.


class LateRoute(APIRoute):
    """A route that FastAPI reads when it is first asked for, or first described in `/openapi.json`.

    FastAPI would do so where the route is declared: signatures, a validator for each parameter and a serialiser for
    each answer. For some hundred routes that took half of a start.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **declared: Any) -> None:
        """What it takes to find the route. `declared` is the rest of what `APIRoute` takes."""
        self._declared: Final = declared
        self._is_read = False
        self.path, self.endpoint = path, endpoint
        self.methods = set(declared["methods"])
        self.path_regex, self.path_format, self.param_convertors = compile_path(path)

    def __getattr__(self, name: str) -> Any:
        """Python asks this for what the route does not have yet."""
        if self.__dict__.get("_is_read", True):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self._is_read = True
        super().__init__(self.path, self.endpoint, **self._declared)
        return getattr(self, name)

    def declare(self, router: APIRouter, prefix: str) -> None:
        """Declare the same route once more, below `prefix` and as the router wants its routes."""
        options = {name: value for name, value in self._declared.items() if name != _OWN}
        router.add_api_route(prefix + self.path, self.endpoint, route_class_override=type(self), **options)


class LateRouter(APIRouter):
    """A router of late routes: what a module declares its routes with."""

    def __init__(self, *, route_class: type[LateRoute] = LateRoute, **options: Any) -> None:
        super().__init__(route_class=route_class, **options)

    def declare(self, router: APIRouter, prefix: str = "") -> None:
        """Declare all routes once more, below `prefix`. `include_router` would read them all, and twice."""
        for route in self.routes:
            assert isinstance(route, LateRoute)
            route.declare(router, prefix)
