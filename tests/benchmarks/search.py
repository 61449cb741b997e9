"""`python -m tests.benchmarks.search`: what the index of words costs, and how fast searches are with it and without."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Final

import click
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from events.dialect import is_sqlite, open_engine, open_writer
from projections import fulltext, queries
from projections.filters.conditions import SEARCHED, Search
from projections.queries import NO_INDEX, RunQuery
from projections.rebuild import rebuild
from tests.benchmarks import logs
from tests.benchmarks.throughput import SYSTEMS, System, place_of
from tests.benchmarks.traffic import Run

# Every so many runs one tells of an animal.
_ANIMALS: Final = {10: "Pelikan", 100: "wombat", 1_000: "ζέβρα", 10_000: "中华鲟", 100_000: "axolotl"}
_PAGE_RUNS: Final = 100
_US_BETWEEN_COMMITS: Final = 50_000_000  # 500 runs are of 50 traces, which start a second apart
_PATIENCE_S: Final = 30.0


@click.command(context_settings={"show_default": True})
@click.option("--runs", default=100_000, help="Runs to index and search.")
@click.option("--database", type=click.Choice(SYSTEMS), default="sqlite")
@click.option("--repeat", default=20, help="How often each word is looked for.")
def main(runs: int, database: System, repeat: int) -> None:
    """Fill a log, index its words, and look for some that many or few runs hold."""
    with place_of(database) as place:
        url = place.databases.migrated()
        try:
            asyncio.run(_measure(url, runs, repeat))
        finally:
            place.databases.drop(url)


async def _measure(url: str, runs: int, repeat: int) -> None:
    await logs.fill(url, 2 * runs, change=_tell_of_animals, us_between_commits=_US_BETWEEN_COMMITS)
    await rebuild(url, rule="documented", processes=2)
    engine = open_engine(url)
    try:
        await _index(url, engine, runs)
        for every, animal in _ANIMALS.items():
            if every <= runs:
                click.echo(f"{animal}, 1 run in {every:,}: {await _search(engine, animal, repeat)}")
        click.echo(f"found nowhere: {await _search(engine, 'quetzalcoatl', repeat)}")
    finally:
        await engine.dispose()


def _tell_of_animals(number: int, run: Run) -> Run:
    told = [animal for every, animal in _ANIMALS.items() if number % every == every // 2]
    return Run(run.id, {**run.post, "inputs": {**run.post["inputs"], "animals": told}}, run.patch)


async def _index(url: str, engine: AsyncEngine, runs: int) -> None:
    """Have the index follow the log, and tell what that cost."""
    writer = open_writer(url, is_durable=False)
    steps: list[float] = []
    began_cpu = time.process_time()
    try:
        if not await fulltext.prepare(writer):
            raise click.ClickException("this PostgreSQL has no pg_trgm: name one that has by TEST_POSTGRES_URL")
        step = "added"
        while step == "added":
            began = time.monotonic()
            step = await fulltext.follow(engine, writer)
            steps.append(time.monotonic() - began)
    finally:
        await writer.close()
    cpu = (time.process_time() - began_cpu) / runs * 1e6
    size = await _size(url, engine) / runs
    steps.sort()
    click.echo(
        f"{runs:,} runs: {sum(steps) / runs * 1e6:,.0f} µs a run ({cpu:,.0f} µs of it this process's CPU), "
        f"{size:,.0f} bytes a run; a step took {statistics.median(steps) * 1e3:.0f} ms, "
        f"at most {steps[-1] * 1e3:.0f} ms, one in a hundred {steps[-len(steps) // 100] * 1e3:.0f} ms"
    )


async def _size(url: str, engine: AsyncEngine) -> int:
    query = "SELECT pg_total_relation_size('full_text')"
    if is_sqlite(url):
        query = "SELECT sum(length(block)) FROM full_text_data"
    async with engine.connect() as connection:
        return int((await connection.execute(text(query))).scalar_one())


async def _search(engine: AsyncEngine, word: str, repeat: int) -> str:
    query = RunQuery(condition=Search(SEARCHED, word))

    async def indexed() -> int:
        async with engine.connect() as connection:
            index = await fulltext.open_index(connection, [query.condition])
            return len((await queries.find(connection, query, limit=_PAGE_RUNS, index=index)).runs)

    async def looked_into() -> int:
        async with engine.connect() as connection:
            return len((await queries.find(connection, query, limit=_PAGE_RUNS, index=NO_INDEX)).runs)

    found, times = await _timed(indexed, repeat)
    p50, p95 = statistics.median(times), sorted(times)[int(0.95 * (len(times) - 1))]
    try:
        async with asyncio.timeout(_PATIENCE_S):
            _, (slow, *_) = await _timed(looked_into, 1)
    except TimeoutError:
        slow = _PATIENCE_S
    return f"{found} found, p50 {p50 * 1e3:.1f} ms, p95 {p95 * 1e3:.1f} ms; without the index {slow * 1e3:,.0f} ms"


async def _timed(search: Callable[[], Awaitable[int]], repeat: int) -> tuple[int, list[float]]:
    times = []
    found = 0
    for _ in range(repeat):
        began = time.monotonic()
        found = await search()
        times.append(time.monotonic() - began)
    return found, times


if __name__ == "__main__":
    main()
