"""What stays in the log of a field that is too large for it: a small value of which the folds read the same."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from events.jsontext import dumps, loads
from events.times import format_time
from projections.extraction import (
    Usage,
    extra_facts,
    first_token_time,
    model_of_outputs,
    usage_of_metadata,
    usage_of_outputs,
)
from projections.words import ERROR_CHARS_MAX, read_tags, read_text


def essence_of(name: str, raw: bytes) -> bytes | None:
    """The essence, as JSON, of a run's field; None when the folds read nothing in it but its preview."""
    make = _ESSENCES.get(name)
    value = None if make is None else make(raw)
    return None if value is None else dumps(value)


def _outputs(raw: bytes) -> Any:
    return _said({"usage_metadata": _usage(usage_of_outputs(raw)), "model_name": model_of_outputs(raw)})


def _extra(raw: bytes) -> Any:
    facts = extra_facts(raw)
    metadata = {
        "session_id": facts.session_id,
        "conversation_id": facts.conversation_id,
        "thread_id": facts.thread_id,
        "ls_provider": facts.ls_provider,
        "ls_model_name": facts.ls_model_name,
        "usage_metadata": _usage(usage_of_metadata(facts.usage_metadata or b"")),
    }
    return _said({"metadata": _said(metadata), "invocation_params": _said({"model": facts.invocation_model})})


def _events(raw: bytes) -> Any:
    at = first_token_time(raw)
    # A list that is not empty weighs more than one that is, whatever it holds.
    return [{}] if at is None else [{"name": "new_token", "time": format_time(at)}]


def _tags(raw: bytes) -> Any:
    tags = read_tags(raw)
    return None if tags is None else loads(tags.encode())


def _usage(usage: Usage | None) -> Any:
    if usage is None:
        return None
    tokens = {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    costs = {
        "input_cost": usage.prompt_cost,
        "output_cost": usage.completion_cost,
        "total_cost": usage.total_cost,
    }
    dollars = {name: f"{Decimal(cost).scaleb(-12):f}" for name, cost in costs.items() if cost is not None}
    return _said({**tokens, **dollars})


def _said(members: Mapping[str, Any]) -> dict[str, Any] | None:
    return {name: value for name, value in members.items() if value is not None} or None


_ESSENCES: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "outputs": _outputs,
    "extra": _extra,
    "events": _events,
    "tags": _tags,
    "error": lambda raw: read_text(raw)[:ERROR_CHARS_MAX],
}
