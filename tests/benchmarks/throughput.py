"""How many runs a second a server takes, acknowledged and readable, and what each costs."""

import asyncio
import math
import multiprocessing
import statistics
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, TypeVar

import orjson
from sqlalchemy import func, make_url, select, text

from events.dialect import is_sqlite, open_engine
from events.kinds import RunPatched, RunPosted
from events.schema import events, heads
from tests.benchmarks import floor, load
from tests.benchmarks.floor import Floor
from tests.benchmarks.load import Client, Sent, Workload
from tests.benchmarks.watch import Watch
from tests.crash.postgresql import durable_postgresql
from tests.databases import Databases, PostgresqlServer, SqliteFiles
from tests.server import Server

System = Literal["sqlite", "postgresql"]
SYSTEMS: Final[tuple[System, ...]] = ("sqlite", "postgresql")

Outcome = TypeVar("Outcome")


class Lost(Exception):
    """The server does not hold what it acknowledged."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where databases are made, where other files go, and the ids of the database system's processes."""

    databases: Databases
    directory: Path
    pids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Measured:
    """One repetition. Processor time is in seconds for the whole load."""

    workload: Workload
    sent: Sent
    server_cpu_seconds: float
    database_cpu_seconds: float
    memory_bytes: int
    memory_growth_bytes: int
    stored_bytes: int
    floor: Floor

    @property
    def figures(self) -> dict[str, float]:
        """What is printed, by the name under which it is."""
        runs = self.workload.runs
        return {
            "runs/s": runs / self.sent.seconds,
            "server CPU ms/run": 1000 * self.server_cpu_seconds / runs,
            "database CPU ms/run": 1000 * self.database_cpu_seconds / runs,
            "p50 ms": 1000 * percentile(self.sent.answers, 50),
            "p95 ms": 1000 * percentile(self.sent.answers, 95),
            "p99 ms": 1000 * percentile(self.sent.answers, 99),
            "peak RSS MB": self.memory_bytes / 1e6,
            "RSS growth MB": self.memory_growth_bytes / 1e6,
            "stored bytes/run": self.stored_bytes / runs,
            "stored of JSON": self.stored_bytes / self.floor.json_bytes,
            "sent bytes/run": self.sent.body_bytes / runs,
            "sent again": self.sent.sent_again,
            "floor runs/s": runs / self.floor.seconds,
            "floor CPU ms/run": 1000 * self.floor.cpu_seconds / runs,
            "runs/s of floor": self.floor.seconds / self.sent.seconds,
            "CPU of floor": self.server_cpu_seconds / self.floor.cpu_seconds,
        }


@contextmanager
def place_of(system: System) -> Iterator[Place]:
    """Makes databases of a system that writes to the disk before it answers."""
    with TemporaryDirectory(prefix="agent-spy-") as directory:
        if system == "sqlite":
            yield Place(SqliteFiles(Path(directory)), Path(directory), ())
            return
        with durable_postgresql() as postgresql:
            databases = PostgresqlServer(postgresql.url)
            yield Place(databases, Path(directory), [postgresql.pid])
            databases.close()


def measure(place: Place, workload: Workload, *, workers: int) -> Measured:
    """Serve an empty database, send the load, look whether everything is there, and measure the floor.

    Raises `Lost` when something that was acknowledged is not there.
    """
    url = place.databases.migrated()
    try:
        with Server(url, place.directory, options=_workers(workers)) as server:
            stored_before = _stored_bytes(url)
            with Watch([server.pid]) as used, Watch(place.pids) as database_used:
                sent = in_own_process(load.send, workload, server.url)
            _require_all_readable(workload, server.url)
        asyncio.run(_require_all_recorded(workload, url))
        return Measured(
            workload,
            sent,
            used.cpu_seconds,
            database_used.cpu_seconds,
            used.memory_bytes,
            used.memory_growth_bytes,
            _stored_bytes(url) - stored_before,
            in_own_process(floor.measure, workload, url, place.directory),
        )
    finally:
        place.databases.drop(url)


def medians(measured: Sequence[Measured]) -> dict[str, float]:
    """The median of every figure over some repetitions."""
    figures = [each.figures for each in measured]
    return {name: statistics.median(figure[name] for figure in figures) for name in figures[0]}


def in_own_process(work: Callable[..., Outcome], *arguments: Any) -> Outcome:
    """Do some work in a new process, so that it neither waits for this one nor is counted with another."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(work, *arguments).result()


def _workers(count: int) -> tuple[str, ...]:
    return ("--workers", str(count)) if count > 1 else ()


def _require_all_readable(workload: Workload, url: str) -> None:
    client = Client(url)
    found = orjson.loads(client.get("/api/v1/dashboard/stats/summary"))["stats"]
    listed = orjson.loads(client.get("/api/v1/dashboard/runs/roots?limit=1"))
    client.close()
    traces = math.ceil(workload.runs / workload.runs_per_trace)
    if (found["total_runs"], found["total_traces"], listed["total"]) != (workload.runs, traces, traces):
        raise Lost(f"{workload.runs} runs in {traces} traces were acknowledged, and the API tells of {found}")


async def _require_all_recorded(workload: Workload, url: str) -> None:
    engine = open_engine(url)
    async with engine.connect() as connection:
        position = (await connection.execute(select(heads.c.position))).scalar_one()
        counts = select(events.c.kind, func.count()).group_by(events.c.kind)
        found = {kind: count for kind, count in await connection.execute(counts)}
    await engine.dispose()
    expected = {RunPosted.__name__: workload.runs}
    if workload.order == "apart":
        expected[RunPatched.__name__] = workload.runs
    if any(found.get(kind) != count for kind, count in expected.items()) or position != sum(found.values()):
        raise Lost(f"{expected} were acknowledged, and the log, whose head is at {position}, holds {found}")


def _stored_bytes(url: str) -> int:
    if is_sqlite(url):
        file = Path(str(make_url(url).database))
        return sum(each.stat().st_size for each in file.parent.glob(f"{file.name}*"))
    return asyncio.run(_database_size(url))


async def _database_size(url: str) -> int:
    engine = open_engine(url)
    async with engine.connect() as connection:
        size: int = (await connection.execute(text("SELECT pg_database_size(current_database())"))).scalar_one()
    await engine.dispose()
    return size


def percentile(ordered: Sequence[float], percent: int) -> float:
    """The smallest value that so many per cent of all do not exceed."""
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]
