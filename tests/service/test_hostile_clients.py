"""Clients that mean harm, or are broken, and a real server: its memory is bounded, and others are served meanwhile."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil  # type: ignore[import-untyped]
import pytest
import zstandard

from tests.databases import Databases
from tests.server import Server
from tests.service.apps import a_run

TIMEOUT_S = 1
PATIENCE_S = 60
BODY_MB, QUEUE_MB = 8, 16
MEGABYTE = 2**20
# What is refused is never taken apart, so this is half of what docs/operations.md says to plan for.
MEMORY_MAX = 3 * QUEUE_MB * MEGABYTE
POST = b"POST /runs HTTP/1.1\r\nHost: spy\r\nContent-Type: application/json\r\n"
LIVE = b"GET /health/live HTTP/1.1\r\nHost: spy\r\n\r\n"


class Sending:
    """How long a client took to send a request, by its own clock: httpx tells of each step."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.took_s = 0.0

    async def __call__(self, step: str, details: Mapping[str, Any]) -> None:
        if step == "http11.send_request_body.complete":
            self.took_s = time.monotonic() - self._began


class Target:
    """A server under attack."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._idle_bytes = self._memory()

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def grown_bytes(self) -> int:
        """By how much its memory has grown since it was idle."""
        return self._memory() - self._idle_bytes

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection that is closed when the block ends, however it does: a later test would be told of it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self._server.url.rpartition(":")[2]))
        try:
            yield reader, writer
        finally:
            writer.close()

    async def talk(self, *pieces: bytes, pause_s: float = 0) -> bytes:
        """Send pieces over a connection of its own, and read until the server closes it or everything is answered."""
        async with self.connected() as (reader, writer):
            sending = asyncio.create_task(self._send(writer, pieces, pause_s))
            try:
                return await asyncio.wait_for(reader.read(2000), timeout=PATIENCE_S)
            finally:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    async def _send(self, writer: asyncio.StreamWriter, pieces: tuple[bytes, ...], pause_s: float) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)

    @asynccontextmanager
    async def serving_others(self) -> AsyncIterator[None]:
        """Others post and read runs while the block runs, and all of that is answered as it should be."""
        ended = asyncio.Event()
        other = asyncio.create_task(self._be_another(ended))
        try:
            yield
        finally:
            ended.set()
            assert await other >= 1

    async def _be_another(self, ended: asyncio.Event) -> int:
        served = 0
        async with httpx.AsyncClient(base_url=self._server.url, timeout=PATIENCE_S, trust_env=False) as client:
            while not ended.is_set() or not served:
                run = a_run()
                posted = await self._answer(client, "POST", "/runs", json=run)
                assert posted.status_code == 202, posted.text
                assert (await self._answer(client, "GET", f"/runs/{run['id']}")).status_code == 200
                served += 1
                await asyncio.sleep(0.02)
        return served

    async def _answer(self, client: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
        """The answer to a request, which is sent again as an SDK does it.

        A queue that others fill is no reason to lose anything; and on a busy machine this client is as slow as any.
        """
        while True:
            sending = Sending()
            answer = await client.request(method, path, extensions={"trace": sending}, **more)
            if answer.status_code == 503:
                assert answer.headers["retry-after"]
            elif answer.status_code != 408:
                return answer
            else:
                assert sending.took_s > TIMEOUT_S, "the server had the request in time"

    def _memory(self) -> int:
        return int(psutil.Process(self._server.pid).memory_info().rss)


@pytest.fixture(scope="module")
def target(databases: Callable[[str], Databases], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One server for all attacks: what one leaves behind, the next would show."""
    url = databases("sqlite").migrated()
    limits = {"RECEIVE_TIMEOUT": TIMEOUT_S, "MAX_BODY_MB": BODY_MB, "INGEST_QUEUE_MB": QUEUE_MB}
    environ = {name: str(value) for name, value in limits.items()}
    with Server(url, Path(tmp_path_factory.mktemp("hostile")), environ=environ) as server:
        body = orjson.dumps({"post": [a_run(inputs={"text": "x" * 4 * MEGABYTE})]})
        httpx.post(f"{server.url}/runs/batch", content=body, trust_env=False).raise_for_status()
        yield Target(server)
    databases("sqlite").drop(url)


