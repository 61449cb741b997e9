"""Feedback: given, changed, read and deleted, before and after the run it is about."""

import asyncio
from typing import Any

import orjson

from tests.service.apps import Store, a_run, json_part, new_id, open_store


def feedback(**members: Any) -> dict[str, Any]:
    return {"id": new_id(), "run_id": new_id(), "key": "right", "score": 1, **members}


async def ids(store: Store, **query: Any) -> list[str]:
    answer = await store.client.get("/feedback", params=query)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()]


async def test_feedback_reads_back_with_every_field_as_it_was_given(store: Store) -> None:
    given = feedback(
        trace_id=new_id(),
        score=0.5,
        value={"a": [1]},
        comment="Right to the point.",
        correction={"b": 2},
        feedback_source={"type": "api", "metadata": {"c": 3}},
        feedback_config={"type": "continuous"},
        session_id=new_id(),
        extra={"d": 4},
        created_at="2024-01-15T10:30:00Z",
        modified_at="2024-01-15T10:30:00.500000Z",
    )
    answer = await store.client.post("/feedback", json=given)
    assert answer.status_code == 200
    assert {name: answer.json()[name] for name in given} == given
    assert await store.get(f"/feedback/{given['id']}") == answer.json()
    assert (await store.client.get("/feedback")).json() == [answer.json()]


async def test_feedback_on_a_run_that_is_not_known_is_taken(store: Store) -> None:
    given = feedback()
    assert (await store.client.post("/feedback", json=given)).status_code == 200
    await store.post(a_run(id=given["run_id"]))
    assert await ids(store, run=given["run_id"]) == [given["id"]]


async def test_a_score_is_a_number_or_a_boolean_as_it_was_given(store: Store) -> None:
    for sent, read in (
        (b"true", b"true"),
        (b"false", b"false"),
        (b"1", b"1"),
        (b"0", b"0"),
        (b"1.10", b"1.10"),
        (b"-3e-5", b"-3e-5"),
        (b"1180591620717411303424", b"1180591620717411303424"),
        (b"null", b"null"),
        (b"NaN", b"null"),
        (b"1e999", b"null"),
        (b'"good"', b"null"),
        (b"[1]", b"null"),
    ):
        answer = await store.client.post("/feedback", content=b'{"key":"k","score":%s}' % sent)
        assert answer.status_code == 200, sent
        assert b'"score":' + read + b"," in answer.content, sent


async def test_feedback_without_an_id_gets_one_that_a_retry_gets_again(store: Store) -> None:
    given = {"key": "right", "run_id": new_id(), "score": 1}
    first, again = [await store.client.post("/feedback", json=given) for _ in range(2)]
    other = await store.client.post("/feedback", json={**given, "score": 2})
    assert first.json() == again.json()
    assert other.json()["id"] != first.json()["id"]
    assert await store.receipts() == [(1, 1, 0, 0), (1, 0, 1, 0), (1, 1, 0, 0)]


async def test_a_patch_sets_what_it_names_and_null_clears(store: Store) -> None:
    given = feedback(comment="first", value="v")
    path = f"/feedback/{given['id']}"
    await store.client.post("/feedback", json=given)
    patched = await store.client.patch(path, json={"score": False, "comment": None})
    assert patched.status_code == 200
    assert (patched.json()["score"], patched.json()["comment"], patched.json()["value"]) == (False, None, "v")
    assert await store.get(path) == patched.json()


async def test_a_patch_may_come_first_and_wins_over_the_post_that_follows(store: Store) -> None:
    given = feedback(score=1, comment="of the post", value="v")
    path = f"/feedback/{given['id']}"
    patched = await store.client.patch(path, json={"score": 0.25, "comment": None})
    assert (patched.status_code, patched.json()["score"], patched.json()["key"]) == (200, 0.25, "")
    posted = (await store.client.post("/feedback", json=given)).json()
    assert (posted["score"], posted["comment"]) == (0.25, None)
    assert (posted["key"], posted["value"], posted["run_id"]) == ("right", "v", given["run_id"])


