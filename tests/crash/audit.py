"""Looks at a store after a crash, and says what is wrong with it.

Nothing may be: every acknowledged item is in the log and readable, every request is there whole or not at all, the log
is gapless and its chains hold, receipts add up, and the read models are what a fold of the log gives.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

import orjson
from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events import log
from events.codec import unpack
from events.dialect import open_engine, open_writer
from events.schema import contents, events, heads, quarantine, receipts
from projections import canonical, projector
from projections.status import StatusRule
from tests.benchmarks.load import Client
from tests.benchmarks.traffic import Document
from tests.crash import chains
from tests.crash.traffic import Fact, Planned, said

_RULE: Final[StatusRule] = "documented"
_READERS: Final = 4
_TIMES: Final = ("start_time", "end_time")


@dataclass(frozen=True, slots=True)
class Found:
    """What the log of a store holds, read in one moment."""

    head: Any
    events: Sequence[Any]
    receipts: Sequence[Any]
    quarantine: Sequence[Any]
    contents: frozenset[bytes]

    def receipts_by_fact(self) -> dict[Fact, set[int]]:
        """The receipts under which each fact is in the log."""
        found: dict[Fact, set[int]] = defaultdict(set)
        for event in self.events:
            found[_fact(event)].add(event.receipt_id)
        return found


async def read(url: str) -> Found:
    """Read the whole log of a store."""
    engine = open_engine(url)
    try:
        async with engine.connect() as connection:
            return Found(
                (await _rows(connection, heads))[0],
                await _rows(connection, events),
                await _rows(connection, receipts),
                await _rows(connection, quarantine),
                frozenset(bytes(row.hash) for row in await _rows(connection, contents)),
            )
    finally:
        await engine.dispose()


def wrong_in_log(found: Found) -> Iterator[str]:
    """A sentence for each thing in the log that contradicts another. The whole log has to be there, nothing erased."""
    yield from _wrong_ends(found)
    yield from _wrong_order(found)
    yield from _wrong_counts(found)
    leaves = {receipt.receipt_id: chains.receipt_leaf(receipt) for receipt in found.receipts}
    yield from chains.broken_receipts(found.receipts, found.head.receipt_chain)
    yield from chains.broken_events(found.events, leaves, found.head.chain)
    yield from chains.broken_quarantine(found.quarantine, leaves, found.head.quarantine_chain)


def wrong_in_requests(found: Found, sent: Mapping[int, Planned], acknowledged: Collection[int]) -> Iterator[str]:
    """A sentence for each request of those sent that is there in part, or was acknowledged and is not there."""
    receipts_by_fact = found.receipts_by_fact()
    for number, request in sent.items():
        places = [receipts_by_fact.get(fact, set()) for fact in request.facts()]
        present = sum(map(bool, places))
        if 0 < present < len(places):
            yield f"request {number} is there in part: {present} of {len(places)} items"
        elif not present and number in acknowledged:
            yield f"request {number} was acknowledged and is not there"
        elif present and len(set().union(*places)) > 1:
            yield f"request {number} is there under several receipts"
    known = {fact for request in sent.values() for fact in request.facts()}
    strange = [fact for fact in receipts_by_fact if fact not in known and fact.kind != "ProjectCreated"]
    if strange:
        yield f"{len(strange)} events are in the log that nobody sent"


def present(found: Found, sent: Mapping[int, Planned]) -> set[int]:
    """The numbers of the requests of which something is in the log."""
    facts = found.receipts_by_fact()
    return {number for number, request in sent.items() if any(fact in facts for fact in request.facts())}


async def wrong_in_read_models(url: str, empty_url: str) -> list[str]:
    """A sentence for each read model that is not what folding the log into an empty, migrated store gives."""
    engine, fresh = open_engine(url), open_engine(empty_url)
    try:
        position = await _fold(engine, empty_url)
        async with engine.connect() as connection, fresh.connect() as fresh_connection:
            stored, folded = await canonical.dump(connection), await canonical.dump(fresh_connection)
            moved = {row.projection: row.position for row in await _rows(connection, projector.checkpoints)}
    finally:
        await engine.dispose()
        await fresh.dispose()
    wrong = [_difference(name, stored[name], folded[name]) for name in folded if stored[name] != folded[name]]
    if any(at != position for at in moved.values()):
        wrong.append(f"the log ends at {position}, and checkpoints are at {moved}")
    return wrong


def wrong_over_http(url: str, requests: Collection[Planned], perhaps: Collection[Planned]) -> list[str]:
    """A sentence for each acknowledged item that does not read back with its fields.

    `requests` were acknowledged; of those in `perhaps` it is not known whether they are there.
    """
    runs = _expected_runs(requests, perhaps)
    checks: list[_Check] = [partial(_wrong_run, run_id, expected) for run_id, expected in runs.items()]
    checks += [partial(_wrong_file, each.run_id, each.name) for request in requests for each in request.attachments]
    checks += [partial(_wrong_feedback, each) for request in requests for each in request.feedback]
    with ThreadPoolExecutor(_READERS) as readers:
        wrong = readers.map(lambda first: _checked(url, checks[first::_READERS]), range(_READERS))
        return [sentence for share in wrong for sentence in share]


# --- the log ----------------------------------------------------------------------------------------------------------


def _wrong_ends(found: Found) -> Iterator[str]:
    last = found.events[-1].position if found.events else 0
    if not found.head.position == last == len(found.events):
        yield f"the head is at {found.head.position}, the last event at {last}, and there are {len(found.events)}"
    if found.head.receipt_id != len(found.receipts):
        yield f"the head is at receipt {found.head.receipt_id}, and there are {len(found.receipts)}"
    if found.head.quarantine_id != len(found.quarantine):
        yield f"the head is at quarantined item {found.head.quarantine_id}, and there are {len(found.quarantine)}"


def _wrong_order(found: Found) -> Iterator[str]:
    versions: Counter[bytes] = Counter()
    recorded_at = 0
    for event in found.events:
        versions[event.stream] += 1
        if event.version != versions[event.stream]:
            yield f"event {event.position} is version {event.version} of its stream, not {versions[event.stream]}"
        if event.recorded_at < recorded_at:
            yield f"event {event.position} was recorded before the one before it"
        recorded_at = event.recorded_at


def _wrong_counts(found: Found) -> Iterator[str]:
    applied = Counter(event.receipt_id for event in found.events)
    quarantined = Counter(row.receipt_id for row in found.quarantine)
    for receipt in found.receipts:
        number = receipt.receipt_id
        if receipt.received != receipt.applied + receipt.duplicate + receipt.quarantined:
            yield f"receipt {number} does not add up"
        if (receipt.applied, receipt.quarantined) != (applied[number], quarantined[number]):
            yield (
                f"receipt {number} says {receipt.applied} applied and {receipt.quarantined} quarantined, "
                f"and there are {applied[number]} and {quarantined[number]}"
            )
    hashes = {row.hash for row in map(_attachment, found.events) if row}
    if hashes - found.contents:
        yield f"{len(hashes - found.contents)} attachments have no content"


@dataclass(frozen=True, slots=True)
class _Attachment:
    name: str
    hash: bytes


def _attachment(event: Any) -> _Attachment | None:
    if event.kind != "AttachmentStored":
        return None
    told = orjson.loads(unpack(event.codec, event.payload))
    return _Attachment(told["name"], bytes.fromhex(told["content_hash"]))


def _fact(event: Any) -> Fact:
    attachment = _attachment(event)
    told = orjson.loads(unpack(event.codec, event.payload))
    says = said([attachment.name, attachment.hash.hex()]) if attachment else said(told)
    return Fact(event.kind, bytes(event.stream), says)


async def _rows(connection: AsyncConnection, table: Table) -> Sequence[Any]:
    return (await connection.execute(select(table).order_by(*table.primary_key))).all()


# --- the read models --------------------------------------------------------------------------------------------------


async def _fold(engine: AsyncEngine, empty_url: str) -> int:
    """Fold the log of one store into another, and return the position to which."""
    writer = open_writer(empty_url)
    position = 0
    try:
        async with engine.connect() as connection:
            async for slice_ in log.read_all(connection):
                async with writer.transaction():
                    await projector.apply(writer, slice_, rule=_RULE)
                position = slice_[-1].position
    finally:
        await writer.close()
    return position


def _difference(name: str, stored: Sequence[Any], folded: Sequence[Any]) -> str:
    first = next((pair for pair in zip(stored, folded, strict=False) if pair[0] != pair[1]), "its rows are fewer")
    return f"{name} has {len(stored)} rows, a fold of the log gives {len(folded)}; the first difference: {first!r:.500}"


# --- over HTTP --------------------------------------------------------------------------------------------------------


_Check = Callable[[Client], str | None]


def _checked(url: str, checks: Sequence[_Check]) -> list[str]:
    client = Client(url)
    try:
        return [sentence for check in checks if (sentence := check(client))]
    finally:
        client.close()


def _expected_runs(requests: Collection[Planned], perhaps: Collection[Planned]) -> dict[str, Document]:
    """What each run must read as. Fields that an unacknowledged patch may have set are left out."""
    expected: dict[str, Document] = {}
    for request in sorted(requests, key=lambda request: request.number):  # A patch has a higher number than its post.
        for item in request.items:
            known = expected.setdefault(item.document["id"], {})
            extra = {**known.get("extra", {}), **item.document.get("extra", {})}
            known |= item.document | {"extra": extra}
    for request in perhaps:
        for item in request.items:
            for name in item.document if item.operation == "patch" else ():
                if item.document["id"] in expected and name not in ("id", "trace_id", "dotted_order"):
                    expected[item.document["id"]].pop(name, None)
    return expected


def _wrong_run(run_id: str, expected: Document, client: Client) -> str | None:
    shown = _get(client, f"/api/v1/runs/{run_id}")
    if shown is None:
        return f"run {run_id} was acknowledged and is not readable"
    wrong = [name for name, value in expected.items() if not _same(name, shown.get(name), value)]
    if wrong:
        name = wrong[0]
        return f"run {run_id} reads back another {name}: {_short(shown.get(name))} instead of {_short(expected[name])}"
    return None


def _wrong_file(run_id: str, name: str, client: Client) -> str | None:
    shown = _get(client, f"/api/v1/runs/{run_id}") or {}
    return None if f"attachment.{name}" in shown.get("s3_urls", {}) else f"run {run_id} has lost the file {name}"


def _wrong_feedback(given: Document, client: Client) -> str | None:
    shown = _get(client, f"/api/v1/feedback/{given['id']}") or {}
    wrong = [name for name in given if shown.get(name) != given[name]]
    return f"feedback {given['id']} reads back as {_short(shown)}" if wrong else None


def _short(value: Any) -> str:
    return f"{value!r:.100}"


def _same(name: str, shown: Any, told: Any) -> bool:
    if name in _TIMES and shown is not None:
        return datetime.fromisoformat(shown) == datetime.fromisoformat(told)
    return bool(shown == told)


def _get(client: Client, path: str) -> Any:
    try:
        return orjson.loads(client.get(path))
    except RuntimeError:
        return None
