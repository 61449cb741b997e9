import pytest
from fastapi import FastAPI

from service.app import create_app
from service.paths import declared_path, nouns
from service.settings import load_settings
from tests.service.running import client_of

PREFIXES = ("/spy/api/v1", "/api/v1", "/api", "")
NOUNS = frozenset({"runs", "info"})


@pytest.fixture
def app() -> FastAPI:
    app = create_app(load_settings(None, api_prefix="/spy/api/v1/"))

    @app.get("/api/v1/things/{name}")
    async def thing(name: str) -> str:
        return name

    return app


@pytest.mark.parametrize("path", ["/runs/1", "/api/runs/1", "/api/v1/runs/1", "/spy/api/v1/runs/1", "/runs/1//"])
def test_every_prefix_leads_to_the_same_route(path: str) -> None:
    assert declared_path(path, PREFIXES, NOUNS) == "/api/v1/runs/1"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/health/live",
        "/docs",
        "/api",
        "/api/v1",
        "/api/v2/runs",
        "/run",
        "/runsx",
        "/spy/runs",
        "//runs",
    ],
)
def test_other_paths_stay_as_they_are(path: str) -> None:
    assert declared_path(path, PREFIXES, NOUNS) == path


def test_a_trailing_slash_is_absent_everywhere() -> None:
    assert declared_path("/health/", PREFIXES, NOUNS) == "/health"


def test_nouns_are_those_of_the_routes(app: FastAPI) -> None:
    assert nouns(app) >= {"info", "things"}
    assert not nouns(app) & {"", "health", "docs", "openapi.json"}


@pytest.mark.parametrize("path", ["/things/a", "/api/things/a/", "/api/v1/things/a", "/spy/api/v1/things/a"])
async def test_a_route_is_found_under_every_prefix_without_a_redirect(app: FastAPI, path: str) -> None:
    async with client_of(app) as client:
        response = await client.get(path)
    assert (response.status_code, response.json()) == (200, "a")


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/health", "/things", "/ui2", "/docs/files/nothing.js"])
async def test_an_unknown_path_is_answered_404_in_json(app: FastAPI, path: str) -> None:
    async with client_of(app) as client:
        response = await client.get(path)
    assert response.status_code == 404
    assert response.json() == {"detail": "Not Found", "request_id": response.headers["x-request-id"]}


@pytest.mark.parametrize(
    "path", ["/datasets", "/api/v1/datasets/x/runs", "/v1/platform/datasets/x/examples", "/api/v2/datasets", "/repos/"]
)
async def test_what_langsmith_has_and_this_has_not_is_said_to_be_missing(app: FastAPI, path: str) -> None:
    async with client_of(app) as client:
        response = await client.post(path, json={})
    assert response.status_code == 404
    assert "are not offered" in response.json()["detail"]
