"""What the dashboard reads: the list of traces, a trace as a tree, and the numbers."""

import asyncio
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response
from pydantic import BeforeValidator
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import log
from events.ids import format_id
from events.kinds import run_stream, trace_stream
from events.times import parse_time
from projections import asof, projects, rollup, stats, trace_search, traces
from projections.asof import WholeTrace
from projections.status import Status, status_filter
from projections.traces import Filters, NamedRun, Outline, Place
from projections.trees import Edge, Tree, build, subtree
from service import etags, rendering
from service.addresses import AddressesPart
from service.asof import Moment, MomentPart
from service.auth import authorise
from service.cursors import cursor_of_place, place_of
from service.indexing import Indexing, IndexingPart
from service.keys import Scope
from service.parameters import KNOWN_PARAMETERS_ONLY
from service.parts import EnginePart, SettingsPart
from service.runs import absence, path_id
from service.settings import Settings
from service.wire.errors import NOT_MODIFIED, error_responses
from service.wire.runs import RootRunsResponse, RunHierarchyResponse, StatsSummaryResponse, TraceOutlineResponse

router = APIRouter(
    prefix="/dashboard",
    tags=["dashboard"],
    dependencies=[Depends(authorise(Scope.READ)), KNOWN_PARAMETERS_ONLY],
    responses=error_responses(401, 403, 504),
)

PAGE_BYTES_MAX: Final = 32 * 1024 * 1024
RECENT_PROJECTS_MAX: Final = 10
# Rendering more takes longer than others should have to wait.
IN_LOOP_RUNS_MAX: Final = 200
IN_LOOP_BYTES_MAX: Final = 256 * 1024
_ZONE_AFTER_SPACE: Final = re.compile(r" (\d\d:?\d\d)$")


def _absent_if_empty(value: Any) -> Any:
    return None if value == "" else value


def _time(value: Any) -> Any:
    """A time in microseconds. The plus of a zone that was not escaped arrives as a space."""
    if value in (None, ""):
        return None
    us = parse_time(_ZONE_AFTER_SPACE.sub(r"+\1", value)) if isinstance(value, str) else None
    if us is None:
        raise ValueError("expected a time such as 2024-01-15T10:30:00Z")
    return us


def _status(value: Any) -> Any:
    if value in (None, ""):
        return None
    status = status_filter(value) if isinstance(value, str) else None
    if status is None:
        raise ValueError("expected running, completed or failed (or pending, success or error)")
    return status


T = TypeVar("T")
Text = Annotated[str | None, BeforeValidator(_absent_if_empty)]
StatusWord = Annotated[Status | None, BeforeValidator(_status)]
Time = Annotated[int | None, BeforeValidator(_time)]
TIME_SCHEMA: Final[dict[str, Any]] = {"type": "string", "format": "date-time"}


