"""What every route that takes data in does: read the body within bounds, submit its items, and say who sent them."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from typing import Annotated, Final, TypeVar

from fastapi import Depends, Request

from events.errors import Unavailable
from events.log import Refused, Submission
from events.receipts import Origin
from events.turns import Turn
from service.auth import Caller
from service.ingest.body import read_body
from service.ingest.items import Item
from service.ingest.memory import Hold, Memory
from service.ingest.writer import IngestWriter, Result
from service.settings import Settings

T = TypeVar("T")

# Splitting and hashing a larger body would hold up every other request for milliseconds. A smaller one would wait much
# longer for a thread to get the interpreter's lock from the event loop, again and again.
_IN_LOOP_BYTES_MAX: Final = 1024 * 1024
_TURN_S: Final = 0.002
_ITEMS_AT_ONCE: Final = 64
_ITEMS_IN_A_TURN: Final = 16
# What an item takes beside its bytes: objects for itself and for the words that were read in it (measured: 750 of a
# patch that says nothing but the end, 1,300 of a usual run).
_ITEM_BYTES: Final = 1_400
# A body takes its size again while it is taken apart.
_PARTED: Final = 2
_GROWTH_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Intake:
    """The parts that ingest needs. One for the application."""

    settings: Settings
    writer: IngestWriter
    memory: Memory

    async def take(
        self, request: Request, caller: Caller, itemise: Callable[[bytes], Iterable[Item]]
    ) -> tuple[Sequence[Item], list[Result]]:
        """Read the body, make items of it with `itemise`, commit them, and say what became of each.

        While it is read, taken apart and written, the request holds as much of the memory for requests as it takes.

        Raises the errors of `service.ingest.body` and `Unavailable`. An exception of `itemise` is for bodies of which
        no item can be told: the whole body goes to quarantine as one item, and the exception goes on.
        """
        with self.memory.hold() as hold:
            origin, items = await self._read(request, caller, itemise, hold)
            hold.shrink_to(sum(map(_memory_of, items)))  # The body is gone by now; the items may wait for long.
            return items, await self.writer.submit(Submission(origin, items))

    async def _read(
        self, request: Request, caller: Caller, itemise: Callable[[bytes], Iterable[Item]], hold: Hold
    ) -> tuple[Origin, Sequence[Item]]:
        """Who sent a request, and its items."""
        body = await read_body(
            request.stream(),
            request.headers.get("content-encoding"),
            bytes_max=self.settings.max_body_bytes,
            on_growth=hold.grow_to,
        )
        hold.shrink_to(len(body))
        content_hash = await _off_loop_if_large(lambda: sha256(body).digest(), body)
        origin = origin_of(request, caller, content_size=len(body), content_hash=content_hash)
        try:
            return origin, await self._itemised(itemise, body, hold)
        except Unavailable:
            raise
        except Exception as error:
            await self.writer.submit(Submission(origin, [Refused("body", str(error), body)]))
            raise

    async def _itemised(self, itemise: Callable[[bytes], Iterable[Item]], body: bytes, hold: Hold) -> Sequence[Item]:
        """The items of a body, made in the event loop a few at a time, or in a thread when it is large."""
        growth = _Growth(hold, len(body))
        await growth.begin()
        items: list[Item] = []
        if len(body) > _IN_LOOP_BYTES_MAX:
            each = iter(await asyncio.to_thread(itemise, body))
            while some := await asyncio.to_thread(lambda: list(islice(each, _ITEMS_AT_ONCE))):
                items += some
                await growth.by(some)
            return items
        with self.writer.preparing():
            turn = Turn(_TURN_S)
            each = iter(itemise(body))
            while some := list(islice(each, _ITEMS_IN_A_TURN)):
                items += some
                await growth.by(some)
                await turn.give_way()
        return items


class _Growth:
    """Has a request hold what it takes while its body is taken apart: the body, its parts, and the items so far."""

    def __init__(self, hold: Hold, body_bytes: int) -> None:
        self._hold = hold
        self._bytes = _PARTED * body_bytes
        self._held = 5 * body_bytes  # As much as most bodies come to, so that one growth is enough for them.

    async def begin(self) -> None:
        await self._hold.grow_to(self._held)

    async def by(self, items: Iterable[Item]) -> None:
        self._bytes += sum(map(_memory_of, items))
        if self._bytes > self._held:
            self._held = self._bytes + _GROWTH_BYTES
            await self._hold.grow_to(self._held)


def _memory_of(item: Item) -> int:
    """About how many bytes of memory an item takes until it is written."""
    if isinstance(item, Refused):
        return len(item.raw) + _ITEM_BYTES
    contents = sum(len(content.body) for content in item.contents)
    # What is stored takes as much as its payload: zstandard keeps the room that it might have needed.
    return 2 * len(item.payload) + contents + _ITEM_BYTES


async def _off_loop_if_large(work: Callable[[], T], body: bytes) -> T:
    return work() if len(body) <= _IN_LOOP_BYTES_MAX else await asyncio.to_thread(work)


def origin_of(
    request: Request, caller: Caller, *, content_size: int = 0, content_hash: bytes = sha256().digest()
) -> Origin:
    """Who sent a request, and what its body was. By default it had none."""
    agent = request.headers.get("user-agent")
    sdk, version = sdk_of(agent)
    return Origin(
        endpoint=f"{request.method} {request.url.path}",
        request_id=request.state.request_id,
        key_id=caller.key_id,
        user_agent=agent,
        sdk=sdk,
        sdk_version=version,
        remote_address=request.client.host if request.client else None,
        content_size=content_size,
        content_hash=content_hash,
    )


def sdk_of(user_agent: str | None) -> tuple[str | None, str | None]:
    """The LangSmith SDK and its version that a User-Agent names, such as `langsmith-py/0.15.0-httpx2`."""
    product, _, version = (user_agent or "").split(" ")[0].partition("/")
    if not product.startswith("langsmith"):
        return None, None
    return product, version.partition("-")[0] or None


async def intake(request: Request) -> Intake:
    found: Intake = request.app.state.intake
    return found


IntakePart = Annotated[Intake, Depends(intake)]
