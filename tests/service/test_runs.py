"""GET /runs/{id}: every field as it was sent."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from tests.service.apps import END, START, Store, a_run, an_ended_run, json_part, new_id, open_store

SDK = {"User-Agent": "langsmith-py/0.15.0-httpx2"}
MEGABYTE = 2**20


async def test_a_run_reads_back_with_every_field_as_it_was_sent(store: Store) -> None:
    root, example = new_id(), new_id()
    run = an_ended_run(
        trace_id=root,
        parent_run_id=root,
        dotted_order=f"20240115T102959000000Z{root}.20240115T103000000000Z" + new_id(),
        reference_example_id=example,
        session_name="mine",
        error="ValueError('x')\n\nTraceback …",
        tags=["a", "b", "a"],
        events=[{"name": "new_token", "time": "2024-01-15T10:30:01Z", "kwargs": {"token": "x"}}],
        extra={"metadata": {"a": [1, None], "ls_model_name": "m"}, "runtime": {"sdk": "s"}, "batch_size": 1},
        serialized={"lc": 1, "type": "constructor", "id": ["a", "b"], "kwargs": {}},
        manifest_id=new_id(),
        revision_id="r1",
        something_new={"of": ["tomorrow", {"deep": {"er": True}}]},
        execution_order=1,
    )
    await store.post(run)
    read = await store.run(run["id"])
    assert {name: read[name] for name in run} == run
    assert (read["project_name"], read["status"], read["duration_ms"]) == ("mine", "failed", 5000)
    assert (read["model"], read["first_token_time"]) == ("m", "2024-01-15T10:30:01Z")


async def test_the_digits_of_numbers_stay_as_they_were_sent(store: Store) -> None:
    id_ = new_id()
    numbers = b'{"big":1180591620717411303424,"float":1.10,"small":1e-7,"long":3.141592653589793238462643383279}'
    body = b'{"id":"%s","name":"x","run_type":"chain","start_time":"%s","inputs":%s,"mine":[2.50,%d]}' % (
        *(id_.encode(), START.encode(), numbers),
        2**64,
    )
    assert (await store.client.post("/runs", content=body)).status_code == 202
    text = (await store.client.get(f"/runs/{id_}")).content
    assert b'"inputs":' + numbers in text
    assert b'"mine":[2.50,18446744073709551616]' in text
    assert numbers in (await store.client.get("/dashboard/runs/roots")).content


async def test_a_status_is_in_the_words_of_who_asks(store: Store) -> None:
    running, completed, failed = a_run(), an_ended_run(), an_ended_run(error="boom")
    await store.post(running, completed, failed)
    expected = {"running": "pending", "completed": "success", "failed": "error"}
    for run, (documented, langsmith) in zip((running, completed, failed), expected.items(), strict=True):
        path = f"/runs/{run['id']}"
        for headers, query, word in (
            ({}, {}, documented),
            ({"User-Agent": "Mozilla/5.0"}, {}, documented),
            (SDK, {}, langsmith),
            ({"User-Agent": "langsmith-js/0.12.0"}, {}, langsmith),
            (SDK, {"status_words": "documented"}, documented),
            ({}, {"status_words": "langsmith"}, langsmith),
        ):
            answer = await store.client.get(path, headers=headers, params=query)
            assert answer.json()["status"] == word
            assert "User-Agent" in answer.headers["vary"]
    wrong = await store.client.get(f"/runs/{completed['id']}?status_words=klingon")
    assert wrong.status_code == 422


async def test_a_run_that_ended_without_outputs_is_running_as_documented_and_a_success_to_an_sdk(store: Store) -> None:
    run = a_run(end_time=END)
    await store.post(run)
    assert (await store.run(run["id"]))["status"] == "running"
    assert (await store.run(run["id"], status_words="langsmith"))["status"] == "success"


async def test_a_run_that_ended_without_outputs_is_completed_by_the_other_rule(database_url: str) -> None:
    async with open_store(database_url, status_rule="ended") as store:
        run = a_run(end_time=END)
        await store.post(run)
        assert (await store.run(run["id"]))["status"] == "completed"
        assert (await store.roots(status="completed"))["total"] == 1


async def test_either_name_of_a_project_is_understood_and_both_are_answered(store: Store) -> None:
    runs = {
        "a": a_run(project_name="a"),
        "b": a_run(session_name="b"),
        "c": a_run(project_name="c", session_name="other"),
        "default": a_run(),
    }
    await store.post(*runs.values())
    for name, run in runs.items():
        read = await store.run(run["id"])
        assert (read["project_name"], read["session_name"]) == (name, name)
        sessions = (await store.client.get("/sessions", params={"name": name})).json()
        assert [session["id"] for session in sessions] == [read["session_id"]]


async def test_a_patch_without_a_project_does_not_move_the_run(store: Store) -> None:
    run = a_run(session_name="mine")
    await store.post(run)
    await store.patch({"id": run["id"], "end_time": END})
    assert (await store.run(run["id"]))["project_name"] == "mine"


async def test_inputs_and_outputs_that_are_no_objects_read_as_objects(store: Store) -> None:
    for value in ([1, 2], "text", 5, True):
        run = an_ended_run(inputs=value, outputs=value)
        await store.post(run)
        read = await store.run(run["id"])
        assert (read["inputs"], read["outputs"]) == ({"input": value}, {"output": value})
    run = an_ended_run(inputs=None, outputs=None)
    await store.post(run)
    read = await store.run(run["id"])
    assert (read["inputs"], read["outputs"]) == ({}, None)


async def test_the_dotted_order_of_a_run_without_one_is_made_of_its_ancestors(store: Store) -> None:
    root = a_run(start_time="2024-01-15T10:30:00.25Z")
    child = a_run(parent_run_id=root["id"], start_time="2024-01-15T10:30:01Z")
    await store.post(child)
    await store.post(root)
    above = f"20240115T103000250000Z{root['id']}"
    assert (await store.run(root["id"]))["dotted_order"] == above
    read = await store.run(child["id"])
    assert read["dotted_order"] == f"{above}.20240115T103001000000Z{child['id']}"
    assert read["trace_id"] == root["id"]


async def test_what_only_the_sdk_itself_may_name_is_not_answered(store: Store) -> None:
    run = a_run(attachments=None, _host_url="x", _tenant_id="y", parent_run={"id": 1}, child_runs=[{"id": 2}])
    await store.post(run)
    read = await store.run(run["id"])
    hidden = ("attachments", "_host_url", "_tenant_id", "parent_run", "child_runs", "s3_urls", "offloaded")
    assert not read.keys() & set(hidden)


async def test_a_client_cannot_pass_off_its_own_words_as_ours(store: Store) -> None:
    forged: list[Any] = [5, "x", [], {"inputs": 5}, {"inputs": {"hash": "zz", "size": 1, "preview": "p"}}]
    for contents in forged:
        run = an_ended_run(**{"agent-spy:contents": contents, "version": 9, "offloaded": {"inputs": {}}})
        await store.post(run)
        read = await store.run(run["id"])
        assert (read["inputs"], read["version"]) == (run["inputs"], 1)
        assert "offloaded" not in read
        assert "agent-spy:contents" not in read
    listed = (await store.roots())["runs"]
    assert [run["inputs"] for run in listed] == [{"query": "a"}] * len(forged)


async def test_an_id_that_is_none_is_a_422_and_one_that_is_not_known_a_404(store: Store) -> None:
    for wrong in ("run-1", "1", "%00", "..%2F..", new_id()[:-1], "x" * 5000):
        answer = await store.client.get(f"/runs/{wrong}")
        assert answer.status_code in (404, 422), wrong
    assert (await store.client.get("/runs/run-1")).json()["detail"] == "'run-1' is not the id of a run: expected a UUID"
    id_ = new_id()
    answer = await store.client.get(f"/runs/{id_}")
    assert (answer.status_code, answer.json()["detail"]) == (404, f"There is no run {id_}.")


async def test_the_root_that_a_child_names_is_not_a_run_until_it_comes(store: Store) -> None:
    child = a_run(parent_run_id=new_id())
    await store.post(child)
    assert (await store.client.get(f"/runs/{child['parent_run_id']}")).status_code == 404


@pytest.fixture
async def small(database_url: str) -> AsyncIterator[Store]:
    """A store that moves fields of more than a megabyte to the content store."""
    async with open_store(database_url, max_trace_size_mb=1) as store:
        yield store


def large_run() -> dict[str, Any]:
    """A run of which every field that may grow is larger than a megabyte."""
    padding = "é" * MEGABYTE
    usage = {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7, "total_cost": 0.5}
    return an_ended_run(
        inputs={"query": padding},
        outputs={"text": padding, "usage_metadata": usage},
        error="boom " + padding,
        tags=["first", padding],
        events=[{"name": "start", "text": padding}, {"name": "new_token", "time": "2024-01-15T10:30:01Z"}],
        extra={"metadata": {"thread_id": "t1", "ls_model_name": "m", "padding": padding}},
        serialized={"kwargs": padding},
        mine=padding,
    )


async def test_a_field_beyond_the_bound_reads_as_preview_size_and_url(small: Store) -> None:
    run = large_run()
    await small.post(run)
    read = await small.run(run["id"])
    moved = {"inputs", "outputs", "error", "tags", "events", "extra", "serialized", "mine"}
    assert set(read["offloaded"]) == moved
    for name in moved:
        sent = orjson.dumps(run[name])
        place = read["offloaded"][name]
        assert place["size"] == len(sent)
        assert len(place["preview"]) <= 200
        stored = await small.client.get(place["url"])
        assert (stored.content, stored.headers["content-type"]) == (sent, "application/json")
    for name in ("inputs", "outputs", "serialized", "mine"):
        assert read[name] == read["offloaded"][name]
    # SDKs take a text for an error and lists for tags and events.
    assert read["error"].startswith("boom ")
    assert len(read["error"]) == 500
    assert read["tags"][0] == "first"
    assert read["events"] == []
    assert read["extra"]["url"] == read["offloaded"]["extra"]["url"]


async def test_status_usage_and_the_like_do_not_depend_on_the_size_of_a_field(small: Store) -> None:
    run = large_run()
    await small.post(run)
    read = await small.run(run["id"])
    assert (read["status"], read["prompt_tokens"], read["completion_tokens"]) == ("failed", 3, 4)
    assert (read["total_tokens"], read["total_cost"], read["model"]) == (7, "0.5", "m")
    assert (read["thread_id"], read["first_token_time"]) == ("t1", "2024-01-15T10:30:01Z")
    assert (await small.run(run["id"], status_words="langsmith"))["status"] == "error"
    (listed,) = (await small.roots(status="failed"))["runs"]
    assert (listed["total_tokens"], listed["tags"][0]) == (7, "first")
    assert (await small.get("/dashboard/stats/summary"))["stats"]["status_distribution"] == {"failed": 1}


async def test_lists_give_the_place_of_a_field_beyond_the_bound(small: Store) -> None:
    run = an_ended_run(inputs={"query": "x" * MEGABYTE})
    await small.post(run)
    (listed,) = (await small.roots())["runs"]
    assert set(listed["inputs"]) == {"preview", "size", "url"}
    assert (await small.client.get(listed["inputs"]["url"])).content == orjson.dumps(run["inputs"])
    assert (listed["outputs"], listed["is_preview"]) == (run["outputs"], False)


async def test_a_field_of_just_the_bound_stays_where_it_is(small: Store) -> None:
    run = a_run(inputs="x" * (MEGABYTE - 2), outputs="y" * (MEGABYTE - 1))
    await small.post(run)
    read = await small.run(run["id"])
    assert read["inputs"] == {"input": run["inputs"]}
    assert set(read["offloaded"]) == {"outputs"}


async def test_a_small_patch_wins_over_a_field_that_was_moved_and_the_other_way_round(small: Store) -> None:
    run = a_run(inputs={"query": "x" * MEGABYTE}, extra={"metadata": {"padding": "x" * MEGABYTE}})
    await small.post(run)
    await small.patch({"id": run["id"], "inputs": {"query": "small"}, "extra": {"metadata": {"added": 1}}})
    read = await small.run(run["id"])
    assert read["inputs"] == {"query": "small"}
    assert read["extra"]["metadata"] == {"added": 1}
    assert set(read["offloaded"]) == {"extra"}
    await small.patch({"id": run["id"], "inputs": {"query": "y" * MEGABYTE}})
    assert set((await small.run(run["id"]))["offloaded"]) == {"inputs", "extra"}


async def test_the_same_large_field_is_stored_once(small: Store) -> None:
    inputs = {"query": "x" * MEGABYTE}
    await small.post(a_run(inputs=inputs), a_run(inputs=inputs))
    run = a_run()
    name = f"post.{run['id']}"
    await small.send_parts(json_part(name, run), json_part(f"{name}.inputs", inputs))
    assert await small.count("contents") == 1
    assert set((await small.run(run["id"]))["offloaded"]) == {"inputs"}
