"""Shared traces, for everyone who has the token of one. Nothing but the trace of the shared run is told."""

from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

from fastapi import Depends, HTTPException, Query
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from events.ids import parse_id
from projections import details, feedback, queries, shares, traces
from projections.asof import WholeTrace
from projections.details import Details
from projections.feedback import Wanted
from projections.queries import RunQuery
from service.addresses import SitePart
from service.dashboard import hierarchy_of, outline_of
from service.feedback import shown as shown_feedback
from service.parts import EnginePart
from service.rendering import body_of
from service.routes import LateRouter
from service.run_cursors import place_at, run_cursor
from service.run_fields import V1, V2, document, page_of, parts_of
from service.run_queries import PAGE_BYTES_MAX, PAGE_RUNS_MAX
from service.run_queries_v2 import Selects, Unread, selected_fields
from service.runs import path_id
from service.wire.errors import error_responses
from service.wire.feedback import FeedbackBody
from service.wire.run_queries import QueriedRun, RunsPage, RunV2
from service.wire.runs import RunHierarchyResponse, TraceOutlineResponse
from service.wire.shares import PublicRunsQuery, PublicRunsV2, PublicRunsV2Query

router = LateRouter(prefix="/public/{token}", tags=["public"], responses=error_responses(404, 504))
router_v2 = LateRouter(prefix="/public/{token}", tags=["public (v2)"], responses=error_responses(404, 504))

_TRACE_RUNS_MAX: Final = 1000
_JSON: Final = "application/json"
# Who has one token is not to learn others.
_FIELDS: Final = {name: field for name, field in V1.items() if name != "share_token"}


@dataclass(frozen=True, slots=True)
class Shared:
    """What a token lets everyone read: a run, and its trace."""

    run_id: bytes
    trace_id: bytes


async def shared(token: str, engine: EnginePart) -> Shared:
    """What a token shares. Raises 404 when it shares nothing, or no longer."""
    given = parse_id(token)
    if given is not None:
        async with engine.connect() as connection:
            run_id = await shares.run_of(connection, given)
            trace_id = None if run_id is None else await traces.find_trace_of(connection, run_id)
        if run_id is not None and trace_id is not None:
            return Shared(run_id, trace_id)
    raise HTTPException(404, "Nothing is shared by this token, or no longer.")


SharedPart = Annotated[Shared, Depends(shared)]


@router.get("/run", response_model=QueriedRun)
async def read_shared_run(shared: SharedPart, engine: EnginePart, site: SitePart) -> Response:
    """The run that is shared."""
    async with engine.connect() as connection:
        run = await _read(connection, shared, shared.run_id, _FIELDS)
    return _json(document(_FIELDS, _FIELDS, run, site))


@router.get("/run/{run_id}", response_model=QueriedRun)
async def read_run_of_shared_trace(run_id: str, shared: SharedPart, engine: EnginePart, site: SitePart) -> Response:
    """A run of the trace that is shared."""
    id_ = path_id("run", run_id)
    async with engine.connect() as connection:
        run = await _read(connection, shared, id_, _FIELDS)
    return _json(document(_FIELDS, _FIELDS, run, site))


@router.get("/runs", response_model=list[QueriedRun])
async def list_runs_of_shared_trace(
    shared: SharedPart,
    engine: EnginePart,
    site: SitePart,
    id: Annotated[list[str] | None, Query(description="Only these runs; by default all, 1000 at most.")] = None,
) -> Response:
    """Runs of the trace that is shared, in the order in which they started."""
    ids = None if id is None else [path_id("run", text) for text in id]
    query = RunQuery(trace_id=shared.trace_id, only_ids=ids, is_ascending=True)
    async with engine.connect() as connection:
        page = await queries.find(connection, query, limit=_TRACE_RUNS_MAX)
        told = await details.read(connection, page.runs, parts_of(_FIELDS, _FIELDS), bytes_max=PAGE_BYTES_MAX)
    return _json(page_of(_FIELDS, _FIELDS, told, site))


@router.get("/runsshare_token={garbled}", include_in_schema=False)
async def list_runs_of_shared_trace_for_javascript(
    garbled: str, shared: SharedPart, engine: EnginePart, site: SitePart
) -> Response:
    """The same for the JavaScript SDK, whose `listSharedRuns` leaves out the question mark before the query."""
    ids = parse_qs(garbled).get("id")
    return await list_runs_of_shared_trace(shared, engine, site, ids)


@router.get("/hierarchy", response_model=RunHierarchyResponse)
async def read_shared_trace(shared: SharedPart, engine: EnginePart) -> Response:
    """The trace that is shared, as a tree."""
    async with engine.connect() as connection:
        runs = await traces.runs_of_trace(connection, shared.trace_id)
    return Response(await hierarchy_of(WholeTrace(shared.trace_id, runs)), media_type=_JSON)


