"""The overview: counts, sums and percentiles over a stretch of time."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from projections import overview
from tests.plans import recording, whole_reads
from tests.service.apps import Store, a_run, new_id

FIRST = datetime(2024, 1, 15, 10, tzinfo=UTC)
STRETCH = {"start_time_gte": "2024-01-15T10:20:00Z", "start_time_lte": "2024-01-15T13:10:00Z"}


def text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def told(hour: float, took_s: float | None, **members: Any) -> dict[str, Any]:
    """A run that began so many hours after the first, and took so long."""
    start = FIRST + timedelta(hours=hour)
    ended = {} if took_s is None else {"end_time": text(start + timedelta(seconds=took_s)), "outputs": {"a": 1}}
    return a_run(**{"start_time": text(start), "session_name": "one", **ended, **members})


def model_run(hour: float, model: str, tokens: int, root: str, **members: Any) -> dict[str, Any]:
    usage = {"input_tokens": tokens, "output_tokens": 1, "total_tokens": tokens + 1, "total_cost": 0.25}
    extra = {"metadata": {"ls_model_name": model, "usage_metadata": usage}}
    return told(hour, 1, run_type="llm", extra=extra, parent_run_id=root, trace_id=root, **members)


@pytest.fixture
async def busy(store: Store) -> Store:
    """A store with traces in three of four hours, one of them in another project."""
    root = new_id()
    await store.post(
        told(0.1, 1, name="quick"),
        told(0.9, 3, name="quick"),
        told(1.5, 10, name="slow", error="boom"),
        told(1.6, None, name="slow"),
        told(3.1, 2, name="elsewhere", session_name="two", id=root),
        model_run(3.1, "gpt-5", 100, root, session_name="two"),
        model_run(3.2, "gpt-5", 50, root, session_name="two", error="boom"),
        model_run(3.2, "small", 10, root, session_name="two"),
        told(4.0, 1, name="later"),
        told(-0.01, 1, name="earlier"),
    )
    return store


async def test_buckets_count_what_began_in_them_and_nothing_else(busy: Store) -> None:
    found = await busy.get("/dashboard/stats/overview", **STRETCH)
    assert (found["start"], found["end"]) == ("2024-01-15T10:00:00Z", "2024-01-15T14:00:00Z")
    assert found["bucket_hours"] == 1
    counts = [(bucket["traces"], bucket["runs"], bucket["failed_runs"]) for bucket in found["buckets"]]
    assert counts == [
        ({"running": 0, "completed": 2, "failed": 0}, 2, 0),
        ({"running": 1, "completed": 0, "failed": 1}, 2, 1),
        ({"running": 0, "completed": 0, "failed": 0}, 0, 0),
        ({"running": 0, "completed": 1, "failed": 0}, 4, 1),
    ]
    assert [bucket["total_tokens"] for bucket in found["buckets"]] == [0, 0, 0, 163]
    assert found["buckets"][3]["total_cost"] == "0.75"
    assert found["buckets"][2]["latency_ms"] is None
    assert found["buckets"][0]["latency_ms"]["p50"] == pytest.approx(1000, rel=0.016)
    assert found["buckets"][0]["latency_ms"]["p99"] == pytest.approx(3000, rel=0.016)


async def test_so_many_hours_end_with_that_of_the_end(busy: Store) -> None:
    found = await busy.get("/dashboard/stats/overview", hours=3, start_time_lte=STRETCH["start_time_lte"])
    assert (found["start"], found["end"]) == ("2024-01-15T11:00:00Z", "2024-01-15T14:00:00Z")
    assert [bucket["runs"] for bucket in found["buckets"]] == [2, 0, 4]


async def test_hours_without_an_end_are_those_until_now(store: Store) -> None:
    found = await store.get("/dashboard/stats/overview", hours=24, bucket_hours=1)
    assert len(found["buckets"]) == 24
    end = datetime.fromisoformat(found["end"])
    assert timedelta(0) < end - datetime.now(UTC) <= timedelta(hours=1)


async def test_hours_and_a_start_contradict_each_other(store: Store) -> None:
    answer = await store.client.get("/dashboard/stats/overview", params={"hours": 3, **STRETCH})
    assert answer.status_code == 422
    assert "start_time_gte and hours" in answer.text


async def test_projects_models_and_names_are_told_apart(busy: Store) -> None:
    found = await busy.get("/dashboard/stats/overview", **STRETCH)
    assert [(line["name"], line["runs"], line["failed"]) for line in found["projects"]] == [
        ("one", 4, 1),
        ("two", 1, 0),
    ]
    assert found["projects"][1]["total_tokens"] == 163
    models = [(line["name"], line["runs"], line["failed"], line["prompt_tokens"]) for line in found["models"]]
    assert models == [("gpt-5", 2, 1, 150), ("small", 1, 0, 10)]
    assert found["models"][0]["total_cost"] == "0.5"
    assert {line["name"]: (line["runs"], line["failed"]) for line in found["names"]} == {
        "quick": (2, 0),
        "slow": (2, 1),
        "elsewhere": (1, 0),
    }
    assert found["is_whole"] is True


async def test_one_project_alone_can_be_asked_for(busy: Store) -> None:
    found = await busy.get("/dashboard/stats/overview", project="two", **STRETCH)
    assert [line["name"] for line in found["projects"]] == ["two"]
    assert sum(bucket["runs"] for bucket in found["buckets"]) == 4
    assert [line["name"] for line in found["names"]] == ["elsewhere"]
    nobody = await busy.get("/dashboard/stats/overview", project="nobody's", **STRETCH)
    assert sum(bucket["runs"] for bucket in nobody["buckets"]) == 0


async def test_nothing_is_told_of_a_project_that_was_deleted(busy: Store) -> None:
    await busy.post(told(0.5, 1, name="gone", session_name="two"))  # In an hour that other projects have runs in.
    (two,) = (await busy.client.get("/sessions", params={"name": "two"})).json()
    assert (await busy.client.delete(f"/sessions/{two['id']}")).status_code == 200
    left = await busy.get("/dashboard/stats/overview", **STRETCH)
    assert {one["name"] for one in left["projects"]} == {"one"}
    assert {one["name"] for one in left["names"]} == {"quick", "slow"}
    assert left["models"] == []


async def test_buckets_count_the_traces_that_the_list_counts(store: Store) -> None:
    source = random.Random(5)
    runs = [
        told(source.uniform(0, 40), source.uniform(0, 9), **({"error": "x"} if n % 7 == 0 else {})) for n in range(120)
    ]
    await store.post(*runs)
    stretch = {"start_time_gte": text(FIRST), "start_time_lte": text(FIRST + timedelta(hours=40))}
    found = await store.get("/dashboard/stats/overview", bucket_hours=7, **stretch)
    assert len(found["buckets"]) == 6
    for bucket in found["buckets"]:
        for status, count in bucket["traces"].items():
            last = datetime.fromisoformat(bucket["end"]) - timedelta(microseconds=1)
            listed = await store.roots(status=status, start_time_gte=bucket["start"], start_time_lte=text(last))
            assert listed["total"] == count


async def test_of_more_than_is_looked_at_the_newest_are_told_and_that_they_are(
    busy: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "ROWS_MAX", 4)
    found = await busy.get("/dashboard/stats/overview", **STRETCH)
    assert found["is_whole"] is False
    assert {line["name"]: line["runs"] for line in found["names"]} == {"quick": 1, "slow": 1, "elsewhere": 1}
    assert [bucket["runs"] for bucket in found["buckets"]] == [2, 2, 0, 4]


async def test_a_stretch_that_cannot_be_shown_is_refused_with_a_sentence(store: Store) -> None:
    backwards = {"start_time_gte": "2024-01-02T00:00:00Z", "start_time_lte": "2024-01-01T00:00:00Z"}
    century = {"start_time_gte": "1970-01-01T00:00:00Z", "bucket_hours": "1"}
    for query, words in ((backwards, "before start_time_gte"), (century, "expected longer ones")):
        answer = await store.client.get("/dashboard/stats/overview", params=query)
        assert answer.status_code == 422
        assert words in answer.json()["detail"]
    assert len((await store.get("/dashboard/stats/overview", start_time_gte="1970-01-01T00:00:00Z"))["buckets"]) < 60
    assert 24 <= len((await store.get("/dashboard/stats/overview"))["buckets"]) <= 25


async def test_no_query_of_the_overview_reads_a_whole_table(busy: Store) -> None:
    with recording(busy.engine) as queries:
        await busy.get("/dashboard/stats/overview", **STRETCH)
        await busy.get("/dashboard/stats/overview", project="one", **STRETCH)
    assert await whole_reads(busy.engine, queries, "runs", "stats") == []
