"""The application on a database of its own, and what tests send to it and look up behind it."""

import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx
import orjson
from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from events.codec import unpack
from events.schema import metadata, quarantine, receipts
from service.app import create_app
from service.settings import load_settings
from tests.service.running import running

START = "2024-01-15T10:30:00Z"
END = "2024-01-15T10:30:05Z"
BOUNDARY = "a9f1c0de4b7e4d5fa1b2c3d4e5f60718"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"

Dump = dict[str, list[tuple[Any, ...]]]
# A part: its name, its bytes, and its content type.
Part = tuple[str, bytes] | tuple[str, bytes, str]


@dataclass(frozen=True)
class Refusal:
    """A row of the quarantine: where the item stood, why it is there, and its bytes."""

    source: str
    reason: str
    raw: bytes


@dataclass(frozen=True)
class Store:
    """A running application: a client of it, and its tables."""

    app: FastAPI
    client: httpx.AsyncClient

    @property
    def engine(self) -> AsyncEngine:
        engine: AsyncEngine = self.app.state.engine
        return engine

    async def post(self, *runs: Mapping[str, Any]) -> dict[str, Any]:
        """Post runs in one batch; the report, which must be without errors."""
        return await self.batch(post=runs)

    async def patch(self, *runs: Mapping[str, Any]) -> dict[str, Any]:
        """Patch runs in one batch; the report, which must be without errors."""
        return await self.batch(patch=runs)

    async def batch(
        self, *, post: Sequence[Mapping[str, Any]] = (), patch: Sequence[Mapping[str, Any]] = ()
    ) -> dict[str, Any]:
        """Send a batch of which every item can be used; the report."""
        body = orjson.dumps({"post": post, "patch": patch})
        answer = await self.client.post("/runs/batch", content=body)
        assert answer.status_code == 200, answer.text
        report: dict[str, Any] = answer.json()
        assert report["errors"] == []
        return report

    async def send_parts(self, *parts: Part, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """Send parts to /runs/multipart."""
        return await self.send_multipart(multipart(parts), headers=headers)

    async def send_multipart(
        self, body: bytes | AsyncIterator[bytes], *, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Send a body to /runs/multipart."""
        headers = {"Content-Type": MULTIPART, **(headers or {})}
        return await self.client.post("/runs/multipart", content=body, headers=headers)

    async def run(self, run_id: str, **query: str) -> dict[str, Any]:
        """Read a run, which must be there."""
        return await self.get(f"/runs/{run_id}", **query)

    async def roots(self, **query: Any) -> dict[str, Any]:
        """Read a page of the list of traces."""
        return await self.get("/dashboard/runs/roots", **query)

    async def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Read what must be there."""
        answer = await self.client.get(path, params=query or None)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def dump(self) -> Dump:
        """Every row of every table, sorted."""
        async with self.engine.connect() as connection:
            return {
                table.name: sorted((tuple(row) for row in await connection.execute(select(table))), key=repr)
                for table in metadata.sorted_tables
            }

    async def quarantined(self) -> list[Refusal]:
        """What is in quarantine, in the order in which it came there."""
        query = select(quarantine).order_by(quarantine.c.quarantine_id)
        async with self.engine.connect() as connection:
            return [
                Refusal(row.source, row.reason, unpack(row.codec, bytes(row.raw)))
                for row in await connection.execute(query)
            ]

    async def receipts(self) -> list[tuple[int, int, int, int]]:
        """(received, applied, duplicate, quarantined) of every request so far, in order.

        Leaves out what the application itself appends when it starts.
        """
        columns = (receipts.c.received, receipts.c.applied, receipts.c.duplicate, receipts.c.quarantined)
        query = select(*columns).where(receipts.c.endpoint != "start").order_by(receipts.c.receipt_id)
        async with self.engine.connect() as connection:
            rows = [tuple(row) for row in await connection.execute(query)]
        assert all(received == applied + duplicate + refused for received, applied, duplicate, refused in rows)
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    async def count(self, table: str) -> int:
        """How many rows a table has."""
        async with self.engine.connect() as connection:
            query = select(func.count()).select_from(metadata.tables[table])
            return int((await connection.execute(query)).scalar_one())


@asynccontextmanager
async def open_store(database_url: str, **options: object) -> AsyncIterator[Store]:
    """The application on a migrated database, with these settings, while the block runs."""
    app = _app(**options)
    # Which database it is on is only asked when it starts.
    app.state.settings = load_settings(None, database_url=database_url, **options)
    async with running(app) as client:
        yield Store(app, client)


@cache
def _app(**options: object) -> FastAPI:
    """One application for all tests with the same settings: the first request of a new one takes as long as a test."""
    return create_app(load_settings(None, **options))


def new_id() -> str:
    """The id of a run that nothing knows of."""
    return str(uuid.uuid4())


def a_run(**members: Any) -> dict[str, Any]:
    """A run that has just begun, with a new id unless one is given."""
    return {"id": new_id(), "name": "Agent Planning", "run_type": "chain", "start_time": START, **members}


def an_ended_run(**members: Any) -> dict[str, Any]:
    """A run that came to a good end."""
    return a_run(**{"end_time": END, "inputs": {"query": "a"}, "outputs": {"result": "b"}, **members})


def json_part(name: str, value: Any) -> Part:
    """A part as Python's SDK sends it."""
    return name, orjson.dumps(value), "application/json"


def multipart(parts: Iterable[Part], *, closed: bool = True) -> bytes:
    """A multipart body with BOUNDARY."""
    body = b"".join(_part(*part) for part in parts)
    return body + f"--{BOUNDARY}--\r\n".encode() if closed else body


def _part(name: str, data: bytes, content_type: str = "application/json") -> bytes:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{quoted}"\r\n'
        f"Content-Type: {content_type}\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data + b"\r\n"
