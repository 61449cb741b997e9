"""Runs in the second generation of LangSmith's API."""

import time
from collections.abc import Iterable
from typing import Annotated, Any, Final

from fastapi import Depends, HTTPException, Query, Request
from fastapi.responses import Response

from projections import details, queries
from projections.details import Details, Part
from projections.queries import RunQuery
from service.addresses import SitePart
from service.auth import authorise
from service.indexing import IndexingPart
from service.keys import Scope
from service.page_streams import STREAMED, page_response
from service.parts import EnginePart
from service.rendering import body_of
from service.routes import LateRouter
from service.run_cursors import place_at, run_cursor
from service.run_fields import V2, app_path, document, parts_of, written
from service.run_queries import PAGE_BYTES_MAX, condition
from service.runs import path_id
from service.wire.errors import error_responses
from service.wire.run_queries import RunsPageV2, RunsQueryV2, RunUrl, RunV2

router = LateRouter(
    prefix="/runs",
    tags=["runs, second generation"],
    dependencies=[Depends(authorise(Scope.READ))],
    responses=error_responses(400, 401, 403, 504),
)

_DAY_US: Final = 86_400_000_000
_UNSELECTED: Final = ("id",)

Selects = Annotated[
    list[str] | None, Query(description="The fields wanted, in upper case; only the id by default.", max_length=100)
]
Unread = Annotated[str | None, Query(description="Not needed here: a run is found by its id.")]


def selected_fields(selects: Iterable[str] | None) -> dict[str, None]:
    """The fields that are selected. Raises 422 when one is unknown."""
    names = [name.lower() for name in selects or ()]
    unknown = [name for name in names if name not in V2]
    if unknown:
        known = ", ".join(name.upper() for name in V2)
        raise HTTPException(422, f"{unknown[0].upper()!r} is no field of a run: expected one of {known}.")
    return dict.fromkeys((*_UNSELECTED, *names))


def _run_query(asked: RunsQueryV2) -> RunQuery:
    since = asked.min_start_time
    if since is None and asked.ids is None:
        since = time.time_ns() // 1000 - _DAY_US
    return RunQuery(
        # Of a dataset that is not there no run is on any example.
        project_ids=asked.project_ids if asked.reference_dataset_id is None else [],
        trace_id=asked.trace_id,
        run_type=None if asked.run_type is None else asked.run_type.lower(),
        reference_example_ids=asked.reference_examples,
        is_root=asked.is_root,
        has_error=asked.has_error,
        start_from=since,
        start_to=asked.max_start_time,
        condition=condition("filter", asked.filter),
        trace_condition=condition("trace_filter", asked.trace_filter),
        tree_condition=condition("tree_filter", asked.tree_filter),
        only_ids=asked.ids,
    )


@router.post("/query", response_model=RunsPageV2, responses=STREAMED)
async def query_runs_v2(
    asked: RunsQueryV2, request: Request, engine: EnginePart, site: SitePart, indexing: IndexingPart
) -> Response:
    """Runs, a page at a time, the newest start first, with the fields that are selected.

    With `Accept: text/event-stream` the page comes as a stream of JSON patches.
    """
    query = _run_query(asked)
    after = None if asked.cursor is None else place_at(asked.cursor, is_ascending=False)
    selected = selected_fields(asked.selects)
    parts = parts_of(V2, selected)
    if not asked.include_subtree_usage:
        parts &= ~Part.TOTALS
    async with engine.connect() as connection:
        index = await indexing.index_for(connection, query)
        page = await queries.find(connection, query, limit=asked.page_size, after=after, index=index)
        told = await details.read(connection, page.runs, parts, bytes_max=PAGE_BYTES_MAX)
    following = page.after(len(told))
    cursor = None if following is None else run_cursor(following, is_ascending=False)
    return page_response(request, written(V2, selected, told, site), cursor)


@router.get("/{run_id}", response_model=RunV2, responses=error_responses(404))
async def read_run_v2(
    run_id: str,
    engine: EnginePart,
    site: SitePart,
    selects: Selects = None,
    project_id: Unread = None,
    start_time: Unread = None,
) -> Response:
    """One run with the fields that are selected."""
    selected = selected_fields(selects)
    run = await _read(run_id, engine, parts_of(V2, selected))
    return _json(document(V2, selected, run, site))


@router.get("/{run_id}/url", responses=error_responses(404))
async def read_run_url(
    run_id: str,
    engine: EnginePart,
    site: SitePart,
    project_id: Annotated[str | None, Query(description="The project of a run that is not there yet.")] = None,
    trace_id: Annotated[str | None, Query(description="The trace of a run that is not there yet.")] = None,
    start_time: Unread = None,
) -> RunUrl:
    """Where a run is shown. One that is still on its way will be shown in the project and trace that are given."""
    id_ = path_id("run", run_id)
    async with engine.connect() as connection:
        found = (await queries.find(connection, RunQuery(ids=[id_]), limit=1)).runs
    if found:
        return RunUrl(url=site.addresses.origin + app_path(site, found[0].project_id, id_, found[0].trace_id))
    if project_id is None or trace_id is None:
        raise HTTPException(404, f"There is no run {run_id}, and no project_id and trace_id say where it will be.")
    path = app_path(site, path_id("project", project_id), id_, path_id("trace", trace_id))
    return RunUrl(url=site.addresses.origin + path)


async def _read(run_id: str, engine: EnginePart, parts: Part) -> Details:
    id_ = path_id("run", run_id)
    async with engine.connect() as connection:
        page = await queries.find(connection, RunQuery(ids=[id_]), limit=1)
        told = await details.read(connection, page.runs, parts, bytes_max=PAGE_BYTES_MAX)
    if not told:
        raise HTTPException(404, f"There is no run {run_id}.")
    return told[0]


def _json(value: Any) -> Response:
    return Response(body_of(value), media_type="application/json")