@router.get("/outline", response_model=TraceOutlineResponse)
async def read_outline_of_shared_trace(shared: SharedPart, engine: EnginePart) -> Response:
    """The trace that is shared, in columns: one entry a run."""
    async with engine.connect() as connection:
        runs = await traces.runs_of_trace(connection, shared.trace_id)
    return Response(await outline_of(WholeTrace(shared.trace_id, runs)), media_type=_JSON)


@router.post("/runs/query", response_model=RunsPage, responses=error_responses(400))
async def query_runs_of_shared_trace(
    asked: PublicRunsQuery, shared: SharedPart, engine: EnginePart, site: SitePart
) -> Response:
    """Runs of the trace that is shared, a page at a time, in the order in which they started."""
    ids = None if asked.id is None else [path_id("run", text) for text in asked.id]
    after = None if asked.cursor is None else place_at(asked.cursor, is_ascending=True)
    query = RunQuery(trace_id=shared.trace_id, only_ids=ids, is_ascending=True)
    limit = min(asked.limit or PAGE_RUNS_MAX, PAGE_RUNS_MAX)
    async with engine.connect() as connection:
        page = await queries.find(connection, query, limit=limit, after=after)
        told = await details.read(connection, page.runs, parts_of(_FIELDS, _FIELDS), bytes_max=PAGE_BYTES_MAX)
    following = page.after(len(told))
    cursor = None if following is None else run_cursor(following, is_ascending=True)
    body = {
        "runs": page_of(_FIELDS, _FIELDS, told, site),
        "cursors": {"next": cursor, "prev": None},
        "search_cursors": None,
        "parsed_query": None,
    }
    return _json(body)


@router.get("/feedbacks", response_model=list[FeedbackBody])
async def list_feedback_of_shared_trace(
    shared: SharedPart,
    engine: EnginePart,
    run: Annotated[list[str] | None, Query(description="Only feedback on these runs of the trace.")] = None,
    key: Annotated[list[str] | None, Query(description="Only feedback with these keys.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
    offset: Annotated[int, Query(ge=0, le=2**62, description="How many to skip.")] = 0,
) -> Response:
    """Feedback on the runs of the trace that is shared, the newest first."""
    wanted = Wanted(run_ids=[path_id("run", text) for text in run or ()], keys=key or (), on_runs_of=shared.trace_id)
    async with engine.connect() as connection:
        found = await feedback.find(connection, wanted, limit=limit, offset=offset)
    return _json([shown_feedback(one) for one in found])


@router_v2.get("/run/{run_id}", response_model=RunV2, responses=error_responses(400))
async def read_run_of_shared_trace_v2(
    run_id: str,
    shared: SharedPart,
    engine: EnginePart,
    site: SitePart,
    selects: Selects = None,
    start_time: Unread = None,
) -> Response:
    """A run of the trace that is shared, with the fields that are selected."""
    id_, fields = path_id("run", run_id), selected_fields(selects)
    async with engine.connect() as connection:
        run = await _read(connection, shared, id_, fields)
    return _json(document(V2, fields, run, site))


@router_v2.post("/runs/query", response_model=PublicRunsV2, responses=error_responses(400))
async def query_runs_of_shared_trace_v2(
    asked: PublicRunsV2Query, shared: SharedPart, engine: EnginePart, site: SitePart
) -> Response:
    """The runs of the trace that is shared, in the order in which they started, with the fields that are selected."""
    fields = selected_fields(asked.selects)
    query = RunQuery(trace_id=shared.trace_id, is_ascending=True)
    async with engine.connect() as connection:
        page = await queries.find(connection, query, limit=_TRACE_RUNS_MAX)
        told = await details.read(connection, page.runs, parts_of(V2, fields), bytes_max=PAGE_BYTES_MAX)
    return _json({"items": page_of(V2, fields, told, site)})


async def _read(connection: AsyncConnection, shared: Shared, run_id: bytes, fields: Any) -> Details:
    query = RunQuery(trace_id=shared.trace_id, only_ids=[run_id])
    page = await queries.find(connection, query, limit=1)
    parts = parts_of(_FIELDS if fields is _FIELDS else V2, fields)
    told = await details.read(connection, page.runs, parts, bytes_max=PAGE_BYTES_MAX)
    if not told:
        raise HTTPException(404, "There is no such run in the trace that is shared.")
    return told[0]


def _json(value: Any) -> Response:
    return Response(body_of(value), media_type=_JSON)
