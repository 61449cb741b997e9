"""Rebuilds over HTTP and on the command line: beside servers that go on, and across versions of the folds."""

import asyncio
import logging
import random
import signal
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, get_args

import httpx
import orjson
import pytest
from sqlalchemy import BigInteger, Column, MetaData, Table, text
from sqlalchemy.schema import CreateTable

from events.dialect import Writer
from events.log import RecordedEvent
from projections import projector, rebuilds
from projections.projector import PROJECTIONS, fold_version
from projections.rebuild import EVERYTHING, rebuild
from projections.rebuilds import Order
from service.wire.readmodels import Name
from tests.projections.rebuilding import rows_of, told
from tests.projections.stores import opened
from tests.server import CHECKOUT, Server
from tests.service.apps import Store, a_run, an_ended_run, new_id, open_store

DRY_RUN = Order(projections=PROJECTIONS, is_dry_run=True)
PATIENCE_S: Final = 120
KILLS: Final = 3
CLIENTS = READERS = 4
ONLINE_S: Final = 4
INGEST_PAUSE_MS: Final = 250


def url_of(store: Store) -> str:
    return store.engine.url.render_as_string(hide_password=False)


async def execute(store: Store, statement: str) -> None:
    """Run a statement behind the program's back."""
    async with store.engine.begin() as connection:
        await connection.execute(text(statement))


async def ended(store: Store, **asked: Any) -> dict[str, Any]:
    """Ask for a rebuild, and wait for its end."""
    return await end_of(store, await started(store, **asked))


async def started(store: Store, **asked: Any) -> str:
    """Ask for a rebuild; where to look at the job."""
    answer = await store.client.post("/projections/rebuild", json=asked)
    assert answer.status_code == 202, answer.text
    job: str = answer.headers["Location"]
    assert job == f"/api/v1/projections/rebuild/{answer.json()['id']}"
    return job


async def end_of(store: Store, job: str) -> dict[str, Any]:
    """What became of a job."""
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        found = await store.get(job)
        if found["outcome"] is not None:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"the rebuild did not end: {found}")


# --- over HTTP --------------------------------------------------------------------------------------------------------


async def test_a_rebuild_asked_for_without_a_body_is_of_everything(store: Store) -> None:
    await store.post(a_run())
    answer = await store.client.post("/projections/rebuild")
    assert answer.status_code == 202, answer.text
    job = await end_of(store, answer.headers["Location"])
    assert (set(job["projections"]), job["dry_run"], job["outcome"]) == (set(PROJECTIONS), False, "replaced")


async def test_a_rebuild_is_a_job_that_ends(store: Store) -> None:
    await store.post(a_run(), an_ended_run())
    before = await store.get("/projections")
    assert {one["name"]: one["last_rebuild"] for one in before["projections"]} == dict.fromkeys(PROJECTIONS)

    job = await ended(store)

    assert (job["outcome"], job["notes"], job["position"]) == ("replaced", [], before["head"])
    assert (job["events"], job["events_total"]) == (before["head"], before["head"])
    assert job["ended_at"] >= job["started_at"]
    assert job["step"] == "swapped"
    assert job["projections"] == sorted(PROJECTIONS)
    after = await store.get("/projections")
    assert {one["last_rebuild"]["id"] for one in after["projections"]} == {job["id"]}


async def test_a_dry_run_does_not_hide_the_last_rebuild(store: Store) -> None:
    await store.post(a_run())
    rebuilt, compared = await ended(store), await ended(store, dry_run=True)
    for one in (await store.get("/projections"))["projections"]:
        assert (one["last_rebuild"]["id"], one["last_comparison"]["id"]) == (rebuilt["id"], compared["id"])


def test_every_read_model_can_be_asked_for_by_name() -> None:
    assert get_args(Name) == PROJECTIONS


async def test_a_dry_run_names_what_differs_and_a_replacement_puts_it_right(store: Store) -> None:
    run = an_ended_run()
    await store.post(run)
    await execute(store, "UPDATE runs SET status = 'failed'")

    found = await ended(store, projection="runs", dry_run=True)
    assert found["outcome"] == "different"
    assert f"runs {run['id']}: status" in found["notes"]
    assert (await store.run(run["id"]))["status"] == "failed"

    assert (await ended(store))["outcome"] == "different"
    assert (await ended(store, replace=True))["outcome"] == "replaced"
    assert (await store.run(run["id"]))["status"] == "completed"


