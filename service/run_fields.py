"""The fields of a run in both generations of LangSmith's API: what each needs, and how it is made."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final

import orjson

from events.ids import format_id
from events.jsontext import NotJSON, loads, split_object
from events.times import format_time
from projections import feedback_stats
from projections.details import Details, Part
from service.addresses import Site
from service.values import (
    as_object,
    attachment,
    clean_text,
    dollars,
    dotted_order,
    fragment,
    id_text,
    place_of,
    tags_of,
    texts,
    time_text,
)

_US_PER_S: Final = 1_000_000


# SDKs look into these whenever they are there.
_ABSENT_IF_EMPTY: Final = frozenset({"s3_urls"})

Show = Callable[[Details, Site], Any]


@dataclass(frozen=True, slots=True)
class RunField:
    """How a field is made, and of which parts of a run."""

    show: Show
    parts: Part = Part.ROW


def parts_of(fields: Mapping[str, RunField], selected: Iterable[str]) -> Part:
    """What has to be fetched to show the selected fields."""
    parts = Part.ROW
    for name in selected:
        parts |= fields[name].parts
    return parts


def document(fields: Mapping[str, RunField], selected: Iterable[str], run: Details, site: Site) -> dict[str, Any]:
    """A run with the selected fields. One that there would be nothing in is left out where readers expect that."""
    shown = {name: fields[name].show(run, site) for name in selected}
    return {name: value for name, value in shown.items() if value is not None or name not in _ABSENT_IF_EMPTY}


def _column(name: str) -> RunField:
    return RunField(lambda run, _: getattr(run.state, name))


def _id_column(name: str) -> RunField:
    return RunField(lambda run, _: id_text(getattr(run.state, name)))


def _time_column(name: str) -> RunField:
    return RunField(lambda run, _: time_text(getattr(run.state, name)))


def _always(value: Any) -> RunField:
    return RunField(lambda _, __: value)


# --- values of several parts ------------------------------------------------------------------------------------------


def _inputs(run: Details, site: Site) -> Any:
    if "inputs" in run.record.moved:
        return place_of(run.record.moved["inputs"], "inputs", site.addresses)
    return as_object("inputs", run.record.members.get("inputs", b"{}"))


def _outputs(run: Details, site: Site) -> Any:
    if "outputs" in run.record.moved:
        return place_of(run.record.moved["outputs"], "outputs", site.addresses)
    return as_object("outputs", run.record.members.get("outputs", b"null"))


def _error(run: Details, _: Site) -> str | None:
    if "error" in run.record.members:
        return clean_text(run.record.members["error"]) or None
    return run.state.error


def _name(run: Details, _: Site) -> str:
    return clean_text(run.record.members["name"]) if "name" in run.record.members else run.state.name


def _metadata(run: Details, _: Site) -> dict[str, Any]:
    return {name: fragment(raw) for name, raw in run.record.metadata.items()}


def _extra(run: Details, site: Site) -> dict[str, Any]:
    extra: dict[str, Any] = {name: fragment(raw) for name, raw in run.record.extra.items()}
    if run.record.metadata:
        extra["metadata"] = _metadata(run, site)
    if "extra" in run.record.moved:
        extra |= place_of(run.record.moved["extra"], "extra", site.addresses)
    return extra


def _events(run: Details, _: Site) -> Any:
    raw = run.record.members.get("events", b"[]")
    return fragment(raw) if raw[:1] == b"[" else []


def _serialized(run: Details, _: Site) -> Any:
    raw = run.record.members.get("serialized", b"null")
    return fragment(raw) if raw[:1] == b"{" else None


def _tags(run: Details, _: Site) -> list[str]:
    return texts(run.record.members["tags"]) if "tags" in run.record.members else tags_of(run.state)


def _dotted_order(run: Details, _: Site) -> str:
    return dotted_order(run.state, run.above, run.record.members)


def _s3_urls(run: Details, site: Site) -> dict[str, Any] | None:
    return {f"attachment.{item.name}": attachment(item, site.addresses) for item in run.attachments} or None


def _attachment_urls(run: Details, site: Site) -> dict[str, str]:
    return {item.name: attachment(item, site.addresses)["presigned_url"] for item in run.attachments}


def app_path(site: Site, project_id: bytes, run_id: bytes, trace_id: bytes) -> str:
    """The path of a run's page, from the root of the site on."""
    project = f"/o/{format_id(site.tenant_id)}/projects/p/{format_id(project_id)}"
    return f"{project}/r/{format_id(run_id)}?trace_id={format_id(trace_id)}"


