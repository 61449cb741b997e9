"""Rebuilds that somebody asked for over HTTP: each runs in a process of its own, so that the server goes on serving.

How far one is, and whether it is to be cancelled, is in the table `rebuilds`: every worker can tell, whichever runs it.
"""

import asyncio
import logging
import multiprocessing
import signal
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Final, Self

from events.dialect import open_writer
from events.errors import LogError
from projections import rebuilds
from projections.rebuild import Progress, RebuildCancelled, Result, rebuild
from projections.status import StatusRule
from service.logs import configure_logging
from service.settings import LogFormat, LogLevel, Settings

log = logging.getLogger(__name__)

# How long a rebuild may take, when the server stops, to drop what it made.
_PATIENCE_S: Final = 3.0


class RebuildJobs:
    """The processes of the rebuilds that this server runs. They end with it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._processes: list[tuple[int, SpawnProcess]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Have what still runs end, and end it if it does not."""
        for _, process in self._running():
            process.terminate()
        for _, process in self._processes:
            process.join(_PATIENCE_S)
            if process.is_alive():
                process.kill()
                process.join()

    def start(self, rebuild_id: int) -> None:
        """Carry out a rebuild that was begun, in a process of its own."""
        self._processes = self._running()
        settings = self._settings
        process = multiprocessing.get_context("spawn").Process(
            target=_run,
            args=(settings.database_url, settings.status_rule, rebuild_id, settings.log_level, settings.log_format),
            name=f"rebuild {rebuild_id}",
        )
        process.start()
        self._processes.append((rebuild_id, process))

    def _running(self) -> list[tuple[int, SpawnProcess]]:
        return [(rebuild_id, process) for rebuild_id, process in self._processes if process.is_alive()]


def _run(url: str, rule: StatusRule, rebuild_id: int, level: LogLevel, form: LogFormat) -> None:
    """What the process of a rebuild does."""
    configure_logging(level, form)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The server is interrupted too, and ends this process.
    try:
        result = asyncio.run(_rebuild(url, rule, rebuild_id))
    except RebuildCancelled as error:
        log.warning("Rebuild %d was cancelled: %s", rebuild_id, error)
    except LogError as error:
        log.error("Rebuild %d failed: %s", rebuild_id, error)
    else:
        log.info("Rebuild %d: %s, %d events in %.1f s", rebuild_id, result.outcome, result.events, result.seconds)


async def _rebuild(url: str, rule: StatusRule, rebuild_id: int) -> Result:
    server = multiprocessing.parent_process()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)

    def look(_: Progress) -> None:
        if stopped.is_set() or (server is not None and not server.is_alive()):
            raise RebuildCancelled("the server that ran it was stopped")

    return await rebuild(url, rule=rule, rebuild_id=rebuild_id, progress=look)


async def begin(url: str, order: rebuilds.Order, *, fold_version: str, now: int) -> int:
    """Begin a rebuild that another process will carry out, and return its number. Raises `RebuildRunning`."""
    writer = open_writer(url)
    try:
        async with writer.transaction():
            return await rebuilds.begin(writer, order, fold_version=fold_version, now=now)
    finally:
        await writer.close()


async def cancel(url: str, rebuild_id: int) -> None:
    """Ask whichever process runs a rebuild to end it."""
    writer = open_writer(url)
    try:
        async with writer.transaction():
            await rebuilds.ask_to_cancel(writer, rebuild_id)
    finally:
        await writer.close()