async def test_one_trace_is_put_right(store: Store) -> None:
    one, other = an_ended_run(), an_ended_run()
    await store.post(one, other)
    await execute(store, "UPDATE runs SET status = 'failed'")
    found = await ended(store, trace_id=one["id"])
    assert (found["outcome"], found["trace_id"]) == ("replaced", one["id"])
    assert (await store.run(one["id"]))["status"] == "completed"
    assert (await store.run(other["id"]))["status"] == "failed"


async def test_the_read_models_are_told_with_their_digests(store: Store) -> None:
    await store.post(a_run(), an_ended_run())
    told_before = await store.get("/projections", digest="true")
    assert (await ended(store))["outcome"] == "replaced"
    told_after = await store.get("/projections", digest="true")
    digests = {one["name"]: one["digest"] for one in told_after["projections"]}
    assert digests == {one["name"]: one["digest"] for one in told_before["projections"]}
    assert len(set(digests.values()) - {bytes(32).hex()}) == 4  # There is neither feedback, an attachment nor a share.
    assert {one["name"]: one["rows"] for one in told_after["projections"]} == {
        **{"attachments": 0, "feedback": 0, "names": 1, "projects": 2, "runs": 2, "shares": 0},
        "stats": 4,
    }
    assert told_after["is_current"] is True
    assert all(one["lag"] == 0 and one["checkpoint"] == told_after["head"] for one in told_after["projections"])
    assert {one["digest"] for one in (await store.get("/projections"))["projections"]} == {None}


async def test_a_second_rebuild_is_refused_and_the_first_can_be_cancelled(store: Store) -> None:
    writer = store.app.state.intake.writer

    async def begin(writer: Writer, _: object, now: int) -> int:
        return await rebuilds.begin(writer, EVERYTHING, fold_version="x", now=now + 10**12, owner="elsewhere 1")

    job = await writer.command(begin)
    answer = await store.client.post("/projections/rebuild", json={})
    assert answer.status_code == 409
    assert answer.json()["detail"] == "rebuild 1 is under way, and there is one at a time: wait for it, or cancel it"
    assert (await store.get(f"/projections/rebuild/{job}"))["cancelled"] is False
    cancelled = await store.client.delete(f"/projections/rebuild/{job}")
    assert (cancelled.status_code, cancelled.json()["cancelled"]) == (200, True)


async def test_a_job_that_is_cancelled_ends_and_leaves_what_is_live(store: Store) -> None:
    await store.post(a_run(), an_ended_run())
    await execute(store, "UPDATE runs SET status = 'failed'")
    job = await started(store, replace=True)
    assert (await store.client.delete(job)).status_code == 200  # Long before its process has begun.
    found = await end_of(store, job)
    assert (found["outcome"], found["notes"]) == ("cancelled", [f"rebuild {found['id']} was cancelled"])
    assert {run["status"] for run in (await store.roots())["runs"]} == {"failed"}


async def test_a_rebuild_that_has_ended_cannot_be_cancelled(store: Store) -> None:
    job = await ended(store, dry_run=True)
    answer = await store.client.delete(f"/projections/rebuild/{job['id']}")
    assert (answer.status_code, answer.json()) == (200, job)


@pytest.mark.parametrize(
    "asked",
    [
        {"projection": "traces"},
        {"trace_id": "7"},
        {"projection": "runs", "trace_id": "550e8400-e29b-41d4-a716-446655440000"},
        {"dry_run": True, "replace": True},
        {"force": True},
        [],
    ],
)
async def test_what_cannot_be_rebuilt_is_refused_with_a_sentence(store: Store, asked: object) -> None:
    answer = await store.client.post("/projections/rebuild", json=asked)
    assert answer.status_code == 422
    assert answer.json()["detail"]


