"""Feedback by people without an API key, with a token."""

import asyncio
from typing import Any

from tests.service.apps import Store, a_run, new_id, open_store


async def token(store: Store, **asked: Any) -> dict[str, Any]:
    body = {"run_id": new_id(), "feedback_key": "helpful", **asked}
    answer = await store.client.post("/feedback/tokens", json=body, headers={"x-api-key": "boss"})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def path(given: dict[str, Any]) -> str:
    return str(given["url"]).removeprefix("http://testserver")


async def test_whoever_has_a_token_gives_feedback_without_a_key(database_url: str) -> None:
    async with open_store(database_url, require_auth=True, api_keys="boss") as store:
        run = new_id()
        id_ = new_id()
        given = await token(store, run_id=run, feedback_config={"type": "freeform"}, id=id_)
        answer = await store.client.post(path(given), json={"score": 0.5, "comment": "ok", "metadata": {"who": 1}})
        assert (answer.status_code, answer.json()) == (200, {"id": id_})
        read = await store.client.get(f"/feedback/{id_}", headers={"x-api-key": "boss"})
        told = read.json()
        assert (told["run_id"], told["key"], told["score"], told["comment"]) == (run, "helpful", 0.5, "ok")
        assert told["feedback_source"] == {"type": "api", "metadata": {"who": 1}}
        assert told["feedback_config"] == {"type": "freeform"}
        assert (await store.client.post("/feedback/tokens", json={})).status_code == 401
        assert (await store.client.get(f"/feedback/tokens?run_id={run}")).status_code == 401


async def test_a_link_gives_feedback_and_what_is_said_again_adds_nothing(store: Store) -> None:
    given = await token(store)
    link = path(given)
    assert given["id"] == link.rsplit("/", 1)[-1]
    said: list[dict[str, str]] = [
        {"score": "true", "value": '{"a": 1}'},
        {"score": "0.25", "comment": "3", "value": "fine"},
    ]
    for query in (said[0], *said, *reversed(said)):
        assert (await store.client.get(link, params=query)).status_code == 200
    told = (await store.client.get("/feedback")).json()
    assert sorted(([one["score"], one["comment"], one["value"]] for one in told), key=str) == [
        [0.25, "3", "fine"],
        [True, None, {"a": 1}],
    ]
    assert (await store.client.get(link, params={"score": "good"})).status_code == 422
    assert (await store.client.post(link, json={"score": "good"})).status_code == 422


async def test_of_people_who_use_one_token_at_the_same_moment_each_gives_feedback_of_their_own(store: Store) -> None:
    link = path(await token(store))
    scores = [number / 8 for number in range(8)]
    answers = await asyncio.gather(*(store.client.post(link, json={"score": score}) for score in scores))
    given = {answer.json()["id"]: score for answer, score in zip(answers, scores, strict=True)}
    assert len(given) == len(scores)
    assert link.rsplit("/", 1)[-1] not in given
    told = (await store.client.get("/feedback")).json()
    assert {one["id"]: one["score"] for one in told} == given


async def test_what_is_sent_again_is_known_again_after_the_first_was_changed_or_deleted(store: Store) -> None:
    link = path(await token(store))
    first = (await store.client.post(link, json={"score": 0.5})).json()["id"]
    assert (await store.client.patch(f"/feedback/{first}", json={"score": 0.75})).status_code == 200
    assert (await store.client.post(link, json={"score": 0.5})).json()["id"] == first
    assert [one["score"] for one in (await store.client.get("/feedback")).json()] == [0.75]
    await store.client.delete(f"/feedback/{first}")
    assert (await store.client.post(link, json={"score": 0.5})).json()["id"] == first
    assert [(one["id"], one["score"]) for one in (await store.client.get("/feedback")).json()] == [(first, 0.5)]
    await store.client.delete(f"/feedback/{first}")
    other = (await store.client.post(link, json={"score": 0.25})).json()["id"]
    assert [(one["id"], one["score"]) for one in (await store.client.get("/feedback")).json()] == [(other, 0.25)]
    assert other != first


async def test_several_tokens_are_asked_for_at_once_and_listed(store: Store) -> None:
    run = new_id()
    bodies = [{"run_id": run, "feedback_key": key, "expires_in": None, "expires_at": None} for key in ("a", "b")]
    answer = await store.client.post("/feedback/tokens", json=bodies)
    assert answer.status_code == 200
    listed = await store.client.get("/feedback/tokens", params={"run_id": run})
    assert sorted(one["url"] for one in listed.json()) == sorted(one["url"] for one in answer.json())
    assert (await store.client.get("/feedback/tokens", params={"run_id": run, "limit": 1})).json() != listed.json()
    assert (await store.client.get("/feedback/tokens", params={"run_id": new_id()})).json() == []


async def test_a_token_that_expired_or_that_nobody_gave_out_is_refused(store: Store) -> None:
    expired = await token(store, expires_at="2024-01-15T10:30:00Z")
    answer = await store.client.post(path(expired), json={"score": 1})
    assert (answer.status_code, "2024-01-15T10:30:00Z" in answer.json()["detail"]) == (403, True)
    given = await token(store, expires_in={"days": 1, "hours": 2, "minutes": 3})
    for word in (new_id(), "x"):
        assert (await store.client.post(f"/feedback/tokens/{word}", json={"score": 1})).status_code == 404
    assert (await store.client.get("/feedback")).json() == []
    chosen = new_id()
    await token(store, id=chosen)  # The id is in the log, so it must not do what the token does.
    assert (await store.client.post(f"/feedback/tokens/{chosen}", json={"score": 1})).status_code == 404
    assert (await store.client.post(path(given), json={"score": 1})).status_code == 200


async def test_what_cannot_be_asked_for_is_a_422(store: Store) -> None:
    for change in ({"run_id": "x"}, {"feedback_key": ""}, {"expires_at": "never"}, {"expires_in": {"days": -1}}):
        body = {"run_id": new_id(), "feedback_key": "k", **change}
        assert (await store.client.post("/feedback/tokens", json=body)).status_code == 422, change


async def test_tokens_are_erased_with_the_trace_of_their_run(store: Store) -> None:
    run = a_run()
    await store.post(run)
    given = await token(store, run_id=run["id"], feedback_key="a word of the user's")
    erased = await store.client.delete(f"/traces/{run['id']}", params={"reason": "asked for"})
    assert erased.status_code == 200
    assert await store.count("feedback_tokens") == 0
    assert (await store.client.post(path(given), json={"score": 1})).status_code == 404
    log = (await store.client.get("/log/events", params={"limit": 100})).text
    assert "a word of the user's" not in log
