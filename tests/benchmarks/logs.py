"""Logs to measure with, as a busy server would have written them; nothing in them is folded."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import orjson

from events.dialect import open_writer
from events.ids import parse_id
from events.kinds import RunPatched, RunPosted, run_stream
from events.log import NewEvent, Submission, append, lock_head, seal
from events.receipts import Origin
from tests.benchmarks.traffic import Document, Run, make_runs

_UNFOLDED: Final = "unfolded"
_EVENTS_A_COMMIT: Final = 1000
_EVENTS_A_REQUEST: Final = 20
_NOW_US: Final = 1_767_225_600_000_000


def _as_made(_: int, run: Run) -> Run:
    return run


async def fill(
    url: str, count: int, *, change: Callable[[int, Run], Run] = _as_made, us_between_commits: int = 0
) -> None:
    """Append so many events, a POST and a PATCH of each run, after `change` was made to the runs, counted from 1."""
    await _fill(url, islice(_events(count // 2 + 1, change), count), us_between_commits)


async def fill_with(url: str, documents: Iterable[Document]) -> None:
    """Append a POST of each of these documents."""
    await _fill(url, (_sealed(RunPosted, document) for document in documents))


async def _fill(url: str, events: Iterator[NewEvent], us_between_commits: int = 0) -> None:
    writer = open_writer(url, is_durable=False)
    now = itertools.count(_NOW_US, us_between_commits)
    try:
        while commit := list(islice(events, _EVENTS_A_COMMIT)):
            submissions = [Submission(_origin(part), part) for part in _parts(commit)]
            async with writer.transaction():
                head = await lock_head(writer, fold_version=_UNFOLDED)
                await append(writer, head, submissions, now=next(now))
    finally:
        await writer.close()


def _events(runs: int, change: Callable[[int, Run], Run]) -> Iterator[NewEvent]:
    for run in itertools.starmap(change, enumerate(make_runs(runs, seed=1), 1)):
        yield _sealed(RunPosted, run.post)
        yield _sealed(RunPatched, {**run.patch, "id": run.id})


def _sealed(event: type[RunPosted] | type[RunPatched], document: Document) -> NewEvent:
    payload = orjson.dumps(document)
    run_id = parse_id(document["id"])
    assert run_id is not None
    return seal(event.__name__, run_stream(run_id), payload, event(run_id, payload))


def _parts(commit: Sequence[NewEvent]) -> Iterable[Sequence[NewEvent]]:
    return (commit[start : start + _EVENTS_A_REQUEST] for start in range(0, len(commit), _EVENTS_A_REQUEST))


def _origin(part: Sequence[NewEvent]) -> Origin:
    size = sum(len(event.payload) for event in part)
    return Origin(endpoint="POST /runs/multipart", sdk="langsmith-py", content_size=size, content_hash=bytes(32))
