"""`python -m tests.benchmarks.rebuild`: how many events a second a rebuild folds, and in how much memory."""

import asyncio
import itertools
import os
import time
from collections.abc import Iterator
from typing import Final

import click
import orjson

from events.dialect import open_writer
from events.ids import parse_id
from events.kinds import RunPatched, RunPosted, run_fields, run_stream
from events.log import NewEvent, Submission, append, lock_head, seal
from events.receipts import Origin
from projections.rebuild import Progress, Result, rebuild
from tests.benchmarks.throughput import SYSTEMS, System, place_of
from tests.benchmarks.traffic import Document, make_runs
from tests.benchmarks.watch import Watch

_UNFOLDED: Final = "unfolded"
_EVENTS_A_COMMIT: Final = 1000
_NOW_US: Final = 1_767_225_600_000_000
_BYTES_PER_MB: Final = 1_000_000


@click.command(context_settings={"show_default": True})
@click.option("--events", default=200_000, help="Events in the log: a POST and a PATCH of each run.")
@click.option("--database", type=click.Choice(SYSTEMS), default="sqlite")
@click.option("--processes", default=2, help="Processes that fold.")
@click.option("--repeat", default=2, help="How often to rebuild. The first makes the tables, the others also compare.")
def main(events: int, database: System, processes: int, repeat: int) -> None:
    """Fill a log, and rebuild every read model from it."""
    with place_of(database) as place:
        url = place.databases.migrated()
        begun = time.monotonic()
        asyncio.run(_fill(url, events))
        click.echo(f"{database}: {events:,} events told in {time.monotonic() - begun:.0f} s")
        for _ in range(repeat):
            steps = _Steps()
            with Watch([os.getpid()]) as used:
                result = asyncio.run(_rebuild(url, processes, steps))
            made = result.events / result.fold_seconds
            memory = used.memory_bytes / _BYTES_PER_MB
            click.echo(
                f"{result.outcome}: {made:,.0f} events/s until made, {result.events / steps.until_swapped:,.0f} until "
                f"swapped; {memory:,.0f} MB in all processes; {steps}"
            )
        place.databases.drop(url)


class _Steps:
    """The seconds at which each step began."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        self._begun.setdefault(progress.step, progress.seconds)
        self._last = progress.seconds

    @property
    def until_swapped(self) -> float:
        """How long it took until the read models were replaced."""
        return self._begun.get("swapped", self._last)

    def __str__(self) -> str:
        begun = [*self._begun.items(), ("end", self._last)]
        return ", ".join(f"{name} {end - at:.1f} s" for (name, at), (_, end) in itertools.pairwise(begun))


async def _rebuild(url: str, processes: int, steps: _Steps) -> Result:
    return await rebuild(url, rule="documented", processes=processes, progress=steps)


async def _fill(url: str, count: int) -> None:
    """Append so many events. Nothing is folded: the first rebuild does that."""
    writer = open_writer(url, is_durable=False)
    events = itertools.islice(_events(count // 2 + 1), count)
    try:
        while commit := list(itertools.islice(events, _EVENTS_A_COMMIT)):
            async with writer.transaction():
                head = await lock_head(writer, fold_version=_UNFOLDED)
                await append(writer, head, [Submission(Origin(endpoint="benchmark"), commit)], now=_NOW_US)
    finally:
        await writer.close()


def _events(runs: int) -> Iterator[NewEvent]:
    for run in make_runs(runs, seed=1):
        yield _sealed(RunPosted, run.post)
        yield _sealed(RunPatched, {**run.patch, "id": run.id})


def _sealed(event: type[RunPosted] | type[RunPatched], document: Document) -> NewEvent:
    payload = orjson.dumps(document)
    run_id = parse_id(document["id"])
    assert run_id is not None
    return seal(event.__name__, run_stream(run_id), payload, event(run_id, run_fields(payload)))


if __name__ == "__main__":
    main()
