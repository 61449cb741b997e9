"""Bounds the memory of requests that bring data: those that find no room wait for others to end, or are told to."""

import asyncio
from typing import Final

from events.errors import Unavailable

# Python's LangSmith SDK sends again after 10 s without an answer.
PATIENCE_S: Final = 8.0


class Busy(Unavailable):
    """Too much is waiting to be written already. Nothing of this request was kept."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"more than {bytes_max} bytes are waiting to be written (INGEST_QUEUE_MB): send this again")


class Hold:
    """A request's share of the bytes that may be in memory at once. Given back when the block ends."""

    def __init__(self, memory: "Memory") -> None:
        self._memory = memory
        self._bytes = 0

    def __enter__(self) -> "Hold":
        return self

    def __exit__(self, *_: object) -> None:
        self._memory.end(self, self._bytes)

    async def grow_to(self, size: int) -> None:
        """Hold `size` bytes in all. Waits while others hold too much, and raises `Busy` when that takes too long."""
        if size > self._bytes:
            await self._memory.take(self, size - self._bytes)
            self._bytes = size

    def shrink_to(self, size: int) -> None:
        """Hold `size` bytes in all, no more than before."""
        self._memory.give_back(self._bytes - size)
        self._bytes = size


class Memory:
    """Bounds the bytes of all requests that are being read or wait to be written.

    A request that finds no room waits `patience_s` seconds for others to end. The one that has held some for longest
    does not wait: were all of them to wait for each other, none would end. So the bound is passed by one body at most.
    """

    def __init__(self, bytes_max: int, *, patience_s: float = PATIENCE_S) -> None:
        self._bytes_max = bytes_max
        self._patience_s = patience_s
        self._bytes_held = 0
        self._waiting = 0
        self._holders: dict[Hold, None] = {}
        self._freed = asyncio.Event()

    @property
    def bytes_held(self) -> int:
        """How many bytes are held now."""
        return self._bytes_held

    def hold(self) -> Hold:
        """A share that holds nothing yet."""
        return Hold(self)

    @property
    def bytes_max(self) -> int:
        """The bound."""
        return self._bytes_max

    @property
    def waiting(self) -> int:
        """How many requests wait for room now."""
        return self._waiting

    async def take(self, hold: Hold, size: int) -> None:
        """Take `size` bytes more for a share."""
        if not self._has_room(hold, size):
            await self._wait_for_room(hold, size)
        self._bytes_held += size
        self._holders[hold] = None

    async def _wait_for_room(self, hold: Hold, size: int) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience_s):
                while not self._has_room(hold, size):
                    await self._freed.wait()
        except TimeoutError:
            raise Busy(self._bytes_max) from None
        finally:
            self._waiting -= 1

    def end(self, hold: Hold, size: int) -> None:
        """Give back all that a share holds."""
        self._holders.pop(hold, None)
        self.give_back(size)

    def give_back(self, size: int) -> None:
        """Give bytes back and let those who wait look again."""
        self._bytes_held -= size
        if self._waiting:
            self._freed.set()
            self._freed = asyncio.Event()

    def _has_room(self, hold: Hold, size: int) -> bool:
        return self._bytes_held + size <= self._bytes_max or next(iter(self._holders), hold) is hold
