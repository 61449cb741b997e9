"""Compares a run or a feedback as its SDK sent it with what was read back, field by field."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

# Where the field that was read has another name than the one that was sent.
STORED_NAMES = {"project": "project_name"}
TIMES = {"start_time", "end_time"}
# Absent, null and empty say the same here: an SDK posts a run that goes on with empty outputs.
EMPTY_IS_NOTHING = {"inputs", "outputs", "tags", "events"}
# These are compared in other ways: through URLs, in columns, in one of two vocabularies.
COMPARED_APART = {"attachments", "metadata", "usage", "status", "langsmith_status", "thread_id"}


def differences(
    expected: Mapping[str, Any], stored: Mapping[str, Any], *, status: str, leave_out: Iterable[str] = ()
) -> list[str]:
    """What differs between a run as it was sent and as it was read: one line a field, none when nothing does.

    `status` names the vocabulary: "status" for the documented words, "langsmith_status" for LangSmith's own.
    """
    found = []
    for name in expected.keys() - COMPARED_APART - set(leave_out):
        want, have = _plain(name, expected[name]), _plain(name, stored.get(STORED_NAMES.get(name, name)))
        if want != have:
            found.append(_line(expected, name, want, have))
    if stored["status"] != expected[status]:
        found.append(_line(expected, "status", expected[status], stored["status"]))
    return found + _metadata_differences(expected, stored) + _usage_differences(expected, stored)


def feedback_differences(expected: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    """As `differences`, for feedback: every field that was sent."""
    return [
        f"feedback {expected['key']}: {name}: sent {want!r}, read {stored.get(name)!r}"
        for name, want in expected.items()
        if stored.get(name) != want
    ]


def instant(text: str) -> datetime:
    """The moment that an ISO text names; without an offset it is UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _metadata_differences(expected: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    have = (stored.get("extra") or {}).get("metadata") or {}
    return [
        _line(expected, f"metadata.{key}", want, have.get(key, "nothing"))
        for key, want in expected.get("metadata", {}).items()
        if key not in have or have[key] != want
    ]


def _usage_differences(expected: Mapping[str, Any], stored: Mapping[str, Any]) -> list[str]:
    return [
        _line(expected, key, want, stored.get(key))
        for key, want in (expected.get("usage") or {}).items()
        if stored.get(key) is None or Decimal(str(stored[key])) != Decimal(str(want))
    ]


def _plain(name: str, value: Any) -> Any:
    if value is None or (name in EMPTY_IS_NOTHING and not value):
        return None
    return instant(value) if name in TIMES else value


def _line(run: Mapping[str, Any], name: str, want: Any, have: Any) -> str:
    return f"{run['name']} {run['id']}: {name}: sent {_short(want)}, read {_short(have)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}… ({len(text)} characters)"
