"""GET /sessions and /settings: projects, as SDKs of all ages ask for them."""

import statistics
from typing import Any

import pytest

from tests.service.apps import Store, a_run, an_ended_run, new_id, open_store


async def sessions(store: Store, **query: Any) -> list[dict[str, Any]]:
    answer = await store.client.get("/sessions", params=query or None)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def test_there_is_a_default_project_before_the_first_run(store: Store) -> None:
    (default,) = await sessions(store, limit=1)
    assert default["name"] == "default"
    settings = await store.get("/settings")
    assert (default["tenant_id"], settings["tenant_handle"]) == (settings["id"], "agent-spy-local")
    assert settings["display_name"] == "Agent Spy"


async def test_the_default_project_is_made_once_however_often_the_service_starts(database_url: str) -> None:
    found = []
    for _ in range(3):
        async with open_store(database_url) as store:
            found.append(await sessions(store))
            assert await store.count("events") == 1
    assert found == [found[0]] * 3


async def test_projects_are_found_by_exact_name_and_by_id_and_in_pages(store: Store) -> None:
    for hour, name in enumerate(("one", "two", "three")):
        await store.post(a_run(session_name=name, start_time=f"2024-01-15T1{hour}:00:00Z"))
    assert [session["name"] for session in await sessions(store)] == ["default", "three", "two", "one"]
    assert [session["name"] for session in await sessions(store, limit=2, offset=2)] == ["two", "one"]
    (one,) = await sessions(store, name="one", limit=1, include_stats="False")
    assert await sessions(store, id=one["id"]) == [one]
    assert await store.get(f"/sessions/{one['id']}") == one
    for name in ("ONE", "on", "nobody's", "\0", "x" * 5000):
        assert await sessions(store, name=name) == []
    assert await sessions(store, id=new_id()) == []


async def test_a_project_that_is_not_there_is_a_404_and_what_cannot_be_asked_a_422(store: Store) -> None:
    assert (await store.client.get(f"/sessions/{new_id()}")).status_code == 404
    for path in (
        "/sessions/one",
        "/sessions?id=one",
        "/sessions?limit=0",
        "/sessions?limit=1001",
        "/sessions?offset=-1",
    ):
        assert (await store.client.get(path)).status_code == 422, path


async def test_names_that_are_too_long_or_odd_for_an_index_are_projects_all_the_same(store: Store) -> None:
    for name in ("x" * 12_000, "nul\0byte", "Σ", " ", "💥"):
        run = a_run(session_name=name)
        await store.post(run)
        shown = name[:500].replace("\0", "\ufffd")
        assert (await store.run(run["id"]))["project_name"] == shown
        assert [session["name"] for session in await sessions(store, name=name)] == [shown]
        assert (await store.roots(project=name))["total"] == 1


async def test_a_project_known_by_its_id_alone_goes_by_that_until_it_gets_a_name(store: Store) -> None:
    id_ = new_id()
    run = a_run(session_id=id_)
    await store.post(run)
    read = await store.run(run["id"])
    assert (read["session_id"], read["project_name"]) == (id_, id_)
    assert (await store.roots(project=id_))["total"] == 1


async def test_a_project_begins_with_its_first_run_unless_somebody_said_when(store: Store) -> None:
    # SDKs look for the runs of a project from its start on.
    await store.post(a_run(session_name="one"), a_run(session_name="one", start_time="2020-01-01T00:00:00Z"))
    await store.post(a_run(session_name="two", start_time="2099-01-01T00:00:00Z"))
    assert (await named(store, "one"))["start_time"] == "2020-01-01T00:00:00Z"
    assert (await named(store, "two"))["start_time"] < "2099"
    assert [session["name"] for session in await sessions(store)][-1] == "one"
    await patched(store, await named(store, "one"), start_time="2021-01-01T00:00:00Z")
    assert (await named(store, "one"))["start_time"] == "2021-01-01T00:00:00Z"


# --- creating, changing and deleting ----------------------------------------------------------------------------------


