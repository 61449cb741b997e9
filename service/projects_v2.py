"""Projects as LangSmith's second generation of the API has them: pages with cursors, and words in capitals."""

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from fastapi import Query, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from events.ids import format_id, parse_id
from events.instance import Instance
from events.times import format_time
from projections import project_lists
from projections.project_changes import Changing
from projections.project_lists import DescribedProject, Order, Wanted
from projections.words import NAME_CHARS_MAX, column_text
from service.auth import Ingester, Reader
from service.cursors import InvalidCursor
from service.ingest.intake import IntakePart
from service.parts import EnginePart
from service.projects import (
    MOMENT_SCHEMA,
    SINCE,
    InstancePart,
    MetadataPart,
    Moment,
    change_projects,
    find_project,
    raw_members,
    statistics,
    with_version,
)
from service.routes import LateRouter
from service.runs import path_id
from service.wire.errors import error_responses
from service.wire.projects_v2 import SessionPage, SessionV2, SessionV2Creation, SessionV2Patch

router = LateRouter(prefix="/sessions", tags=["projects (v2)"], responses=error_responses(401, 403))

SortBy = Literal["NAME", "START_TIME", "LAST_RUN_START_TIME", "ERROR_RATE", "LATENCY_P50", "LATENCY_P99"]
_ORDERS: Final[Mapping[SortBy, Order]] = {
    "NAME": Order("name"),
    "START_TIME": Order("start_time"),
    "LAST_RUN_START_TIME": Order("last_run_start_time"),
    "ERROR_RATE": Order("error_rate"),
    "LATENCY_P50": Order("latency_p50"),
    "LATENCY_P99": Order("latency_p99"),
}
_NUMBERS: Final = ("prompt_cost", "completion_cost", "total_cost")


@router.get("", responses=error_responses(504))
async def list_sessions_v2(
    engine: EnginePart,
    instance: InstancePart,
    _: Reader,
    metadata: MetadataPart,
    name: Annotated[str | None, Query(description="Only the project with exactly this name.")] = None,
    name_contains: Annotated[str | None, Query(description="Only projects whose name holds this text.")] = None,
    id: Annotated[list[str] | None, Query(description="Only the projects with these ids.")] = None,
    reference_dataset_id: Annotated[list[str] | None, Query(description="Only experiments on these datasets.")] = None,
    dataset_version: Annotated[str | None, Query(description="Only experiments on this version of a dataset.")] = None,
    type: Annotated[
        list[Literal["PROJECT", "AGENT", "EXPERIMENT"]] | None, Query(description="Only projects of these types.")
    ] = None,
    sort_by: Annotated[SortBy, Query(description="By what they are sorted.")] = "START_TIME",
    sort_order: Annotated[Literal["asc", "desc"], Query(description="Which end comes first.")] = "desc",
    include_stats: Annotated[bool, Query(description="Whether to give statistics.")] = False,
    stats_start_time: Annotated[Moment, Query(description=SINCE, json_schema_extra=MOMENT_SCHEMA)] = None,
    page_size: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
) -> SessionPage:
    """A page of projects."""
    offset = 0 if cursor is None else _offset(cursor)
    kinds = {kind == "EXPERIMENT" for kind in type or ("PROJECT", "EXPERIMENT") if kind != "AGENT"}
    if not kinds:
        return SessionPage(items=[], next_cursor=None)
    datasets = None if reference_dataset_id is None else [path_id("dataset", text) for text in reference_dataset_id]
    wanted = Wanted(
        ids=None if id is None else [path_id("project", text) for text in id],
        name=None if name is None else column_text(name, NAME_CHARS_MAX),
        name_contains=name_contains,
        dataset_ids=datasets,
        is_experiment=kinds.pop() if len(kinds) == 1 else None,
        metadata=with_version(metadata, dataset_version),
    )
    order = Order(_ORDERS[sort_by].by, sort_order == "desc")
    async with engine.connect() as connection:
        found = await project_lists.find(connection, wanted, order=order, limit=page_size + 1, offset=offset)
        page = found[:page_size]
        told = await statistics(connection, page, since=stats_start_time) if include_stats else {}
    items = [_shown(project, instance, told.get(project.id, {})) for project in page]
    return SessionPage(items=items, next_cursor=_cursor(offset + page_size) if len(found) > page_size else None)


