from itertools import product

import pytest

from projections.status import (
    Status,
    StatusRule,
    infer,
    langsmith_status,
    langsmith_status_filter,
    status_filter,
)


@pytest.mark.parametrize(
    ("ended", "has_outputs", "error", "status"),
    [
        (False, False, None, "running"),
        (False, True, None, "running"),
        (False, False, "boom", "running"),
        (False, True, "boom", "running"),
        (True, False, None, "running"),
        (True, True, None, "completed"),
        (True, False, "boom", "failed"),
        (True, True, "boom", "failed"),
    ],
)
def test_the_documented_rule_wants_an_end_and_evidence(
    ended: bool, has_outputs: bool, error: str | None, status: Status
) -> None:
    assert infer("documented", ended=ended, has_outputs=has_outputs, error=error, said=None) == status


@pytest.mark.parametrize(
    ("ended", "error", "status"),
    [
        (False, None, "running"),
        (False, "boom", "failed"),
        (True, None, "completed"),
        (True, "boom", "failed"),
    ],
)
@pytest.mark.parametrize("has_outputs", [False, True])
def test_the_ended_rule_does_not_look_at_outputs(
    ended: bool, error: str | None, status: Status, has_outputs: bool
) -> None:
    assert infer("ended", ended=ended, has_outputs=has_outputs, error=error, said=None) == status


@pytest.mark.parametrize("rule", ["documented", "ended"])
def test_an_empty_error_is_no_error(rule: StatusRule) -> None:
    assert infer(rule, ended=True, has_outputs=True, error="", said=None) == "completed"
    assert infer(rule, ended=False, has_outputs=True, error="", said=None) == "running"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("completed", "completed"),
        ("success", "completed"),
        ("SUCCESS", "completed"),
        ("failed", "failed"),
        ("Error", "failed"),
        ("running", "running"),
        ("pending", "running"),
        ("succeeded", "running"),
        ("", "running"),
        ("nonsense", "running"),
    ],
)
def test_a_terminal_status_that_the_client_sent_counts_where_the_rule_says_running(said: str, status: Status) -> None:
    assert infer("documented", ended=True, has_outputs=False, error=None, said=said) == status
    assert infer("documented", ended=False, has_outputs=True, error="boom", said=said) == status
    assert infer("ended", ended=False, has_outputs=False, error=None, said=said) == status


@pytest.mark.parametrize("rule", ["documented", "ended"])
def test_what_the_client_said_never_overrules_evidence(rule: StatusRule) -> None:
    assert infer(rule, ended=True, has_outputs=True, error=None, said="failed") == "completed"
    assert infer(rule, ended=True, has_outputs=True, error=None, said="running") == "completed"
    assert infer(rule, ended=True, has_outputs=True, error="boom", said="success") == "failed"


def test_langsmith_asks_only_for_error_and_end() -> None:
    for ended, error in product((False, True), ("boom", "")):
        expected = "error" if error else "success" if ended else "pending"
        assert langsmith_status(ended=ended, error=error) == expected
    assert langsmith_status(ended=True, error=None) == "success"
    assert langsmith_status(ended=False, error=None) == "pending"


@pytest.mark.parametrize(
    ("word", "status", "langsmith_word"),
    [
        ("running", "running", "pending"),
        ("pending", "running", "pending"),
        ("completed", "completed", "success"),
        (" Success ", "completed", "success"),
        ("failed", "failed", "error"),
        ("ERROR", "failed", "error"),
        ("done", None, None),
        ("", None, None),
    ],
)
def test_filters_take_the_words_of_both_vocabularies(word: str, status: str | None, langsmith_word: str | None) -> None:
    assert status_filter(word) == status
    assert langsmith_status_filter(word) == langsmith_word
