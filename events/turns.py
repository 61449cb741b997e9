"""Taking turns with everybody else who needs the event loop: a request may bring thousands of items."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from time import monotonic
from typing import Final, TypeVar

Item = TypeVar("Item")

TURN_S: Final = 0.005
"""How long one task may keep all others waiting, if it can be interrupted there."""
PORTION: Final = 64
"""So many items are folded, placed or written in one to three milliseconds."""


class Turn:
    """A task's turn of the event loop, which begins now."""

    __slots__ = ("_ends", "_seconds")

    def __init__(self, seconds: float = TURN_S) -> None:
        self._seconds = seconds
        self._ends = monotonic() + seconds

    async def give_way(self) -> None:
        """Let others have their turn when this one is over. Then the next one begins."""
        if monotonic() >= self._ends:
            await asyncio.sleep(0)
            self._ends = monotonic() + self._seconds


async def portions(items: Iterable[Item], size: int = PORTION) -> AsyncIterator[list[Item]]:
    """The items in lists of `size`, the last of which may be shorter; between two of them others have their turn."""
    rest, turn = iter(items), Turn()
    while portion := list(islice(rest, size)):
        yield portion
        await turn.give_way()
