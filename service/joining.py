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

_PAUSE_S: Final = 2.0


@asynccontextmanager
async def join_added(url: str) -> AsyncIterator[None]:
    """While the block runs, have every added read model catch up. From then on it is folded into with the others.

    Servers of the version before append without it, so it is looked after for as long as the block runs.
    """
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
            events = await catch_up(url, added)
        except Unavailable as error:
            log.warning("The read model %s cannot catch up now: %s", added.name, error)
        except Exception:
            log.exception("The read model %s cannot catch up", added.name)
            return
        else:
            if events:
                log.info("The read model %s has caught up with %d events", added.name, events)
        await asyncio.sleep(_PAUSE_S)
