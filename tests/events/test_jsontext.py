import json
import math
import string
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from events import jsontext
from events.jsontext import NotJSON, clean, dumps, loads, quoted, split_array, split_object, unquoted

scalars = (
    st.none() | st.booleans() | st.integers() | st.integers(-(2**200), 2**200) | st.floats(allow_nan=False) | st.text()
)
finite_scalars = scalars.filter(lambda value: not (isinstance(value, float) and math.isinf(value)))


def nested(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
        max_leaves=8,
    )


json_values = nested(finite_scalars)
json_objects = st.dictionaries(st.text(max_size=6), json_values, max_size=4)
# Text over the characters that matter comes near to JSON far more often than arbitrary bytes do.
nearly_json = st.lists(
    st.sampled_from(
        [
            *'{}[]",:\\ 0-e.',
            "null",
            "NaN",
            '"a"',
            '"a":',
            '{"a":',
            "\\ud800",
            "\\ude00",
            "\\u0000",
            "1e999",
            "9" * 310,
        ]
    )
    | st.sampled_from(string.printable)
).map("".join)
any_bytes = (
    st.binary() | nearly_json.map(str.encode) | st.tuples(nearly_json, st.binary()).map(lambda t: t[0].encode() + t[1])
)


def nest(levels: int) -> bytes:
    return b'[{"a":' * levels + b"1" + b"}]" * levels


def refusal_by(read: Callable[[bytes], object], raw: bytes) -> NotJSON | None:
    try:
        read(raw)
    except NotJSON as refusal:
        return refusal
    return None


def test_members_keep_their_bytes() -> None:
    assert split_object(b' {"a": [1, 2 ] ,"b":1.50, "a\\n": {"x" :"}"} } ') == {
        "a": b"[1, 2 ]",
        "b": b"1.50",
        "a\n": b'{"x" :"}"}',
    }
    assert split_array(b'[ 1.0, [2, 3] ,"],"]') == [b"1.0", b"[2, 3]", b'"],"']


def test_the_last_member_of_a_name_counts() -> None:
    assert split_object(b'{"a":1,"b":2,"a":3}') == {"a": b"3", "b": b"2"}
    assert split_object(b'{"a":1,"b":NaN,"a":3}') == {"a": b"3", "b": b"NaN"}


@pytest.mark.parametrize(
    "bad",
    [
        b"NaN",
        b"-Infinity",
        b"tru",
        b"",
        b"01",
        b"1 2",
        b"{1}",
        b"[1,,]",
        b'"\\ud800"',
        b'"\\x"',
        b'"a\x01b\n"',
        b'"\xff"',
        b'{"a":"\xed\xa0\x80","b":NaN}',
        b"\xff",
        nest(5000),
    ],
)
def test_a_bad_member_does_not_cost_the_others(bad: bytes) -> None:
    assert split_object(b'{"good": 1, "bad": ' + bad + b' , "fine": "x"}') == {
        "good": b"1",
        "bad": bad,
        "fine": b'"x"',
    }
    assert split_array(b"[1, " + bad + b" ,2]") == [b"1", bad, b"2"]


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (b"\\ud800x", "\ufffdx"),
        (b"\xff", "\ufffd"),
        (b"a\nb", "a\nb"),
        (b"\\x", "\\x"),
        (b"\\u00e9", "\u00e9"),
    ],
)
def test_a_bad_name_does_not_cost_its_member(name: bytes, read: str) -> None:
    assert split_object(b'{"a":NaN,"' + name + b'":1}') == {"a": b"NaN", read: b"1"}


def test_a_byte_order_mark_is_skipped() -> None:
    assert split_object(b'\xef\xbb\xbf{"a":1}') == {"a": b"1"}
    assert split_array(b"\xef\xbb\xbf[1]") == [b"1"]
    assert loads(b"\xef\xbb\xbf[1]") == [1]


@pytest.mark.parametrize(
    ("raw", "expected", "position"),
    [
        (b"", "an object", 0),
        (b"  [1]", "an object", 2),
        (b"null", "an object", 0),
        (b'{"a":1', "a closing bracket", 6),
        (b'{"a":1} x', "the end", 8),
        (b'{"a" 1}', "a colon", 5),
        (b"{a:1}", "a member's name or the end of the object", 1),
        (b'{"a":"x}', "a string that ends", 5),
        (b'{"a":[1}', "the bracket that closes the last one opened", 7),
        (b'{"a":1]', "a comma or }", 6),
        (b'{"a":' + b"[" * 100_000, "a closing bracket", 100_005),
    ],
)
def test_a_refusal_says_where_and_what_was_expected(raw: bytes, expected: str, position: int) -> None:
    with pytest.raises(NotJSON) as refusal:
        split_object(raw)
    assert (refusal.value.expected, refusal.value.position) == (expected, position)
    assert str(refusal.value) == f"expected {expected} at byte {position}"


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1", b"[1}", b"[1]]", b'["]'])
def test_what_is_no_array_is_not_split(raw: bytes) -> None:
    with pytest.raises(NotJSON):
        split_array(raw)


def test_empty_containers_split_into_nothing() -> None:
    assert split_object(b" { } ") == {}
    assert split_array(b" [ ] ") == []


@given(json_objects, st.sampled_from([None, 1]), st.booleans())
def test_splitting_agrees_with_parsing(value: dict[str, Any], indent: int | None, ascii_only: bool) -> None:
    raw = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert {name: json.loads(member) for name, member in split_object(raw).items()} == value


