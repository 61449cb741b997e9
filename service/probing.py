"""Finding out that a database which took no write takes them again, also when nobody sends any.

Health and metrics would else tell of a full disk long after there was room on it.
"""

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from typing import Final

from events.log import touch
from service.background import in_background
from service.ingest.writer import IngestWriter

log = logging.getLogger(__name__)

PAUSE_S: Final = 2.0


def probing(writer: IngestWriter, *, pause_s: float = PAUSE_S) -> AbstractAsyncContextManager[None]:
    """While the block runs, try every `pause_s` seconds a write that changes nothing, if the last one failed."""
    return in_background(_probe_on(writer, pause_s), "probe")


async def _probe_on(writer: IngestWriter, pause_s: float) -> None:
    while True:
        await asyncio.sleep(pause_s)
        if writer.trouble is None or writer.waiting:  # Those who wait are tried again anyway.
            continue
        try:
            await writer.command(lambda database, head, _: touch(database, head))
        except Exception as error:
            log.debug("the database does not take a write yet: %s", error)
