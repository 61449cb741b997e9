"""Tamper with a log at random, and see whether `verify` finds it and names the place.

    python -m tests.events.tampering --count 1000 [--database postgresql] [--seed 7]

A tampering is made on the rows in memory; the tables are then filled anew, behind the program's back and with the
guards of the database dropped, as whoever owns the database could do.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import orjson
from sqlalchemy import BigInteger, Column, LargeBinary, SmallInteger, Table, Text, insert

from events import chain
from events.checking.rows import stream_name
from events.codec import Codec, Content, Offloaded, offload
from events.erasure import erase_streams, refuse_from_now_on
from events.findings import Finding
from events.jsontext import split_object
from events.kinds import RunPosted, TraceErased, erasure_payload, run_stream, trace_stream
from events.log import NewEvent, seal
from events.quarantine import note_retry
from events.receipts import Origin
from events.schema import content_holders, contents, duplicates, erased, events, heads, quarantine, receipts
from events.verification import verify
from tests.databases import PostgresqlServer, SqliteFiles, postgresql_url
from tests.events.histories import (
    FOLD_VERSION,
    NOW_US,
    Log,
    attachment,
    feedback_patched,
    feedback_posted,
    id_text,
    opened,
    project_created,
    refused,
    run_patched,
    some_run,
    submission,
)

TABLES: Final = (receipts, events, quarantine, contents, content_holders, duplicates, erased, heads)

Row = dict[str, Any]
Rows = dict[str, list[Row]]
Where = tuple[str, int | str]
"""The place and the name of a finding."""


@dataclass(frozen=True, slots=True)
class Tampering:
    """What was done, and the places of which `verify` must name one first."""

    said: str
    expected: frozenset[Where]


class Unsuitable(Exception):
    """A tampering would change nothing, or the database would refuse it: another is to be drawn."""


# --- a log to tamper with ---------------------------------------------------------------------------------------------


async def tell_history(store: Log) -> None:
    """Some hundred events of every kind: with duplicates, repeated commands, quarantine, contents and an erasure."""
    source = random.Random(5)
    for turn in range(12):
        numbers = range(turn * 4 + 1, turn * 4 + 5)
        await store.append(
            submission(*(some_run(number, inputs={"text": source.randbytes(60).hex()}) for number in numbers)),
            submission(*(_patch(number, turn) for number in numbers), _patch(numbers[0], turn)),
            now=NOW_US + turn,
        )
        await store.append(submission(refused(f"no json {turn}".encode()), _patch(numbers[1], -turn - 1)), now=NOW_US)
        await store.append(submission(feedback_posted(500 + turn, key="k", score=1)), now=NOW_US + turn)
        await store.append(submission(feedback_patched(500, score=turn % 2)), now=NOW_US + turn)
        await store.append(submission(refused(b"\0" * turn), refused(b"[]", source="feedback", reason="it has no key")))
        await store.append(submission(attachment(numbers[2], source.randbytes(50)), attachment(numbers[3], b"shared")))
    await store.append(
        submission(project_created(900, "p"), offloaded_run(800, "x" * 300), offloaded_run(801, "y" * 400))
    )
    await store.append(submission(offloaded_run(801, "y" * 400)))
    await retry(store, 1)
    await retry(store, 4)
    await erase(store, 5, 6, 7)
    await store.append(submission(some_run(1000)), now=NOW_US + 100)


def _patch(number: int, turn: int) -> NewEvent:
    return run_patched({"id": id_text(number), "outputs": {"turn": turn, "text": "abc " * (turn + 20)}})


def offloaded_run(number: int, inputs: str) -> NewEvent:
    """A post of a run whose inputs are in the content store."""
    payload = orjson.dumps({"id": id_text(number), "name": "run", "run_type": "llm", "inputs": inputs})
    members = split_object(payload)
    body = members["inputs"]
    moved = {"inputs": Offloaded(sha256(body).hexdigest(), len(body), "x")}
    left = offload(members, moved)
    run_id = number.to_bytes(16, "big")
    content = Content(sha256(body).digest(), body)
    event = RunPosted(run_id, left, is_offloaded=True)
    return seal("RunPosted", run_stream(run_id), left, event, codec=Codec.OFFLOADED, contents=(content,))


async def retry(store: Log, quarantine_id: int) -> None:
    """Retry an item of the quarantine with success, as the program does it."""
    number = 2000 + quarantine_id
    origin = Origin(endpoint=f"POST /api/v1/quarantine/{quarantine_id}/retry", content_hash=bytes(32))
    async with store.writer.transaction():
        appended = await store.append_within(submission(some_run(number), origin=origin), now=NOW_US + 50)
        event = appended.events[0]
        await note_retry(
            store.writer,
            quarantine_id,
            at=event.recorded_at,
            receipt_id=event.receipt_id,
            outcome="applied",
            shard=0,
        )


async def erase(store: Log, *numbers: int) -> None:
    """Erase runs as one trace, as the program does it."""
    ids = [number.to_bytes(16, "big") for number in numbers]
    streams, whole = [run_stream(id_) for id_ in ids], trace_stream(ids[0])
    event = TraceErased(ids[0], tuple(streams), "asked for")
    async with store.writer.transaction():
        await store.append_within(submission(seal("TraceErased", whole, erasure_payload(streams, "asked for"), event)))
        await erase_streams(store.writer, streams, shard=0)
        await refuse_from_now_on(store.writer, [*streams, whole], shard=0)


# --- tamperings -------------------------------------------------------------------------------------------------------

Trick = Callable[[random.Random, Rows], Tampering]


def flip(source: random.Random, rows: Rows) -> Tampering:
    """Flip one bit of one column of one row."""
    table = source.choice(TABLES)
    row = source.choice(rows[table.name])
    column = source.choice([column for column in table.c if row[column.name] not in (None, "", b"")])
    before = dict(row)
    row[column.name] = _flipped(source, column, row[column.name])
    return Tampering(f"a bit of {table.name}.{column.name}", frozenset(_places(table, before, row, rows)))


def change_null(source: random.Random, rows: Rows) -> Tampering:
    """Set a column to NULL, or to something where it was NULL."""
    table = source.choice((receipts, events, quarantine))
    row = source.choice(rows[table.name])
    column = source.choice([column for column in table.c if column.nullable])
    before = dict(row)
    other = next(value for kind, value in _OTHERS if isinstance(column.type, kind))
    row[column.name] = None if row[column.name] is not None else other
    return Tampering(f"NULL of {table.name}.{column.name}", frozenset(_places(table, before, row, rows)))


def delete(source: random.Random, rows: Rows) -> Tampering:
    """Delete one row."""
    table = source.choice(TABLES)
    row = source.choice(rows[table.name])
    rows[table.name].remove(row)
    return Tampering(f"a row of {table.name} deleted", frozenset(_places(table, row, row, rows)))


def swap_places(source: random.Random, rows: Rows) -> Tampering:
    """Let two rows change places."""
    table, number, place = source.choice(_NUMBERED)
    first, second = sorted(source.sample(rows[table.name], 2), key=lambda row: row[number])
    first[number], second[number] = second[number], first[number]
    return Tampering(f"two rows of {table.name} in each other's place", frozenset({(place, second[number])}))


def swap_payloads(source: random.Random, rows: Rows) -> Tampering:
    """Let two events change payloads, with what belongs to them."""
    names = source.choice((["payload"], ["payload", "payload_salt"], ["payload", "payload_salt", "payload_hash"]))
    first, second = sorted(source.sample(rows["events"], 2), key=lambda row: row["position"])
    for name in names:
        first[name], second[name] = second[name], first[name]
    if first["payload"] == second["payload"]:
        raise Unsuitable
    return Tampering(f"{'+'.join(names)} of two events exchanged", frozenset({("event", first["position"])}))


def replace_payload(source: random.Random, rows: Rows) -> Tampering:
    """Put another payload in place of an event's, with all that follows from it but the chain, or with the chain."""
    row = source.choice([row for row in rows["events"] if row["kind"] == "RunPatched" and row["payload"] is not None])
    _seal_anew(row, b'{"id":"forged"}')
    if source.random() < 0.5:
        return Tampering("a payload forged with its hash", frozenset({("event", row["position"])}))
    _chain_anew(rows, row)
    last = row["position"] == len(rows["events"])
    after: Where = ("head", 0) if last else ("event", row["position"] + 1)
    return Tampering("a payload forged with its hash and chain value", frozenset({after}))