@router.get("/runs/roots", response_model=RootRunsResponse)
async def read_roots(
    engine: EnginePart,
    addresses: AddressesPart,
    indexing: IndexingPart,
    project: Annotated[Text, Query(description="Only this project, by its exact name.")] = None,
    project_name: Annotated[Text, Query(description="The same as `project`.")] = None,
    status: Annotated[StatusWord, Query(description="Only running, completed or failed traces.")] = None,
    search: Annotated[
        Text, Query(description="Only traces whose name holds this text, upper or lower case, in any script.")
    ] = None,
    search_in: Annotated[
        Literal["name", "all"],
        BeforeValidator(lambda v: "name" if v == "" else v),
        Query(description="`all`: traces with a run whose name, error, inputs or outputs hold the text."),
    ] = "name",
    start_time_gte: Annotated[
        Time, Query(description="Only traces that started then or later.", json_schema_extra=TIME_SCHEMA)
    ] = None,
    start_time_lte: Annotated[
        Time, Query(description="Only traces that started then or earlier.", json_schema_extra=TIME_SCHEMA)
    ] = None,
    limit: Annotated[
        int, BeforeValidator(lambda v: 50 if v == "" else v), Query(ge=1, le=1000, description="How many at most.")
    ] = 50,
    offset: Annotated[
        int,
        BeforeValidator(lambda v: 0 if v == "" else v),
        Query(ge=0, le=2**62, description="How many to skip. Not with `search_in=all`."),
    ] = 0,
    after: Annotated[
        Text, Query(description="Only traces after this cursor, which an earlier answer gave as `next`.")
    ] = None,
    preview: Annotated[
        bool,
        BeforeValidator(lambda v: False if v == "" else v),
        Query(description="Previews instead of whole inputs and outputs."),
    ] = False,
    trace_totals: Annotated[
        bool,
        BeforeValidator(lambda v: False if v == "" else v),
        Query(description="Also tokens and cost of each whole trace, every call of a model counted once."),
    ] = False,
) -> Response:
    """Traces, the newest start first. Beyond 32 MB of inputs and outputs a page gives previews, marked so.

    Pages by `after` neither skip nor repeat a trace when others come meanwhile, and the last costs what the first does.
    With `search_in=all` there is no total, and a page that took long may hold fewer traces than there are, or none: go
    on by `after` as long as there is a `next`. An `offset` is refused.
    """
    place = None if after is None else place_of(after)
    is_in_all = search is not None and search_in == "all"
    if is_in_all and offset:
        # What an earlier page did not come to within its time would be skipped.
        raise HTTPException(422, f"offset is {offset}: a search in all texts goes on by the cursor after")
    async with engine.connect() as connection:
        names = [name for name in (project, project_name) if name is not None]
        filters = Filters(
            project_ids=await projects.ids_of(connection, names) if names else None,
            status=status,
            search=search,
            start_from=start_time_gte,
            start_to=start_time_lte,
        )
        look = partial(_search, indexing=indexing) if is_in_all else partial(_list, offset=offset)
        page, total, following = await look(connection, filters, limit=limit, after=place)
        events = {} if preview else await log.read_at(connection, _positions(page), bytes_max=PAGE_BYTES_MAX)
        totals = await rollup.totals_of(connection, [named.run for named in page]) if trace_totals else None
    next_ = None if following is None else cursor_of_place(following)

    def render() -> bytes:
        return rendering.root_runs(
            page, events, addresses, totals, total=total, limit=limit, offset=offset, next_=next_
        )

    is_little = sum(len(event.payload) for event in events.values()) <= IN_LOOP_BYTES_MAX
    body = render() if is_little else await asyncio.to_thread(render)
    return Response(body, media_type="application/json")


Listed = tuple[list[NamedRun], int | None, Place | None]
"""A page of traces, how many there are in all where that is known, and the place after which there are more."""


async def _list(
    connection: AsyncConnection, filters: Filters, *, limit: int, offset: int, after: Place | None
) -> Listed:
    found = await traces.find_roots(connection, filters, limit=limit + 1, offset=offset, after=after)
    page = found[:limit]
    following = Place(page[-1].run.start_time, page[-1].run.id) if len(found) > limit else None
    return page, await traces.count_roots(connection, filters), following


async def _search(
    connection: AsyncConnection,
    filters: Filters,
    *,
    limit: int,
    after: Place | None,
    indexing: Indexing,
) -> Listed:
    query = trace_search.query_of(filters)
    index = await indexing.index_for(connection, query)
    page, following = await trace_search.find_roots(connection, query, limit=limit, after=after, index=index)
    return page, None, following


@router.get(
    "/runs/{trace_id}/hierarchy", response_model=RunHierarchyResponse, responses=NOT_MODIFIED | error_responses(404)
)
async def read_hierarchy(
    trace_id: str, request: Request, engine: EnginePart, settings: SettingsPart, moment: MomentPart
) -> Response:
    """A trace as a tree, now or as of an earlier moment. Asked with the id of a run in it: the tree from there down."""
    id_ = path_id("trace", trace_id)
    found = await _find_trace(id_, engine, settings, moment)
    return await _answer(found, lambda: rendering.hierarchy(_tree(found, id_)), request, settings)


