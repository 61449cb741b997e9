"""Traces in the second generation of LangSmith's API: roots with what their whole traces sum up to, and their runs."""

import time
from typing import Annotated, Any, Final

from fastapi import Depends, Query, Request
from fastapi.responses import Response

from events.times import format_time
from projections import details, queries, rollup
from projections.details import Details, Part
from projections.queries import RunQuery
from service.addresses import Site, SitePart
from service.auth import authorise
from service.indexing import IndexingPart
from service.keys import Scope
from service.page_streams import STREAMED, page_response
from service.parts import EnginePart
from service.projects import MOMENT_SCHEMA, Moment
from service.rendering import body_of
from service.routes import LateRouter
from service.run_cursors import place_at, run_cursor
from service.run_fields import V2, document, page_of, parts_of
from service.run_queries import PAGE_BYTES_MAX, condition
from service.run_queries_v2 import Selects, selected_fields
from service.runs import path_id
from service.wire.errors import error_responses
from service.wire.threads import TracePage, TraceRuns, TracesQuery

router = LateRouter(
    prefix="/traces",
    tags=["traces (v2)"],
    dependencies=[Depends(authorise(Scope.READ))],
    responses=error_responses(400, 401, 403, 504),
)

_DAY_US: Final = 86_400_000_000
# The answer has no pages. Large traces have some ten thousand runs.
_RUNS_MAX: Final = 25_000
_AGGREGATES: Final = ("first_token_time", "total_tokens", "total_cost")


@router.post("/query", response_model=TracePage, responses=STREAMED)
async def query_traces(
    asked: TracesQuery, request: Request, engine: EnginePart, site: SitePart, indexing: IndexingPart
) -> Response:
    """The traces of a project, a page at a time, the newest start first; of the last day by default.

    With `Accept: text/event-stream` the page comes as a stream of JSON patches.
    """
    since = asked.min_start_time
    ids = None if asked.trace_ids is None else [path_id("trace", text) for text in asked.trace_ids]
    wanted = RunQuery(
        project_ids=[path_id("project", asked.project_id)],
        only_ids=ids,
        is_root=True,
        start_from=time.time_ns() // 1000 - _DAY_US if since is None and ids is None else since,
        start_to=None if asked.max_start_time is None else asked.max_start_time - 1,
        condition=condition("trace_filter", asked.trace_filter),
        tree_condition=condition("tree_filter", asked.tree_filter),
    )
    after = None if asked.cursor is None else place_at(asked.cursor, is_ascending=False)
    selected = selected_fields(asked.selects)
    own = [name for name in selected if name not in _AGGREGATES]
    summed = [name for name in selected if name in _AGGREGATES]
    parts = parts_of(V2, own) | (Part.TOTALS if summed else Part.ROW)
    async with engine.connect() as connection:
        index = await indexing.index_for(connection, wanted)
        page = await queries.find(connection, wanted, limit=asked.page_size, after=after, index=index)
        told = await details.read(connection, page.runs, parts, bytes_max=PAGE_BYTES_MAX)
        first_tokens = await rollup.first_tokens_of(connection, [run.state.id for run in told]) if summed else {}
    following = page.after(len(told))
    items = [body_of(_trace(run, site, own, summed, first_tokens.get(run.state.id))) for run in told]
    cursor = None if following is None else run_cursor(following, is_ascending=False)
    return page_response(request, items, cursor)


@router.get("/{trace_id}/runs", response_model=TraceRuns)
async def list_runs_of_trace(
    trace_id: str,
    engine: EnginePart,
    site: SitePart,
    project_id: Annotated[str | None, Query(description="Only runs that are in this project.")] = None,
    selects: Selects = None,
    filter: Annotated[
        str | None, Query(description="Only runs that meet this, in LangSmith's filter language.")
    ] = None,
    min_start_time: Annotated[
        Moment, Query(description="Only runs that started then or later.", json_schema_extra=MOMENT_SCHEMA)
    ] = None,
    max_start_time: Annotated[
        Moment, Query(description="Only runs that started then or earlier.", json_schema_extra=MOMENT_SCHEMA)
    ] = None,
) -> Response:
    """The runs of a trace in the order in which they started, with the fields that are selected.

    25,000 runs or 32 MB of payload at most.
    """
    fields = selected_fields(selects)
    wanted = RunQuery(
        trace_id=path_id("trace", trace_id),
        project_ids=None if project_id is None else [path_id("project", project_id)],
        start_from=min_start_time,
        start_to=max_start_time,
        condition=condition("filter", filter),
        is_ascending=True,
    )
    async with engine.connect() as connection:
        page = await queries.find(connection, wanted, limit=_RUNS_MAX)
        told = await details.read(connection, page.runs, parts_of(V2, fields), bytes_max=PAGE_BYTES_MAX)
    return _json({"items": page_of(V2, fields, told, site)})


def _trace(run: Details, site: Site, own: list[str], summed: list[str], first_token: int | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"root_run": document(V2, own, run, site)}
    if summed:
        values = document(V2, summed, run, site)
        if "first_token_time" in values:
            values["first_token_time"] = None if first_token is None else format_time(first_token)
        shown["trace_aggregates"] = values
    return shown


def _json(value: Any) -> Response:
    return Response(body_of(value), media_type="application/json")
