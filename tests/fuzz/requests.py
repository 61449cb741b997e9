"""Requests made from the API's document, thousands of them: `python -m tests.fuzz.requests`."""

import tempfile
from pathlib import Path

import click
from schemathesis.core.failures import FailureGroup

from tests.benchmarks.throughput import SYSTEMS, System, place_of
from tests.fuzz.operations import exercise, fill, operations
from tests.server import Server


@click.command(context_settings={"show_default": True})
@click.option("--examples", default=200, help="Requests of each kind for each operation.")
@click.option("--database", type=click.Choice(SYSTEMS), default="sqlite")
@click.option("--only", default="", help="Only operations whose method and path have this in them.")
def main(examples: int, database: System, only: str) -> None:
    """Send what the document of the API allows and what it does not, and hold every answer against it."""
    wrong = 0
    with place_of(database) as place, tempfile.TemporaryDirectory() as directory:
        url = place.databases.migrated()
        with Server(url, Path(directory)) as server:
            known = fill(server.url)
            for operation in operations(server.url):
                if only not in operation.label:
                    continue
                try:
                    exercise(operation, server.url, known, examples=examples)
                    click.echo(f"as documented: {operation.label}")
                except FailureGroup as failures:
                    wrong += 1
                    click.echo(f"WRONG: {operation.label}: {failures.exceptions}")
        place.databases.drop(url)
    if wrong:
        raise click.ClickException(f"{wrong} operations do not answer as documented")


if __name__ == "__main__":
    main()
