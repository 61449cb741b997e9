"""The history of a run and reading as of a moment, over HTTP."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import func, select

from events.schema import duplicates, events, receipts
from projections import erasure
from service.history import DUPLICATES_MAX, VALUE_BYTES_MAX
from service.wire.history import RunDiffResponse, RunHistoryResponse
from tests.service.apps import END, START, Store, a_run, an_ended_run, new_id, open_store

LARGE = "x" * (VALUE_BYTES_MAX + 1)
SDK = {"User-Agent": "langsmith-py/0.15.0", "X-Request-ID": "the-request"}


async def history_of(store: Store, run_id: str, **query: Any) -> dict[str, Any]:
    told = await store.get(f"/runs/{run_id}/events", **query)
    RunHistoryResponse.model_validate(told, strict=True)
    return told


def field(mutation: Mapping[str, Any], name: str) -> dict[str, Any]:
    (found,) = [field for field in mutation["fields"] if field["field"] == name]
    assert isinstance(found, dict)
    return found


async def test_each_mutation_says_when_from_whom_and_what(store: Store) -> None:
    run = a_run(inputs={"q": 1}, extra={"metadata": {"a/b": 1}})
    await store.post(run)
    patch = {"end_time": END, "outputs": {"r": 2}, "extra": {"metadata": {"a/b": 2}}, "error": None}
    answer = await store.client.patch(f"/runs/{run['id']}", json=patch, headers=SDK)
    assert answer.status_code == 202, answer.text

    told = await history_of(store, run["id"])

    assert (told["run_id"], told["version"], told["next_after"]) == (run["id"], 2, None)
    first, second = told["mutations"]
    assert (first["version"], first["kind"], first["happened_at"]) == (1, "RunPosted", START)
    assert (second["version"], second["kind"], second["happened_at"]) == (2, "RunPatched", END)
    assert second["position"] > first["position"]
    assert second["recorded_at"] == second["origin"]["received_at"] >= first["recorded_at"]
    assert second["content"] == "recorded"
    said = {name: second["origin"][name] for name in ("endpoint", "sdk", "sdk_version", "user_agent", "request_id")}
    assert said == {
        "endpoint": f"PATCH /api/v1/runs/{run['id']}",
        "sdk": "langsmith-py",
        "sdk_version": "0.15.0",
        "user_agent": "langsmith-py/0.15.0",
        "request_id": "the-request",
    }
    assert field(second, "outputs") == {
        "field": "outputs",
        "effect": "set",
        "before": None,
        "after": {"value": {"r": 2}},
        "cause": None,
        "said": None,
    }
    assert field(second, "extra.metadata.a/b")["before"] == {"value": 1}
    assert field(second, "extra.metadata.a/b")["after"] == {"value": 2}
    assert (field(second, "error")["effect"], field(second, "error")["cause"]) == ("left", "null")


async def test_each_duplicate_is_told_with_the_request_that_brought_it(store: Store) -> None:
    run, patch = a_run(), {"end_time": END}
    await store.post(run)
    for _ in range(3):
        await store.client.patch(f"/runs/{run['id']}", json=patch, headers=SDK)
    await store.post(run, run)
    posted, patched = (await history_of(store, run["id"]))["mutations"]
    assert posted["duplicates"]["count"] == 2
    assert [one["times"] for one in posted["duplicates"]["latest"]] == [2]
    assert patched["duplicates"]["count"] == 2
    assert [one["times"] for one in patched["duplicates"]["latest"]] == [1, 1]
    assert {one["origin"]["sdk"] for one in patched["duplicates"]["latest"]} == {"langsmith-py"}
    receipts = [one["origin"]["receipt_id"] for one in patched["duplicates"]["latest"]]
    assert receipts == sorted(receipts)
    assert receipts[0] > patched["origin"]["receipt_id"]


async def test_every_duplicate_is_noted_with_its_receipt(store: Store) -> None:
    run, feedback = an_ended_run(), {"key": "k", "id": new_id()}
    await store.post(run, run)
    await store.batch(post=[run], patch=[{"id": run["id"], "tags": ["a"]}] * 3)
    for _ in range(2):
        assert (await store.client.post("/feedback", json=feedback)).status_code == 200
        assert (await store.client.delete(f"/feedback/{feedback['id']}")).status_code == 204
    assert (await store.client.delete(f"/feedback/{feedback['id']}")).status_code == 204
    noted = select(receipts.c.receipt_id, receipts.c.duplicate, func.coalesce(func.sum(duplicates.c.times), 0))
    query = noted.outerjoin_from(receipts, duplicates, receipts.c.receipt_id == duplicates.c.receipt_id)
    async with store.engine.connect() as connection:
        rows = (await connection.execute(query.group_by(receipts.c.receipt_id, receipts.c.duplicate))).all()
        repeated = select(events.c.version).join(
            duplicates, (duplicates.c.stream == events.c.stream) & (duplicates.c.version == events.c.version)
        )
        versions = sorted((await connection.execute(repeated)).scalars())
    assert sum(row[1] for row in rows) == 5
    assert all(row[1] == row[2] for row in rows)
    assert versions == [1, 1, 2, 4]


async def test_of_many_duplicates_the_last_requests_are_told(store: Store) -> None:
    run = a_run()
    for _ in range(DUPLICATES_MAX + 3):
        await store.post(run)
    (mutation,) = (await history_of(store, run["id"]))["mutations"]
    assert mutation["duplicates"]["count"] == DUPLICATES_MAX + 2
    receipts = [one["origin"]["receipt_id"] for one in mutation["duplicates"]["latest"]]
    assert len(receipts) == DUPLICATES_MAX
    assert receipts[0] == mutation["origin"]["receipt_id"] + 3


async def test_a_large_value_is_told_by_size_and_hash_and_can_be_fetched(store: Store) -> None:
    run = a_run(inputs={"q": LARGE})
    await store.post(run)
    await store.patch({"id": run["id"], "inputs": {"q": LARGE + "y"}, "tags": [LARGE]})
    await store.post({**run, "inputs": {"q": LARGE + "z"}})
    _, patched, late = (await history_of(store, run["id"]))["mutations"]
    change, outranked = field(patched, "inputs"), field(late, "inputs")
    for told, last in ((change["before"], ""), (change["after"], "y"), (outranked["said"], "z")):
        body = (await store.client.get(told["url"])).content
        assert body == b'{"q":"' + (LARGE + last).encode() + b'"}'
        assert (told["size"], told["sha256"]) == (len(body), sha256(body).hexdigest())
        assert told["preview"].startswith("xxx")
        assert "value" not in told


async def test_a_value_in_the_content_store_is_fetched_whole(database_url: str) -> None:
    async with open_store(database_url, max_trace_size_mb=1) as store:
        run = a_run(inputs={"q": "x" * 2_000_000})
        await store.post(run)
        (mutation,) = (await history_of(store, run["id"]))["mutations"]
        told = field(mutation, "inputs")["after"]
        body = (await store.client.get(told["url"])).content
    assert (told["size"], told["sha256"]) == (len(body), sha256(body).hexdigest())
    assert len(body) > 2_000_000


async def test_a_long_history_is_read_in_pages(store: Store) -> None:
    run, patches = a_run(), 1200
    await store.post(run)
    await store.patch(*({"id": run["id"], "tags": [str(number)]} for number in range(patches)))
    versions, after = [], 0
    while after is not None:
        page = await history_of(store, run["id"], after=after, limit=700)
        versions += [mutation["version"] for mutation in page["mutations"]]
        last, after = page["mutations"][-1], page["next_after"]
    assert versions == list(range(1, patches + 2))
    assert field(last, "tags")["after"] == {"value": ["1199"]}
    assert field(last, "tags")["before"] == {"value": ["1198"]}
    beyond = await history_of(store, run["id"], after=patches + 1)
    assert (beyond["mutations"], beyond["next_after"]) == ([], None)


async def test_a_page_ends_early_when_it_grows_too_large(store: Store) -> None:
    run = a_run()
    await store.post(run)
    many = {f"{number:04}": "x" * 4000 for number in range(300)}
    for number in range(12):
        await store.patch({"id": run["id"], "extra": {"metadata": {**many, "n": number}}})
    page = await history_of(store, run["id"], limit=1000)
    assert 1 < len(page["mutations"]) < 13
    assert page["next_after"] == len(page["mutations"])
    rest = await history_of(store, run["id"], limit=1000, after=page["next_after"])
    assert rest["mutations"][0]["version"] == page["next_after"] + 1


async def test_a_revert_tells_why_and_what_it_brought_back(store: Store) -> None:
    run = a_run(inputs={"q": 1})
    await store.post(run)
    await store.patch({"id": run["id"], "inputs": {"q": 2}, "end_time": END})
    await store.client.post(f"/runs/{run['id']}/revert", json={"to_version": 1, "reason": "by mistake"})
    mutation = (await history_of(store, run["id"], after=2))["mutations"][0]
    assert mutation["revert"] == {"to_version": 1, "reason": "by mistake"}
    assert field(mutation, "inputs")["after"] == {"value": {"q": 1}}
    assert (field(mutation, "end_time")["effect"], field(mutation, "end_time")["after"]) == ("cleared", None)


# --- between two versions ---------------------------------------------------------------------------------------------


async def test_a_difference_tells_the_fields_that_differ(store: Store) -> None:
    run = a_run(inputs={"q": LARGE}, tags=["a"])
    await store.post(run)
    await store.patch({"id": run["id"], "tags": ["b"]})
    await store.patch({"id": run["id"], "tags": ["c"], "outputs": {"r": 1}})
    told = await store.get(f"/runs/{run['id']}/diff", **{"from": 1, "to": 3})
    RunDiffResponse.model_validate(told, strict=True)
    assert (told["from"], told["to"]) == (1, 3)
    tags, outputs = told["fields"]
    assert tags == {"field": "tags", "effect": "changed", "before": {"value": ["a"]}, "after": {"value": ["c"]}}
    assert (outputs["field"], outputs["effect"], outputs["before"]) == ("outputs", "set", None)
    whole = await store.get(f"/runs/{run['id']}/diff")
    assert (whole["from"], whole["to"]) == (0, 3)
    inputs = field(whole, "inputs")["after"]
    assert (await store.client.get(inputs["url"])).json() == {"q": LARGE}
    assert (await store.get(f"/runs/{run['id']}/diff", **{"from": 3, "to": 3}))["fields"] == []


# --- as of a moment ---------------------------------------------------------------------------------------------------


async def test_a_run_and_its_trace_are_read_as_they_were(store: Store) -> None:
    root, child = a_run(project_name="red"), new_id()
    await store.post(root)
    answers = [await everything_about(store, root["id"])]
    await store.post(a_run(id=child, parent_run_id=root["id"]))
    answers.append(await everything_about(store, root["id"]))
    await store.patch({"id": root["id"], "project_name": "blue", "end_time": END, "outputs": {"r": 1}})
    answers.append(await everything_about(store, root["id"]))
    await store.patch({"id": child, "trace_id": new_id()})
    answers.append(await everything_about(store, root["id"]))
    assert len({str(answer) for answer in answers}) == 4

    mutations = (await history_of(store, root["id"]))["mutations"]
    first = mutations[0]["position"]
    for place, answer in enumerate(answers):
        assert await everything_about(store, root["id"], as_of_position=first + place) == answer
    times = [mutation["recorded_at"] for mutation in mutations]
    assert await everything_about(store, root["id"], as_of=times[0]) == answers[0]
    assert await everything_about(store, root["id"], as_of=times[1]) == answers[2]
    assert await store.run(root["id"], as_of_version="1") == answers[0][0]
    assert await store.run(root["id"], as_of_version="2") == answers[2][0]


async def everything_about(store: Store, run_id: str, **moment: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return await store.run(run_id, **moment), await store.get(f"/dashboard/runs/{run_id}/hierarchy", **moment)


@pytest.mark.parametrize(
    "moment",
    [{"as_of_position": 2**62}, {"as_of": "9999-12-31T00:00:00Z"}, {"as_of": "9999-12-31T00:00:00 02:00"}],
)
async def test_a_moment_to_come_is_now(store: Store, moment: dict[str, Any]) -> None:
    run = an_ended_run()
    await store.post(run)
    assert await everything_about(store, run["id"], **moment) == await everything_about(store, run["id"])


@pytest.mark.parametrize(
    "path", ["?as_of_version=3", "/diff?from=1&to=3", "/diff?from=3&to=1", "/diff?from=3", "/events/3/fields?name=name"]
)
async def test_a_version_to_come_is_404_and_says_which_there_are(store: Store, path: str) -> None:
    run = a_run()
    await store.post(run)
    await store.patch({"id": run["id"], "tags": ["a"]})
    answer = await store.client.get(f"/runs/{run['id']}{path}")
    assert answer.status_code == 404
    assert answer.json()["detail"] == f"Run {run['id']} has versions 1 to 2, not 3."


async def test_of_a_run_that_is_none_no_version_is_told(store: Store) -> None:
    unknown = new_id()
    answer = await store.client.get(f"/runs/{unknown}", params={"as_of_version": 1})
    assert answer.status_code == 404
    assert "version" not in answer.json()["detail"]


@pytest.mark.parametrize(
    "moment",
    [{"as_of_position": 0}, {"as_of_position": 1}, {"as_of": "2001-01-01"}, {"as_of_version": 0}],
)
async def test_what_did_not_exist_yet_is_404(store: Store, moment: dict[str, Any]) -> None:
    run = an_ended_run()
    await store.post(run)
    answer = await store.client.get(f"/runs/{run['id']}", params=moment)
    assert answer.status_code == 404
    assert f"no run {run['id']} as of position" in answer.json()["detail"]
    if "as_of_version" not in moment:
        answer = await store.client.get(f"/dashboard/runs/{run['id']}/hierarchy", params=moment)
        assert answer.status_code == 404
        assert f"no trace {run['id']} as of position" in answer.json()["detail"]


@pytest.mark.parametrize(
    "moment",
    [
        {"as_of_position": -1},
        {"as_of_position": "x"},
        {"as_of_position": 2**63},
        {"as_of": "yesterday"},
        {"as_of": ""},
        {"as_of_version": "1.5"},
        {"as_of_position": 1, "as_of": START},
        {"as_of_version": 1, "as_of": START},
    ],
)
async def test_a_moment_that_is_none_or_two_is_422(store: Store, moment: dict[str, Any]) -> None:
    run = an_ended_run()
    await store.post(run)
    assert (await store.client.get(f"/runs/{run['id']}", params=moment)).status_code == 422


# --- what is not there, and who may ask -------------------------------------------------------------------------------

PATHS = ("/runs/{}/events", "/runs/{}/diff", "/runs/{}/events/1/fields?name=name")


@pytest.mark.parametrize("path", PATHS)
async def test_an_unknown_run_is_404_and_no_id_is_422(store: Store, path: str) -> None:
    unknown = await store.client.get(path.format(new_id()))
    assert unknown.status_code == 404
    assert "no" in unknown.json()["detail"]
    malformed = await store.client.get(path.format("42"))
    assert malformed.status_code == 422
    assert "expected a UUID" in malformed.json()["detail"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("events/1/fields?name=outputs", 404),
        ("events/2/fields?name=name", 404),
        ("events/0/fields?name=name", 422),
        ("events/1/fields", 422),
        ("events?limit=0", 422),
        ("events?after=-1", 422),
        ("diff?from=x", 422),
    ],
)
async def test_a_version_or_field_that_is_none_is_refused(store: Store, path: str, status: int) -> None:
    run = a_run()
    await store.post(run)
    assert (await store.client.get(f"/runs/{run['id']}/{path}")).status_code == status


async def test_of_an_erased_run_the_mutations_remain_and_not_their_content(store: Store) -> None:
    run = an_ended_run(inputs={"q": LARGE})
    await store.post(run)
    await store.patch({"id": run["id"], "tags": ["a"]})
    position = (await history_of(store, run["id"]))["mutations"][1]["position"]
    await store.client.delete(f"/traces/{run['id']}", params={"reason": "asked for"})
    told = (await history_of(store, run["id"]))["mutations"]
    assert [(one["kind"], one["content"], one["fields"]) for one in told] == [
        ("RunPosted", "erased", []),
        ("RunPatched", "erased", []),
    ]
    assert told[0]["origin"]["endpoint"] == "POST /api/v1/runs/batch"
    for path in ("diff", "events/1/fields?name=inputs"):
        answer = await store.client.get(f"/runs/{run['id']}/{path}")
        assert answer.status_code == 410
        assert "was erased" in answer.json()["detail"]
    assert (await store.client.get(f"/runs/{run['id']}", params={"as_of_position": position})).status_code == 404
    assert await store.count("former_places") == 0


async def test_the_history_of_an_erased_run_tells_who_erased_it_when_and_why(store: Store) -> None:
    root, other, kept = an_ended_run(), an_ended_run(), an_ended_run()
    child = a_run(parent_run_id=root["id"], trace_id=root["id"])
    await store.post(root, child, other, kept)
    for run, reason in ((other, "another's"), (root, "asked for")):
        await store.client.delete(f"/traces/{run['id']}", params={"reason": reason})
    for run in (root, child):
        told = (await history_of(store, run["id"]))["erasure"]
        assert (told["kind"], told["trace_id"], told["reason"]) == ("TraceErased", root["id"], "asked for")
        assert told["origin"]["endpoint"] == f"DELETE /api/v1/traces/{root['id']}"
        assert told["recorded_at"] >= told["origin"]["received_at"]
    assert (await history_of(store, kept["id"]))["erasure"] is None


async def test_the_404_of_what_was_erased_tells_when_and_why(store: Store) -> None:
    root, child = an_ended_run(), new_id()
    await store.post(root, a_run(id=child, parent_run_id=root["id"], trace_id=root["id"]))
    await store.client.delete(f"/traces/{root['id']}", params={"reason": "asked for"})
    at = (await history_of(store, child))["erasure"]["recorded_at"]
    for id_ in (root["id"], child):
        for path, what in ((f"/runs/{id_}", "run"), (f"/dashboard/runs/{id_}/hierarchy", "trace")):
            answer = await store.client.get(path)
            assert answer.status_code == 404
            assert answer.json()["detail"] == f"There is no {what} {id_}: it was erased at {at} (asked for)."


async def test_a_run_among_many_erasures_is_told_its_own(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "_ERASURES_AT_ONCE", 2)
    traces = [(an_ended_run(), new_id()) for _ in range(5)]
    for root, child in traces:
        await store.post(root, a_run(id=child, parent_run_id=root["id"], trace_id=root["id"]))
        await store.client.delete(f"/traces/{root['id']}", params={"reason": f"of {child}"})
    for _, child in traces:
        assert (await history_of(store, child))["erasure"]["reason"] == f"of {child}"


async def test_reading_history_needs_the_right_to_read(database_url: str) -> None:
    async with open_store(database_url, require_auth=True, api_keys="reader:read,writer:ingest") as store:
        for path in PATHS:
            for key, status in (({}, 401), ({"x-api-key": "writer"}, 403), ({"x-api-key": "reader"}, 404)):
                answer = await store.client.get(path.format(new_id()), headers=key)
                assert answer.status_code == status, answer.text


async def test_reading_history_changes_nothing(store: Store) -> None:
    run = an_ended_run()
    await store.post(run, run)
    before = await store.dump()
    await history_of(store, run["id"])
    await store.get(f"/runs/{run['id']}/diff")
    await everything_about(store, run["id"], as_of_position=2)
    assert await store.dump() == before