@given(json_objects, st.sampled_from([None, 1]))
def test_the_scanner_agrees_with_the_fast_path(value: dict[str, Any], indent: int | None) -> None:
    raw = json.dumps(value, indent=indent).encode()
    assert jsontext._scan_object(raw) == split_object(raw)
    elements = json.dumps(list(value.values()), indent=indent).encode()
    assert jsontext._scan_array(elements) == split_array(elements)


@given(any_bytes)
@example(b'{"a":"\\ud800\\u0041"}')
def test_any_bytes_split_or_are_refused(raw: bytes) -> None:
    for split in (split_object, split_array):
        refusal = refusal_by(split, raw)
        assert refusal is None or 0 <= refusal.position <= len(raw)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"[NaN,Infinity,-Infinity,1e999,-1e999]", [None] * 5),
        (b'"NaN"', "NaN"),
        (b"1180591620717411303424", 2**70),
        (b"[NaN,1180591620717411303424]", [None, 2**70]),
        (b'"\\ud800 x"', "\ufffd x"),
        (b'"\\ude00\\ud83d"', "\ufffd\ufffd"),
        (b'"\\ud83d\\ude00\\ud800"', "\U0001f600\ufffd"),
        (b'"\\\\ud800\\ud800"', "\\ud800\ufffd"),
        (b'{"\\uDFFF":1}', {"\ufffd": 1}),
        (b'"\xff"', "\ufffd"),
        (b'"\xed\xa0\x80"', "\ufffd\ufffd\ufffd"),
        (b'"a\x00b\nc"', "a\x00b\nc"),
        (b'"a\\u0000b"', "a\x00b"),
        (b"9" * 5000, "9" * 5000),
    ],
)
def test_odd_json_is_read(raw: bytes, value: object) -> None:
    assert loads(raw) == value


@pytest.mark.parametrize(
    ("raw", "expected", "position"),
    [
        (b"", "a value", 0),
        (b"[unable to serialize]", "a value", 1),
        (b"[1] x", "the end", 4),
        (b'"\xff\\x"', "a valid escape", 2),
        (b'["\\ud800\xff', "a string that ends", 1),
        (b'{"\xc3\xa9\xff":}', "a value", 7),
        (b"[1 2]", "',' delimiter", 3),
    ],
)
def test_no_json_is_refused_with_position_and_expectation(raw: bytes, expected: str, position: int) -> None:
    with pytest.raises(NotJSON) as refusal:
        loads(raw)
    assert (refusal.value.expected, refusal.value.position) == (expected, position)


def test_nesting_beyond_the_stack_is_refused() -> None:
    with pytest.raises(NotJSON, match="fewer levels of nesting"):
        loads(nest(100_000))


@given(json_values)
def test_a_value_survives_the_round_trip(value: Any) -> None:
    assert loads(dumps(value)) == value


@given(nested(scalars | st.floats() | st.text(st.characters(codec=None, categories=["L", "Cs"]))))
def test_every_value_is_written_strictly(value: Any) -> None:
    written = dumps(value)
    assert loads(written) == json.loads(written, parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        ({"a": [1, None, "é"]}, '{"a":[1,null,"é"]}'.encode()),
        (
            [2**70, float("nan"), float("-inf"), "NaN -Infinity"],
            b'[1180591620717411303424,null,null,"NaN -Infinity"]',
        ),
        (["\ud800 é", 'quote " Infinity \\'], '["\ufffd é","quote \\" Infinity \\\\"]'.encode()),
    ],
)
def test_values_are_written_compactly(value: object, raw: bytes) -> None:
    assert dumps(value) == raw


def test_what_has_no_json_is_not_written() -> None:
    with pytest.raises(TypeError):
        dumps({"a": object()})


@pytest.mark.parametrize("raw", [b'{"a": 1.50, "b":1e5}', b"1180591620717411303424", b'"\\u00e9"', b" [ ] "])
def test_strict_json_stays_as_sent(raw: bytes) -> None:
    assert clean(raw) is raw


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        (b'{"a": NaN, "b": 1180591620717411303424}', b'{"a":null,"b":1180591620717411303424}'),
        (b'["\\ud800",1e999]', '["\ufffd",null]'.encode()),
        (b'["\xff"]', '["\ufffd"]'.encode()),
        (b'{"n":' + b"9" * 400 + b"}", b'{"n":"' + b"9" * 400 + b'"}'),
        (b"boom \\ bad", b'"boom \\\\ bad"'),
        (b"\xff", '"\ufffd"'.encode()),
        (b"", b'""'),
        (nest(5000), dumps(nest(5000).decode())),
    ],
)
def test_other_json_is_rewritten_and_no_json_is_text(raw: bytes, cleaned: bytes) -> None:
    assert clean(raw) == cleaned


@given(any_bytes | json_values.map(dumps))
def test_what_is_cleaned_is_strict(raw: bytes) -> None:
    orjson.loads(orjson.dumps({"value": orjson.Fragment(clean(raw))}))


@given(any_bytes)
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    refusal = refusal_by(loads, raw)
    if refusal is None:
        json.dumps(loads(raw), allow_nan=False, ensure_ascii=False).encode()
    else:
        assert 0 <= refusal.position <= len(raw)


@given(any_bytes)
def test_quoted_bytes_come_back(raw: bytes) -> None:
    text = quoted(raw)
    assert text.isascii()
    assert unquoted(text) == raw
    characters = raw.decode(errors="surrogateescape")
    assert loads(text) == "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in characters)


@pytest.mark.parametrize("text", [b"", b"1", b"[]", b'"', b'"\\ud800"', b"\xff"])
def test_what_was_not_quoted_is_not_unquoted(text: bytes) -> None:
    with pytest.raises(NotJSON):
        unquoted(text)
