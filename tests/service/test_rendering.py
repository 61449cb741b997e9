"""Rows and records to the JSON of answers."""

from typing import Any

import orjson
import pytest

from events.codec import Offloaded
from projections.attachments import Attachment
from projections.record import Record
from projections.runs import RunState, begin
from projections.traces import NamedRun, outline
from projections.trees import Edge, build
from service import rendering
from service.addresses import Addresses
from service.signing import Signer

SECOND_US = 1_000_000
ADDRESSES = Addresses("http://store", Signer(b"key"))
ID = "00000000-0000-0000-0000-000000000000"


def state(**columns: Any) -> RunState:
    found = begin(0, bytes(16), 0)
    found.name, found.run_type, found.status, found.langsmith_status = "n", "chain", "running", "pending"
    found.version = 1
    for name, value in columns.items():
        setattr(found, name, value)
    return found


def rendered(record: Record | None = None, *attachments: Attachment, **columns: Any) -> dict[str, Any]:
    named = NamedRun(state(**columns), "p")
    text = rendering.run(named, record or Record(), attachments, [], ADDRESSES, words="documented", more={})
    shown: dict[str, Any] = orjson.loads(text)
    return shown


@pytest.mark.parametrize(
    ("picodollars", "text"),
    [
        (0, "0"),
        (1, "0.000000000001"),
        (10**12, "1"),
        (1_500_000_000_000, "1.5"),
        (12_345 * 10**12 + 10**11, "12345.1"),
        (-5 * 10**11, "-0.5"),
        (10**18, "1000000"),
        (None, None),
    ],
)
def test_costs_are_decimal_strings_without_an_exponent(picodollars: int | None, text: str | None) -> None:
    assert rendered(total_cost=picodollars)["total_cost"] == text


@pytest.mark.parametrize(
    ("start", "end", "duration_ms"),
    [(0, None, None), (0, 0, 0), (0, 999, 0), (0, 1000, 1), (5 * SECOND_US, 0, 0), (0, 3_600 * SECOND_US, 3_600_000)],
)
def test_durations_are_whole_milliseconds_and_never_negative(
    start: int, end: int | None, duration_ms: int | None
) -> None:
    assert rendered(start_time=start, end_time=end)["duration_ms"] == duration_ms


def test_a_dotted_order_has_six_digits_of_fraction_in_every_year() -> None:
    assert rendered(start_time=0)["dotted_order"] == f"19700101T000000000000Z{ID}"
    assert rendered(start_time=1)["dotted_order"] == f"19700101T000000000001Z{ID}"
    assert rendered(start_time=-1)["dotted_order"] == f"19691231T235959999999Z{ID}"


def test_a_dotted_order_that_was_sent_is_answered_as_sent() -> None:
    assert rendered(Record(members={"dotted_order": b'"as sent"'}))["dotted_order"] == "as sent"


def test_members_that_nothing_knows_come_as_sent_and_those_of_ours_do_not() -> None:
    record = Record(members={"mine": b'{"a":1.10}', "version": b"99", "s3_urls": b'{"x":1}', "_host_url": b'"x"'})
    shown = rendered(record)
    assert (shown["mine"], shown["version"]) == ({"a": 1.1}, 1)
    assert not {"s3_urls", "_host_url"} & set(shown)


def test_a_value_that_is_no_json_is_answered_as_its_text() -> None:
    shown = rendered(Record(members={"inputs": b"[1,", "mine": b"", "events": b"\xff"}))
    assert (shown["inputs"], shown["mine"], shown["events"]) == ({"input": "[1,"}, "", "\ufffd")


def test_an_empty_error_is_none() -> None:
    assert rendered(Record(members={"error": b'""'}))["error"] is None


def test_attachments_are_given_with_the_size_and_type_they_have() -> None:
    shown = rendered(None, Attachment(bytes(16), "a.b", "image/png", 4, bytes(32)))
    place = shown["s3_urls"]["attachment.a.b"]
    assert place.pop("presigned_url").startswith(f"http://store/api/v1/contents/{'00' * 32}?type=image%2Fpng&name=a.b&")
    assert place == {"mime_type": "image/png", "size": 4}


def test_of_what_was_moved_only_what_clients_can_take_stands_in_its_place() -> None:
    names = ("inputs", "error", "tags", "events", "extra", "mine", "attachments", "_host_url", "child_runs")
    record = Record(extra={"a": b"1"}, moved={name: Offloaded("00" * 32, 9, "preview") for name in names})
    shown = rendered(record, error="boom", tags='["a"]')
    assert set(shown["offloaded"]) == set(names)
    assert all(shown[name] == shown["offloaded"][name] for name in ("inputs", "mine"))
    assert (shown["error"], shown["tags"], shown["events"]) == ("boom", ["a"], [])
    assert shown["extra"]["a"] == 1
    assert shown["extra"]["size"] == 9
    assert not {"attachments", "_host_url", "child_runs"} & set(shown)


def test_a_tree_of_ten_thousand_levels_is_written_without_recursion() -> None:
    runs = [state(id=level.to_bytes(16)) for level in range(10_000)]
    edges = [Edge(run.id, runs[level - 1].id if level else None, 0, outline(run)) for level, run in enumerate(runs)]
    text = rendering.hierarchy(build(edges, runs[0].id))
    assert text.count(b'"children":[') == 10_000
    assert text.endswith(b'"children":[' + b"]}" * 10_000 + b"}")


def test_a_missing_root_is_marked() -> None:
    run = state(id=b"b" * 16, parent_run_id=b"a" * 16)
    shown = orjson.loads(rendering.hierarchy(build([Edge(run.id, run.parent_run_id, 0, outline(run))], b"a" * 16)))
    assert (shown["hierarchy"]["is_missing"], shown["hierarchy"]["status"], shown["total_runs"]) == (True, "running", 1)
