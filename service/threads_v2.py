"""Threads in the second generation of LangSmith's API: conversations, their turns, and their totals."""

import base64
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any, Final

from fastapi import Depends, HTTPException, Query, Request
from fastapi.responses import Response

from events.ids import format_id
from events.times import format_time
from projections import details, queries, sketch, summing, threads
from projections.details import Details
from projections.filters.conditions import EVERYTHING, FIELDS, All, Condition, OneOf
from projections.queries import RunQuery
from projections.summing import Conversation, Sums
from projections.threads import ThreadPlace, Window
from projections.words import WORD_CHARS_MAX, column_text
from service.addresses import Site, SitePart
from service.auth import authorise
from service.cursors import InvalidCursor
from service.keys import Scope
from service.page_streams import STREAMED, page_response
from service.parts import EnginePart
from service.rendering import body_of
from service.routes import LateRouter
from service.run_cursors import place_at, run_cursor
from service.run_fields import V2, document, parts_of
from service.run_queries import PAGE_BYTES_MAX, condition
from service.runs import path_id
from service.wire.errors import error_responses
from service.wire.threads import (
    ThreadBody,
    ThreadPage,
    ThreadsQuery,
    ThreadsStats,
    ThreadsStatsQuery,
    ThreadStatsBody,
    ThreadTracePage,
)

router = LateRouter(
    prefix="/threads",
    tags=["threads"],
    dependencies=[Depends(authorise(Scope.READ))],
    responses=error_responses(400, 401, 403, 504),
)

ProjectId = Annotated[str, Query(description="The project that the thread is in.")]
Filter = Annotated[str | None, Query(description="Only traces whose root meets this, in LangSmith's filter language.")]
TRACE_FIELDS: Final = (
    *("THREAD_ID", "TRACE_ID", "OP", "PROMPT_TOKENS", "COMPLETION_TOKENS", "TOTAL_TOKENS", "START_TIME", "END_TIME"),
    *("LATENCY", "FIRST_TOKEN_TIME", "INPUTS_PREVIEW", "OUTPUTS_PREVIEW", "INPUTS", "OUTPUTS", "ERROR", "NAME"),
    *("PROMPT_COST", "COMPLETION_COST", "TOTAL_COST", "PROMPT_TOKEN_DETAILS", "COMPLETION_TOKEN_DETAILS"),
    *("PROMPT_COST_DETAILS", "COMPLETION_COST_DETAILS", "ERROR_PREVIEW", "TURN_NUMBER"),
)
_DAY_US: Final = 86_400_000_000
_DOLLAR: Final = 10**12
_SECOND_US: Final = 1_000_000
# Of a thread's trace, the field of its root where that is called otherwise.
_ROOT_FIELD: Final = {"latency": "latency_seconds"}
_OF_THREAD: Final = frozenset({"trace_id", "thread_id", "op", "turn_number"})


@router.post("/query", response_model=ThreadPage, responses=STREAMED)
async def query_threads(asked: ThreadsQuery, request: Request, engine: EnginePart) -> Response:
    """The threads of a project, a page at a time, those with the newest trace first; of the last day by default.

    With `Accept: text/event-stream` the page comes as a stream of JSON patches.
    """
    window = _window(asked)
    after = None if asked.cursor is None else _place(asked.cursor)
    wanted = _run_query(asked, window)
    async with engine.connect() as connection:
        if _is_filtered(wanted):
            found, _ = await summing.conversations(connection, wanted, limit=2**31, offset=0)
            rest = [one for one in found if after is None or _standing(one) < after]
            rest.sort(key=_standing, reverse=True)
            page = rest[: asked.page_size + 1]
        else:
            places = await threads.newest(connection, window, limit=asked.page_size + 1, after=after)
            told = await threads.summed_up(connection, window, [place.thread_id for place in places])
            page = [told[place.thread_id] for place in places if place.thread_id in told]
    shown, has_more = page[: asked.page_size], len(page) > asked.page_size
    items = [body_of(_shown(one).model_dump()) for one in shown]
    return page_response(request, items, _cursor(_standing(shown[-1])) if has_more else None)


@router.post("/stats")
async def sum_up_threads(asked: ThreadsStatsQuery, engine: EnginePart) -> ThreadsStats:
    """The threads of a project summed up; of the last day by default."""
    window = _window(asked)
    wanted = _run_query(asked, window)
    async with engine.connect() as connection:
        if _is_filtered(wanted):
            _, number = await summing.conversations(connection, wanted, limit=0, offset=0)
        else:
            number = await threads.count(connection, window)
        sums = await summing.sum_up(connection, replace(wanted, condition=All((_THREADED, wanted.condition))))
    told = _stats_of(sums) | {"thread_count": number, "trace_count": sums.runs}
    selected = {_STATS_FIELD.get(name, name.lower()) for name in asked.select}
    return ThreadsStats(**{name: value for name, value in told.items() if name in selected})


