"""The metadata of a run as a column that SQL looks through by text."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.jsontext import dumps, loads
from projections import pairs
from projections.pairs import (
    KEY_CHARS_MAX,
    KEYS_MAX,
    LEFT_OUT_PIECE,
    VALUE_CHARS_MAX,
    cut_piece,
    key_piece,
    merged,
    number_text,
    pair_piece,
    value_piece,
    written,
)
from projections.words import rank_of

POST, PATCH = 2, 3
odd_texts = st.text(alphabet=st.sampled_from('ab\n\t\r\\"ü\u2028'), max_size=6)
scalars = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), odd_texts, st.just("x" * 300), st.just({}))
objects = st.dictionaries(odd_texts, scalars, max_size=5)
writes = st.lists(st.tuples(st.sampled_from((POST, PATCH)), objects), max_size=5)


def column_of(*told: tuple[int, dict[str, Any]]) -> str | None:
    column: str | None = None
    for rank, members in told:
        column = merged(column, written(json.dumps(members).encode(), rank, rank_of))
    return column


def said(column: str | None) -> dict[str, str]:
    return {pair.key: pair.value for pair in pairs.read(column).pairs}


@given(writes, st.randoms(use_true_random=False))
def test_posts_and_patches_may_come_in_any_order_of_one_to_the_other(told: list[Any], random: Any) -> None:
    posts, patches = ([one for one in told if one[0] == rank] for rank in (POST, PATCH))
    mixed = [posts, patches]
    shuffled = []
    while any(mixed):
        shuffled.append(random.choice([some for some in mixed if some]).pop(0))
    assert column_of(*shuffled) == column_of(*told)


@given(objects)
def test_a_patch_makes_the_column_of_a_post_in_stronger_words(members: dict[str, Any]) -> None:
    raw = json.dumps(members).encode()
    posted = written(raw, POST, rank_of)
    assert written(raw, PATCH, rank_of) == (None if posted is None else pairs.as_patched(posted))


plain_texts = st.text(alphabet="ab{}[]: ü\u2028", max_size=6)
plain_scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), plain_texts)
plain_values = st.recursive(
    plain_scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(plain_texts, inner, max_size=2)
)


@given(st.dictionaries(plain_texts, plain_values, max_size=5))
def test_plain_metadata_makes_the_column_that_it_makes_written_out(members: dict[str, Any]) -> None:
    raw = dumps(members)
    assert pairs.plain(loads(raw), PATCH) in (None, written(raw, PATCH, rank_of))


def test_usual_metadata_is_plain() -> None:
    raw = b'{"ls_method":"traceable","step":3,"ratio":0.5,"nested":{"a":[1]},"nothing":null,"is_live":true}'
    assert pairs.plain(json.loads(raw), POST) == written(raw, POST, rank_of)


@pytest.mark.parametrize("raw", [b"{}", b'{"a":null}', b'{"a":{}}', b'{"a":"%s"}' % (b"x" * 201)])
def test_metadata_that_is_cut_or_empty_is_not_plain(raw: bytes) -> None:
    assert pairs.plain(json.loads(raw), POST) is None


def test_a_patch_that_repeats_every_key_replaces_the_column() -> None:
    posted, patched = ({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"})
    assert said(column_of((POST, posted), (PATCH, patched))) == patched
    assert said(column_of((POST, posted), (PATCH, {"a": {}}))) == {"a": "1", "b": "2"}
    many = {f"k{number:03}": "v" for number in range(KEYS_MAX + 1)}
    assert not pairs.read(column_of((POST, many), (PATCH, dict(list(many.items())[:KEYS_MAX])))).is_whole


@given(objects)
def test_a_column_tells_every_key_with_its_value(members: dict[str, Any]) -> None:
    expected = {key: pairs.value_text(value)[:VALUE_CHARS_MAX] for key, value in members.items() if value is not None}
    assert said(column_of((POST, members))) == expected


@given(objects, odd_texts, odd_texts)
def test_a_column_holds_a_piece_just_when_it_has_such_a_line(members: dict[str, Any], key: str, value: str) -> None:
    column = column_of((POST, members)) or ""
    told = said(column)
    for one in (key, *members):
        assert (key_piece(one) in column) == (one in told)
        assert (pair_piece(one, value) in column) == (told.get(one) == value)
    assert (value_piece(value) in column) == (value in told.values())


def test_a_patch_wins_over_a_post_and_null_over_nothing() -> None:
    assert said(column_of((PATCH, {"a": "patch"}), (POST, {"a": "post", "b": 1}), (PATCH, {"b": None}))) == {
        "a": "patch",
        "b": "1",
    }


def test_an_empty_value_replaces_nothing() -> None:
    assert said(column_of((POST, {"a": 1}), (PATCH, {"a": {}}))) == {"a": "1"}


def test_a_long_value_is_kept_as_its_beginning_and_found_as_such() -> None:
    long = "x" * (VALUE_CHARS_MAX + 1)
    column = column_of((POST, {"a": long})) or ""
    assert pairs.read(column).pairs == (pairs.Pair("a", long[:-1], is_cut=True),)
    assert cut_piece(long) in column
    assert pair_piece("a", long[:-1]) not in column


def test_of_too_many_keys_the_same_are_kept_whatever_came_first() -> None:
    one = {f"k{number:03}": number for number in range(0, 2 * KEYS_MAX, 2)}
    other = {f"k{number:03}": number for number in range(1, 2 * KEYS_MAX, 2)}
    column = column_of((POST, one), (PATCH, other))
    assert column == column_of((PATCH, other), (POST, one))
    assert list(said(column)) == [f"k{number:03}" for number in range(KEYS_MAX)]
    assert not pairs.read(column).is_whole
    assert LEFT_OUT_PIECE in (column or "")
    assert LEFT_OUT_PIECE not in (column_of((POST, one)) or "")


def test_a_long_key_is_left_out_and_said_to_be() -> None:
    column = column_of((POST, {"k" * (KEY_CHARS_MAX + 1): 1, "a": 2}))
    assert said(column) == {"a": "2"}
    assert not pairs.read(column).is_whole


def test_what_is_no_object_has_no_pairs() -> None:
    assert written(b"[1]", POST, rank_of) is None
    assert written(b"{", POST, rank_of) is None


def test_one_number_has_one_text() -> None:
    assert {number_text(1), number_text(1.0), number_text(1e0)} == {"1"}
    assert number_text(2**70) == str(2**70)
    assert number_text(0.5) == "0.5"
