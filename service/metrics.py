"""What the service counts of itself, in the words of Prometheus. `docs/operations.md` tells what each means.

One process keeps its counts in memory. Workers of one server keep them in files of a directory that they share
(`prometheus_client`'s multiprocess mode), so that whichever worker is asked answers for all of them.
"""

import os
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from events.errors import FoldVersionMismatch, SchemaMismatch
from events.log import Outcome
from service.ingest.memory import Busy
from service.ingest.writer import Committed, Observer, Stopping

_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 8.0, 10.0, 30.0)
_COMMIT_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COUNTS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)
_BYTES: Final = (1e3, 1e4, 1e5, 1e6, 2e6, 4e6, 8e6, 3.2e7, 1.28e8)
# What a client calls its method ends up in a label: names of its own invention must not.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
NO_ROUTE: Final = "other"
_REASONS: Final[dict[type[Exception], str]] = {
    Busy: "queue",
    Stopping: "stopping",
    FoldVersionMismatch: "folds",
    SchemaMismatch: "schema",
}


class Metrics(Observer):
    """The counts of one process, and the page that shows them with those of the other workers.

    `shared` is the directory that workers share, or None when there is one process.
    """

    def __init__(self, shared: Path | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._shared = shared
        self._own = own = CollectorRegistry()
        self._answers: dict[tuple[str, str, int], Callable[[float], None]] = {}
        self._requests = Counter(
            "agentspy_http_requests", "Requests that were answered.", ("route", "method", "status"), registry=own
        )
        self._request_seconds = Histogram(
            "agentspy_http_request_duration_seconds",
            "Seconds from a request's headers to the beginning of its answer.",
            ("route", "method"),
            buckets=_S,
            registry=own,
        )
        self._refused = Counter(
            "agentspy_refused_requests", "Requests that were answered 503.", ("reason",), registry=own
        )
        items = Counter("agentspy_items", "Items that were sent, by what became of them.", ("outcome",), registry=own)
        self._items = {outcome: items.labels(outcome) for outcome in get_args(Outcome)}
        self._commit_seconds = Histogram(
            "agentspy_commit_duration_seconds",
            "Seconds from beginning the transaction of a group of requests to the end of its commit.",
            buckets=_COMMIT_S,
            registry=own,
        )
        self._commit_requests = Histogram(
            "agentspy_commit_requests", "Requests in a group.", buckets=_COUNTS, registry=own
        )
        self._commit_items = Histogram("agentspy_commit_items", "Items in a group.", buckets=_COUNTS, registry=own)
        self._commit_bytes = Histogram("agentspy_commit_bytes", "Bytes in a group.", buckets=_BYTES, registry=own)
        failures = Counter(
            "agentspy_commit_failures", "Transactions of groups that failed, by why.", ("reason",), registry=own
        )
        self._failures = {reason: failures.labels(reason) for reason in ("unavailable", "refused")}
        self._gauges = {name: _summed(name, text, own) for name, text in _SAMPLED.items()}

    @property
    def is_shared(self) -> bool:
        """Whether other processes show these counts with theirs."""
        return self._shared is not None

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered: `route` is the template of its path, NO_ROUTE if there is none."""
        key = (route, method, status)
        note = self._answers.get(key)
        if note is None:
            note = self._answers[key] = self._noting(route, method if method in _METHODS else "other", status)
        note(seconds)

    def refused(self, error: Exception) -> None:
        """A request was answered 503, because of this error."""
        self._refused.labels(_REASONS.get(type(error), "database")).inc()

    def committed(self, group: Committed) -> None:
        """A group of requests was committed."""
        self._commit_seconds.observe(group.seconds)
        self._commit_requests.observe(len(group.outcomes))
        self._commit_bytes.observe(group.size)
        outcomes = Tally[Outcome]()
        for of_one in group.outcomes:
            outcomes.update(of_one)
        self._commit_items.observe(outcomes.total())
        for outcome, count in outcomes.items():
            self._items[outcome].inc(count)

    def failed(self, error: Exception, *, is_passing: bool) -> None:
        """The transaction of a group failed."""
        self._failures["unavailable" if is_passing else "refused"].inc()

    def sample(self, values: "dict[str, float]") -> None:
        """How things stand in this process: values of the names in `_SAMPLED`."""
        for name, value in values.items():
            self._gauges[name].set(value)

    def page(self, accept: str, store: Iterable[Metric]) -> tuple[bytes, str]:
        """The page that Prometheus reads, with what the store tells, and its content type."""
        shown = CollectorRegistry()
        if self._shared is None:
            shown.register(self._own)
        else:
            _forget_the_dead(self._shared)
            MultiProcessCollector(shown, str(self._shared))  # type: ignore[no-untyped-call]
        shown.register(_Given(store))
        shown.register(_Processes(_pids(self._shared) or [os.getpid()]))
        encode, content_type = choose_encoder(accept)
        return encode(shown), content_type

    def _noting(self, route: str, method: str, status: int) -> Callable[[float], None]:
        """Finding the series of some labels takes longer than adding to them, so it is done once for each."""
        count, observe = (
            self._requests.labels(route, method, str(status)).inc,
            self._request_seconds.labels(route, method).observe,
        )

        def note(seconds: float) -> None:
            count()
            observe(seconds)

        return note


_SAMPLED: Final = {
    "agentspy_ingest_held_bytes": "Bytes of the requests that are being read or wait to be written.",
    "agentspy_ingest_limit_bytes": "Bytes beyond which requests wait, and then are refused (INGEST_QUEUE_MB).",
    "agentspy_ingest_waiting_requests": "Requests that wait for room in memory or to be written.",
    "agentspy_writes_failing": "Workers whose last transaction the database did not take.",
    "agentspy_database_pool_in_use": "Connections for reading that are in use.",
    "agentspy_database_pool_size": "Connections for reading that are kept (DATABASE_POOL_SIZE).",
    "agentspy_workers": "Processes that serve.",
}


def _summed(name: str, text: str, registry: CollectorRegistry) -> Gauge:
    return Gauge(name, text, multiprocess_mode="livesum", registry=registry)


class _Given(Collector):
    """Shows what was collected elsewhere."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


class _Processes(Collector):
    """What `/proc` tells of each process, with its id as a label."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids

    def collect(self) -> Iterator[Metric]:
        found: dict[str, Metric] = {}
        for pid in self._pids:
            for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
                shown = found.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    shown.add_sample(sample.name, {**sample.labels, "pid": str(pid)}, sample.value)
        yield from found.values()


def _pids(shared: Path | None) -> list[int]:
    """The processes that have written to the shared directory."""
    files = shared.glob("*_*.db") if shared else ()
    return sorted({int(file.stem.rpartition("_")[2]) for file in files})


def _forget_the_dead(shared: Path) -> None:
    """Take away what processes that ended said of how things stand. What they counted stays counted."""
    for pid in _pids(shared):
        if not Path(f"/proc/{pid}").exists():
            mark_process_dead(pid, str(shared))  # type: ignore[no-untyped-call]
