import asyncio
import logging
from collections.abc import AsyncIterator
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.responses import StreamingResponse
from starlette.types import Scope

from service.app import create_app
from service.logs import request_id
from service.requests import ReadTimeout, is_bounded_read, sane_request_id
from service.settings import load_settings
from tests.service.running import client_of


@pytest.fixture
def app() -> FastAPI:
    app = create_app(load_settings(None, cors_origins="http://page"))

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError

    @app.get("/ids")
    async def ids(request: Request) -> list[str | None]:
        return [request.state.request_id, request_id.get()]

    return app


@pytest.fixture
def slow_app() -> FastAPI:
    app = FastAPI()
    app.add_middleware(ReadTimeout, seconds=0.05)

    @app.get("/slow")
    @app.post("/runs/query")
    @app.post("/slow")
    async def slow() -> str:
        await asyncio.sleep(0.2)
        return "done"

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield "begun "
            await asyncio.sleep(0.2)
            yield "ended"

        return StreamingResponse(parts())

    @app.get("/times-out")
    async def times_out() -> None:
        raise TimeoutError

    return app


async def get(app: FastAPI, path: str, **headers: str) -> httpx.Response:
    async with client_of(app) as client:
        return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


async def test_a_request_gets_an_id_of_its_own(app: FastAPI) -> None:
    first, second = await get(app, "/ids"), await get(app, "/ids")
    assert first.json() == [first.headers["x-request-id"]] * 2
    assert UUID(first.headers["x-request-id"]) != UUID(second.headers["x-request-id"])
    assert request_id.get() is None


async def test_a_sane_id_of_the_client_is_kept(app: FastAPI) -> None:
    response = await get(app, "/ids", x_request_id="trace:7/a-b.c_d@e")
    assert response.json() == ["trace:7/a-b.c_d@e"] * 2
    assert response.headers["x-request-id"] == "trace:7/a-b.c_d@e"


@pytest.mark.parametrize("sent", ["", "a b", "a\r\nb", "a\n", "<b>", '"', "é", "x" * 129, None])
def test_an_id_that_is_not_sane_is_not_taken(sent: str | None) -> None:
    assert sane_request_id(sent) is None


@pytest.mark.parametrize("sent", ["a", "x" * 128])
def test_an_id_has_1_to_128_letters(sent: str) -> None:
    assert sane_request_id(sent) == sent


@pytest.mark.parametrize(("path", "status"), [("/broken", 500), ("/nothing", 404), ("/health/live", 200)])
async def test_every_answer_carries_the_id(app: FastAPI, path: str, status: int) -> None:
    response = await get(app, path, x_request_id="mine", origin="http://page")
    assert (response.status_code, response.headers["x-request-id"]) == (status, "mine")
    assert response.headers["access-control-allow-origin"] == "http://page"
    assert response.headers["access-control-expose-headers"] == "X-Request-ID, Retry-After, ETag"


async def test_a_request_is_logged_in_one_line(app: FastAPI, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "service.access")
    await get(app, "/no%0Athing/?signature=secret")
    [record] = [record for record in caplog.records if record.name == "service.access"]
    assert record.__dict__["method"] == "GET"
    assert record.__dict__["path"] == "/no%0Athing/"
    assert record.__dict__["status"] == 404
    assert 0 < record.__dict__["duration_ms"] < 5000
    assert record.getMessage().startswith("GET /no%0Athing/ 404 in ")


async def test_a_broken_handler_is_logged_with_its_traceback_and_status(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await get(app, "/broken")
    [failure] = [record for record in caplog.records if record.name == "service.errors"]
    [access] = [record for record in caplog.records if record.name == "service.access"]
    assert failure.exc_info is not None
    assert failure.getMessage() == "GET /broken failed"
    assert access.__dict__["status"] == 500


async def test_a_read_that_takes_too_long_is_answered_504(slow_app: FastAPI) -> None:
    async with client_of(slow_app) as client:
        for response in (await client.get("/slow"), await client.post("/runs/query")):
            assert response.status_code == 504
            assert response.json()["detail"] == "The read took longer than 0.05 s (REQUEST_TIMEOUT)."


async def test_a_write_may_take_its_time(slow_app: FastAPI) -> None:
    async with client_of(slow_app) as client:
        assert (await client.post("/slow")).status_code == 200


async def test_an_answer_that_has_begun_may_go_on(slow_app: FastAPI) -> None:
    response = await get(slow_app, "/stream")
    assert (response.status_code, response.text) == (200, "begun ended")


async def test_a_stream_may_begin_late(slow_app: FastAPI) -> None:
    assert (await get(slow_app, "/slow", accept="text/event-stream")).status_code == 200


async def test_a_timeout_of_something_else_is_no_504(slow_app: FastAPI) -> None:
    assert (await get(slow_app, "/times-out")).status_code == 500


@pytest.mark.parametrize(
    ("method", "path", "bounded"),
    [
        ("GET", "/api/v1/runs/1", True),
        ("HEAD", "/health", True),
        ("POST", "/api/v1/runs/query", True),
        ("POST", "/api/v1/runs/stats", True),
        ("POST", "/api/v1/runs/group", True),
        ("POST", "/api/v1/runs", False),
        ("PATCH", "/api/v1/runs/1", False),
        ("DELETE", "/api/v1/feedback/1", False),
    ],
)
def test_reads_are_bounded_and_writes_are_not(method: str, path: str, bounded: bool) -> None:
    scope: Scope = {"method": method, "path": path, "headers": []}
    assert is_bounded_read(scope) is bounded
