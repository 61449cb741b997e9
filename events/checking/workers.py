"""Who checks slices: this process, or others that share the work and the snapshot."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection

from events.checking.contents import check_contents, check_holders
from events.checking.events import check_events
from events.checking.quarantine import check_quarantine
from events.checking.receipts import check_receipts
from events.checking.slices import Checked, Slice
from events.checking.streams import check_duplicates, check_streams
from events.dialect import Snapshot, open_snapshot
from events.processes import Process


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
    """A process that joins the snapshot and checks slices of it, one after the other."""

    def __init__(self, url: str) -> None:
        self._process = Process(_work, url)

    async def is_ready(self) -> None:
        """Wait until the process has begun."""
        await self._process.answer()

    async def join(self, token: str) -> None:
        """Have it join the snapshot that `token` was given out for."""
        self._process.ask(token)
        await self._process.answer()

    async def check(self, part: Slice) -> Checked:
        """Have it check a slice."""
        self._process.ask(part)
        checked = await self._process.answer()
        assert isinstance(checked, Checked)
        return checked

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._process.stop()


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
    asyncio.run(_serve(pipe, url))


async def _serve(pipe: Connection, url: str) -> None:
    pipe.send(None)
    snapshot = open_snapshot(url, token=pipe.recv())
    async with snapshot.transaction():
        pipe.send(None)
        for part in iter(pipe.recv, None):
            pipe.send(await check(snapshot, part))
