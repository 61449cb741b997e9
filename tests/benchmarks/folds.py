"""`python -m tests.benchmarks.folds`: the processor time that appending and folding a run costs, without a server."""

import asyncio
import cProfile
import gc
import itertools
import pstats
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import click
import msgspec
import orjson

from events.dialect import Writer, open_writer
from events.ids import parse_id
from events.kinds import RunPatched, RunPosted, run_stream
from events.log import NewEvent, Submission, append, lock_head, seal
from events.receipts import Origin
from projections.projector import apply, fold_version
from projections.status import StatusRule
from projections.words import words_of
from tests.benchmarks.load import ORDERS, Order, Workload
from tests.benchmarks.throughput import SYSTEMS, System, place_of
from tests.benchmarks.traffic import Item
from tests.benchmarks.watch import Watch

_EVENTS_PER_REQUEST: Final = 100
_NOW_US: Final = 1_767_225_600_000_000
_RULE: Final[StatusRule] = "documented"
_US_PER_SECOND: Final = 1_000_000
_EVENTS: Final[dict[str, type[RunPosted] | type[RunPatched]]] = {"post": RunPosted, "patch": RunPatched}


@click.command(context_settings={"show_default": True})
@click.option("--runs", default=20_000, help="Runs to append and fold.")
@click.option("--order", type=click.Choice(ORDERS), default="apart", help="POST and PATCH, or one POST with both.")
@click.option("--connections", default=8, help="Clients: a commit takes in one request of each.")
@click.option("--database", type=click.Choice(SYSTEMS), default="sqlite")
@click.option("--repeat", default=3, help="Repetitions, each in a new database.")
@click.option("--profile", is_flag=True, help="Tell which functions the folds spend their time in.")
def main(runs: int, order: Order, connections: int, database: System, repeat: int, profile: bool) -> None:
    """Append runs in groups, as a busy server does, and tell what each step costs."""
    groups = list(_groups(runs, order, connections))
    gc.freeze()  # A server does not hold all that it is going to be sent.
    profiler = cProfile.Profile() if profile else None
    with place_of(database) as place:
        for _ in range(repeat):
            url = place.databases.migrated()
            click.echo(asyncio.run(_measure(url, groups, place.pids, profiler)).per_run(runs))
            place.databases.drop(url)
    if profiler is not None:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(50)


@dataclass(slots=True)
class _Spent:
    """Seconds of processor time; `database` is what the processes of a database server used beside."""

    read: float = 0.0
    append: float = 0.0
    apply: float = 0.0
    commit: float = 0.0
    database: float = 0.0

    def per_run(self, runs: int) -> str:
        """The same in microseconds for each run."""
        steps = {name: _US_PER_SECOND * seconds / runs for name, seconds in asdict(self).items() if seconds}
        return ", ".join(f"{name} {us:.1f} µs/run" for name, us in steps.items())


async def _measure(
    url: str, groups: Sequence[Sequence[NewEvent]], pids: Sequence[int], profiler: cProfile.Profile | None
) -> _Spent:
    writer = open_writer(url)
    spent = _Spent()
    try:
        with Watch(pids) as used:
            for group in groups:
                await _commit(writer, group, spent, profiler)
    finally:
        await writer.close()
    spent.database = used.cpu_seconds
    return spent


async def _commit(writer: Writer, sealed: Sequence[NewEvent], spent: _Spent, profiler: cProfile.Profile | None) -> None:
    begun = time.process_time()
    group = [_read(event) for event in sealed]
    spent.read += time.process_time() - begun
    begun = time.process_time()
    before = spent.append + spent.apply
    async with writer.transaction():
        await _take(writer, group, spent, profiler)
    spent.commit += time.process_time() - begun - (spent.append + spent.apply - before)


async def _take(writer: Writer, group: Sequence[NewEvent], spent: _Spent, profiler: cProfile.Profile | None) -> None:
    begun = time.process_time()
    head = await lock_head(writer, fold_version=fold_version(_RULE))
    appended = await append(writer, head, [Submission(Origin(endpoint="benchmark"), group)], now=_NOW_US)
    appended_at = time.process_time()
    if profiler is not None:
        profiler.enable()
    await apply(writer, appended.events, rule=_RULE)
    if profiler is not None:
        profiler.disable()
    spent.append += appended_at - begun
    spent.apply += time.process_time() - appended_at


def _read(event: NewEvent) -> NewEvent:
    """The event with its words, as a server reads them before the head is locked."""
    body = event.body
    assert isinstance(body, RunPosted | RunPatched)
    return msgspec.structs.replace(event, body=msgspec.structs.replace(body, words=words_of(body)))


def _groups(runs: int, order: Order, connections: int) -> Iterator[list[NewEvent]]:
    """What a busy server commits at once: a request of every connection, of POSTs or of the PATCHes that follow."""
    workload = Workload(runs, connections, "multipart", order, _EVENTS_PER_REQUEST, seed=1)
    requests_of_one = 2 if order == "apart" else 1
    requests = workload.requests()
    while round_ := list(itertools.islice(requests, requests_of_one * connections)):
        for number in range(requests_of_one):
            yield [_sealed(item) for request in round_[number::requests_of_one] for item in request]


def _sealed(item: Item) -> NewEvent:
    payload = orjson.dumps(item.document)
    run_id = parse_id(item.document["id"])
    assert run_id is not None
    event = _EVENTS[item.operation]
    return seal(event.__name__, run_stream(run_id), payload, event(run_id, payload))


if __name__ == "__main__":
    main()
