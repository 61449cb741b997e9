"""`python -m tests.benchmarks.growth`: what one more run costs, in an empty store and in one that holds many."""

import signal
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import click
import orjson

from tests.benchmarks import load
from tests.benchmarks.load import ORDERS, Client, Order, Workload
from tests.benchmarks.reads import store_of
from tests.benchmarks.throughput import Lost, in_own_process
from tests.benchmarks.watch import Watch
from tests.server import Server

_CONNECTIONS: Final = 8
_ITEMS_PER_REQUEST: Final = 100
_US_PER_S: Final = 1_000_000


@click.command(context_settings={"show_default": True})
@click.option("--url", required=True, help="The store that holds many runs. What is sent stays in it.")
@click.option("--runs", default=5_000, help="Runs to send to each store in each round.")
@click.option("--order", type=click.Choice(ORDERS), default="apart", help="POST and PATCH, or one POST with both.")
@click.option("--rounds", default=5, help="How often, after a first round that is not counted.")
def main(url: str, runs: int, order: Order, rounds: int) -> None:
    """Serve both stores, and send to one and the other in turns."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # So that the servers are stopped then, too.
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        for name, of in (("empty", None), ("filled", url)):
            store, directory = stack.enter_context(store_of("sqlite", of))
            servers[name] = stack.enter_context(Server(store, directory))
            click.echo(f"{name}: {_runs_in(servers[name]):,} runs")
        spent: dict[str, list[float]] = {name: [] for name in servers}
        first_seed = time.time_ns()  # Others than in any store: what was sent before would be a duplicate.
        for number in range(rounds + 1):
            seed = first_seed + number
            workload = Workload(runs, _CONNECTIONS, "multipart", order, _ITEMS_PER_REQUEST, seed)
            for name, server in servers.items():
                us = _us_per_run(server, workload)
                if number:
                    spent[name].append(us)
                    click.echo(f"round {number}, {name}: {us:.0f} µs of processor time a run")
    _print(spent["empty"], spent["filled"])


def _us_per_run(server: Server, workload: Workload) -> float:
    """Processor time of the server for a run of this load. Raises `Lost` when not all of them are new and there."""
    before = _runs_in(server)
    with Watch([server.pid]) as used:
        in_own_process(load.send, workload, server.url)
    if _runs_in(server) - before != workload.runs:
        raise Lost(f"{workload.runs} runs were sent, and there are {_runs_in(server) - before} more than before")
    return _US_PER_S * used.cpu_seconds / workload.runs


def _runs_in(server: Server) -> int:
    client = Client(server.url)
    summary = orjson.loads(client.get("/api/v1/dashboard/stats/summary"))
    client.close()
    return int(summary["stats"]["total_runs"])


def _print(empty: Sequence[float], filled: Sequence[float]) -> None:
    for name, spent in (("empty", empty), ("filled", filled)):
        low, high = min(spent), max(spent)
        click.echo(f"{name}: {statistics.median(spent):.0f} µs a run ({low:.0f} to {high:.0f})")
    # Of each round by itself: other work on the machine stretches both alike.
    more = statistics.median(after / before - 1 for before, after in zip(empty, filled, strict=True))
    click.echo(f"a run costs {100 * more:+.0f} % in the filled store")


if __name__ == "__main__":
    main()