def append_forged(source: random.Random, rows: Rows) -> Tampering:
    """Add an event behind the last, with a chain value that follows."""
    row = _forged(source, rows, len(rows["events"]) + 1)
    rows["events"].append(row)
    _chain_anew(rows, row)
    return Tampering("an event appended behind the head", frozenset({("event", row["position"])}))


def insert_forged(source: random.Random, rows: Rows) -> Tampering:
    """Put an event between two others, with a chain value that follows, and number those after it anew."""
    position = source.randint(1, len(rows["events"]))
    row = _forged(source, rows, position)
    for other in rows["events"]:
        other["position"] += other["position"] >= position
    rows["events"].append(row)
    _chain_anew(rows, row)
    return Tampering("an event inserted", frozenset({("event", position), ("event", position + 1)}))


def truncate(source: random.Random, rows: Rows) -> Tampering:
    """Cut off the end."""
    table, number, place = source.choice(_NUMBERED)
    kept = source.randrange(len(rows[table.name]))
    rows[table.name] = [row for row in rows[table.name] if row[number] <= kept]
    return Tampering(f"the end of {table.name} cut off", frozenset({(place, kept + 1)}))


def truncate_with_head(source: random.Random, rows: Rows) -> Tampering:
    """Cut off the last events, and let the head say that this is how it was."""
    kept = source.randrange(1, len(rows["events"]))
    cut = min((row for row in rows["events"] if row["position"] > kept), key=lambda row: row["position"])
    rows["events"] = [row for row in rows["events"] if row["position"] <= kept]
    (last,) = (row for row in rows["events"] if row["position"] == kept)
    rows["heads"][0].update(position=kept, chain=last["chain"])
    return Tampering("the last events cut off, and the head set back", frozenset({("receipt", cut["receipt_id"])}))


