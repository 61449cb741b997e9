import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import pytest

from events.errors import SchemaMismatch, Unavailable
from events.processes import Process, Work


def doubles(pipe: Connection, greeting: str) -> None:
    pipe.send(greeting)
    for number in iter(pipe.recv, None):
        pipe.send(2 * number)


def refuses(pipe: Connection, reason: str) -> None:
    raise SchemaMismatch(reason)


def tells_what_program_it_runs(pipe: Connection, _: None) -> None:
    pipe.send(getattr(sys.modules["__main__"], "__file__", None))


@contextmanager
def started(work: Work, told: object) -> Iterator[Process]:
    process = Process(work, told)
    try:
        yield process
    finally:
        process.stop()


async def test_a_process_knows_what_it_was_told_and_answers_what_it_is_asked() -> None:
    with started(doubles, "ready") as process:
        assert await process.answer() == "ready"
        for number in (1, 21):
            process.ask(number)
            assert await process.answer() == 2 * number


async def test_an_error_of_the_log_is_raised_where_the_answer_is_awaited() -> None:
    with started(refuses, "no tables") as process, pytest.raises(SchemaMismatch, match="no tables"):
        await process.answer()


async def test_a_process_that_ended_is_unavailable() -> None:
    with started(doubles, "ready") as process:
        await process.answer()
        process.ask(None)
        with pytest.raises(Unavailable, match="ended before its time"):
            await process.answer()
        with pytest.raises(Unavailable, match="ended before its time"):
            process.ask(1)


async def test_a_process_does_not_run_the_program_that_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where several processes share the tests, none of them has a program of its own.
    monkeypatch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)
    with started(tells_what_program_it_runs, None) as process:
        assert await process.answer() is None
