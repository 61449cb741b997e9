"""Whether the service is alive, can do its work, and how it is. Open to everyone."""

import asyncio
import logging
import os
from typing import Final

from fastapi import Response
from sqlalchemy.ext.asyncio import AsyncEngine

from events.reading import read_end
from projections.projector import fold_version, folded_by
from service.indexing import IndexingPart
from service.ingest.intake import Intake, IntakePart
from service.parts import EnginePart, SettingsPart, StartedAtPart, now
from service.routes import LateRouter
from service.schema_version import require_newest
from service.settings import Settings
from service.wire.health import Health, HealthBody, IngestBody, LivenessBody, ReadinessBody

log = logging.getLogger(__name__)

router = LateRouter(prefix="/health", tags=["health"])

# Those who ask wait a few seconds at most: a late answer is no answer.
_DATABASE_PATIENCE_S: Final = 2.0


@router.get("", responses={503: {"model": HealthBody, "description": "Something it depends on is unhealthy."}})
async def health(
    settings: SettingsPart,
    engine: EnginePart,
    intake: IntakePart,
    started_at: StartedAtPart,
    indexing: IndexingPart,
    response: Response,
) -> HealthBody:
    """How the service is, and what it depends on. 503 when something is unhealthy."""
    ingest = _ingest(intake)
    database: Health = "healthy" if await database_works(engine) and ingest.status != "failing" else "unhealthy"
    response.status_code = 200 if database == "healthy" else 503
    timestamp = now()
    return HealthBody(
        status=database,
        timestamp=timestamp,
        version=settings.app_version,
        environment=settings.environment,
        uptime_seconds=(timestamp - started_at).total_seconds(),
        database_status=database,
        dependencies={"database": database},
        ingest=ingest,
        full_text=indexing.state,
    )


@router.get("/ready", responses={503: {"model": ReadinessBody, "description": "A check failed."}})
async def ready(settings: SettingsPart, engine: EnginePart, response: Response) -> ReadinessBody:
    """Whether the service can do its work. 503 when it cannot."""
    checks = {
        "application": True,
        "database": await database_works(engine),
        "configuration": configuration_works(settings) and await has_own_folds(settings, engine),
    }
    response.status_code = 200 if all(checks.values()) else 503
    return ReadinessBody(ready=all(checks.values()), checks=checks, timestamp=now())


@router.get("/live")
async def live() -> LivenessBody:
    """That the service answers at all. Asks nothing of the database."""
    return LivenessBody(status="alive", timestamp=now())


def _ingest(intake: Intake) -> IngestBody:
    trouble, is_full = intake.writer.trouble, intake.memory.waiting > 0
    return IngestBody(
        status="failing" if trouble else "full" if is_full else "taking",
        reason=trouble,
        held_bytes=intake.memory.bytes_held,
        limit_bytes=intake.memory.bytes_max,
        waiting_requests=intake.memory.waiting + intake.writer.waiting,
    )


async def database_works(engine: AsyncEngine) -> bool:
    """Whether the database answers in time and has the newest schema. Logs why not."""
    try:
        async with asyncio.timeout(_DATABASE_PATIENCE_S):
            await require_newest(engine)
    except Exception as error:  # Whatever a driver raises, the answer is: it does not work.
        log.warning("The database does not work: %s", str(error) or type(error).__name__)
        return False
    return True


async def has_own_folds(settings: Settings, engine: AsyncEngine) -> bool:
    """Whether the read models were made by the folds that this process has, or cannot be asked. Logs what to do."""
    own = fold_version(settings.status_rule)
    try:
        async with asyncio.timeout(_DATABASE_PATIENCE_S), engine.connect() as connection:
            stored = await folded_by(connection)
            is_own = stored == own or (await read_end(connection)).position == 0
    except Exception:  # That the database does not work is another check's to tell.
        return True
    if not is_own:
        log.error(
            "The read models were made by the folds %s, and this process has %s (another version, or another "
            "STATUS_RULE): it answers writes 503. Run `agent-spy rebuild`; who has the former may serve until then.",
            *(stored, own),
        )
    return is_own


def configuration_works(settings: Settings) -> bool:
    """Whether what was configured can be used: keys, if they are asked for; a place for the SQLite file."""
    has_keys = bool(settings.api_keys) or not settings.require_auth
    file = settings.sqlite_file
    return has_keys and (file is None or os.access(file.parent, os.W_OK))
