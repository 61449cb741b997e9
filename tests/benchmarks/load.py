"""The load: clients that each send one request after the other, in a process of their own.

Bodies are built before the clock starts, so that what is measured beside the server is little more than `send`.
"""

import http.client
import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal
from urllib.parse import urlsplit

from tests.benchmarks.traffic import RUNS_PER_TRACE, Body, Item, Run, Shape, encode, make_runs

Order = Literal["apart", "merged"]

ORDERS: Final[tuple[Order, ...]] = ("apart", "merged")
_TIMEOUT_S: Final = 60
# After 503 or a broken connection the same bytes are sent again, as the SDKs do.
_PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Workload:
    """What is sent: how many runs, by how many clients, and in what shape and order."""

    runs: int
    connections: int
    shape: Shape
    order: Order
    items_per_request: int
    seed: int
    runs_per_trace: int = RUNS_PER_TRACE
    # None: as many as the server takes.
    runs_per_second: float | None = None

    def requests(self) -> Iterator[list[Item]]:
        """The items of each request, in the order in which one client would send them."""
        runs = iter(make_runs(self.runs, seed=self.seed, per_trace=self.runs_per_trace))
        while group := list(itertools.islice(runs, self.items_per_request)):
            yield from _requests_of(group, self.order)

    def shares(self) -> list[list[Body]]:
        """The requests of each client. A run's POST and PATCH are sent by the same one."""
        shares: list[list[Body]] = [[] for _ in range(self.connections)]
        for number, items in enumerate(self.requests()):
            shares[number // self._requests_per_group % self.connections].append(encode(items, self.shape))
        return shares

    def pace(self, client: int) -> "Pace":
        """When a client's requests are due."""
        if self.runs_per_second is None:
            return Pace()
        seconds = (
            self.items_per_request / self._requests_per_group / self.runs_per_second
        )  # from one to the next of all
        return Pace(client * seconds, self.connections * seconds)

    @property
    def _requests_per_group(self) -> int:
        return 2 if self.order == "apart" else 1


@dataclass(frozen=True, slots=True)
class Pace:
    """When requests are due, in seconds from the beginning; without `interval`, when the one before was answered."""

    first: float = 0.0
    interval: float | None = None

    def wait(self, began: float, number: int) -> float:
        """Wait until a request is due, and tell when that was (as `time.perf_counter` does)."""
        now = time.perf_counter()
        if self.interval is None:
            return now
        due = began + self.first + number * self.interval
        time.sleep(max(due - now, 0))
        return due


@dataclass(frozen=True, slots=True)
class Sent:
    """What a load brought: seconds from the first byte to the last answer, and seconds of each answer, in order.

    An answer's seconds begin when its request was due: one that had to wait for the one before waited, too.
    """

    seconds: float
    answers: list[float]
    body_bytes: int
    sent_again: int


class Client:
    """One keep-alive connection to the server."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=_TIMEOUT_S)

    def post(self, body: Body) -> int:
        """The status of the answer. Raises OSError or http.client.HTTPException when there is none."""
        try:
            self._connection.request("POST", body.path, body.content, body.headers)
            response = self._connection.getresponse()
            response.read()
            return response.status
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def get(self, path: str) -> bytes:
        """The answer to a GET. Raises RuntimeError when its status is not 200."""
        self._connection.request("GET", path)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"GET {path}: {response.status}: {answer[:500]!r}")
        return answer

    def close(self) -> None:
        self._connection.close()


def send(workload: Workload, url: str) -> Sent:
    """Send the load from as many threads as there are clients, and wait for every answer."""
    shares = workload.shares()
    with ThreadPoolExecutor(workload.connections) as threads:
        began = time.perf_counter()
        paces = map(workload.pace, range(workload.connections))
        outcomes = list(threads.map(partial(send_share, url), shares, paces))
        seconds = time.perf_counter() - began
    return Sent(
        seconds,
        sorted(answer for answers, _ in outcomes for answer in answers),
        sum(len(body.content) for share in shares for body in share),
        sum(again for _, again in outcomes),
    )


def send_share(url: str, bodies: Sequence[Body], pace: Pace = Pace()) -> tuple[list[float], int]:
    """Send what one client has to send, one after the other: seconds to each answer, and how many were sent again.

    Raises RuntimeError when the answer is neither a 2xx nor a 503.
    """
    client = Client(url)
    answers: list[float] = []
    again = 0
    began = time.perf_counter()
    for number, body in enumerate(bodies):
        due = pace.wait(began, number)
        while (status := _status(client, body)) in (None, 503):
            again += 1
            time.sleep(_PAUSE_S)
        if status not in (200, 202):
            raise RuntimeError(f"POST {body.path}: {status}")
        answers.append(time.perf_counter() - due)
    client.close()
    return answers, again


def _status(client: Client, body: Body) -> int | None:
    try:
        return client.post(body)
    except (OSError, http.client.HTTPException):
        return None


def _requests_of(group: Sequence[Run], order: Order) -> Iterator[list[Item]]:
    if order == "merged":
        yield [Item("post", run.merged) for run in group]
    else:
        yield [Item("post", run.post) for run in group]
        yield [Item("patch", run.patch) for run in group]
