"""The list of traces with `search_in=all`: traces with a run that holds a text, in any script, indexed or not."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from projections import fulltext, queries
from tests.service.apps import Store, a_run, an_ended_run, new_id, open_store
from tests.service.test_indexing import until_indexed
from tests.service.test_run_queries import at


@pytest.fixture(params=[False, True], ids=["unindexed", "indexed"])
async def store(request: pytest.FixtureRequest, indexable_url: str) -> AsyncIterator[Store]:
    async with open_store(indexable_url, full_text=request.param) as store:
        yield store


async def searched(store: Store, text: str, **query: Any) -> list[str]:
    """The ids of the traces that a search finds, page by page."""
    if (await store.get("/health"))["full_text"] == "on":
        await until_indexed(store)
    found: list[str] = []
    page = await store.roots(search=text, search_in="all", **query)
    while True:
        assert page["total"] is None
        assert page["has_more"] == (page["next"] is not None)
        found += [run["id"] for run in page["runs"]]
        if page["next"] is None:
            return found
        page = await store.roots(search=text, search_in="all", after=page["next"], **query)


def below(root: dict[str, Any], **members: Any) -> dict[str, Any]:
    return a_run(parent_run_id=root["id"], trace_id=root["id"], **members)


async def test_names_errors_inputs_and_outputs_of_any_run_are_searched_in_any_script(store: Store) -> None:
    root, other = an_ended_run(name="Agent", session_name="p"), an_ended_run(name="other", inputs={"q": "nothing"})
    await store.post(
        root,
        other,
        below(root, name="Wetter abfragen"),
        below(root, name="tool", error="ValueError: Σίσυφος gave up"),
        below(root, name="tool", inputs={"messages": [{"content": "北京今天的天气怎么样"}]}),
        below(root, name="tool", outputs={"text": "الطقس في القاهرة"}),
    )
    for text in ("AGENT", "wetter", "σισυφος", "天气", "القاهرة", "gave up"):
        assert await searched(store, text) == [root["id"]], text
    for text in ("pelican", "Wetter Agent", "天 气", "%", "_"):
        assert await searched(store, text) == [], text
    assert await searched(store, "nothing") == [other["id"]]


async def test_a_trace_whose_root_never_came_is_found_by_what_its_runs_say(store: Store) -> None:
    lost = a_run(id=new_id())
    await store.post(below(lost, name="tool", error="boom", session_name="p"))
    for query in ({}, {"project": "p"}, {"status": "running"}):
        assert await searched(store, "boom", **query) == [lost["id"]], query
    assert await searched(store, "pelican") == await searched(store, "boom", status="failed") == []
    (found,) = (await store.roots(search="boom", search_in="all"))["runs"]
    assert (found["is_root_missing"], found["name"]) == (True, "tool")


async def test_without_it_only_names_of_roots_are_searched(store: Store) -> None:
    root = an_ended_run(name="agent")
    await store.post(root, below(root, name="tool"))
    for search_in in ({}, {"search_in": "name"}, {"search_in": ""}):
        assert (await store.roots(search="agent", **search_in))["total"] == 1
        assert (await store.roots(search="tool", **search_in))["total"] == 0
    assert (await store.roots(search_in="all"))["total"] == 1
    assert (await store.client.get("/dashboard/runs/roots", params={"search_in": "inputs"})).status_code == 422


async def test_the_other_filters_hold_as_well_and_pages_tell_each_trace_once(store: Store) -> None:
    roots = [an_ended_run(session_name="p", start_time=at(n), end_time=at(n), inputs={"q": "x"}) for n in range(5)]
    failed = an_ended_run(session_name="p", start_time=at(7), end_time=at(8), error="x")
    elsewhere = an_ended_run(session_name="q", start_time=at(9), end_time=at(9), inputs={"q": "x"})
    await store.post(*roots, failed, elsewhere)
    newest = [run["id"] for run in reversed(roots)]
    assert await searched(store, "x", limit=2) == [elsewhere["id"], failed["id"], *newest]
    assert await searched(store, "x", project="p", status="completed", limit=2) == newest
    assert await searched(store, "x", status="failed") == [failed["id"]]
    assert await searched(store, "x", project="p", start_time_gte=at(1), start_time_lte=at(3)) == newest[1:4]
    (found,) = (await store.roots(search="x", search_in="all", project="p", limit=1, status="completed"))["runs"]
    assert found["project_name"] == "p"


async def test_an_offset_is_refused_because_pages_may_end_early(store: Store) -> None:
    skipping: dict[str, Any] = {"search": "x", "search_in": "all", "offset": 1}
    answer = await store.client.get("/dashboard/runs/roots", params=skipping)
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "offset is 1: a search in all texts goes on by the cursor after",
    )
    assert (await store.roots(**{**skipping, "offset": 0}))["next"] is None


async def test_a_page_that_takes_long_ends_without_a_find_and_the_next_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = an_ended_run(start_time=at(0), end_time=at(0), inputs={"q": "needle in hay"})
    others = [an_ended_run(start_time=at(n), end_time=at(n), inputs={"q": "hay"}) for n in range(1, 9)]
    await store.post(rare, *others)
    monkeypatch.setattr(queries, "_PATIENCE_S", -1)
    monkeypatch.setattr(queries, "_SLICE_ROWS", 2)
    monkeypatch.setattr(queries, "_WINDOW_ROWS", 2)
    monkeypatch.setattr(fulltext, "_FEW_ENTRIES", 0)
    assert await searched(store, "needle", limit=1) == [rare["id"]]
    page = await store.roots(search="needle", search_in="all", limit=1)
    assert (page["runs"], page["has_more"]) == ([], True)


async def test_what_was_erased_or_whose_project_was_deleted_is_not_found(store: Store) -> None:
    root, other = an_ended_run(inputs={"q": "pelican"}), an_ended_run(session_name="p", inputs={"q": "pelican"})
    await store.post(root, other, below(other, id=new_id(), outputs={"a": "stork"}))
    project = (await store.run(other["id"]))["session_id"]
    assert (await store.client.delete(f"/traces/{root['id']}", params={"reason": "asked for"})).status_code == 200
    assert await searched(store, "pelican") == [other["id"]]
    assert (await store.client.delete(f"/sessions/{project}")).status_code == 200
    assert await searched(store, "stork") == await searched(store, "pelican") == []
