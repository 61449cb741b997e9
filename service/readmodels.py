"""The read models: how they are, and making them anew from the log."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.ids import format_id
from events.reading import read_end
from events.schema import SHARD
from projections import digests, fulltext, projector, rebuilds
from projections.dialect import ddl_of
from projections.projector import PROJECTIONS, checkpoints, fold_version, folded_by
from projections.rebuilds import Order, Rebuild
from projections.shadow import whole
from service import rebuild_jobs
from service.auth import authorise, refuse_foreign_origin
from service.keys import Scope
from service.parameters import KNOWN_PARAMETERS_ONLY
from service.parts import EnginePart, SettingsPart
from service.paths import API_ROOT
from service.rebuild_jobs import RebuildJobs
from service.runs import path_id
from service.wire.errors import error_responses
from service.wire.readmodels import ProjectionBody, ProjectionsBody, RebuildBody, RebuildRequest

router = APIRouter(
    prefix="/projections",
    tags=["projections"],
    dependencies=[KNOWN_PARAMETERS_ONLY],
    responses=error_responses(401, 403, 503),
)

_US_PER_S = 1_000_000
_ADMINISTRATING = (Depends(refuse_foreign_origin), Depends(authorise(Scope.ADMIN)))


async def jobs(request: Request) -> RebuildJobs:
    found: RebuildJobs = request.app.state.rebuild_jobs
    return found


JobsPart = Annotated[RebuildJobs, Depends(jobs)]
_EVERYTHING: Final = RebuildRequest.model_validate({})
JobNumber = Annotated[int, Path(ge=1, le=2**62, description="The number of the job.")]


@router.get("", dependencies=[Depends(authorise(Scope.READ))], responses=error_responses(504))
async def read_projections(
    engine: EnginePart,
    settings: SettingsPart,
    digest: Annotated[bool, Query(description="Whether to tell digests: every row is read for them.")] = False,
) -> ProjectionsBody:
    """Every read model: how far it follows the log, its rows, a digest of them, its last rebuild and comparison."""
    async with ddl_of(settings.database_url).one_moment(engine) as connection:
        head = (await read_end(connection)).position
        stored, own = await folded_by(connection), fold_version(settings.status_rule)
        last = await rebuilds.last_of(connection, PROJECTIONS)
        compared = await rebuilds.last_of(connection, PROJECTIONS, is_dry_run=True)
        reached = await _reached(connection)
        return ProjectionsBody(
            head=head,
            fold_version=stored,
            own_fold_version=own,
            is_current=stored == own or head == 0,
            projections=[
                ProjectionBody(
                    name=name,
                    rebuilt_with=[other for other in whole([name]) if other != name],
                    checkpoint=reached.get(name, 0),
                    lag=head - reached.get(name, 0),
                    rows=await digests.count_rows(connection, name) if name in PROJECTIONS else None,
                    digest=await digests.digest(connection, name) if name in PROJECTIONS and digest else None,
                    last_rebuild=_shown(last[name]) if name in last else None,
                    last_comparison=_shown(compared[name]) if name in compared else None,
                )
                for name in (*PROJECTIONS, *(added.name for added in projector.ADDED), *_indexes(reached))
            ],
        )


@router.post("/rebuild", status_code=202, dependencies=_ADMINISTRATING, responses=error_responses(400, 409))
async def start_rebuild(
    request: Request,
    response: Response,
    engine: EnginePart,
    settings: SettingsPart,
    jobs: JobsPart,
    asked: RebuildRequest = _EVERYTHING,
) -> RebuildBody:
    """Begin to rebuild read models from the log, in a process of its own. One rebuild at a time.

    What is live stays so until what was made takes its place, in a moment. Look at the job for how far it is.
    """
    order = Order(
        projections=whole(PROJECTIONS if asked.projection is None else [asked.projection]),
        trace_id=None if asked.trace_id is None else path_id("trace", asked.trace_id),
        is_dry_run=asked.dry_run,
        replaces_differing=asked.replace,
    )
    rebuild_id = await rebuild_jobs.begin(
        settings.database_url, order, fold_version=fold_version(settings.status_rule), now=time.time_ns() // 1000
    )
    jobs.start(rebuild_id)
    response.headers["Location"] = f"{API_ROOT}/projections/rebuild/{rebuild_id}"
    return await read_rebuild(rebuild_id, engine)


@router.get("/rebuild/{job}", dependencies=[Depends(authorise(Scope.READ))], responses=error_responses(404))
async def read_rebuild(job: JobNumber, engine: EnginePart) -> RebuildBody:
    """How far a rebuild is, or what became of it."""
    async with engine.connect() as connection:
        return _shown(await rebuilds.read(connection, job))


@router.delete("/rebuild/{job}", dependencies=_ADMINISTRATING, responses=error_responses(404))
async def cancel_rebuild(job: JobNumber, engine: EnginePart, settings: SettingsPart) -> RebuildBody:
    """Ask a rebuild to end within a second or two, whichever server or command line runs it. What is live is as it was.

    One that has ended already stays as it is: also when it has just replaced what was live.
    """
    async with engine.connect() as connection:
        await rebuilds.read(connection, job)
    await rebuild_jobs.cancel(settings.database_url, job)
    return await read_rebuild(job, engine)


def _indexes(reached: Mapping[str, int]) -> tuple[str, ...]:
    """The index of words, if there is one."""
    return (fulltext.NAME,) if fulltext.NAME in reached else ()


async def _reached(connection: AsyncConnection) -> dict[str, int]:
    query = select(checkpoints.c.projection, checkpoints.c.position).where(checkpoints.c.shard == SHARD)
    return {row.projection: row.position for row in await connection.execute(query)}


def _shown(rebuild: Rebuild) -> RebuildBody:
    speed = _speed(rebuild)
    left = None if not speed else (rebuild.events_total - rebuild.events) / speed
    return RebuildBody(
        id=rebuild.rebuild_id,
        projections=list(rebuild.order.projections),
        trace_id=None if rebuild.order.trace_id is None else format_id(rebuild.order.trace_id),
        dry_run=rebuild.order.is_dry_run,
        replace=rebuild.order.replaces_differing,
        fold_version=rebuild.fold_version,
        started_at=_time(rebuild.started_at),
        ended_at=None if rebuild.ended_at is None else _time(rebuild.ended_at),
        step=rebuild.step,
        events=rebuild.events,
        events_total=rebuild.events_total,
        events_per_second=speed,
        seconds_left=left,
        position=rebuild.position,
        cancelled=rebuild.is_cancelled,
        outcome=rebuild.outcome,
        notes=(rebuild.note or "").splitlines(),
    )


def _speed(rebuild: Rebuild) -> float | None:
    """Events a second while they are folded."""
    elapsed = rebuild.seen_at - rebuild.started_at
    if rebuild.step != "folding" or not rebuild.events or elapsed <= 0:
        return None
    return rebuild.events * _US_PER_S / elapsed


def _time(us: int) -> Any:
    return datetime.fromtimestamp(us / _US_PER_S, UTC)
