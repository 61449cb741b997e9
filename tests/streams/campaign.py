"""Readers, writers, and a server that is started anew under them: every reader must see each event once, in order."""

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from tests.server import Server
from tests.streams.following import Place, following

_RETRY_PAUSE_S = 0.05
# For what comes twice to come.
_LINGER_S = 0.5
_EVENTS_BETWEEN_CUTS = 150
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)
_GONE = (httpx.TransportError, httpx.HTTPStatusError)


@dataclass(frozen=True)
class Plan:
    """How much is read and written, and how often the server is started anew."""

    readers: int = 40
    writers: int = 4
    batches: int = 40
    runs_per_batch: int = 5
    restarts: int = 1
    patience_s: float = 60.0
    seed: int = 1


@dataclass(frozen=True)
class Report:
    """What came of a plan. `places` are the readers', each with the positions it saw."""

    events: int
    cuts: int
    duration_s: float
    places: Sequence[Place]

    @property
    def wrong(self) -> list[int]:
        """The readers that saw something else than every event once, in order."""
        expected = list(range(1, self.events + 1))
        return [number for number, place in enumerate(self.places) if place.positions != expected]

    def __str__(self) -> str:
        return (
            f"{len(self.places)} readers of {self.events} events, {self.cuts} connections lost, "
            f"in {self.duration_s:.1f} s: {len(self.wrong)} saw something else than each event once, in order"
        )


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds that nobody tells of."""
    while True:
        if holds():
            return
        await asyncio.sleep(_RETRY_PAUSE_S)


async def run(server: Server, plan: Plan) -> Report:
    """Carry out a plan on a running server. Raises TimeoutError when a reader does not get to the end in time."""
    began = time.monotonic()
    async with AsyncExitStack() as stack, asyncio.timeout(plan.patience_s):
        client = await stack.enter_async_context(httpx.AsyncClient(limits=_LIMITS, timeout=30, trust_env=False))
        crowd = _Crowd(client, server, plan)
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(crowd.read(place)) for place in crowd.places]
            async with asyncio.TaskGroup() as writers:
                for number in range(plan.writers):
                    writers.create_task(crowd.write(number))
                writers.create_task(crowd.restart())
            events = await crowd.head()
            await until(lambda: all(len(place.positions) >= events for place in crowd.places))
            await asyncio.sleep(_LINGER_S)
            for reader in readers:
                reader.cancel()
    return Report(events, crowd.cuts, time.monotonic() - began, crowd.places)


class _Crowd:
    def __init__(self, client: httpx.AsyncClient, server: Server, plan: Plan) -> None:
        self._client = client
        self._server = server
        self._plan = plan
        self._random = random.Random(plan.seed)
        self._batches_sent = 0
        self.places = [Place() for _ in range(plan.readers)]
        self.cuts = 0

    async def read(self, place: Place) -> None:
        """Follow the log over many connections, without end."""
        while True:
            events_left = self._random.randint(1, 2 * _EVENTS_BETWEEN_CUTS)
            try:
                async with following(self._client, self._server.url, place, after="start") as blocks:
                    async for block in blocks:
                        events_left -= block.data is not None
                        if not events_left:
                            break
            except _GONE:
                await asyncio.sleep(_RETRY_PAUSE_S)
            self.cuts += 1
            await asyncio.sleep(self._random.uniform(0, _RETRY_PAUSE_S))

    async def write(self, number: int) -> None:
        """Send batches, each until it is acknowledged."""
        for _ in range(self._plan.batches):
            batch = {"post": [_run(number) for _ in range(self._plan.runs_per_batch)]}
            await self._send(batch)
            self._batches_sent += 1
            await asyncio.sleep(self._random.uniform(0, 0.02))

    async def _send(self, batch: dict[str, Any]) -> None:
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await self._client.post(f"{self._server.url}/runs/batch", json=batch)
                if answer.status_code == 200:
                    return
            await asyncio.sleep(_RETRY_PAUSE_S)

    async def restart(self) -> None:
        """Stop the server and start it again, evenly over the writing."""
        for number in range(1, self._plan.restarts + 1):
            await until(partial(self._is_sent, number))
            await asyncio.to_thread(self._server.stop)
            await asyncio.to_thread(self._server.start)

    def _is_sent(self, part: int) -> bool:
        """Whether so many parts of the batches are sent, of one more than there are restarts."""
        return self._batches_sent >= self._plan.writers * self._plan.batches * part // (self._plan.restarts + 1)

    async def head(self) -> int:
        """Where the log ends, when nothing is written any more."""
        answer = await self._client.get(f"{self._server.url}/events", params={"limit": 1})
        position: int = answer.json()["head"]["position"]
        return position


def _run(writer: int) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "name": f"run of writer {writer}",
        "run_type": "chain",
        "start_time": "2024-01-15T10:30:00Z",
        "inputs": {"lines": "one\ntwo\r\nthree"},
    }
