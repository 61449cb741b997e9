"""A database that is away for a while costs waiting or a 503: nothing acknowledged, and no SDK loses anything."""

import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.crash import outages
from tests.crash.campaign import Campaign, Crash
from tests.crash.postgresql import DurablePostgresql
from tests.crash.sdks import CLIENTS, Outage, send_through_outage
from tests.crash.test_crash import require_nothing_wrong
from tests.databases import Databases, PostgresqlServer
from tests.server import Server
from tests.service.apps import a_run, new_id

OUTAGE_S = 2.0
ANSWERS_MAX = 20


def test_a_sqlite_file_that_is_locked_or_has_no_room_loses_nothing(
    databases: Callable[[str], Databases], tmp_path: Path
) -> None:
    campaign = Campaign(databases("sqlite"), tmp_path, seed=2, answers_max=ANSWERS_MAX, outage_s=OUTAGE_S)
    require_nothing_wrong(campaign.run([Crash.LOCKED, Crash.FULL]))


def test_a_postgresql_that_is_away_or_does_not_answer_loses_nothing(durable: DurablePostgresql, tmp_path: Path) -> None:
    databases = PostgresqlServer(durable.url)
    campaign = Campaign(databases, tmp_path, seed=2, answers_max=ANSWERS_MAX, postgresql=durable, outage_s=OUTAGE_S)
    try:
        tally = campaign.run([Crash.AWAY, Crash.FROZEN])
    finally:
        databases.close()
    require_nothing_wrong(tally)


def test_a_full_disk_is_told_in_words_and_noticed_when_it_has_room_again(
    tight_disk: outages.SmallDisk | outages.Quota, tmp_path: Path
) -> None:
    url = f"sqlite+aiosqlite:///{tight_disk.path}/store.db"
    run = a_run(inputs={"noise": [new_id() for _ in range(30_000)]})
    with (
        Server(url, tmp_path, options=["--migrate"], inside=tight_disk.namespace) as server,
        httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client,
    ):
        kept = client.post("/runs", json=a_run())
        with tight_disk.without_room(server):
            refused = client.post("/runs", json=run)
            health, read = client.get("/health"), client.get("/dashboard/runs/roots")
        give_up = time.monotonic() + 60
        while client.get("/health").status_code != 200 and time.monotonic() < give_up:
            time.sleep(0.1)
        healthy, taken = client.get("/health").json(), client.post("/runs", json=run)
        listed = client.get("/dashboard/runs/roots").json()
    assert (kept.status_code, refused.status_code, refused.headers["retry-after"]) == (202, 503, "10")
    for told in (refused.json()["detail"], health.json()["ingest"]["reason"]):
        assert f"the disk that holds {tight_disk.path}/store.db {tight_disk.said}" in told
    assert (health.status_code, health.json()["ingest"]["status"], read.json()["total"]) == (503, "failing", 1)
    assert (healthy["status"], healthy["ingest"]["reason"], taken.status_code) == ("healthy", None, 202)
    assert listed["total"] == 2


def test_no_sdk_loses_anything_when_a_sqlite_file_was_locked(
    databases: Callable[[str], Databases], tmp_path: Path
) -> None:
    lost = send_through_outage(CLIENTS, databases("sqlite"), tmp_path, outage=Outage(None), outage_s=OUTAGE_S)
    assert lost == {name: [] for name in CLIENTS}


def test_no_sdk_loses_anything_when_postgresql_was_away(durable: DurablePostgresql, tmp_path: Path) -> None:
    databases = PostgresqlServer(durable.url)
    try:
        lost = send_through_outage(CLIENTS, databases, tmp_path, outage=Outage(durable), outage_s=OUTAGE_S)
    finally:
        databases.close()
    assert lost == {name: [] for name in CLIENTS}
