"""Runs through the second generation of LangSmith's API."""

import time
from typing import Any

import pytest

from events.times import format_time
from service.run_fields import V2
from tests.service.apps import Store, a_run, an_ended_run, new_id
from tests.service.test_run_queries import at, llm

SINCE = "2024-01-01T00:00:00Z"


async def query(store: Store, **body: Any) -> dict[str, Any]:
    answer = await store.client.post("/api/v2/runs/query", json={"min_start_time": SINCE, **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def ids(store: Store, **body: Any) -> list[str]:
    return [run["id"] for run in (await query(store, **body))["items"]]


async def test_without_selects_only_ids_are_told(store: Store) -> None:
    run = an_ended_run()
    await store.post(run)
    assert (await query(store))["items"] == [{"id": run["id"]}]
    assert (await store.get(f"/api/v2/runs/{run['id']}")) == {"id": run["id"]}


async def test_each_member_of_the_body_filters(store: Store) -> None:
    example = new_id()
    root = an_ended_run(session_name="one", start_time=at(0))
    below = {"parent_run_id": root["id"], "trace_id": root["id"]}
    child = a_run(session_name="one", **below, error="boom", run_type="tool", start_time=at(5))
    other = a_run(session_name="two", reference_example_id=example, start_time=at(9))
    await store.post(root, child, other)
    one = (await store.run(root["id"]))["session_id"]
    everything = [other["id"], child["id"], root["id"]]
    assert await ids(store) == everything
    assert await ids(store, project_ids=[one]) == everything[1:]
    assert await ids(store, project_ids=[one], ids=[other["id"], root["id"]]) == [root["id"]]
    assert await ids(store, trace_id=root["id"]) == everything[1:]
    assert await ids(store, reference_examples=[example]) == [other["id"]]
    assert await ids(store, reference_dataset_id=new_id()) == []
    assert await ids(store, run_type="TOOL") == [child["id"]]
    assert await ids(store, is_root=False) == [child["id"]]
    assert await ids(store, has_error=True) == [child["id"]]
    assert await ids(store, min_start_time=at(5)) == everything[:2]
    assert await ids(store, max_start_time=at(5)) == everything[1:]
    assert await ids(store, filter='eq(run_type, "tool")') == [child["id"]]
    assert await ids(store, trace_filter='eq(status, "success")') == everything[1:]
    assert await ids(store, tree_filter='eq(run_type, "tool")') == everything[1:]


async def test_runs_of_the_last_day_are_meant_unless_a_start_is_given(store: Store) -> None:
    now = time.time_ns() // 1000
    recent = a_run(start_time=format_time(now - 3_600_000_000))
    old = a_run(start_time=format_time(now - 25 * 3_600_000_000))
    await store.post(recent, old)
    assert await ids(store, min_start_time=None) == [recent["id"]]
    assert await ids(store, min_start_time=None, ids=[old["id"]]) == [old["id"]]


async def test_pages_tell_every_run_once(store: Store) -> None:
    sent = [a_run(start_time=at(number)) for number in range(7)]
    await store.post(*sent)
    found: list[str] = []
    page = await query(store, page_size=3)
    while page["next_cursor"] is not None:
        found += [run["id"] for run in page["items"]]
        page = await query(store, page_size=3, cursor=page["next_cursor"])
    found += [run["id"] for run in page["items"]]
    assert found == [run["id"] for run in reversed(sent)]


async def test_every_field_can_be_selected(store: Store) -> None:
    root = an_ended_run()
    usage = {"input_tokens": 2, "total_tokens": 3, "total_cost": 0.25, "input_token_details": {"audio": 1}}
    run = an_ended_run(
        parent_run_id=root["id"],
        tags=["a"],
        extra={"metadata": {"k": "v", "usage_metadata": usage}},
        serialized={"lc": 1},
        error="boom",
    )
    await store.post(root, run)
    await store.send_parts((f"attachment.{run['id']}.a", b"data", "text/plain"))
    (found,) = (await query(store, ids=[run["id"]], selects=[name.upper() for name in V2]))["items"]
    assert found.keys() == V2.keys()
    assert found["project_id"] == (await store.run(run["id"]))["session_id"]
    assert (found["is_root"], found["latency_seconds"], found["status"]) == (False, 5.0, "error")
    assert (found["parent_run_ids"], found["metadata"]["k"], found["manifest"]) == ([root["id"]], "v", {"lc": 1})
    assert (found["total_tokens"], found["total_cost"]) == (3, 0.25)
    assert found["prompt_token_details"] == {"raw": {"audio": 1}}
    assert found["attachments"]["a"].startswith("http://testserver/api/v1/contents/")
    assert await store.get(f"/api/v2/runs/{run['id']}", selects=["NAME", "IS_ROOT"]) == {
        "id": run["id"],
        "name": run["name"],
        "is_root": False,
    }


async def test_the_usage_of_the_subtree_is_told_when_it_is_asked_for(store: Store) -> None:
    root = an_ended_run()
    await store.post(root, llm(9, parent_run_id=root["id"], trace_id=root["id"]))
    for wanted, tokens in ((None, None), (False, None), (True, 9)):
        asked = {"is_root": True, "selects": ["TOTAL_TOKENS"], "include_subtree_usage": wanted}
        assert (await query(store, **asked))["items"] == [{"id": root["id"], "total_tokens": tokens}]


async def test_a_run_has_an_address(store: Store) -> None:
    run = a_run()
    await store.post(run)
    url = (await store.get(f"/api/v2/runs/{run['id']}/url", project_id=new_id(), trace_id=run["id"]))["url"]
    assert url.startswith("http://testserver/o/")
    assert f"/r/{run['id']}?trace_id={run['id']}" in url
    assert (await store.run(run["id"]))["app_path"].startswith(url.removeprefix("http://testserver"))


async def test_a_run_that_is_still_on_its_way_has_an_address(store: Store) -> None:
    run_id, project_id, trace_id = new_id(), new_id(), new_id()
    url = (await store.get(f"/api/v2/runs/{run_id}/url", project_id=project_id, trace_id=trace_id))["url"]
    assert url.endswith(f"/projects/p/{project_id}/r/{run_id}?trace_id={trace_id}")


async def test_what_is_not_there_is_not_found(store: Store) -> None:
    for path in (f"/api/v2/runs/{new_id()}", f"/api/v2/runs/{new_id()}/url"):
        assert (await store.client.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"selects": ["NAME", "COLOUR"]}, 422, "'COLOUR' is no field of a run: expected one of ID, NAME"),
        ({"filter": "eq("}, 400, "filter cannot be read"),
        ({"page_size": 1001}, 422, "less than or equal to 1000"),
        ({"sem_filter": "angry"}, 422, "at most 0 characters"),
        ({"min_feedback_modified_at": SINCE}, 422, "at most 0 characters"),
        ({"cursor": "x"}, 422, "is no cursor of runs"),
    ],
)
async def test_what_does_not_fit_is_refused(store: Store, body: dict[str, Any], status: int, detail: str) -> None:
    answer = await store.client.post("/api/v2/runs/query", json=body)
    assert answer.status_code == status
    assert detail in answer.text
