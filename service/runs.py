"""Reading one run."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Final

from fastapi import Depends, HTTPException, Query, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from events.contents import holding_contents
from events.ids import parse_id
from events.kinds import TraceErased, run_stream
from events.log import read_stream
from events.prepared import answers
from events.times import format_time
from projections import asof, attachments, details, feedback, record, traces
from projections.asof import WholeRun
from projections.details import Details, Part
from projections.erasure import erasure_of
from projections.feedback import Feedback
from projections.record import Record
from projections.reverts import effective
from projections.rollup import AMOUNTS
from projections.runs import as_row, tells_dotted_order
from service import etags, rendering
from service.addresses import Site, SitePart
from service.asof import MomentOfRunPart
from service.auth import authorise
from service.keys import Scope
from service.parts import EnginePart, SettingsPart
from service.rendering import StatusWords
from service.requests import is_langsmith_sdk
from service.routes import LateRouter
from service.run_fields import V1, document, parts_of
from service.wire.errors import NOT_MODIFIED, error_responses
from service.wire.runs import RunResponse

router = LateRouter(
    tags=["runs"],
    dependencies=[Depends(authorise(Scope.READ))],
    responses=error_responses(401, 403, 504),
)
_MORE: Final = ("parent_run_ids", "app_path", "feedback_stats")
# What LangSmith's SDKs look for: old ones find the runs below a run by these ids.
_MORE_FOR_SDKS: Final = (*AMOUNTS, "child_run_ids")
# Beside feedback, which is asked for with the run.
_OTHERS: Final = Part.TOTALS | Part.BELOW
# Told by the run itself and those above it; the rest by others.
_OF_ITS_PLACE: Final = frozenset({"parent_run_ids"})
_VARY: Final = "User-Agent"


def path_id(noun: str, text: str) -> bytes:
    """The id in a path. Raises 422 when it is no UUID."""
    id_ = parse_id(text)
    if id_ is None:
        raise HTTPException(422, f"{text!r} is not the id of a {noun}: expected a UUID")
    return id_


def then(position: int | None) -> str:
    """How a sentence ends that is about an earlier moment of the log."""
    return "" if position is None else f" as of position {position}: it came later, or was erased since"


async def absence(connection: AsyncConnection, position: int | None, *streams: bytes) -> str:
    """How a sentence ends that is about a run or trace that there is not: when and why it was erased, if it was."""
    if position is not None:
        return then(position)
    for stream in streams:
        event = await erasure_of(connection, stream)
        if event is not None and isinstance(event.body, TraceErased):
            return f": it was erased at {format_time(event.recorded_at)} ({event.body.reason})"
    return ""


def status_words(request: Request, asked: StatusWords | None) -> StatusWords:
    """LangSmith's words for its own SDKs, the documented ones for everyone else, unless asked for either."""
    if asked is not None:
        return asked
    return "langsmith" if is_langsmith_sdk(request.headers) else "documented"


@router.get("/runs/{run_id}", response_model=RunResponse, responses=NOT_MODIFIED | error_responses(404))
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
    words = status_words(request, asked)
    async with engine.connect() as connection:
        position = await moment.find(connection, id_)
        # What others tell is not known as it was then.
        given: list[Feedback] = []
        if position is None:
            found, given, is_holding = await _find_now(connection, id_)
        else:
            found = await asof.run_at(connection, id_, position, rule=settings.status_rule)
            is_holding = await holding_contents(run_stream(id_)).answer(connection)
        if found is None:
            raise HTTPException(404, f"There is no run {run_id}{await absence(connection, position, run_stream(id_))}.")
        fields = _MORE + (_MORE_FOR_SDKS if words == "langsmith" else ())
        others = parts_of(V1, fields) & _OTHERS if position is None else Part.ROW
        (told,) = await details.read(connection, [found.named.run], others, bytes_max=0)
        told = replace(told, feedback=given)
        # What the addresses in the answer depend on, where it holds any.
        expiring = (site.addresses.origin, etags.period()) if is_holding else None
        tag = etags.etag(settings.app_version, words, *_parts(found), _told_by_others(told, fields, site), expiring)
        if etags.is_held(tag, request.headers):
            return etags.unchanged(tag, Vary=_VARY)
        if position is None:
            found = await _read_record(connection, found)
    run = replace(told, record=found.record, attachments=found.attachments, above=found.above)
    more = document(V1, fields, run, site)
    body = rendering.run(
        found.named, found.record, found.attachments, found.above, site.addresses, words=words, more=more
    )
    return Response(body, media_type="application/json", headers=etags.headers_of(tag, Vary=_VARY))


async def _find_now(connection: AsyncConnection, run_id: bytes) -> tuple[WholeRun | None, list[Feedback], bool]:
    """A run, its record empty yet, and the feedback on it; and whether parts of it are in the content store."""
    named, attached, given, is_holding = await answers(
        connection,
        traces.a_run(run_id),
        attachments.on_runs([run_id]),
        feedback.on_runs([run_id]),
        holding_contents(run_stream(run_id)),
    )
    if named is None:
        return None, given, is_holding
    above = [] if tells_dotted_order(named.run) else await traces.ancestors(connection, named.run)
    return WholeRun(named, Record(), attached.get(run_id, []), above), given, is_holding


async def _read_record(connection: AsyncConnection, found: WholeRun) -> WholeRun:
    """The run with its record: of the events that its row is made of, though others may have come since."""
    run = found.named.run
    told = record.fold(effective(await read_stream(connection, run_stream(run.id), upto_version=run.version)))
    is_place_moved = asof.needs_above(told) and tells_dotted_order(run)  # Its dotted order was too large for the log.
    above = await traces.ancestors(connection, run) if is_place_moved else found.above
    return replace(found, record=told, above=above)


def _parts(found: WholeRun) -> tuple[object, ...]:
    """What the answer is made of. The record follows from the row's version: no event of a run ever changes."""
    above = [(run.id, run.start_time, run.parent_run_id) for run in found.above]
    return as_row(found.named.run), found.named.project_name, found.attachments, above


def _told_by_others(told: Details, fields: Iterable[str], site: Site) -> bytes:
    """What feedback and the runs below say, as it is shown."""
    return rendering.body_of(document(V1, [name for name in fields if name not in _OF_ITS_PLACE], told, site))