async def test_what_was_changed_on_purpose_may_be_changed_back(store: Store) -> None:
    given = feedback()
    path = f"/feedback/{given['id']}"
    await store.client.post("/feedback", json=given)
    for score in (1, 0, 1, 1):
        assert (await store.client.patch(path, json={"score": score})).json()["score"] == score
    assert await store.receipts() == [(1, 1, 0, 0)] * 4 + [(1, 0, 1, 0)]


async def test_deleted_feedback_is_gone_and_may_be_deleted_again_and_given_again(store: Store) -> None:
    given = feedback()
    path = f"/feedback/{given['id']}"
    await store.client.post("/feedback", json=given)
    for _ in range(2):
        deleted = await store.client.delete(path)
        assert (deleted.status_code, deleted.content) == (204, b"")
        answer = await store.client.get(path)
        assert (answer.status_code, answer.json()["detail"]) == (404, f"There is no feedback {given['id']}.")
        assert await ids(store) == []
    # SDKs take a 404 here for a run that is not there yet, and try again for minutes.
    again = await store.client.post("/feedback", json=given)
    assert (again.status_code, again.json()["score"]) == (200, 1)


async def test_feedback_is_listed_by_run_and_key_newest_first_and_in_pages(store: Store) -> None:
    one, two = new_id(), new_id()
    given = [feedback(run_id=run, key=key) for run in (one, two) for key in ("a", "b", "a")]
    for entry in given:
        await store.client.post("/feedback", json=entry)
    newest = [entry["id"] for entry in reversed(given)]
    assert await ids(store) == newest
    assert await ids(store, run=one) == newest[3:]
    assert await ids(store, run=[one, two], key="b") == [newest[1], newest[4]]
    assert await ids(store, key=["a", "b"], limit=2, offset=1) == newest[1:3]
    assert await ids(store, run=new_id()) == []
    assert await ids(store, key="\0") == []
    for query in ({"run": "run-1"}, {"limit": "0"}, {"limit": "1001"}, {"offset": "-1"}):
        assert (await store.client.get("/feedback", params=query)).status_code == 422, query


async def test_feedback_that_cannot_be_used_is_a_422_and_kept(store: Store) -> None:
    bodies: list[Any] = [{}, {"score": 1}, {"key": None}, [], None, "key", 5]
    for body in bodies:
        answer = await store.client.post("/feedback", content=orjson.dumps(body))
        assert answer.status_code == 422, body
    assert (await store.client.patch("/feedback/one", json={"score": 1})).status_code == 422
    assert (await store.client.patch(f"/feedback/{new_id()}", content=b"[]")).status_code == 422
    assert (await store.client.post("/feedback", content=b"no json")).status_code == 400
    kept = await store.quarantined()
    assert [refusal.raw for refusal in kept] == [*map(orjson.dumps, bodies), b'{"score":1}', b"[]", b"no json"]
    assert all(refusal.reason for refusal in kept)


async def test_an_id_that_is_none_is_a_422(store: Store) -> None:
    for request in (store.client.get("/feedback/one"), store.client.delete("/feedback/one")):
        assert (await request).status_code == 422


async def test_values_that_are_no_json_or_odd_read_as_best_they_can(store: Store) -> None:
    id_ = new_id()
    body = (
        b'{"id":"%s","key":{"odd":1},"run_id":5,"value":"\\ud800","comment":"a\\u0000b","correction":NaN}'
        % id_.encode()
    )
    answer = await store.client.post("/feedback", content=body)
    assert answer.status_code == 200
    read = answer.json()
    assert (read["key"], read["run_id"], read["correction"]) == ('{"odd":1}', None, None)
    assert (read["value"], read["comment"]) == ("\ufffd", "a\0b")


