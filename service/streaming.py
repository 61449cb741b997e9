"""Following the log: server-sent events for as many readers as there are, each at its own pace.

Positions are gapless and in commit order, so a reader that reads on after the last position it was sent misses nothing
and gets nothing twice, whichever worker it is connected to. Nothing is queued for a reader: it reads the log itself.
Readers that stand at the same place share one reading of it.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from events import reading
from events.reading import LoggedEvent
from projections.streams import streams_of_trace
from service.cursors import cursor
from service.log_rendering import off_loop_if_large, render_event

log = logging.getLogger(__name__)

POLL_S: Final = 0.25
HEARTBEAT_S: Final = 15.0
_RECONNECT_MS: Final = 1000
_SLICE_EVENTS: Final = 200
_SLICE_BYTES: Final = 1_000_000
# Streams leave most of the pool's connections to everyone else.
_READINGS_AT_ONCE: Final = 4
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


class LogWatch:
    """Knows where the log ends, and tells readers when it has grown.

    It hears at once of commits of this process, and of what any reader has read. For commits of others it asks for the
    head every `poll_s` seconds, once for all readers, while there is one.
    """

    def __init__(self, engine: AsyncEngine, *, poll_s: float = POLL_S) -> None:
        self._engine = engine
        self._poll_s = poll_s
        self._position = 0
        self._grown = asyncio.Event()
        self._stopped = asyncio.Event()
        self._listeners = 0
        self._poller: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether readers may go on."""
        return not self._stopped.is_set()

    def notice(self, position: int) -> None:
        """The log goes at least up to this position."""
        if position > self._position:
            self._position = position
            self._wake()

    def stop(self) -> None:
        """Let every reader end."""
        self._stopped.set()
        self._wake()

    async def close(self) -> None:
        """Stop, and wait until nothing here uses the engine."""
        self.stop()
        if self._poller is not None:
            await self._poller

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Watch for the commits of others while the block runs."""
        self._listeners += 1
        if self._poller is None or self._poller.done():
            self._poller = asyncio.create_task(self._poll(), name="log watch")
        try:
            yield
        finally:
            self._listeners -= 1

    async def wait(self, position: int, *, timeout_s: float) -> bool:
        """Wait until the log goes beyond a position, or readers have to end. False when neither happens in time."""
        try:
            async with asyncio.timeout(timeout_s):
                while self._position <= position and self.is_open:
                    await self._grown.wait()
        except TimeoutError:
            return False
        return True

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    async def _poll(self) -> None:
        while self._listeners and self.is_open:
            try:
                async with self._engine.connect() as connection:
                    self.notice((await reading.read_end(connection)).position)
            except (SQLAlchemyError, OSError) as error:
                log.warning("the head of the log cannot be read: %s", error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_s):
                    await self._stopped.wait()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a reader wants: None leaves a filter out."""

    kinds: tuple[str, ...] | None = None
    trace_id: bytes | None = None
    with_payload: bool = True


class _Slice(NamedTuple):
    """What a reader is sent next, up to which position it was looked for, and whether the log ends there."""

    text: bytes
    position: int
    cursor: str
    is_end: bool


class LogFeed:
    """Makes streams of the log."""

    def __init__(self, engine: AsyncEngine, *, poll_s: float = POLL_S, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._engine = engine
        self._watch = LogWatch(engine, poll_s=poll_s)
        self._heartbeat_s = heartbeat_s
        self._readings: dict[tuple[int, Wanted], asyncio.Task[_Slice]] = {}
        self._turns = asyncio.Semaphore(_READINGS_AT_ONCE)

    @property
    def watch(self) -> LogWatch:
        """Tells its readers when to read on. Tell it of commits, and when to stop."""
        return self._watch

    async def aclose(self) -> None:
        """End every stream, and wait until nothing here uses the engine."""
        await self._watch.close()
        await asyncio.gather(*self._readings.values(), return_exceptions=True)

    async def follow(self, position: int, place: str, wanted: Wanted) -> AsyncGenerator[bytes]:
        """The text of a stream of what is wanted after a position, of which `place` is the cursor.

        It ends when the server stops or the database fails. The reader connects again and goes on where it was.
        """
        # Sent first, so that a reader that loses its connection before the first event goes on from here as well.
        yield f"retry: {_RECONNECT_MS}\nid: {place}\n\n".encode()
        while self._watch.is_open:
            try:
                found = await self._read(position, wanted)
            except (SQLAlchemyError, OSError) as error:
                log.warning("a stream of the log ends: %s", error)
                return
            position = found.position
            if found.text:
                yield found.text
            if found.is_end:
                while not await self._watch.wait(position, timeout_s=self._heartbeat_s):
                    yield f": heartbeat\nid: {found.cursor}\n\n".encode()

    async def _read(self, position: int, wanted: Wanted) -> _Slice:
        """The slice after a position, read by whoever asks first for all who ask meanwhile.

        It may end before what was committed since it began: then the watch knows better, and nobody waits for it.
        """
        key = (position, wanted)
        task = self._readings.get(key)
        if task is None:
            task = asyncio.create_task(self._read_slice(position, wanted))
            self._readings[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: tuple[int, Wanted], done: "asyncio.Task[_Slice]") -> None:
        del self._readings[key]
        if not done.cancelled():
            done.exception()  # Those who still wait for it get it; nobody may.

    async def _read_slice(self, position: int, wanted: Wanted) -> _Slice:
        async with self._turns, self._engine.connect() as connection:
            end = await reading.read_end(connection)
            self._watch.notice(end.position)
            if end.position <= position:
                return _Slice(b"", position, cursor(end.position, end.chain), True)
            streams = None if wanted.trace_id is None else await streams_of_trace(connection, wanted.trace_id)
            positions = await reading.find_positions(
                connection,
                after=position,
                upto=end.position,
                limit=_SLICE_EVENTS,
                kinds=wanted.kinds,
                streams=streams,
            )
            events = await reading.read_events(
                connection, positions, with_payload=wanted.with_payload, bytes_max=_SLICE_BYTES
            )
        text = await off_loop_if_large(events, lambda: _text(events, wanted.with_payload))
        if len(events) == len(positions) < _SLICE_EVENTS:
            return _Slice(text, end.position, cursor(end.position, end.chain), True)
        last = events[-1]
        return _Slice(text, last.position, cursor(last.position, last.chain), last.position == end.position)


def _text(events: Sequence[LoggedEvent], with_payload: bool) -> bytes:
    return b"".join(_sent(event, with_payload) for event in events)


def _sent(event: LoggedEvent, with_payload: bool) -> bytes:
    """An event as it is sent. White space in a payload may hold line ends, which would end the data."""
    head = f"id: {cursor(event.position, event.chain)}\nevent: {event.kind}\ndata: ".encode()
    return head + _LINE_END.sub(b"\ndata: ", render_event(event, with_payload=with_payload)) + b"\n\n"


class EventStream(StreamingResponse):
    """A stream of server-sent events. The log is watched while somebody reads."""

    media_type = "text/event-stream"

    def __init__(self, feed: LogFeed, position: int, place: str, wanted: Wanted) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(feed.follow(position, place, wanted), headers=headers)
        self._watch = feed.watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._watch.listening():
            await super().__call__(scope, receive, send)
