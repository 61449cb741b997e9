"""A store for tests of the read models: writes go straight to the log and the folds, on a clock that stands still.

Standing still matters: a run of which nothing tells when it started starts when it was recorded.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any, TypeVar

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from events import log
from events.dialect import Writer, open_engine, open_writer
from events.kinds import Operation, run_stream
from events.log import Appended, Head, RecordedEvent, Submission
from events.receipts import Origin
from projections import canonical, erasure, projector, record
from projections.erasure import erase_trace
from projections.project_changes import Changing
from projections.record import Record
from projections.reverting import revert_run
from projections.runs import RunState
from projections.runs import runs as runs_table
from projections.status import StatusRule
from projections.traces import Outline, runs_of_trace
from service.ingest.items import PATCH, POST, Item
from service.ingest.run_items import run_items
from tests.databases import Databases

NOW = 1_767_225_600_000_000
"""2026-01-01T00:00:00Z, when everything in these tests is recorded."""
START = "2025-12-31T12:00:00Z"
FIELD_BYTES_MAX = 1_000_000
ORIGIN = Origin(endpoint="test")

T = TypeVar("T")


class Store:
    """The log and the read models in one migrated database."""

    def __init__(self, writer: Writer, engine: AsyncEngine, rule: StatusRule) -> None:
        self.writer = writer
        self.engine = engine
        self._rule: StatusRule = rule

    async def append(self, *items: Item, now: int = NOW) -> Appended:
        """Append the items of one request and fold them, in one transaction."""
        async with self.writer.transaction():
            head = await self._head()
            appended = await log.append(
                self.writer, head, [Submission(ORIGIN, items)], now=now, streams_of=erasure.streams_of
            )
            await projector.apply(self.writer, appended.events, rule=self._rule)
        return appended

    async def revert(self, run_id: bytes, to_version: int) -> None:
        """Undo what was written to a run after a version."""
        async with self.writer.transaction():
            head, rule = await self._head(), self._rule
            await revert_run(
                self.writer, head, run_id, to_version=to_version, reason="", origin=ORIGIN, rule=rule, now=NOW
            )

    async def erase(self, trace_id: bytes) -> None:
        """Erase a trace."""
        async with self.writer.transaction():
            head, rule = await self._head(), self._rule
            await erase_trace(self.writer, head, trace_id, reason="", origin=ORIGIN, rule=rule, now=NOW)

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[Changing]:
        """Change projects, in one transaction."""
        async with self.writer.transaction():
            yield Changing(self.writer, await self._head(), ORIGIN, self._rule, NOW)

    async def _head(self) -> Head:
        return await log.lock_head(self.writer, fold_version=projector.fold_version(self._rule))

    async def apply(self, events: Sequence[RecordedEvent]) -> None:
        """Fold events that another store recorded."""
        async with self.writer.transaction():
            await projector.apply(self.writer, events, rule=self._rule)

    async def events(self) -> list[RecordedEvent]:
        """The whole log."""
        async with self.engine.connect() as connection:
            return [event async for events in log.read_all(connection) for event in events]

    async def dump(self) -> dict[str, list[tuple[Any, ...]]]:
        """The canonical dump of every read model."""
        async with self.engine.connect() as connection:
            return await canonical.dump(connection)

    async def runs(self) -> dict[bytes, RunState]:
        """Every row of `runs`, placeholders included."""
        rows = await self.query(runs_table.select())
        return {state.id: state for state in map(RunState.from_row, rows)}

    async def trace(self, trace_id: bytes) -> list[Outline]:
        """The runs of a trace."""
        async with self.engine.connect() as connection:
            return await runs_of_trace(connection, trace_id)

    async def record(self, run_id: bytes) -> Record:
        """A run with all that was said of it."""
        async with self.engine.connect() as connection:
            return record.fold(await log.read_stream(connection, run_stream(run_id)))

    async def query(self, query: Any) -> Sequence[Any]:
        """The rows of a query, or of a text of SQL."""
        async with self.engine.connect() as connection:
            return (await connection.execute(text(query) if isinstance(query, str) else query)).all()


@asynccontextmanager
async def opened(url: str, *, rule: StatusRule = "documented") -> AsyncIterator[Store]:
    """A store in the migrated database that the URL names."""
    writer, engine = open_writer(url), open_engine(url)
    try:
        yield Store(writer, engine, rule)
    finally:
        await writer.close()
        await engine.dispose()


def in_store(databases: Databases, use: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
    """What `use` makes of a store in a database of its own: for the many small stores of a property test."""
    url = databases.migrated()

    async def used() -> T:
        async with opened(url) as store:
            return await use(store)

    try:
        return asyncio.run(used())
    finally:
        databases.drop(url)


async def refolded(events: Sequence[RecordedEvent], store: Store, portions: Iterable[int]) -> None:
    """Fold events into an empty store in portions of these sizes, the rest in one."""
    start = 0
    for size in portions:
        await store.apply(events[start : start + size])
        start += size
    await store.apply(events[start:])


# --- items ------------------------------------------------------------------------------------------------------------


def run_id(number: int) -> bytes:
    """The id of a run: small numbers make small ids. It is no version 7, so it tells no time."""
    return number.to_bytes(16)


def id_text(number: int) -> str:
    """The same as a JSON body gives it."""
    digits = run_id(number).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def item(operation: Operation, raw: bytes, *, given_id: bytes | None = None) -> Item:
    """The one item that a run write without attachments makes."""
    (made,) = run_items(operation, raw, source=operation, field_bytes_max=FIELD_BYTES_MAX, run_id=given_id)
    return made


def posted(number: int, **fields: Any) -> Item:
    """A POST of a run that says what every POST has to, and these fields."""
    needed = {"id": id_text(number), "name": "a run", "run_type": "chain", "start_time": START}
    return item(POST, json.dumps(needed | fields).encode())


def patched(number: int, **fields: Any) -> Item:
    """A PATCH of a run that says these fields."""
    return item(PATCH, json.dumps({"id": id_text(number), **fields}).encode())


def with_attachments(operation: Operation, raw: bytes) -> list[Item]:
    """All items of a run write: itself and its attachments."""
    return list(run_items(operation, raw, source=operation, field_bytes_max=FIELD_BYTES_MAX))


def flat(parts: Iterable[Iterable[T]]) -> list[T]:
    """The parts one after the other."""
    return list(chain.from_iterable(parts))
