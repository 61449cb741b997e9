"""How feedback is to be understood, by its key."""

from typing import Any

import httpx

from tests.service.apps import Store, new_id

CONTINUOUS = {"type": "continuous", "min": 0.0, "max": 5.0}
CATEGORICAL = {"type": "categorical", "categories": [{"value": 0.0, "label": "no"}, {"value": 1.0, "label": "yes"}]}


async def created(store: Store, key: str, config: dict[str, Any], **more: Any) -> httpx.Response:
    return await store.client.post("/feedback-configs", json={"feedback_key": key, "feedback_config": config, **more})


async def patched(store: Store, key: str, **change: Any) -> httpx.Response:
    return await store.client.patch("/feedback-configs", json={"feedback_key": key, **change})


async def keys(store: Store, **query: Any) -> list[str]:
    answer = await store.client.get("/feedback-configs", params=query)
    assert answer.status_code == 200, answer.text
    return [one["feedback_key"] for one in answer.json()]


async def test_a_configuration_reads_back_and_the_same_may_be_said_again(store: Store) -> None:
    first = await created(store, "rating", CONTINUOUS, is_lower_score_better=True)
    assert first.status_code == 200
    told = first.json()
    assert (told["feedback_config"], told["is_lower_score_better"]) == (CONTINUOUS, True)
    assert (await created(store, "rating", CONTINUOUS)).json()["id"] == told["id"]
    other = await created(store, "rating", {**CONTINUOUS, "max": 6.0})
    assert (other.status_code, "'rating'" in other.json()["detail"]) == (400, True)


async def test_configurations_are_listed_by_key_and_in_pages(store: Store) -> None:
    for key in ("rating", "Ärger", "topic"):
        await created(store, key, CONTINUOUS)
    assert await keys(store) == ["rating", "topic", "Ärger"]
    assert await keys(store, key=["topic", "rating"]) == ["rating", "topic"]
    assert await keys(store, name_contains="ÄR") == ["Ärger"]
    assert await keys(store, limit=1, offset=1) == ["topic"]


async def test_categories_are_added_and_removed(store: Store) -> None:
    await created(store, "topics", CATEGORICAL)
    added = await patched(store, "topics", add_categories=[{"value": 2, "label": "perhaps"}])
    assert [one["value"] for one in added.json()["feedback_config"]["categories"]] == [0, 1, 2]
    removed = await patched(store, "topics", remove_categories=[1])
    assert [one["value"] for one in removed.json()["feedback_config"]["categories"]] == [0, 2]
    for change in ({"remove_categories": [0]}, {"add_categories": [{"value": 2}]}):
        assert (await patched(store, "topics", **change)).status_code == 422
    await created(store, "rating", CONTINUOUS)
    assert (await patched(store, "rating", add_categories=[{"value": 2}])).status_code == 422


async def test_what_is_absent_stays_and_an_unknown_key_is_a_404(store: Store) -> None:
    await created(store, "rating", CONTINUOUS)
    assert (await patched(store, "rating", is_lower_score_better=True)).json()["feedback_config"] == CONTINUOUS
    changed = (await patched(store, "rating", feedback_config={"type": "freeform"})).json()
    assert (changed["feedback_config"], changed["is_lower_score_better"]) == ({"type": "freeform"}, True)
    assert (await patched(store, "nothing")).status_code == 404


async def test_a_deleted_configuration_is_gone_and_may_be_set_otherwise(store: Store) -> None:
    told = (await created(store, "rating", CONTINUOUS)).json()
    for _ in range(2):
        assert (await store.client.delete("/feedback-configs", params={"feedback_key": "rating"})).status_code == 204
    assert await keys(store) == []
    assert (await created(store, "rating", {"type": "freeform"})).json()["id"] == told["id"]
    assert (await store.client.delete("/feedback-configs", params={"id": told["id"]})).status_code == 204
    for query in ({}, {"id": "x"}, {"id": new_id(), "feedback_key": "a"}):
        assert (await store.client.delete("/feedback-configs", params=query)).status_code == 422
