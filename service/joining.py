"""Having read models that are new in the code catch up with the log while the server serves."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from events.errors import Unavailable
from projections import projector
from projections.joining import catch_up
from projections.projector import Added

log = logging.getLogger(__name__)

_RETRY_PAUSE_S: Final = 2.0


@asynccontextmanager
async def join_added(url: str) -> AsyncIterator[None]:
    """While the block runs, have every added read model catch up. From then on it is folded into with the others."""
    tasks = [asyncio.create_task(_join(url, added), name=f"joining {added.name}") for added in projector.ADDED]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _join(url: str, added: Added) -> None:
    while True:
        try:
            position = await catch_up(url, added)
        except Unavailable as error:
            log.warning("The read model %s cannot catch up now: %s", added.name, error)
            await asyncio.sleep(_RETRY_PAUSE_S)
        except Exception:
            log.exception("The read model %s cannot catch up", added.name)
            return
        else:
            log.info("The read model %s has caught up, at position %d", added.name, position)
            return
