"""The parts of a multipart body and the events they become."""

import orjson
import pytest

from events.ids import parse_id
from events.jsontext import split_object
from events.kinds import AttachmentStored, RunPatched
from events.log import NewEvent, Refused
from service.ingest.items import PATCH, Item
from service.ingest.multipart import Multipart, Part
from service.ingest.multipart_items import multipart_items
from service.ingest.run_items import run_items
from tests.service.apps import a_run, new_id

LIMIT = 1000


def parts_of(*parts: tuple[str, bytes], truncated: bytes | None = None) -> list[Item]:
    multipart = Multipart([Part(name, "application/json", None, data) for name, data in parts], truncated)
    return multipart_items(multipart, field_bytes_max=LIMIT)


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
