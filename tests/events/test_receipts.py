import hashlib
from dataclasses import fields, replace
from typing import Any

import pytest

from events.chain import GENESIS, link
from events.receipts import Counts, Origin, RecordedReceipt, record
from events.schema import receipts

ORIGIN = Origin(
    endpoint="/runs/batch",
    request_id="r1",
    key_id="0123456789abcdef",
    user_agent="langsmith-py/0.4.60",
    sdk="langsmith-py",
    sdk_version="0.4.60",
    remote_address="127.0.0.1",
    content_size=1234,
    content_hash=hashlib.sha256(b"body").digest(),
)
COUNTS = Counts(received=4, applied=2, duplicate=1, quarantined=1)
PLACE: dict[str, Any] = {"shard": 0, "receipt_id": 5, "received_at": 6, "salt": b"s" * 16, "previous_chain": GENESIS}


def row_of(recorded: RecordedReceipt) -> dict[str, Any]:
    return dict(zip(receipts.columns.keys(), recorded.row, strict=True))


def test_a_receipt_keeps_all_that_is_known_of_where_a_request_came_from() -> None:
    row = row_of(record(ORIGIN, COUNTS, **PLACE))
    assert {field.name: row[field.name] for field in fields(Origin)} == {
        field.name: getattr(ORIGIN, field.name) for field in fields(Origin)
    }
    assert {name: row[name] for name in Counts._fields} == COUNTS._asdict()
    assert (row["shard"], row["receipt_id"], row["received_at"]) == (0, 5, 6)


def test_what_is_not_known_stays_null() -> None:
    row = row_of(record(Origin(endpoint="start"), COUNTS, **PLACE))
    nameless = ("request_id", "key_id", "user_agent", "sdk", "sdk_version", "remote_address")
    assert [row[name] for name in nameless] == [None] * 6


def test_the_leaf_covers_the_content_by_a_salted_hash_that_outlives_it() -> None:
    row = row_of(record(ORIGIN, COUNTS, **PLACE))
    assert row["content_salt"] == b"s" * 16
    assert row["content_commitment"] == hashlib.sha256(b"s" * 16 + ORIGIN.content_hash).digest()


@pytest.mark.parametrize("name", [field.name for field in fields(Origin)])
def test_every_field_of_the_origin_is_in_the_leaf(name: str) -> None:
    value = getattr(ORIGIN, name)
    changed = replace(ORIGIN, **{name: value * 2})
    assert record(changed, COUNTS, **PLACE).leaf != record(ORIGIN, COUNTS, **PLACE).leaf


def test_the_chain_goes_on_from_the_receipt_before() -> None:
    recorded = record(ORIGIN, COUNTS, **{**PLACE, "previous_chain": b"p" * 32})
    assert recorded.chain == link(b"p" * 32, recorded.leaf) == row_of(recorded)["chain"]


def test_the_same_receipt_has_the_same_row() -> None:
    assert record(ORIGIN, COUNTS, **PLACE) == record(ORIGIN, COUNTS, **PLACE)
    assert record(ORIGIN, COUNTS, **PLACE).leaf != record(ORIGIN, COUNTS, **{**PLACE, "salt": bytes(16)}).leaf


@pytest.mark.parametrize(
    ("text", "kept"),
    [("a\0b", "a\ufffdb"), ("\ud83d", "\ufffd"), ("x" * 501, "x" * 500), ("\U0001f600" * 500, "\U0001f600" * 500)],
)
def test_text_that_a_column_would_refuse_is_cleaned_and_cut(text: str, kept: str) -> None:
    assert row_of(record(replace(ORIGIN, user_agent=text), COUNTS, **PLACE))["user_agent"] == kept
