"""Erasing from the command line, beside a running server or without one."""

from events.dialect import Writer, open_writer
from events.log import Head
from events.receipts import Origin
from projections.erasure import Erased, erase_trace
from service.ingest.writer import IngestWriter
from service.settings import Settings


async def erase_now(settings: Settings, trace_id: bytes, reason: str) -> tuple[Erased, bool]:
    """Erase a trace; say what was erased, and whether the bytes have left the files.

    Raises `NoSuchTrace`, and `FoldVersionMismatch` when the settings ask for another status rule than the server's.
    """

    async def work(writer: Writer, head: Head, now: int) -> Erased:
        origin = Origin(endpoint="agent-spy erase")
        return await erase_trace(
            writer, head, trace_id, reason=reason, origin=origin, rule=settings.status_rule, now=now
        )

    async with IngestWriter(open_writer(settings.database_url), rule=settings.status_rule) as writer:
        return await writer.command(work), await writer.purge()