async def created(store: Store, **asked: Any) -> dict[str, Any]:
    answer = await store.client.post("/sessions", json=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def patched(store: Store, project: dict[str, Any], **asked: Any) -> dict[str, Any]:
    answer = await store.client.patch(f"/sessions/{project['id']}", json=asked)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def named(store: Store, name: str) -> dict[str, Any]:
    (found,) = await sessions(store, name=name)
    return found


async def test_a_project_reads_back_as_it_was_created(store: Store) -> None:
    asked = {
        "id": new_id(),
        "name": "experiment",
        "description": "what for",
        "extra": {"metadata": {"a": [1, {"b": None}]}, "large": 2**60},
        "reference_dataset_id": new_id(),
        "start_time": "2024-01-15T10:30:00Z",
        "trace_tier": "longlived",
    }
    project = await created(store, **asked, num_examples=3)
    assert {name: project[name] for name in asked if name != "extra"} == {
        n: v for n, v in asked.items() if n != "extra"
    }
    assert project["extra"]["metadata"] == {"a": [1, {"b": None}]}
    assert (project["end_time"], project["run_count"]) == (None, None)
    assert await store.get(f"/sessions/{asked['id']}") == await named(store, "experiment") == project


async def test_a_name_that_is_taken_is_a_409_and_an_upsert_changes_what_is_there(store: Store) -> None:
    project = await created(store, name="one", description="first")
    again = await store.client.post("/sessions", json={"name": "one", "description": "second"})
    assert (again.status_code, project["id"] in again.json()["detail"]) == (409, True)
    answer = await store.client.post("/sessions?upsert=True", json={"id": new_id(), "name": "one", "extra": {"a": 1}})
    assert answer.json() == {**project, "extra": {"a": 1}}
    await store.post(a_run(session_name="two"))
    assert (await store.client.post("/sessions", json={"name": "two"})).status_code == 409
    assert (await store.client.post("/sessions", json={"id": project["id"], "name": "three"})).status_code == 409


async def test_runs_that_name_a_project_go_into_the_one_that_was_created(store: Store) -> None:
    project = await created(store, id=new_id(), name="mine")
    run = a_run(session_name="mine")
    await store.post(run)
    assert (await store.run(run["id"]))["session_id"] == project["id"]
    assert [found["id"] for found in await sessions(store, name="mine")] == [project["id"]]


async def test_a_project_that_runs_came_to_by_its_id_can_be_created_after_them(store: Store) -> None:
    run = a_run(session_id=new_id())
    await store.post(run)
    project = await created(store, id=run["session_id"], name="mine")
    assert (await store.run(run["id"]))["project_name"] == project["name"] == "mine"


async def test_what_is_null_or_absent_stays_and_extra_is_replaced_whole(store: Store) -> None:
    project = await created(store, name="one", description="first", extra={"a": 1})
    changed = await patched(store, project, name=None, extra={"b": 2}, description=None, end_time=None)
    assert changed == {**project, "extra": {"b": 2}}
    assert (await patched(store, project, end_time="2024-01-15T10:30:00"))["end_time"] == "2024-01-15T10:30:00Z"


async def test_a_renamed_project_takes_the_runs_that_name_it_so_and_leaves_the_old_name_to_another(
    store: Store,
) -> None:
    begun = a_run(session_name="one")
    await store.post(begun)
    project = await patched(store, await named(store, "one"), name="two")
    after, other = a_run(session_name="two"), a_run(session_name="one")
    await store.post(after, other)
    # The client that began a run before goes on naming its project as it did.
    await store.patch({"id": begun["id"], "session_name": "one", "outputs": {}})
    assert [(await store.run(run["id"]))["session_id"] == project["id"] for run in (begun, after, other)] == [
        *(True, True, False)
    ]
    assert (await store.roots(project="two"))["total"] == 2
    assert (await store.roots(project="one"))["total"] == 1
    assert (await named(store, "one"))["id"] != (await named(store, "two"))["id"] == project["id"]
    taken = await store.client.patch(f"/sessions/{project['id']}", json={"name": "one"})
    assert (taken.status_code, "'one'" in taken.json()["detail"]) == (409, True)


async def test_a_deleted_project_is_gone_with_its_runs_and_its_name_begins_anew(store: Store) -> None:
    run = an_ended_run(session_name="one")
    await store.post(run, a_run(session_name="two"))
    project = await named(store, "one")
    assert (await store.client.delete(f"/sessions/{project['id']}")).status_code == 200
    assert await sessions(store, name="one") == []
    for path in (f"/sessions/{project['id']}", f"/runs/{run['id']}", f"/dashboard/runs/{run['id']}/hierarchy"):
        assert (await store.client.get(path)).status_code == 404, path
    assert ((await store.roots())["total"], len((await store.roots())["runs"])) == (1, 1)
    assert (await store.roots(search="Agent"))["total"] == 1
    summary = (await store.get("/dashboard/stats/summary"))["stats"]
    assert (summary["total_runs"], summary["project_distribution"]) == (1, {"two": 1})
    late = a_run(session_name="one")
    await store.patch({"id": run["id"], "session_name": "one", "name": "late"})
    await store.post(late)
    assert (await store.client.get(f"/runs/{run['id']}")).status_code == 404
    anew = await named(store, "one")
    assert anew["id"] == (await store.run(late["id"]))["session_id"] != project["id"]
    assert (await store.client.delete(f"/sessions/{project['id']}")).status_code == 404
    assert (await store.client.post("/sessions", json={"id": project["id"], "name": "new"})).status_code == 409


async def test_there_is_always_a_default_project(store: Store) -> None:
    first = await named(store, "default")
    await store.client.delete(f"/sessions/{first['id']}")
    second = await named(store, "default")
    run = a_run()
    await store.post(run)
    assert (await store.run(run["id"]))["session_id"] == second["id"] != first["id"]
    await patched(store, second, name="was default")
    other = a_run()
    await store.post(other)
    third = await named(store, "default")
    assert (await store.run(other["id"]))["session_id"] == third["id"] != second["id"]


async def test_projects_are_filtered_by_what_is_said_of_them_and_sorted(store: Store) -> None:
    dataset = new_id()
    await created(store, name="Ärger", extra={"metadata": {"team": "a", "tags": [1, 2], "nested": {"x": 1, "y": 2}}})
    await created(
        store, name="bärig", reference_dataset_id=dataset, extra={"metadata": {"team": "b", "dataset_version": "v"}}
    )

    async def found(**query: Any) -> list[str]:
        return sorted(session["name"] for session in await sessions(store, **query))

    assert await found(name_contains="ÄR") == ["bärig", "Ärger"]
    assert await found(metadata='{"team": "a"}') == ["Ärger"]
    assert await found(metadata='{"tags": [2], "nested": {"x": 1}}') == ["Ärger"]
    assert await found(metadata='{"tags": [3]}') == []
    assert await found(reference_dataset=dataset) == ["bärig"]
    assert await found(reference_dataset=new_id()) == []
    assert await found(reference_free="True") == ["default", "Ärger"]
    assert await found(dataset_version="v") == ["bärig"]
    by_name = await sessions(store, sort_by="name", sort_by_desc="false")
    assert [session["name"] for session in by_name] == ["bärig", "default", "Ärger"]
    for query in ({"metadata": "[1]"}, {"metadata": "x"}, {"sort_by": "x"}, {"reference_dataset": "x"}):
        answer = await store.client.get("/sessions", params=query)
        assert answer.status_code == 422, query


async def test_a_filter_of_projects_is_refused_and_not_passed_over(store: Store) -> None:
    refused = await store.client.get("/sessions", params={"filter": 'eq(name, "x")'})
    assert (refused.status_code, refused.json()["detail"]) == (
        422,
        """filter is 'eq(name, "x")', which is not read for projects: expected name, name_contains, id, metadata, """
        "reference_dataset or reference_free instead",
    )
    assert len(await sessions(store, filter="")) == 1


async def test_statistics_come_when_asked_for(store: Store) -> None:
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7, "total_cost": 0.25}
    token = [{"name": "new_token", "time": "2024-01-15T10:30:01Z"}]
    await store.post(
        an_ended_run(session_name="one", extra={"metadata": {"usage_metadata": usage}}, events=token),
        an_ended_run(session_name="one", error="boom"),
        a_run(session_name="one", start_time="2024-01-15T12:00:00Z"),
    )
    assert (await named(store, "one"))["run_count"] is None
    (told,) = await sessions(store, name="one", include_stats="True")
    assert told == await store.get(f"/sessions/{told['id']}", include_stats="true")
    expected = {"run_count": 3, "total_tokens": 7, "prompt_tokens": 3, "completion_tokens": 4, "total_cost": "0.25"}
    assert {name: told[name] for name in expected} == expected
    assert told["latency_p50"] == pytest.approx(5, rel=1 / 64)
    assert told["first_token_p99"] == pytest.approx(1, rel=1 / 64)
    assert told["error_rate"] == pytest.approx(1 / 3)
    assert told["last_run_start_time"] == "2024-01-15T12:00:00Z"
    since = await store.get(f"/sessions/{told['id']}", include_stats="true", stats_start_time="2024-01-15T11:30:00Z")
    assert (since["run_count"], since["total_tokens"], since["latency_p50"]) == (1, 0, None)
    by_errors = await sessions(store, sort_by="error_rate")
    assert [session["name"] for session in by_errors] == ["one", "default"]


