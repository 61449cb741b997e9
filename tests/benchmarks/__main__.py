"""`python -m tests.benchmarks`: measures throughput; with `stalls`, what a large body does to everyone else; with
`queue`, the memory of a server whose queue is full; with `sdk`, how much longer a real SDK takes than to nobody."""

import signal
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click

from tests.benchmarks import full_queue, sdk
from tests.benchmarks import stalls as large
from tests.benchmarks.load import ORDERS, Order, Workload
from tests.benchmarks.throughput import SYSTEMS, Measured, System, in_own_process, measure, medians, place_of
from tests.benchmarks.traffic import RUNS_PER_TRACE, SHAPES, Shape
from tests.server import Server

_BYTES_PER_MB: Final = 1_000_000
_FORMATS: Final = {
    "runs/s": ",.0f",
    "floor runs/s": ",.0f",
    "server CPU ms/run": ".3f",
    "database CPU ms/run": ".3f",
    "floor CPU ms/run": ".3f",
    "stored of JSON": ".2f",
    "runs/s of floor": ".2f",
    "CPU of floor": ".1f",
}


@click.group(invoke_without_command=True, context_settings={"show_default": True})
@click.option("--runs", default=20_000, help="Runs to send.")
@click.option("--connections", default=8, help="Clients, each of which waits for an answer before it sends again.")
@click.option("--shape", type=click.Choice(SHAPES), default="multipart", help="How items travel.")
@click.option("--order", type=click.Choice(ORDERS), default="apart", help="POST and PATCH, or one POST with both.")
@click.option("--items", default=100, help="Items in a request.")
@click.option("--per-trace", default=RUNS_PER_TRACE, help="Runs in a trace.")
@click.option("--database", type=click.Choice(SYSTEMS), default="sqlite")
@click.option("--workers", default=1, help="Processes of the server (PostgreSQL only).")
@click.option("--rate", type=float, help="Runs a second to send; without it, as many as the server takes.")
@click.option("--repeat", default=3, help="Repetitions, of which the medians are printed last.")
@click.option("--seed", default=1, help="What the runs are made from.")
@click.pass_context
def main(
    context: click.Context,
    runs: int,
    connections: int,
    shape: Shape,
    order: Order,
    items: int,
    per_trace: int,
    database: System,
    workers: int,
    rate: float | None,
    repeat: int,
    seed: int,
) -> None:
    """Start a server, send it runs from a process beside it, and look whether all of them are there."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # So that servers are stopped then, too.
    if context.invoked_subcommand is not None:
        return
    workload = Workload(runs, connections, shape, order, items, seed, per_trace, rate)
    click.echo(f"{database}, {workers} worker(s): {workload}")
    with place_of(database) as place:
        measured: list[Measured] = []
        for number in range(1, repeat + 1):
            measured.append(measure(place, workload, workers=workers))
            _print(f"repetition {number} of {repeat}", measured[-1].figures)
    _print(f"medians of {repeat}", medians(measured))


@main.command(context_settings={"show_default": True})
@click.option("--megabytes", default=24, help="MB (of 1,000,000 bytes) of a body before it is compressed.")
@click.option("--database", type=click.Choice(SYSTEMS), default="sqlite")
def stalls(megabytes: int, database: System) -> None:
    """Send large bodies, and tell the slowest answer of /health/live beside each."""
    with place_of(database) as place:
        for name, build in large.loads(megabytes * _BYTES_PER_MB).items():
            url = place.databases.migrated()
            with Server(url, place.directory) as server:
                found = in_own_process(large.measure, server.url, build())
            place.databases.drop(url)
            click.echo(
                f"{name}: {found.sent_bytes / _BYTES_PER_MB:.1f} MB answered after {found.seconds:.2f} s; "
                f"/health/live at worst {1000 * found.slowest_seconds:.0f} ms, usually "
                f"{1000 * found.usual_seconds:.1f} ms"
            )


@main.command(context_settings={"show_default": True})
@click.option("--queue-mb", default=64, help="INGEST_QUEUE_MB of the server.")
@click.option("--body-mb", default=7, help="MB of a body.")
@click.option("--requests", default=40, help="Bodies that are sent at once.")
def queue(queue_mb: int, body_mb: int, requests: int) -> None:
    """Send more than the queue holds to a server that cannot write for six seconds, and tell what memory it takes."""
    for name, make in full_queue.bodies(body_mb * _BYTES_PER_MB).items():
        made = [make(number) for number in range(requests)]
        with TemporaryDirectory(prefix="agent-spy-") as directory:
            found = full_queue.fill(Path(directory), made, queue_mb=queue_mb)
        beside = (found.peak_bytes - found.idle_bytes) / _BYTES_PER_MB
        click.echo(
            f"{name}: {beside:.0f} MB at most beside {found.idle_bytes / _BYTES_PER_MB:.0f} MB idle, "
            f"{beside / queue_mb:.2f} of the queue; {requests} requests of "
            f"{len(made[0].content) / _BYTES_PER_MB:.1f} MB were answered {found.answers}"
        )


@main.command(name="sdk", context_settings={"show_default": True})
@click.option("--runs", default=10_000, help="Runs to send, each as a POST and a PATCH.")
@click.option("--database", type=click.Choice(SYSTEMS), default="sqlite")
@click.option("--rate", type=float, help="Runs a second to send; without it, as many as the server takes.")
@click.option("--repeat", default=3, help="Repetitions, each on a new database.")
def send_by_sdk(runs: int, database: System, repeat: int) -> None:
    """Send runs with LangSmith's Python SDK to an endpoint that discards them, then to a server."""
    with place_of(database) as place:
        for _ in range(repeat):
            url = place.databases.migrated()
            took = sdk.measure(url, place.directory, runs)
            place.databases.drop(url)
            click.echo(
                f"{sdk.CLIENT}: {runs / took.server_s:,.0f} runs/s to the server, "
                f"{runs / took.discarded_s:,.0f} to nobody: {took.ratio:.2f} times as long; "
                f"server CPU {1e6 * took.server_cpu_s / runs:.0f} µs a run"
            )


def _print(title: str, figures: Mapping[str, float]) -> None:
    click.echo(f"-- {title}")
    for name, value in figures.items():
        click.echo(f"{name:>20}  {value:{_FORMATS.get(name, ',.0f')}}")


if __name__ == "__main__":
    main()
