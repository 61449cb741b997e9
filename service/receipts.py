"""Receipts: what each request brought, when and from whom."""

from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from events import quarantine, reading, receipts
from events.receipts import Counts
from events.schema import receipts as receipts_table
from service import log_rendering
from service.auth import authorise
from service.cursors import cursor, number_of
from service.dashboard import Text
from service.keys import Scope
from service.parameters import KNOWN_PARAMETERS_ONLY
from service.parts import EnginePart
from service.wire.errors import error_responses
from service.wire.log import ReceiptDetail, ReceiptPage

router = APIRouter(
    prefix="/receipts",
    tags=["log"],
    dependencies=[Depends(authorise(Scope.READ)), KNOWN_PARAMETERS_ONLY],
    responses=error_responses(401, 403, 504),
)

Order = Literal["asc", "desc"]


class ReceiptSums:
    """The sums over all receipts. A receipt never changes, so each is added once in the life of a process."""

    def __init__(self) -> None:
        self._upto = 0
        self._sums = Counts(0, 0, 0, 0)

    async def read(self, connection: AsyncConnection) -> Counts:
        """The sums over all receipts that are there now."""
        known, upto = self._sums, self._upto
        last = await receipts.last_receipt_id(connection)
        added = await receipts.sum_counts(connection, after=upto, upto=last)
        sums = Counts(*(old + new for old, new in zip(known, added, strict=True)))
        if last > self._upto:  # Another request may have come further meanwhile.
            self._upto, self._sums = last, sums
        return sums


async def sums(request: Request) -> ReceiptSums:
    found: ReceiptSums = request.app.state.receipt_sums
    return found


@router.get("", response_model=ReceiptPage)
async def read_receipts(
    engine: EnginePart,
    sums: Annotated[ReceiptSums, Depends(sums)],
    after: Annotated[Text, Query(description="Only receipts after this cursor. Else all.")] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
    order: Annotated[Order, Query(description="`asc`, the oldest first, or `desc`, the newest first.")] = "asc",
) -> Response:
    """Receipts in order, and the sums over all of them: received = applied + duplicate + quarantined."""
    async with engine.connect() as connection:
        number = 0 if after is None else await number_of(connection, receipts_table.c.receipt_id, after)
        found = await receipts.read_page(connection, after=number, limit=limit + 1, newest_first=order == "desc")
        page = found[:limit]
        first = min((stored.receipt_id for stored in page), default=0)
        position = await reading.first_position_of(connection, first) if page else 0
        total = await sums.read(connection)
    shown = []
    for stored in sorted(page, key=lambda one: one.receipt_id):  # Events are numbered in the order of their receipts.
        shown.append(log_rendering.receipt(stored, position))
        position += stored.applied
    if order == "desc":
        shown.reverse()
    next_ = cursor(page[-1].receipt_id, page[-1].chain) if len(found) > limit else None
    return _json({"receipts": shown, "next": next_, "sums": log_rendering.counts(total)})


@router.get("/{receipt_id}", response_model=ReceiptDetail, responses=error_responses(404))
async def read_receipt(
    engine: EnginePart, receipt_id: Annotated[int, Path(ge=1, le=2**62, description="Its number.")]
) -> Response:
    """A receipt with what it brought again, and what of it is in quarantine."""
    async with engine.connect() as connection:
        stored = await receipts.read_receipt(connection, receipt_id)
        if stored is None:
            raise HTTPException(404, f"There is no receipt {receipt_id}.")
        shown = log_rendering.receipt(stored, await reading.first_position_of(connection, receipt_id))
        repeated = await receipts.read_repetitions(connection, receipt_id)
        items = await quarantine.read_of_receipt(connection, receipt_id)
    shown["duplicates"] = [log_rendering.repetition(one) for one in repeated]
    shown["quarantine"] = [log_rendering.quarantined(item) for item in items]
    return _json(shown)


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
