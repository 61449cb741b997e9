"""Who checks slices: this process, or others that share the work and the snapshot."""

import asyncio
import contextlib
import multiprocessing
import signal
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from typing import Final

from events.checking.contents import check_contents, check_holders
from events.checking.events import check_events
from events.checking.quarantine import check_quarantine
from events.checking.receipts import check_receipts
from events.checking.slices import Checked, Slice
from events.checking.streams import check_duplicates, check_streams
from events.collector import spare_the_collector
from events.dialect import Snapshot, open_snapshot
from events.errors import LogError, Unavailable

_PATIENCE_S: Final = 5.0


async def check(snapshot: Snapshot, part: Slice) -> Checked:
    """Check one slice within the snapshot's transaction."""
    match part.kind:
        case "receipts":
            return await check_receipts(snapshot, part)
        case "events":
            return await check_events(snapshot, part)
        case "quarantine":
            return await check_quarantine(snapshot, part)
        case "contents":
            return await check_contents(snapshot, part)
        case "holders":
            return await check_holders(snapshot, part)
        case "duplicates":
            return await check_duplicates(snapshot, part)
        case "streams":
            return await check_streams(snapshot, part)


class Worker:
    """A process that joins the snapshot and checks slices of it, one at a time."""

    def __init__(self, url: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, url), daemon=True)
        self._process.start()
        theirs.close()

    async def is_ready(self) -> None:
        """Wait until the process has begun."""
        await self._answer()

    async def join(self, token: str) -> None:
        """Have it join the snapshot that `token` was given out for."""
        await self._ask(token)

    async def check(self, part: Slice) -> Checked:
        """Have it check a slice."""
        checked = await self._ask(part)
        assert isinstance(checked, Checked)
        return checked

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join(_PATIENCE_S)
        self._pipe.close()

    async def _ask(self, request: object) -> object:
        self._pipe.send(request)
        return await self._answer()

    async def _answer(self) -> object:
        try:
            answer = await asyncio.to_thread(self._pipe.recv)
        except (EOFError, OSError):
            raise Unavailable("a process that was verifying ended before its time") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextlib.asynccontextmanager
async def joined_workers(url: str, snapshot: Snapshot, count: int) -> AsyncIterator[list[Worker]]:
    """So many processes that have joined the snapshot."""
    workers = [Worker(url) for _ in range(count)]
    try:
        if workers:
            await asyncio.gather(*(worker.is_ready() for worker in workers))
            async with snapshot.sharing() as token:
                await asyncio.gather(*(worker.join(token) for worker in workers))
        yield workers
    finally:
        for worker in workers:
            worker.stop()


def _work(pipe: Connection, url: str) -> None:
    """What a worker's process does."""
    spare_the_collector()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The process that started this one is interrupted too, and ends it.
    try:
        asyncio.run(_serve(pipe, url))
    except LogError as error:
        pipe.send(error)


async def _serve(pipe: Connection, url: str) -> None:
    pipe.send(None)
    snapshot = open_snapshot(url, token=pipe.recv())
    async with snapshot.transaction():
        pipe.send(None)
        for part in iter(pipe.recv, None):
            pipe.send(await check(snapshot, part))
