"""What each function takes, and which pairs conditions speak of."""

from decimal import Decimal
from typing import Any

import pytest

from projections.filters.conditions import (
    FIELDS,
    SEARCHED,
    All,
    AnyOf,
    Condition,
    Contains,
    HasTag,
    Like,
    Not,
    OneOf,
    Ordered,
    PartNot,
    PartOneOf,
    PartOrdered,
    Search,
    SomePair,
)
from projections.filters.reading import read
from projections.filters.syntax import InvalidFilter
from tests.projections.stores import id_text, run_id


def one_of(name: str, *values: Any) -> OneOf:
    return OneOf(FIELDS[name], values)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ('eq(name, "x")', one_of("name", "x")),
        ("neq(parent_run_id, null)", Not(one_of("parent_run_id", None))),
        (f'eq(id, "{id_text(7)}")', one_of("id", run_id(7))),
        ('in(run_type, ["llm", "tool"])', one_of("run_type", "llm", "tool")),
        ('eq(status, "failed")', one_of("status", "error")),
        ('eq(status, "SUCCESS")', one_of("status", "success")),
        ("eq(error, true)", AnyOf((Not(one_of("error", None)),))),
        ("neq(error, null)", Not(one_of("error", None))),
        ("gt(latency, 1.5)", Ordered(FIELDS["latency"], "gt", 1_500_000)),
        ('gte(latency, "2m")', Ordered(FIELDS["latency"], "gte", 120_000_000)),
        ('lt(latency, "250ms")', Ordered(FIELDS["latency"], "lt", 250_000)),
        ("gt(total_tokens, 2.5)", Ordered(FIELDS["total_tokens"], "gt", 2)),
        ("lt(total_tokens, 2.5)", Ordered(FIELDS["total_tokens"], "lt", 3)),
        ("eq(total_tokens, 2.5)", one_of("total_tokens")),
        ("eq(total_tokens, 1e30)", one_of("total_tokens")),
        ("gt(total_cost, 0.01)", Ordered(FIELDS["total_cost"], "gt", 10_000_000_000)),
        ('gt(start_time, "1970-01-01T00:00:01Z")', Ordered(FIELDS["start_time"], "gt", 1_000_000)),
        ("eq(is_root, 1)", one_of("is_root", 1)),
        ('like(name, "a%")', Like(FIELDS["name"], "a%")),
        ('has(tags, "x")', HasTag("x")),
        ("has(metadata, '{\"a\": 1}')", Contains("metadata", '{"a":1}')),
        ('exists(metadata, "a")', SomePair("metadata", (PartOneOf("key", ("a",)),))),
        ('search("x")', Search(SEARCHED, "x")),
        ('search(inputs, "x")', Search(("inputs",), "x")),
        ("gt(feedback_score, 0.5)", SomePair("feedback", (PartOrdered("score", "gt", 0.5),))),
        ("eq(metadata_value, 1.0)", SomePair("metadata", (PartOneOf("value", ("1",)),))),
    ],
)
def test_a_function_is_read(text: str, condition: Condition) -> None:
    assert read(text) == condition


KEY_A, KEY_B = PartOneOf("key", ("a",)), PartOneOf("key", ("b",))
ONE, TWO = PartOneOf("value", ("1",)), PartOneOf("value", ("2",))


