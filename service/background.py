"""Work that goes on beside the requests, for as long as a block runs."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

_PATIENCE_S: Final = 1.0
_CANCELLATIONS_MAX: Final = 5


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None], name: str) -> AsyncIterator[None]:
    """While the block runs, do this work, and end it then."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        await _ended(task)


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel a task until it ends: one that is cancelled may say goodbye to a database that answers nothing."""
    for _ in range(_CANCELLATIONS_MAX):
        task.cancel()
        done, _pending = await asyncio.wait({task}, timeout=_PATIENCE_S)
        if done:
            await asyncio.gather(task, return_exceptions=True)
            return
