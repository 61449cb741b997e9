"""Run writes, one alone or a batch of them, and the events they become."""

import hashlib
from typing import Any

import orjson
import pytest

from events.codec import Codec, offloaded, unpack
from events.jsontext import split_object
from events.kinds import AttachmentStored, Operation, RunPatched, RunPosted
from events.log import NewEvent, Refused
from service.ingest.items import PATCH, POST, Item
from service.ingest.run_items import attachment_item, batch_items, run_items
from tests.service.apps import a_run, new_id

LIMIT = 1000


def items_of(run: Any, operation: Operation = POST) -> list[Item]:
    raw = run if isinstance(run, bytes) else orjson.dumps(run)
    return list(run_items(operation, raw, source=operation, field_bytes_max=LIMIT))


def event_of(run: Any, operation: Operation = POST) -> NewEvent:
    (item,) = items_of(run, operation)
    assert isinstance(item, NewEvent)
    return item


def test_the_payload_of_a_run_is_its_bytes_as_they_came() -> None:
    raw = b' {"id" : "%s", "name":"x","run_type":"c","start_time":0, "a":NaN} ' % new_id().encode()
    event = event_of(raw)
    assert event.payload == raw
    assert unpack(event.codec, event.stored) == raw
    assert isinstance(event.body, RunPosted)


def test_the_same_bytes_are_the_same_event_and_other_bytes_another() -> None:
    run = a_run()
    assert event_of(run).event_id == event_of(run).event_id
    assert event_of(run).event_id != event_of({**run, "name": "y"}).event_id
    assert event_of(run).event_id != event_of(run, PATCH).event_id
    assert isinstance(event_of(run, PATCH).body, RunPatched)


@pytest.mark.parametrize("missing", ["name", "run_type", "start_time"])
def test_a_post_needs_what_a_patch_does_not(missing: str) -> None:
    for run in (a_run(**{missing: None}), {name: value for name, value in a_run().items() if name != missing}):
        (refused,) = items_of(run)
        assert isinstance(refused, Refused)
        assert refused.reason.endswith(f"{missing} is missing")
        assert isinstance(event_of(run, PATCH).body, RunPatched)


def test_an_empty_name_is_a_name() -> None:
    assert isinstance(event_of(a_run(name="", run_type="")).body, RunPosted)


def test_only_fields_beyond_the_bound_are_moved_and_the_rest_keeps_its_bytes() -> None:
    run = a_run(inputs="x" * LIMIT, outputs="y" * (LIMIT - 2), name="n" * 2 * LIMIT)
    event = event_of(run)
    assert Codec(event.codec) & Codec.OFFLOADED
    members = split_object(event.payload)
    assert "inputs" not in members
    assert members["outputs"] == orjson.dumps(run["outputs"])
    assert members["name"] == orjson.dumps(run["name"])
    (content,) = event.contents
    assert content.body == orjson.dumps(run["inputs"])
    assert content.hash == hashlib.sha256(content.body).digest()
    assert isinstance(event.body, RunPosted)
    place = offloaded(event.body.fields.contents)["inputs"]
    assert (place.hash, place.size) == (content.hash.hex(), len(content.body))


def test_a_large_run_of_small_fields_stays_whole() -> None:
    run = a_run(**{f"field {number}": "x" * 100 for number in range(100)})
    assert event_of(run).payload == orjson.dumps(run)


def test_a_field_that_a_client_names_like_ours_counts_for_nothing() -> None:
    for size in (10, 2 * LIMIT):
        event = event_of(a_run(**{"agent-spy:contents": {"inputs": "x" * size}}))
        assert isinstance(event.body, RunPosted)
        assert offloaded(event.body.fields.contents) == {}
        assert event.contents == ()


def test_a_batch_gives_posts_before_patches_with_their_places() -> None:
    items = batch_items(orjson.dumps({"patch": [{}], "post": [a_run(), 5]}), field_bytes_max=LIMIT)
    assert [getattr(item, "source", "event") for item in items] == ["event", "post[1]", "patch[0]"]


def test_a_batch_whose_items_are_not_all_json_gives_those_that_are() -> None:
    run = orjson.dumps(a_run())
    items = batch_items(b'{"post":[%s,{"id":nonsense},%s]}' % (run, run), field_bytes_max=LIMIT)
    assert [type(item) for item in items] == [NewEvent, Refused, NewEvent]


def test_an_attachment_is_known_by_its_content() -> None:
    event = attachment_item(bytes(16), "a.b", "image/png", b"data", POST)
    assert event.body == AttachmentStored(bytes(16), "a.b", "image/png", 4, hashlib.sha256(b"data").digest(), "post")
    assert event.event_id == attachment_item(bytes(16), "a.b", "image/png", b"data", POST).event_id
    assert b"data" not in event.payload


def test_attachments_inside_a_run_that_are_no_base64_are_left_out() -> None:
    attached = {"good": ["text/plain", "aGk="], "bad": ["text/plain", "%%"], "path": ["text/plain", "/etc/passwd"]}
    _, *rest = items_of(a_run(attachments=attached))
    assert [
        item.body.name for item in rest if isinstance(item, NewEvent) and isinstance(item.body, AttachmentStored)
    ] == ["good"]
