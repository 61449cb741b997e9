"""Every example of the API's documentation, sent as it stands."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.service.apps import Store, open_store

RUN_ID = "550e8400-e29b-41d4-a716-446655440000"
CHILD_ID = "660e8400-e29b-41d4-a716-446655440001"
BATCH = b"""{
  "post": [
    {
      "id": "550e8400-e29b-41d4-a716-446655440000",
      "name": "Agent Planning",
      "run_type": "chain",
      "start_time": "2024-01-15T10:30:00Z",
      "inputs": {"query": "Analyze market trends"},
      "project_name": "market-analysis"
    }
  ],
  "patch": [
    {
      "id": "550e8400-e29b-41d4-a716-446655440000",
      "end_time": "2024-01-15T10:30:05Z",
      "outputs": {"result": "Market analysis complete"},
      "status": "completed"
    }
  ]
}"""
CHILD = {
    "id": CHILD_ID,
    "name": "LLM Call",
    "run_type": "llm",
    "parent_run_id": RUN_ID,
    "start_time": "2024-01-15T10:30:01Z",
    "end_time": "2024-01-15T10:30:03Z",
    "outputs": {"text": "…"},
    "project_name": "market-analysis",
}
TRACE_RUN = {
    "id": RUN_ID,
    "name": "Agent Planning",
    "run_type": "chain",
    "status": "completed",
    "start_time": "2024-01-15T10:30:00Z",
    "end_time": "2024-01-15T10:30:05Z",
    "duration_ms": 5000,
    "inputs": {"query": "Analyze market trends"},
    "outputs": {"result": "Market analysis complete"},
    "project_name": "market-analysis",
}
ROOTS = "/dashboard/runs/roots?project=&status=&search=&limit=50&offset=0"
PREFIXES = ("", "/api", "/api/v1", "/spy/v2")
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url, api_prefix="/spy/v2", environment="production") as store:
        answer = await store.client.post("/api/v1/runs/batch", content=BATCH)
        assert answer.status_code == 200
        assert answer.json() == {"success": True, "created_count": 1, "updated_count": 1, "errors": []}
        yield store


def holds(found: Any, example: Any) -> bool:
    """Whether an answer has every member of the example with its value; it may have others beside them."""
    if isinstance(example, dict):
        return isinstance(found, dict) and all(k in found and holds(found[k], v) for k, v in example.items())
    if isinstance(example, list):
        return len(found) == len(example) and all(map(holds, found, example))
    return bool(found == example and type(found) is type(example))


async def test_the_run_of_the_documented_batch_reads_back_as_it_was_sent(store: Store) -> None:
    run = await store.run(RUN_ID)
    assert holds(run, TRACE_RUN)
    assert (run["session_name"], run["trace_id"], run["version"]) == ("market-analysis", RUN_ID, 2)


async def test_roots_are_listed_as_documented_with_empty_parameters(store: Store) -> None:
    page = await store.get(ROOTS)
    assert holds(page, {"runs": [TRACE_RUN], "total": 1, "limit": 50, "offset": 0, "has_more": False})


async def test_the_hierarchy_of_two_runs_is_answered_as_documented(store: Store) -> None:
    await store.post(CHILD)
    child = {name: CHILD[name] for name in ("id", "name", "run_type", "start_time", "end_time")}
    parent = {name: TRACE_RUN[name] for name in TRACE_RUN if name not in ("inputs", "outputs", "project_name")}
    below = {**child, "status": "completed", "duration_ms": 2000, "children": []}
    assert holds(
        await store.get(f"/api/v1/dashboard/runs/{RUN_ID}/hierarchy"),
        {"root_run_id": RUN_ID, "hierarchy": {**parent, "children": [below]}, "total_runs": 2, "max_depth": 2},
    )


async def test_the_statistics_are_answered_as_documented(store: Store) -> None:
    await store.post(CHILD)
    summary = await store.get("/api/v1/dashboard/stats/summary")
    assert TIMESTAMP.fullmatch(summary.pop("timestamp"))
    assert summary == {
        "stats": {
            "total_runs": 2,
            "total_traces": 1,
            "recent_runs_24h": 0,
            "status_distribution": {"completed": 2},
            "run_type_distribution": {"chain": 1, "llm": 1},
            "project_distribution": {"market-analysis": 2},
        },
        "recent_projects": [
            {
                "name": "market-analysis",
                "total_runs": 2,
                "total_traces": 1,
                "last_activity": "2024-01-15T10:30:01Z",
            }
        ],
    }


async def test_health_and_info_are_answered_as_documented(store: Store) -> None:
    health = await store.get("/health")
    assert TIMESTAMP.fullmatch(health.pop("timestamp"))
    assert health.pop("uptime_seconds") >= 0
    assert (health.pop("ingest")["status"], health.pop("full_text")) == ("taking", "off")  # Told besides.
    assert health == {
        "status": "healthy",
        "version": "0.1.0",
        "environment": "production",
        "database_status": "healthy",
        "dependencies": {"database": "healthy"},
    }
    checks = {"application": True, "database": True, "configuration": True}
    assert holds(await store.get("/health/ready"), {"ready": True, "checks": checks})
    assert holds(await store.get("/health/live"), {"status": "alive"})
    documented = {
        "version": "0.1.0",
        "license_expiration_time": None,
        "batch_ingest_config": {
            "size_limit": 20971520,
            "size_limit_bytes": 20971520,
            "scale_up_qsize_trigger": 1000,
            "scale_up_nthreads_limit": 16,
            "scale_down_nempty_trigger": 4,
        },
        "tenant_handle": "agent-spy-local",
    }
    assert holds(await store.get("/api/v1/info"), documented)


async def test_every_read_answers_the_same_under_every_prefix_with_and_without_a_slash(store: Store) -> None:
    paths = (
        f"/runs/{RUN_ID}",
        f"/dashboard/runs/{RUN_ID}/hierarchy",
        "/dashboard/runs/roots",
        "/sessions",
        "/settings",
        "/info",
        "/feedback",
    )
    for path in paths:
        answers = [await store.get(f"{prefix}{path}{slash}") for prefix in PREFIXES for slash in ("", "/")]
        assert answers == [answers[0]] * len(answers), path


async def test_every_write_is_taken_under_every_prefix_with_and_without_a_slash(store: Store) -> None:
    for prefix in PREFIXES:
        for slash in ("", "/"):
            again = await store.client.post(f"{prefix}/runs/batch{slash}", content=BATCH)
            assert again.json() == {"success": True, "created_count": 0, "updated_count": 0, "errors": []}
            patched = await store.client.patch(f"{prefix}/runs/{RUN_ID}{slash}", json={"tags": ["a"]})
            posted = await store.client.post(f"{prefix}/runs{slash}", json=CHILD)
            assert (patched.status_code, posted.status_code) == (202, 202)
    assert await store.receipts() == [(2, 2, 0, 0)] + [(2, 0, 2, 0), (1, 1, 0, 0), (1, 1, 0, 0)] + [
        (2, 0, 2, 0),
        (1, 0, 1, 0),
        (1, 0, 1, 0),
    ] * (2 * len(PREFIXES) - 1)


async def test_what_is_not_there_is_a_404_in_json(store: Store) -> None:
    for path in ("/nothing", "/api/v1/nothing", "/runs/batch/nothing", "/spy/v2"):
        answer = await store.client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json"), path
