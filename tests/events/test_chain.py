from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import chain

EVENT: dict[str, Any] = {
    "shard": 0,
    "position": 1,
    "version": 2,
    "recorded_at": 1_767_225_600_000_000,
    "receipt_id": 3,
    "schema_version": 4,
    "codec": 1,
    "payload_size": 5,
    "stream": b"r" + bytes(16),
    "kind": "RunPosted",
    "hashed": bytes(32),
    "receipt_leaf": bytes(32),
}
RECEIPT: dict[str, Any] = {
    "shard": 0,
    "receipt_id": 1,
    "received_at": 1_767_225_600_000_000,
    "counts": (4, 3, 1, 0),
    "content_size": 5,
    "texts": ("/runs", None, "", "agent"),
    "content_commitment": bytes(32),
    "repetitions_hash": bytes(32),
}
QUARANTINED: dict[str, Any] = {
    "shard": 0,
    "quarantine_id": 1,
    "receipt_id": 2,
    "recorded_at": 1_767_225_600_000_000,
    "codec": 1,
    "raw_size": 5,
    "source": "post[0]",
    "reason": "no id",
    "hashed": bytes(32),
    "receipt_leaf": bytes(32),
}
LEAVES: list[tuple[Callable[..., bytes], dict[str, Any]]] = [
    (chain.event_leaf, EVENT),
    (chain.receipt_leaf, RECEIPT),
    (chain.quarantine_leaf, QUARANTINED),
]

triples = st.tuples(st.text(max_size=3), st.binary(max_size=3), st.binary(max_size=3), st.integers(0, 3))


# The values below are in the logs of those who use this: they change with no release.
def test_the_hashes_of_years_ago_are_the_hashes_of_today() -> None:
    event_id = chain.event_id("RunPosted", b"r" + bytes(16), b"{}")
    assert event_id.hex() == "03ddee4703292d62269d2a351aefe872"
    assert (
        chain.event_id("RunPosted", b"r" + bytes(16), b"{}", after_version=2).hex()
        == "fe6251420fc8fa65cced554652dcf443"
    )
    assert (
        chain.payload_hash(bytes(16), b"{}").hex() == "333b13ff02f57ae18049b82ca66f37592c5a3d8fd54e44e23ae5c7085c24fd2a"
    )
    receipt = {**RECEIPT, "repetitions_hash": None}  # As it was before there was this column.
    leaves = (chain.event_leaf(**EVENT), chain.receipt_leaf(**receipt), chain.quarantine_leaf(**QUARANTINED))
    assert [leaf.hex() for leaf in leaves] == [
        "64de65cf249cfe98723caa7a1b59a737c706d6e2225746cde127aad7beaaee85",
        "59276f0997120d0b90e17c8ab6cbd47f6926ba44dcc1b6a2ff9b6af177c75e76",
        "f92cfb07b9577e6bc6c049122d8929c37400b1139009fb2a4c98193543ed9b8b",
    ]
    assert (
        chain.link(chain.GENESIS, bytes(32)).hex() == "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"
    )


@given(triples, triples)
def test_event_ids_are_equal_exactly_when_all_that_they_stand_for_is(
    one: tuple[str, bytes, bytes, int], other: tuple[str, bytes, bytes, int]
) -> None:
    ids = [chain.event_id(kind, stream, payload, after_version=v) for kind, stream, payload, v in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)
    assert len(ids[0]) == 16


def test_event_ids_keep_apart_what_reads_the_same_when_joined() -> None:
    assert chain.event_id("a", b"b\0", b"") != chain.event_id("a", b"b", b"\0")
    assert chain.event_id("a", b"b", b"\0after 1") != chain.event_id("a", b"b", b"", after_version=1)


@pytest.mark.parametrize(
    ("leaf", "columns", "name"), [(leaf, columns, name) for leaf, columns in LEAVES for name in columns]
)
def test_a_leaf_tells_every_column(leaf: Callable[..., bytes], columns: dict[str, Any], name: str) -> None:
    assert leaf(**columns) != leaf(**{**columns, name: another(columns[name])})


def test_a_leaf_tells_which_column_a_text_stands_in() -> None:
    texts = [(None, "a"), ("a", None), ("a", ""), ("", "a"), (None, None), ("", "")]
    leaves = {chain.receipt_leaf(**{**RECEIPT, "texts": of_one}) for of_one in texts}
    assert len(leaves) == len(texts)
    leaves = {
        chain.event_leaf(**{**EVENT, "stream": stream, "kind": kind})
        for stream, kind in [(b"ab", "c"), (b"a", "bc"), (b"abc", "")]
    }
    assert len(leaves) == 3


def test_each_count_of_a_receipt_stands_in_its_leaf() -> None:
    counts = [(4, 3, 1, 0), (4, 1, 3, 0), (4, 3, 0, 1), (5, 3, 1, 0)]
    assert len({chain.receipt_leaf(**{**RECEIPT, "counts": of_one}) for of_one in counts}) == 4


def test_the_hash_of_repetitions_tells_them_in_any_order() -> None:
    repetitions = [(b"ra", 1, 1), (b"ra", 2, 1), (b"rb", 1, 3)]
    others = [[(b"ra", 1, 1), (b"ra", 3, 1), (b"rb", 1, 3)], [(b"ra", 1, 1), (b"ra", 2, 2), (b"rb", 1, 2)]]
    assert chain.repetitions_hash(repetitions) == chain.repetitions_hash(reversed(repetitions))
    assert len({chain.repetitions_hash(each) for each in (repetitions, *others, repetitions[:2])}) == 4
    assert chain.repetitions_hash([]) is None


def test_a_time_before_1970_and_the_last_position_have_a_leaf() -> None:
    assert chain.event_leaf(**{**EVENT, "recorded_at": -1, "position": 2**63 - 1})


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=50), st.binary(max_size=50))
def test_a_payload_hash_is_of_salt_and_payload(salt: bytes, one: bytes, other: bytes) -> None:
    assert (chain.payload_hash(salt, one) == chain.payload_hash(salt, other)) == (one == other)
    assert chain.payload_hash(salt, one) != chain.payload_hash(bytes(reversed(salt)) + b"\1", one)


def another(value: Any) -> Any:
    match value:
        case int():
            return value + 1
        case str():
            return value + "!"
        case bytes():
            return value[:-1] + b"!"
        case _:
            return (*value[:-1], another(value[-1]))
