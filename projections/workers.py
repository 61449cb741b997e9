"""Processes that fold parts of the log at once, each with connections of its own."""

import asyncio
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Final

from events.collector import spare_the_collector
from events.errors import LogError, Unavailable
from projections.replay import Part, Task, replay
from projections.tally import Tally

_PATIENCE_S: Final = 5.0


async def replay_all(
    task: Task, parts: Sequence[Part], *, processes: int, progress: Callable[[int], None]
) -> list[Tally]:
    """Fold these parts of the log, in so many processes or, when that is one, in this one.

    `progress` is called with numbers of events. What is left to do is dropped when one of the processes fails.
    """
    left = iter(parts)
    if processes == 1:
        return [await replay(task, part, progress=progress) for part in left]
    workers = [_Worker(task) for _ in range(processes)]
    try:
        async with asyncio.TaskGroup() as group:
            folding = [group.create_task(worker.take(left, progress)) for worker in workers]
        return [tally for done in folding for tally in done.result()]
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        for worker in workers:
            worker.stop()


class _Worker:
    def __init__(self, task: Task) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, task), name="rebuild", daemon=True)
        self._process.start()
        theirs.close()

    async def take(self, parts: Iterator[Part], progress: Callable[[int], None]) -> list[Tally]:
        """Have the process fold part after part until none is left."""
        tallies = []
        for part in parts:
            self._pipe.send(part)
            while isinstance(answer := await self._answer(), int):
                progress(answer)
            tallies.append(answer)
        return tallies

    async def _answer(self) -> int | Tally:
        try:
            answer: int | Tally | Exception = await asyncio.to_thread(self._pipe.recv)
        except (EOFError, OSError):
            raise Unavailable("a process that was folding the log ended before its time") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join(_PATIENCE_S)
        self._pipe.close()


def _work(pipe: Connection, task: Task) -> None:
    """What a worker's process does, until the one that started it ends it or is no more."""
    spare_the_collector()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The process that started this one is interrupted too.
    try:
        while True:
            pipe.send(asyncio.run(replay(task, pipe.recv(), progress=pipe.send)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except LogError as error:
        pipe.send(error)