@router.post("", responses=error_responses(400, 409, 503))
async def create_session_v2(
    asked: SessionV2Creation,
    request: Request,
    intake: IntakePart,
    engine: EnginePart,
    instance: InstancePart,
    caller: Ingester,
    upsert: Annotated[bool, Query(description="Change the project of this name if there is one.")] = False,
) -> SessionV2:
    """Create a project."""
    id_ = None if asked.id is None else parse_id(asked.id)
    members = raw_members(asked)

    async def work(changing: Changing) -> bytes:
        return await changing.create(asked.name, members, id_=id_, upsert=upsert)

    return await _answer(engine, instance, await change_projects(request, intake, caller, work))


@router.get("/{session_id}", responses=error_responses(404, 504))
async def read_session_v2(
    session_id: str,
    engine: EnginePart,
    instance: InstancePart,
    _: Reader,
    include_stats: Annotated[bool, Query(description="Whether to give statistics.")] = False,
    stats_start_time: Annotated[Moment, Query(description=SINCE, json_schema_extra=MOMENT_SCHEMA)] = None,
) -> SessionV2:
    """One project."""
    id_ = path_id("project", session_id)
    return await _answer(engine, instance, id_, include_stats=include_stats, since=stats_start_time)


@router.patch("/{session_id}", responses=error_responses(400, 404, 409, 503))
async def update_session_v2(
    session_id: str,
    asked: SessionV2Patch,
    request: Request,
    intake: IntakePart,
    engine: EnginePart,
    instance: InstancePart,
    caller: Ingester,
) -> SessionV2:
    """Rename a project, or change what is said of it. What is null or absent stays as it is."""
    id_ = path_id("project", session_id)
    members = raw_members(asked)

    async def work(changing: Changing) -> bytes:
        await changing.patch(id_, members, name=asked.name)
        return id_

    return await _answer(engine, instance, await change_projects(request, intake, caller, work))


async def _answer(
    engine: AsyncEngine, instance: Instance, project_id: bytes, *, include_stats: bool = False, since: int | None = None
) -> SessionV2:
    async with engine.connect() as connection:
        project = await find_project(connection, project_id)
        told = await statistics(connection, [project], since=since) if include_stats else {}
    return _shown(project, instance, told.get(project_id, {}))


def _shown(project: DescribedProject, instance: Instance, told: Mapping[str, Any]) -> SessionV2:
    dataset = project.reference_dataset_id
    tier = project.others.get("trace_tier")
    counted = {name: _counted(name, value) for name, value in told.items()}
    return SessionV2.model_construct(
        id=format_id(project.id),
        tenant_id=format_id(instance.tenant_id),
        name=project.name,
        type="PROJECT" if dataset is None else "EXPERIMENT",
        start_time=format_time(project.start_time),
        end_time=None if project.end_time is None else format_time(project.end_time),
        description=project.description,
        extra=project.extra,
        reference_dataset_id=None if dataset is None else format_id(dataset),
        default_dataset_id=project.others.get("default_dataset_id"),
        trace_tier=_TIERS.get(tier, tier),
        **counted,
    )


def _counted(name: str, value: Any) -> Any:
    """A statistic as the second generation has it."""
    if name in _NUMBERS:
        return float(value)
    if name in ("feedback_stats", "session_feedback_stats"):
        return {key: {**one, "contains_thread_feedback": False, "type": "PRIMARY"} for key, one in value.items()}
    return value


_TIERS: Final[Mapping[Any, str]] = {"longlived": "LONG_LIVED", "shortlived": "SHORT_LIVED"}


def _cursor(offset: int) -> str:
    return base64.urlsafe_b64encode(f"projects {offset}".encode()).decode()


def _offset(cursor: str) -> int:
    """How many projects the pages before had. Raises `InvalidCursor`."""
    try:
        word, _, number = base64.b64decode(cursor.encode(), b"-_", validate=True).decode().partition(" ")
    except (binascii.Error, UnicodeError):
        word, number = "", ""
    if word != "projects" or not (number.isascii() and number.isdigit() and len(number) < 19):
        raise InvalidCursor(f"{cursor!r} is no cursor: give one that an earlier answer gave")
    return int(number)
