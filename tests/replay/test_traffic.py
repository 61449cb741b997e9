"""What real clients sent, sent again: every answer, every run, and the same read models in any order."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from events.ids import format_id
from events.jsontext import loads
from events.kinds import RunPatched, RunPosted
from events.log import NewEvent, Refused
from events.schema import quarantine, receipts
from events.times import format_time
from projections import canonical
from projections.runs import RunState
from projections.runs import runs as runs_table
from service.app import create_app
from service.ingest.items import Item
from service.settings import load_settings
from tests.databases import Databases
from tests.projections.stores import opened
from tests.replay.traffic import RECORDINGS, Recorded, doubled, load, lots, shuffled
from tests.service.running import running

SNAPSHOTS = Path(__file__).resolve().parents[1] / "recordings" / "snapshots"
CLIENTS = 4

Dump = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Served:
    """A running application and its database."""

    client: httpx.AsyncClient
    engine: AsyncEngine

    async def dump(self) -> Dump:
        async with self.engine.connect() as connection:
            return await canonical.dump(connection)

    async def rows(self, query: Any) -> Sequence[Any]:
        async with self.engine.connect() as connection:
            return (await connection.execute(query)).all()


@asynccontextmanager
async def served(url: str) -> AsyncIterator[Served]:
    app = create_app(load_settings(None, database_url=url))
    async with running(app) as client:
        yield Served(client, app.state.engine)


def is_json(request: Recorded) -> bool:
    """One client sent this in place of a batch that it could not serialise."""
    return not request.body.startswith(b"[unable to serialize")


def answer_to(request: Recorded) -> int:
    """The status that LangSmith answers the request with."""
    if not is_json(request):
        return 400
    if request.method == "GET" or request.path == "/runs/batch" or request.path.startswith("/feedback"):
        return 200
    return 202


# --- in order ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDINGS)
async def test_a_recording_is_answered_kept_and_read_back(
    name: str, sqlite_url: str, request: pytest.FixtureRequest
) -> None:
    requests = load(name)
    items = [item for recorded in requests for item in await recorded.items()]
    async with served(sqlite_url) as server:
        for recorded in requests:
            answer = await recorded.send(server.client)
            assert answer.status_code == answer_to(recorded), (recorded.path, answer.text)
        await check_accounts(server, items, unusable=sum(not is_json(recorded) for recorded in requests))
        for run_id, said in said_of(items).items():
            await check_run(server.client, run_id, said)
        states = [RunState.from_row(row) for row in await server.rows(runs_table.select())]
    check_snapshot(name, states, update=request.config.getoption("--update-snapshots"))


async def check_accounts(server: Served, items: Sequence[Item], *, unusable: int) -> None:
    """Everything received is accounted for, and nothing but a body that is no JSON is in quarantine."""
    ((received, applied, duplicate, quarantined),) = await server.rows(
        select(
            func.sum(receipts.c.received),
            func.sum(receipts.c.applied),
            func.sum(receipts.c.duplicate),
            func.sum(receipts.c.quarantined),
        ).where(receipts.c.endpoint != "start")
    )
    assert received == len(items) + unusable == applied + duplicate + quarantined
    assert quarantined == unusable
    assert len(await server.rows(quarantine.select())) == unusable
    repeated = Counter((item.stream, item.event_id) for item in items if isinstance(item, NewEvent))
    assert duplicate == len(items) - len(repeated)


def said_of(items: Sequence[Item]) -> dict[bytes, dict[str, Any]]:
    """What the writes of each run say: what a PATCH says before what a POST says, and the later before the earlier."""
    told: dict[bytes, dict[str, Any]] = {}
    for kind in (RunPosted, RunPatched):
        for item in items:
            assert not isinstance(item, Refused)
            if isinstance(item.body, kind):
                merge(told.setdefault(item.body.run_id, {}), loads(item.payload))
    return told


def merge(told: dict[str, Any], more: Mapping[str, Any], within: tuple[str, ...] = ("extra", "metadata")) -> None:
    """Take over what is not empty; `extra`, and the `metadata` in it, key by key."""
    for name, value in more.items():
        if within and name == within[0] and isinstance(value, dict):
            merge(told.setdefault(name, {}), value, within[1:])
        elif value not in (None, {}, []):
            told[name] = value


async def check_run(client: httpx.AsyncClient, run_id: bytes, said: Mapping[str, Any]) -> None:
    answer = await client.get(f"/runs/{format_id(run_id)}")
    assert answer.status_code == 200
    run = answer.json()
    assert run["id"] == format_id(run_id)
    for name in ("name", "run_type", "error", "dotted_order", "parent_run_id", "trace_id"):
        if name in said:
            assert run[name] == said[name], name
    for name, nothing in (("inputs", {}), ("outputs", None), ("tags", []), ("events", [])):
        if said.get(name):
            assert run[name] == said[name], name
        else:
            assert run[name] in (nothing, {}), name
    shown = {name: value for name, value in run["extra"].items() if value not in ({}, [])}
    metadata = {name: value for name, value in shown.get("metadata", {}).items() if value not in (None, {}, [])}
    assert shown | {"metadata": metadata} == {"metadata": {}} | said.get("extra", {})


# --- snapshots --------------------------------------------------------------------------------------------------------


def check_snapshot(name: str, states: Sequence[RunState], *, update: bool) -> None:
    """Compare the runs with those that were frozen, or freeze them."""
    path = SNAPSHOTS / f"{name}.json"
    shown = [shot_of(state) for state in sorted(states, key=lambda state: state.id)]
    if update:
        lines = (json.dumps(shot, ensure_ascii=False) for shot in shown)
        path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
    assert shown == json.loads(path.read_text()), f"{path} differs: look, and then run pytest with --update-snapshots"


def shot_of(state: RunState) -> dict[str, Any]:
    """What a narrow row says of a run, as far as a client determines it, without what it does not say."""
    shot = {
        "id": format_id(state.id),
        "trace": format_id(state.trace_id),
        "parent": state.parent_run_id and format_id(state.parent_run_id),
        "name": state.name,
        "type": state.run_type,
        "status": state.status,
        "langsmith_status": state.langsmith_status,
        "end": None if state.end_time is None else format_time(state.end_time),
        "is_placeholder": bool(state.is_placeholder) or None,
        "thread": state.thread_id,
        "model": state.model,
        "provider": state.provider,
        "tokens": tokens_of(state),
        "tags": None if state.tags is None else json.loads(state.tags),
        "first_token": None if state.first_token_time is None else format_time(state.first_token_time),
    }
    return {name: value for name, value in shot.items() if value is not None}


def tokens_of(state: RunState) -> list[int | None] | None:
    counts = [state.prompt_tokens, state.completion_tokens, state.total_tokens]
    return None if counts == [None] * 3 else counts


def test_every_recording_has_a_snapshot_and_every_snapshot_a_recording() -> None:
    assert sorted(path.stem for path in SNAPSHOTS.glob("*.json")) == RECORDINGS


# --- in any order -----------------------------------------------------------------------------------------------------


def everything() -> list[Recorded]:
    """The requests of all recordings, one after the other."""
    return [recorded for name in RECORDINGS for recorded in load(name)]


@pytest.fixture(scope="module")
def in_order(databases: Callable[[str], Databases]) -> Iterator[Dump]:
    """The read models after the requests of all recordings came in their order."""
    url = databases("sqlite").migrated()

    async def sent() -> Dump:
        async with served(url) as server:
            await send_all(server.client, everything())
            return await server.dump()

    yield asyncio.run(sent())
    databases("sqlite").drop(url)


async def test_shuffled_doubled_and_split_across_four_clients_it_ends_in_the_same_read_models(
    in_order: Dump, database_url: str
) -> None:
    random = Random(20261123)
    clients = split_up(await lots(everything()), random)
    async with served(database_url) as server:
        async with asyncio.TaskGroup() as group:
            for requests in clients:
                group.create_task(send_all(server.client, requests))
        assert await server.dump() == in_order
        ((duplicates,),) = await server.rows(select(func.sum(receipts.c.duplicate)))
        assert duplicates > 100


def split_up(lots: Sequence[Sequence[Recorded]], random: Random) -> list[list[Recorded]]:
    """The requests of every lot, some of them twice, for one of the clients, mixed with those of other lots."""
    clients: list[list[Iterator[Recorded]]] = [[] for _ in range(CLIENTS)]
    for lot in lots:
        random.choice(clients).append(doubled(lot, random))
    return [list(mixed(queues, random)) for queues in clients]


def mixed(queues: list[Iterator[Recorded]], random: Random) -> Iterator[Recorded]:
    while queues:
        place = random.randrange(len(queues))
        recorded = next(queues[place], None)
        if recorded is None:
            queues.pop(place)
        else:
            yield recorded


async def send_all(client: httpx.AsyncClient, requests: Sequence[Recorded]) -> None:
    for recorded in requests:
        answer = await recorded.send(client)
        assert answer.status_code == answer_to(recorded)


@pytest.mark.parametrize("name", RECORDINGS)
async def test_items_in_any_order_and_batching_end_in_the_same_read_models(
    name: str, sqlite_url: str, other_sqlite_url: str
) -> None:
    items = [item for recorded in load(name) for item in await recorded.items()]
    random = Random(name)
    async with opened(sqlite_url) as store, opened(other_sqlite_url) as other:
        await store.append(*items)
        queue = shuffled(items, random)
        while queue:
            size = random.randint(1, max(1, len(items) // 8))
            await other.append(*queue[:size])
            queue = queue[size:]
        assert await other.dump() == await store.dump()
