"""A client of the event stream, as a browser's EventSource is one: it goes on where it was."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass(frozen=True)
class Sent:
    """A block of a stream: what was said of the id, the kind, the data and the comment. Data is JSON."""

    id: str | None = None
    event: str | None = None
    data: Any = None
    comment: str | None = None


@dataclass
class Place:
    """The last id that came, which the next connection begins with."""

    id: str | None = None
    positions: list[int] = field(default_factory=list)


@asynccontextmanager
async def following(
    client: httpx.AsyncClient, url: str, place: Place | None = None, **query: str
) -> AsyncIterator[AsyncIterator[Sent]]:
    """The blocks of a stream, of those after the place when it has one, while the block runs."""
    place = place or Place()
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": place.id} if place.id else {})
    async with client.stream("GET", f"{url}/events/stream", params=query, headers=headers) as answer:
        if answer.status_code != 200:
            await answer.aread()
            raise httpx.HTTPStatusError(answer.text, request=answer.request, response=answer)
        async with aclosing(_blocks(answer, place)) as blocks:
            yield blocks


async def next_event(blocks: AsyncIterator[Sent]) -> Sent:
    """The next block with data."""
    async for block in blocks:
        if block.data is not None:
            return block
    raise EOFError("the stream has ended")


async def _blocks(answer: httpx.Response, place: Place) -> AsyncGenerator[Sent]:
    said: dict[str, list[str]] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            said.setdefault(name or "comment", []).append(value.removeprefix(" "))
            continue
        block = _block(said)
        said = {}
        place.id = block.id or place.id
        if block.data is not None:
            place.positions.append(block.data["position"])
        yield block


def _block(said: Mapping[str, list[str]]) -> Sent:
    texts = {name: "\n".join(values) for name, values in said.items() if name in ("id", "event", "comment")}
    return Sent(**texts, data=json.loads("\n".join(said["data"])) if "data" in said else None)