def set_head_back(source: random.Random, rows: Rows) -> Tampering:
    """Let the head say that the log ends earlier."""
    row = source.choice([row for row in rows["events"] if row["position"] < len(rows["events"])])
    rows["heads"][0].update(position=row["position"], chain=row["chain"])
    return Tampering("the head set back", frozenset({("event", row["position"] + 1)}))


def recount(source: random.Random, rows: Rows) -> Tampering:
    """Let a receipt count one more or less, so that it still adds up."""
    row = source.choice(rows["receipts"])
    name = source.choice(("applied", "duplicate", "quarantined"))
    step = source.choice((1, -1))
    row[name] += step
    row["received"] += step
    return Tampering("a receipt recounted", frozenset({("receipt", row["receipt_id"])}))


def pretend_erasure(source: random.Random, rows: Rows) -> Tampering:
    """Do to an event or a quarantined item what erasing does, though nothing was erased."""
    if source.random() < 0.3:
        row = source.choice([row for row in rows["quarantine"] if row["raw"] is not None])
        row.update(raw=None, raw_salt=None)
        return Tampering("a quarantined item emptied", frozenset({("quarantine", row["quarantine_id"])}))
    row = source.choice([row for row in rows["events"] if row["payload"] is not None])
    row.update(payload=None, payload_salt=None, event_id=None)
    return Tampering("an event emptied", frozenset({("event", row["position"])}))


TRICKS: Final[Sequence[tuple[Trick, int]]] = (
    (flip, 10),
    (change_null, 3),
    (delete, 3),
    (swap_places, 2),
    (swap_payloads, 1),
    (replace_payload, 1),
    (append_forged, 1),
    (insert_forged, 1),
    (truncate, 2),
    (truncate_with_head, 1),
    (set_head_back, 1),
    (recount, 1),
    (pretend_erasure, 1),
)
_OTHERS: Final[Sequence[tuple[type, Any]]] = ((LargeBinary, b"some"), (BigInteger, 5), (Text, "some"))
_NUMBERED: Final = (
    (events, "position", "event"),
    (receipts, "receipt_id", "receipt"),
    (quarantine, "quarantine_id", "quarantine"),
)