def compressed(encoding: str, megabytes: int) -> bytes:
    zeros = bytes(MEGABYTE)
    if encoding == "gzip":
        return gzip.compress(zeros * 4) * (megabytes // 4)
    compressor = zstandard.ZstdCompressor().compressobj()
    return b"".join(compressor.compress(zeros) for _ in range(megabytes)) + compressor.flush()


def post(body: bytes, *headers: str) -> bytes:
    lines = [f"Content-Length: {len(body)}", *headers]
    return POST + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + body


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
async def test_bombs_are_refused_at_the_bound_and_take_no_memory(target: Target, encoding: str) -> None:
    bomb = post(compressed(encoding, 400), f"Content-Encoding: {encoding}")
    assert len(bomb) < MEGABYTE
    async with target.serving_others():
        answers = await asyncio.gather(*(target.talk(bomb) for _ in range(12)))
    # Those that find no room for as long as the others burst are told to come again.
    assert {answer[:12] for answer in answers} <= {b"HTTP/1.1 413", b"HTTP/1.1 503"}
    assert any(b" 413 " in answer[:13] for answer in answers)
    assert target.grown_bytes < MEMORY_MAX


async def test_bombs_that_stop_halfway_hold_no_more_than_the_queue(target: Target) -> None:
    half = compressed("zstd", 7)
    unfinished = POST + b"Content-Encoding: zstd\r\nContent-Length: %d\r\n\r\n" % (len(half) + 1) + half
    async with target.serving_others():
        answers = await asyncio.gather(*(target.talk(unfinished) for _ in range(40)))
    assert {answer[:12] for answer in answers} <= {b"HTTP/1.1 408", b"HTTP/1.1 503"}
    assert target.grown_bytes < MEMORY_MAX


async def test_a_body_that_never_ends_is_refused_and_its_connection_closed(target: Target) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    async with target.connected() as (reader, writer):
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        answer = asyncio.create_task(reader.readexactly(12))
        began = time.monotonic()
        async with target.serving_others():
            with suppress(ConnectionError):
                while time.monotonic() < began + PATIENCE_S:
                    writer.write(chunk)
                    await writer.drain()
                    await asyncio.sleep(0)
            assert time.monotonic() < began + PATIENCE_S
        assert await answer == b"HTTP/1.1 413"
    assert target.grown_bytes < MEMORY_MAX


async def test_heads_that_trickle_in_are_answered_408(target: Target) -> None:
    async with target.serving_others():
        drops = [b"GET /health/live HTTP/1.1\r\n", *[b"X-Slow: 1\r\n"] * 100]
        answers = await asyncio.gather(*(target.talk(*drops, pause_s=0.2) for _ in range(100)))
        silent = await target.talk(b"")
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 408"}
    assert b"RECEIVE_TIMEOUT" in silent


async def test_bodies_that_trickle_in_are_answered_408_and_nothing_of_them_is_kept(target: Target) -> None:
    head = POST + b"Content-Length: 100000\r\n\r\n"
    async with target.serving_others():
        answers = await asyncio.gather(*(target.talk(head, *[b"x"] * 100, pause_s=0.2) for _ in range(100)))
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 408"}
    async with httpx.AsyncClient(trust_env=False) as client:
        health = (await client.get(f"{target.url}/health")).json()
    assert health["ingest"]["held_bytes"] == health["ingest"]["waiting_requests"] == 0


async def test_a_slow_body_that_goes_on_is_waited_for(target: Target) -> None:
    body = orjson.dumps(a_run(inputs={"text": "x" * 6000}))
    pieces = [body[start : start + 500] for start in range(0, len(body), 500)]
    began = time.monotonic()
    answer = await target.talk(POST + b"Content-Length: %d\r\n\r\n" % len(body), *pieces, pause_s=0.2)
    assert answer.startswith(b"HTTP/1.1 202")
    assert time.monotonic() - began > 2 * TIMEOUT_S


async def test_a_thousand_idle_connections_cost_little_and_are_closed(target: Target) -> None:
    async with AsyncExitStack() as held, target.serving_others():
        connecting = (held.enter_async_context(target.connected()) for _ in range(1000))
        connections = await asyncio.gather(*connecting)
        assert target.grown_bytes < MEMORY_MAX
        ends = await asyncio.gather(*(asyncio.wait_for(reader.read(), PATIENCE_S) for reader, _ in connections))
    assert {end[:12] for end in ends} == {b"HTTP/1.1 408"}


async def test_thousands_of_tiny_requests_at_once_are_all_answered(target: Target) -> None:
    async with target.connected() as (reader, writer), target.serving_others():
        writer.write(LIVE * 2000)
        seen = b""
        while seen.count(b"HTTP/1.1 200") < 2000:
            seen += await asyncio.wait_for(reader.read(2**16), PATIENCE_S)
    assert target.grown_bytes < MEMORY_MAX


@pytest.mark.parametrize("line", [b"X-Long: " + b"x" * 500_000, b"X-One: 1\r\n" * 50_000], ids=["long", "many"])
async def test_an_enormous_head_is_answered_431(target: Target, line: bytes) -> None:
    head = b"GET /health/live HTTP/1.1\r\nHost: spy\r\n" + line + line
    give_up = time.monotonic() + PATIENCE_S
    async with target.serving_others():
        # On a busy machine this client may be a slow one, too.
        while (answer := await target.talk(head)).startswith(b"HTTP/1.1 408") and time.monotonic() < give_up:
            pass
    assert answer.startswith(b"HTTP/1.1 431")


async def test_a_client_that_keeps_its_connection_is_not_taken_for_a_slow_one(target: Target) -> None:
    async with target.connected() as (reader, writer):
        for _ in range(3):
            writer.write(LIVE)
            assert (await asyncio.wait_for(reader.readuntil(b"}"), PATIENCE_S)).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(1.5 * TIMEOUT_S)
