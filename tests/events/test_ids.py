import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.ids import DottedOrder, dotted_order_ends, format_id, parse_dotted_order, parse_id, uuid7_time
from events.times import format_time, parse_time

ROOT = "01a2060d-4bf8-7bf5-939a-fa739e62fdc9"
CHILD = "01a2060d-4bf9-7bf5-939a-fa739e62fdca"
LEAF = "01a2060d-4bfa-7bf5-939a-fa739e62fdcb"
DOTTED_ORDER = f"20261123T012306614397Z{ROOT}.20261123T012306626149Z{CHILD}.20261123T012306700000Z{LEAF}"
LEAF_START_US = parse_time("2026-11-23T01:23:06.700000Z")


def id_of(text: str) -> bytes:
    return uuid.UUID(text).bytes


@given(st.uuids(allow_nil=True))
def test_an_id_of_any_version_survives_the_round_trip(id: uuid.UUID) -> None:
    assert parse_id(str(id)) == id.bytes
    assert format_id(id.bytes) == str(id)


@pytest.mark.parametrize(
    "text",
    [
        ROOT.upper(),
        ROOT.replace("-", ""),
        ROOT.replace("-", "").upper(),
        f"{{{ROOT}}}",
        f"urn:uuid:{ROOT}",
        f"  {ROOT}\n",
    ],
)
def test_unusual_forms_of_an_id_are_tolerated(text: str) -> None:
    assert parse_id(text) == id_of(ROOT)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "run-1",
        ROOT[:-1],
        ROOT + "0",
        ROOT.replace("a", "g"),
        ROOT.replace("-", " "),
        ROOT[:9] + "  " + ROOT[11:],
        ROOT[:9] + "+1" + ROOT[11:],
        ROOT[:9] + "_1" + ROOT[11:],
        ROOT[:9] + "٣٣" + ROOT[11:],
        "01a2060d4bf8-7bf5-939a-fa739e62fdc9--",
    ],
)
def test_what_is_no_uuid_is_no_id(text: str) -> None:
    assert parse_id(text) is None


@given(st.text())
def test_any_text_is_an_id_or_none(text: str) -> None:
    id = parse_id(text)
    assert id is None or len(id) == 16


def test_a_version_7_id_says_when_it_was_made() -> None:
    us = uuid7_time(id_of(ROOT))
    assert us is not None
    assert us // 1000 == int("01a2060d4bf8", 16)
    assert format_time(us).startswith("2026-11-23T01:")


@pytest.mark.parametrize(
    "text",
    [
        "01a2060d-4bf8-4bf5-939a-fa739e62fdc9",
        "01a2060d-4bf8-7bf5-139a-fa739e62fdc9",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
    ],
    ids=["another version", "another variant", "beyond the year 9999"],
)
def test_any_other_id_says_no_time(text: str) -> None:
    assert uuid7_time(id_of(text)) is None


def test_a_dotted_order_names_every_run_from_the_root_down() -> None:
    assert parse_dotted_order(DOTTED_ORDER) == [
        (parse_time("2026-11-23T01:23:06.614397Z"), id_of(ROOT)),
        (parse_time("2026-11-23T01:23:06.626149Z"), id_of(CHILD)),
        (LEAF_START_US, id_of(LEAF)),
    ]


def test_the_ends_of_a_dotted_order_say_root_parent_and_self() -> None:
    assert dotted_order_ends(DOTTED_ORDER) == DottedOrder(id_of(ROOT), id_of(CHILD), id_of(LEAF), LEAF_START_US)


def test_a_root_run_has_no_parent() -> None:
    ends = dotted_order_ends(f"20261123T012306700000Z{ROOT}")
    assert ends == DottedOrder(id_of(ROOT), None, id_of(ROOT), LEAF_START_US)


def test_a_child_of_the_root_has_the_root_for_parent() -> None:
    ends = dotted_order_ends(f"20261123T012306614397Z{ROOT}.20261123T012306700000Z{LEAF}")
    assert ends == DottedOrder(id_of(ROOT), id_of(ROOT), id_of(LEAF), LEAF_START_US)


@pytest.mark.parametrize("fraction", ["7", "700", "700000", "700000000"])
def test_a_segment_may_have_any_precision(fraction: str) -> None:
    text = f"20261123T012306{fraction}Z{ROOT}"
    assert parse_dotted_order(text) == [(LEAF_START_US, id_of(ROOT))]


def test_a_segment_without_a_fraction_is_a_whole_second() -> None:
    assert parse_dotted_order(f"20261123T012306Z{ROOT}") == [(parse_time("2026-11-23T01:23:06Z"), id_of(ROOT))]


@pytest.mark.parametrize("stamp", ["", "20261323T012306000000", "yesterday", "٢٣٢٦1123T012306"])
def test_a_segment_whose_time_cannot_be_read_still_names_its_run(stamp: str) -> None:
    text = f"{stamp}Z{ROOT}"
    assert parse_dotted_order(text) == [(None, id_of(ROOT))]
    assert dotted_order_ends(text) == DottedOrder(id_of(ROOT), None, id_of(ROOT), None)


@pytest.mark.parametrize(
    "text",
    ["", ".", "x", f"{DOTTED_ORDER}.", f".{DOTTED_ORDER}", f"20261123T012306614397{ROOT}", DOTTED_ORDER[:-1]],
)
def test_a_malformed_dotted_order_is_none(text: str) -> None:
    assert parse_dotted_order(text) is None
    assert dotted_order_ends(text) is None


def test_the_ends_do_not_look_at_what_is_between() -> None:
    first, *_, parent, last = f"{DOTTED_ORDER}.{DOTTED_ORDER}".split(".")
    ends = dotted_order_ends(f"{first}.rubbish.{parent}.{last}")
    assert ends == DottedOrder(id_of(ROOT), id_of(CHILD), id_of(LEAF), LEAF_START_US)


segments = st.tuples(
    st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - a bound has no zone.
    st.uuids(allow_nil=True),
)


@given(st.lists(segments, min_size=1, max_size=6))
def test_the_ends_agree_with_the_whole(path: list[tuple[datetime, uuid.UUID]]) -> None:
    text = ".".join(f"{start:%Y%m%dT%H%M%S%fZ}{id}" for start, id in path)
    whole = parse_dotted_order(text)
    assert whole == [(parse_time(start), id.bytes) for start, id in path]
    parent_id = path[-2][1].bytes if len(path) > 1 else None
    assert dotted_order_ends(text) == DottedOrder(
        path[0][1].bytes, parent_id, path[-1][1].bytes, parse_time(path[-1][0])
    )
