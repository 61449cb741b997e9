"""Feedback: given, changed, read and deleted. It may come before the run it is about."""

from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import Depends, HTTPException, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from events.ids import format_id, parse_id
from events.jsontext import NotJSON, loads
from events.log import NewEvent, Refused
from events.times import format_time, parse_time
from projections import feedback
from projections.feedback import Feedback, Level, Wanted
from service.auth import Administrator, Ingester, Reader, refuse_foreign_origin
from service.errors import IngestRoute
from service.ingest import items
from service.ingest.intake import IntakePart
from service.ingest.items import Item, UnusableItem
from service.ingest.routes import require_json
from service.parts import EnginePart
from service.projects import MOMENT_SCHEMA, Moment
from service.routes import LateRouter
from service.runs import path_id
from service.wire.errors import error_responses
from service.wire.feedback import FeedbackBody, feedback_request

router = LateRouter(
    prefix="/feedback", tags=["feedback"], route_class=IngestRoute, responses=error_responses(401, 403, 503)
)


@router.post(
    "", response_model=FeedbackBody, openapi_extra=feedback_request("key"), responses=error_responses(400, 413, 415)
)
async def post_feedback(request: Request, intake: IntakePart, engine: EnginePart, caller: Ingester) -> Response:
    """Give feedback. One that was given before with the same bytes is not given again."""
    taken, results = await intake.take(
        request, caller, lambda body: _usable(items.feedback_posted(body, source="feedback"), body)
    )
    if results[0].reason is not None:
        raise UnusableItem(results[0].reason)
    (item,) = taken
    assert isinstance(item, NewEvent)
    return await _answer(engine, item.stream[1:])


@router.patch(
    "/{feedback_id}",
    response_model=FeedbackBody,
    openapi_extra=feedback_request(),
    responses=error_responses(400, 404, 413, 415),
)
async def patch_feedback(
    feedback_id: str, request: Request, intake: IntakePart, engine: EnginePart, caller: Ingester
) -> Response:
    """Change feedback: a member that is present sets, null clears."""
    id_ = parse_id(feedback_id)

    def itemise(body: bytes) -> Sequence[Item]:
        if id_ is None:
            return [Refused("feedback", f"{feedback_id!r} in the path is not a UUID", body)]
        return _usable(items.feedback_patched(id_, body, source="feedback"), body)

    _, results = await intake.take(request, caller, itemise)
    if results[0].reason is not None or id_ is None:
        raise UnusableItem(results[0].reason)
    return await _answer(engine, id_)


@router.get("/{feedback_id}", response_model=FeedbackBody, responses=error_responses(404, 504))
async def read_feedback(feedback_id: str, engine: EnginePart, _: Reader) -> Response:
    """One feedback."""
    return await _answer(engine, path_id("feedback", feedback_id))


@router.get("", response_model=list[FeedbackBody], responses=error_responses(504))
async def list_feedback(
    engine: EnginePart,
    _: Reader,
    run: Annotated[list[str] | None, Query(description="Only feedback on these runs.")] = None,
    key: Annotated[list[str] | None, Query(description="Only feedback with these keys.")] = None,
    source: Annotated[
        list[str] | None, Query(description="Only feedback from these types of sources, such as `api` and `model`.")
    ] = None,
    session: Annotated[
        list[str] | None, Query(description="Only feedback on these projects, or on runs that are in them.")
    ] = None,
    user: Annotated[list[str] | None, Query(description="Only feedback that these users gave.")] = None,
    has_comment: Annotated[bool | None, Query(description="Only feedback with a comment; false: without.")] = None,
    has_score: Annotated[bool | None, Query(description="Only feedback with a score; false: without.")] = None,
    level: Annotated[Level | None, Query(description="Only feedback on runs, or on projects as a whole.")] = None,
    min_created_at: Annotated[
        Moment, Query(description="Only feedback that came then or later.", json_schema_extra=MOMENT_SCHEMA)
    ] = None,
    max_created_at: Annotated[
        Moment, Query(description="Only feedback that came then or earlier.", json_schema_extra=MOMENT_SCHEMA)
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
    offset: Annotated[int, Query(ge=0, le=2**62, description="How many to skip.")] = 0,
) -> Response:
    """Feedback, the newest first."""
    wanted = Wanted(
        run_ids=[path_id("run", text) for text in run or ()],
        keys=key or (),
        sources=[_source(word) for word in source or ()],
        project_ids=[path_id("project", text) for text in session or ()],
        users=user or (),
        has_comment=has_comment,
        has_score=has_score,
        level=level,
        recorded_from=min_created_at,
        recorded_to=max_created_at,
    )
    async with engine.connect() as connection:
        found = await feedback.find(connection, wanted, limit=limit, offset=offset)
    return _json([shown(one) for one in found])


@router.delete(
    "/{feedback_id}", status_code=204, dependencies=[Depends(refuse_foreign_origin)], response_class=Response
)
async def delete_feedback(feedback_id: str, request: Request, intake: IntakePart, caller: Administrator) -> None:
    """Delete feedback. What is not there stays so."""
    id_ = path_id("feedback", feedback_id)
    await intake.take(request, caller, lambda _: [items.feedback_deleted(id_)])


def _source(word: str) -> str:
    """The type of a source; Python's SDK may send the name of its enumeration with it."""
    return word.removeprefix("FeedbackSourceType.").lower()


def _usable(item: Item, body: bytes) -> Sequence[Item]:
    if isinstance(item, Refused):
        require_json(body)
    return [item]


async def _answer(engine: AsyncEngine, feedback_id: bytes) -> Response:
    async with engine.connect() as connection:
        found = await feedback.get(connection, feedback_id)
    if found is None:
        raise HTTPException(404, f"There is no feedback {format_id(feedback_id)}.")
    return _json(shown(found))


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


def shown(told: Feedback) -> dict[str, Any]:
    """A feedback as it is answered."""
    members: dict[str, Any] = {name: orjson.Fragment(text) for name, text in told.members.items()}
    created = _time(told, "created_at") or told.first_recorded_at
    return {
        **dict.fromkeys(feedback.MEMBERS),
        **members,
        "score": orjson.Fragment(told.members.get("score", "null")) if _is_score(told) else None,
        "id": format_id(told.id),
        "run_id": None if told.run_id is None else format_id(told.run_id),
        "trace_id": None if told.trace_id is None else format_id(told.trace_id),
        "key": told.key,
        "created_at": format_time(created),
        "modified_at": format_time(_time(told, "modified_at") or told.last_recorded_at),
    }


def _is_score(told: Feedback) -> bool:
    """Whether the score is what SDKs read, a number or a boolean."""
    return isinstance(_value(told, "score"), (bool, int, float))


def _time(told: Feedback, name: str) -> int | None:
    return parse_time(_value(told, name))


def _value(told: Feedback, name: str) -> Any:
    try:
        return loads(told.members.get(name, "null").encode())
    except NotJSON:
        return None
