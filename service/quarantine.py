"""The quarantine: what no event could be made of, and trying it again."""

from hashlib import sha256
from typing import Annotated

import orjson
from fastapi import Depends, Path, Query, Request
from fastapi.responses import Response

from events import quarantine
from events.schema import quarantine as quarantine_table
from service import log_rendering, retrying
from service.auth import Administrator, Reader, refuse_foreign_origin
from service.cursors import cursor, number_of
from service.dashboard import Text
from service.errors import IngestRoute
from service.ingest.body import read_body
from service.ingest.intake import IntakePart, origin_of
from service.parameters import KNOWN_PARAMETERS_ONLY
from service.parts import EnginePart
from service.receipts import Order
from service.routes import LateRouter
from service.wire.errors import error_responses
from service.wire.log import RETRY_REQUEST, PositionsBody, QuarantinedItem, QuarantinePage, RetryReport

router = LateRouter(
    prefix="/quarantine",
    tags=["log"],
    route_class=IngestRoute,
    dependencies=[KNOWN_PARAMETERS_ONLY],
    responses=error_responses(401, 403),
)

Number = Annotated[int, Path(ge=1, le=2**62, description="Its number.")]


@router.get("", response_model=QuarantinePage, responses=error_responses(504))
async def read_quarantine(
    engine: EnginePart,
    _: Reader,
    after: Annotated[Text, Query(description="Only items after this cursor. Else all.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
    order: Annotated[Order, Query(description="`asc`, the oldest first, or `desc`, the newest first.")] = "asc",
) -> Response:
    """What is in quarantine, in the order in which it came. What was retried with success stays, and says so."""
    async with engine.connect() as connection:
        number = 0 if after is None else await number_of(connection, quarantine_table.c.quarantine_id, after)
        found = await quarantine.read_page(connection, after=number, limit=limit + 1, newest_first=order == "desc")
    page = found[:limit]
    next_ = cursor(page[-1].quarantine_id, page[-1].chain) if len(found) > limit else None
    return _json({"items": [log_rendering.quarantined(item) for item in page], "next": next_})


@router.get("/{quarantine_id}", response_model=QuarantinedItem, responses=error_responses(404, 504))
async def read_quarantined(engine: EnginePart, _: Reader, quarantine_id: Number) -> Response:
    """One item in quarantine, with its bytes."""
    async with engine.connect() as connection:
        item = await retrying.read_item(connection, quarantine_id)
        raw = await quarantine.read_raw(connection, quarantine_id)
    return _json({**log_rendering.quarantined(item), **log_rendering.raw(raw)})


@router.post(
    "/{quarantine_id}/retry",
    dependencies=[Depends(refuse_foreign_origin)],
    responses=error_responses(400, 404, 409, 410, 413, 415, 503),
    openapi_extra=RETRY_REQUEST,
)
async def retry_quarantined(
    quarantine_id: Number, request: Request, engine: EnginePart, intake: IntakePart, caller: Administrator
) -> RetryReport:
    """Try an item again: as it is, or as the body corrects it. All of it becomes events, or nothing does.

    It comes as a request of its own, with a receipt of its own. The item stays, and says what became of it.
    """
    with intake.memory.hold() as hold:
        body = await read_body(
            request.stream(),
            request.headers.get("content-encoding"),
            bytes_max=intake.settings.max_body_bytes,
            on_growth=hold.grow_to,
        )
        retried = await retrying.retry(
            engine,
            intake.writer,
            intake.settings,
            quarantine_id,
            corrected=body or None,
            origin=origin_of(request, caller, content_size=len(body), content_hash=sha256(body).digest()),
        )
    positions = retried.positions
    return RetryReport.model_validate(
        {
            "quarantine_id": quarantine_id,
            "outcome": retried.outcome,
            "receipt_id": retried.receipt_id,
            "positions": PositionsBody(first=positions[0], last=positions[-1]) if positions else None,
        }
    )


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
