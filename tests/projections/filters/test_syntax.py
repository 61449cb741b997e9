"""The text of a filter to calls, names and literals."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.filters.syntax import CALLS_MAX, CHARS_MAX, DEPTH_MAX, Call, InvalidFilter, Literal, Name, parse


def value_in(text: str) -> object:
    """The value of the literal that a text is."""
    argument = parse(f"f({text})").arguments[0]
    assert isinstance(argument, Literal)
    return argument.value


def test_a_filter_is_a_tree_of_calls() -> None:
    assert parse("and(eq(name, \"x\"), not(has(tags, 'y')))") == Call(
        "and",
        (
            Call("eq", (Name("name", 7), Literal("x", 13)), 4),
            Call("not", (Call("has", (Name("tags", 27), Literal("y", 33)), 23),), 19),
        ),
        0,
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"a"', "a"),
        ("'a \"b\"'", 'a "b"'),
        (r'"a\"b\\c\'d"', "a\"b\\c'd"),
        (r'"\n\t\r"', "\n\t\r"),
        (r'"\u00e4"', "ä"),
        (r'"\ud83d\ude00"', "😀"),
        (r'"\ud800"', "\ufffd"),
        (r'"100\%"', "100%"),
        ('"two\nlines"', "two\nlines"),
        ("12", Decimal(12)),
        ("-1.50", Decimal("-1.50")),
        ("1e3", Decimal(1000)),
        ("123456789012345678901234567890", Decimal("123456789012345678901234567890")),
        ("true", True),
        ("False", False),
        ("NULL", None),
        ("[]", ()),
    ],
)
def test_a_literal_is_read(text: str, value: object) -> None:
    assert value_in(text) == value


def test_white_space_separates_and_means_nothing() -> None:
    assert repr(parse(" eq ( name ,\n 'x' ) ")).count("Literal") == 1


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("", 0, "a field, a value or a condition"),
        ("eq(name, 'x'", 12, '"," or ")"'),
        ("eq(name 'x')", 8, '"," or ")"'),
        ("eq(name, 'x)", 9, "a word, a number, text in quotation marks or one of , ( ) [ ]"),
        ("eq(name, 'x') or", 14, "the end"),
        ("name", 0, 'a condition such as eq(name, "agent")'),
        ("'x'", 0, 'a condition such as eq(name, "agent")'),
        ("in(name, [x])", 10, "a value: text in quotation marks, a number, true, false or null"),
        ("in(name, ['x' 'y'])", 14, '"," or "]"'),
        ("eq(name, 1x)", 9, "a word, a number, text in quotation marks or one of , ( ) [ ]"),
        ("eq(name, ;)", 9, "a word, a number, text in quotation marks or one of , ( ) [ ]"),
        ("eq(,)", 3, "a field, a value or a condition"),
    ],
)
def test_an_error_tells_the_place_and_what_was_expected(text: str, position: int, expected: str) -> None:
    with pytest.raises(InvalidFilter) as refused:
        parse(text)
    assert (refused.value.position, refused.value.expected) == (position, expected)
    assert f"expected {expected} at character {position + 1}, found" in str(refused.value)


def test_depth_number_of_conditions_and_length_are_bounded() -> None:
    deep = "not(" * (DEPTH_MAX - 2) + "eq(name, 'x')" + ")" * (DEPTH_MAX - 2)
    parse(deep)
    with pytest.raises(InvalidFilter, match="levels of brackets"):
        parse(f"not(not({deep}))")
    with pytest.raises(InvalidFilter, match="levels of brackets"):
        parse(f"in(name, {'[' * 5000}")
    with pytest.raises(InvalidFilter, match=f"at most {CALLS_MAX} conditions"):
        parse(f"and({','.join(['eq(name, 1)'] * CALLS_MAX)})")
    with pytest.raises(InvalidFilter, match=f"at most {CHARS_MAX} characters"):
        parse(" " * (CHARS_MAX + 1))


WORDS = ("eq", "and", "not", "in", "has", "name", "tags", *"()[],\"'\\x1. ü\0")


@given(st.lists(st.sampled_from(WORDS), max_size=30).map("".join))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        made = parse(text)
    except InvalidFilter as refused:
        where = refused.position
    else:
        where = made.at
    assert 0 <= where <= len(text)
