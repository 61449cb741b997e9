"""Runs an application in this process, for tests that talk to it as a client would."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

BASE_URL = "http://testserver"


def client_of(app: FastAPI) -> httpx.AsyncClient:
    """A client of an application that was not started: it has no database."""
    # What goes on to the server is for the server: a client sees an answer, or a closed connection.
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=BASE_URL)


@asynccontextmanager
async def running(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that is started, and stopped at the end."""
    async with app.router.lifespan_context(app), client_of(app) as client:
        yield client
