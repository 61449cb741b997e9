from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter, FastAPI, HTTPException, Query
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from events.errors import (
    FoldVersionMismatch,
    LogError,
    PayloadErased,
    SchemaMismatch,
    Unavailable,
)
from service.app import create_app
from service.errors import RETRY_AFTER_S, IngestRoute
from service.ingest.body import BodyNotDecodable, BodyTooLarge, EncodingNotSupported
from service.ingest.multipart import MalformedMultipart
from service.settings import load_settings
from tests.service.running import client_of


class Shape(BaseModel):
    number: int


def failing_app(error: Exception, *, debug: bool = False) -> FastAPI:
    app = create_app(load_settings(None, debug=debug))
    router = APIRouter()
    ingest = APIRouter(route_class=IngestRoute, prefix="/ingest")

    @router.get("/fail")
    @ingest.post("/fail")
    async def fail() -> None:
        raise error

    router.include_router(ingest)
    app.include_router(router)
    return app


async def read(error: Exception, *, debug: bool = False) -> httpx.Response:
    async with client_of(failing_app(error, debug=debug)) as client:
        return await client.get("/fail")


async def ingest(error: Exception, *, debug: bool = False) -> httpx.Response:
    async with client_of(failing_app(error, debug=debug)) as client:
        return await client.post("/ingest/fail")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no such order"), 400),
        (UnicodeError("a kind of ValueError"), 400),
        (BodyNotDecodable("gzip", "it ends early"), 400),
        (MalformedMultipart("no boundary"), 400),
        (PayloadErased(3), 410),
        (BodyTooLarge(10), 413),
        (EncodingNotSupported("br", ("gzip",)), 415),
        (Unavailable("locked"), 503),
        (FoldVersionMismatch(stored="1", own="2"), 503),
        (SchemaMismatch("old"), 503),
    ],
)
async def test_an_expected_error_is_answered_with_its_status_and_sentence(error: Exception, status: int) -> None:
    response = await read(error)
    assert response.status_code == status
    assert response.json() == {"detail": str(error), "request_id": response.headers["x-request-id"]}
    assert response.headers.get("retry-after") == (str(RETRY_AFTER_S) if status == 503 else None)


@pytest.mark.parametrize("error", [KeyError("run"), RuntimeError("boom"), LogError("new")])
async def test_an_unexpected_error_is_a_500_that_tells_nothing(error: Exception) -> None:
    response = await read(error)
    assert response.status_code == 500
    assert response.json() == {
        "detail": "Internal server error",
        "request_id": response.headers["x-request-id"],
    }


async def test_in_debug_an_unexpected_error_is_told() -> None:
    response = await read(RuntimeError("boom"), debug=True)
    assert response.status_code == 500
    assert response.json() == {
        "detail": "boom",
        "type": "RuntimeError",
        "request_id": response.headers["x-request-id"],
    }


async def test_a_shape_of_ours_that_does_not_fit_is_our_fault() -> None:
    with pytest.raises(ValueError, match="number") as misfit:
        Shape.model_validate({"number": "x"})
    assert (await read(misfit.value)).status_code == 500


async def test_http_errors_keep_their_headers() -> None:
    response = await read(HTTPException(418, "I am a teapot.", headers={"X-Pot": "short"}))
    assert (response.status_code, response.headers["x-pot"]) == (418, "short")
    assert response.json() == {"detail": "I am a teapot.", "request_id": response.headers["x-request-id"]}


async def test_a_wrong_method_is_answered_405_with_the_right_ones() -> None:
    async with client_of(failing_app(ValueError())) as client:
        response = await client.post("/fail")
    assert (response.status_code, response.headers["allow"]) == (405, "GET")
    assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("error", [ValueError("what ingest did not expect"), KeyError("x"), RuntimeError("x")])
async def test_while_ingesting_an_unexpected_error_is_a_500(error: Exception) -> None:
    response = await ingest(error)
    assert (response.status_code, response.json()["detail"]) == (500, "Internal server error")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BodyTooLarge(10), 413),
        (MalformedMultipart("x"), 400),
        (Unavailable("x"), 503),
        (HTTPException(422), 422),
    ],
)
async def test_while_ingesting_an_expected_error_keeps_its_status(error: Exception, status: int) -> None:
    assert (await ingest(error)).status_code == status


async def test_while_ingesting_in_debug_the_cause_is_told() -> None:
    body = (await ingest(ValueError("cause"), debug=True)).json()
    assert (body["detail"], body["type"]) == ("cause", "ValueError")


async def test_values_that_do_not_fit_are_listed_without_being_repeated() -> None:
    app = create_app(load_settings(None))

    @app.get("/limited")
    async def limited(limit: int = Query(le=1000), offset: int = Query(ge=0)) -> None: ...

    async with client_of(app) as client:
        response = await client.get("/limited?limit=1001&offset=secret")
    assert response.status_code == 422
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert "secret" not in response.text
    assert [(problem["loc"], problem["msg"]) for problem in response.json()["detail"]] == [
        (["query", "limit"], "Input should be less than or equal to 1000"),
        (["query", "offset"], "Input should be a valid integer, unable to parse string as an integer"),
    ]


async def test_an_answer_that_fails_after_it_began_is_not_ended_as_if_it_were_whole() -> None:
    app = create_app(load_settings(None))

    @app.get("/half")
    async def half() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield "half"
            raise RuntimeError("no more")

        return StreamingResponse(parts())

    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        with pytest.raises(RuntimeError, match="no more"):
            await client.get("/half")