def _flipped(source: random.Random, column: Column[Any], value: Any) -> Any:
    if isinstance(value, int):
        bits = 15 if isinstance(column.type, SmallInteger) else 63 if isinstance(column.type, BigInteger) else 31
        flipped = value ^ (1 << source.randrange(bits + 1))
        if flipped >> bits & 1:  # The highest bit is the sign.
            flipped -= 1 << (bits + 1)
        return flipped
    if isinstance(value, str):
        place = source.randrange(len(value))
        return value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]
    place = source.randrange(len(value))
    return value[:place] + bytes([value[place] ^ (1 << source.randrange(8))]) + value[place + 1 :]


def _places(table: Table, before: Row, after: Row, rows: Rows) -> Iterator[Where]:
    """Where a row of a table is to be found, by what it was or by what it is."""
    for numbered, number, place in _NUMBERED:
        if table is numbered:
            yield place, before[number]
    if table is heads:
        yield "head", 0
        yield from (("shard", shard) for shard in (0, after["shard"]))
    if table in (contents, content_holders):
        yield from (("content", row["hash"].hex()) for row in (before, after))
    if table is duplicates:
        yield from (("receipt", row["receipt_id"]) for row in (before, after))
        yield from (("stream", stream_name(row["stream"])) for row in (before, after))
    if table is erased:
        streams = {before["stream"], after["stream"]}
        yield from (("event", row["position"]) for row in rows["events"] if row["stream"] in streams)
        yield from (("erasure", stream_name(stream)) for stream in streams)


def _forged(source: random.Random, rows: Rows, position: int) -> Row:
    """An event that was never sent, as if it had come with the request of the event before."""
    row = dict(next(row for row in rows["events"] if row["position"] == max(position - 1, 1)))
    row.update(position=position, stream=b"r" + source.randbytes(16), version=1)
    _seal_anew(row, b'{"id":"forged"}')
    return row


def _seal_anew(row: Row, payload: bytes) -> None:
    row.update(payload=payload, codec=0, payload_size=len(payload), payload_salt=bytes(16))
    row["payload_hash"] = chain.payload_hash(row["payload_salt"], payload)
    row["event_id"] = chain.event_id(row["kind"], row["stream"], payload)


def _chain_anew(rows: Rows, row: Row) -> None:
    """Give one event the chain value that follows from the one before it."""
    before = [other["chain"] for other in rows["events"] if other["position"] == row["position"] - 1] or [chain.GENESIS]
    receipt = next(other for other in rows["receipts"] if other["receipt_id"] == row["receipt_id"])
    row["chain"] = chain.link(before[0], event_leaf(row, receipt))


def rewrite(rows: Rows, position: int) -> None:
    """Forge the payload of one event, and make everything anew that follows from it: no trace of it is left."""
    later = sorted((row for row in rows["events"] if row["position"] >= position), key=lambda row: row["position"])
    _seal_anew(later[0], b'{"id":"forged"}')
    for row in later:
        _chain_anew(rows, row)
    rows["heads"][0]["chain"] = later[-1]["chain"]


def event_leaf(row: Row, receipt: Row) -> bytes:
    """What the chain covers of an event."""
    names = ("shard", "position", "version", "recorded_at", "receipt_id", "schema_version", "codec", "payload_size")
    return chain.event_leaf(
        **{name: row[name] for name in names},
        stream=row["stream"],
        kind=row["kind"],
        hashed=row["payload_hash"],
        receipt_leaf=receipt_leaf(receipt),
    )


def receipt_leaf(row: Row) -> bytes:
    """What the chain covers of a receipt."""
    texts = ("endpoint", "request_id", "key_id", "user_agent", "sdk", "sdk_version", "remote_address")
    return chain.receipt_leaf(
        shard=row["shard"],
        receipt_id=row["receipt_id"],
        received_at=row["received_at"],
        counts=(row["received"], row["applied"], row["duplicate"], row["quarantined"]),
        content_size=row["content_size"],
        texts=tuple(row[name] for name in texts),
        content_commitment=row["content_commitment"],
        repetitions_hash=row["repetitions_hash"],
    )


