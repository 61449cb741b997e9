"""What every route that takes data in does: read the body within bounds, submit its items, and say who sent them."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Final, TypeVar

from fastapi import Depends, Request

from events.log import Refused, Submission
from events.receipts import Origin
from events.turns import Turn
from service.auth import Caller
from service.body import read_body
from service.items import Item
from service.settings import Settings
from service.writer import IngestWriter, Memory, Result

T = TypeVar("T")

# Splitting and hashing a larger body would hold up every other request for milliseconds. A smaller one would wait much
# longer for a thread to get the interpreter's lock from the event loop, again and again.
_IN_LOOP_BYTES_MAX: Final = 1024 * 1024
_TURN_S: Final = 0.002


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

        Raises the errors of `service.body` and `Unavailable`. An exception of `itemise` is for bodies of which no item
        can be told: the whole body goes to quarantine as one item, and the exception goes on.
        """
        with self.memory.hold() as hold:
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
                items = await self._itemised(itemise, body)
            except Exception as error:
                await self.writer.submit(Submission(origin, [Refused("body", str(error), body)]))
                raise
            return items, await self.writer.submit(Submission(origin, items))

    async def _itemised(self, itemise: Callable[[bytes], Iterable[Item]], body: bytes) -> Sequence[Item]:
        """The items of a body, made in the event loop a few at a time, or in a thread when it is large."""
        if len(body) > _IN_LOOP_BYTES_MAX:
            return await asyncio.to_thread(lambda: list(itemise(body)))
        items: list[Item] = []
        with self.writer.preparing():
            turn = Turn(_TURN_S)
            for item in itemise(body):
                items.append(item)
                await turn.give_way()
        return items


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
