"""From the bytes of a request to the events it brings."""

import hashlib
from typing import Any

import orjson
import pytest

from events.codec import Codec, offloaded, unpack
from events.ids import parse_id
from events.jsontext import split_object
from events.kinds import AttachmentStored, FeedbackPosted, Operation, RunPatched, RunPosted
from events.log import NewEvent, Refused
from service.items import (
    PATCH,
    POST,
    Item,
    attachment_item,
    batch_items,
    feedback_posted,
    multipart_items,
    run_items,
)
from service.multipart import Multipart, Part
from tests.service.apps import a_run, new_id

LIMIT = 1000


def items_of(run: Any, operation: Operation = POST) -> list[Item]:
    raw = run if isinstance(run, bytes) else orjson.dumps(run)
    return list(run_items(operation, raw, source=operation, field_bytes_max=LIMIT))


def event_of(run: Any, operation: Operation = POST) -> NewEvent:
    (item,) = items_of(run, operation)
    assert isinstance(item, NewEvent)
    return item


def parts_of(*parts: tuple[str, bytes], truncated: bytes | None = None) -> list[Item]:
    multipart = Multipart([Part(name, "application/json", None, data) for name, data in parts], truncated)
    return multipart_items(multipart, field_bytes_max=LIMIT)


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


def test_parts_of_one_run_become_one_event_wherever_they_stand() -> None:
    one, two = new_id(), new_id()
    main = orjson.dumps({"name": "x", "run_type": "c", "start_time": 0})
    items = parts_of(
        (f"post.{one}.inputs", b'{"of":1}'),
        (f"post.{two}", main),
        (f"post.{one}", main),
        (f"post.{two}.inputs", b'{"of":2}'),
        (f"post.{one}.outputs", b"[]"),
    )
    assert [split_object(item.payload).get("inputs") for item in items if isinstance(item, NewEvent)] == [
        b'{"of":1}',
        b'{"of":2}',
    ]
    assert [item.stream[1:] for item in items if isinstance(item, NewEvent)] == [parse_id(one), parse_id(two)]


def test_a_second_main_part_is_a_second_write() -> None:
    id_ = new_id()
    first, second = (orjson.dumps({"name": name, "run_type": "c", "start_time": 0}) for name in "ab")
    items = parts_of((f"post.{id_}", first), (f"post.{id_}.inputs", b"{}"), (f"post.{id_}", second))
    assert [split_object(item.payload)["name"] for item in items if isinstance(item, NewEvent)] == [b'"a"', b'"b"']


def test_what_is_read_from_parts_is_what_a_reader_of_the_payload_reads() -> None:
    id_ = new_id()
    for field in ("inputs", "outputs", "error", "extra", "tags", "name", "session_name", "end_time", "contents"):
        (item,) = parts_of((f"patch.{id_}", b'{"a":1}'), (f"patch.{id_}.{field}", b'"told"'))
        assert isinstance(item, NewEvent)
        assert isinstance(item.body, RunPatched)
        (again,) = run_items(PATCH, item.payload, source="x", field_bytes_max=LIMIT, run_id=parse_id(id_))
        assert isinstance(again, NewEvent)
        assert item.body == again.body


def test_a_part_that_is_no_json_is_kept_byte_for_byte() -> None:
    id_ = new_id()
    for data in (b"", b"text", b"\xff\x00", b'"unclosed', b"{" * 500):
        (item,) = parts_of((f"patch.{id_}", b"{ }"), (f"patch.{id_}.error", data))
        assert isinstance(item, NewEvent)
        text = orjson.loads(item.payload)["error"] if data != b"\xff\x00" else None
        assert text is None or text.encode() == data


