"""Queries of runs, in the first generation of LangSmith's API: pages of them, sums, and conversations."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from fastapi import Depends
from fastapi.responses import Response

from events.times import format_time
from projections import details, queries, sketch, summing
from projections.filters import reading
from projections.filters.conditions import EVERYTHING, FIELDS, SEARCHED, All, Condition, OneOf, Search
from projections.filters.syntax import InvalidFilter
from projections.queries import RunQuery
from projections.summing import Conversation, Sums
from service.addresses import SitePart
from service.auth import authorise
from service.indexing import IndexingPart
from service.keys import Scope
from service.parts import EnginePart
from service.rendering import body_of
from service.routes import LateRouter
from service.run_cursors import place_at, run_cursor
from service.run_fields import V1, V1_ALL, V1_ALWAYS, page_of, parts_of
from service.values import dollars
from service.wire.errors import error_responses
from service.wire.run_queries import GroupsQuery, RunFilters, RunGroups, RunsPage, RunsQuery, RunStats, StatsQuery

router = LateRouter(
    prefix="/runs",
    tags=["runs"],
    dependencies=[Depends(authorise(Scope.READ))],
    responses=error_responses(400, 401, 403, 504),
)

PAGE_RUNS_MAX: Final = 100
PAGE_BYTES_MAX: Final = 32 * 1024 * 1024
_US_PER_S: Final = 1_000_000


def condition(name: str, text: str | None) -> Condition:
    """The condition that a member of a query states; one that always holds when it states none."""
    if text is None or not text.strip():
        return EVERYTHING
    try:
        return reading.read(text)
    except InvalidFilter as error:
        raise InvalidFilter(error.text, error.position, error.expected, name) from None


def _run_query(asked: RunFilters, *, is_ascending: bool = False) -> RunQuery:
    return RunQuery(
        ids=asked.id,
        project_ids=asked.session or None,
        trace_id=asked.trace,
        parent_run_id=asked.parent_run,
        run_type=asked.run_type,
        reference_example_ids=asked.reference_example,
        # Said twice, because the index of roots is used for this one.
        is_root=True if asked.is_root is None and asked.execution_order == 1 else asked.is_root,
        has_error=asked.error,
        start_from=asked.start_time,
        start_to=asked.end_time,
        condition=_together(_about_the_run(asked)),
        trace_condition=condition("trace_filter", asked.trace_filter),
        tree_condition=condition("tree_filter", asked.tree_filter),
        is_ascending=is_ascending,
    )


def _about_the_run(asked: RunFilters) -> Iterator[Condition]:
    yield condition("filter", asked.filter)
    yield condition("search_filter", asked.search_filter)
    if asked.query:
        yield Search(SEARCHED, asked.query)
    if asked.execution_order is not None:
        yield OneOf(FIELDS["execution_order"], (asked.execution_order,))


def _together(conditions: Iterator[Condition]) -> Condition:
    stated = tuple(one for one in conditions if one != EVERYTHING)
    return stated[0] if len(stated) == 1 else All(stated)


@router.post("/query", response_model=RunsPage)
async def query_runs(asked: RunsQuery, engine: EnginePart, site: SitePart, indexing: IndexingPart) -> Response:
    """Runs, a page at a time, the newest start first: neither skipped nor told twice while others come in."""
    is_ascending = asked.order == "asc"
    query = _run_query(asked, is_ascending=is_ascending)
    after = None if asked.cursor is None else place_at(asked.cursor, is_ascending=is_ascending)
    selected = dict.fromkeys((*V1_ALWAYS, *(name for name in asked.select or V1_ALL if name in V1)))
    limit = min(asked.limit or PAGE_RUNS_MAX, PAGE_RUNS_MAX)
    async with engine.connect() as connection:
        index = await indexing.index_for(connection, query)
        page = await queries.find(connection, query, limit=limit, after=after, index=index)
        parts = parts_of(V1, selected)
        told = await details.read(connection, page.runs, parts, bytes_max=PAGE_BYTES_MAX)
    following = page.after(len(told))
    cursor = None if following is None or asked.skip_pagination else run_cursor(following, is_ascending=is_ascending)
    body = {
        "runs": page_of(V1, selected, told, site),
        "cursors": {"next": cursor, "prev": None},
        "search_cursors": None,
        "parsed_query": None,
    }
    return Response(body_of(body), media_type="application/json")


@router.post("/stats")
async def sum_up_runs(asked: StatsQuery, engine: EnginePart, indexing: IndexingPart) -> RunStats:
    """Counts, sums and percentiles of the runs that are asked for."""
    query = _run_query(asked)
    async with engine.connect() as connection:
        sums = await summing.sum_up(connection, query, index=await indexing.index_for(connection, query))
    return _stats(sums)


@router.post("/group")
async def group_runs(asked: GroupsQuery, engine: EnginePart, indexing: IndexingPart) -> RunGroups:
    """The conversations of a project, those with the newest trace first."""
    query = RunQuery(
        project_ids=[asked.session_id],
        start_from=asked.start_time,
        start_to=asked.end_time,
        condition=condition("filter", asked.filter),
    )
    async with engine.connect() as connection:
        index = await indexing.index_for(connection, query)
        found, total = await summing.conversations(
            connection, query, limit=asked.limit, offset=asked.offset, index=index
        )
    return RunGroups.model_validate({"groups": [_group(one) for one in found], "total": total})


def _stats(sums: Sums) -> RunStats:
    totals = sums.totals
    return RunStats(
        run_count=sums.runs,
        latency_p50=_seconds(sums.latencies, 0.5),
        latency_p99=_seconds(sums.latencies, 0.99),
        first_token_p50=_seconds(sums.first_tokens, 0.5),
        first_token_p99=_seconds(sums.first_tokens, 0.99),
        total_tokens=totals.total_tokens or 0,
        prompt_tokens=totals.prompt_tokens or 0,
        completion_tokens=totals.completion_tokens or 0,
        median_tokens=sketch.quantile(sums.tokens, 0.5),
        total_cost=dollars(totals.total_cost),
        prompt_cost=dollars(totals.prompt_cost),
        completion_cost=dollars(totals.completion_cost),
        error_rate=sums.errors / sums.runs if sums.runs else None,
        streaming_rate=sketch.total(sums.first_tokens) / sums.runs if sums.runs else None,
        last_run_start_time=None if sums.last_start is None else format_time(sums.last_start),
        feedback_stats=_feedback(sums),
        run_facets=[],
    )


def _group(one: Conversation) -> dict[str, Any]:
    return {
        "thread_id": one.thread_id,
        "group_key": one.thread_id,
        "filter": f"eq(thread_id, {json.dumps(one.thread_id, ensure_ascii=False)})",
        "count": one.sums.runs,
        "total_tokens": one.sums.totals.total_tokens or 0,
        "total_cost": dollars(one.sums.totals.total_cost),
        "min_start_time": format_time(one.first.start_time),
        "max_start_time": format_time(one.last.start_time),
        "latency_p50": _seconds(one.sums.latencies, 0.5),
        "latency_p99": _seconds(one.sums.latencies, 0.99),
        "feedback_stats": _feedback(one.sums) or None,
        "first_inputs": one.first.inputs_preview,
        "last_outputs": one.last.outputs_preview,
        "last_error": one.last.error,
    }


def _feedback(sums: Sums) -> dict[str, Any]:
    return {key: asdict(stats) for key, stats in sums.feedback.stats().items()}


def _seconds(durations: dict[int, int], quantile: float) -> float | None:
    us = sketch.quantile(durations, quantile)
    return None if us is None else us / _US_PER_S
