"""How long a large body, or many, hold up everyone else: the slowest answer of `/health/live` meanwhile."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final

from tests.benchmarks.load import Client, Workload, send_share
from tests.benchmarks.traffic import Body, Item, Shape, encode, make_runs

_PROBE_PAUSE_S: Final = 0.002
_REST_S: Final = 0.5
_BYTES_PER_RUN: Final = 3000
_USUAL_RUNS: Final = 5000
_USUAL_ANSWERS: Final = 50


@dataclass(frozen=True, slots=True)
class Stall:
    """What was sent, in bytes, seconds until all of it was answered, and the slowest and the usual answer beside it."""

    sent_bytes: int
    seconds: float
    slowest_seconds: float
    usual_seconds: float


def loads(size: int) -> Mapping[str, Callable[[], Sequence[Sequence[Body]]]]:
    """What each client sends, by what it is: one client a body of about `size` bytes, or eight as many as they can."""
    usual = Workload(_USUAL_RUNS, connections=8, shape="multipart", order="apart", items_per_request=100, seed=size)
    return {
        "one run, multipart": lambda: [[_one_run(size, "multipart")]],
        "one run, batch": lambda: [[_one_run(size, "batch")]],
        "many runs, multipart": lambda: [[_many_runs(size, "multipart")]],
        "many runs, batch": lambda: [[_many_runs(size, "batch")]],
        "many runs, zstd": lambda: [[_many_runs(size, "zstd")]],
        "the usual load of 8 connections": usual.shares,
    }


def measure(url: str, shares: Sequence[Sequence[Body]]) -> Stall:
    """Send what each client has to, while one more asks `/health/live` all the time. For a process of its own."""
    answers: list[float] = []
    ended = threading.Event()
    prober = threading.Thread(target=probe, args=(url, ended, answers))
    prober.start()
    try:
        while (
            len(answers) < _USUAL_ANSWERS
        ):  # The first answer takes longer: routes are made when they are first asked.
            time.sleep(_REST_S)
        usual = sorted(answers)[len(answers) // 2]
        answers.clear()
        began = time.perf_counter()
        with ThreadPoolExecutor(len(shares)) as clients:
            list(clients.map(partial(send_share, url), shares))
        seconds = time.perf_counter() - began
        time.sleep(_REST_S)
    finally:
        ended.set()
        prober.join()
    sent = sum(len(body.content) for share in shares for body in share)
    return Stall(sent, seconds, max(answers), usual)


def probe(url: str, ended: threading.Event, answers: list[float]) -> None:
    client = Client(url)
    while not ended.wait(_PROBE_PAUSE_S):
        began = time.perf_counter()
        client.get("/health/live")
        answers.append(time.perf_counter() - began)
    client.close()


def _one_run(size: int, shape: Shape) -> Body:
    """A run whose inputs are a list of messages, as a long conversation has."""
    (run,) = make_runs(1, seed=size)
    sample = run.post["inputs"]["query"]
    messages = [{"role": "user", "content": f"{number} {sample}"} for number in range(size // (len(sample) + 40))]
    return encode([Item("post", {**run.post, "inputs": {"messages": messages}})], shape)


def _many_runs(size: int, shape: Shape) -> Body:
    return encode([Item("post", run.post) for run in make_runs(size // _BYTES_PER_RUN, seed=size)], shape)
