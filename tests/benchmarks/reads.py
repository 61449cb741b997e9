"""`python -m tests.benchmarks.reads`: how long reads take, over HTTP, in a store of very many runs."""

import asyncio
import signal
import statistics
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import click

from events.dialect import open_engine
from events.reading import read_end
from projections.rebuild import rebuild
from service.migration import upgrade
from tests.benchmarks.load import Client
from tests.benchmarks.logs import fill_with
from tests.benchmarks.stalls import probe
from tests.benchmarks.throughput import SYSTEMS, System, in_own_process, percentile, place_of
from tests.benchmarks.traffic import PROJECTS, RUNS_PER_TRACE, Document, make_runs, make_trace
from tests.benchmarks.watch import Watch
from tests.server import Server

_TREES: Final = (RUNS_PER_TRACE, 2_000, 25_000)
_RARE_NAME: Final = "refund triage"
_RARE_TRACES: Final = 40
_REST_S: Final = 2.0
_BYTES_PER_MB: Final = 1_000_000
_PROBED: Final = 10
_ASKED_LESS: Final = 8  # What takes longest is asked so many times less often.


class Spent(NamedTuple):
    """Milliseconds until an answer was there, and its size."""

    p50_ms: float
    p95_ms: float
    answer_bytes: int


@click.command(context_settings={"show_default": True})
@click.option("--runs", default=100_000, help="Runs in the store, all in traces of ten but two large ones.")
@click.option("--asks", default=200, help="How often to ask for each.")
@click.option("--database", type=click.Choice(SYSTEMS), default="sqlite")
@click.option("--only", default="", help="Ask only for what has this in its name.")
@click.option("--url", help="A database of one's own instead, which is filled when it is empty, and kept.")
def main(runs: int, asks: int, database: System, only: str, url: str | None) -> None:
    """Fill a store, start a server on it, and ask for what people look at."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # So that the server is stopped then, too.
    with store_of(database, url) as (store, directory):
        asyncio.run(fill(store, runs))
        server = Server(store, directory)
        began = time.perf_counter()
        try:
            server.start()
            click.echo(f"first healthy answer after {time.perf_counter() - began:.2f} s")
            with Watch([server.pid]) as idle:
                time.sleep(_REST_S)
            click.echo(f"idle memory {idle.memory_bytes / _BYTES_PER_MB:.0f} MB")
            for name, path in ((name, path) for name, path in _paths().items() if only in name):
                times = max(asks // _ASKED_LESS, 1) if "25,000" in name else asks
                with Watch([server.pid]) as used:
                    spent = in_own_process(_ask, server.url, path, times)
                cpu_ms = 1000 * used.cpu_seconds / (times + 1)
                _print(name, spent, cpu_ms, in_own_process(_slowest_meanwhile, server.url, path))
        finally:
            server.stop()


@contextmanager
def store_of(system: System, url: str | None) -> Iterator[tuple[str, Path]]:
    """The URL of a store, a new one or that of `url`, and a place for files. The new one is gone after the block."""
    if url is None:
        with place_of(system) as place:
            yield place.databases.migrated(), place.directory
        return
    with TemporaryDirectory(prefix="agent-spy-") as directory:
        asyncio.run(upgrade(url))
        yield url, Path(directory)


async def fill(url: str, runs: int) -> None:
    """Tell the runs, and make the read models as a rebuild does, which is as ingest would have made them.

    A store that holds something is left as it is.
    """
    engine = open_engine(url)
    async with engine.connect() as connection:
        is_filled = (await read_end(connection)).position > 0
    await engine.dispose()
    if is_filled:
        return
    began = time.monotonic()
    await fill_with(url, _documents(runs))
    told = time.monotonic() - began
    await rebuild(url, rule="documented")
    click.echo(f"{runs:,} runs told in {told:.0f} s, folded in {time.monotonic() - began - told:.0f} s")


def _documents(count: int) -> Iterator[Document]:
    """The large traces and those with a rare name, then the usual ones."""
    for size in _TREES:
        yield from (run.merged for run in make_trace(size, seed=size))
    for number in range(_RARE_TRACES):
        for run in make_trace(RUNS_PER_TRACE, seed=10**6 + number):
            yield {**run.merged, "name": _RARE_NAME} if run.post["parent_run_id"] is None else run.merged
    for run in make_runs(count - sum(_TREES) - _RARE_TRACES * RUNS_PER_TRACE, seed=1):
        yield run.merged


def _paths() -> Mapping[str, str]:
    roots = "/api/v1/dashboard/runs/roots?limit=50"
    trees = {size: next(make_trace(size, seed=size)).id for size in _TREES}
    return {
        "traces, first page": roots,
        "traces of a project and status": f"{roots}&project={PROJECTS[0]}&status=failed",
        "traces of a project and status, previews": f"{roots}&project={PROJECTS[0]}&status=failed&preview=true",
        "traces at offset 5,000": f"{roots}&offset=5000",
        "traces at offset 2,500 of a project": f"{roots}&offset=2500&project={PROJECTS[0]}",
        "search by a rare name": f"{roots}&search=refund",
        "search by a name that most have": f"{roots}&search=agentex",
        "search by no name": f"{roots}&search=nobody",
        "a run": f"/api/v1/runs/{trees[RUNS_PER_TRACE]}",
        **{f"tree of {size:,}": f"/api/v1/dashboard/runs/{id_}/hierarchy" for size, id_ in trees.items()},
        "statistics": "/api/v1/dashboard/stats/summary",
        "1,000 traces": roots.replace("50", "1000"),
    }


def _ask(url: str, path: str, times: int) -> Spent:
    """Ask so often, the first time uncounted. For a process of its own."""
    client = Client(url)
    size = len(client.get(path))
    spent: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        client.get(path)
        spent.append(1000 * (time.perf_counter() - began))
    client.close()
    return Spent(statistics.median(spent), percentile(sorted(spent), 95), size)


def _slowest_meanwhile(url: str, path: str) -> float:
    """The longest that `/health/live` took, in ms, while the same was asked a few times. For a process of its own."""
    answers: list[float] = []
    ended = threading.Event()
    prober = threading.Thread(target=probe, args=(url, ended, answers))
    client = Client(url)
    prober.start()
    try:
        for _ in range(_PROBED):
            client.get(path)
    finally:
        ended.set()
        prober.join()
        client.close()
    return 1000 * max(answers, default=0.0)


def _print(name: str, spent: Spent, cpu_ms: float, stall_ms: float) -> None:
    click.echo(
        f"{name:<45} p50 {spent.p50_ms:8.2f} ms   p95 {spent.p95_ms:8.2f} ms   server CPU {cpu_ms:7.2f} ms   "
        f"/health/live at worst {stall_ms:6.1f} ms   {spent.answer_bytes / 1000:10,.1f} KB"
    )


if __name__ == "__main__":
    main()
