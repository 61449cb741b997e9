"""The floor: what the same bytes cost when they are parsed and inserted, durably, and nothing else is done.

One process, no HTTP, no log, no read models: a table with the two indexes that a trace store cannot do without, and a
commit to the disk for every thousand items, which is as large as the server's groups get.
"""

import asyncio
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import asyncpg
import orjson
from sqlalchemy import make_url

from events.dialect import is_sqlite
from tests.benchmarks.load import Workload

_ITEMS_PER_COMMIT: Final = 1000
_COLUMNS: Final = ("position", "run", "trace", "payload")

Row = tuple[int, str, str, bytes]


@dataclass(frozen=True, slots=True)
class Floor:
    """What the floor took for the whole load, and how many bytes of JSON that was."""

    seconds: float
    cpu_seconds: float
    json_bytes: int


def measure(workload: Workload, database_url: str, directory: Path) -> Floor:
    """Parse and insert the items of a load. It makes a SQLite file in `directory`, or a table in the database."""
    payloads = [orjson.dumps(item.document) for items in workload.requests() for item in items]
    began, cpu_began = time.perf_counter(), time.process_time()
    if is_sqlite(database_url):
        with TemporaryDirectory(dir=directory) as place:
            _fill_sqlite(Path(place, "floor.db"), payloads)
    else:
        asyncio.run(_fill_postgresql(database_url, payloads))
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    return Floor(seconds, cpu_seconds, sum(map(len, payloads)))


def _fill_sqlite(path: Path, payloads: Sequence[bytes]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE floor (position INTEGER PRIMARY KEY, run TEXT, trace TEXT, payload BLOB)")
    connection.execute("CREATE INDEX floor_run ON floor (run)")
    connection.execute("CREATE INDEX floor_trace ON floor (trace)")
    for rows in _groups(payloads):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO floor VALUES (?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    connection.close()


async def _fill_postgresql(url: str, payloads: Sequence[bytes]) -> None:
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(address)
    await connection.execute(
        "CREATE TABLE floor (position bigint PRIMARY KEY, run text, trace text, payload bytea);"
        "ALTER TABLE floor ALTER COLUMN payload SET STORAGE EXTERNAL;"
        "CREATE INDEX floor_run ON floor (run); CREATE INDEX floor_trace ON floor (trace)"
    )
    for rows in _groups(payloads):
        async with connection.transaction():
            await connection.copy_records_to_table("floor", records=rows, columns=_COLUMNS)
    await connection.execute("DROP TABLE floor")
    await connection.close()


def _groups(payloads: Sequence[bytes]) -> Iterator[list[Row]]:
    rows = _rows(payloads)
    while group := list(islice(rows, _ITEMS_PER_COMMIT)):
        yield group


def _rows(payloads: Sequence[bytes]) -> Iterator[Row]:
    for position, payload in enumerate(payloads, 1):
        document = orjson.loads(payload)
        yield position, document["id"], document["trace_id"], payload
