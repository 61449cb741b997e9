"""One server on a SQLite file: a second one would wait for the first at every write, and each serve what it remembers.

Commands that work beside a server ask for nothing here.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.command import CannotStart
from service.settings import Settings


@contextmanager
def serving_alone(settings: Settings) -> Iterator[None]:
    """Serve a SQLite file while the block runs. Raises `CannotStart` while another process does.

    On PostgreSQL nobody has to be alone. What says so on SQLite is a lock on a file beside it, which the system takes
    away when the process ends, however it does. The file stays: to remove it would let two processes lock two files of
    one name.
    """
    if settings.sqlite_file is None:
        yield
        return
    path = settings.sqlite_file.with_name(settings.sqlite_file.name + "-lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:  # Whoever opens the database next says what is wrong with the place.
        yield
        return
    try:
        _lock(descriptor, settings.sqlite_file)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, served: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        other = os.read(descriptor, 20).decode(errors="replace").strip()
        raise CannotStart(
            f"Another process ({other}) serves {served}, and SQLite is served by one: "
            "stop that one, or set DATABASE_URL to another file or to a PostgreSQL database."
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())