async def test_deleting_asks_for_administrators_and_creating_for_senders(database_url: str) -> None:
    keys = "boss,sender:ingest+read,reader:read"
    async with open_store(database_url, require_auth=True, api_keys=keys) as store:
        reader, sender, boss = ({"x-api-key": key} for key in ("reader", "sender", "boss"))
        assert (await store.client.post("/sessions", json={"name": "a"}, headers=reader)).status_code == 403
        project = (await store.client.post("/sessions", json={"name": "a"}, headers=sender)).json()
        path = f"/sessions/{project['id']}"
        assert (await store.client.patch(path, json={"name": "b"}, headers=reader)).status_code == 403
        assert (await store.client.get(path, headers=reader)).status_code == 200
        assert (await store.client.delete(path, headers=sender)).status_code == 403
        assert (await store.client.delete(path, headers=boss)).status_code == 200


async def test_what_no_project_can_be_is_a_422_that_says_why(store: Store) -> None:
    project = await created(store, name="one")
    for body in ({}, {"name": ""}, {"name": 5}, {"name": "a", "extra": []}, {"name": "a", "id": "x"}):
        answer = await store.client.post("/sessions", json=body)
        assert answer.status_code == 422, body
    for change in ({"end_time": "never"}, {"description": 5}, {"name": ""}):
        answer = await store.client.patch(f"/sessions/{project['id']}", json=change)
        assert (answer.status_code, answer.json()["detail"][0]["loc"][:2]) == (422, ["body", *change]), change
    assert (await store.client.patch(f"/sessions/{new_id()}", json={"name": "x"})).status_code == 404
    assert (await store.client.delete("/sessions/one")).status_code == 422


