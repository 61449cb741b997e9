"""The routes that take runs in, as LangSmith's SDKs send them."""

from collections.abc import Iterable, Sequence
from typing import Final

from fastapi import Request
from fastapi.responses import Response

from events.ids import parse_id
from events.jsontext import NotJSON, loads
from events.kinds import Operation
from events.log import NewEvent, Refused
from service.auth import Caller, Ingester
from service.errors import IngestRoute
from service.ingest.intake import IntakePart
from service.ingest.items import PATCH, POST, Item, UnusableBody, UnusableItem
from service.ingest.multipart import boundary_of, split
from service.ingest.multipart_items import each_of_multipart
from service.ingest.run_items import each_of_batch, run_items
from service.ingest.writer import Result
from service.routes import LateRouter
from service.wire.errors import error_responses
from service.wire.ingest import (
    BATCH_REQUEST,
    MULTIPART_REQUEST,
    PATCH_REQUEST,
    POST_REQUEST,
    Accepted,
    BatchReport,
)

router = LateRouter(tags=["ingest"], route_class=IngestRoute, responses=error_responses(401, 403, 413, 415, 503))

_MULTIPART_TAKEN: Final = Accepted(message="Runs ingested").model_dump_json().encode()


@router.post(
    "/runs/multipart",
    status_code=202,
    response_model=Accepted,
    responses=error_responses(400),
    openapi_extra=MULTIPART_REQUEST,
)
async def ingest_multipart(request: Request, intake: IntakePart, caller: Ingester) -> Response:
    """Take runs, feedback and attachments in parts. A part of which nothing can be made is kept in quarantine."""

    def itemise(body: bytes) -> Iterable[Item]:
        parts = split(body, boundary_of(request.headers.get("content-type", "")))
        return each_of_multipart(parts, field_bytes_max=intake.settings.max_trace_bytes)

    await intake.take(request, caller, itemise)
    return Response(_MULTIPART_TAKEN, status_code=202, media_type="application/json")


@router.post("/runs/batch", responses=error_responses(400), openapi_extra=BATCH_REQUEST)
async def ingest_batch(request: Request, intake: IntakePart, caller: Ingester) -> BatchReport:
    """Take posts and patches of runs as one JSON object. An item that cannot be used is named in `errors`."""

    def itemise(body: bytes) -> Iterable[Item]:
        try:
            return each_of_batch(body, field_bytes_max=intake.settings.max_trace_bytes)
        except NotJSON as error:
            raise UnusableBody(f'expected a JSON object {{"post": [...], "patch": [...]}}: {error}') from error

    items, results = await intake.take(request, caller, itemise)
    errors = [result.reason for result in results if result.reason is not None]
    return BatchReport(
        success=not errors,
        created_count=_count_applied("RunPosted", items, results),
        updated_count=_count_applied("RunPatched", items, results),
        errors=errors,
    )


@router.post("/runs", status_code=202, responses=error_responses(400), openapi_extra=POST_REQUEST)
async def post_run(request: Request, intake: IntakePart, caller: Ingester) -> Accepted:
    """Take one run, whole or just begun."""
    await _take_one(request, intake, caller, POST, None)
    return Accepted(message="Run created")


@router.patch("/runs/{run_id}", status_code=202, responses=error_responses(400), openapi_extra=PATCH_REQUEST)
async def patch_run(run_id: str, request: Request, intake: IntakePart, caller: Ingester) -> Accepted:
    """Take a change of a run. One that is not known yet is made of what the change says."""
    await _take_one(request, intake, caller, PATCH, run_id)
    return Accepted(message="Run updated")


async def _take_one(
    request: Request, intake: IntakePart, caller: Caller, operation: Operation, id_text: str | None
) -> None:
    def itemise(body: bytes) -> Sequence[Item]:
        run_id = None if id_text is None else parse_id(id_text)
        if id_text is not None and run_id is None:
            return [Refused(operation, f"{id_text!r} in the path is not a UUID", body)]
        limit = intake.settings.max_trace_bytes
        items = list(run_items(operation, body, source=operation, field_bytes_max=limit, run_id=run_id))
        if isinstance(items[0], Refused):
            require_json(body)
        return items

    _, results = await intake.take(request, caller, itemise)
    if results[0].outcome == "quarantined" and results[0].reason is not None:
        raise UnusableItem(results[0].reason)


def require_json(body: bytes) -> None:
    """Raise `UnusableBody` when a body is no JSON at all, which is answered otherwise than JSON that cannot be used."""
    try:
        loads(body)
    except NotJSON as error:
        raise UnusableBody(f"expected a JSON object: {error}") from error


def _count_applied(kind: str, items: Sequence[Item], results: Sequence[Result]) -> int:
    return sum(
        isinstance(item, NewEvent) and item.kind == kind and result.outcome == "applied"
        for item, result in zip(items, results, strict=True)
    )
