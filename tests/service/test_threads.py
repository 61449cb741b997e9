"""Threads and traces as the second generation of LangSmith's clients ask for them."""

from typing import Any

import pytest

from tests.plans import recording, whole_reads
from tests.service.apps import Store, a_run, an_ended_run, new_id

SINCE = "2024-01-01T00:00:00Z"


def turn(thread: str, minute: int, *, key: str = "thread_id", **members: Any) -> dict[str, Any]:
    usage = {"input_tokens": minute, "output_tokens": 1, "total_tokens": minute + 1, "total_cost": 0.5}
    return an_ended_run(
        run_type="llm",
        session_name="chat",
        start_time=f"2024-01-15T10:{minute:02}:00Z",
        end_time=f"2024-01-15T10:{minute:02}:04Z",
        inputs={"q": minute},
        outputs={"a": minute},
        extra={"metadata": {key: thread, "usage_metadata": usage}},
        **members,
    )


async def project_of(store: Store, run: dict[str, Any]) -> str:
    return str((await store.run(run["id"]))["session_id"])


async def asked(store: Store, path: str, **body: Any) -> dict[str, Any]:
    answer = await store.client.post(f"/api/v2{path}", json={"min_start_time": SINCE, **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def conversations(store: Store) -> tuple[str, list[dict[str, Any]]]:
    """Three threads of which the first goes on after the second began; the project and the turns."""
    turns = [
        turn("one", 1),
        turn("two", 2, key="session_id"),
        turn("one", 3, error="boom"),
        turn("three", 4, key="conversation_id"),
    ]
    await store.post(*turns, an_ended_run(session_name="chat"), turn("elsewhere", 9) | {"session_name": "other"})
    return await project_of(store, turns[0]), turns


async def test_threads_are_listed_with_the_newest_trace_first_and_in_pages(store: Store) -> None:
    project, turns = await conversations(store)
    first = await asked(store, "/threads/query", project_id=project, page_size=2)
    second = await asked(store, "/threads/query", project_id=project, page_size=2, cursor=first["next_cursor"])
    assert [item["thread_id"] for item in (*first["items"], *second["items"])] == ["three", "one", "two"]
    assert second["next_cursor"] is None
    one = first["items"][1]
    assert (one["count"], one["num_errored_turns"], one["total_tokens"], one["total_cost"]) == (2, 1, 6, 1.0)
    assert (one["first_trace_id"], one["last_trace_id"]) == (turns[0]["id"], turns[2]["id"])
    assert (one["min_start_time"], one["max_start_time"]) == ("2024-01-15T10:01:00Z", "2024-01-15T10:03:00Z")
    assert (one["last_error"], '"q":1' in one["first_inputs"].replace(" ", "")) == ("boom", True)
    assert one["latency_p50"] == pytest.approx(4, rel=1 / 64)


async def test_threads_are_filtered_by_time_and_by_their_traces(store: Store) -> None:
    project, _ = await conversations(store)

    async def found(**body: Any) -> list[str]:
        page = await asked(store, "/threads/query", project_id=project, **body)
        return [item["thread_id"] for item in page["items"]]

    assert await found(min_start_time="2024-01-15T10:03:00Z") == ["three", "one"]
    assert await found(max_start_time="2024-01-15T10:03:00Z") == ["two", "one"]
    assert await found(filter='eq(status, "error")') == ["one"]
    assert await found(trace_filter='eq(thread_id, "two")') == ["two"]
    assert await found(min_start_time=None) == []
    filtered = await asked(store, "/threads/query", project_id=project, page_size=1, filter="gt(latency, 1)")
    rest = await asked(
        store, "/threads/query", project_id=project, filter="gt(latency, 1)", cursor=filtered["next_cursor"]
    )
    assert [item["thread_id"] for item in (*filtered["items"], *rest["items"])] == ["three", "one", "two"]
    for body in ({"filter": "eq("}, {"cursor": "x"}, {"page_size": 0}, {"thread_filter": "x"}, {"project_id": "x"}):
        answer = await store.client.post("/api/v2/threads/query", json={"project_id": project, **body})
        assert answer.status_code in (400, 422), body
    for noun, name in (("threads", "ai_search"), ("traces", "sem_filter"), ("traces", "max_feedback_modified_at")):
        answer = await store.client.post(f"/api/v2/{noun}/query", json={"project_id": project, name: SINCE})
        assert (answer.status_code, name in answer.text) == (422, True)


async def test_the_turns_of_a_thread_come_in_their_order_with_what_is_selected(store: Store) -> None:
    project, turns = await conversations(store)
    query = {"project_id": project, "selects": ["TURN_NUMBER", "TOTAL_TOKENS", "LATENCY", "INPUTS"], "page_size": 1}
    first = await store.get("/api/v2/threads/one/traces", **query)
    second = await store.get("/api/v2/threads/one/traces", **query, cursor=first["next_cursor"])
    items = [*first["items"], *second["items"]]
    assert [item["trace_id"] for item in items] == [turns[0]["id"], turns[2]["id"]]
    assert items[1] == {
        "trace_id": turns[2]["id"],
        "turn_number": 2,
        "total_tokens": 4,
        "latency": 4.0,
        "inputs": {"q": 3},
    }
    failed = await store.get("/api/v2/threads/one/traces", project_id=project, filter='eq(status, "error")')
    assert [item["trace_id"] for item in failed["items"]] == [turns[2]["id"]]
    answer = await store.client.get("/api/v2/threads/one/traces", params={"project_id": project, "selects": "X"})
    assert answer.status_code == 422


async def test_a_thread_is_summed_up(store: Store) -> None:
    project, turns = await conversations(store)
    await store.client.post("/feedback", json={"run_id": turns[0]["id"], "key": "good", "score": 1})
    told = await store.get("/api/v2/threads/one/stats", project_id=project)
    assert (told["turns"], told["total_tokens"], told["prompt_tokens"]) == (2, 6, 4)
    assert (told["first_start_time"], told["last_end_time"]) == ("2024-01-15T10:01:00Z", "2024-01-15T10:03:04Z")
    assert told["feedback_stats"]["good"]["avg"] == 1
    selected = await store.get("/api/v2/threads/one/stats", session_id=project, selects=["TURNS"])
    assert {name for name, value in selected.items() if value is not None} == {"turns"}
    failed = await store.get("/api/v2/threads/one/stats", session_id=project, filter='eq(status, "error")')
    assert (failed["turns"], failed["total_tokens"]) == (1, 4)
    assert (await store.client.get("/api/v2/threads/one/stats")).status_code == 422
    answer = await store.client.get("/api/v2/threads/none/stats", params={"project_id": project})
    assert answer.status_code == 404


async def test_the_threads_of_a_project_are_summed_up(store: Store) -> None:
    project, _ = await conversations(store)
    selects = ["THREAD_COUNT", "TRACE_COUNT", "TOTAL_TOKENS", "ERROR_RATE"]
    told = await asked(store, "/threads/stats", project_id=project, select=selects)
    assert {name: value for name, value in told.items() if value is not None} == {
        "thread_count": 3,
        "trace_count": 4,
        "total_tokens": 14,
        "error_rate": 0.25,
    }
    failed = await asked(
        store, "/threads/stats", project_id=project, select=["THREAD_COUNT"], filter='eq(status, "error")'
    )
    assert failed["thread_count"] == 1


async def test_traces_are_listed_with_what_they_sum_up_to(store: Store) -> None:
    root = an_ended_run(session_name="chat")
    usage = {"usage_metadata": {"input_tokens": 2, "output_tokens": 3, "total_tokens": 5, "total_cost": 0.25}}
    child = an_ended_run(
        trace_id=root["id"],
        parent_run_id=root["id"],
        run_type="llm",
        session_name="chat",
        extra={"metadata": usage},
        events=[{"name": "new_token", "time": "2024-01-15T10:30:01Z"}],
        start_time="2024-01-15T10:30:00.500000Z",
    )
    other = an_ended_run(session_name="chat", start_time="2024-01-15T10:29:00Z")
    await store.post(root, child, other)
    project = await project_of(store, root)
    selects = ["NAME", "TOTAL_TOKENS", "TOTAL_COST", "FIRST_TOKEN_TIME"]
    page = await asked(store, "/traces/query", project_id=project, selects=selects, page_size=1)
    assert page["items"] == [
        {
            "root_run": {"id": root["id"], "name": root["name"]},
            "trace_aggregates": {
                "total_tokens": 5,
                "total_cost": 0.25,
                "first_token_time": "2024-01-15T10:30:01Z",
            },
        }
    ]
    rest = await asked(store, "/traces/query", project_id=project, cursor=page["next_cursor"])
    assert rest["items"] == [{"root_run": {"id": other["id"]}}]
    only = await asked(store, "/traces/query", project_id=project, trace_ids=[other["id"]], min_start_time=None)
    assert [item["root_run"]["id"] for item in only["items"]] == [other["id"]]
    tree = await asked(store, "/traces/query", project_id=project, tree_filter='eq(run_type, "llm")')
    assert [item["root_run"]["id"] for item in tree["items"]] == [root["id"]]
    listed = await store.get(f"/api/v2/traces/{root['id']}/runs", project_id=project, selects=["ID", "RUN_TYPE"])
    assert listed["items"] == [{"id": root["id"], "run_type": "chain"}, {"id": child["id"], "run_type": "llm"}]
    some = await store.get(f"/api/v2/traces/{root['id']}/runs", project_id=project, filter='eq(run_type, "llm")')
    assert some["items"] == [{"id": child["id"]}]
    assert (await store.get(f"/api/v2/traces/{new_id()}/runs"))["items"] == []


async def test_all_runs_of_a_wide_trace_are_listed(store: Store) -> None:
    root = an_ended_run()
    below = [a_run(parent_run_id=root["id"], trace_id=root["id"]) for _ in range(1_200)]
    await store.post(root, *below)
    items = (await store.get(f"/api/v2/traces/{root['id']}/runs"))["items"]
    assert {item["id"] for item in items} == {run["id"] for run in (root, *below)}


async def test_threads_of_a_deleted_project_are_gone(store: Store) -> None:
    project, _ = await conversations(store)
    await store.client.delete(f"/sessions/{project}")
    assert (await asked(store, "/threads/query", project_id=project))["items"] == []
    assert (await asked(store, "/traces/query", project_id=project))["items"] == []
    await store.post(a_run())


async def test_threads_and_shares_and_statistics_are_found_by_indexes(store: Store) -> None:
    project, turns = await conversations(store)
    token = (await store.client.put(f"/runs/{turns[0]['id']}/share")).json()["share_token"]
    with recording(store.engine) as queries:
        await asked(store, "/threads/query", project_id=project)
        await asked(store, "/threads/stats", project_id=project, select=["THREAD_COUNT"])
        await store.get("/api/v2/threads/one/traces", project_id=project, selects=["TURN_NUMBER"])
        await store.get("/api/v2/threads/one/stats", project_id=project)
        await asked(store, "/traces/query", project_id=project, selects=["FIRST_TOKEN_TIME"])
        await store.get(f"/public/{token}/run")
        await store.client.get("/feedback/tokens", params={"run_id": turns[0]["id"]})
    tables = ("runs", "events", "shares", "feedback_tokens", "stats", "feedback")
    assert await whole_reads(store.engine, queries, *tables) == []
    assert len(queries.asked) > 15
