"""The log itself, event by event: read in pages, or followed as it grows."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request
from fastapi.responses import Response, StreamingResponse
from sqlalchemy.ext.asyncio import AsyncConnection

from events import reading
from events.chain import GENESIS
from events.kinds import KINDS
from events.reading import End, LoggedEvent
from events.schema import events as events_table
from projections.streams import streams_of_trace
from service import log_rendering
from service.auth import authorise
from service.cursors import cursor, number_of
from service.dashboard import Text
from service.keys import Scope
from service.parameters import KNOWN_PARAMETERS_ONLY
from service.parts import EnginePart
from service.runs import path_id
from service.streaming import EventStream, LogFeed, Wanted
from service.wire.errors import error_responses
from service.wire.log import STREAM_RESPONSE, EventPage

router = APIRouter(
    prefix="/events",
    tags=["log"],
    dependencies=[Depends(authorise(Scope.READ)), KNOWN_PARAMETERS_ONLY],
    responses=error_responses(401, 403),
)

PAGE_BYTES_MAX: Final = 8 * 1024 * 1024
START: Final = "start"


async def feed(request: Request) -> LogFeed:
    found: LogFeed = request.app.state.feed
    return found


async def wanted(
    kind: Annotated[
        list[str] | None,
        Query(description=f"Only events of these kinds, repeated or separated by commas: {', '.join(KINDS)}."),
    ] = None,
    trace_id: Annotated[
        Text,
        Query(description="Only events of what is in this trace now: its runs, the feedback on them, its erasure."),
    ] = None,
    payload: Annotated[bool, Query(description="Whether to give payloads.")] = True,
) -> Wanted:
    """Which events a request asks for. Raises 422 for a kind that does not exist, or a trace's id that is none."""
    kinds = {name for text in kind or () for name in text.split(",") if name}
    for name in sorted(kinds.difference(KINDS)):
        raise HTTPException(422, f"{name!r} is no kind of event: there are {', '.join(KINDS)}")
    trace = None if trace_id is None else path_id("trace", trace_id)
    return Wanted(tuple(sorted(kinds)) or None, trace, payload)


FeedPart = Annotated[LogFeed, Depends(feed)]
WantedPart = Annotated[Wanted, Depends(wanted)]


@router.get("", response_model=EventPage, responses=error_responses(504))
async def read_events(
    engine: EnginePart,
    wanted: WantedPart,
    after: Annotated[
        Text, Query(description="Only events after this cursor: `next`, `head.cursor` or an event's own. Else all.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many at most.")] = 100,
) -> Response:
    """Events in the order of the log, which is the order of commits. A page ends early beyond 8 MB of payloads.

    `next` is where the next page begins, null at the end of the log. Go on from `head.cursor` later: nothing is missed
    and nothing comes twice. Of a run that comes to the trace asked for after a page was read, earlier events stay out.
    """
    async with engine.connect() as connection:
        position = 0 if after in (None, START) else await number_of(connection, events_table.c.position, after or "")
        end = await reading.read_end(connection)
        events, has_more = await _page(connection, wanted, after=position, end=end, limit=limit)
    body = await log_rendering.off_loop_if_large(
        events,
        lambda: log_rendering.event_page(events, end, has_more=has_more, with_payload=wanted.with_payload),
    )
    return Response(body, media_type="application/json")


@router.get("/stream", response_class=StreamingResponse, responses=STREAM_RESPONSE)
async def stream_events(
    engine: EnginePart,
    feed: FeedPart,
    wanted: WantedPart,
    after: Annotated[
        Text, Query(description="Begin after this cursor, or with `start` at the first event. Else at the end.")
    ] = None,
    last_event_id: Annotated[
        str | None, Header(description="The id of the last event that was received. It counts before `after`.")
    ] = None,
) -> Response:
    """The log as it grows, as server-sent events: `id` is an event's cursor, `event` its kind, `data` the event.

    Whoever connects again with `Last-Event-ID` goes on there, at any worker: nothing is missed and nothing comes twice.
    An id without data is where a reader stands that has got no event yet, or none of late. A comment comes every 15
    seconds. Browsers' `EventSource` cannot send an API key: with REQUIRE_AUTH read the stream with `fetch`, which can.
    """
    place = last_event_id or after
    async with engine.connect() as connection:
        if place is None:
            end = await reading.read_end(connection)
            return EventStream(feed, end.position, cursor(end.position, end.chain), wanted)
        if place == START:
            return EventStream(feed, 0, cursor(0, GENESIS), wanted)
        position = await number_of(connection, events_table.c.position, place)
    return EventStream(feed, position, place, wanted)


async def _page(
    connection: AsyncConnection, wanted: Wanted, *, after: int, end: End, limit: int
) -> tuple[list[LoggedEvent], bool]:
    """A page of events, and whether the log has more of them."""
    streams = None if wanted.trace_id is None else await streams_of_trace(connection, wanted.trace_id)
    positions = await reading.find_positions(
        connection, after=after, upto=end.position, limit=limit + 1, kinds=wanted.kinds, streams=streams
    )
    events = await reading.read_events(
        connection, positions[:limit], with_payload=wanted.with_payload, bytes_max=PAGE_BYTES_MAX
    )
    return events, len(events) < len(positions)
