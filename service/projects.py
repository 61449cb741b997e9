"""Projects, which LangSmith's API calls sessions, and the installation that they are in."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Annotated, Any, Final

from fastapi import Depends, HTTPException, Query, Request
from pydantic import BeforeValidator
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events.dialect import Writer
from events.ids import format_id, parse_id
from events.instance import Instance
from events.jsontext import NotJSON, dumps, loads
from events.log import Head
from events.times import format_time, parse_time
from projections import project_feedback, project_lists, stats
from projections.project_changes import Changing
from projections.project_feedback import ProjectFeedback
from projections.project_lists import DescribedProject, Order, SortColumn, Wanted
from projections.stats import ProjectStats
from projections.words import NAME_CHARS_MAX, column_text
from service.auth import Administrator, Caller, Ingester, Reader, refuse_foreign_origin
from service.info import TENANT_HANDLE
from service.ingest.intake import IntakePart, origin_of
from service.parts import EnginePart, SettingsPart
from service.routes import LateRouter
from service.runs import path_id
from service.wire.errors import error_responses
from service.wire.projects import DeletedBody, SessionBody, SessionCreation, SessionPatch, SettingsBody

router = LateRouter(tags=["projects"], responses=error_responses(401, 403))


async def instance(request: Request) -> Instance:
    found: Instance = request.app.state.instance
    return found


def moment(value: Any) -> Any:
    """A time in microseconds, of what may be a text or a number."""
    if value in (None, ""):
        return None
    us = parse_time(value)
    if us is None:
        raise ValueError("expected a time such as 2024-01-15T10:30:00Z")
    return us


async def metadata_filter(
    metadata: Annotated[
        str | None,
        Query(
            description="Only projects whose metadata contain this JSON object.",
            json_schema_extra={"example": '{"team": "search"}'},
        ),
    ] = None,
) -> dict[str, Any] | None:
    """The metadata to look for. Raises 422 when they are no JSON object."""
    if metadata is None:
        return None
    try:
        read = loads(metadata.encode("utf-8", "replace"))
    except NotJSON:
        read = None
    if not isinstance(read, dict):
        raise HTTPException(422, f'metadata is {metadata!r}: expected a JSON object such as {{"team": "search"}}')
    return read


async def refuse_filter(
    filter: Annotated[
        str | None,
        Query(description="Refused: LangSmith does not say by what fields projects are filtered."),
    ] = None,
) -> None:
    """Raises 422 when projects are to be filtered: to pass it over would tell of projects that nobody asked for."""
    if filter:
        others = "name, name_contains, id, metadata, reference_dataset or reference_free"
        raise HTTPException(422, f"filter is {filter!r}, which is not read for projects: expected {others} instead")


InstancePart = Annotated[Instance, Depends(instance)]
Moment = Annotated[int | None, BeforeValidator(moment)]
MetadataPart = Annotated[dict[str, Any] | None, Depends(metadata_filter)]
MOMENT_SCHEMA: Final[dict[str, Any]] = {"type": "string", "format": "date-time"}

SINCE: Final = "Count runs since the hour that this moment lies in only; by default all runs."


@router.get("/sessions", responses=error_responses(504), dependencies=[Depends(refuse_filter)])
async def list_projects(
    engine: EnginePart,
    instance: InstancePart,
    _: Reader,
    metadata: MetadataPart,
    name: Annotated[str | None, Query(description="Only the project with exactly this name.")] = None,
    name_contains: Annotated[
        str | None, Query(description="Only projects whose name holds this text, upper or lower case.")
    ] = None,
    id: Annotated[list[str] | None, Query(description="Only the projects with these ids.")] = None,
    reference_dataset: Annotated[
        list[str] | None, Query(description="Only experiments on the datasets with these ids.")
    ] = None,
    reference_free: Annotated[
        bool | None, Query(description="Only projects that are no experiments on a dataset; false: only such.")
    ] = None,
    dataset_version: Annotated[
        str | None, Query(description="Only experiments whose metadata name this version of the dataset.")
    ] = None,
    sort_by: Annotated[SortColumn, Query(description="By what they are sorted.")] = "start_time",
    sort_by_desc: Annotated[bool, Query(description="Whether the largest, or the newest, comes first.")] = True,
    include_stats: Annotated[bool, Query(description="Whether to give statistics.")] = False,
    stats_start_time: Annotated[Moment, Query(description=SINCE, json_schema_extra=MOMENT_SCHEMA)] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
    offset: Annotated[int, Query(ge=0, le=2**62, description="How many to skip.")] = 0,
) -> list[SessionBody]:
    """Projects, the newest first unless asked otherwise. There is always at least the project `default`."""
    wanted = Wanted(
        ids=None if id is None else [path_id("project", text) for text in id],
        name=None if name is None else column_text(name, NAME_CHARS_MAX),
        name_contains=name_contains,
        dataset_ids=None if reference_dataset is None else [path_id("dataset", text) for text in reference_dataset],
        is_experiment=None if reference_free is None else not reference_free,
        metadata=with_version(metadata, dataset_version),
    )
    async with engine.connect() as connection:
        order = Order(sort_by, sort_by_desc)
        found = await project_lists.find(connection, wanted, order=order, limit=limit, offset=offset)
        told = await statistics(connection, found, since=stats_start_time) if include_stats else {}
    return [_shown(project, instance, told.get(project.id, {})) for project in found]


@router.post("/sessions", responses=error_responses(400, 409, 503))
async def create_project(
    asked: SessionCreation,
    request: Request,
    intake: IntakePart,
    engine: EnginePart,
    instance: InstancePart,
    caller: Ingester,
    upsert: Annotated[bool, Query(description="Change the project of this name if there is one.")] = False,
) -> SessionBody:
    """Create a project, before or without any run in it. One of this name must not be there, unless with `upsert`."""
    id_ = None if asked.id is None else parse_id(asked.id)
    members = raw_members(asked)

    async def work(changing: Changing) -> bytes:
        return await changing.create(asked.name, members, id_=id_, upsert=upsert)

    return await _answer(engine, instance, await change_projects(request, intake, caller, work))


@router.get("/sessions/{project_id}", responses=error_responses(404, 504))
async def read_project(
    project_id: str,
    engine: EnginePart,
    instance: InstancePart,
    _: Reader,
    include_stats: Annotated[bool, Query(description="Whether to give statistics.")] = False,
    stats_start_time: Annotated[Moment, Query(description=SINCE, json_schema_extra=MOMENT_SCHEMA)] = None,
) -> SessionBody:
    """One project."""
    id_ = path_id("project", project_id)
    return await _answer(engine, instance, id_, include_stats=include_stats, since=stats_start_time)


@router.patch("/sessions/{project_id}", responses=error_responses(400, 404, 409, 503))
async def update_project(
    project_id: str,
    asked: SessionPatch,
    request: Request,
    intake: IntakePart,
    engine: EnginePart,
    instance: InstancePart,
    caller: Ingester,
) -> SessionBody:
    """Rename a project, or change what is said of it. What is null or absent stays as it is; `extra` is replaced whole.

    Runs that name the new name are in it from then on, and so are those in it that go on naming the old one.
    """
    id_ = path_id("project", project_id)
    members = raw_members(asked)

    async def work(changing: Changing) -> bytes:
        await changing.patch(id_, members, name=asked.name)
        return id_

    return await _answer(engine, instance, await change_projects(request, intake, caller, work))


@router.delete(
    "/sessions/{project_id}",
    dependencies=[Depends(refuse_foreign_origin)],
    responses=error_responses(404, 503),
)
async def delete_project(project_id: str, request: Request, intake: IntakePart, caller: Administrator) -> DeletedBody:
    """Delete a project with all the runs in it. They are no longer to be seen, though the log still has them.

    To have a trace erased from there too: `DELETE /traces/{trace_id}`.
    """
    id_ = path_id("project", project_id)

    async def work(changing: Changing) -> bytes:
        await changing.delete(id_)
        return id_

    await change_projects(request, intake, caller, work)
    return DeletedBody(message=f"Project {format_id(id_)} was deleted.")


@router.get("/settings", responses=error_responses(504))
async def read_settings(settings: SettingsPart, instance: InstancePart, _: Reader) -> SettingsBody:
    """This installation."""
    return SettingsBody(
        id=format_id(instance.tenant_id),
        display_name=settings.app_name,
        created_at=format_time(instance.created_at),
        tenant_handle=TENANT_HANDLE,
    )


# --- what both generations of the API do ------------------------------------------------------------------------------


async def change_projects(
    request: Request, intake: IntakePart, caller: Caller, work: Callable[[Changing], Awaitable[bytes]]
) -> bytes:
    """Do work on projects while nobody else can, in the name of the caller; the id of the project that it gives."""
    origin = origin_of(request, caller)

    async def change(writer: Writer, head: Head, now: int) -> bytes:
        return await work(Changing(writer, head, origin, intake.settings.status_rule, now))

    return await intake.writer.command(change)


def raw_members(asked: SessionCreation | SessionPatch) -> dict[str, bytes]:
    """What a request says of a project, beside its name and id, as raw JSON."""
    said = asked.model_dump(exclude={"id", "name"}, exclude_none=True)
    return {name: dumps(value) for name, value in said.items()}


def with_version(metadata: Mapping[str, Any] | None, dataset_version: str | None) -> Mapping[str, Any] | None:
    """The metadata to look for, with the version of a dataset among them."""
    return metadata if dataset_version is None else {**(metadata or {}), "dataset_version": dataset_version}


async def find_project(connection: AsyncConnection, project_id: bytes) -> DescribedProject:
    """One project. Raises 404 when there is none with this id."""
    found = await project_lists.find(connection, Wanted(ids=[project_id]), limit=1, offset=0)
    if not found:
        raise HTTPException(404, f"There is no project {format_id(project_id)}.")
    return found[0]


async def statistics(
    connection: AsyncConnection, found: Sequence[DescribedProject], *, since: int | None
) -> dict[bytes, dict[str, Any]]:
    """The statistics of projects, by id, in LangSmith's names."""
    ids = [project.id for project in found]
    told = await stats.of_projects(connection, ids, since=since)
    judged = await project_feedback.of_projects(connection, ids)
    return {id_: _stats_shown(told[id_]) | _feedback_shown(judged[id_]) for id_ in ids}


