"""Ways in which a database goes away for a while, and comes back."""

import os
import resource
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import Final

import psutil  # type: ignore[import-untyped]
from sqlalchemy import make_url

from tests.crash.postgresql import DurablePostgresql
from tests.server import Server

# Room for what the server logs meanwhile.
_LOG_BYTES: Final = 256 * 1024
_DISK_BYTES: Final = 8_000_000
# In a namespace of its own a process may mount what it likes, and what it mounted goes when it ends. Who is not root
# needs one of users as well, which not every system gives.
_NAMESPACES: Final = (("unshare", "--mount"), ("unshare", "--map-root-user", "--mount"))
_MOUNT: Final = f'mount -t tmpfs -o size={_DISK_BYTES} tmpfs "$0" && exec "$@"'


@dataclass(frozen=True)
class SmallDisk:
    """A file system with room for 8 MB at `path`, which only processes in its namespace see.

    A command that is added to `namespace` is run there, and keeps its process id.
    """

    path: Path
    namespace: Sequence[str]
    said: Final = "is full"

    @contextmanager
    def without_room(self, server: Server) -> Iterator[None]:
        """No room is left on the disk of a server for as long as the block runs."""
        filling = Path(f"/proc/{server.pid}/root{self.path}/filling")
        with suppress(OSError), filling.open("wb", buffering=0) as file:
            while file.write(bytes(64 * 1024)):
                pass
        try:
            yield
        finally:
            filling.unlink()


@dataclass(frozen=True)
class Quota:
    """A disk of which a server may soon use no more, on any system and without any right."""

    path: Path
    namespace: Sequence[str] = ()
    said: Final = "took no write: is it full, or a quota reached?"

    @contextmanager
    def without_room(self, server: Server) -> Iterator[None]:
        """No file of a server's can grow for as long as the block runs."""
        with without_room(server):
            yield


def tight_disks() -> dict[str, Callable[[Path], SmallDisk | Quota]]:
    """What makes a disk at an empty directory: a quota, and a full file system where a process may mount one."""
    mounts = ((*namespace, "sh", "-c", _MOUNT) for namespace in _NAMESPACES)
    mount = next((mount for mount in mounts if _runs(*mount, gettempdir(), "true")), None)
    disks: dict[str, Callable[[Path], SmallDisk | Quota]] = {"quota": Quota}
    return disks if mount is None else {**disks, "disk": lambda path: SmallDisk(path, (*mount, str(path)))}


def _runs(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


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
