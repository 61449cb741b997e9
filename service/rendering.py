"""Rows and records to the JSON of answers. Large values pass through as the bytes they came as."""

from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final, Literal

import orjson
from msgspec import Raw

from events.codec import offloaded
from events.ids import format_id
from events.kinds import RunPatched, RunPosted
from events.log import RecordedEvent
from events.times import format_time
from projections.attachments import Attachment
from projections.record import Record
from projections.rollup import Totals
from projections.runs import RunState
from projections.stats import Summary
from projections.traces import NamedRun, Outline
from projections.trees import Node, Tree, render
from service.addresses import Addresses
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

StatusWords = Literal["documented", "langsmith"]

# Members of a run that a client sent and that are answered by us, or that SDKs do not stand in an answer.
_ANSWERED_OTHERWISE: Final = frozenset(
    {
        *("id", "name", "run_type", "status", "start_time", "end_time", "error", "inputs", "outputs", "extra"),
        *("events", "serialized", "tags", "trace_id", "parent_run_id", "dotted_order", "project_name"),
        *("session_name", "session_id", "reference_example_id", "s3_urls", "inputs_s3_urls", "outputs_s3_urls"),
        *("attachments", "_host_url", "_tenant_id", "parent_run", "child_runs", "offloaded", "version"),
        *("thread_id", "model", "provider", "prompt_tokens", "completion_tokens", "total_tokens"),
        *("prompt_cost", "completion_cost", "total_cost", "first_token_time", "duration_ms"),
        *("parent_run_ids", "app_path", "feedback_stats", "child_run_ids"),
    }
)
# Of ours, those of which SDKs stand an object in place of the value.
_NEVER_A_PLACE: Final = _ANSWERED_OTHERWISE - {"inputs", "outputs", "serialized"}
_NEVER_CAME: Final = SimpleNamespace(**dict.fromkeys(Outline.__struct_fields__))


def body_of(value: Any) -> bytes:
    """The JSON text of an answer, which may hold `orjson.Fragment`s."""
    return orjson.dumps(value)


def root_runs(
    page: Sequence[NamedRun],
    events: Mapping[int, RecordedEvent],
    addresses: Addresses,
    totals: Mapping[bytes, Totals] | None,
    *,
    total: int | None,
    limit: int,
    offset: int,
    next_: str | None,
) -> bytes:
    """A page of traces. `events` holds those that carry inputs and outputs; where one is missing, previews stand.

    `totals` are those of each trace, told when they are given. `next_` is the cursor after which the next page begins;
    None when there is none.
    """
    return body_of(
        {
            "runs": [
                _trace_run(named, events, addresses) | ({} if totals is None else _trace_totals(totals[named.run.id]))
                for named in page
            ],
            "total": total,
            "limit": limit,
            "offset": offset,
            "has_more": next_ is not None,
            "next": next_,
        }
    )


def _trace_run(named: NamedRun, events: Mapping[int, RecordedEvent], addresses: Addresses) -> dict[str, Any]:
    run = named.run
    wanted = [position for position in (run.inputs_position, run.outputs_position) if position is not None]
    is_preview = any(position not in events for position in wanted)
    values = (
        {"inputs": run.inputs_preview, "outputs": run.outputs_preview}
        if is_preview
        else {
            "inputs": _at(events, run.inputs_position, "inputs", addresses),
            "outputs": _at(events, run.outputs_position, "outputs", addresses),
        }
    )
    return {
        **_facts(run),
        **values,
        "project_name": named.project_name,
        "tags": tags_of(run),
        "is_root_missing": bool(run.is_placeholder),
        "is_preview": is_preview,
    }


def _trace_totals(totals: Totals) -> dict[str, Any]:
    return {"trace_total_tokens": totals.total_tokens, "trace_total_cost": dollars(totals.total_cost)}


def _at(
    events: Mapping[int, RecordedEvent], position: int | None, name: Literal["inputs", "outputs"], addresses: Addresses
) -> Any:
    if position is None:
        return {} if name == "inputs" else None
    match events[position].body:
        case RunPosted(fields=fields) | RunPatched(fields=fields):
            moved = offloaded(fields.contents).get(name)
            raw: Raw = getattr(fields, name)
            return as_object(name, bytes(raw)) if moved is None else place_of(moved, name, addresses)
        case _:
            return None


