"""Recordings of what real clients sent, and what it takes to send it again.

A recording is one file: JSON lines compressed with zstd, a line for each request in the order in which they came, with
its method, path, query, headers, body (base64, as it came: still compressed by the client), how it was cut into chunks,
and the status that the recording server answered. Nothing is left out. To make one of a captured folder (an
`index.jsonl` and the bodies it names):

    python -m tests.replay.traffic FOLDER NAME
"""

import base64
import json
import re
import sys
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx
import zstandard

from events.ids import parse_id
from events.jsontext import NotJSON
from events.log import NewEvent, Refused
from service.ingest.body import read_body
from service.ingest.items import PATCH, POST, Item, feedback_patched, feedback_posted
from service.ingest.multipart import boundary_of, split
from service.ingest.multipart_items import multipart_items
from service.ingest.run_items import batch_items, run_items

TRAFFIC = Path(__file__).resolve().parents[1] / "recordings" / "traffic"
RECORDINGS = sorted(path.name.removesuffix(".jsonl.zst") for path in TRAFFIC.glob("*.jsonl.zst"))
FIELD_BYTES_MAX = 10_000_000
_BODY_BYTES_MAX = 100_000_000
# Of the connection that it was recorded on; the client that sends again has its own.
_HEADERS_OF_THE_CONNECTION = frozenset({"host", "connection", "content-length", "transfer-encoding"})
_FEEDBACK = re.compile(r"/feedback/([^/]+)")
_RUN = re.compile(r"/runs/([^/]+)")


@dataclass(frozen=True)
class Recorded:
    """A request as it was recorded."""

    method: str
    path: str
    query: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    chunk_sizes: Sequence[int] | None

    def header(self, name: str) -> str:
        """The value of a header; empty when there is none."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    async def send(self, client: httpx.AsyncClient) -> httpx.Response:
        """Send it again, in the chunks that it came in."""
        headers = [(name, value) for name, value in self.headers if name.lower() not in _HEADERS_OF_THE_CONNECTION]
        content = self._chunks() if self.chunk_sizes else self.body
        url = f"{self.path}?{self.query}" if self.query else self.path
        return await client.request(self.method, url, headers=headers, content=content)

    async def _chunks(self) -> AsyncIterator[bytes]:
        start = 0
        for size in self.chunk_sizes or ():
            yield self.body[start : start + size]
            start += size

    async def items(self) -> list[Item]:
        """What it brings, as the service itemises it; nothing when it writes nothing, or is no JSON at all."""
        body = await self._decompressed()
        if self.path == "/runs/multipart":
            parts = split(body, boundary_of(self.header("content-type")))
            return multipart_items(parts, field_bytes_max=FIELD_BYTES_MAX)
        if self.path == "/runs/batch":
            try:
                return batch_items(body, field_bytes_max=FIELD_BYTES_MAX)
            except NotJSON:
                return []
        if self.method == "POST" and self.path == "/runs":
            return list(run_items(POST, body, source=POST, field_bytes_max=FIELD_BYTES_MAX))
        if self.method == "PATCH" and (match := _RUN.fullmatch(self.path)):
            given = parse_id(match[1])
            return list(run_items(PATCH, body, source=PATCH, field_bytes_max=FIELD_BYTES_MAX, run_id=given))
        if self.method == "POST" and self.path == "/feedback":
            return [feedback_posted(body, source="feedback")]
        if self.method == "PATCH" and (match := _FEEDBACK.fullmatch(self.path)):
            return [feedback_patched(parse_id(match[1]) or b"", body, source="feedback")]
        return []

    async def _decompressed(self) -> bytes:
        async def whole() -> AsyncIterator[bytes]:
            yield self.body

        return await read_body(whole(), self.header("content-encoding") or None, bytes_max=_BODY_BYTES_MAX)


def load(name: str) -> list[Recorded]:
    """The requests of a recording, in the order in which they came."""
    text = zstandard.ZstdDecompressor().stream_reader((TRAFFIC / f"{name}.jsonl.zst").read_bytes()).read()
    return [_recorded(json.loads(line)) for line in text.splitlines()]


def _recorded(line: dict[str, object]) -> Recorded:
    told = line | {"body": base64.b64decode(str(line["body"]))}
    return Recorded(**{name: told[name] for name in Recorded.__dataclass_fields__})  # type: ignore[arg-type]


def pack(folder: Path, name: str) -> None:
    """Make a recording of a captured folder."""
    lines = []
    for line in (folder / "index.jsonl").read_text().splitlines():
        entry = json.loads(line)
        body = (folder / entry["body_file"]).read_bytes() if entry["body_file"] else b""
        lines.append(json.dumps(entry | {"body": base64.b64encode(body).decode()}))
    compressed = zstandard.ZstdCompressor(level=19).compress("\n".join(lines).encode())
    (TRAFFIC / f"{name}.jsonl.zst").write_bytes(compressed)


# --- another order ----------------------------------------------------------------------------------------------------


def groups_of(items: Iterable[Item]) -> set[tuple[bytes, str]]:
    """What the items must not be overtaken in: the events of one kind of one stream."""
    return {(item.stream, item.kind) for item in items if isinstance(item, NewEvent)}


async def lots(requests: Sequence[Recorded]) -> list[list[Recorded]]:
    """The requests in lots of which each can be sent in its own time: in a lot the order must stay."""
    lots: list[tuple[set[tuple[bytes, str]], list[int]]] = []
    for place, request in enumerate(requests):
        groups, places = groups_of(await request.items()), [place]
        apart = []
        for lot in lots:
            if lot[0].isdisjoint(groups):
                apart.append(lot)
            else:
                groups |= lot[0]
                places += lot[1]
        lots = [*apart, (groups, places)]
    return [[requests[place] for place in sorted(places)] for _, places in lots]


def doubled(lot: Sequence[Recorded], random: Random) -> Iterator[Recorded]:
    """The requests of a lot, some sent again: at once, or after all others of the lot.

    A change of feedback is a command: sent again after another one it would count.
    """
    again = []
    for request in lot:
        yield request
        choice = random.randrange(4)
        if choice == 1:
            yield request
        elif choice == 2 and "/feedback" not in request.path:
            again.append(request)
    yield from again


def shuffled(items: Sequence[Item], random: Random) -> list[Item]:
    """The items in another order, in which those of one kind and stream keep theirs."""
    queues: dict[tuple[bytes, str] | int, list[Item]] = {}
    keys: list[tuple[bytes, str] | int] = []
    for place, item in enumerate(items):
        key = place if isinstance(item, Refused) else (item.stream, item.kind)
        keys.append(key)
        queues.setdefault(key, []).append(item)
    random.shuffle(keys)
    return [queues[key].pop(0) for key in keys]


if __name__ == "__main__":
    pack(Path(sys.argv[1]), sys.argv[2])