async def test_feedback_counts_to_the_project_of_its_run_and_to_the_project_itself(store: Store) -> None:
    run = a_run(session_name="one")
    for score in (0, 1):
        await store.client.post("/feedback", json={"run_id": run["id"], "key": "good", "score": score})
    await store.post(run)
    project = await named(store, "one")
    whole = {"session_id": project["id"], "key": "summary", "score": 0.5, "value": "fine"}
    await store.client.post("/feedback", json=whole)
    told = await store.get(f"/sessions/{project['id']}", include_stats="true")
    good, summary = told["feedback_stats"]["good"], told["session_feedback_stats"]["summary"]
    assert (good["n"], good["avg"], list(told["feedback_stats"])) == (2, 0.5, ["good"])
    assert (summary["n"], summary["values"]) == (1, {"fine": 1})
    await store.patch({"id": run["id"], "session_name": "two"})
    (moved,) = await sessions(store, name="two", include_stats="true")
    assert moved["feedback_stats"]["good"]["n"] == 2


async def test_feedback_that_is_alike_is_counted_as_often_as_it_was_given(store: Store) -> None:
    runs = [a_run(session_name="one") for _ in range(4)]
    for place, (run, score) in enumerate(zip(runs, (1, 1, 1, 0), strict=True)):
        await store.post(run)
        told = {"run_id": run["id"], "key": "good", "score": score, "value": "fine", "comment": f"no. {place}"}
        for _ in range(2):
            await store.client.post("/feedback", json=told | {"id": new_id()})
    project = await named(store, "one")
    (good,) = (await store.get(f"/sessions/{project['id']}", include_stats="true"))["feedback_stats"].values()
    assert (good["n"], good["avg"], good["min"], good["max"], good["values"]) == (8, 0.75, 0, 1, {"fine": 8})
    assert good["stdev"] == pytest.approx(statistics.stdev([1] * 6 + [0] * 2))
    assert good["comments"] == ["no. 0", "no. 0", "no. 1", "no. 1", "no. 2"]
