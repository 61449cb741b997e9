"""All read models together: odd input, and folding the log again."""

import asyncio
import itertools
from collections.abc import Iterable, Sequence
from contextlib import suppress

import pytest

from events import log
from events.codec import Codec
from events.kinds import RunFields, RunPatched, RunPosted, decode
from events.log import NewEvent, RecordedEvent, Submission
from events.turns import PORTION
from projections import projector, record, stats, traces
from projections.canonical import UNDUMPED
from projections.naming import project_names
from projections.places import former_places
from projections.projector import PROJECTIONS, checkpoints
from projections.shadow import TABLES
from projections.traces import Filters
from projections.words import words_of
from service.ingest.items import PATCH, POST, Item, feedback_patched, feedback_posted, project_created
from service.ingest.multipart import Multipart, Part
from service.ingest.multipart_items import multipart_items
from tests.projections.histories import joined
from tests.projections.stores import (
    NOW,
    ORIGIN,
    START,
    Store,
    flat,
    id_text,
    opened,
    patched,
    posted,
    refolded,
    run_id,
    with_attachments,
)

FIELDS = (
    *sorted(set(RunFields.__struct_fields__) - {"id", "contents"}),
    *("agent-spy:contents", "unheard_of", "\u0000", "ünï"),
)
NEEDED = {"name": b'"n"', "run_type": b'"chain"', "start_time": f'"{START}"'.encode()}

ODD_VALUES = {
    "NaN": b"NaN",
    "infinity": b"-Infinity",
    "2**70": b"1180591620717411303424",
    "2**63": b"9223372036854775808",
    "5000 digits": b"9" * 5000,
    "beyond a double": b"1e999",
    "U+0000": b'"a\\u0000b"',
    "a raw control character": b'"a\x00b\x1f"',
    "a lone surrogate": b'"\\ud800"',
    "a surrogate on each side": b'"\\udc00 \\ud800"',
    "not UTF-8": b'"caf\xe9 \xff"',
    "5000 levels of arrays": b"[" * 5000 + b"]" * 5000,
    "5000 levels of objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "994 levels": b"[" * 994 + b"]" * 994,
    "an empty text": b'""',
    "an empty object": b"{}",
    "an empty array": b"[]",
    "true": b"true",
    "a number": b"-0.0",
    "a long text": b'"' + "ü€𝄞".encode() * 40_000 + b'"',
    "many elements": b"[" + b",".join([b'{"a":"b"}'] * 5000) + b"]",
    "nested odd values": b'{"metadata":{"thread_id":NaN,"usage_metadata":{"input_tokens":1e999}},"\\ud800":"\\u0000"}',
    "usage beyond 64 bits": b'{"usage_metadata":{"total_tokens":9223372036854775808,"total_cost":1e308}}',
    "a naive time": b'"2026-01-01 00:00:00"',
    "a time of 1970": b'"1970-01-01T00:00:00Z"',
    "a time of 2099": b'"2099-12-31T23:59:59.999999+14:00"',
    "milliseconds": b"4102444799999.999",
    "milliseconds as a text": b'"1767225600000"',
    "the year 10000": b"253402300800000",
    "an upper-case id": b'"ABCDEF01-2345-6789-ABCD-EF0123456789"',
    "an id without hyphens": b'"abcdef0123456789abcdef0123456789"',
    "white space": b'"  \\t\\n "',
    "a trailing comma": b"[1,]",
    "what is no JSON": b"undefined",
}


def odd_writes(value: bytes, first_number: int) -> list[bytes]:
    """For every field a run that says this in it, and else nothing but what a POST has to."""
    return [
        joined({"id": f'"{id_text(number)}"'.encode(), **NEEDED, name: value})
        for number, name in enumerate((name for name in FIELDS if name != "\u0000"), first_number)
    ]


