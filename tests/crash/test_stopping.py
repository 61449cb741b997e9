"""A server that is asked to stop takes nothing more, commits what waits, answers it, and ends in time."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from tests.crash import outages
from tests.crash.postgresql import DurablePostgresql
from tests.databases import Databases, PostgresqlServer
from tests.server import Server
from tests.service.apps import a_run

REQUESTS = 6
# Docker kills what has not stopped after ten.
STOP_S_MAX = 10


@pytest.fixture
def url(databases: Callable[[str], Databases]) -> Iterator[str]:
    found = databases("sqlite").migrated()
    yield found
    databases("sqlite").drop(found)


def posted(server: Server) -> int:
    return httpx.post(f"{server.url}/runs", json=a_run(), timeout=30, trust_env=False).status_code


def waiting(server: Server) -> int:
    health = httpx.get(f"{server.url}/health", timeout=30, trust_env=False).json()
    return int(health["ingest"]["waiting_requests"])


def ended_after(server: Server, began: float) -> float:
    """Seconds until the server's process has ended."""
    with suppress(psutil.NoSuchProcess):
        psutil.Process(server.pid).wait(2 * STOP_S_MAX)
    return time.monotonic() - began


def test_what_waits_when_the_server_is_asked_to_stop_is_committed_and_answered(url: str, tmp_path: Path) -> None:
    with Server(url, tmp_path) as server, ThreadPoolExecutor(REQUESTS) as threads:
        with outages.locked(url):
            answers = [threads.submit(posted, server) for _ in range(REQUESTS)]
            give_up = time.monotonic() + 5
            while waiting(server) < 1 and time.monotonic() < give_up:
                time.sleep(0.05)
            time.sleep(0.5)
            began = time.monotonic()
            os.kill(server.pid, signal.SIGTERM)
            time.sleep(1)
            assert psutil.pid_exists(server.pid)
        assert [answer.result() for answer in answers] == [202] * REQUESTS
        assert ended_after(server, began) < STOP_S_MAX
        server.stop()
        server.start()
        listed = httpx.get(f"{server.url}/dashboard/runs/roots", trust_env=False).json()
    assert listed["total"] == REQUESTS


def test_a_server_whose_sqlite_file_is_locked_tells_so_and_stops_in_time(url: str, tmp_path: Path) -> None:
    with Server(url, tmp_path) as server, outages.locked(url):
        require_refusals_and_a_stop(server)


@pytest.mark.parametrize("outage", [outages.frozen, outages.stopped])
def test_a_server_whose_postgresql_does_not_answer_tells_so_and_stops_in_time(
    outage: Callable[[DurablePostgresql], AbstractContextManager[None]], durable: DurablePostgresql, tmp_path: Path
) -> None:
    databases = PostgresqlServer(durable.url)
    with Server(databases.migrated(), tmp_path) as server:
        assert posted(server) == 202
        with outage(durable):
            require_refusals_and_a_stop(server)
    databases.close()


def require_refusals_and_a_stop(server: Server) -> None:
    with ThreadPoolExecutor(REQUESTS) as threads:
        answers = [threads.submit(posted, server) for _ in range(REQUESTS)]
        time.sleep(1)
        began = time.monotonic()
        os.kill(server.pid, signal.SIGTERM)
        assert [answer.result() for answer in answers] == [503] * REQUESTS
        assert ended_after(server, began) < STOP_S_MAX
