"""POST /runs/batch: what it counts, and that one bad item never costs its neighbours."""

import asyncio
from typing import Any

import orjson

from tests.service.apps import Refusal, Store, a_run, an_ended_run, new_id

BAD_ITEMS: dict[str, Any] = {
    "null": None,
    "a number": 5,
    "a text": "run",
    "a list": [],
    "an empty object": {},
    "no id": {"name": "x", "run_type": "chain", "start_time": "2024-01-15T10:30:00Z"},
    "a null id": {"id": None, "name": "x", "run_type": "chain", "start_time": "2024-01-15T10:30:00Z"},
    "an id that is no UUID": {"id": "run-1", "name": "x", "run_type": "chain", "start_time": 0},
    "no name": {"id": new_id(), "run_type": "chain", "start_time": 0},
    "no run_type": {"id": new_id(), "name": "x", "start_time": 0},
    "no start_time": {"id": new_id(), "name": "x", "run_type": "chain"},
}


async def test_posts_and_patches_that_were_applied_are_counted(store: Store) -> None:
    first, second = a_run(), a_run()
    report = await store.batch(post=[first, second], patch=[{"id": first["id"], "outputs": {"a": 1}}])
    assert report == {"success": True, "created_count": 2, "updated_count": 1, "errors": []}


async def test_a_patch_of_a_run_that_is_not_known_is_counted_and_makes_it(store: Store) -> None:
    id_ = new_id()
    report = await store.patch({"id": id_, "name": "late", "end_time": "2024-01-15T10:30:05Z"})
    assert (report["created_count"], report["updated_count"]) == (0, 1)
    assert (await store.run(id_))["name"] == "late"


async def test_either_list_may_be_missing_null_or_empty(store: Store) -> None:
    bodies: tuple[dict[str, Any], ...] = ({}, {"post": []}, {"patch": []}, {"post": None, "patch": None}, {"other": 1})
    for body in bodies:
        answer = await store.client.post("/runs/batch", json=body)
        assert answer.status_code == 200
        assert answer.json() == {"success": True, "created_count": 0, "updated_count": 0, "errors": []}
    assert await store.quarantined() == []


async def test_each_bad_item_is_named_and_kept_and_its_neighbours_are_applied(store: Store) -> None:
    good = [a_run() for _ in range(len(BAD_ITEMS) + 1)]
    posts = [item for pair in zip(good, BAD_ITEMS.values(), strict=False) for item in pair] + good[-1:]
    patches = [{"id": good[0]["id"], "tags": ["a"]}, {"tags": ["b"]}, None, {"id": good[1]["id"], "tags": ["c"]}]
    answer = await store.client.post("/runs/batch", content=orjson.dumps({"post": posts, "patch": patches}))
    report = answer.json()

    assert answer.status_code == 200
    assert report["success"] is False
    assert (report["created_count"], report["updated_count"]) == (len(good), 2)
    places = [f"post[{2 * place + 1}]" for place in range(len(BAD_ITEMS))] + ["patch[1]", "patch[2]"]
    assert [sentence.split(" ")[0].rstrip(":") for sentence in report["errors"]] == places
    refused = [*BAD_ITEMS.values(), {"tags": ["b"]}, None]
    assert await store.quarantined() == [
        Refusal(place, reason, orjson.dumps(item))
        for place, reason, item in zip(places, report["errors"], refused, strict=True)
    ]
    assert await store.receipts() == [(len(posts) + 4, len(good) + 2, 0, len(refused))]
    for run in good:
        await store.run(run["id"])


async def test_a_list_that_is_none_is_refused_and_the_other_is_applied(store: Store) -> None:
    run = a_run()
    for wrong in ({"0": a_run()}, "posts", 5, True):
        body = {"post": wrong, "patch": [{"id": run["id"], "name": repr(wrong)}]}
        report = (await store.client.post("/runs/batch", json=body)).json()
        assert (report["updated_count"], len(report["errors"])) == (1, 1)
        assert report["errors"][0].startswith("post is not a JSON array")
    assert len(await store.quarantined()) == 4


