"""What a real SDK waits for: sending runs to a server, against sending them to an endpoint that discards them."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import httpx
import orjson

from tests.benchmarks.load import Client
from tests.benchmarks.traffic import make_runs
from tests.benchmarks.watch import Watch
from tests.sdk.environments import ClientEnvironment, installed
from tests.server import Server

CLIENT: Final = "langsmith-0.15.0"
_START_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds until an SDK had sent everything, to a server and to nobody, and the server's processor time."""

    server_s: float
    discarded_s: float
    server_cpu_s: float

    @property
    def ratio(self) -> float:
        return self.server_s / self.discarded_s


def measure(url: str, directory: Path, runs: int) -> Took:
    """Send so many runs with an SDK of its own process, first to nobody, then to a server on this database.

    Raises RuntimeError when the server does not hold all of them afterwards.
    """
    client = installed(CLIENT)
    document = [[run.post, {**run.patch, "id": run.id}] for run in make_runs(runs, seed=7)]
    with Server(url, directory) as server:
        with discarding(_info(server.url)) as address:
            discarded = _send(client, address, directory, document)
        with Watch([server.pid]) as used:
            taken = _send(client, server.url, directory, document)
        _require_all(server.url, runs)
    return Took(taken["sent_s"], discarded["sent_s"], used.cpu_seconds)


def _send(client: ClientEnvironment, address: str, directory: Path, document: Any) -> dict[str, float]:
    environ = {
        "LANGSMITH_ENDPOINT": address,
        "LANGSMITH_API_KEY": "none",
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_TRACING_SAMPLING_RATE": "1",
    }
    told: dict[str, float] = client.run("many.py", environ, directory, document)
    return told


def _info(url: str) -> bytes:
    """What the server tells an SDK about how to send, so that both endpoints are sent to in the same way."""
    return httpx.get(f"{url}/info", headers={"User-Agent": "langsmith-py/0.15.0"}, trust_env=False).content


def _require_all(url: str, runs: int) -> None:
    client = Client(url)
    found = orjson.loads(client.get("/api/v1/dashboard/stats/summary"))["stats"]["total_runs"]
    client.close()
    if found != runs:
        raise RuntimeError(f"{runs} runs were sent, and the server holds {found}")


@contextmanager
def discarding(info: bytes) -> Iterator[str]:
    """The address of a process that answers /info, and 202 to everything else, whose body it reads and forgets."""
    ours, its = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_discard, args=(its, info), daemon=True)
    process.start()
    try:
        if not ours.poll(_START_S):
            raise RuntimeError("the endpoint that discards did not start")
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _discard(parent: Connection, info: bytes) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(HTTPStatus.OK, info)

        def do_POST(self) -> None:
            self._read()
            self._answer(HTTPStatus.ACCEPTED, b"{}")

        do_PATCH = do_POST

        def _read(self) -> None:
            if "content-length" in self.headers:
                self.rfile.read(int(self.headers["content-length"]))
                return
            while size := int(self.rfile.readline(), 16):
                self.rfile.read(size + 2)
            self.rfile.readline()

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is logged."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    parent.send(server.server_address[1])
    threading.Thread(target=server.serve_forever).start()