async def test_an_unknown_job_is_not_found(store: Store) -> None:
    for answer in (
        await store.client.get("/projections/rebuild/7"),
        await store.client.delete("/projections/rebuild/7"),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (404, "there never was a rebuild 7")
    assert (await store.client.get("/projections/rebuild/first")).status_code == 422


async def test_rebuilds_are_for_administrators(database_url: str) -> None:
    keys = "boss,reader:read,writer:ingest"
    async with open_store(database_url, require_auth=True, api_keys=keys) as store:

        async def status(method: str, path: str, key: str | None) -> int:
            headers = {} if key is None else {"x-api-key": key}
            return (await store.client.request(method, path, json={}, headers=headers)).status_code

        assert [await status("GET", "/projections", key) for key in (None, "writer", "reader")] == [401, 403, 200]
        for method, path in (("POST", "/projections/rebuild"), ("DELETE", "/projections/rebuild/7")):
            assert [await status(method, path, key) for key in (None, "writer", "reader")] == [401, 403, 403]
        assert await status("DELETE", "/projections/rebuild/7", "boss") == 404


async def test_pages_of_other_sites_may_not_ask_for_a_rebuild(store: Store) -> None:
    headers = {"Origin": "https://elsewhere.example"}
    answer = await store.client.post("/projections/rebuild", json={}, headers=headers)
    assert answer.status_code == 403
    assert (await store.client.delete("/projections/rebuild/1", headers=headers)).status_code == 403


# --- other folds ------------------------------------------------------------------------------------------------------


async def is_ready(store: Store) -> bool:
    answer = await store.client.get("/health/ready")
    checks = answer.json()["checks"]
    assert checks["database"] is True
    assert (answer.status_code == 200) == checks["configuration"]
    return bool(checks["configuration"])


async def test_a_server_with_other_folds_says_what_to_do_and_writes_nothing(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store(database_url) as store:
        await store.post(an_ended_run())
    with caplog.at_level(logging.ERROR):
        async with open_store(database_url, status_rule="ended") as store:
            stored, own = fold_version("documented"), fold_version("ended")
            assert f"made by the folds {stored}, and this process has {own}" in caplog.text
            assert "Run `agent-spy rebuild`" in caplog.text
            assert not await is_ready(store)
            answer = await store.client.post("/runs", json=a_run())
            assert answer.status_code == 503
            assert "`agent-spy rebuild`" in answer.json()["detail"]
            found = await store.get("/projections")
            assert (found["is_current"], found["fold_version"]) == (False, fold_version("documented"))


async def test_a_new_version_is_rolled_out_while_the_old_one_serves(database_url: str) -> None:
    run = a_run(end_time="2024-01-15T10:30:09Z")  # Without outputs: running by one rule, completed by the other.
    async with (
        open_store(database_url) as old,
        open_store(database_url, status_rule="ended") as new,
    ):
        await old.post(run)
        assert (await is_ready(old), await is_ready(new)) == (True, False)

        rebuilding = asyncio.create_task(rebuild(database_url, rule="ended", processes=1))
        for _ in range(5):
            await old.post(an_ended_run())
        assert (await rebuilding).outcome == "replaced"

        refused = await old.client.post("/runs", json=a_run())
        assert refused.status_code == 503
        assert (await is_ready(old), await is_ready(new)) == (False, True)
        assert (await old.run(run["id"]))["status"] == "completed"  # It reads what there is.
        await new.post(a_run())
        assert (await new.get("/dashboard/stats/summary"))["stats"]["total_runs"] == 7
    result = await rebuild(database_url, DRY_RUN, rule="ended", processes=1)
    assert (result.outcome, told(result.differences)) == ("equal", "")


# --- a read model that is new in the code -----------------------------------------------------------------------------

kinds_seen = Table(
    "kinds_seen", MetaData(), Column("initial", BigInteger, primary_key=True), Column("events", BigInteger)
)


class KindsSeen:
    """Counts events by the first letter of their kind."""

    name = "kinds_seen"

    async def apply(self, writer: Writer, events: Sequence[RecordedEvent], *, shard: int) -> None:
        for event in events:
            initial = ord(event.kind[0])
            rows = await writer.fetch("SELECT events FROM kinds_seen WHERE initial = ?1", initial)
            await writer.replace(kinds_seen, [(initial, (rows[0][0] if rows else 0) + 1)])


async def test_a_new_read_model_catches_up_while_others_append_and_is_then_inline(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projections.joining._SLICE_EVENTS", 3)
    async with open_store(database_url) as store:
        for _ in range(10):
            await store.post(a_run(), an_ended_run())
        async with store.engine.begin() as connection:
            await connection.execute(CreateTable(kinds_seen))

    monkeypatch.setattr(projector, "ADDED", (KindsSeen(),))
    async with open_store(database_url) as store:
        lags: list[int] = []
        while not lags or lags[-1]:
            await store.post(a_run())
            found = {one["name"]: one for one in (await store.get("/projections"))["projections"]}
            lags.append(found["kinds_seen"]["lag"])
            assert len(lags) < 1000
        assert max(lags) > 0
        for _ in range(3):
            await store.post(a_run())
            found = {one["name"]: one for one in (await store.get("/projections"))["projections"]}
            assert found["kinds_seen"]["lag"] == 0  # Inline: what is acknowledged is in it.
        async with store.engine.connect() as connection:
            counted = {row.initial: row.events for row in await connection.execute(kinds_seen.select())}
            runs = await store.count("runs")
        assert counted == {ord("R"): runs, ord("P"): 1}


async def test_a_new_read_model_catches_up_again_with_what_servers_of_the_version_before_append(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.joining._PAUSE_S", 0.02)
    async with open_store(database_url) as store:
        await store.post(a_run())
        async with store.engine.begin() as connection:
            await connection.execute(CreateTable(kinds_seen))
    with monkeypatch.context() as newer:
        newer.setattr(projector, "ADDED", (KindsSeen(),))
        async with open_store(database_url) as store:
            await caught_up(store)
            with monkeypatch.context() as older:  # As for a server that does not know it: nothing is folded inline.
                older.setattr(projector, "apply_added", _fold_nothing)
                await store.post(a_run(), an_ended_run())
            await caught_up(store)
            async with store.engine.connect() as connection:
                counted = {row.initial: row.events for row in await connection.execute(kinds_seen.select())}
    assert counted[ord("R")] == 3


async def _fold_nothing(*_: object, **__: object) -> None: ...


async def caught_up(store: Store) -> None:
    """Wait until the added read model lags no more."""
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up:
        found = {one["name"]: one["lag"] for one in (await store.get("/projections"))["projections"]}
        if not found["kinds_seen"]:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"it did not catch up: {found}")


# --- the command line, beside a server --------------------------------------------------------------------------------


async def run_cli(url: str, *options: str) -> tuple[int, str, str]:
    """The exit code, output and progress of `agent-spy rebuild`."""
    process = await asyncio.create_subprocess_exec(*command(url, *options), cwd=CHECKOUT, stdout=PIPE, stderr=PIPE)
    out, progress = await process.communicate()
    return process.returncode or 0, out.decode(), progress.decode()


def command(url: str, *options: str) -> Sequence[str]:
    return [sys.executable, "-m", "service", "rebuild", "--database-url", url, *options]


async def test_the_command_tells_steps_and_what_became_of_it(store: Store) -> None:
    run = an_ended_run()
    await store.post(run)
    code, out, progress = await run_cli(url_of(store))
    assert code == 0
    assert progress.startswith("Folding the log (")
    assert "Comparing with what is live" in progress
    assert out.startswith("Replaced: the read models are as the log says, up to position 2.\n2 events in ")

    await execute(store, "UPDATE runs SET status = 'failed'")
    code, out, _ = await run_cli(url_of(store), "--projection", "runs", "--dry-run")
    assert code == 1
    assert f"  runs {run['id']}: status is 'failed', and should be 'completed'\n" in out
    code, out, _ = await run_cli(url_of(store), "--trace", run["id"])
    assert (code, (await store.run(run["id"]))["status"]) == (0, "completed")


async def test_the_command_refuses_what_does_not_go_together(database_url: str) -> None:
    for options in (("--dry-run", "--replace"), ("--trace", new_id(), "--projection", "runs"), ("--trace", "x")):
        code, out, told = await run_cli(database_url, *options)
        assert (code, out) == (2, "")
        assert "Error: " in told


@asynccontextmanager
async def served(database_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a real server."""
    with Server(database_url, tmp_path) as server:
        async with httpx.AsyncClient(base_url=server.url, timeout=30, trust_env=False) as client:
            yield client


REBUILD_AGAIN_AND_AGAIN: Final = """
import asyncio, sys, time
from projections.rebuild import rebuild
stop = time.monotonic() + float(sys.argv[2])
while time.monotonic() < stop:
    print(asyncio.run(rebuild(sys.argv[1], rule="documented", processes=1)).outcome, flush=True)
"""


async def test_rebuilds_in_a_loop_are_noticed_by_nobody(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four clients ingest, with duplicates, and four read, while one rebuild follows the other."""
    stop = 0.0
    answers: list[tuple[int, str]] = []
    pauses: list[float] = []
    known: list[str] = []

    async def ingest(client: httpx.AsyncClient, source: random.Random) -> None:
        batch: bytes = b""
        while time.monotonic() < stop:
            if not batch or source.random() < 0.7:
                root = an_ended_run()
                child = a_run(trace_id=root["id"], parent_run_id=root["id"], dotted_order=None)
                patch = {"id": child["id"], "end_time": "2024-01-15T10:30:09Z", "outputs": {"a": source.random()}}
                batch = orjson.dumps({"post": [root, child], "patch": [patch]})
            begun = time.monotonic()
            answer = await client.post("/runs/batch", content=batch)
            pauses.append(time.monotonic() - begun)
            answers.append((answer.status_code, answer.text))
            known.append(orjson.loads(batch)["post"][0]["id"])

    async def read(client: httpx.AsyncClient, source: random.Random) -> None:
        while time.monotonic() < stop:
            for path in ("/dashboard/runs/roots", "/dashboard/stats/summary", "/sessions"):
                answer = await client.get(path)
                answers.append((answer.status_code, answer.text))
            if known:
                answer = await client.get(f"/runs/{known[-1]}")  # What was acknowledged is there.
                answers.append((answer.status_code, answer.text))

    async with served(database_url, tmp_path) as client:
        await client.post("/runs/batch", content=orjson.dumps({"post": [an_ended_run()]}))
        rebuilding = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", REBUILD_AGAIN_AND_AGAIN, database_url, str(ONLINE_S)), cwd=CHECKOUT, stdout=PIPE
        )
        stop = time.monotonic() + ONLINE_S
        sources = [random.Random(number) for number in range(CLIENTS + READERS)]
        await asyncio.gather(
            *(ingest(client, source) for source in sources[:CLIENTS]),
            *(read(client, source) for source in sources[CLIENTS:]),
        )
        outcomes = (await rebuilding.communicate())[0].decode().split()
        compared = await rebuild(database_url, DRY_RUN, rule="documented", processes=1)
    assert [answer for answer in answers if answer[0] != 200] == []
    assert outcomes
    assert set(outcomes) == {"replaced"}
    assert (compared.outcome, told(compared.differences)) == ("equal", "")
    with capsys.disabled():
        print(
            f"\n{len(outcomes)} rebuilds beside {len(pauses)} batches and {len(answers) - len(pauses)} reads: "
            f"the longest wait for an ingest was {1000 * max(pauses):.0f} ms (aim: {INGEST_PAUSE_MS} ms)"
        )


async def test_a_rebuild_that_is_killed_leaves_what_is_live_and_the_next_one_succeeds(database_url: str) -> None:
    source = random.Random(2026)
    async with open_store(database_url) as store:
        for _ in range(20):
            await store.post(*(an_ended_run() for _ in range(100)))
    async with opened(database_url) as live:
        before = await rows_of(live)
        for _ in range(KILLS):
            process = await asyncio.create_subprocess_exec(
                *command(database_url, "--replace"), cwd=CHECKOUT, stdout=PIPE, stderr=PIPE
            )
            assert process.stderr is not None
            for _ in range(source.randrange(1, 5)):  # One line for every step.
                await process.stderr.readline()
            await asyncio.sleep(source.random() * 0.1)
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()
            assert await rows_of(live) == before
            compared = await rebuild(database_url, DRY_RUN, rule="documented", processes=1)
            assert (compared.outcome, told(compared.differences)) == ("equal", "")
        assert (await rebuild(database_url, rule="documented", processes=1)).outcome == "replaced"
        assert await rows_of(live) == before
