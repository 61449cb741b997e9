"""The index of words, while the server serves: following the log, and looking up for queries."""

import asyncio
import logging
import threading
import time
from types import TracebackType
from typing import Annotated, Final, Self

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events.dialect import Writer, open_engine, open_writer
from events.errors import LogError
from projections import fulltext
from projections.filters.compiling import TextIndex
from projections.queries import NO_INDEX, RunQuery
from service.wire.health import FullText

log = logging.getLogger(__name__)

_IDLE_S: Final = 0.5
# As long as an event takes to index, others have the database for themselves, and then some.
_REST_RATIO: Final = 1.0
_REST_S_MIN: Final = 0.005
_ELSEWHERE_S: Final = 3.0
# Without an index to keep up, what is erased elsewhere leaves the one that there is within so many seconds.
_CLEANING_S: Final = 3.0
_RETRY_S: Final = 5.0
_STOP_PATIENCE_S: Final = 1.5


class Indexing:
    """Has the index of words follow the log, in a thread with connections of its own, so that nobody waits for it.

    Switched off, it only sees to it that what is erased leaves the index that there is. Of several processes that
    index one log, those that come too late rest for a while.
    """

    def __init__(self, url: str, *, is_on: bool) -> None:
        self._url = url
        self._is_on = is_on
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="indexing words", daemon=True)
        self.state: FullText = "on" if is_on else "off"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop after the transaction that is under way, or without it when the database does not answer."""
        self._stop.set()
        self._thread.join(_STOP_PATIENCE_S)

    async def index_for(self, connection: AsyncConnection, query: RunQuery) -> TextIndex:
        """What the index tells about the searches of a query; nothing when it is switched off."""
        if self.state != "on":
            return NO_INDEX
        return await fulltext.open_index(connection, (query.condition, query.trace_condition, query.tree_condition))

    def _run(self) -> None:
        asyncio.run(self._tend())

    async def _tend(self) -> None:
        # What is indexed can be indexed again: it need not survive a loss of power.
        engine, writer = open_engine(self._url, pool_size=1), open_writer(self._url, is_durable=False)
        is_ready = False
        try:
            while not self._stop.is_set():
                try:
                    is_ready = is_ready or await self._prepare(writer)
                    rest = await self._step(engine, writer)
                except LogError as error:
                    log.warning("The index of words cannot follow the log now: %s", error)
                    rest = _RETRY_S
                except Exception:
                    log.exception("The index of words cannot follow the log")
                    rest = _RETRY_S
                await self._rest(rest)
        finally:
            await writer.close()
            await engine.dispose()

    async def _prepare(self, writer: Writer) -> bool:
        if self._is_on and not await fulltext.prepare(writer):
            self.state = "unavailable"
            log.warning(
                "Searching in texts is slow: every run is looked into, because this database cannot index them. "
                "PostgreSQL needs the extension pg_trgm, which is part of its contrib package; "
                "SQLite needs FTS5, version 3.34 or newer."
            )
        return True

    async def _step(self, engine: AsyncEngine, writer: Writer) -> float:
        """Do what there is to do next, and return the seconds to rest then."""
        async with engine.connect() as connection:
            is_unclean = await fulltext.is_unclean(connection)
        if is_unclean:
            await fulltext.clean(writer)
        if self.state != "on":
            return _CLEANING_S
        begun = time.monotonic()
        match await fulltext.follow(engine, writer):
            case "added":
                return max(_REST_S_MIN, _REST_RATIO * (time.monotonic() - begun))
            case "nothing new":
                return _IDLE_S
            case "elsewhere":
                return _ELSEWHERE_S

    async def _rest(self, seconds: float) -> None:
        await asyncio.to_thread(self._stop.wait, seconds)


async def indexing(request: Request) -> Indexing:
    found: Indexing = request.app.state.indexing
    return found


IndexingPart = Annotated[Indexing, Depends(indexing)]