def odd_parts(value: bytes, first_number: int) -> list[Part]:
    """The same as parts of a multipart body, each field out of band."""
    parts = []
    for number, name in enumerate(FIELDS, first_number):
        run = f"patch.{id_text(number)}"
        parts += [Part(run, "application/json", None, b'{"a":1}'), Part(f"{run}.{name}", None, None, value)]
    return parts


def assert_reads_back(items: Sequence[Item]) -> None:
    """What will be read from the log is what is folded now, or a rebuild would not give the same."""
    for new in items:
        assert isinstance(new, NewEvent), new
        body = decode(new.kind, new.stream, new.payload, is_offloaded=bool(new.codec & Codec.OFFLOADED))
        if isinstance(new.body, (RunPosted, RunPatched)):
            assert isinstance(body, type(new.body))
            assert words_of(body) == new.body.words


async def read_everything(store: Store) -> None:
    """Ask what the service asks of the read models, and fold every run whole."""
    async with store.engine.connect() as connection:
        roots = await traces.find_roots(connection, Filters(), limit=10_000, offset=0)
        assert len(roots) == await traces.count_roots(connection, Filters())
        for name in list({root.run.name for root in roots})[:20]:
            filters = Filters(search=name[:20])
            assert await traces.count_roots(connection, filters) > 0
            assert await traces.find_roots(connection, filters, limit=1, offset=0)
        for id_, state in list((await store.runs()).items())[::20]:
            named = await traces.get_run(connection, id_)
            assert (named is None) == bool(state.is_placeholder)
            if named is not None:
                await traces.runs_of_trace(connection, named.run.trace_id)
                await traces.ancestors(connection, named.run)
        await stats.summary(connection, now=NOW, projects_max=10)
    for stream in streams(await store.events()).values():
        record.fold(stream)


def streams(events: Iterable[RecordedEvent]) -> dict[bytes, list[RecordedEvent]]:
    found: dict[bytes, list[RecordedEvent]] = {}
    for event in events:
        found.setdefault(event.stream, []).append(event)
    return found


async def test_whatever_a_field_says_its_run_is_stored_and_read(database_url: str) -> None:
    async with opened(database_url) as store:
        for place, value in enumerate(ODD_VALUES.values()):
            first = 1000 * place
            whole = flat(with_attachments(POST, raw) for raw in odd_writes(value, first))
            in_parts = multipart_items(Multipart(odd_parts(value, first + 500), None), field_bytes_max=1_000_000)
            assert_reads_back([*whole, *in_parts])
            appended = await store.append(*whole, *in_parts)
            assert len(appended.events) == len(whole) + len(FIELDS)
        told = [state for state in (await store.runs()).values() if not state.is_placeholder]
        assert len(told) == (2 * len(FIELDS) - 1) * len(ODD_VALUES)
        await read_everything(store)


async def test_whatever_feedback_says_it_is_stored_and_read(database_url: str) -> None:
    names = ("run_id", "trace_id", "score", "value", "comment", "correction", "created_at", "extra", "error", "other")
    bodies = [
        joined({"key": value if name == "run_id" else b'"k"', name: value})
        for value in ODD_VALUES.values()
        for name in names
    ]
    given = [feedback_posted(raw, source="f", feedback_id=run_id(n)) for n, raw in enumerate(bodies, 1)]
    changed = [feedback_patched(run_id(n), raw, source="f") for n, raw in enumerate(bodies, 1)]
    assert_reads_back([*given, *changed])
    async with opened(database_url) as store:
        await store.append(*given, *changed)
        assert len((await store.dump())["feedback"]) == len(bodies)


@pytest.mark.parametrize("main", [b'{"a":1,}', b"\xef\xbb\xbf{}", b"{ }", b'{"a":}', b'{"a":NaN }\n', b'{"\\ud800":1}'])
async def test_a_main_part_that_is_almost_json_takes_its_fields_back(main: bytes, database_url: str) -> None:
    run = f"patch.{id_text(1)}"
    parts = [Part(run, None, None, main), Part(f"{run}.outputs", None, None, b'{"answer":1}')]
    items = multipart_items(Multipart(parts, None), field_bytes_max=1000)
    assert_reads_back(items)
    async with opened(database_url) as store:
        await store.append(*items)
        assert (await store.record(run_id(1))).members["outputs"] == b'{"answer":1}'


