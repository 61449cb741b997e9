"""Pages of the second generation as streams of patches, which build up the page that is had without."""

import json
from typing import Any

import orjson
import pytest

from tests.service.apps import Store, a_run, an_ended_run

SINCE = {"min_start_time": "2024-01-01T00:00:00Z"}
STREAM = {"Accept": "text/event-stream"}


def events_of(text: str) -> list[tuple[str, str]]:
    """The name and the data of each event of a stream."""
    assert text.endswith("\n\n")
    events = [dict(line.split(": ", 1) for line in block.split("\n")) for block in text[:-2].split("\n\n")]
    return [(event["event"], event["data"]) for event in events]


def built(text: str) -> dict[str, Any]:
    """The page that the patches of a stream build."""
    *events, end = events_of(text)
    assert end == ("end", "")
    page: dict[str, Any] = {}
    for name, data in events:
        assert name == "data"
        for patch in json.loads(data):
            match patch["op"], patch["path"]:
                case "add", "":
                    page = patch["value"]
                case "add", "/items/-":
                    page["items"].append(patch["value"])
                case "replace", "/next_cursor":
                    page["next_cursor"] = patch["value"]
                case other:
                    raise AssertionError(other)
    return page


@pytest.mark.parametrize("noun", ["runs", "traces", "threads"])
async def test_a_stream_builds_the_page_that_is_had_without(store: Store, noun: str) -> None:
    threaded = [{"extra": {"metadata": {"thread_id": f"t{number}"}}} for number in range(3)]
    await store.post(*(an_ended_run(session_name="p", **members) for members in threaded))
    (project,) = (await store.client.get("/sessions", params={"name": "p"})).json()
    place = {"project_ids": [project["id"]]} if noun == "runs" else {"project_id": project["id"]}
    selects = {} if noun == "threads" else {"selects": ["ID", "NAME", "INPUTS", "TOTAL_TOKENS"]}
    body: dict[str, Any] = {**SINCE, **place, **selects, "page_size": 2}
    for expected in (2, 1):
        page = (await store.client.post(f"/api/v2/{noun}/query", json=body)).json()
        answer = await store.client.post(f"/api/v2/{noun}/query", json=body, headers=STREAM)
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert built(answer.text) == page
        assert len(page["items"]) == expected
        body["cursor"] = page["next_cursor"]
    assert body["cursor"] is None


async def test_a_stream_of_nothing_is_an_empty_page(store: Store) -> None:
    answer = await store.client.post("/api/v2/runs/query", json=SINCE, headers=STREAM)
    assert built(answer.text) == {"items": [], "next_cursor": None}


async def test_lines_within_what_a_client_sent_do_not_end_an_event(store: Store) -> None:
    run = a_run()
    main = {name: value for name, value in run.items() if name != "inputs"}
    sent = await store.send_parts(
        (f"post.{run['id']}", orjson.dumps(main), "application/json"),
        (f"post.{run['id']}.inputs", b'{\r\n "text":\n "a\\nb"\r}', "application/json"),
    )
    assert sent.status_code < 300, sent.text
    body = {**SINCE, "selects": ["INPUTS"]}
    answer = await store.client.post("/api/v2/runs/query", json=body, headers=STREAM)
    assert built(answer.text)["items"] == [{"id": run["id"], "inputs": {"text": "a\nb"}}]


async def test_what_does_not_fit_is_refused_before_a_stream_begins(store: Store) -> None:
    answer = await store.client.post("/api/v2/runs/query", json={"filter": "eq("}, headers=STREAM)
    assert (answer.status_code, answer.json()["detail"][:21]) == (400, "filter cannot be read")
