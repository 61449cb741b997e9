"""Feedback by people without an API key: tokens that allow it, and giving it with one."""

import time
import uuid
from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Annotated, Any, Final

from fastapi import HTTPException, Query, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from events import log
from events.dialect import Writer
from events.ids import format_id, parse_id
from events.instance import Instance
from events.jsontext import NotJSON, dumps, loads
from events.kinds import FeedbackPosted, FeedbackTokenCreated, feedback_stream, feedback_token_payload
from events.log import Head, NewEvent, Submission, seal
from events.times import LATEST_US, format_time, parse_time
from projections import erasure, feedback_tokens, projector
from projections.feedback_tokens import FeedbackToken
from service.auth import ANYONE, Ingester, Reader
from service.errors import IngestRoute
from service.ingest import items
from service.ingest.intake import IntakePart, origin_of
from service.json_bodies import JsonRoute
from service.parts import EnginePart
from service.paths import API_ROOT
from service.projects import InstancePart
from service.routes import LateRouter
from service.runs import path_id
from service.tokens import id_of, token_of
from service.wire.errors import error_responses
from service.wire.feedback_tokens import FeedbackGiven, TokenBody, TokenFeedback, TokenRequest


class TokenRoute(IngestRoute, JsonRoute):
    """A route that takes data in, as JSON."""


router = LateRouter(
    prefix="/feedback/tokens", tags=["feedback tokens"], route_class=TokenRoute, responses=error_responses(503)
)

_LIFETIME: Final = timedelta(hours=3)


@router.post("", responses=error_responses(400, 401, 403))
async def create_feedback_tokens(
    asked: TokenRequest | list[TokenRequest],
    request: Request,
    intake: IntakePart,
    instance: InstancePart,
    caller: Ingester,
) -> TokenBody | list[TokenBody]:
    """Let others give feedback on a run without an API key, for three hours unless asked otherwise.

    A list of requests is answered with a list of tokens.
    """
    wanted = asked if isinstance(asked, list) else [asked]
    created = [_created(one) for one in wanted]
    await intake.writer.submit(Submission(origin_of(request, caller), [_sealed(event) for event in created]))
    given = [_given(request, instance, event) for event in created]
    return given if isinstance(asked, list) else given[0]


@router.get("", responses=error_responses(401, 403, 504))
async def list_feedback_tokens(
    request: Request,
    engine: EnginePart,
    instance: InstancePart,
    _: Reader,
    run_id: Annotated[str, Query(description="The run that the feedback is on.")],
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
    offset: Annotated[int, Query(ge=0, le=2**62, description="How many to skip.")] = 0,
) -> list[TokenBody]:
    """The tokens for feedback on a run, the newest first, expired ones included."""
    id_ = path_id("run", run_id)
    async with engine.connect() as connection:
        found = await feedback_tokens.of_run(connection, id_, limit=limit, offset=offset)
    return [_given(request, instance, token) for token in found]


@router.post("/{token}", responses=error_responses(400, 403, 404))
async def give_feedback(
    token: str,
    said: TokenFeedback,
    request: Request,
    intake: IntakePart,
    engine: EnginePart,
    instance: InstancePart,
) -> FeedbackGiven:
    """Give the feedback that a token allows. Who says something else later adds another, as with LangSmith."""
    return await _give(token, said, request, intake, engine, instance)


@router.get("/{token}", responses=error_responses(400, 403, 404))
async def give_feedback_by_link(
    token: str,
    request: Request,
    intake: IntakePart,
    engine: EnginePart,
    instance: InstancePart,
    score: Annotated[str | None, Query(description="A number, `true` or `false`.")] = None,
    value: Annotated[str | None, Query(description="JSON, or else a text.")] = None,
    correction: Annotated[str | None, Query(description="JSON, or else a text.")] = None,
    comment: Annotated[str | None, Query(description="A text.")] = None,
) -> FeedbackGiven:
    """The same for links: the feedback that a token allows, from the query."""
    number = None if score is None else _json_or_text(score)
    if number is not None and not isinstance(number, (bool, int, float)):
        raise HTTPException(422, f"score is {score!r}: expected a number, true or false")
    members = {"value": value, "correction": correction}
    read = {name: None if text is None else _json_or_text(text) for name, text in members.items()}
    said = TokenFeedback(score=number, comment=comment, **read)
    return await _give(token, said, request, intake, engine, instance)


