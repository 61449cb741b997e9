from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from service.app import create_app
from service.auth import Authorise, Caller, authorise, refuse_foreign_origin
from service.keys import ApiKey, Scope
from service.paths import API_ROOT
from service.settings import load_settings
from tests.service.running import client_of

# Without a key: what clients ask before they have one, and URLs that are signed.
# What is stored is fetched at signed addresses, which prove that they were given out. Shared traces, and feedback that
# was asked for, are for whoever has the token.
OPEN_ROUTES = {
    "/info",
    "/contents/{content_hash}",
    "/feedback/tokens/{token}",
    "/public/{token}/feedbacks",
    "/public/{token}/hierarchy",
    "/public/{token}/outline",
    "/public/{token}/r",
    "/public/{token}/run",
    "/public/{token}/run/{run_id}",
    "/public/{token}/runs",
    "/public/{token}/runs/query",
    "/public/{token}/runsshare_token={garbled}",
}


def guarded(**options: object) -> FastAPI:
    app = create_app(load_settings(None, **options))

    @app.get("/guarded")
    async def read(caller: Annotated[Caller, Depends(authorise(Scope.READ))]) -> list[str | None]:
        return [caller.key_id, *sorted(caller.scopes)]

    @app.delete("/guarded", dependencies=[Depends(refuse_foreign_origin)])
    async def erase() -> None: ...

    return app


@pytest.fixture
def app() -> FastAPI:
    return guarded(require_auth=True, api_keys="all,reader:read,writer:ingest")


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": "reader"},
        {"X-API-KEY": "reader"},
        {"api-key": "reader"},
        {"Authorization": "Bearer reader"},
        {"authorization": "bearer  reader"},
        {"Authorization": "Basic dXNlcg==", "api-key": "reader"},
        {"x-api-key": "unknown", "Authorization": "Bearer reader"},
    ],
)
async def test_a_known_key_is_taken_from_any_of_three_headers(app: FastAPI, headers: dict[str, str]) -> None:
    async with client_of(app) as client:
        response = await client.get("/guarded", headers=headers)
    assert response.status_code == 200
    assert response.json() == [ApiKey("reader").id, "read"]


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({}, "Send an API key in one of the headers x-api-key, api-key or Authorization: Bearer."),
        ({"Authorization": "Basic all"}, "Send an API key in one of the headers"),
        ({"x-api-key": ""}, "Send an API key in one of the headers"),
        ({"x-api-key": "unknown"}, "This API key is not known here."),
        ({"x-api-key": "reader:read"}, "This API key is not known here."),
        ({"x-api-key": b"\xff"}, "This API key is not known here."),
    ],
)
async def test_without_a_known_key_the_answer_is_401_and_says_how(
    app: FastAPI, headers: dict[str, str | bytes], sentence: str
) -> None:
    sent = [(name.encode(), value.encode() if isinstance(value, str) else value) for name, value in headers.items()]
    async with client_of(app) as client:
        response = await client.get("/guarded", headers=sent)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="Agent Spy"'
    assert response.json()["detail"].startswith(sentence)
    assert response.json()["request_id"] == response.headers["x-request-id"]


async def test_a_key_without_the_scope_is_answered_403(app: FastAPI) -> None:
    async with client_of(app) as client:
        response = await client.get("/guarded", headers={"x-api-key": "writer"})
    assert response.status_code == 403
    assert response.json()["detail"] == "This API key may not do this: it lacks the scope read."


@pytest.mark.parametrize("path", ["/info", "/api/v1/info", "/health/live", "/docs", "/openapi.json"])
async def test_what_clients_ask_first_is_open(app: FastAPI, path: str) -> None:
    async with client_of(app) as client:
        assert (await client.get(path)).status_code == 200


async def test_a_preflight_needs_no_key(app: FastAPI) -> None:
    headers = {
        "Origin": "http://page",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "x-api-key",
    }
    async with client_of(app) as client:
        response = await client.options("/guarded", headers=headers)
    assert response.status_code == 200
    assert response.headers["access-control-allow-headers"] == "x-api-key"
    assert "GET" in response.headers["access-control-allow-methods"]


async def test_without_auth_everyone_may_do_everything() -> None:
    async with client_of(guarded()) as client:
        response = await client.get("/guarded", headers={"x-api-key": "any"})
    assert response.json() == [None, "admin", "ingest", "metrics", "read"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://testserver", 200),
        ("https://TESTSERVER", 200),
        ("http://listed", 200),
        ("http://foreign", 403),
        ("http://testserver:81", 403),
        ("http://testserver.foreign", 403),
        ("null", 403),
    ],
)
async def test_a_foreign_page_may_not_erase(origin: str | None, status: int) -> None:
    async with client_of(guarded(cors_origins="*,http://listed")) as client:
        response = await client.delete("/guarded", headers={"Origin": origin} if origin else {})
    assert response.status_code == status


async def test_with_auth_the_key_protects_and_any_page_may_send_it(app: FastAPI) -> None:
    async with client_of(app) as client:
        assert (await client.delete("/guarded", headers={"Origin": "http://foreign"})).status_code == 200


def test_the_documentation_tells_that_a_key_may_be_asked_for(app: FastAPI) -> None:
    openapi = app.openapi()
    assert openapi["paths"]["/guarded"]["get"]["security"] == [{"ApiKey": []}]
    assert openapi["components"]["securitySchemes"]["ApiKey"]["name"] == "x-api-key"


def test_every_route_asks_for_a_scope_unless_it_is_open() -> None:
    routes = iter_route_contexts(create_app(load_settings(None)).routes)
    unguarded = {
        str(context.path).removeprefix(API_ROOT)
        for context in routes
        if str(context.path).startswith(API_ROOT) and not asks_for_a_scope(context.original_route)
    }
    assert unguarded == OPEN_ROUTES


def asks_for_a_scope(route: object) -> bool:
    assert isinstance(route, APIRoute)
    return any(isinstance(dependency.call, Authorise) for dependency in route.dependant.dependencies)
