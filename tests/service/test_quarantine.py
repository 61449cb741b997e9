"""The quarantine: listed, looked at, and tried again, over HTTP and from the command line."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import orjson
import pytest
from click.testing import CliRunner, Result

from events.dialect import Writer
from events.errors import DataRefused
from events.log import RecordedEvent
from projections import projector
from service.cli import main
from tests.plans import recording, whole_reads
from tests.service.apps import START, Store, a_run, an_ended_run, json_part, new_id, open_store


async def refuse(store: Store, item: Any) -> None:
    """Have a post of a batch put into quarantine."""
    answer = await store.client.post("/runs/batch", content=orjson.dumps({"post": [item]}))
    assert answer.json()["success"] is False


async def retry(store: Store, number: int, corrected: Any = None, **options: Any) -> httpx.Response:
    """Try an item again, as it is or corrected."""
    content = b"" if corrected is None else orjson.dumps(corrected)
    return await store.client.post(f"/quarantine/{number}/retry", content=content, **options)


async def test_an_item_is_told_with_its_bytes_and_the_reason(store: Store) -> None:
    await refuse(store, {"name": "né"})
    listed = (await store.get("/quarantine"))["items"]
    told = await store.get("/quarantine/1")
    assert listed == [{name: value for name, value in told.items() if not name.startswith("raw_e") and name != "raw"}]
    assert told | {"cursor": "", "recorded_at": "", "raw_hash": "", "chain": ""} == {
        "cursor": "",
        "quarantine_id": 1,
        "receipt_id": 2,
        "recorded_at": "",
        "source": "post[0]",
        "reason": "post[0] has no id that is a UUID",
        "raw_size": 14,
        "raw_hash": "",
        "chain": "",
        "is_erased": False,
        "retried_at": None,
        "retry_receipt_id": None,
        "outcome": None,
        "raw": '{"name":"né"}',
        "raw_encoding": "utf-8",
    }


async def test_bytes_that_are_no_text_are_told_in_base64(store: Store) -> None:
    await store.send_parts(("attachment.mine.a", b"\xff\x00", "image/png"))
    told = await store.get("/quarantine/1")
    assert (told["raw"], told["raw_encoding"]) == ("/wA=", "base64")


@pytest.mark.parametrize(("order", "expected"), [("asc", [1, 2, 3, 4, 5]), ("desc", [5, 4, 3, 2, 1])])
async def test_pages_give_every_item_once(order: str, expected: list[int], store: Store) -> None:
    for _ in range(5):
        await refuse(store, {})
    for limit in (1, 2, 5, 6):
        page = await store.get("/quarantine", limit=limit, order=order)
        found = page["items"]
        while page["next"] is not None:
            page = await store.get("/quarantine", limit=limit, order=order, after=page["next"])
            found += page["items"]
        assert [item["quarantine_id"] for item in found] == expected


async def test_a_corrected_item_becomes_an_event_of_a_request_of_its_own(store: Store) -> None:
    run = a_run()
    await refuse(store, {name: run[name] for name in ("id", "name", "run_type")})
    answer = await retry(store, 1, run, headers={"X-Request-ID": "fixed"})
    assert answer.status_code == 200
    assert answer.json() == {
        "quarantine_id": 1,
        "outcome": "applied",
        "receipt_id": 3,
        "positions": {"first": 2, "last": 2},
    }
    assert (await store.run(run["id"]))["name"] == run["name"]
    receipt = await store.get("/receipts/3")
    assert (receipt["endpoint"], receipt["request_id"]) == ("POST /api/v1/quarantine/1/retry", "fixed")
    item = await store.get("/quarantine/1")
    assert (item["outcome"], item["retry_receipt_id"]) == ("applied", 3)
    assert item["retried_at"] == receipt["received_at"]
    assert item["raw"] is not None
    assert await store.receipts() == [(1, 0, 0, 1), (1, 1, 0, 0)]


async def test_an_item_that_is_in_the_log_already_counts_as_duplicate(store: Store) -> None:
    await store.post(run := a_run())
    await refuse(store, {})
    answer = await retry(store, 1, run)
    assert (answer.json()["outcome"], answer.json()["positions"]) == ("duplicate", None)
    assert (await store.get("/quarantine/1"))["outcome"] == "duplicate"


async def test_what_was_retried_with_success_is_not_retried_again(store: Store) -> None:
    await refuse(store, {})
    assert (await retry(store, 1, a_run())).status_code == 200
    answer = await retry(store, 1, a_run())
    assert answer.status_code == 409
    sentence = "item 1 was retried before with success (applied): it is in the log"
    assert answer.json()["detail"] == sentence
    assert await store.count("runs") == 1


async def test_of_retries_at_once_one_succeeds(store: Store) -> None:
    await refuse(store, {})
    answers = await asyncio.gather(*(retry(store, 1, a_run()) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert await store.count("runs") == 1


async def test_what_still_cannot_be_used_stays_and_nothing_is_written(store: Store) -> None:
    await refuse(store, {"id": new_id(), "name": "a"})
    before = await store.dump()
    for corrected, reason in (
        (None, "post[0]: a post needs name, run_type and start_time, and run_type, start_time is missing"),
        ({"name": "a"}, "post[0] has no id that is a UUID"),
        ([], "post[0] is not a JSON object: expected an object at byte 0"),
    ):
        answer = await retry(store, 1, corrected)
        assert (answer.status_code, answer.json()["detail"]) == (422, reason)
    assert await store.dump() == before


async def test_an_item_whose_trace_was_erased_is_not_revived(store: Store) -> None:
    await store.post(run := a_run())
    await refuse(store, {})
    await refuse(store, {"id": run["id"]})
    await store.client.delete(f"/traces/{run['id']}", params={"reason": "asked for"})
    before = await store.dump()
    answer = await retry(store, 1, {**run, "name": "back"})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "post[0]: it belongs to a trace that was erased"
    answer = await retry(store, 2, run)
    assert answer.status_code == 410
    assert answer.json()["detail"] == "the bytes of item 2 were erased: it cannot be retried"
    assert (await store.get("/quarantine/2"))["raw"] is None
    assert await store.dump() == before


async def test_erasing_a_trace_erases_what_was_corrected_to_be_in_it(store: Store) -> None:
    """The item itself does not name the run: its id came with the correction."""
    await refuse(store, {"name": "a secret", "run_type": "chain", "start_time": START})
    run = a_run(name="a secret")
    assert (await retry(store, 1, run)).status_code == 200
    await store.client.delete(f"/traces/{run['id']}", params={"reason": "asked for"})
    assert (await store.get("/quarantine/1"))["is_erased"] is True
    assert (await store.get("/receipts/2"))["content_hash"] is None


async def test_a_value_that_the_database_refuses_is_told_and_the_item_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await refuse(store, {})

    async def refuse_value(*_: object, **__: object) -> None:
        raise DataRefused("the value does not fit")

    monkeypatch.setattr(projector, "apply", refuse_value)
    answer = await retry(store, 1, a_run())
    assert answer.status_code == 422
    assert answer.json()["detail"] == "post[0] could not be stored: the value does not fit"
    assert (await store.get("/quarantine/1"))["outcome"] is None


async def test_a_large_field_of_an_item_that_was_refused_is_there_when_that_is_retried(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse_events(_: Writer, events: Sequence[RecordedEvent], **__: object) -> None:
        if events:
            raise DataRefused("the value does not fit")

    run = an_ended_run(inputs={"text": "x" * 2_000_000})
    async with open_store(database_url, max_trace_size_mb=1) as store:
        with monkeypatch.context() as patched:
            patched.setattr(projector, "apply", refuse_events)
            await refuse(store, run)
        assert (await retry(store, 1)).status_code == 200
        (mutation,) = (await store.get(f"/runs/{run['id']}/events"))["mutations"]
        (told,) = [field["after"] for field in mutation["fields"] if field["field"] == "inputs"]
        body = (await store.client.get(told["url"])).content
    assert orjson.loads(body) == run["inputs"]


# --- by where the item stood ------------------------------------------------------------------------------------------


async def test_every_kind_of_item_goes_the_way_that_it_came(store: Store) -> None:
    run_id, feedback_id = new_id(), new_id()
    patch = {"outputs": {"a": 1}}
    client = store.client
    await client.post("/runs", json={"name": "a"})
    await client.post("/runs", content=b"nothing")
    await client.patch(f"/runs/{run_id}", content=b"nothing")
    await client.patch(f"/runs/{run_id}", json=[])
    await client.post("/runs/batch", json={"post": {}})
    await client.post("/feedback", json={"score": 1})
    await client.patch(f"/feedback/{feedback_id}", content=b"nothing")
    await client.patch(f"/feedback/{feedback_id}", json=[])
    await store.send_parts(
        (f"patch.{run_id}", b"nothing"),
        json_part(f"feedback.{feedback_id}", {}),
        json_part("unknown", {}),
    )
    await client.post("/runs/batch", content=b"nothing")
    runs = [a_run() for _ in range(6)]
    last = [runs[5], {"id": runs[5]["id"], **patch}]
    # Where it stood, what is given in its place, and the events that come of it.
    expected: list[tuple[str, Any, list[tuple[str, str]]]] = [
        ("post", runs[0], [("RunPosted", f"run:{runs[0]['id']}")]),
        ("body", runs[1], [("RunPosted", f"run:{runs[1]['id']}")]),
        ("body", patch, [("RunPatched", f"run:{run_id}")]),
        ("patch", {**patch, "tags": []}, [("RunPatched", f"run:{run_id}")]),
        ("post", runs[2:4], [("RunPosted", f"run:{run['id']}") for run in runs[2:4]]),
        ("feedback", {"id": (other := new_id()), "key": "k"}, [("FeedbackPosted", f"feedback:{other}")]),
        ("body", {"score": 2}, [("FeedbackPatched", f"feedback:{feedback_id}")]),
        ("feedback", {"score": 3}, [("FeedbackPatched", f"feedback:{feedback_id}")]),
        (f"patch.{run_id}", {**patch, "name": "b"}, [("RunPatched", f"run:{run_id}")]),
        (f"feedback.{feedback_id}", {"key": "k"}, [("FeedbackPosted", f"feedback:{feedback_id}")]),
        ("unknown", {"post": [runs[4]]}, [("RunPosted", f"run:{runs[4]['id']}")]),
        (
            "body",
            {"post": last[:1], "patch": last[1:]},
            [("RunPosted", f"run:{runs[5]['id']}"), ("RunPatched", f"run:{runs[5]['id']}")],
        ),
    ]
    items = (await store.get("/quarantine"))["items"]
    assert [item["source"] for item in items] == [source for source, _, _ in expected]
    for item, (_, corrected, told) in zip(items, expected, strict=True):
        end = (await store.get("/events"))["head"]["cursor"]
        answer = await retry(store, item["quarantine_id"], corrected)
        assert answer.status_code == 200, (item, answer.text)
        events = (await store.get("/events", after=end))["events"]
        assert [(event["kind"], event["stream"]) for event in events] == told, item


async def test_of_a_body_all_becomes_events_or_nothing(store: Store) -> None:
    await store.client.post("/runs/batch", content=b"nothing")
    answer = await retry(store, 1, {"post": [a_run(), {"name": "a"}, a_run()], "patch": 1})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("post[1] has no id that is a UUID; patch is not a JSON array")
    assert (await retry(store, 1, {"patch": []})).json()["detail"] == "body: there is nothing in it"
    assert await store.count("runs") == 0


async def test_a_body_in_parts_that_was_not_said_to_be_one_is_retried_as_it_is(store: Store) -> None:
    run = a_run()
    part = f'--b\r\nContent-Disposition: form-data; name="post.{run["id"]}"\r\n\r\n'.encode()
    body = part + orjson.dumps(run) + b"\r\n--b--\r\n"
    answer = await store.client.post("/runs/multipart", content=body, headers={"Content-Type": "text/plain"})
    assert answer.status_code == 400
    assert (await retry(store, 1)).status_code == 200
    assert (await store.run(run["id"]))["name"] == run["name"]


async def test_a_part_that_was_no_json_is_not_taken_for_the_object_that_it_is_kept_in(store: Store) -> None:
    """A patch needs no member, so the object in which its parts are kept would do for one."""
    id_ = new_id()
    await store.send_parts((f"patch.{id_}", b"nothing"), json_part(f"patch.{id_}.outputs", {"a": 1}))
    answer = await retry(store, 1)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(f"patch.{id_} is not a JSON object")


# --- who may ----------------------------------------------------------------------------------------------------------


async def test_a_retry_needs_a_key_that_may_administer(database_url: str) -> None:
    keys = "reader:read+ingest,admin:admin"
    async with open_store(database_url, require_auth=True, api_keys=keys) as store:
        assert (await retry(store, 1)).status_code == 401
        answer = await retry(store, 1, headers={"x-api-key": "reader"})
        assert (answer.status_code, "lacks the scope admin" in answer.text) == (403, True)
        assert (await retry(store, 1, headers={"x-api-key": "admin"})).status_code == 404


async def test_without_keys_a_page_of_another_site_may_not_retry(store: Store) -> None:
    await refuse(store, {})
    answer = await retry(store, 1, a_run(), headers={"Origin": "http://elsewhere"})
    assert answer.status_code == 403
    assert await store.count("runs") == 0


async def test_what_is_not_there_or_no_number_is_told_in_a_sentence(store: Store) -> None:
    for answer in (await store.client.get("/quarantine/9"), await retry(store, 9)):
        assert (answer.status_code, answer.json()["detail"]) == (404, "there is no item 9 in quarantine")
    for answer in (
        await store.client.get("/quarantine/mine"),
        await store.client.get("/quarantine", params={"after": "mine"}),
        await store.client.post("/quarantine/0/retry"),
    ):
        assert answer.status_code == 422


async def test_every_query_of_the_quarantine_uses_an_index(store: Store) -> None:
    for _ in range(3):
        await refuse(store, {})
    first = (await store.get("/quarantine", limit=1))["next"]
    with recording(store.engine) as queries:
        await store.get("/quarantine", limit=1, after=first)
        await store.get("/quarantine/2")
    assert await whole_reads(store.engine, queries, "quarantine") == []


# --- from the command line --------------------------------------------------------------------------------------------


@pytest.fixture
def quarantine(store: Store) -> Callable[..., Any]:
    """Runs `agent-spy quarantine`, beside the application, on its database."""

    async def run(command: str, *arguments: str, **options: Any) -> Result:
        words = ["quarantine", command, "--database-url", store.app.state.settings.database_url, *arguments]
        return await asyncio.to_thread(CliRunner().invoke, main, words, **options)

    return run


async def test_the_command_lists_what_is_in_quarantine(store: Store, quarantine: Callable[..., Any]) -> None:
    assert (await quarantine("list")).output == "Nothing is in quarantine.\n"
    for _ in range(3):
        await refuse(store, {})
    await retry(store, 2, a_run())
    lines = (await quarantine("list")).output.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert lines[0].endswith("2 B  waiting  post[0] has no id that is a UUID")
    assert "  applied by receipt 5  " in lines[1]
    assert (await quarantine("list", "--after", "1", "--limit", "1")).output.splitlines() == lines[1:2]
    assert (await quarantine("list", "--after", "3")).output == "Nothing is in quarantine after item 3.\n"


async def test_the_command_shows_an_item(store: Store, quarantine: Callable[..., Any]) -> None:
    await refuse(store, {"name": "né"})
    output = (await quarantine("show", "1")).output
    assert "reason:      post[0] has no id that is a UUID\n" in output
    assert output.endswith('\n\n{"name":"né"}\n')
    assert (await quarantine("show", "1", "--raw")).output == '{"name":"né"}'
    missing = await quarantine("show", "9")
    assert (missing.exit_code, missing.output) == (1, "Error: there is no item 9 in quarantine\n")


async def test_the_command_retries_an_item_beside_a_running_server(
    store: Store, quarantine: Callable[..., Any]
) -> None:
    await refuse(store, {})
    as_it_is = await quarantine("retry", "1")
    assert (as_it_is.exit_code, as_it_is.output) == (1, "Error: post[0] has no id that is a UUID\n")
    run = a_run()
    corrected = await quarantine("retry", "1", "--with", "-", input=orjson.dumps(run))
    assert (corrected.exit_code, corrected.output) == (0, "Applied item 1: event 2, receipt 3.\n")
    assert (await store.run(run["id"]))["name"] == run["name"]
    assert (await store.get("/receipts/3"))["endpoint"] == "agent-spy quarantine retry 1"
    again = await quarantine("retry", "1")
    assert (again.exit_code, again.output.startswith("Error: item 1 was retried before")) == (1, True)
