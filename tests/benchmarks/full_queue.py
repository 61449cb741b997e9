"""How much memory a server takes whose queue is full: clients send while another process holds the database's lock."""

import contextlib
import http.client
import random
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import make_url

from tests.benchmarks.load import Client
from tests.benchmarks.traffic import Body, Item, encode, make_runs, multipart_body, run_parts
from tests.benchmarks.watch import Watch
from tests.databases import SqliteFiles
from tests.server import Server

_LOCKED_S: Final = 6.0
_REST_S: Final = 1.0
_TINY_BYTES: Final = 250
_USUAL_BYTES: Final = 3_000


@dataclass(frozen=True, slots=True)
class Filled:
    """Bytes: what the process took before the load, and at most; and how many requests were answered with what."""

    idle_bytes: int
    peak_bytes: int
    answers: dict[int, int]


def bodies(body_bytes: int) -> dict[str, Callable[[int], Body]]:
    """Kinds of bodies of about so many bytes, made from a number."""

    def large(number: int) -> Body:
        (run,) = make_runs(1, seed=number)
        return encode([Item("post", {**run.merged, "inputs": {"q": f"{number:08}" * (body_bytes // 8)}})], "multipart")

    def usual(number: int) -> Body:
        return encode(
            [Item("post", run.post) for run in make_runs(body_bytes // _USUAL_BYTES, seed=number)], "multipart"
        )

    def tiny(number: int) -> Body:
        source = random.Random(number)
        ids = (str(uuid.UUID(int=source.getrandbits(128), version=4)) for _ in range(body_bytes // _TINY_BYTES))
        patches = ({"id": id_, "end_time": "2026-11-23T00:00:00Z"} for id_ in ids)
        return multipart_body([part for patch in patches for part in run_parts(Item("patch", patch))])

    return {"one large run": large, "usual runs": usual, "tiny patches": tiny}


def fill(directory: Path, made: Sequence[Body], *, queue_mb: int) -> Filled:
    """Send all of these at once to a server with such a queue, which cannot write for a few seconds meanwhile."""
    databases = SqliteFiles(directory)
    url = databases.migrated()
    with Server(url, directory, environ={"INGEST_QUEUE_MB": str(queue_mb), "MAX_BODY_MB": str(queue_mb)}) as server:
        with Watch([server.pid]) as idle:
            time.sleep(_REST_S)
        with Watch([server.pid]) as used, ThreadPoolExecutor(len(made)) as threads, _locked(url):
            answers = list(threads.map(lambda body: _status(server.url, body), made))
    databases.drop(url)
    return Filled(idle.memory_bytes, used.memory_bytes, {status: answers.count(status) for status in set(answers)})


@contextlib.contextmanager
def _locked(url: str) -> Iterator[None]:
    """Nobody can write while the first seconds of the block pass."""
    connection = sqlite3.connect(str(make_url(url).database), isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    release = threading.Timer(_LOCKED_S, connection.rollback)
    release.start()
    try:
        yield
    finally:
        release.join()
        connection.close()


def _status(url: str, body: Body) -> int:
    client = Client(url)
    try:
        return client.post(body)
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        client.close()