@router.get("/{thread_id}/traces", response_model=ThreadTracePage)
async def list_traces_of_thread(
    thread_id: str,
    engine: EnginePart,
    site: SitePart,
    project_id: ProjectId,
    selects: Annotated[
        list[str] | None, Query(description="The fields wanted, in upper case; only `TRACE_ID` by default.")
    ] = None,
    filter: Filter = None,
    trace_filter: Filter = None,
    tree_filter: Annotated[str | None, Query(description="The same about any run of the trace.")] = None,
    page_size: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 20,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
) -> Response:
    """The traces of a thread, its turns, in the order in which they started."""
    project, thread = path_id("project", project_id), _thread(thread_id)
    wanted = RunQuery(
        project_ids=[project],
        is_root=True,
        condition=_all(_is_in(thread), condition("filter", filter), condition("trace_filter", trace_filter)),
        tree_condition=condition("tree_filter", tree_filter),
        is_ascending=True,
    )
    names = _names(selects)
    fields = [_ROOT_FIELD.get(name, name) for name in names if name not in _OF_THREAD]
    after = None if cursor is None else place_at(cursor, is_ascending=True)
    async with engine.connect() as connection:
        page = await queries.find(connection, wanted, limit=page_size, after=after)
        told = await details.read(connection, page.runs, parts_of(V2, fields), bytes_max=PAGE_BYTES_MAX)
        turns = await threads.turns(connection, project, thread) if "turn_number" in names else {}
    following = page.after(len(told))
    items = [_trace(run, site, names, turns.get(run.state.id)) for run in told]
    next_cursor = None if following is None else run_cursor(following, is_ascending=True)
    return _json({"items": items, "next_cursor": next_cursor})


@router.get("/{thread_id}/stats", responses=error_responses(404))
async def read_thread_stats(
    thread_id: str,
    engine: EnginePart,
    session_id: Annotated[str | None, Query(description="The project that the thread is in.")] = None,
    project_id: Annotated[str | None, Query(description="The same as `session_id`.")] = None,
    selects: Annotated[list[str] | None, Query(description="The statistics wanted; all by default.")] = None,
    filter: Filter = None,
) -> ThreadStatsBody:
    """A thread summed up: its turns, their tokens and cost, and the feedback on them."""
    named = session_id or project_id
    if named is None:
        raise HTTPException(422, "expected session_id in the query: the id of the project that the thread is in")
    project, thread = path_id("project", named), _thread(thread_id)
    asked = condition("filter", filter)
    async with engine.connect() as connection:
        if asked == EVERYTHING:
            found = (await threads.summed_up(connection, Window(project), [thread])).get(thread)
        else:
            wanted = RunQuery(project_ids=[project], condition=_all(_is_in(thread), asked))
            found = next(iter((await summing.conversations(connection, wanted, limit=1, offset=0))[0]), None)
        ends = await threads.last_end(connection, project, thread)
    if found is None:
        raise HTTPException(404, f"There is no thread {thread_id!r} in project {named}, or no such trace in it.")
    return _summed_up(found, ends, selects)


def _summed_up(one: Conversation, ends: int | None, selects: Sequence[str] | None) -> ThreadStatsBody:
    told = _stats_of(one.sums) | {
        "turns": one.sums.runs,
        "first_start_time": format_time(one.first.start_time),
        "last_start_time": format_time(one.last.start_time),
        "last_end_time": None if ends is None else format_time(ends),
    }
    wanted = None if selects is None else {_STATS_FIELD.get(name, name.lower()) for name in selects}
    return ThreadStatsBody(**{name: value for name, value in told.items() if wanted is None or name in wanted})


# --- queries ----------------------------------------------------------------------------------------------------------

_THREADED: Final = summing.THREADED


def _window(asked: ThreadsQuery | ThreadsStatsQuery) -> Window:
    since = asked.min_start_time
    since = time.time_ns() // 1000 - _DAY_US if since is None else since
    project_id = path_id("project", asked.project_id)
    return Window(project_id, since, asked.max_start_time)


def _run_query(asked: ThreadsQuery | ThreadsStatsQuery, window: Window) -> RunQuery:
    """The roots that are asked for, of whatever thread."""
    return RunQuery(
        project_ids=[window.project_id],
        is_root=True,
        start_from=window.start_from,
        start_to=None if window.start_before is None else window.start_before - 1,
        condition=condition("filter", asked.filter),
        trace_condition=condition("trace_filter", asked.trace_filter),
        tree_condition=condition("tree_filter", asked.tree_filter),
    )


def _is_filtered(wanted: RunQuery) -> bool:
    return {wanted.condition, wanted.trace_condition, wanted.tree_condition} != {EVERYTHING}


