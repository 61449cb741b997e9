"""`python -m tests.benchmarks.queries`: how long queries of runs take, from the first page to the last."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple

import click
import httpx

from service.app import create_app
from service.settings import load_settings
from tests.benchmarks.reads import fill, store_of
from tests.benchmarks.throughput import SYSTEMS, System
from tests.service.running import running

_MS: Final = 1000
_PAGES_COMPARED: Final = 20
_HOUR: Final = timedelta(hours=1)
# Where SDKs select nothing, this is what they send.
_SELECTED: Final = (
    *("app_path", "completion_tokens", "dotted_order", "end_time", "error", "events", "extra", "feedback_stats", "id"),
    *("inputs", "name", "outputs", "parent_run_id", "parent_run_ids", "prompt_tokens", "run_type", "s3_urls"),
    *("session_id", "start_time", "status", "tags", "total_cost", "total_tokens", "trace_id"),
)
_NARROW: Final = ("id", "name", "start_time", "total_tokens")
_METADATA: Final = 'and(eq(metadata_key, "ls_provider"), eq(metadata_value, "openai"))'
Body = dict[str, Any]


class Took(NamedTuple):
    """What a query took, the client's part included."""

    seconds: float
    cpu_seconds: float


@click.command(context_settings={"show_default": True})
@click.option("--runs", default=100_000, help="Runs in the store.")
@click.option("--database", type=click.Choice(SYSTEMS), default="sqlite")
@click.option("--url", help="A database of one's own instead, which is filled when it is empty, and kept.")
@click.option("--repeat", default=50, help="How often each query is asked, each time for another hour.")
def main(runs: int, database: System, url: str | None, repeat: int) -> None:
    """Fill a store, and ask it for runs within its own process, one query at a time."""
    with store_of(database, url) as (store, _):
        asyncio.run(fill(store, runs))
        asyncio.run(_measure(store, repeat))


async def _measure(url: str, repeat: int) -> None:
    app = create_app(load_settings(None, database_url=url))
    async with running(app) as client:
        sessions = {one["name"]: one["id"] for one in (await client.get("/sessions")).json()}
        project = sessions["support-agent"]
        first, last = [await _edge(client, project, order) for order in ("asc", "desc")]
        hours = [first + (last - first - _HOUR) * number / max(repeat - 1, 1) for number in range(repeat)]
        for name, body in _queries().items():
            bodies = [body | _window(project, hour) for hour in hours]
            _print(name, await _timed(client, bodies))
        await _compare_pages(client, project)
        read = partial(client.get, f"/sessions/{project}", params={"include_stats": True})
        _print("statistics of the project", [await _took(read) for _ in range(repeat)])
        begun = time.perf_counter()
        answer = await client.post("/runs/stats", json={"session": [project]})
        count = answer.json()["run_count"]
        click.echo(f"sums of the project's {count:,} runs: {time.perf_counter() - begun:.2f} s")


def _queries() -> dict[str, Body]:
    filtered = 'and(eq(run_type, "llm"), gt(latency, 1))'
    return {
        "an hour, a filter, narrow": {"filter": filtered, "select": _NARROW},
        "an hour, a filter, all fields": {"filter": filtered, "select": _SELECTED},
        "an hour, a rare filter, all fields": {"filter": 'eq(name, "nobody")', "select": _SELECTED},
        "an hour, metadata, narrow": {"filter": _METADATA, "select": _NARROW},
        "an hour, roots by tokens of the tree": {"is_root": True, "filter": "gt(total_tokens, 1)", "select": _NARROW},
        "an hour, a filter of the tree": {"tree_filter": "neq(error, null)", "is_root": True, "select": _NARROW},
        "an hour, words in inputs": {"filter": 'search(inputs, "qua")', "select": _NARROW},
    }


def _window(project: str, begin: datetime) -> Body:
    return {"session": [project], "start_time": begin.isoformat(), "end_time": (begin + _HOUR).isoformat()}


async def _edge(client: httpx.AsyncClient, project: str, order: str) -> datetime:
    """When the first or the last run of the project started."""
    page = await _ask(client, {"session": [project], "order": order, "limit": 1, "select": ["id"]})
    return datetime.fromisoformat(page["runs"][0]["start_time"]).astimezone(UTC)


async def _compare_pages(client: httpx.AsyncClient, project: str) -> None:
    """Walk through the project, and compare what the first pages took with what the last ones did."""
    body: Body = {"session": [project], "select": _NARROW}
    took: list[Took] = []
    while True:
        elapsed, used = time.perf_counter(), time.process_time()
        page = await _ask(client, body)
        took.append(Took(time.perf_counter() - elapsed, time.process_time() - used))
        if page["cursors"]["next"] is None:
            break
        body["cursor"] = page["cursors"]["next"]
    _print(f"the first {_PAGES_COMPARED} pages of a walk", took[:_PAGES_COMPARED])
    _print(f"the last {_PAGES_COMPARED} of {len(took):,} pages", took[-_PAGES_COMPARED - 1 : -1])


async def _timed(client: httpx.AsyncClient, bodies: Sequence[Body]) -> list[Took]:
    await _ask(client, bodies[0])
    return [await _took(partial(_ask, client, body)) for body in bodies]


async def _took(ask: Callable[[], Awaitable[object]]) -> Took:
    elapsed, used = time.perf_counter(), time.process_time()
    await ask()
    return Took(time.perf_counter() - elapsed, time.process_time() - used)


async def _ask(client: httpx.AsyncClient, body: Body) -> Any:
    answer = await client.post("/runs/query", json=body)
    answer.raise_for_status()
    return answer.json()


def _print(name: str, took: Sequence[Took]) -> None:
    elapsed = [_MS * one.seconds for one in took]
    used = statistics.median(_MS * one.cpu_seconds for one in took)
    p95 = statistics.quantiles(elapsed, n=20)[-1]
    click.echo(f"{name:>40}: p50 {statistics.median(elapsed):6.1f} ms, p95 {p95:6.1f} ms; CPU {used:6.1f} ms")


if __name__ == "__main__":
    main()