async def test_a_body_of_which_no_item_can_be_told_is_a_400_and_kept(store: Store) -> None:
    bodies = [b"", b"   ", b"not json", b"[]", b"null", b'"post"', b'{"post": [', b"\xff\xfe", b"{]"]
    for body in bodies:
        answer = await store.client.post("/runs/batch", content=body)
        assert answer.status_code == 400, body
        assert "expected a JSON object" in answer.json()["detail"]
    kept = await store.quarantined()
    assert [(refusal.source, refusal.raw) for refusal in kept] == [("body", body) for body in bodies]
    assert all("expected a JSON object" in refusal.reason for refusal in kept)
    assert await store.receipts() == [(1, 0, 0, 1)] * len(bodies)


async def test_a_request_sent_up_to_five_times_is_applied_once(store: Store) -> None:
    for times in range(1, 6):
        run = an_ended_run()
        bodies = {"post": [run], "patch": [{"id": run["id"], "tags": ["a"]}]}
        answers = [(await store.client.post("/runs/batch", json=bodies)).json() for _ in range(times)]
        assert [answer["created_count"] for answer in answers] == [1] + [0] * (times - 1)
        assert [answer["updated_count"] for answer in answers] == [1] + [0] * (times - 1)
        assert all(answer["success"] and answer["errors"] == [] for answer in answers)
        assert (await store.run(run["id"]))["version"] == 2
    assert await store.count("events") == 1 + 5 * 2  # And the event of the project `default`.
    assert sorted(await store.receipts()) == sorted([(2, 2, 0, 0)] * 5 + [(2, 0, 2, 0)] * 10)


async def test_duplicates_change_no_read_model(store: Store) -> None:
    run = an_ended_run()
    await store.post(run)
    before = await store.dump()
    await store.post(run)
    after = await store.dump()
    changed = {table for table in before if before[table] != after[table]}
    assert changed == {"receipts", "duplicates", "heads"}


async def test_a_request_sent_five_times_at_once_is_applied_once(store: Store) -> None:
    runs = [an_ended_run() for _ in range(10)]
    bodies = [orjson.dumps({"post": [run], "patch": [{"id": run["id"], "tags": ["a"]}]}) for run in runs]
    answers = await asyncio.gather(*(store.client.post("/runs/batch", content=body) for body in bodies * 5))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["created_count"] for answer in answers) == 10
    assert sum(answer.json()["updated_count"] for answer in answers) == 10
    received, applied, duplicate, refused = (sum(column) for column in zip(*await store.receipts(), strict=True))
    assert (received, applied, duplicate, refused) == (100, 20, 80, 0)
    summary = await store.get("/dashboard/stats/summary")
    assert (summary["stats"]["total_runs"], summary["stats"]["total_traces"]) == (10, 10)


async def test_an_item_repeated_within_a_batch_is_applied_once(store: Store) -> None:
    run = a_run()
    report = await store.post(run, run, run)
    assert report["created_count"] == 1
    assert await store.receipts() == [(3, 1, 2, 0)]


async def test_a_patch_repeated_after_another_is_taken_for_a_late_retry(store: Store) -> None:
    run = a_run()
    await store.post(run)
    for name in ("one", "two", "one"):
        await store.patch({"id": run["id"], "name": name})
    assert (await store.run(run["id"]))["name"] == "two"


async def test_a_thousand_runs_in_one_batch_are_all_there_when_it_is_answered(store: Store) -> None:
    runs = [a_run(name=f"run {number}") for number in range(1000)]
    report = await store.post(*runs)
    assert report["created_count"] == 1000
    page = await store.roots(limit=1000)
    assert {run["name"] for run in page["runs"]} == {run["name"] for run in runs}
