"""Sends garbled filters to a store: none is ever the server's fault, and none changes anything."""

import asyncio
import random
from collections import Counter

import click
import orjson

from tests.benchmarks.throughput import SYSTEMS, System, place_of
from tests.fuzz.garbling import garbled
from tests.service.apps import Store, an_ended_run, new_id, open_store

_NAMES = ("filter", "trace_filter", "tree_filter", "search_filter")
_PATHS = ("/runs/query", "/runs/query", "/runs/query", "/runs/stats")


@click.command(context_settings={"show_default": True})
@click.option("--count", default=100_000, help="Filters to send.")
@click.option("--database", type=click.Choice(SYSTEMS), default="sqlite")
@click.option("--seed", default=1, help="What they are made from.")
def main(count: int, database: System, seed: int) -> None:
    """Send filters that nobody would write, and look whether the store is as it was."""
    with place_of(database) as place:
        url = place.databases.migrated()
        answered = asyncio.run(_sent(url, garbled(random.Random(seed), count)))
        place.databases.drop(url)
    click.echo(f"{database}: {sum(answered.values()):,} filters; answers by status: {dict(answered)}")


async def _sent(url: str, filters: list[str]) -> Counter[int]:
    answered: Counter[int] = Counter()
    async with open_store(url) as store:
        await _fill(store)
        before = await store.dump()
        for number, text in enumerate(filters):
            place = number % len(_NAMES)
            body = orjson.dumps({_NAMES[place]: text.encode("utf-8", "replace").decode()})
            answer = await store.client.post(_PATHS[place], content=body, headers={"content-type": "application/json"})
            answered[answer.status_code] += 1
            if answer.status_code not in (200, 400):
                raise click.ClickException(f"{answer.status_code} for {text!r}: {answer.text}")
        if await store.dump() != before:
            raise click.ClickException("the store is not as it was")
    return answered


async def _fill(store: Store) -> None:
    """Some runs of every kind, and feedback."""
    root = an_ended_run(
        tags=["a", ","], extra={"metadata": {"k": "v", "n": 1}}, inputs={"messages": [{"content": "q"}]}
    )
    child = an_ended_run(parent_run_id=root["id"], trace_id=root["id"], run_type="llm", error="boom")
    await store.post(root, child, an_ended_run(outputs=None, end_time=None))
    feedback = {"id": new_id(), "key": "C", "run_id": root["id"], "score": 0.5}
    await store.client.post("/feedback", json=feedback)


if __name__ == "__main__":
    main()