def run(
    named: NamedRun,
    record: Record,
    attachments: Iterable[Attachment],
    above: Sequence[RunState],
    addresses: Addresses,
    *,
    words: StatusWords,
    more: Mapping[str, Any],
) -> bytes:
    """One run with all that is known of it. `above` are its ancestors, its parent first; `more` is shown as it is."""
    state = named.run
    members = record.members
    shown: dict[str, Any] = {name: fragment(raw) for name, raw in members.items() if name not in _ANSWERED_OTHERWISE}
    shown |= _facts(state)
    if "name" in members:
        shown["name"] = clean_text(members["name"])
    if "error" in members:
        shown["error"] = clean_text(members["error"]) or None
    if words == "langsmith":
        shown["status"] = state.langsmith_status
    extra: dict[str, Any] = {name: fragment(raw) for name, raw in record.extra.items()}
    if record.metadata:
        extra["metadata"] = {name: fragment(raw) for name, raw in record.metadata.items()}
    shown |= {
        "trace_id": format_id(state.trace_id),
        "parent_run_id": id_text(state.parent_run_id),
        "dotted_order": dotted_order(state, above, members),
        "project_name": named.project_name,
        "session_name": named.project_name,
        "session_id": format_id(state.project_id),
        "inputs": as_object("inputs", members.get("inputs", b"{}")),
        "outputs": as_object("outputs", members["outputs"]) if "outputs" in members else None,
        "tags": texts(members["tags"]) if "tags" in members else [],
        "extra": extra,
        "events": fragment(members.get("events", b"[]")),
        "serialized": fragment(members.get("serialized", b"null")),
        "reference_example_id": id_text(state.reference_example_id),
        "thread_id": state.thread_id,
        "model": state.model,
        "provider": state.provider,
        "prompt_tokens": state.prompt_tokens,
        "completion_tokens": state.completion_tokens,
        "prompt_cost": dollars(state.prompt_cost),
        "completion_cost": dollars(state.completion_cost),
        "first_token_time": time_text(state.first_token_time),
        "version": state.version,
    }
    urls = {f"attachment.{item.name}": attachment(item, addresses) for item in attachments}
    if urls:
        shown["s3_urls"] = urls
    if record.moved:
        places = {name: place_of(place, name, addresses) for name, place in record.moved.items()}
        shown |= {name: place for name, place in places.items() if name not in _NEVER_A_PLACE}
        shown["offloaded"] = places
        if "extra" in places:
            shown["extra"] = {**extra, **places["extra"]}
        if "tags" in places:
            shown["tags"] = tags_of(state)
    return body_of({**shown, **more})


def hierarchy(tree: Tree[Outline]) -> bytes:
    """A trace as a tree, written without recursion: a trace may be 10,000 levels deep."""
    head = {
        "root_run_id": format_id(tree.root.id),
        "total_runs": tree.total_runs,
        "max_depth": tree.max_depth,
    }
    return body_of(head)[:-1] + b',"hierarchy":' + render(tree, _node) + b"}"


def _node(node: Node[Outline]) -> bytes:
    if node.edge is None:
        facts = dict.fromkeys(("start_time", "end_time", "duration_ms", "error", "total_tokens", "total_cost"))
        shown = {"id": format_id(node.id), "name": "", "run_type": "", "status": "running", **facts}
    else:
        shown = _facts(node.edge.payload)
    shown["is_missing"], shown["is_cycle"] = node.missing, node.cycle
    return body_of(shown)


def outline(tree: Tree[Outline]) -> bytes:
    """A trace in columns: one entry for each row of the tree, from the top down; nulls for a run that never came."""
    nodes = [node for node, _ in tree.rows]
    runs: list[Any] = [_NEVER_CAME if node.edge is None else node.edge.payload for node in nodes]
    starts = [run.start_time for run in runs]
    begin = min((start for start in starts if start is not None), default=None)
    spans = zip(starts, [run.end_time for run in runs], strict=True)
    return body_of(
        {
            "root_run_id": format_id(tree.root.id),
            "total_runs": tree.total_runs,
            "max_depth": tree.max_depth,
            "start_time": time_text(begin),
            "cycles": [format_id(node.id) for node in nodes if node.cycle],
            "runs": {
                "id": [format_id(node.id) for node in nodes],
                "level": [level for _, level in tree.rows],
                "name": [run.name for run in runs],
                "run_type": [run.run_type for run in runs],
                "status": [run.status for run in runs],
                "error": [run.error for run in runs],
                "total_tokens": [run.total_tokens for run in runs],
                "start_us": [None if start is None else start - begin for start in starts],
                "duration_us": [None if end is None else max(end - start, 0) for start, end in spans],
                "total_cost": [None if run.total_cost is None else dollars(run.total_cost) for run in runs],
            },
        }
    )


def summary(summary: Summary, *, now: int) -> bytes:
    """The dashboard's numbers."""
    return body_of(
        {
            "stats": {
                "total_runs": summary.total_runs,
                "total_traces": summary.total_traces,
                "recent_runs_24h": summary.recent_runs,
                "status_distribution": summary.statuses,
                "run_type_distribution": summary.run_types,
                "project_distribution": summary.projects,
            },
            "recent_projects": [
                {
                    "name": project.name,
                    "total_runs": project.total_runs,
                    "total_traces": project.total_traces,
                    "last_activity": format_time(project.last_activity),
                }
                for project in summary.recent_projects
            ],
            "timestamp": format_time(now),
        }
    )


def _facts(run: RunState | Outline) -> dict[str, Any]:
    return {
        "id": format_id(run.id),
        "name": run.name,
        "run_type": run.run_type,
        "status": run.status,
        "start_time": format_time(run.start_time),
        "end_time": time_text(run.end_time),
        "duration_ms": None if run.end_time is None else max(run.end_time - run.start_time, 0) // 1000,
        "error": run.error,
        "total_tokens": run.total_tokens,
        "total_cost": dollars(run.total_cost),
    }
