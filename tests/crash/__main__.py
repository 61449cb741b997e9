"""`python -m tests.crash`: kills servers and databases under load, and says what was lost. Ends with 1 if any was."""

import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

from tests.benchmarks.throughput import SYSTEMS, System
from tests.crash.campaign import Campaign, Crash
from tests.crash.postgresql import durable_postgresql
from tests.databases import PostgresqlServer, SqliteFiles

OUTAGES: Final[dict[System, list[Crash]]] = {
    "sqlite": [Crash.LOCKED, Crash.FULL],
    "postgresql": [Crash.AWAY, Crash.FROZEN],
}


@click.command(context_settings={"show_default": True})
@click.option("--database", type=click.Choice(SYSTEMS), default="sqlite")
@click.option("--kills", type=int, help="kill -9 of the server.  [default: 100 on SQLite, 20 on PostgreSQL]")
@click.option("--backends", type=int, help="Ends of PostgreSQL's backends.  [default: 10 on PostgreSQL]")
@click.option("--stops", type=int, help="Immediate stops of PostgreSQL.  [default: 5 on PostgreSQL]")
@click.option("--outages", type=int, default=0, help="Outages of each kind that the database knows.")
@click.option("--outage-seconds", type=float, default=20.0, help="How long each lasts.")
@click.option("--workers", type=int, help="Processes of the server.  [default: 1 on SQLite, 2 on PostgreSQL]")
@click.option("--seed", default=1, help="What requests and moments are made from.")
def main(
    database: System,
    kills: int | None,
    backends: int | None,
    stops: int | None,
    outages: int,
    outage_seconds: float,
    workers: int | None,
    seed: int,
) -> None:
    """Kill a server under load, again and again, and look each time for what it lost."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # So that servers are stopped then, too.
    on_sqlite = database == "sqlite"
    if on_sqlite and (backends or stops):
        raise click.UsageError("--backends and --stops are for PostgreSQL: SQLite has no process of its own.")
    crashes = planned_crashes(
        kills=(100 if on_sqlite else 20) if kills is None else kills,
        backends=(0 if on_sqlite else 10) if backends is None else backends,
        stops=(0 if on_sqlite else 5) if stops is None else stops,
    )
    crashes += OUTAGES[database] * outages
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="agent-spy-")))
        postgresql = None if on_sqlite else stack.enter_context(durable_postgresql())
        databases = PostgresqlServer(postgresql.url) if postgresql else SqliteFiles(directory)
        stack.callback(databases.close)
        campaign = Campaign(
            databases,
            directory,
            seed=seed,
            workers=(1 if on_sqlite else 2) if workers is None else workers,
            postgresql=postgresql,
            outage_s=outage_seconds,
            report=click.echo,
        )
        tally = campaign.run(crashes)
    for line in tally.lines():
        click.echo(line)
    sys.exit(1 if tally.wrong else 0)


def planned_crashes(*, kills: int, backends: int, stops: int) -> list[Crash]:
    """That many crashes of each kind. Of the ends of backends, every other one is a `kill -9`."""
    ends = [Crash.BACKEND if number % 2 else Crash.TERMINATED for number in range(backends)]
    return [Crash.SERVER] * kills + ends + [Crash.POSTGRESQL] * stops


if __name__ == "__main__":
    main()
