from collections.abc import Iterator
from inspect import iscoroutinefunction
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts

from events.errors import SchemaMismatch
from service.app import create_app
from service.pages import read_page
from service.settings import load_settings
from tests.service.running import client_of, running


@pytest.fixture
def app() -> FastAPI:
    return create_app(load_settings(None))


def operations(app: FastAPI) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    ]


def schemas_of(app: FastAPI) -> dict[str, Any]:
    schemas: dict[str, Any] = app.openapi()["components"]["schemas"]
    return schemas


async def test_the_application_does_not_start_on_a_database_that_was_never_migrated(
    empty_database_url: str,
) -> None:
    app = create_app(load_settings(None, database_url=empty_database_url))
    with pytest.raises(SchemaMismatch, match="run agent-spy migrate"):
        async with running(app):
            pass


def test_nothing_that_a_request_needs_is_sent_to_a_thread(app: FastAPI) -> None:
    """FastAPI does so with every function that is not async, which takes longer than most of them do."""

    def calls_of(dependant: Dependant) -> Iterator[object]:
        yield dependant.call
        for below in dependant.dependencies:
            yield from calls_of(below)

    routes = [context.original_route for context in iter_route_contexts(app.routes)]
    calls = {call for route in routes if isinstance(route, APIRoute) for call in calls_of(route.dependant)}
    assert len(calls) > 50
    sent = [call for call in calls if not (iscoroutinefunction(call) or iscoroutinefunction(type(call).__call__))]
    assert sent == [read_page]  # It reads files.


def test_making_the_application_opens_no_database(app: FastAPI) -> None:
    assert not hasattr(app.state, "engine")


async def test_a_preflight_is_answered_with_the_methods_and_headers_of_the_settings() -> None:
    settings = load_settings(
        None,
        cors_origins="http://page",
        cors_methods="GET,PATCH",
        cors_headers="X-Mine",
        cors_credentials=False,
    )
    headers = {"Origin": "http://page", "Access-Control-Request-Method": "PATCH"}
    async with client_of(create_app(settings)) as client:
        allowed = await client.options("/info", headers=headers)
        refused = await client.options("/info", headers=headers | {"Origin": "http://other"})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "http://page"
    assert allowed.headers["access-control-allow-methods"] == "GET, PATCH"
    assert "X-Mine" in allowed.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in allowed.headers
    assert refused.status_code == 400


def test_every_operation_has_a_summary_a_description_and_a_tag(app: FastAPI) -> None:
    lacking = [
        name for name, operation in operations(app) if not all(map(operation.get, ("summary", "description", "tags")))
    ]
    assert lacking == []


def test_every_answer_is_described_and_modelled(app: FastAPI) -> None:
    lacking = [
        f"{name} {status}"
        for name, operation in operations(app)
        for status, answer in operation["responses"].items()
        if not answer["description"] or not is_modelled(status, answer)
    ]
    assert lacking == []


def test_every_answer_has_an_example(app: FastAPI) -> None:
    lacking = [
        f"{name} {status}"
        for name, operation in operations(app)
        for status, answer in operation["responses"].items()
        for body in answer.get("content", {}).values()
        if not has_example(app, body)
    ]
    assert lacking == []


def test_every_operation_documents_what_may_go_wrong(app: FastAPI) -> None:
    assert [name for name, operation in operations(app) if not {"422", "500"} <= set(operation["responses"])] == []


def test_every_field_of_every_shape_is_described(app: FastAPI) -> None:
    lacking = [
        f"{name}.{field}"
        for name, schema in schemas_of(app).items()
        for field, shape in schema.get("properties", {}).items()
        if "description" not in shape
    ]
    assert lacking == []


def is_modelled(status: str, answer: dict[str, Any]) -> bool:
    if status in ("204", "304"):
        return "content" not in answer
    return all(body.get("schema") for body in answer["content"].values())


def has_example(app: FastAPI, body: dict[str, Any]) -> bool:
    if "example" in body or "examples" in body:
        return True
    schema = body["schema"].get("items", body["schema"])
    choices = [choice.get("items", choice) for choice in schema.get("anyOf", [schema])]
    shapes = [schemas_of(app)[choice["$ref"].rsplit("/")[-1]] for choice in choices if "$ref" in choice]
    return "examples" in schema or (bool(shapes) and all("examples" in shape for shape in shapes))
