"""`python -m tests.streams`: readers that lose their connections see every event once, in order, or it ends with 1."""

import argparse
import asyncio
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.databases import Databases, PostgresqlServer, SqliteFiles, postgresql_url
from tests.server import Server
from tests.streams.campaign import Plan, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.streams", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="postgresql")
    parser.add_argument("--readers", type=int, default=200, help="how many follow the log at once")
    parser.add_argument("--writers", type=int, default=4, help="how many write at once")
    parser.add_argument("--batches", type=int, default=100, help="how many batches each of them sends")
    parser.add_argument("--restarts", type=int, default=2, help="how often the server is stopped and started")
    parser.add_argument("--patience", type=float, default=600, help="seconds")
    given = parser.parse_args()
    plan = Plan(given.readers, given.writers, given.batches, restarts=given.restarts, patience_s=given.patience)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        databases: Databases = SqliteFiles(directory)
        if given.database == "postgresql":
            databases = PostgresqlServer(stack.enter_context(postgresql_url()))
        options = ["--workers", "2"] if given.database == "postgresql" else []
        server = stack.enter_context(Server(databases.migrated(), directory, options=options))
        report = asyncio.run(run(server, plan))
    print(report)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
