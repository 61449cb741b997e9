"""The log as it grows: no gap, no repeat, whatever happens to connections, servers and transactions."""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from sqlalchemy import make_url

from events import log, reading
from events.dialect import open_writer
from events.log import Submission
from events.receipts import Origin
from projections import projector
from service.app import create_app
from service.ingest.items import project_created
from service.settings import load_settings
from service.streaming import LogFeed, Wanted
from tests.databases import Databases
from tests.plans import recording, whole_reads
from tests.server import Server, free_port
from tests.service.apps import Store, a_run, new_id, open_store
from tests.streams import campaign
from tests.streams.campaign import Plan, until
from tests.streams.following import Place, Sent, following, next_event

SOON_S = 60


class QuietServer(uvicorn.Server):
    """Leaves signals to the tests."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@pytest.fixture
async def url(database_url: str) -> AsyncIterator[str]:
    """A server in this process, because the transport of `store.client` waits for the end of an answer."""
    app, port = create_app(load_settings(None, database_url=database_url)), free_port()
    server = QuietServer(uvicorn.Config(app, port=port, log_config=None, access_log=False))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    yield f"http://127.0.0.1:{port}"
    app.state.feed.watch.stop()
    server.should_exit = True
    await serving


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=SOON_S, trust_env=False) as client:
        yield client


async def post(client: httpx.AsyncClient, url: str, **members: Any) -> str:
    """Post a run; its id."""
    run = a_run(**members)
    answer = await client.post(f"{url}/runs", json=run)
    assert answer.status_code == 202, answer.text
    return str(run["id"])


async def test_a_reader_gets_what_comes_after_it_began(client: httpx.AsyncClient, url: str) -> None:
    await post(client, url)
    async with following(client, url) as blocks:
        assert (await anext(blocks)).data is None
        run_id = await post(client, url, inputs={"text": "one\r\ntwo"}, extra={"a": 1})
        sent = await next_event(blocks)
    (event,) = (await client.get(f"{url}/events", params={"limit": 9})).json()["events"][-1:]
    assert sent == Sent(id=event["cursor"], event="RunPosted", data=event)
    assert event["run_id"] == run_id


async def test_it_is_a_stream_that_nothing_on_the_way_keeps_back(client: httpx.AsyncClient, url: str) -> None:
    async with client.stream("GET", f"{url}/events/stream") as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-accel-buffering"] == "no"


async def test_a_reader_goes_on_after_the_last_event_that_it_got(client: httpx.AsyncClient, url: str) -> None:
    place = Place()
    ids = [await post(client, url) for _ in range(4)]
    async with following(client, url, place, after="start", kind="RunPosted") as blocks:
        first = await next_event(blocks)
    # A browser asks for the same address again, and says how far it got.
    async with following(client, url, place, after="start", kind="RunPosted") as blocks:
        rest = [await next_event(blocks) for _ in range(3)]
    assert [sent.data["run_id"] for sent in (first, *rest)] == ids


async def test_a_reader_that_got_no_event_yet_goes_on_where_it_began(client: httpx.AsyncClient, url: str) -> None:
    place = Place()
    async with following(client, url, place) as blocks:
        await anext(blocks)
    run_id = await post(client, url)
    async with following(client, url, place) as blocks:
        assert (await next_event(blocks)).data["run_id"] == run_id


async def test_a_stream_can_be_of_some_events_only(client: httpx.AsyncClient, url: str) -> None:
    trace_id, other = await post(client, url), await post(client, url)
    query = {"after": "start", "trace_id": trace_id, "kind": "RunPatched,RunPosted", "payload": "false"}
    async with following(client, url, None, **query) as blocks:
        first = await next_event(blocks)
        for run_id in (other, trace_id):
            await client.patch(f"{url}/runs/{run_id}", json={"outputs": {}})
        second = await next_event(blocks)
    assert [(sent.event, sent.data["run_id"]) for sent in (first, second)] == [
        ("RunPosted", trace_id),
        ("RunPatched", trace_id),
    ]
    assert "payload" not in second.data


# --- with processes ---------------------------------------------------------------------------------------------------


@pytest.fixture
def server(database_url: str, tmp_path: Path) -> Iterator[Server]:
    """A server with one worker on SQLite, and two on PostgreSQL."""
    options = [] if make_url(database_url).get_backend_name() == "sqlite" else ["--workers", "2"]
    with Server(database_url, tmp_path, options=options) as server:
        yield server


async def test_each_of_many_readers_sees_each_event_once_whatever_is_cut(server: Server) -> None:
    """Short of `python -m tests.streams`: connections are cut at random, and the server is started anew."""
    report = await campaign.run(server, Plan(readers=40, writers=3, batches=20))
    assert report.events == 1 + 3 * 20 * 5
    assert report.wrong == []
    assert report.cuts > 40


async def test_a_server_forgets_readers_that_go_and_does_not_wait_for_those_that_stay(
    client: httpx.AsyncClient, server: Server
) -> None:
    async with following(client, server.url) as blocks:
        await anext(blocks)
        assert "/events/stream" not in server.output()
    async with asyncio.timeout(SOON_S):
        await until(lambda: "GET /events/stream 200" in server.output())
    async with following(client, server.url) as blocks:
        await anext(blocks)
        began = time.monotonic()
        await asyncio.gather(asyncio.to_thread(server.stop), drain(blocks))
        stopped_in_s = time.monotonic() - began
    assert stopped_in_s < 7  # It would wait 8 s for a request that does not end.
    assert server.output().count("GET /events/stream 200") == 2
    assert "Cancel" not in server.output()
    assert "Traceback" not in server.output()


async def drain(blocks: AsyncIterator[Sent]) -> None:
    async for _ in blocks:
        pass


# --- without a server -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def feed_of(store: Store, **options: float) -> AsyncIterator[LogFeed]:
    """A feed that hears of commits only by asking for the head, as of those of another worker."""
    feed = LogFeed(store.engine, **options)
    with feed.watch.listening():
        yield feed
    await feed.aclose()


async def test_an_idle_stream_sends_comments_with_the_place_it_has_read_to(store: Store) -> None:
    await store.post(a_run())
    async with store.engine.connect() as connection:
        (event,) = await reading.read_events(connection, [2], bytes_max=1)
    async with feed_of(store, heartbeat_s=0.01) as feed:
        stream = feed.follow(0, "begin", Wanted(kinds=("TraceErased",)))
        assert await anext(stream) == b"retry: 1000\nid: begin\n\n"
        end = (await store.get("/events"))["head"]["cursor"]
        assert await anext(stream) == f": heartbeat\nid: {end}\n\n".encode()
        await stream.aclose()
    assert event.kind == "RunPosted"  # It was read and left out.


async def test_readers_at_the_same_place_share_one_reading(store: Store) -> None:
    await store.post(*(a_run() for _ in range(5)))
    async with feed_of(store) as feed:
        feed.watch.notice(6)
        streams = [feed.follow(0, "", Wanted()) for _ in range(20)]
        for stream in streams:
            await anext(stream)
        with recording(store.engine) as queries:
            texts = await asyncio.gather(*map(anext, streams))
        for stream in streams:
            await stream.aclose()
    assert set(texts) == {texts[0]}
    assert texts[0].count(b"event: RunPosted\n") == 5
    assert len([query for query, _ in queries.asked if "payload_hash" in query]) == 1


async def test_a_reader_that_waits_hears_of_what_another_has_read(store: Store) -> None:
    """One that came later may be the first to read what another worker has written."""
    async with feed_of(store, poll_s=60) as feed:
        early = feed.follow(1, "", Wanted())
        await anext(early)
        waiting = asyncio.ensure_future(anext(early))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await store.post(a_run())
        late = feed.follow(1, "", Wanted())
        await anext(late)
        async with asyncio.timeout(SOON_S):
            assert await anext(late) == await waiting
        await asyncio.gather(early.aclose(), late.aclose())


async def test_a_stream_tells_of_a_commit_of_its_own_process_at_once(store: Store) -> None:
    feed: LogFeed = store.app.state.feed
    stream = feed.follow(1, "", Wanted())  # Nobody asks for the head here.
    await anext(stream)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0.05)
    await store.post(run := a_run())
    async with asyncio.timeout(SOON_S):
        assert run["id"].encode() in await waiting
    waiting = asyncio.ensure_future(anext(stream))
    await store.client.delete(f"/traces/{run['id']}", params={"reason": "a command commits as well"})
    async with asyncio.timeout(SOON_S):
        assert b"event: TraceErased" in await waiting
    await stream.aclose()


async def test_a_long_log_is_sent_in_bounded_pieces(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.streaming._SLICE_EVENTS", 3)
    monkeypatch.setattr("service.streaming._SLICE_BYTES", 1000)
    await store.post(*(a_run(inputs={"text": "x" * size}) for size in (1, 1, 1, 5000, 1, 1)))
    async with feed_of(store, heartbeat_s=0.01) as feed:
        stream = feed.follow(0, "", Wanted())
        await anext(stream)
        counts = [(await anext(stream)).count(b"\ndata: ") for _ in range(4)]
        assert (await anext(stream)).startswith(b": heartbeat")
        await stream.aclose()
    assert counts == [3, 1, 1, 2]


async def test_line_ends_between_the_words_of_a_payload_do_not_end_the_data(store: Store) -> None:
    id_ = new_id()
    body = b'{"id": "%s",\r\n"outputs":\n{"a":\r1}}' % id_.encode()
    assert (await store.client.patch(f"/runs/{id_}", content=body)).status_code == 202
    async with feed_of(store) as feed:
        stream = feed.follow(1, "", Wanted())
        await anext(stream)
        text = (await anext(stream)).decode()
        await stream.aclose()
    lines = text.split("\n")
    assert "\r" not in text
    assert [line.partition(": ")[0] for line in lines] == ["id", "event", *["data"] * 4, "", ""]


async def test_a_stream_ends_when_the_database_fails(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async with feed_of(store) as feed:
        stream = feed.follow(0, "", Wanted())
        await anext(stream)

        async def refuse(*_: object) -> None:
            raise OSError("no route to host")

        monkeypatch.setattr("events.reading.read_end", refuse)
        assert [block async for block in stream] == []


async def test_every_query_of_a_stream_uses_an_index(store: Store) -> None:
    await store.post(run := a_run(), a_run())
    with recording(store.engine) as queries:
        async with feed_of(store) as feed:
            for wanted in (Wanted(), Wanted(kinds=("RunPosted",)), Wanted(trace_id=uuid.UUID(run["id"]).bytes)):
                stream = feed.follow(1, "", wanted)
                await anext(stream)
                assert b"RunPosted" in await anext(stream)
                await stream.aclose()
    assert await whole_reads(store.engine, queries, "events", "runs", "feedback") == []


# --- invariant 7 ------------------------------------------------------------------------------------------------------


@pytest.fixture
def postgresql_database_url(databases: Any) -> Iterator[str]:
    of: Databases = databases("postgresql")
    url = of.migrated()
    yield url
    of.drop(url)


async def test_a_reader_sees_each_event_once_while_writers_stall_in_open_transactions(
    postgresql_database_url: str,
) -> None:
    """Invariant 7. The writers number their events early and commit late."""
    seed = random.Random(7)
    async with open_store(postgresql_database_url) as store, feed_of(store, poll_s=0.01) as feed:

        async def write(number: int) -> None:
            writer = open_writer(postgresql_database_url)
            for turn in range(12):
                async with writer.transaction():
                    head = await log.lock_head(writer, fold_version=projector.fold_version("documented"))
                    item = project_created(f"{number}.{turn}")
                    appended = await log.append(
                        writer, head, [Submission(Origin(endpoint="test"), [item])], now=time.time_ns() // 1000
                    )
                    await asyncio.sleep(seed.uniform(0, 0.02))
                    await projector.apply(writer, appended.events, rule="documented", shard=head.shard)
                    await asyncio.sleep(seed.uniform(0, 0.02))
                await asyncio.sleep(seed.uniform(0, 0.02))
            await writer.close()

        async def read(seen: list[int]) -> None:
            stream = feed.follow(0, "", Wanted(with_payload=False))
            async for text in stream:
                seen += [int(part.partition(b",")[0]) for part in text.split(b'"position":')[1:]]
                if len(seen) >= 1 + 4 * 12:
                    break
                await asyncio.sleep(seed.choice((0, 0, 0.1)))
            await stream.aclose()

        seen: list[list[int]] = [[] for _ in range(5)]
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for positions in seen:
                group.create_task(read(positions))
            for number in range(4):
                group.create_task(write(number))
    assert seen == [list(range(1, 50))] * 5
