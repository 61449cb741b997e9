"""Reading one run."""

from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from events.ids import parse_id
from events.kinds import run_stream
from events.log import read_stream
from projections import asof, attachments, details, record, traces
from projections.asof import WholeRun
from projections.details import Details, Part
from projections.reverts import effective
from projections.rollup import AMOUNTS
from service import rendering
from service.addresses import SitePart
from service.asof import MomentOfRunPart
from service.auth import authorise
from service.keys import Scope
from service.parts import EnginePart, SettingsPart
from service.rendering import StatusWords
from service.requests import is_langsmith_sdk
from service.run_fields import V1, document, parts_of
from service.wire.errors import error_responses
from service.wire.runs import RunResponse

router = APIRouter(
    tags=["runs"],
    dependencies=[Depends(authorise(Scope.READ))],
    responses=error_responses(401, 403, 504),
)
_MORE: Final = ("parent_run_ids", "app_path", "feedback_stats")
# What LangSmith's SDKs look for: old ones find the runs below a run by these ids.
_MORE_FOR_SDKS: Final = (*AMOUNTS, "child_run_ids")
_OTHERS: Final = Part.FEEDBACK | Part.TOTALS | Part.BELOW


def path_id(noun: str, text: str) -> bytes:
    """The id in a path. Raises 422 when it is no UUID."""
    id_ = parse_id(text)
    if id_ is None:
        raise HTTPException(422, f"{text!r} is not the id of a {noun}: expected a UUID")
    return id_


def then(position: int | None) -> str:
    """How a sentence ends that is about an earlier moment of the log."""
    return "" if position is None else f" as of position {position}: it came later, or was erased since"


def status_words(request: Request, asked: StatusWords | None) -> StatusWords:
    """LangSmith's words for its own SDKs, the documented ones for everyone else, unless asked for either."""
    if asked is not None:
        return asked
    return "langsmith" if is_langsmith_sdk(request.headers) else "documented"


@router.get("/runs/{run_id}", response_model=RunResponse, responses=error_responses(404))
async def read_run(
    run_id: str,
    request: Request,
    engine: EnginePart,
    settings: SettingsPart,
    site: SitePart,
    moment: MomentOfRunPart,
    asked: Annotated[
        StatusWords | None,
        Query(
            alias="status_words",
            description="Which words `status` is in. By default LangSmith's for its SDKs, else the documented ones.",
        ),
    ] = None,
) -> Response:
    """A run with every field that was ever said of it: now, or as of an earlier moment."""
    id_ = path_id("run", run_id)
    async with engine.connect() as connection:
        position = await moment.find(connection, id_)
        if position is None:
            found = await _read_now(connection, id_)
        else:
            found = await asof.run_at(connection, id_, position, rule=settings.status_rule)
        if found is None:
            raise HTTPException(404, f"There is no run {run_id}{then(position)}.")
        words = status_words(request, asked)
        fields = _MORE + (_MORE_FOR_SDKS if words == "langsmith" else ())
        # What others tell is not known as it was then.
        others = parts_of(V1, fields) & _OTHERS if position is None else Part.ROW
        run = await _detailed(connection, found, others)
    more = document(V1, fields, run, site)
    body = rendering.run(
        found.named, found.record, found.attachments, found.above, site.addresses, words=words, more=more
    )
    return Response(body, media_type="application/json", headers={"Vary": "User-Agent"})


async def _detailed(connection: AsyncConnection, found: WholeRun, others: Part) -> Details:
    """The run with what is told of it by others: those below it, and whoever gave feedback."""
    (told,) = await details.read(connection, [found.named.run], others, bytes_max=0)
    return replace(told, record=found.record, attachments=found.attachments, above=found.above)


async def _read_now(connection: AsyncConnection, run_id: bytes) -> WholeRun | None:
    named = await traces.get_run(connection, run_id)
    if named is None:
        return None
    told = record.fold(effective(await read_stream(connection, run_stream(run_id))))
    attached = (await attachments.of_runs(connection, [run_id])).get(run_id, [])
    above = await traces.ancestors(connection, named.run) if asof.needs_above(told) else []
    return WholeRun(named, told, attached, above)
