from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.times import EARLIEST_US, LATEST_US, format_time, parse_time

US = 1705314600_000000  # 2024-01-15T10:30:00Z

any_us = st.integers(EARLIEST_US, LATEST_US)


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("2024-01-15T10:30:00Z", US),
        ("2024-01-15T10:30:00.123456Z", US + 123456),
        ("2024-01-15T10:30:00.123456+00:00", US + 123456),
        ("2024-01-15T10:30:00.123456", US + 123456),
        ("2024-01-15T10:30:00.5Z", US + 500000),
        ("2024-01-15T10:30:00.123Z", US + 123000),
        ("2024-01-15T10:30:00.123456999Z", US + 123456),
        ("2024-01-15T12:30:00+02:00", US),
        ("2024-01-15T12:30:00+0200", US),
        ("2024-01-15T05:30:00.000001-05:00", US + 1),
        ("2024-01-15 10:30:00", US),
        ("2024-01-15 10:30:00.123456+00:00", US + 123456),
        ("2024-01-15t10:30:00z", US),
        ("2024-01-15T10:30", US),
        ("2024-01-15", US - 37800_000000),
        (" 2024-01-15T10:30:00Z\n", US),
        ("2024-01-15T12:30:00 02:00", US),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("0001-01-01T00:00:00Z", EARLIEST_US),
        ("9999-12-31T23:59:59.999999Z", LATEST_US),
    ],
)
def test_iso_text_is_a_time(text: str, us: int) -> None:
    assert parse_time(text) == us


@pytest.mark.parametrize(
    ("value", "us"),
    [
        (1705314600000, US),
        (1705314600000.25, US + 250),
        ("1705314600000", US),
        ("1705314600000.25", US + 250),
        ("1.7053146e12", US),
        (0, 0),
        (-1, -1000),
        ("-1", -1000),
        ("20240115", 20240115_000),
    ],
    ids=repr,
)
def test_a_number_is_milliseconds_since_1970(value: object, us: int) -> None:
    assert parse_time(value) == us


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        float("nan"),
        float("inf"),
        1e300,
        10**40,
        LATEST_US // 1000 + 1,
        EARLIEST_US // 1000 - 1,
        "",
        "NaN",
        "1e999",
        "9" * 5000,
        "yesterday",
        "2024-13-15T10:30:00Z",
        "2024-01-15T10:30:00.123456+ab:cd",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59-05:00",
        "10000-01-01T00:00:00Z",
        [],
        {},
        b"2024-01-15T10:30:00Z",
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_time_is_none(value: object) -> None:
    assert parse_time(value) is None


def test_a_datetime_without_a_zone_is_utc() -> None:
    aware = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
    assert parse_time(aware) == parse_time(aware.replace(tzinfo=None)) == US
    assert parse_time(aware.astimezone(timezone(timedelta(hours=-8)))) == US


def test_a_time_is_written_with_a_fraction_only_when_it_has_one() -> None:
    assert format_time(US) == "2024-01-15T10:30:00Z"
    assert format_time(US + 120) == "2024-01-15T10:30:00.000120Z"
    assert format_time(-1) == "1969-12-31T23:59:59.999999Z"


@pytest.mark.parametrize("us", [EARLIEST_US - 1, LATEST_US + 1])
def test_what_is_no_time_is_not_written(us: int) -> None:
    with pytest.raises(OverflowError):
        format_time(us)


@given(any_us)
def test_a_time_survives_the_round_trip(us: int) -> None:
    assert parse_time(format_time(us)) == us


@given(any_us, st.timedeltas(min_value=timedelta(hours=-23), max_value=timedelta(hours=23)))
def test_a_zone_does_not_change_the_time(us: int, offset: timedelta) -> None:
    try:
        local = datetime.fromisoformat(format_time(us)).astimezone(timezone(offset))
    except OverflowError:
        return  # Out of the years that a datetime can have in that zone.
    assert parse_time(local) == parse_time(local.isoformat()) == us


@given(st.integers(EARLIEST_US // 1000 + 1, LATEST_US // 1000))
def test_whole_milliseconds_are_exact(ms: int) -> None:
    assert parse_time(ms) == parse_time(str(ms)) == parse_time(float(ms)) == ms * 1000


@given(st.text() | st.floats() | st.integers() | st.datetimes() | st.from_regex(r"[0-9T:.+Z -]{8,34}", fullmatch=True))
def test_any_value_is_a_time_or_none(value: object) -> None:
    us = parse_time(value)
    assert us is None or EARLIEST_US <= us <= LATEST_US


def test_a_number_beyond_every_year_is_no_time() -> None:
    assert parse_time(10**400) is None
    assert parse_time(-(10**400)) is None
