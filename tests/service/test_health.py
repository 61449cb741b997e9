import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import create_async_engine

from service import health
from service.app import create_app
from service.health import configuration_works, database_works
from service.migration import downgrade
from service.parts import now
from service.settings import load_settings
from tests.service.running import client_of, running


@asynccontextmanager
async def serving(database_url: str, **options: object) -> AsyncIterator[tuple[FastAPI, httpx.AsyncClient]]:
    app = create_app(load_settings(None, database_url=database_url, **options))
    async with running(app) as client:
        yield app, client


def is_now(text: str) -> bool:
    return text.endswith("Z") and abs(datetime.fromisoformat(text) - now()) < timedelta(minutes=1)


async def test_health_tells_what_the_service_depends_on(database_url: str) -> None:
    async with serving(database_url, environment="production") as (_, client):
        response = await client.get("/health")
    body = response.json()
    assert response.status_code == 200
    assert is_now(body.pop("timestamp"))
    assert 0 < body.pop("uptime_seconds") < 60
    assert body == {
        "status": "healthy",
        "version": "0.1.0",
        "environment": "production",
        "database_status": "healthy",
        "dependencies": {"database": "healthy"},
        "ingest": {
            "status": "taking",
            "reason": None,
            "held_bytes": 0,
            "limit_bytes": 256 * 2**20,
            "waiting_requests": 0,
        },
        "full_text": "off",
    }


async def test_ready_tells_every_check(database_url: str) -> None:
    async with serving(database_url) as (_, client):
        response = await client.get("/health/ready")
    body = response.json()
    assert response.status_code == 200
    assert is_now(body.pop("timestamp"))
    assert body == {"ready": True, "checks": {"application": True, "database": True, "configuration": True}}


async def test_live_answers_without_a_database() -> None:
    async with client_of(create_app(load_settings(None))) as client:
        response = await client.get("/health/live")
    assert response.status_code == 200
    assert is_now(response.json()["timestamp"])
    assert response.json()["status"] == "alive"


async def test_a_database_that_cannot_be_reached_is_unhealthy_and_not_ready(database_url: str) -> None:
    async with serving(database_url) as (app, client):
        started = app.state.engine
        app.state.engine = create_async_engine("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
        response, readiness, life = [await client.get("/health" + path) for path in ("", "/ready", "/live")]
        app.state.engine = started
    assert response.status_code == readiness.status_code == 503
    assert life.status_code == 200
    assert response.json()["status"] == response.json()["database_status"] == "unhealthy"
    assert response.json()["dependencies"] == {"database": "unhealthy"}
    assert readiness.json()["ready"] is False
    assert readiness.json()["checks"] == {"application": True, "database": False, "configuration": True}


async def test_a_database_with_an_old_schema_is_not_ready(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(database_url) as (_, client):
        await downgrade(database_url, "base")
        response = await client.get("/health/ready")
    assert response.status_code == 503
    assert response.json()["checks"]["database"] is False
    assert "run agent-spy migrate" in caplog.text


async def test_a_database_that_does_not_answer_in_time_does_not_work(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    monkeypatch.setattr(health, "_DATABASE_PATIENCE_S", 0.1)
    server = await asyncio.start_server(accept, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    engine = create_async_engine(f"postgresql+asyncpg://nobody@127.0.0.1:{port}/silent")
    async with server:
        assert await asyncio.wait_for(database_works(engine), timeout=60) is False
    assert "The database does not work: TimeoutError" in caplog.text
    await engine.dispose()


def test_a_sqlite_file_needs_a_directory_that_can_be_written(tmp_path: Path) -> None:
    assert configuration_works(load_settings(None, database_url=f"sqlite:///{tmp_path}/spy.db"))
    assert not configuration_works(load_settings(None, database_url=f"sqlite:///{tmp_path}/missing/spy.db"))