def _app_path(run: Details, site: Site) -> str:
    path = app_path(site, run.state.project_id, run.state.id, run.state.trace_id)
    return f"{path}&start_time={format_time(run.state.start_time)}"


def _share_url(run: Details, site: Site) -> str | None:
    return None if run.share_token is None else f"{site.addresses.origin}/public/{format_id(run.share_token)}/r"


def _feedback_stats(run: Details, _: Site) -> dict[str, Any] | None:
    return {key: asdict(stats) for key, stats in feedback_stats.of_keys(run.feedback).items()} or None


def _latency_seconds(run: Details, _: Site) -> float | None:
    state = run.state
    return None if state.end_time is None else max(state.end_time - state.start_time, 0) / _US_PER_S


def _usage_details(run: Details, name: str) -> dict[str, Any]:
    """The breakdown that the run's own usage gives under a name; empty when it gives none."""
    members = run.record.metadata
    for raw in (members.get("usage_metadata"), _member(run.record.members.get("outputs", b""), "usage_metadata")):
        found = _member(raw or b"", name)
        if found:
            numbers = {key: loads(value) for key, value in split_object(found).items() if value[:1].isdigit()}
            return {key: number for key, number in numbers.items() if isinstance(number, int | float)}
    return {}


def _member(raw: bytes, name: str) -> bytes | None:
    try:
        value = split_object(raw).get(name)
    except NotJSON:
        return None
    return value if value is not None and value[:1] == b"{" else None


def _token_details(name: str) -> Show:
    return lambda run, _: {key: n for key, n in _usage_details(run, name).items() if isinstance(n, int)} or None


def _cost_details(name: str) -> Show:
    return lambda run, _: {key: f"{Decimal(str(n)):f}" for key, n in _usage_details(run, name).items()} or None


def _raw_details(name: str) -> Show:
    def show(run: Details, _: Site) -> dict[str, Any] | None:
        details = _usage_details(run, name)
        return {"raw": details} if details else None

    return show


# --- the two generations ----------------------------------------------------------------------------------------------

_DETAILS: Final = {
    "prompt_token_details": "input_token_details",
    "completion_token_details": "output_token_details",
    "prompt_cost_details": "input_cost_details",
    "completion_cost_details": "output_cost_details",
}
_SHARED: Final[Mapping[str, RunField]] = {
    "id": _id_column("id"),
    "name": RunField(_name),
    "run_type": _column("run_type"),
    "status": _column("langsmith_status"),
    "start_time": _time_column("start_time"),
    "end_time": _time_column("end_time"),
    "trace_id": _id_column("trace_id"),
    "dotted_order": RunField(_dotted_order, Part.RECORD | Part.ABOVE),
    "parent_run_ids": RunField(lambda run, _: [format_id(id_) for id_ in run.parent_ids], Part.RECORD | Part.ABOVE),
    "inputs": RunField(_inputs, Part.INPUTS),
    "outputs": RunField(_outputs, Part.OUTPUTS),
    "inputs_preview": _column("inputs_preview"),
    "outputs_preview": _column("outputs_preview"),
    "error": RunField(_error, Part.RECORD),
    "events": RunField(_events, Part.RECORD),
    "extra": RunField(_extra, Part.RECORD),
    "tags": RunField(_tags),
    "thread_id": _column("thread_id"),
    "reference_example_id": _id_column("reference_example_id"),
    "reference_dataset_id": _always(None),
    "first_token_time": _time_column("first_token_time"),
    "prompt_tokens": RunField(lambda run, _: run.totals.prompt_tokens, Part.TOTALS),
    "completion_tokens": RunField(lambda run, _: run.totals.completion_tokens, Part.TOTALS),
    "total_tokens": RunField(lambda run, _: run.totals.total_tokens, Part.TOTALS),
    "price_model_id": _always(None),
    "app_path": RunField(_app_path),
    "feedback_stats": RunField(_feedback_stats, Part.FEEDBACK),
    "last_queued_at": _always(None),
}


