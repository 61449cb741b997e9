"""/api/v2/sessions: projects as the second generation of LangSmith's clients ask for them."""

from typing import Any

from tests.service.apps import Store, a_run, an_ended_run, new_id

PATH = "/api/v2/sessions"


async def names(store: Store, **query: Any) -> list[str]:
    return [item["name"] for item in (await store.get(PATH, **query))["items"]]


async def test_projects_come_in_pages_to_the_last(store: Store) -> None:
    for hour, name in enumerate(("one", "two", "three")):
        await store.post(a_run(session_name=name, start_time=f"2024-01-15T1{hour}:00:00Z"))
    first = await store.get(PATH, page_size=2)
    second = await store.get(PATH, page_size=2, cursor=first["next_cursor"])
    assert [item["name"] for page in (first, second) for item in page["items"]] == ["default", "three", "two", "one"]
    assert second["next_cursor"] is None
    assert (await store.client.get(PATH, params={"cursor": "nonsense"})).status_code == 422


async def test_a_project_is_created_read_changed_and_told_apart_from_an_experiment(store: Store) -> None:
    made = await store.client.post(PATH, json={"type": "PROJECT", "name": "one", "trace_tier": "LONG_LIVED"})
    one = made.json()
    assert (made.status_code, one["type"], one["trace_tier"]) == (200, "PROJECT", "LONG_LIVED")
    body = {"type": "EXPERIMENT", "name": "two", "reference_dataset_id": new_id()}
    two = (await store.client.post(PATH, json=body)).json()
    assert two["type"] == "EXPERIMENT"
    assert await store.get(f"{PATH}/{one['id']}") == one
    changed = await store.client.patch(f"{PATH}/{one['id']}", json={"name": "three", "description": "x"})
    assert changed.json() == {**one, "name": "three", "description": "x"}
    assert (await store.client.post(PATH, json=body)).status_code == 409
    assert await names(store, type="EXPERIMENT") == ["two"]
    assert await names(store, type=["PROJECT", "AGENT"], sort_by="NAME", sort_order="asc") == ["default", "three"]
    assert await names(store, type="AGENT") == []
    assert await names(store, reference_dataset_id=two["reference_dataset_id"]) == ["two"]
    assert (await store.client.get(f"{PATH}/{new_id()}")).status_code == 404


async def test_costs_are_numbers_here(store: Store) -> None:
    usage = {"input_tokens": 1, "output_tokens": 1, "total_cost": 0.125}
    await store.post(an_ended_run(session_name="one", extra={"metadata": {"usage_metadata": usage}}))
    (one,) = (await store.get(PATH, name="one", include_stats="true"))["items"]
    assert (one["total_cost"], one["run_count"]) == (0.125, 1)