def tamper(source: random.Random, rows: Rows) -> tuple[Tampering, Rows]:
    """One tampering, drawn at random, and the rows after it."""
    tricks, weights = zip(*TRICKS, strict=True)
    while True:
        (trick,) = source.choices(tricks, weights)
        changed = deepcopy(rows)
        try:
            tampering = trick(source, changed)
        except Unsuitable:
            continue
        if changed != rows and _is_possible(changed):
            return tampering, changed


def _is_possible(rows: Rows) -> bool:
    """Whether the database takes the rows: no key twice."""
    for table in TABLES:
        keys = [tuple(row[column.name] for column in table.primary_key) for row in rows[table.name]]
        if len(set(keys)) < len(keys):
            return False
    ids = [(row["shard"], row["stream"], row["event_id"]) for row in rows["events"] if row["event_id"] is not None]
    return len(set(ids)) == len(ids)


# --- trying -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bench:
    """A database whose tables can be filled at will."""

    url: str
    store: Log
    rows: Rows

    async def fill(self, rows: Rows) -> None:
        """Let the tables hold these rows and no others."""
        async with self.store.engine.begin() as connection:
            for table in TABLES:
                await connection.execute(table.delete())
                if rows[table.name]:
                    await connection.execute(insert(table), rows[table.name])

    async def findings(self) -> Sequence[Finding]:
        """What verifying the log as it now is finds."""
        return (await verify(self.url, fold_version=FOLD_VERSION)).findings

    async def names_place(self, tampering: Tampering, rows: Rows) -> str | None:
        """Tamper and verify. None when the place is named, or else what was said instead."""
        await self.fill(rows)
        findings = await self.findings()
        if findings and (findings[0].place, findings[0].name) in tampering.expected:
            return None
        said = "; ".join(map(str, findings[:3])) or "nothing was found"
        return f"{tampering.said} (expected {sorted(map(str, tampering.expected))[:4]}): {said}"


@asynccontextmanager
async def bench(database_url: str, *, history: Callable[[Log], Awaitable[None]] = tell_history) -> AsyncIterator[Bench]:
    """A database without guards, with a history told."""
    async with opened(database_url) as store:
        await history(store)
        await drop_guards(store)
        rows = {table.name: [dict(row._mapping) for row in await store.rows(table)] for table in TABLES}
        yield Bench(database_url, store, rows)


async def drop_guards(store: Log) -> None:
    """Drop the triggers that keep events as they are."""
    if store.engine.dialect.name == "postgresql":
        await store.execute("DROP FUNCTION events_refuse_change() CASCADE")
        return
    async with store.engine.begin() as connection:
        triggers = await connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.all():
            await connection.exec_driver_sql(f"DROP TRIGGER {name}")


async def campaign(database_url: str, *, count: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Tamper so many times. How often each thing was done, and what was not found or found elsewhere."""
    source = random.Random(seed)
    done: Counter[str] = Counter()
    misses = []
    async with bench(database_url) as it:
        for _ in range(count):
            tampering, rows = tamper(source, it.rows)
            done[tampering.said] += 1
            if (missed := await it.names_place(tampering, rows)) is not None:
                misses.append(missed)
    return done, misses


@contextmanager
def database_of(system: str) -> Iterator[str]:
    """The URL of a database that is gone at the end."""
    with ExitStack() as stack:
        if system == "sqlite":
            made: SqliteFiles | PostgresqlServer = SqliteFiles(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        else:
            made = PostgresqlServer(stack.enter_context(postgresql_url()))
            stack.callback(made.close)
        url = made.migrated()
        yield url
        made.drop(url)


def main() -> int:
    """Tamper with a log as often as the command line says, and print what came of it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.events.tampering", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--count", type=int, default=1000, help="how many tamperings")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=1, help="the same seed tampers in the same way")
    options = parser.parse_args()
    begun = time.monotonic()
    with database_of(options.database) as url:
        done, misses = asyncio.run(campaign(url, count=options.count, seed=options.seed))
    for said, times in sorted(done.items()):
        print(f"{times:5} {said}")
    for missed in misses:
        print(f"MISSED {missed}")
    found = options.count - len(misses)
    print(f"{found} of {options.count} tamperings found where they were made, in {time.monotonic() - begun:.0f} s")
    return 1 if misses else 0


if __name__ == "__main__":
    raise SystemExit(main())
