"""Ways in which a database goes away for a while, and comes back."""

import os
import resource
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psutil  # type: ignore[import-untyped]
from sqlalchemy import make_url

from tests.crash.postgresql import DurablePostgresql
from tests.server import Server

# Room for what the server logs meanwhile.
_LOG_BYTES: Final = 256 * 1024


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Another process's write transaction on a SQLite file, for as long as the block runs."""
    connection = sqlite3.connect(str(make_url(url).database), isolation_level=None, timeout=30)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
    finally:
        connection.close()


@contextmanager
def without_room(server: Server) -> Iterator[None]:
    """No file of the server's grows beyond a little more than its log: what a quota does, or almost a full disk."""
    limit = server.log.stat().st_size + _LOG_BYTES
    before = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, before)


@contextmanager
def stopped(postgresql: DurablePostgresql) -> Iterator[None]:
    """PostgreSQL was stopped at once, and is started again at the end of the block."""
    postgresql.stop_at_once()
    try:
        yield
    finally:
        postgresql.start()


@contextmanager
def frozen(postgresql: DurablePostgresql) -> Iterator[None]:
    """PostgreSQL's processes are there, take connections, and answer nothing, as behind a network that lost its way."""
    parent = psutil.Process(postgresql.pid)
    pids = [parent.pid, *(child.pid for child in parent.children(recursive=True))]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
