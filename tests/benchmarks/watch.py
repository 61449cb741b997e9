"""What a process and those below it use: processor time, and memory at its highest."""

import statistics
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import psutil  # type: ignore[import-untyped]

_SAMPLE_S: Final = 0.25


class Watch:
    """Watches processes, known by their ids, with their children, while the block runs.

    `cpu_seconds` is what they used in it, user and system. `memory_bytes` is the highest sum of their resident sets,
    looked at four times a second: to look costs milliseconds, which are those of a core that is watched.
    `memory_growth_bytes` is by how much more of it there was in the last fifth of the time than in the second.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._processes = [psutil.Process(pid) for pid in pids]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._cpu_before = 0.0
        self._memory_samples: list[int] = []
        self.cpu_seconds = 0.0

    def __enter__(self) -> Self:
        self._cpu_before = self._cpu()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cpu_seconds = self._cpu() - self._cpu_before
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            self._memory_samples.append(self._memory())

    @property
    def memory_bytes(self) -> int:
        return max(self._memory_samples, default=0)

    @property
    def memory_growth_bytes(self) -> int:
        fifth = len(self._memory_samples) // 5
        if not fifth:
            return 0
        begun, ending = self._memory_samples[fifth : 2 * fifth], self._memory_samples[-fifth:]
        return int(statistics.median(ending) - statistics.median(begun))

    def _memory(self) -> int:
        total = 0
        for process in self._all():
            with suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
        return total

    def _cpu(self) -> float:
        total = 0.0
        for process in self._processes:
            times = process.cpu_times()  # With those children that have ended; the others are added below.
            total += times.user + times.system + times.children_user + times.children_system
            for child in process.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    used = child.cpu_times()
                    total += used.user + used.system
        return total

    def _all(self) -> list[psutil.Process]:
        return [each for process in self._processes for each in (process, *process.children(recursive=True))]
