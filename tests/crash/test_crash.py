"""A short campaign. The whole one is a command of its own: `make crash`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash.campaign import Campaign, Crash, Tally
from tests.crash.postgresql import DurablePostgresql, durable_postgresql
from tests.databases import Databases, PostgresqlServer

ANSWERS_MAX = 30


@pytest.fixture(scope="module")
def postgresql() -> Iterator[DurablePostgresql]:
    """A server that writes to the disk, and that these tests may stop."""
    with durable_postgresql() as server:
        yield server


def test_kills_of_a_server_on_sqlite_lose_nothing_and_leave_no_request_in_part(
    databases: Callable[[str], Databases], tmp_path: Path
) -> None:
    campaign = Campaign(databases("sqlite"), tmp_path, seed=1, answers_max=ANSWERS_MAX)
    require_nothing_wrong(campaign.run([Crash.SERVER] * 5))


def test_kills_of_servers_on_postgresql_lose_nothing_and_leave_no_request_in_part(
    postgresql: DurablePostgresql, tmp_path: Path
) -> None:
    databases = PostgresqlServer(postgresql.url)
    campaign = Campaign(databases, tmp_path, seed=1, workers=2, answers_max=ANSWERS_MAX)
    try:
        require_nothing_wrong(campaign.run([Crash.SERVER] * 2))
    finally:
        databases.close()


def test_a_server_outlives_ends_of_postgresql_and_loses_nothing(postgresql: DurablePostgresql, tmp_path: Path) -> None:
    databases = PostgresqlServer(postgresql.url)
    campaign = Campaign(databases, tmp_path, seed=1, postgresql=postgresql, answers_max=ANSWERS_MAX)
    try:
        require_nothing_wrong(campaign.run([Crash.TERMINATED, Crash.BACKEND, Crash.POSTGRESQL]))
    finally:
        databases.close()


def require_nothing_wrong(tally: Tally) -> None:
    assert not tally.wrong
    assert tally.acknowledged == tally.sent > len(tally.crashes)
