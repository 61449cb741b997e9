"""The history of a run: what each event changed and who sent it, and how any two versions differ."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException, Path, Query
from fastapi.responses import Response
from orjson import Fragment
from sqlalchemy.ext.asyncio import AsyncConnection

from events.codec import Offloaded
from events.contents import read_content
from events.errors import PayloadErased
from events.ids import format_id
from events.jsontext import clean
from events.kinds import RunReverted, TraceErased, run_stream
from events.log import RecordedEvent, read_stream
from events.positions import last_version
from events.receipts import Repeated, StoredReceipt, read_receipts, read_repeated
from events.soundness import check_stream
from events.times import format_time
from projections import history
from projections.erasure import erasure_of
from projections.extraction import preview
from projections.history import Change, Fields, Mutation, Value
from service.addresses import Addresses, AddressesPart
from service.asof import NUMBER_MAX, require_version
from service.auth import authorise
from service.keys import Scope
from service.parameters import KNOWN_PARAMETERS_ONLY
from service.parts import EnginePart, SettingsPart
from service.paths import API_ROOT
from service.rendering import body_of
from service.runs import path_id
from service.wire.errors import error_responses
from service.wire.history import ChainFinding, RunChainResponse, RunDiffResponse, RunHistoryResponse

router = APIRouter(
    prefix="/runs/{run_id}",
    tags=["history"],
    dependencies=[Depends(authorise(Scope.READ)), KNOWN_PARAMETERS_ONLY],
    responses=error_responses(401, 403, 404, 504),
)

T = TypeVar("T")

VALUE_BYTES_MAX: Final = 4096
"""A larger value is told by its size and hash, and where to fetch it."""
DUPLICATES_MAX: Final = 20
"""Of an event that came again more often, only the last requests that brought it are told."""
PAGE_BYTES_MAX: Final = 8 * 1024 * 1024
"""A page ends with the mutation that makes it larger."""
CHECKED_MAX: Final = 200
"""Of a run with more events, only the newest are checked."""
# Folding fewer events takes less than handing them to a thread and waiting for it may.
_IN_LOOP_EVENTS_MAX: Final = 100


@router.get("/events", response_model=RunHistoryResponse)
async def read_history(
    run_id: str,
    engine: EnginePart,
    addresses: AddressesPart,
    after: Annotated[int, Query(ge=0, le=NUMBER_MAX, description="Only what came after this version.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="How many mutations at most.")] = 50,
) -> Response:
    """What happened to a run, in order: every post, patch, attachment and revert, who sent it, and what it changed;
    and of an erased run who erased it, when and why.

    A page ends early when it grows beyond 8 MB: go on with `next_after`.
    """
    id_ = path_id("run", run_id)
    async with engine.connect() as connection:
        newest = await _newest_version(connection, id_)
        events = await read_stream(connection, run_stream(id_), upto_version=after + limit)
        page = await _fold(events, lambda: list(history.mutations(events, after=after)))
        repeated = await read_repeated(
            connection,
            run_stream(id_),
            after_version=after,
            upto_version=after + limit,
            latest_max=DUPLICATES_MAX,
        )
        erasure = await erasure_of(connection, run_stream(id_))
        receipts = await read_receipts(connection, _receipt_ids(page, repeated.values(), erasure))
    shown = _Shown(id_, addresses, receipts)
    told: list[Fragment] = []
    size = 0
    for mutation in page:
        body = body_of(shown.mutation(mutation, repeated.get(mutation.event.version)))
        told.append(Fragment(body))
        size += len(body)
        if size > PAGE_BYTES_MAX:
            break
    last = after + len(told)
    next_after = last if told and last < newest else None
    return _json(
        {
            "run_id": format_id(id_),
            "version": newest,
            "mutations": told,
            "erasure": shown.erasure(erasure),
            "next_after": next_after,
        }
    )


@router.get(
    "/events/{version}/fields",
    response_class=Response,
    responses={
        200: {
            "description": "The value as JSON, byte for byte as it was sent.",
            "content": {
                "application/json": {"schema": {"description": "Any JSON value."}, "example": {"query": "Analyze"}}
            },
        },
        **error_responses(410),
    },
)
async def read_field(
    run_id: str,
    version: Annotated[int, Path(ge=1, le=NUMBER_MAX, description="A version of the run.")],
    engine: EnginePart,
    name: Annotated[str, Query(description="The field, as the history names it.")],
    which: Annotated[
        Literal["standing", "said"],
        Query(description="The value that stood after that version, or the one that its write said."),
    ] = "standing",
) -> Response:
    """The whole value of one field as of a version, however large."""
    id_ = path_id("run", run_id)
    async with engine.connect() as connection:
        require_version(id_, version, newest=await _newest_version(connection, id_))
        events = await _read_whole(connection, id_, version)
        said = which == "said"
        fields = history.fields_said(events[-1]) if said else await _fields_at(events, version)
        value = next((value for path, value in fields.items() if _name(path) == name), None)
        body = await read_content(connection, bytes.fromhex(value.hash)) if isinstance(value, Offloaded) else value
    if body is None:
        raise HTTPException(404, f"Run {run_id} has no field {name!r} as of version {version}.")
    headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'"}
    return Response(body, media_type="application/json", headers=headers)


@router.get("/diff", response_model=RunDiffResponse, responses=error_responses(410))
async def read_difference(
    run_id: str,
    engine: EnginePart,
    addresses: AddressesPart,
    from_version: Annotated[
        int, Query(alias="from", ge=0, le=NUMBER_MAX, description="The version before; 0 is before the first.")
    ] = 0,
    to_version: Annotated[
        int | None,
        Query(alias="to", ge=0, le=NUMBER_MAX, description="The version after; the newest when absent."),
    ] = None,
) -> Response:
    """Which fields of a run differ between two versions, with their values before and after."""
    id_ = path_id("run", run_id)
    async with engine.connect() as connection:
        newest = await _newest_version(connection, id_)
        before, after = from_version, newest if to_version is None else to_version
        require_version(id_, max(before, after), newest=newest)
        events = await _read_whole(connection, id_, max(before, after))
    changes = await _fold(events, lambda: history.difference(events, before, after))
    shown = _Shown(id_, addresses, {})
    fields = [shown.difference(change, before=before, after=after) for change in changes]
    return _json({"run_id": format_id(id_), "from": before, "to": after, "fields": fields})


@router.get("/chain")
async def read_chain(run_id: str, engine: EnginePart, settings: SettingsPart) -> RunChainResponse:
    """Whether the events of a run are as the chain of hashes says: their payloads, their receipts, and the links to the
    events before them in the log. Whether the whole log is, `agent-spy verify` tells.
    """
    id_ = path_id("run", run_id)
    async with engine.connect() as connection:
        newest = await _newest_version(connection, id_)
    checked = await check_stream(settings.database_url, run_stream(id_), events_max=CHECKED_MAX)
    return RunChainResponse(
        run_id=format_id(id_),
        version=newest,
        checked=len(checked),
        is_sound=not any(event.wrong for event in checked),
        findings=[
            ChainFinding(version=event.version, position=event.position, wrong=wrong)
            for event in checked
            for wrong in event.wrong
        ],
    )


@dataclass(frozen=True, slots=True)
class _Shown:
    """Mutations of one run to JSON."""

    run_id: bytes
    addresses: Addresses
    receipts: Mapping[int, StoredReceipt]

    def mutation(self, mutation: Mutation, repeated: Repeated | None) -> dict[str, Any]:
        event = mutation.event
        return {
            "version": event.version,
            "position": event.position,
            "kind": event.kind,
            "recorded_at": format_time(event.recorded_at),
            "happened_at": None if mutation.happened_at is None else format_time(mutation.happened_at),
            "content": mutation.content,
            "origin": self._origin(event.receipt_id),
            "revert": _revert(event),
            "fields": [self._change(change, event.version) for change in mutation.changes],
            "duplicates": self._repetitions(repeated),
        }

    def erasure(self, event: RecordedEvent | None) -> dict[str, Any] | None:
        if event is None or not isinstance(event.body, TraceErased):
            return None
        return {
            "trace_id": format_id(event.body.trace_id),
            "position": event.position,
            "kind": event.kind,
            "recorded_at": format_time(event.recorded_at),
            "origin": self._origin(event.receipt_id),
            "reason": event.body.reason,
        }

    def difference(self, change: Change, *, before: int, after: int) -> dict[str, Any]:
        return {
            "field": _name(change.path),
            "effect": change.effect,
            "before": self._value(change.before, change, before),
            "after": self._value(change.after, change, after),
        }

    def _change(self, change: Change, version: int) -> dict[str, Any]:
        said = None if change.said is None else self._value(change.said, change, version, which="said")
        return {
            **self.difference(change, before=version - 1, after=version),
            "cause": change.cause,
            "said": said,
        }

    def _value(self, value: Value | None, change: Change, version: int, **which: str) -> dict[str, Any] | None:
        if value is None:
            return None
        if isinstance(value, bytes) and len(value) <= VALUE_BYTES_MAX:
            return {"value": Fragment(clean(value))}
        query = urlencode({"name": _name(change.path), **which})
        path = f"{API_ROOT}/runs/{format_id(self.run_id)}/events/{version}/fields"
        return {
            "size": value.size if isinstance(value, Offloaded) else len(value),
            "sha256": history.hash_of(value),
            "preview": value.preview if isinstance(value, Offloaded) else preview(value),
            "url": f"{self.addresses.origin}{path}?{query}",
        }

    def _repetitions(self, repeated: Repeated | None) -> dict[str, Any]:
        if repeated is None:
            return {"count": 0, "latest": []}
        latest = [{"times": times, "origin": self._origin(receipt_id)} for receipt_id, times in repeated.latest]
        return {"count": repeated.times, "latest": latest}

    def _origin(self, receipt_id: int) -> dict[str, Any] | None:
        receipt = self.receipts.get(receipt_id)
        if receipt is None:
            return None
        return {
            "receipt_id": receipt.receipt_id,
            "received_at": format_time(receipt.received_at),
            "endpoint": receipt.endpoint,
            "key_id": receipt.key_id,
            "sdk": receipt.sdk,
            "sdk_version": receipt.sdk_version,
            "user_agent": receipt.user_agent,
            "remote_address": receipt.remote_address,
            "request_id": receipt.request_id,
        }


async def _newest_version(connection: AsyncConnection, run_id: bytes) -> int:
    """The version that the stream of a run has reached. Raises 404 when it has not begun."""
    version = await last_version(connection, run_stream(run_id))
    if version == 0:
        raise HTTPException(404, f"There is no run {format_id(run_id)}.")
    return version


async def _read_whole(connection: AsyncConnection, run_id: bytes, version: int) -> list[RecordedEvent]:
    """The events of a run up to a version. Raises `PayloadErased` when their content is gone."""
    events = await read_stream(connection, run_stream(run_id), upto_version=version)
    for event in events:
        if history.content_of(event) == "erased":
            raise PayloadErased(event.position)
    return events


async def _fields_at(events: Sequence[RecordedEvent], version: int) -> Fields:
    return await _fold(events, lambda: history.fields_at(events, version))


async def _fold(events: Sequence[RecordedEvent], work: Callable[[], T]) -> T:
    """Do what takes time in proportion to the events, out of the way of others when they are many."""
    return work() if len(events) <= _IN_LOOP_EVENTS_MAX else await asyncio.to_thread(work)


def _receipt_ids(page: Iterable[Mutation], repeated: Iterable[Repeated], erasure: RecordedEvent | None) -> list[int]:
    brought = {mutation.event.receipt_id for mutation in page}
    if erasure is not None:
        brought.add(erasure.receipt_id)
    again = {receipt_id for one in repeated for receipt_id, _ in one.latest}
    return sorted(brought | again)


def _revert(event: RecordedEvent) -> dict[str, Any] | None:
    match event.body:
        case RunReverted(to_version=to_version, reason=reason):
            return {"to_version": to_version, "reason": reason}
        case _:
            return None


def _name(path: history.Path) -> str:
    """How a field is called on the wire."""
    return ".".join(path)


def _json(value: Any) -> Response:
    return Response(body_of(value), media_type="application/json")
