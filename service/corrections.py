"""Correcting and erasing: by events that say so, for callers who administer."""

from typing import Annotated

from fastapi import Depends, Query, Request

from events.dialect import Writer
from events.log import Head, RecordedEvent
from projections.erasure import Erased, erase_trace
from projections.reverting import revert_run
from service.auth import Administrator, refuse_foreign_origin
from service.errors import IngestRoute
from service.ingest.intake import IntakePart, origin_of
from service.parameters import KNOWN_PARAMETERS_ONLY
from service.routes import LateRouter
from service.runs import path_id
from service.wire.corrections import ErasureReport, RevertReport, RevertRequest
from service.wire.errors import error_responses

router = LateRouter(
    tags=["corrections"],
    route_class=IngestRoute,
    dependencies=[Depends(refuse_foreign_origin), KNOWN_PARAMETERS_ONLY],
    responses=error_responses(401, 403, 404, 503),
)


@router.post("/runs/{run_id}/revert", responses=error_responses(400))
async def revert_run_to_version(
    run_id: str, asked: RevertRequest, request: Request, intake: IntakePart, caller: Administrator
) -> RevertReport:
    """Undo what was written to a run after a version. History keeps both what was undone and that it was."""
    id_ = path_id("run", run_id)
    origin = origin_of(request, caller)

    async def work(writer: Writer, head: Head, now: int) -> RecordedEvent:
        return await revert_run(
            writer,
            head,
            id_,
            to_version=asked.to_version,
            reason=asked.reason,
            origin=origin,
            rule=intake.settings.status_rule,
            now=now,
        )

    event = await intake.writer.command(work)
    return RevertReport(
        run_id=run_id,
        version=event.version,
        position=event.position,
        to_version=asked.to_version,
        reason=asked.reason,
    )


@router.delete("/traces/{trace_id}")
async def delete_trace(
    trace_id: str,
    request: Request,
    intake: IntakePart,
    caller: Administrator,
    reason: Annotated[
        str, Query(min_length=1, max_length=500, description="Why, for whoever reads the log. Kept for good.")
    ],
) -> ErasureReport:
    """Erase a trace for good: the payloads of all its runs, their attachments, and the feedback on them.

    Their places in the log remain, so that it still verifies. Late writes to the trace are counted and not kept.
    """
    id_ = path_id("trace", trace_id)
    origin = origin_of(request, caller)

    async def work(writer: Writer, head: Head, now: int) -> Erased:
        rule = intake.settings.status_rule
        return await erase_trace(writer, head, id_, reason=reason, origin=origin, rule=rule, now=now)

    erased = await intake.writer.command(work)
    return ErasureReport(
        trace_id=trace_id,
        position=erased.event.position,
        runs=erased.runs,
        feedback=erased.feedback,
        reason=reason,
        is_purged=await intake.writer.purge(),
    )