@pytest.mark.parametrize(
    "parts",
    [
        {"error": b'1,"name":"added"'},
        {"error": b'1,"error":2'},
        {"error": b'1,"outputs":2', "outputs": b"3"},
        {"inputs": b'{"a":1', "outputs": b"2}"},
        {"inputs": b"[1", "outputs": b"2]"},
        {"inputs": b'"a', "outputs": b'b"'},
    ],
)
def test_parts_that_are_json_only_where_they_are_put_are_kept_as_text(parts: dict[str, bytes]) -> None:
    id_ = new_id()
    (item,) = parts_of((f"patch.{id_}", b'{"a":1}'), *((f"patch.{id_}.{name}", raw) for name, raw in parts.items()))
    assert isinstance(item, NewEvent)
    members = orjson.loads(item.payload)
    assert {"a", *parts} == members.keys()
    told = {name: value for name, value in parts.items() if isinstance(members[name], str)}
    assert {name: members[name].encode() for name in told} == told
    assert {"error", "inputs"} & told.keys()


@pytest.mark.parametrize("main", [b'{"a":1]', b'{"a":1', b'{"a":{}', b'{"a":"b}', b'{"a":1}}', b'{"a"}'])
def test_a_main_part_that_is_no_object_is_not_made_one_by_what_follows_it(main: bytes) -> None:
    id_ = new_id()
    (item,) = parts_of((f"patch.{id_}", main), (f"patch.{id_}.inputs", b"{}"))
    assert isinstance(item, Refused)


def test_a_truncated_body_is_an_item_of_its_own() -> None:
    items = parts_of((f"patch.{new_id()}", b"{}"), truncated=b"the rest")
    assert isinstance(items[0], NewEvent)
    assert items[1] == Refused("body", "the body ends before its closing boundary", b"the rest")
    assert len(parts_of(truncated=b"")) == 0


def test_an_attachment_is_known_by_its_content() -> None:
    event = attachment_item(bytes(16), "a.b", "image/png", b"data", POST)
    assert event.body == AttachmentStored(bytes(16), "a.b", "image/png", 4, hashlib.sha256(b"data").digest(), "post")
    assert event.event_id == attachment_item(bytes(16), "a.b", "image/png", b"data", POST).event_id
    assert b"data" not in event.payload


def test_an_attachment_belongs_to_the_write_of_its_run_that_came_before_it_or_is_the_only_one() -> None:
    one, other, unknown = new_id(), new_id(), new_id()
    items = parts_of(
        (f"attachment.{one}.early", b"1"),
        (f"post.{other}", orjson.dumps(a_run())),
        (f"attachment.{other}.posted", b"2"),
        (f"patch.{other}", b"{}"),
        (f"attachment.{other}.patched", b"3"),
        (f"patch.{one}", b"{}"),
        (f"attachment.{unknown}.alone", b"4"),
    )
    bodies = [item.body for item in items if isinstance(item, NewEvent)]
    assert {body.name: body.operation for body in bodies if isinstance(body, AttachmentStored)} == {
        "early": "patch",
        "posted": "post",
        "patched": "patch",
        "alone": "post",
    }


def test_attachments_inside_a_run_that_are_no_base64_are_left_out() -> None:
    attached = {"good": ["text/plain", "aGk="], "bad": ["text/plain", "%%"], "path": ["text/plain", "/etc/passwd"]}
    _, *rest = items_of(a_run(attachments=attached))
    assert [
        item.body.name for item in rest if isinstance(item, NewEvent) and isinstance(item.body, AttachmentStored)
    ] == ["good"]


def test_feedback_takes_the_id_of_its_part_then_its_own_then_one_made_of_its_bytes() -> None:
    own, part = new_id(), parse_id(new_id())
    raw = orjson.dumps({"id": own, "key": "k"})
    ids = []
    for item in (
        feedback_posted(raw, source="x", feedback_id=part),
        feedback_posted(raw, source="x"),
        feedback_posted(b'{"key":"k"}', source="x"),
        feedback_posted(b'{"key":"k"}', source="x"),
    ):
        assert isinstance(item, NewEvent)
        assert isinstance(item.body, FeedbackPosted)
        ids.append(item.body.feedback_id)
    assert ids[:2] == [part, parse_id(own)]
    assert ids[2] == ids[3] not in ids[:2]