@pytest.mark.parametrize(
    ("parts", "conditions"),
    [
        (['eq(metadata_key, "a")', 'eq(metadata_value, "1")'], [SomePair("metadata", (KEY_A, ONE))]),
        (['eq(metadata_value, "1")', 'eq(metadata_key, "a")'], [SomePair("metadata", (ONE, KEY_A))]),
        (
            ['eq(metadata_key, "a")', "eq(metadata_value, 1)", 'eq(metadata_key, "b")', "eq(metadata_value, 2)"],
            [SomePair("metadata", (KEY_A, ONE)), SomePair("metadata", (KEY_B, TWO))],
        ),
        (['neq(metadata_key, "a")'], [Not(SomePair("metadata", (KEY_A,)))]),
        (
            ['eq(metadata_key, "a")', 'neq(metadata_value, "1")'],
            [SomePair("metadata", (KEY_A, PartNot(ONE)))],
        ),
        (
            ['neq(metadata_key, "a")', 'neq(metadata_value, "1")'],
            [Not(SomePair("metadata", (KEY_A,))), Not(SomePair("metadata", (ONE,)))],
        ),
        (
            ['neq(metadata_key, "a")', 'eq(metadata_value, "1")'],
            [Not(SomePair("metadata", (KEY_A,))), SomePair("metadata", (ONE,))],
        ),
        (
            ['eq(metadata_key, "a")', 'eq(input_value, "1")'],
            [SomePair("metadata", (KEY_A,)), SomePair("input", (ONE,))],
        ),
    ],
)
def test_parts_beside_each_other_speak_of_one_pair(parts: list[str], conditions: list[Condition]) -> None:
    assert read(f"and({', '.join(parts)})") == All(tuple(conditions))


def test_an_and_within_an_and_speaks_of_pairs_of_its_own() -> None:
    inner = [f'and(eq(metadata_key, "{key}"), eq(metadata_value, {value}))' for key, value in (("a", 1), ("b", 2))]
    assert read(f"and({', '.join(inner)})") == All(
        (All((SomePair("metadata", (KEY_A, ONE)),)), All((SomePair("metadata", (KEY_B, TWO)),)))
    )


@pytest.mark.parametrize(
    ("text", "position", "expected"),
    [
        ("foo(name, 1)", 0, "a condition: and, or, not, eq"),
        ("and(name)", 4, "a condition: and, or, not, eq"),
        ("and()", 0, "and(condition, …) with at least one condition"),
        ("not(eq(name, 1), eq(name, 2))", 0, "not(condition)"),
        ("eq(nome, 1)", 3, "a field: one of id, trace_id"),
        ("eq(name)", 0, "eq(field, value)"),
        ("eq(1, name)", 3, "a field: one of"),
        ("eq(name, run_type)", 9, "text"),
        ('eq(id, "7")', 7, "the id of something: a UUID"),
        ('eq(status, "done")', 11, "a status: success, error or pending"),
        ('gt(status, "error")', 3, "a field that has an order"),
        ('gt(latency, "soon")', 12, "a number of seconds"),
        ('gt(start_time, "soon")', 15, "a time such as 2024-01-15T10:30:00Z"),
        ("gt(start_time, null)", 15, "a time such as"),
        ('gt(total_tokens, "many")', 17, "a number"),
        ('in(name, "x")', 9, "a list such as [1, 2]"),
        ('in(metadata_key, ["a", null])', 23, "text in quotation marks"),
        ('like(latency, "1%")', 5, "a field that is text"),
        ("has(tags, null)", 10, "text in quotation marks"),
        ('has(name, "x")', 4, "tags, metadata, inputs or outputs"),
        ('has(metadata, "{a}")', 14, "JSON such as"),
        ('search(latency, "x")', 7, "one of name, run_type, error"),
        ('eq(outputs, "x")', 12, "null"),
        ('eq(feedback_score, "good")', 19, "a number"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_place(text: str, position: int, expected: str) -> None:
    with pytest.raises(InvalidFilter) as refused:
        read(text)
    assert refused.value.position == position
    assert refused.value.expected.startswith(expected)


def test_numbers_between_what_is_counted_keep_their_order() -> None:
    bounds = {order: read(f"{order}(total_tokens, 2.5)") for order in ("gt", "gte", "lt", "lte")}
    for tokens in range(6):
        for order, holds in (
            ("gt", tokens > Decimal("2.5")),
            ("gte", tokens >= Decimal("2.5")),
            ("lt", tokens < Decimal("2.5")),
            ("lte", tokens <= Decimal("2.5")),
        ):
            condition = bounds[order]
            assert isinstance(condition, Ordered)
            assert isinstance(condition.value, int)
            compared = {"gt": tokens > condition.value, "gte": tokens >= condition.value}
            compared |= {"lt": tokens < condition.value, "lte": tokens <= condition.value}
            assert compared[order] == holds