def _is_in(thread_id: str) -> Condition:
    return OneOf(FIELDS["thread_id"], (thread_id,))


def _all(*conditions: Condition) -> Condition:
    return All(tuple(one for one in conditions if one != EVERYTHING))


def _names(selects: Sequence[str] | None) -> list[str]:
    """The fields of a thread's trace that are selected. Raises 422 when one is unknown."""
    unknown = [name for name in selects or () if name.upper() not in TRACE_FIELDS]
    if unknown:
        raise HTTPException(422, f"{unknown[0]!r} is no field of a trace: expected one of {', '.join(TRACE_FIELDS)}.")
    return [name.lower() for name in selects or ()]


def _thread(thread_id: str) -> str:
    """The id of a thread as it is kept."""
    return column_text(thread_id, WORD_CHARS_MAX)


# --- answers ----------------------------------------------------------------------------------------------------------

_STATS_FIELD: Final = {
    "LATENCY_P50": "latency_p50_seconds",
    "LATENCY_P99": "latency_p99_seconds",
    "FIRST_TOKEN_P50": "first_token_p50_seconds",
    "FIRST_TOKEN_P99": "first_token_p99_seconds",
    "THREAD_FEEDBACK_STATS": "feedback_stats",
}


def _shown(one: Conversation) -> ThreadBody:
    stats = _stats_of(one.sums)
    return ThreadBody(
        thread_id=one.thread_id,
        count=one.sums.runs,
        num_errored_turns=one.sums.errors,
        trace_id=format_id(one.last.trace_id),
        first_trace_id=format_id(one.first.trace_id),
        last_trace_id=format_id(one.last.trace_id),
        start_time=format_time(one.last.start_time),
        min_start_time=format_time(one.first.start_time),
        max_start_time=format_time(one.last.start_time),
        first_inputs=one.first.inputs_preview,
        last_outputs=one.last.outputs_preview,
        last_error=one.last.error,
        latency_p50=stats["latency_p50_seconds"],
        latency_p99=stats["latency_p99_seconds"],
        total_tokens=stats["total_tokens"],
        total_cost=stats["total_cost"],
        feedback_stats=stats["feedback_stats"],
    )


def _stats_of(sums: Sums) -> dict[str, Any]:
    totals = sums.totals
    amounts = {f"{name}_tokens": getattr(totals, f"{name}_tokens") or 0 for name in ("prompt", "completion", "total")}
    costs = {f"{name}_cost": _dollars(getattr(totals, f"{name}_cost")) for name in ("prompt", "completion", "total")}
    return {
        **amounts,
        **costs,
        "error_rate": sums.errors / sums.runs if sums.runs else None,
        "streaming_rate": sketch.total(sums.first_tokens) / sums.runs if sums.runs else None,
        "median_tokens": sketch.quantile(sums.tokens, 0.5),
        "latency_p50_seconds": _seconds(sums.latencies, 0.5),
        "latency_p99_seconds": _seconds(sums.latencies, 0.99),
        "first_token_p50_seconds": _seconds(sums.first_tokens, 0.5),
        "first_token_p99_seconds": _seconds(sums.first_tokens, 0.99),
        "feedback_stats": {key: asdict(stats) for key, stats in sums.feedback.stats().items()} or None,
    }


def _trace(run: Details, site: Site, names: list[str], turn: int | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"trace_id": format_id(run.state.trace_id)}
    own = {"thread_id": run.state.thread_id, "op": None, "turn_number": turn}
    for name in names:
        if name in own:
            shown[name] = own[name]
        elif name != "trace_id":
            field = _ROOT_FIELD.get(name, name)
            shown[name] = document(V2, [field], run, site)[field]
    return shown


def _dollars(picodollars: int | None) -> float | None:
    return None if picodollars is None else picodollars / _DOLLAR


def _seconds(durations: dict[int, int], quantile: float) -> float | None:
    us = sketch.quantile(durations, quantile)
    return None if us is None else us / _SECOND_US


def _standing(one: Conversation) -> ThreadPlace:
    return ThreadPlace(one.last.start_time, one.thread_id)


def _cursor(place: ThreadPlace) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _place(cursor: str) -> ThreadPlace:
    """The place that a cursor names. Raises `InvalidCursor`."""
    try:
        match json.loads(base64.b64decode(cursor.encode(), b"-_", validate=True)):
            case [int(start), str(thread_id)] if abs(start) < 2**62 and "\0" not in thread_id:
                return ThreadPlace(start, thread_id.encode("utf-8", "replace").decode())
    except (ValueError, RecursionError):
        pass
    raise InvalidCursor(f"{cursor!r} is no cursor of threads: give one that an earlier answer gave")


def _json(value: Any) -> Response:
    return Response(body_of(value), media_type="application/json")
