"""Processes that fold parts of the log at once, each with connections of its own."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection

from events.processes import Process
from projections.replay import Part, Task, replay
from projections.tally import Tally


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
        self._process = Process(_work, task)

    async def take(self, parts: Iterator[Part], progress: Callable[[int], None]) -> list[Tally]:
        """Have the process fold part after part until none is left."""
        tallies: list[Tally] = []
        for part in parts:
            self._process.ask(part)
            while isinstance(answer := await self._process.answer(), int):
                progress(answer)
            tallies.append(answer)
        return tallies

    def stop(self) -> None:
        """End the process, whatever it does."""
        self._process.stop()


def _work(pipe: Connection, task: Task) -> None:
    """What a worker's process does, until the one that started it ends it or is no more."""
    while True:
        pipe.send(asyncio.run(replay(task, pipe.recv(), progress=pipe.send)))
