"""A PostgreSQL that can index words: one with `pg_trgm`, which the wheel's has not."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.databases import POSTGRES_OPTIONS, quick_directory

# Where Debian and its like keep the programs of each version.
PROGRAMS = "/usr/lib/postgresql/*/bin/initdb"
USER = "postgres"


@contextmanager
def trigrams_url() -> Iterator[str]:
    """The URL of a server with `pg_trgm`: TEST_POSTGRES_URL, or the system's, started for the tests. Else they skip."""
    given = os.environ.get("TEST_POSTGRES_URL")
    initdb = next(reversed(sorted(Path("/").glob(PROGRAMS.removeprefix("/")))), None)
    if given and asyncio.run(_has_trigrams(given)):
        yield given
    elif initdb is not None:
        with _system_server(initdb.parent) as url:
            yield url
    else:
        pytest.skip("needs a PostgreSQL with pg_trgm: TEST_POSTGRES_URL, or the system's package postgresql")


async def _has_trigrams(url: str) -> bool:
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), poolclass=NullPool)
    async with engine.connect() as connection:
        rows = await connection.execute(text("SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'"))
        return rows.first() is not None


@contextmanager
def _system_server(programs: Path) -> Iterator[str]:
    """A server at a socket in a directory of its own. As root it runs as the user that the package made."""
    user = USER if os.geteuid() == 0 else None
    with quick_directory() as directory:
        data = Path(directory, "data")
        if user is not None:
            shutil.chown(directory, user)
        _run([programs / "initdb", "--auth=trust", "--encoding=UTF8", "--locale=C", f"--username={USER}", data], user)
        options = {**POSTGRES_OPTIONS, "unix_socket_directories": str(directory), "listen_addresses": ""}
        with Path(data, "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{name} = '{value}'\n" for name, value in options.items())
        control: list[Path | str] = [programs / "pg_ctl", "--pgdata", data, "--wait"]
        _run([*control, "--log", Path(directory, "log"), "start"], user)
        try:
            yield f"postgresql+asyncpg://{USER}@/postgres?host={directory}"
        finally:
            _run([*control, "--mode=immediate", "stop"], user)


def _run(command: Sequence[Path | str], user: str | None) -> None:
    subprocess.run(command, user=user, check=True, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
