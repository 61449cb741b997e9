"""Reading one run."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response

from events.ids import parse_id
from events.kinds import run_stream
from events.log import read_stream
from projections import attachments, record, traces
from projections.reverts import effective
from service import rendering
from service.addresses import Addresses, addresses
from service.auth import authorise
from service.keys import Scope
from service.parts import EnginePart
from service.rendering import StatusWords
from service.wire.errors import error_responses
from service.wire.runs import RunResponse

router = APIRouter(
    tags=["runs"],
    dependencies=[Depends(authorise(Scope.READ))],
    responses=error_responses(401, 403, 504),
)

AddressesPart = Annotated[Addresses, Depends(addresses)]


def path_id(noun: str, text: str) -> bytes:
    """The id in a path. Raises 422 when it is no UUID."""
    id_ = parse_id(text)
    if id_ is None:
        raise HTTPException(422, f"{text!r} is not the id of a {noun}: expected a UUID")
    return id_


def status_words(request: Request, asked: StatusWords | None) -> StatusWords:
    """LangSmith's words for its own SDKs, the documented ones for everyone else, unless asked for either."""
    if asked is not None:
        return asked
    is_sdk = request.headers.get("user-agent", "").startswith("langsmith")
    return "langsmith" if is_sdk else "documented"


@router.get("/runs/{run_id}", response_model=RunResponse, responses=error_responses(404))
async def read_run(
    run_id: str,
    request: Request,
    engine: EnginePart,
    addresses: AddressesPart,
    asked: Annotated[
        StatusWords | None,
        Query(
            alias="status_words",
            description="Which words `status` is in. By default LangSmith's for its SDKs, else the documented ones.",
        ),
    ] = None,
) -> Response:
    """A run with every field that was ever said of it."""
    id_ = path_id("run", run_id)
    async with engine.connect() as connection:
        named = await traces.get_run(connection, id_)
        if named is None:
            raise HTTPException(404, f"There is no run {run_id}.")
        told = record.fold(effective(await read_stream(connection, run_stream(id_))))
        attached = (await attachments.of_runs(connection, [id_])).get(id_, [])
        needs_above = "dotted_order" not in told.members
        above = await traces.ancestors(connection, named.run) if needs_above else []
    body = rendering.run(named, told, attached, above, addresses, words=status_words(request, asked))
    return Response(body, media_type="application/json", headers={"Vary": "User-Agent"})