@router.get(
    "/runs/{trace_id}/outline", response_model=TraceOutlineResponse, responses=NOT_MODIFIED | error_responses(404)
)
async def read_outline(
    trace_id: str, request: Request, engine: EnginePart, settings: SettingsPart, moment: MomentPart
) -> Response:
    """The same trace in columns, one entry a run: a third of the bytes of `hierarchy`, and a data frame as it is."""
    id_ = path_id("trace", trace_id)
    found = await _find_trace(id_, engine, settings, moment)
    return await _answer(found, lambda: rendering.outline(_tree(found, id_)), request, settings)


async def _answer(found: WholeTrace, render: Callable[[], bytes], request: Request, settings: Settings) -> Response:
    """What is rendered of a trace, unless the reader has it."""

    def rendered() -> tuple[bytes, str]:
        body = render()
        return body, etags.etag(settings.app_version, body)  # Going through the tree for it would take longer.

    body, tag = await _with_trace(found, rendered)
    if etags.is_held(tag, request.headers):
        return etags.unchanged(tag)
    return Response(body, media_type="application/json", headers=etags.headers_of(tag))


async def _find_trace(id_: bytes, engine: AsyncEngine, settings: Settings, moment: Moment) -> WholeTrace:
    """The trace that goes by an id, or that the run of this id is in, at a moment. Raises 404 when there was none."""
    async with engine.connect() as connection:
        position = await moment.find(connection)
        if position is None:
            found = await _read_trace_now(connection, id_)
        else:
            found = await asof.trace_at(connection, id_, position, rule=settings.status_rule)
        if found is None:
            why = await absence(connection, position, trace_stream(id_), run_stream(id_))
            raise HTTPException(404, f"There is no trace {format_id(id_)}{why}.")
    return found


async def outline_of(found: WholeTrace) -> bytes:
    """A trace as the JSON of columns, made like `hierarchy_of`."""
    return await _with_trace(found, lambda: rendering.outline(_tree(found, found.id)))


async def hierarchy_of(found: WholeTrace) -> bytes:
    """A trace as the JSON of a tree, made out of the way of others when it is large."""
    return await _with_trace(found, lambda: rendering.hierarchy(_tree(found, found.id)))


async def _with_trace(found: WholeTrace, work: Callable[[], T]) -> T:
    """Do what takes time in proportion to a trace, out of the way of others when it is large."""
    return work() if len(found.runs) <= IN_LOOP_RUNS_MAX else await asyncio.to_thread(work)


def _tree(found: WholeTrace, id_: bytes) -> Tree[Outline]:
    tree = build([_edge(run) for run in found.runs], found.id)
    below = tree if id_ == found.id else subtree(tree, id_)
    return below or tree


async def _read_trace_now(connection: AsyncConnection, trace_or_run_id: bytes) -> WholeTrace | None:
    trace_id = await traces.find_trace_of(connection, trace_or_run_id)
    return None if trace_id is None else WholeTrace(trace_id, await traces.runs_of_trace(connection, trace_id))


@router.get("/stats/summary", response_model=StatsSummaryResponse, responses=NOT_MODIFIED)
async def read_summary(request: Request, engine: EnginePart, settings: SettingsPart) -> Response:
    """Exact counts of runs and traces. The time of the answer alone does not make it another one."""
    now = time.time_ns() // 1000
    async with engine.connect() as connection:
        summary = await stats.summary(connection, now=now, projects_max=RECENT_PROJECTS_MAX)
    tag = etags.etag(settings.app_version, summary)
    if etags.is_held(tag, request.headers):
        return etags.unchanged(tag)
    body = rendering.summary(summary, now=now)
    return Response(body, media_type="application/json", headers=etags.headers_of(tag))


def _positions(page: list[NamedRun]) -> list[int]:
    """Where the inputs and outputs of these runs are in the log, in the order of the page."""
    wanted = (position for named in page for position in (named.run.inputs_position, named.run.outputs_position))
    return list(dict.fromkeys(position for position in wanted if position is not None))


def _edge(run: Outline) -> Edge[Outline]:
    return Edge(run.id, run.parent_run_id, run.start_time, run)
