"""Many writers that write to the same traces: `python -m tests.crash.overlap` has 16 do so on PostgreSQL for 5 minutes.

None may wait for another that waits for it. PostgreSQL counts when two do.
"""

import asyncio
import random
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import click
import orjson
from sqlalchemy import make_url

from events.dialect import open_writer
from events.errors import Unavailable
from events.log import Submission
from events.receipts import Origin
from service.ingest.items import PATCH, POST, Item
from service.ingest.run_items import run_items
from service.ingest.writer import IngestWriter
from tests.crash import audit
from tests.crash.postgresql import durable_postgresql
from tests.databases import Databases, PostgresqlServer

_TRACES: Final = 12
_RUNS_PER_TRACE: Final = 8
_ITEMS_MAX: Final = 30
_NAMESPACE: Final = uuid.UUID(int=16)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a while of overlapping writes came to."""

    items: int
    seconds: float
    deadlocks: int
    wrong: list[str]


def write_together(databases: Databases, *, writers: int, seconds: float, seed: int) -> Outcome:
    """Have so many writers, each with a connection of its own, write to the same few traces for a while, then audit."""
    url, empty_url = databases.migrated(), databases.migrated()
    try:
        began = time.monotonic()
        items = asyncio.run(_write_all(url, writers, seconds, seed))
        took = time.monotonic() - began
        wrong = [*audit.wrong_in_log(asyncio.run(audit.read(url)))]
        wrong += asyncio.run(audit.wrong_in_read_models(url, empty_url))
        return Outcome(items, took, asyncio.run(deadlocks_in(url)), wrong)
    finally:
        databases.drop(url)
        databases.drop(empty_url)


async def _write_all(url: str, writers: int, seconds: float, seed: int) -> int:
    end = time.monotonic() + seconds
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(IngestWriter(open_writer(url), rule="documented")) for _ in range(writers)
        ]
        sources = [random.Random(f"{seed}/{number}") for number in range(writers)]
        return sum(await asyncio.gather(*(_write(*each, end) for each in zip(opened, sources, strict=True))))


async def _write(writer: IngestWriter, source: random.Random, end: float) -> int:
    """Write until the end. What had to wait too long, on a busy machine, is given up."""
    written = 0
    while time.monotonic() < end:
        items = [item for _ in range(source.randint(1, _ITEMS_MAX)) for item in _items(source)]
        with suppress(Unavailable):
            written += len(await writer.submit(Submission(Origin(endpoint="overlap"), items)))
    return written


def _items(source: random.Random) -> Iterator[Item]:
    """A post or patch of one of few runs, which moves it, ends it or sets its parent, in no order at all."""
    trace, number = source.randrange(_TRACES), source.randrange(_RUNS_PER_TRACE)
    run: dict[str, Any] = {
        "id": _id(trace, number),
        "trace_id": _id(trace, 0),
        "outputs": {"answer": source.random()},
        "session_name": f"project {source.randrange(3)}",
        "tags": [str(source.randrange(5))],
    }
    if number:
        run["parent_run_id"] = _id(trace, source.randrange(number))
    if source.random() < 0.5:
        start = f"2026-01-{source.randint(1, 9):02}T10:00:00Z"
        run |= {"name": f"step {source.randrange(4)}", "run_type": "chain", "start_time": start}
        return iter(run_items(POST, orjson.dumps(run), source="post", field_bytes_max=10**6))
    run |= {"end_time": "2026-01-10T10:00:00Z"}
    return iter(run_items(PATCH, orjson.dumps(run), source="patch", field_bytes_max=10**6))


def _id(trace: int, number: int) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{trace}/{number}"))


async def deadlocks_in(url: str) -> int:
    """How many deadlocks PostgreSQL has counted in a database."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(address)
    try:
        found: int = await connection.fetchval(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        return found
    finally:
        await connection.close()


@click.command(context_settings={"show_default": True})
@click.option("--writers", default=16, help="How many write at once.")
@click.option("--seconds", default=300.0, help="For how long.")
@click.option("--seed", default=1, help="What they write is made from it.")
def main(writers: int, seconds: float, seed: int) -> None:
    """Have many writers write to the same traces on PostgreSQL, and count deadlocks."""
    with durable_postgresql() as postgresql:
        databases = PostgresqlServer(postgresql.url)
        found = write_together(databases, writers=writers, seconds=seconds, seed=seed)
        databases.close()
    click.echo(f"{writers} writers wrote {found.items} items to {_TRACES} traces in {found.seconds:.0f} s")
    click.echo(f"deadlocks: {found.deadlocks}, wrong: {len(found.wrong)}")
    for sentence in found.wrong:
        click.echo(f"  {sentence}")
    sys.exit(1 if found.deadlocks or found.wrong else 0)


if __name__ == "__main__":
    main()
