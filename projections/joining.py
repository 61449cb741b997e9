"""How a read model that is new in the code joins the others: it catches up from the log while everyone goes on.

Its checkpoint says how far it is. Slices of the log are folded into it, each in a transaction that holds the head for
a few milliseconds: so of several processes that do this at once each event is folded by one, and the last slice ends
where the next append begins. From then on the projector folds into it inline, with the others.
"""

import asyncio
from typing import Final

from events import log
from events.dialect import open_writer
from events.schema import SHARD
from projections.projector import Added, apply_added, reached

_SLICE_EVENTS: Final = 200
_PAUSE_S: Final = 0.01


async def catch_up(url: str, added: Added, *, shard: int = SHARD) -> int:
    """Have an added read model catch up with the log, and return how many events that took.

    It goes on where it was left off; from now on it is folded into inline, by those who know it. Raises `Unavailable`
    when the database does not take it.
    """
    writer = open_writer(url)
    caught_up = 0
    try:
        while True:
            async with writer.transaction():
                head = await log.lock_head(writer, fold_version=None, shard=shard)
                after = await reached(writer, added.name, shard=shard)
                events = await log.read_written(writer, after=after, limit=_SLICE_EVENTS, shard=shard)
                await apply_added(writer, events, [added], shard=shard)
            caught_up += len(events)
            if not events or events[-1].position == head.position:
                return caught_up
            await asyncio.sleep(_PAUSE_S)
    finally:
        await writer.close()