def _dollars_of(name: str) -> RunField:
    return RunField(lambda run, _: dollars(getattr(run.totals, name)), Part.TOTALS)


def _double_of(name: str) -> RunField:
    def show(run: Details, _: Site) -> float | None:
        amount: int | None = getattr(run.totals, name)
        return None if amount is None else amount / 10**12

    return RunField(show, Part.TOTALS)


V1: Final[Mapping[str, RunField]] = {
    **_SHARED,
    "session_id": _id_column("project_id"),
    "parent_run_id": _id_column("parent_run_id"),
    "child_run_ids": RunField(lambda run, _: [format_id(id_) for id_, _ in run.below], Part.BELOW),
    "direct_child_run_ids": RunField(
        lambda run, _: [format_id(id_) for id_, parent in run.below if parent == run.state.id], Part.BELOW
    ),
    "serialized": RunField(_serialized, Part.RECORD),
    "s3_urls": RunField(_s3_urls, Part.ATTACHMENTS),
    "prompt_cost": _dollars_of("prompt_cost"),
    "completion_cost": _dollars_of("completion_cost"),
    "total_cost": _dollars_of("total_cost"),
    "execution_order": RunField(lambda run, _: 1 if run.state.is_root else None),
    "in_dataset": _always(False),
    "share_token": RunField(lambda run, _: id_text(run.share_token), Part.SHARE),
    "manifest_id": _always(None),
    **{
        name: RunField((_token_details if "token" in name else _cost_details)(told), Part.RECORD)
        for name, told in _DETAILS.items()
    },
}
"""The fields of the first generation, by the names in `select`."""

V1_ALL: Final = tuple(name for name, field in V1.items() if not field.parts & Part.BELOW)
"""What is told when nothing is selected: everything but the ids of runs below, of which there may be very many."""

V1_ALWAYS: Final = ("id", "name", "run_type", "status", "start_time", "trace_id", "session_id", "parent_run_id")
"""What SDKs need of every run, whatever they select."""

V2: Final[Mapping[str, RunField]] = {
    **_SHARED,
    "project_id": _id_column("project_id"),
    "is_root": RunField(lambda run, _: bool(run.state.is_root)),
    "latency_seconds": RunField(_latency_seconds),
    "error_preview": _column("error"),
    "metadata": RunField(_metadata, Part.RECORD),
    "manifest": RunField(_serialized, Part.RECORD),
    "attachments": RunField(_attachment_urls, Part.ATTACHMENTS),
    "prompt_cost": _double_of("prompt_cost"),
    "completion_cost": _double_of("completion_cost"),
    "total_cost": _double_of("total_cost"),
    "thread_evaluation_time": _always(None),
    "is_in_dataset": _always(False),
    "share_url": RunField(_share_url, Part.SHARE),
    "ls_user_id": _always(None),
    **{name: RunField(_raw_details(told), Part.RECORD) for name, told in _DETAILS.items()},
}
"""The fields of the second generation, by the names in `selects`, in lower case."""


def page_of(
    fields: Mapping[str, RunField], selected: Collection[str], runs: Iterable[Details], site: Site
) -> orjson.Fragment:
    """The runs as a JSON array."""
    return orjson.Fragment(b"[" + b",".join(written(fields, selected, runs, site)) + b"]")


def written(
    fields: Mapping[str, RunField], selected: Collection[str], runs: Iterable[Details], site: Site
) -> list[bytes]:
    """Each run as JSON text, written one by one."""
    return [orjson.dumps(document(fields, selected, run, site)) for run in runs]
