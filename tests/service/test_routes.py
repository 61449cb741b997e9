"""Routes are read when they are needed, and are then as FastAPI's own."""

from typing import Annotated

import pytest
from fastapi import FastAPI, Query
from fastapi.routing import APIRoute

from service.app import create_app
from service.routes import LateRouter
from service.settings import load_settings
from tests.service.running import client_of


def test_making_the_application_reads_no_route() -> None:
    app = create_app(load_settings(None))
    assert len(app.routes) > 80
    assert read_paths(app) == []


async def test_a_route_is_read_when_it_is_asked_for_and_no_other_is() -> None:
    app = create_app(load_settings(None))
    async with client_of(app) as client:
        assert (await client.get("/health/live")).status_code == 200
    assert read_paths(app) == ["/health/live"]


async def test_a_late_route_validates_and_answers_below_the_prefix_it_was_declared_with() -> None:
    app = FastAPI()
    router = LateRouter(prefix="/things", tags=["things"])

    @router.get("/{number}")
    async def double(number: int, more: Annotated[int, Query(ge=0)] = 0) -> int:
        return 2 * number + more

    router.declare(app.router, "/below")
    async with client_of(app) as client:
        assert (await client.get("/below/things/4?more=1")).json() == 9
        assert (await client.get("/below/things/4?more=-1")).status_code == 422
        assert (await client.post("/below/things/4")).status_code == 405
        assert (await client.get("/things/4")).status_code == 404
    assert app.openapi()["paths"]["/below/things/{number}"]["get"]["tags"] == ["things"]


def test_what_no_route_has_a_late_one_has_not_either() -> None:
    router = LateRouter()

    @router.get("/")
    async def nothing() -> None: ...

    (route,) = router.routes
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        _ = route.colour  # type: ignore[attr-defined]


def read_paths(app: FastAPI) -> list[str]:
    return [route.path for route in app.routes if isinstance(route, APIRoute) and "dependant" in vars(route)]
