"""A short campaign. The whole one is a command of its own: `make crash`."""

from collections.abc import Callable
from pathlib import Path

from tests.crash.campaign import Campaign, Crash, Tally
from tests.crash.postgresql import DurablePostgresql
from tests.databases import Databases, PostgresqlServer

ANSWERS_MAX = 30


def test_kills_of_a_server_on_sqlite_lose_nothing_and_leave_no_request_in_part(
    databases: Callable[[str], Databases], tmp_path: Path
) -> None:
    campaign = Campaign(databases("sqlite"), tmp_path, seed=1, answers_max=ANSWERS_MAX)
    require_nothing_wrong(campaign.run([Crash.SERVER] * 3))


def test_kills_of_a_server_and_ends_of_postgresql_lose_nothing_and_leave_no_request_in_part(
    durable: DurablePostgresql, tmp_path: Path
) -> None:
    databases = PostgresqlServer(durable.url)
    campaign = Campaign(databases, tmp_path, seed=1, answers_max=ANSWERS_MAX, postgresql=durable)
    try:
        tally = campaign.run([Crash.TERMINATED, Crash.BACKEND, Crash.POSTGRESQL, Crash.SERVER])
    finally:
        databases.close()
    require_nothing_wrong(tally)


def require_nothing_wrong(tally: Tally) -> None:
    assert not tally.wrong
    assert tally.acknowledged == tally.sent > len(tally.crashes)
