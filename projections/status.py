"""The status of a run: inferred from what is known about it, by one pure and versioned rule."""

from typing import Literal

StatusRule = Literal["documented", "ended"]
Status = Literal["running", "completed", "failed"]
LangSmithStatus = Literal["success", "error", "pending"]

RULE_VERSION = 1
"""Goes up when `infer` or `langsmith_status` changes its answers: statuses stored before are then stale."""

_LANGSMITH_WORDS: dict[Status, LangSmithStatus] = {
    "running": "pending",
    "completed": "success",
    "failed": "error",
}
_MEANINGS: dict[str, Status] = {
    word: status for status, langsmith_word in _LANGSMITH_WORDS.items() for word in (status, langsmith_word)
}


def infer(rule: StatusRule, *, ended: bool, has_outputs: bool, error: str | None, said: str | None) -> Status:
    """The status in the documented words.

    `has_outputs` means outputs that are not null (an empty object counts), `said` is the status that the
    client itself sent, if any. Evidence comes first: only where the rule sees a running run does what was
    said count.
    """
    has_error = bool(error)
    seen = _documented(ended, has_outputs, has_error) if rule == "documented" else _ended(ended, has_error)
    if seen == "running" and said is not None:
        return status_filter(said) or "running"
    return seen


def langsmith_status(*, ended: bool, error: str | None) -> LangSmithStatus:
    """The status in LangSmith's own words, by LangSmith's own rule."""
    if error:
        return "error"
    return "success" if ended else "pending"


def status_filter(word: str) -> Status | None:
    """The documented status that a word of either vocabulary means, in any case; None for any other word."""
    return _MEANINGS.get(word.strip().lower())


def langsmith_status_filter(word: str) -> LangSmithStatus | None:
    """LangSmith's word for what a word of either vocabulary means, in any case; None for any other word."""
    status = status_filter(word)
    return None if status is None else _LANGSMITH_WORDS[status]


def _documented(ended: bool, has_outputs: bool, has_error: bool) -> Status:
    if ended and has_error:
        return "failed"
    return "completed" if ended and has_outputs else "running"


def _ended(ended: bool, has_error: bool) -> Status:
    if has_error:
        return "failed"
    return "completed" if ended else "running"
