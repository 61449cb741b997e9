"""What `GET /metrics` shows, and that its documentation and the dashboard speak of what is there."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.ext.asyncio import create_async_engine

from events.errors import DataRefused, Unavailable
from service.settings import load_settings
from tests.databases import Databases
from tests.server import Server
from tests.service.apps import Store, a_run, open_store

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "operations.md").read_text()
DASHBOARD = json.loads((ROOT / "docs" / "grafana" / "agent-spy.json").read_text())
# What Prometheus adds to every series that it reads, and to the buckets of a histogram.
LABELS_OF_PROMETHEUS = {"job", "le"}
WORDS_OF_PROMQL = {"by", "sum", "min", "max", "rate", "histogram_quantile"}


class Page:
    """A page of metrics, as Prometheus reads it."""

    def __init__(self, text: str) -> None:
        self.families: list[Metric] = list(text_string_to_metric_families(text))

    def value(self, name: str, **labels: str) -> float:
        """The sum over the series of a name that have these labels; 0 without any."""
        return sum(
            sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def values_of(self, name: str, label: str) -> set[str]:
        """The values that a label has among the series of a name."""
        return {sample.labels[label] for family in self.families for sample in family.samples if sample.name == name}


async def scrape(store: Store) -> Page:
    answer = await store.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return Page(answer.text)


@pytest.fixture
async def metered(database_url: str) -> AsyncIterator[Store]:
    """An application of its own: that of `store` has counted what other tests did."""
    async with open_store(database_url, app_name=f"metered {database_url[-12:]}") as store:
        yield store


async def test_requests_are_counted_by_route_method_and_status(metered: Store) -> None:
    run = a_run()
    for path in ("/runs", "/api/v1/runs"):
        await metered.client.post(path, json=run)
    await metered.client.post("/runs", content=b"no json")
    await metered.client.get(f"/runs/{run['id']}")
    await metered.client.put(f"/runs/{run['id']}")
    for path in ("/nowhere/at/all", "/nor/here"):
        await metered.client.get(path)
    await metered.client.request("INVENTED", "/nowhere/at/all")
    page = await scrape(metered)
    total = "agentspy_http_requests_total"
    assert page.value(total, route="/runs", method="POST", status="202") == 2
    assert page.value(total, route="/runs", method="POST", status="400") == 1
    assert page.value(total, route="/runs/{run_id}", method="GET", status="200") == 1
    assert page.value(total, route="/runs/{run_id}", method="PUT", status="405") == 1
    assert page.value(total, route="other", status="404") == 3
    assert "INVENTED" not in page.values_of(total, "method")
    assert page.value("agentspy_http_request_duration_seconds_count", route="/runs", method="POST") == 3
    assert page.value("agentspy_http_request_duration_seconds_sum", route="/runs", method="POST") > 0


async def test_an_exception_that_nothing_answers_counts_as_500(metered: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr(metered.app.state.intake.writer, "submit", fail)
    assert (await metered.client.post("/runs", json=a_run())).status_code == 500
    assert (await scrape(metered)).value("agentspy_http_requests_total", route="/runs", status="500") == 1


async def test_items_are_counted_by_what_became_of_them_and_groups_by_their_size(metered: Store) -> None:
    before = await scrape(metered)
    run = a_run()
    await metered.client.post("/runs/batch", json={"post": [run, run, a_run(), {"id": "none"}]})
    page = await scrape(metered)

    def added(name: str, **labels: str) -> float:
        return page.value(name, **labels) - before.value(name, **labels)

    outcomes = {name: added("agentspy_items_total", outcome=name) for name in ("applied", "duplicate", "quarantined")}
    assert outcomes == {"applied": 2, "duplicate": 1, "quarantined": 1}
    assert added("agentspy_commit_items_sum") == 4
    assert added("agentspy_commit_requests_sum") == added("agentspy_commit_duration_seconds_count") == 1
    assert added("agentspy_commit_bytes_sum") > 100


async def test_how_things_stand_is_shown(metered: Store) -> None:
    with metered.app.state.intake.memory.hold() as hold:
        await hold.grow_to(12345)
        async with metered.engine.connect():
            page = await scrape(metered)
    assert page.value("agentspy_ingest_held_bytes") == 12345
    assert page.value("agentspy_ingest_limit_bytes") == 256 * 2**20
    assert page.value("agentspy_ingest_waiting_requests") == 0
    assert page.value("agentspy_database_pool_in_use") == 1
    assert page.value("agentspy_database_pool_size") == 20
    assert page.value("agentspy_database_up") == page.value("agentspy_workers") == page.value("agentspy_info") == 1
    assert page.value("agentspy_stored_bytes") > 10_000
    assert page.value("process_resident_memory_bytes") > 10_000_000


async def test_the_log_and_the_lag_of_each_read_model_are_shown(metered: Store) -> None:
    await metered.post(a_run(), a_run())
    page = await scrape(metered)
    assert page.value("agentspy_log_events_total") == 3  # With the project that the application makes.
    assert {"runs", "stats"} <= page.values_of("agentspy_projection_lag_events", "projection")
    assert page.value("agentspy_projection_lag_events") == 0


async def test_a_database_that_takes_no_write_is_told_by_metrics_and_health_until_it_takes_one(
    metered: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = metered.app.state.intake.writer

    async def gone() -> None:
        raise Unavailable("the disk that holds it is full")

    with monkeypatch.context() as patched:
        patched.setattr(writer, "_patience_s", 0.3)
        patched.setattr(writer._writer, "_begin", gone)
        answer = await metered.client.post("/runs", json=a_run())
        page, health = await scrape(metered), await metered.client.get("/health")
    assert answer.status_code == 503
    assert "the disk that holds it is full" in answer.json()["detail"]
    assert page.value("agentspy_refused_requests_total", reason="database") == 1
    assert page.value("agentspy_commit_failures_total", reason="unavailable") >= 1
    assert page.value("agentspy_writes_failing") == 1
    assert (health.status_code, health.json()["database_status"]) == (503, "unhealthy")
    assert health.json()["ingest"]["status"] == "failing"
    assert health.json()["ingest"]["reason"] == "the disk that holds it is full"
    await metered.post(a_run())
    assert (await scrape(metered)).value("agentspy_writes_failing") == 0
    assert (await metered.client.get("/health")).status_code == 200


async def test_a_group_that_is_refused_is_counted(metered: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise DataRefused("not this")

    with monkeypatch.context() as patched:
        patched.setattr("service.ingest.writer.projector.apply", refuse)
        await metered.client.post("/runs", json=a_run())
    assert (await scrape(metered)).value("agentspy_commit_failures_total", reason="refused") >= 1


async def test_metrics_are_shown_when_the_database_does_not_answer(metered: Store) -> None:
    started = metered.app.state.engine
    metered.app.state.engine = create_async_engine("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
    page = await scrape(metered)
    metered.app.state.engine = started
    assert page.value("agentspy_database_up") == 0
    assert page.value("agentspy_workers") == 1
    assert page.value("agentspy_stored_bytes") == 0


async def test_a_key_for_metrics_opens_metrics_and_nothing_else(database_url: str) -> None:
    async with open_store(database_url, require_auth=True, api_keys="scraper:metrics,reader:read") as store:
        for key, path, status in (
            ("scraper", "/metrics", 200),
            ("reader", "/metrics", 403),
            ("nobody", "/metrics", 401),
            ("scraper", "/runs/1", 403),
        ):
            answer = await store.client.get(path, headers={"Authorization": f"Bearer {key}"})
            assert (key, path, answer.status_code) == (key, path, status)


async def test_metrics_that_are_off_are_not_there(database_url: str) -> None:
    async with open_store(database_url, metrics_enabled=False) as store:
        assert (await store.client.get("/metrics")).status_code == 404
        assert "/metrics" not in store.app.openapi()["paths"]
        await store.post(a_run())


# --- workers ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def postgresql_database_url(databases: Callable[[str], Databases]) -> Iterator[str]:
    url = databases("postgresql").migrated()
    yield url
    databases("postgresql").drop(url)


def test_any_worker_answers_for_all_of_them(postgresql_database_url: str, tmp_path: Path) -> None:
    sent, bodies = 40, [orjson.dumps({"post": [a_run()]}) for _ in range(40)]
    with Server(postgresql_database_url, tmp_path, options=["--workers", "2"]) as server:
        for body in bodies:  # Each over a connection of its own, which either worker may take.
            answer = httpx.post(f"{server.url}/runs/batch", content=body, trust_env=False)
            assert answer.status_code == 200
        pages = [Page(httpx.get(f"{server.url}/metrics", trust_env=False).text) for _ in range(8)]
    counted = "agentspy_http_requests_total"
    assert {page.value(counted, route="/runs/batch", status="200") for page in pages} == {sent}
    assert {page.value("agentspy_items_total", outcome="applied") for page in pages} == {sent + 1}
    assert {page.value("agentspy_workers") for page in pages} == {2}
    assert {page.value("agentspy_ingest_limit_bytes") for page in pages} == {2 * 256 * 2**20}
    assert {len(page.values_of("process_resident_memory_bytes", "pid")) for page in pages} == {2}


# --- what is said of them ---------------------------------------------------------------------------------------------


async def described(store: Store) -> dict[str, tuple[str, set[str], str]]:
    """Type, labels and text of every metric that is shown, once each has a series."""
    answer = await store.client.get("/metrics")
    told = re.findall(r"^# HELP (\S+) (.*)\n# TYPE \S+ (\w+)$", answer.text, re.MULTILINE)
    page = Page(answer.text)
    return {
        name: (kind, {label for series in _series(page, name) for label in series} - {"le"}, text)
        for name, text, kind in told
    }


def _series(page: Page, name: str) -> Iterator[dict[str, str]]:
    for family in page.families:
        for sample in family.samples:
            if sample.name in {name, f"{name}_bucket"}:
                yield sample.labels


async def documented_and_shown(store: Store) -> tuple[dict[str, Any], dict[str, Any]]:
    store.app.state.metrics.refused(Unavailable("so that there is a series"))
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?)\| (.+) \|$", DOCUMENT, re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"\w+", labels)), text) for name, kind, labels, text in rows}
    await store.get("/health/live")
    return documented, await described(store)


async def test_the_documentation_lists_what_is_shown(metered: Store) -> None:
    documented, shown = await documented_and_shown(metered)
    assert documented == shown


async def test_the_dashboard_asks_for_metrics_and_labels_that_are_there(metered: Store) -> None:
    _, shown = await documented_and_shown(metered)
    names = {
        name + suffix: labels
        for name, (kind, labels, _) in shown.items()
        for suffix in (("_bucket", "_sum", "_count") if kind == "histogram" else ("",))
    }
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    assert len(queries) > 20
    for query in queries:
        asked = re.findall(r"\b((?:agentspy|process)_\w+)\{(.*?)\}", query)
        assert asked, query
        for name, matchers in asked:
            labels = set(re.findall(r"(\w+)(?:=|!=)~?\"", matchers))
            labels |= {word for group in re.findall(r"by \(([^)]*)\)", query) for word in re.findall(r"\w+", group)}
            assert name in names, query
            assert labels <= names[name] | LABELS_OF_PROMETHEUS, query
        rest = re.sub(r"\{.*?\}|by \([^)]*\)|\[.*?\]|\b(?:agentspy|process)_\w+", "", query)
        assert set(re.findall(r"[a-z_]{2,}", rest)) <= WORDS_OF_PROMQL, query


def test_the_documentation_names_the_scope_and_the_settings_that_exist() -> None:
    settings = {name.upper() for name in type(load_settings(None)).model_fields}
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)", DOCUMENT))
    assert named
    assert named <= settings