async def _give(
    token: str, said: TokenFeedback, request: Request, intake: IntakePart, engine: AsyncEngine, instance: Instance
) -> FeedbackGiven:
    allowed = await _allowed(engine, instance, token)
    source: dict[str, Any] = {"type": "api", "metadata": said.metadata or {}}
    members = {
        "feedback_source": source,
        "feedback_config": loads(allowed.config.encode()),
        **said.model_dump(exclude={"metadata"}, exclude_none=True),
    }
    origin, rule = origin_of(request, ANYONE), intake.settings.status_rule

    async def give(writer: Writer, head: Head, now: int) -> bytes:
        id_, item = await _posted(writer, head, allowed, members)
        appended = await log.append(writer, head, [Submission(origin, [item])], now=now, streams_of=erasure.streams_of)
        await projector.apply(writer, appended.events, rule=rule, shard=head.shard)
        return id_

    return FeedbackGiven(id=format_id(await intake.writer.command(give)))


async def _posted(
    writer: Writer, head: Head, allowed: FeedbackToken, members: Mapping[str, Any]
) -> tuple[bytes, items.Item]:
    """The feedback, and its id: that of the token for what was said first, else one that follows from what is said.

    What was first is asked of the log, while nobody else can write to it: of two people at once one is the first, and
    a request that is sent again finds itself there. So it adds no other one and leaves what a PATCH set since; what was
    deleted since is given anew.
    """
    item = _item(allowed, allowed.id, members)
    stream = await log.read_stream_written(writer, feedback_stream(allowed.id), shard=head.shard)
    first = next((event for event in stream if isinstance(event.body, FeedbackPosted)), None)
    if first is None or (isinstance(item, NewEvent) and first.payload == item.payload):
        return allowed.id, item
    id_ = uuid.uuid5(uuid.UUID(bytes=allowed.id), sha256(dumps(members)).hexdigest()).bytes
    return id_, _item(allowed, id_, members)


def _item(allowed: FeedbackToken, id_: bytes, members: Mapping[str, Any]) -> items.Item:
    told = {**members, "id": format_id(id_), "run_id": format_id(allowed.run_id), "key": allowed.key}
    return items.feedback_posted(dumps(told), source="feedback", feedback_id=id_)


async def _allowed(engine: AsyncEngine, instance: Instance, token: str) -> FeedbackToken:
    """What a token allows. Raises 404 for what is no token, and 403 for one that has expired."""
    given = parse_id(token)
    found = None
    if given is not None:
        async with engine.connect() as connection:
            found = await feedback_tokens.get(connection, id_of(instance.signing_key, given))
    if found is None:
        raise HTTPException(404, "There is no such token: ask whoever sent it for another one.")
    if found.expires_at < _now():
        raise HTTPException(403, f"This token expired at {format_time(found.expires_at)}: ask for another one.")
    return found


def _created(asked: TokenRequest) -> FeedbackTokenCreated:
    id_ = parse_id(asked.id) if asked.id is not None else None
    run_id = parse_id(asked.run_id)
    assert run_id is not None, "the wire's shape takes UUIDs only"
    id_ = items.new_id() if id_ is None else id_
    return FeedbackTokenCreated(id_, run_id, asked.feedback_key, _expiry(asked), dumps(asked.feedback_config))


def _sealed(event: FeedbackTokenCreated) -> NewEvent:
    payload = feedback_token_payload(event.run_id, event.key, event.expires_at, event.config)
    return seal("FeedbackTokenCreated", feedback_stream(event.feedback_id), payload, event)


def _expiry(asked: TokenRequest) -> int:
    """When a token expires, in µs."""
    if asked.expires_at is not None:
        return parse_time(asked.expires_at) or 0
    lifetime = _LIFETIME if asked.expires_in is None else asked.expires_in.lifetime()
    return min(_now() + lifetime // timedelta(microseconds=1), LATEST_US)


def _given(request: Request, instance: Instance, told: FeedbackToken | FeedbackTokenCreated) -> TokenBody:
    token = format_id(token_of(instance.signing_key, told.id if isinstance(told, FeedbackToken) else told.feedback_id))
    origin = str(request.base_url).rstrip("/")
    url = f"{origin}{API_ROOT}/feedback/tokens/{token}"
    return TokenBody(id=token, url=url, expires_at=format_time(told.expires_at))


def _json_or_text(text: str) -> Any:
    try:
        return loads(text.encode("utf-8", "replace"))
    except NotJSON:
        return text


def _now() -> int:
    return time.time_ns() // 1000
