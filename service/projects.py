"""Projects, which LangSmith's API calls sessions, and the installation that they are in."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request

from events.ids import format_id
from events.instance import Instance
from events.times import format_time
from projections import projects
from projections.projects import Project
from projections.words import NAME_CHARS_MAX, column_text
from service.auth import authorise
from service.info import TENANT_HANDLE
from service.keys import Scope
from service.parts import EnginePart, SettingsPart
from service.runs import path_id
from service.wire.errors import error_responses
from service.wire.projects import SessionBody, SettingsBody

router = APIRouter(
    tags=["projects"], dependencies=[Depends(authorise(Scope.READ))], responses=error_responses(401, 403, 504)
)


def instance(request: Request) -> Instance:
    found: Instance = request.app.state.instance
    return found


InstancePart = Annotated[Instance, Depends(instance)]


@router.get("/sessions")
async def list_projects(
    engine: EnginePart,
    instance: InstancePart,
    name: Annotated[str | None, Query(description="Only the project with exactly this name.")] = None,
    id: Annotated[list[str] | None, Query(description="Only the projects with these ids.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
    offset: Annotated[int, Query(ge=0, le=2**62, description="How many to skip.")] = 0,
) -> list[SessionBody]:
    """Projects, the newest first. There is always at least the project `default`."""
    ids = None if id is None else [path_id("project", text) for text in id]
    wanted = None if name is None else column_text(name, NAME_CHARS_MAX)
    async with engine.connect() as connection:
        found = await projects.find(connection, name=wanted, ids=ids, limit=limit, offset=offset)
    return [_shown(project, instance) for project in found]


@router.get("/sessions/{project_id}", responses=error_responses(404))
async def read_project(project_id: str, engine: EnginePart, instance: InstancePart) -> SessionBody:
    """One project."""
    id_ = path_id("project", project_id)
    async with engine.connect() as connection:
        found = await projects.find(connection, ids=[id_])
    if not found:
        raise HTTPException(404, f"There is no project {project_id}.")
    return _shown(found[0], instance)


@router.get("/settings")
async def read_settings(settings: SettingsPart, instance: InstancePart) -> SettingsBody:
    """This installation."""
    return SettingsBody(
        id=format_id(instance.tenant_id),
        display_name=settings.app_name,
        created_at=format_time(instance.created_at),
        tenant_handle=TENANT_HANDLE,
    )


def _shown(project: Project, instance: Instance) -> SessionBody:
    return SessionBody(
        id=format_id(project.id),
        tenant_id=format_id(instance.tenant_id),
        name=project.name,
        start_time=format_time(project.first_recorded_at),
        end_time=None,
        description=None,
        reference_dataset_id=None,
        extra={},
    )
