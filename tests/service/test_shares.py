"""Shares: whoever has the token of one reads its trace without an API key, and nothing else."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.service.apps import Store, a_run, an_ended_run, new_id, open_store

BOSS = {"x-api-key": "boss"}


@pytest.fixture
async def guarded(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url, require_auth=True, api_keys="boss,sender:ingest+read") as store:
        yield store


async def traced(store: Store) -> tuple[str, str, str]:
    """A trace of a root and a child, and another trace; the ids of these runs."""
    root, child, other = an_ended_run(), an_ended_run(), an_ended_run()
    child |= {"trace_id": root["id"], "parent_run_id": root["id"], "start_time": "2024-01-15T10:30:01Z"}
    body = {"post": [root, child, other]}
    assert (await store.client.post("/runs/batch", json=body, headers=BOSS)).status_code == 200
    return root["id"], child["id"], other["id"]


async def shared(store: Store, run_id: str, **asked: Any) -> str:
    answer = await store.client.put(f"/runs/{run_id}/share", json={"run_id": run_id, **asked}, headers=BOSS)
    assert answer.status_code == 200, answer.text
    assert answer.json()["run_id"] == run_id
    return str(answer.json()["share_token"])


async def test_whoever_has_the_token_reads_that_trace_and_no_other(guarded: Store) -> None:
    root, child, other = await traced(guarded)
    token = await shared(guarded, root)
    get = guarded.client.get
    assert (await get(f"/public/{token}/run")).json()["id"] == root
    assert (await get(f"/public/{token}/run/{child}")).json()["parent_run_id"] == root
    assert [run["id"] for run in (await get(f"/public/{token}/runs")).json()] == [root, child]
    assert [run["id"] for run in (await get(f"/public/{token}/runs", params={"id": [child, other]})).json()] == [child]
    assert (await get(f"/public/{token}/run/{other}")).status_code == 404
    garbled = f"/public/{token}/runsshare_token={token}&id={child}&id={other}"  # As the JavaScript SDK asks.
    assert [run["id"] for run in (await get(garbled)).json()] == [child]
    assert (await get(f"/public/{new_id()}/runsshare_token={token}")).status_code == 404
    tree = (await get(f"/public/{token}/hierarchy")).json()
    assert (tree["total_runs"], tree["hierarchy"]["id"], tree["hierarchy"]["children"][0]["id"]) == (2, root, child)
    v2 = f"/api/v2/public/{token}"
    assert (await get(f"{v2}/run/{child}", params={"selects": ["ID", "IS_ROOT"]})).json() == {
        "id": child,
        "is_root": False,
    }
    items = (await guarded.client.post(f"{v2}/runs/query", json={"selects": ["ID"]})).json()["items"]
    assert items == [{"id": root}, {"id": child}]
    assert (await get(f"{v2}/run/{other}", params={"selects": "ID"})).status_code == 404
    assert (await get(f"/runs/{root}")).status_code == 401
    assert (await get(f"/public/{new_id()}/run")).status_code == (await get("/public/x/run")).status_code == 404
    assert (await get(f"/public/{new_id()}/hierarchy")).status_code == 404


async def test_shared_runs_come_in_pages_to_the_last(store: Store) -> None:
    root = a_run()
    children = [a_run(trace_id=root["id"], parent_run_id=root["id"]) for _ in range(4)]
    await store.post(root, *children)
    token = await shared(store, root["id"])
    found: list[str] = []
    cursor = None
    for _ in range(3):
        body = {"limit": 2, "cursor": cursor}
        page = (await store.client.post(f"/public/{token}/runs/query", json=body)).json()
        found += [run["id"] for run in page["runs"]]
        cursor = page["cursors"]["next"]
    assert cursor is None
    assert sorted(found) == sorted(run["id"] for run in (root, *children))
    one = await store.client.post(f"/public/{token}/runs/query", json={"id": [root["id"]]})
    assert [run["id"] for run in one.json()["runs"]] == [root["id"]]


async def test_feedback_on_the_shared_trace_is_read_with_it(store: Store) -> None:
    root, child, other = await traced(store)
    for run, key in ((root, "a"), (child, "b"), (other, "c")):
        await store.client.post("/feedback", json={"run_id": run, "key": key, "score": 1})
    token = await shared(store, root)
    told = (await store.client.get(f"/public/{token}/feedbacks")).json()
    assert sorted(one["key"] for one in told) == ["a", "b"]
    of_other = await store.client.get(f"/public/{token}/feedbacks", params={"run": other})
    assert of_other.json() == []


async def test_a_share_is_read_kept_when_asked_again_and_taken_back(store: Store) -> None:
    root, child, _ = await traced(store)
    path = f"/runs/{root}/share"
    assert (await store.client.get(path)).json() is None
    wanted = new_id()
    assert await shared(store, root, share_token=wanted) == wanted
    assert await shared(store, root, share_token=new_id()) == wanted
    assert await store.get(path) == {"run_id": root, "share_token": wanted}
    taken = await store.client.put(f"/runs/{child}/share", json={"share_token": wanted})
    assert (taken.status_code, wanted in taken.json()["detail"]) == (409, True)
    plain = await store.client.put(path, content=b'{"share_token": null}', headers={"Content-Type": "text/plain"})
    assert plain.status_code == 200
    for _ in range(2):
        assert (await store.client.delete(path)).status_code == 204
    assert (await store.client.get(path)).json() is None
    assert (await store.client.get(f"/public/{wanted}/run")).status_code == 404
    assert (await store.client.put(f"/runs/{new_id()}/share")).status_code == 404


async def test_the_second_generation_shares_the_same(store: Store) -> None:
    root, _, _ = await traced(store)
    path = f"/api/v2/runs/{root}/share"
    token = (await store.client.post(path, json={"session_id": new_id(), "trace_id": root})).json()["share_token"]
    assert await store.get(f"/runs/{root}/share") == {"run_id": root, "share_token": token}
    assert (await store.client.request("DELETE", path, json={"session_id": new_id()})).status_code == 204
    assert (await store.client.get(f"/runs/{root}/share")).json() is None


async def test_what_is_erased_or_deleted_is_shared_no_longer(store: Store) -> None:
    root, _, other = await traced(store)
    token, second = await shared(store, root), await shared(store, other)
    await store.client.delete(f"/traces/{root}", params={"reason": "asked for"})
    assert await store.count("shares") == 1
    assert (await store.client.get(f"/public/{token}/run")).status_code == 404
    project = (await store.run(other))["session_id"]
    await store.client.delete(f"/sessions/{project}")
    assert (await store.client.get(f"/public/{second}/run")).status_code == 404


async def test_sharing_asks_for_administrators(guarded: Store) -> None:
    root, _, _ = await traced(guarded)
    sender = {"x-api-key": "sender"}
    path = f"/runs/{root}/share"
    assert (await guarded.client.put(path, headers=sender)).status_code == 403
    assert (await guarded.client.get(path, headers=sender)).json() is None
    assert (await guarded.client.delete(path, headers=sender)).status_code == 403
    assert (await guarded.client.put(path)).status_code == 401


async def test_a_run_tells_readers_by_which_token_it_is_shared(store: Store) -> None:
    root, _, _ = await traced(store)
    token = await shared(store, root)
    told = await store.get(f"/api/v2/runs/{root}", selects=["SHARE_URL"])
    assert told["share_url"] == f"http://testserver/public/{token}/r"
    page = (await store.client.post("/runs/query", json={"id": [root], "select": ["share_token"]})).json()
    assert page["runs"][0]["share_token"] == token
    assert "share_token" not in (await store.client.get(f"/public/{token}/run")).json()