def _feedback_shown(told: ProjectFeedback) -> dict[str, Any]:
    return {
        "feedback_stats": {key: asdict(one) for key, one in told.on_runs.items()},
        "session_feedback_stats": {key: asdict(one) for key, one in told.on_itself.items()},
    }


def _stats_shown(told: ProjectStats) -> dict[str, Any]:
    return {
        "run_count": told.runs,
        "latency_p50": _seconds(told.latency_p50),
        "latency_p99": _seconds(told.latency_p99),
        "first_token_p50": _seconds(told.first_token_p50),
        "first_token_p99": _seconds(told.first_token_p99),
        "prompt_tokens": told.prompt_tokens,
        "completion_tokens": told.completion_tokens,
        "total_tokens": told.total_tokens,
        "prompt_cost": dollars(told.prompt_cost),
        "completion_cost": dollars(told.completion_cost),
        "total_cost": dollars(told.total_cost),
        "error_rate": told.errors / told.runs if told.runs else None,
        "streaming_rate": told.streamed / told.runs if told.runs else None,
        "last_run_start_time": None if told.last_start is None else format_time(told.last_start),
        "run_facets": [],
    }


def dollars(picodollars: int) -> str:
    """An amount as a decimal string."""
    text = f"{Decimal(picodollars).scaleb(-12):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _seconds(us: int | None) -> float | None:
    return None if us is None else us / 1_000_000


async def _answer(
    engine: AsyncEngine, instance: Instance, project_id: bytes, *, include_stats: bool = False, since: int | None = None
) -> SessionBody:
    async with engine.connect() as connection:
        project = await find_project(connection, project_id)
        told = await statistics(connection, [project], since=since) if include_stats else {}
    return _shown(project, instance, told.get(project_id, {}))


def _shown(project: DescribedProject, instance: Instance, told: Mapping[str, Any]) -> SessionBody:
    return SessionBody.model_construct(
        id=format_id(project.id),
        tenant_id=format_id(instance.tenant_id),
        name=project.name,
        start_time=format_time(project.start_time),
        end_time=None if project.end_time is None else format_time(project.end_time),
        description=project.description,
        reference_dataset_id=None if project.reference_dataset_id is None else format_id(project.reference_dataset_id),
        extra=project.extra,
        default_dataset_id=project.others.get("default_dataset_id"),
        trace_tier=project.others.get("trace_tier"),
        **told,
    )
