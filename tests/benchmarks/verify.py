"""`python -m tests.benchmarks.verify`: how many events a second `agent-spy verify` checks, and in how much memory."""

import asyncio
import os
import resource
import time
from typing import Final

import click

from events.verification import Report, verify
from tests.benchmarks.logs import fill
from tests.events.tampering import database_of

_KIB_PER_MB: Final = 1024
_US_PER_SECOND: Final = 1_000_000


@click.command(context_settings={"show_default": True})
@click.option("--events", default=200_000, help="Events in the log: a POST and a PATCH of each run.")
@click.option("--database", type=click.Choice(("sqlite", "postgresql")), default="sqlite")
@click.option("--processes", default=os.cpu_count() or 1, help="Processes that check.")
@click.option("--repeat", default=3, help="How often to verify.")
def main(events: int, database: str, processes: int, repeat: int) -> None:
    """Fill a log, and verify it."""
    with database_of(database) as url:
        begun = time.monotonic()
        asyncio.run(fill(url, events))
        click.echo(f"{database}: {events:,} events told in {time.monotonic() - begun:.0f} s")
        for _ in range(repeat):
            cpu_before = _cpu_seconds()
            report: Report = asyncio.run(verify(url, processes=processes))
            cpu = (_cpu_seconds() - cpu_before) / report.rows["events"] * _US_PER_SECOND
            if not report.is_whole:
                raise click.ClickException(str(report.findings[0]))
            peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            speed = report.rows["events"] / report.seconds
            click.echo(
                f"{speed:,.0f} events/s by {processes} processes ({report.seconds:.1f} s), "
                f"{cpu:.1f} µs of CPU an event, {peak / _KIB_PER_MB:,.0f} MB at most in one"
            )


def _cpu_seconds() -> float:
    """What this process and those it started have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


if __name__ == "__main__":
    main()
