"""Processes that share work: each is asked over a pipe, and answers over it.

They begin with nothing but what their work imports. `multiprocessing` would have each of them import anew the program
that started it: for `agent-spy` the whole service, which took each 2 s of processor time (seen), as much as the work.
"""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection, Pipe
from typing import Any, Final

from events.collector import spare_the_collector
from events.errors import LogError, Unavailable

_PATIENCE_S: Final = 5.0
_BEGIN: Final = "import sys; sys.path[:] = {path!r}; from events.processes import work; work({pipe})"

Work = Callable[[Connection, Any], None]
"""What a process does: with the pipe, and what it was told at its beginning. A function of a module, by its name."""


class Process:
    """A process that does some `work` until it is stopped, or this one is no more."""

    def __init__(self, work: Work, told: object) -> None:
        self._pipe, theirs = Pipe()
        with theirs:
            begin = _BEGIN.format(path=sys.path, pipe=theirs.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-c", begin], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        self._pipe.send((work, told))

    def ask(self, question: object) -> None:
        """Send it something. Raises `Unavailable` when it is no more."""
        try:
            self._pipe.send(question)
        except OSError:
            raise Unavailable("a process that shared the work ended before its time") from None

    async def answer(self) -> Any:
        """What it sends next. Raises what it sends, when that is an error, and `Unavailable` when it is no more."""
        try:
            answer = await asyncio.to_thread(self._pipe.recv)
        except (EOFError, OSError):
            raise Unavailable("a process that shared the work ended before its time") from None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def stop(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait(_PATIENCE_S)
        self._pipe.close()


def work(descriptor: int) -> None:
    """What such a process does, with the pipe of this descriptor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The process that started this one is interrupted too, and ends it.
    pipe = Connection(descriptor)
    try:
        does, told = pipe.recv()
        spare_the_collector()
        does(pipe, told)
    except LogError as error:
        pipe.send(error)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
