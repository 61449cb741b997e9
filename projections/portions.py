"""Work on many things in portions, between which others have their turn: a request may bring thousands of runs."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Final, TypeVar

Item = TypeVar("Item")

FOLDED: Final = 200
"""So many events are folded in some 10 ms."""
WRITTEN: Final = 500
"""So many rows are written to SQLite in some 10 ms."""


async def portions(items: Iterable[Item], size: int) -> AsyncIterator[list[Item]]:
    """The items in lists of `size`, the last of which may be shorter; none when there are no items."""
    rest = iter(items)
    portion = list(islice(rest, size))
    while portion:
        yield portion
        portion = list(islice(rest, size))
        if portion:
            await asyncio.sleep(0)
