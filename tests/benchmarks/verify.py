"""`python -m tests.benchmarks.verify`: how many events a second `agent-spy verify` checks, and in how much memory."""

import asyncio
import os
import resource
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import click
import orjson

from events.dialect import open_writer
from events.ids import parse_id
from events.kinds import RunPatched, RunPosted, run_fields, run_stream
from events.log import NewEvent, Submission, append, lock_head, seal
from events.receipts import Origin
from events.verification import Report, verify
from tests.benchmarks.traffic import Document, make_runs
from tests.events.tampering import database_of

_FOLD_VERSION: Final = "benchmark"
_EVENTS_A_COMMIT: Final = 1000
_EVENTS_A_REQUEST: Final = 20
_NOW_US: Final = 1_767_225_600_000_000
_KIB_PER_MB: Final = 1024
_US_PER_SECOND: Final = 1_000_000


@click.command(context_settings={"show_default": True})
@click.option("--events", default=200_000, help="Events in the log: a POST and a PATCH of each run.")
@click.option("--database", type=click.Choice(("sqlite", "postgresql")), default="sqlite")
@click.option("--processes", default=os.cpu_count() or 1, help="Processes that check.")
@click.option("--repeat", default=3, help="How often to verify.")
def main(events: int, database: str, processes: int, repeat: int) -> None:
    """Fill a log, and verify it."""
    with database_of(database) as url:
        begun = time.monotonic()
        asyncio.run(_fill(url, events))
        click.echo(f"{database}: {events:,} events told in {time.monotonic() - begun:.0f} s")
        for _ in range(repeat):
            cpu_before = _cpu_seconds()
            report: Report = asyncio.run(verify(url, processes=processes))
            cpu = (_cpu_seconds() - cpu_before) / report.rows["events"] * _US_PER_SECOND
            if not report.is_whole:
                raise click.ClickException(str(report.findings[0]))
            peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            speed = report.rows["events"] / report.seconds
            click.echo(
                f"{speed:,.0f} events/s by {processes} processes ({report.seconds:.1f} s), "
                f"{cpu:.1f} µs of CPU an event, {peak / _KIB_PER_MB:,.0f} MB at most in one"
            )


def _cpu_seconds() -> float:
    """What this process and those it started have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


async def _fill(url: str, count: int) -> None:
    """Append so many events, in commits like those of a busy server. Nothing is folded."""
    writer = open_writer(url, is_durable=False)
    events = islice(_events(count // 2 + 1), count)
    try:
        while commit := list(islice(events, _EVENTS_A_COMMIT)):
            submissions = [Submission(_origin(part), part) for part in _parts(commit)]
            async with writer.transaction():
                head = await lock_head(writer, fold_version=_FOLD_VERSION)
                await append(writer, head, submissions, now=_NOW_US)
    finally:
        await writer.close()


def _events(runs: int) -> Iterator[NewEvent]:
    for run in make_runs(runs, seed=1):
        yield _sealed(RunPosted, run.post)
        yield _sealed(RunPatched, {**run.patch, "id": run.id})


def _sealed(event: type[RunPosted] | type[RunPatched], document: Document) -> NewEvent:
    payload = orjson.dumps(document)
    run_id = parse_id(document["id"])
    assert run_id is not None
    return seal(event.__name__, run_stream(run_id), payload, event(run_id, run_fields(payload)))


def _parts(commit: Sequence[NewEvent]) -> Iterable[Sequence[NewEvent]]:
    return (commit[start : start + _EVENTS_A_REQUEST] for start in range(0, len(commit), _EVENTS_A_REQUEST))


def _origin(part: Sequence[NewEvent]) -> Origin:
    size = sum(len(event.payload) for event in part)
    return Origin(endpoint="POST /runs/multipart", sdk="langsmith-py", content_size=size, content_hash=bytes(32))


if __name__ == "__main__":
    main()
