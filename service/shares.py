"""Sharing a run: whoever has the token may read its trace without an API key."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastapi import Depends, Request, Response

from events.dialect import Writer
from events.ids import format_id, parse_id
from events.log import Head
from projections import shares
from projections.sharing import Sharing
from service.auth import Administrator, Caller, Reader, refuse_foreign_origin
from service.ingest.intake import IntakePart, origin_of
from service.json_bodies import JsonRoute
from service.parts import EnginePart
from service.routes import LateRouter
from service.runs import path_id
from service.wire.errors import error_responses
from service.wire.shares import ShareBody, ShareRequest, ShareV2Body, ShareV2Request

router = LateRouter(
    prefix="/runs/{run_id}/share", tags=["shares"], route_class=JsonRoute, responses=error_responses(401, 403)
)
router_v2 = LateRouter(prefix="/runs/{run_id}/share", tags=["shares (v2)"], responses=error_responses(401, 403))

_OWN_ORIGIN = [Depends(refuse_foreign_origin)]

T = TypeVar("T")


@router.put("", dependencies=_OWN_ORIGIN, responses=error_responses(400, 404, 409, 503))
async def share_run(
    run_id: str, request: Request, intake: IntakePart, caller: Administrator, asked: ShareRequest | None = None
) -> ShareBody:
    """Share a run, and with it its whole trace. One that is shared already keeps its token."""
    id_ = path_id("run", run_id)
    wanted = None if asked is None or asked.share_token is None else parse_id(asked.share_token)
    return _shown(id_, await _share(request, intake, caller, id_, wanted))


@router.get("", responses=error_responses(504))
async def read_share(run_id: str, engine: EnginePart, _: Reader) -> ShareBody | None:
    """The token by which a run is shared; null when it is not."""
    id_ = path_id("run", run_id)
    async with engine.connect() as connection:
        token = await shares.token_of(connection, id_)
    return None if token is None else _shown(id_, token)


@router.delete("", status_code=204, response_class=Response, dependencies=_OWN_ORIGIN, responses=error_responses(503))
async def unshare_run(run_id: str, request: Request, intake: IntakePart, caller: Administrator) -> None:
    """Take back that a run is shared. Its token is of no use from then on."""
    await _unshare(request, intake, caller, path_id("run", run_id))


@router_v2.post("", dependencies=_OWN_ORIGIN, responses=error_responses(400, 404, 503))
async def share_run_v2(
    run_id: str, request: Request, intake: IntakePart, caller: Administrator, _: ShareV2Request | None = None
) -> ShareV2Body:
    """Share a run, and with it its whole trace. One that is shared already keeps its token."""
    token = await _share(request, intake, caller, path_id("run", run_id), None)
    return ShareV2Body(share_token=format_id(token))


@router_v2.delete(
    "", status_code=204, response_class=Response, dependencies=_OWN_ORIGIN, responses=error_responses(503)
)
async def unshare_run_v2(run_id: str, request: Request, intake: IntakePart, caller: Administrator) -> None:
    """Take back that a run is shared. Its token is of no use from then on."""
    await _unshare(request, intake, caller, path_id("run", run_id))


async def _share(request: Request, intake: IntakePart, caller: Caller, run_id: bytes, token: bytes | None) -> bytes:
    return await _change(request, intake, caller, lambda sharing: sharing.share(run_id, token))


async def _unshare(request: Request, intake: IntakePart, caller: Caller, run_id: bytes) -> None:
    await _change(request, intake, caller, lambda sharing: sharing.unshare(run_id))


async def _change(request: Request, intake: IntakePart, caller: Caller, work: Callable[[Sharing], Awaitable[T]]) -> T:
    """Do work on shares while nobody else can, in the name of the caller."""
    origin = origin_of(request, caller)

    async def change(writer: Writer, head: Head, now: int) -> T:
        return await work(Sharing(writer, head, origin, intake.settings.status_rule, now))

    return await intake.writer.command(change)


def _shown(run_id: bytes, token: bytes) -> ShareBody:
    return ShareBody(run_id=format_id(run_id), share_token=format_id(token))
