"""A real SDK that traces while the database is away: `python -m tests.crash.sdks` does it for as long as is asked."""

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
import httpx

from tests.benchmarks.throughput import SYSTEMS, System
from tests.crash import outages
from tests.crash.postgresql import DurablePostgresql, durable_postgresql
from tests.databases import Databases, PostgresqlServer, SqliteFiles
from tests.sdk.environments import JS_CLIENTS, PYTHON_CLIENTS, installed
from tests.server import Server

CLIENTS: Final = (PYTHON_CLIENTS[0], JS_CLIENTS[0])
_BEFORE_S: Final = 1.0
_AFTER_S: Final = 1.0


def send_through_outage(
    clients: Sequence[str], databases: Databases, directory: Path, *, outage: "Outage", outage_s: float
) -> dict[str, list[str]]:
    """Have SDKs trace while the database goes away for so many seconds; the ids of the runs that each lost."""
    url = databases.migrated()
    try:
        with Server(url, directory) as server, ThreadPoolExecutor(len(clients)) as threads:
            sending = {name: threads.submit(_trace, name, server, directory, outage_s) for name in clients}
            time.sleep(_BEFORE_S)
            with outage.on(url, server):
                time.sleep(outage_s)
            return {name: _lost(sent.result(), server) for name, sent in sending.items()}
    finally:
        databases.drop(url)


class Outage:
    """What makes a database go away: PostgreSQL is stopped, a SQLite file is locked."""

    def __init__(self, postgresql: DurablePostgresql | None) -> None:
        self._postgresql = postgresql

    def on(self, url: str, server: Server) -> AbstractContextManager[None]:
        """The outage, for as long as a block runs."""
        return outages.stopped(self._postgresql) if self._postgresql else outages.locked(url)


def _trace(client_name: str, server: Server, directory: Path, outage_s: float) -> list[str]:
    environ = {
        "PATH": os.defpath,
        "HOME": str(directory),
        "LANG": "C.UTF-8",
        "LANGSMITH_ENDPOINT": server.url + "/api/v1",
        "LANGSMITH_API_KEY": "test",
        "LANGSMITH_TRACING": "true",
    }
    driver = "steady.mjs" if client_name in JS_CLIENTS else "steady.py"
    seconds = _BEFORE_S + outage_s + _AFTER_S
    ids: list[str] = installed(client_name).run(driver, environ, directory, {"seconds": seconds})["ids"]
    if len(ids) < seconds:
        raise RuntimeError(f"{client_name} made {len(ids)} runs only, in {seconds} s")
    return ids


def _lost(ids: Sequence[str], server: Server) -> list[str]:
    """The runs that are not there, or whose end is not."""
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
        answers = {id_: client.get(f"/runs/{id_}") for id_ in ids}
    return [id_ for id_, found in answers.items() if found.status_code != 200 or not found.json()["end_time"]]


@click.command(context_settings={"show_default": True})
@click.option("--database", type=click.Choice(SYSTEMS), default="sqlite")
@click.option("--seconds", default=20.0, help="How long the database is away.")
def main(database: System, seconds: float) -> None:
    """Have the newest Python and JavaScript SDKs trace while the database is away, and count what they lost."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="agent-spy-")))
        postgresql = stack.enter_context(nullcontext() if database == "sqlite" else durable_postgresql())
        databases = PostgresqlServer(postgresql.url) if postgresql else SqliteFiles(directory)
        stack.callback(databases.close)
        lost = send_through_outage(CLIENTS, databases, directory, outage=Outage(postgresql), outage_s=seconds)
    for name, ids in lost.items():
        click.echo(f"{database} away for {seconds:g} s: {name} lost {len(ids)} runs")
    sys.exit(1 if any(lost.values()) else 0)


if __name__ == "__main__":
    main()
