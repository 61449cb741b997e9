"""`python -m tests.benchmarks.rebuild`: how many events a second a rebuild folds, and in how much memory."""

import asyncio
import itertools
import os
import time
from typing import Final

import click

from projections.rebuild import Progress, Result, rebuild
from tests.benchmarks.logs import fill
from tests.benchmarks.throughput import SYSTEMS, System, place_of
from tests.benchmarks.watch import Watch

_BYTES_PER_MB: Final = 1_000_000
_US_PER_S: Final = 1_000_000


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
        asyncio.run(fill(url, events))
        click.echo(f"{database}: {events:,} events told in {time.monotonic() - begun:.0f} s")
        for _ in range(repeat):
            steps = _Steps()
            with Watch(place.pids) as used_by_database, Watch([os.getpid()]) as used:
                result = asyncio.run(_rebuild(url, processes, steps))
            made = result.events / result.fold_seconds
            memory = used.memory_bytes / _BYTES_PER_MB
            click.echo(
                f"{result.outcome}: {made:,.0f} events/s until made, {result.events / steps.until_swapped:,.0f} until "
                f"swapped; {used.cpu_seconds / result.events * _US_PER_S:.1f} µs of CPU an event, "
                f"{used_by_database.cpu_seconds / result.events * _US_PER_S:.1f} in the database server; "
                f"{memory:,.0f} MB in all processes; {steps}"
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


if __name__ == "__main__":
    main()