async def test_the_same_feedback_sent_at_once_is_given_once(store: Store) -> None:
    given = feedback()
    answers = await asyncio.gather(*(store.client.post("/feedback", json=given) for _ in range(5)))
    assert {answer.status_code for answer in answers} == {200}
    assert await ids(store) == [given["id"]]
    assert sorted(await store.receipts()) == [(1, 0, 1, 0)] * 4 + [(1, 1, 0, 0)]


async def test_feedback_in_a_part_and_by_itself_is_the_same(store: Store) -> None:
    given = feedback()
    await store.send_parts(json_part(f"feedback.{given['id']}", given))
    answer = await store.client.post("/feedback", json=given)
    assert answer.json()["score"] == 1
    assert await ids(store) == [given["id"]]
    assert await store.receipts() == [(1, 1, 0, 0), (1, 0, 1, 0)]


async def test_a_page_of_another_site_may_not_delete_when_nobody_has_to_log_in(store: Store) -> None:
    given = feedback()
    await store.client.post("/feedback", json=given)
    path = f"/feedback/{given['id']}"
    foreign = await store.client.delete(path, headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403
    assert await ids(store) == [given["id"]]
    own = await store.client.delete(path, headers={"Origin": "http://testserver"})
    assert own.status_code == 204


async def test_deleting_asks_for_the_scope_of_administrators(database_url: str) -> None:
    keys = "boss,sender:ingest+read"
    async with open_store(database_url, require_auth=True, api_keys=keys) as store:
        given = feedback()
        sender, boss = {"x-api-key": "sender"}, {"x-api-key": "boss"}
        assert (await store.client.post("/feedback", json=given, headers=sender)).status_code == 200
        path = f"/feedback/{given['id']}"
        assert (await store.client.delete(path)).status_code == 401
        assert (await store.client.delete(path, headers=sender)).status_code == 403
        assert (await store.client.get(path, headers=sender)).status_code == 200
        assert (await store.client.delete(path, headers=boss)).status_code == 204


async def test_feedback_is_filtered_by_source_project_user_and_what_it_says(store: Store) -> None:
    run = a_run(session_name="one")
    await store.post(run)
    project = (await store.run(run["id"]))["session_id"]
    model = feedback(run_id=run["id"], feedback_source={"type": "model", "user_id": "u1"}, comment="because")
    api = feedback(score=None, feedback_source={"type": "api", "user_id": 7})
    whole = feedback(run_id=None, session_id=project, score=True)
    for given in (model, api, whole):
        assert (await store.client.post("/feedback", json=given)).status_code == 200
    assert await ids(store, source="model") == [model["id"]]
    assert await ids(store, source=["FeedbackSourceType.API", "model"]) == [api["id"], model["id"]]
    assert await ids(store, user="u1") == [model["id"]]
    assert await ids(store, session=project) == [whole["id"], model["id"]]
    assert await ids(store, session=new_id()) == []
    assert await ids(store, level="session") == [whole["id"]]
    assert await ids(store, level="run", session=project) == [model["id"]]
    assert await ids(store, has_comment="True") == [model["id"]]
    assert await ids(store, has_score="false") == [api["id"]]
    assert await ids(store, max_created_at="2024-01-15T10:30:00Z") == []
    assert len(await ids(store, min_created_at="2024-01-15T10:30:00Z")) == 3
    for query in ({"level": "x"}, {"session": "x"}, {"min_created_at": "x"}):
        assert (await store.client.get("/feedback", params=query)).status_code == 422, query


async def test_what_is_patched_is_what_is_filtered_by(store: Store) -> None:
    given = feedback(feedback_source={"type": "api"})
    await store.client.post("/feedback", json=given)
    await store.client.patch(f"/feedback/{given['id']}", json={"feedback_source": {"type": "app"}, "score": None})
    assert (await ids(store, source="api"), await ids(store, source="app")) == ([], [given["id"]])
    assert await ids(store, has_score="true") == []