@pytest.mark.parametrize("name", ["p\u0000q", "x" * 5000, ""])
async def test_a_project_may_be_called_anything(name: str, database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(project_created(name))
        assert len((await store.dump())["projects"]) == 1


async def test_checkpoints_are_at_the_last_event(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1), posted(2))
        await store.append(patched(1, name="n"))
        rows = await store.query(checkpoints.select())
        assert {row.projection: row.position for row in rows} == dict.fromkeys(PROJECTIONS, 3)


async def test_every_projection_is_dumped() -> None:
    tables = {table for name in PROJECTIONS for table in TABLES[name]}
    # Where runs once were, and since which position a name stands for what, follows from the order of arrival.
    assert tables - UNDUMPED.keys() == {former_places, project_names}


async def test_the_log_folds_into_the_same_read_models_again(database_url: str, other_database_url: str) -> None:
    async with opened(database_url) as store, opened(other_database_url) as other:
        for place, value in enumerate(ODD_VALUES.values()):
            writes = odd_writes(value, 1000 * place)[place % 5 :: 5]
            await store.append(*flat(with_attachments(PATCH, raw) for raw in writes))
        await store.append(feedback_posted(b'{"key":"k"}', source="f"), project_created("made"))
        await refolded(await store.events(), other, [1, 7, 50])
        assert await other.dump() == await store.dump()


# --- rows that are kept in memory, and giving way ---------------------------------------------------------------------


async def test_writers_that_take_turns_leave_what_one_would(database_url: str, other_database_url: str) -> None:
    writes = [
        posted(1, session_name="one", inputs={"q": 1}),
        patched(1, outputs={"a": 1}, end_time=START),
        posted(2, parent_run_id=id_text(3), name="orphan"),
        patched(1, error="boom", session_name="two"),
        posted(3, session_name="two"),
        patched(2, trace_id=id_text(1)),
        patched(3, name="renamed"),
    ]
    async with opened(database_url) as one, opened(database_url) as other, opened(other_database_url) as alone:
        for place, write in enumerate(writes):
            await (one, other)[place % 3 == 1].append(write)
            await alone.append(write)
        assert await one.dump() == await alone.dump()


async def test_what_a_group_folded_is_forgotten_when_it_is_rolled_back(
    database_url: str, other_database_url: str
) -> None:
    async with opened(database_url) as store, opened(other_database_url) as other:
        await store.append(posted(1, name="kept", outputs={"a": 1}))
        told = await other.append(posted(1, name="kept", outputs={"a": 1}), patched(1, error="gone"), posted(2))
        with suppress(ZeroDivisionError):
            async with store.writer.transaction():
                await projector.apply(store.writer, told.events[1:], rule="documented")
                raise ZeroDivisionError
        await store.append(patched(1, end_time=START))
        states = await store.runs()
        assert [(state.name, state.status) for state in states.values()] == [("kept", "completed")]
        dump = await store.dump()
        assert [row[-1] for row in dump["names"]] == [1]


async def test_folding_a_request_of_many_runs_gives_way_to_others(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("events.turns.monotonic", itertools.count().__next__)  # Every turn is over at once.
    portions = 10
    async with opened(database_url) as store:
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async with store.writer.transaction():
            head = await log.lock_head(store.writer, fold_version=projector.fold_version("documented"))
            items = [posted(number) for number in range(1, portions * PORTION + 1)]
            appended = await log.append(store.writer, head, [Submission(ORIGIN, items)], now=NOW)
            beside = asyncio.create_task(others())
            await projector.apply(store.writer, appended.events, rule="documented")
            beside.cancel()
        assert turns >= portions
