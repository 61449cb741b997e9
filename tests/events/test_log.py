import asyncio
import hashlib
import random
import re
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import chain, islice
from typing import Any

import orjson
import pytest
from sqlalchemy import Row, event
from sqlalchemy.ext.asyncio import AsyncConnection

from events import log
from events.chain import GENESIS
from events.codec import unpack
from events.dialect import SqliteWriter
from events.dialect.postgresql import PostgresWriter
from events.errors import DataRefused, FoldVersionMismatch, SchemaMismatch
from events.kinds import COMMANDS, RunPosted, Unknown, run_stream
from events.log import NewEvent, Outcome, RecordedEvent, Refused
from events.receipts import Origin
from events.schema import events, heads, metadata, quarantine, receipts
from tests.events.histories import (
    FOLD_VERSION,
    NOW_US,
    Log,
    attachment,
    feedback_deleted,
    feedback_patched,
    feedback_posted,
    id_text,
    opened,
    project_created,
    refused,
    run_patched,
    run_posted,
    some_run,
    submission,
)

AccessPath = tuple[str | None, frozenset[str]]
Plan = set[AccessPath]

# --- places in the log ------------------------------------------------------------------------------------------------


async def test_positions_are_gapless_in_the_order_in_which_events_were_given(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(submission(some_run(1), some_run(2)), submission(some_run(3)))
        await store.append(submission(some_run(4)))
        rows = await store.rows(events)
    assert [row.position for row in rows] == [1, 2, 3, 4]
    assert [row.stream for row in rows] == [some_run(number).stream for number in (1, 2, 3, 4)]


async def test_what_append_returns_is_what_was_written(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(submission(some_run(1)))
        again, new = submission(some_run(1), refused(b"?")), submission(some_run(2), attachment(2, b"a"))
        appended = await store.append(again, new)
        assert await read_all(store, after=1) == appended.events
    assert appended.outcomes == [["duplicate", "quarantined"], ["applied", "applied"]]


async def test_versions_count_the_events_of_a_stream(database_url: str) -> None:
    async with opened(database_url) as store:
        first, second = some_run(1), some_run(2)
        await store.append(submission(first, second, patch(1, end_time=1)), submission(patch(1, end_time=2)))
        await store.append(submission(patch(2, end_time=1), patch(1, end_time=3)))
        rows = await store.rows(events)
    versions = [[row.version for row in rows if row.stream == stream] for stream in (first.stream, second.stream)]
    assert versions == [[1, 2, 3, 4], [1, 2]]


async def test_recorded_at_stands_still_when_the_clock_goes_back(database_url: str) -> None:
    async with opened(database_url) as store:
        for number, now in enumerate((NOW_US, NOW_US - 5_000_000, NOW_US + 1), 1):
            await store.append(submission(some_run(number)), now=now)
        times = [row.recorded_at for row in await store.rows(events)]
        received = [row.received_at for row in await store.rows(receipts)]
    assert times == received == [NOW_US, NOW_US, NOW_US + 1]


async def test_the_head_is_where_the_log_ends(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(submission(some_run(1), refused(b"?")), now=NOW_US)
        await store.append(submission(some_run(1), some_run(2), refused(b"!")), now=NOW_US + 1)
        (head,) = await store.rows(heads)
        last, receipt = (await store.rows(events))[-1], (await store.rows(receipts))[-1]
    assert (head.position, head.chain, head.recorded_at) == (2, last.chain, NOW_US + 1)
    assert (head.receipt_id, head.receipt_chain) == (2, receipt.chain)
    assert (head.quarantine_id, head.fold_version) == (2, FOLD_VERSION)


async def test_an_append_that_is_rolled_back_leaves_nothing_and_no_gap(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(submission(some_run(1)))
        before = await everything(store)
        with suppress(ZeroDivisionError):
            async with store.writer.transaction():
                await store.append_within(submission(some_run(2), attachment(2, b"body"), refused(b"?")))
                raise ZeroDivisionError
        assert await everything(store) == before
        await store.append(submission(some_run(2), refused(b"?")))
        assert [row.position for row in await store.rows(events)] == [1, 2]
        assert [row.receipt_id for row in await store.rows(receipts)] == [1, 2]
        assert [row.quarantine_id for row in await store.rows(quarantine)] == [1]


# --- receipts and quarantine ------------------------------------------------------------------------------------------


async def test_each_request_has_a_receipt_that_accounts_for_all_it_brought(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(
            submission(some_run(1), some_run(1), refused(b"?"), some_run(2)), submission(), submission(some_run(2))
        )
        await store.append(submission(refused(b"?"), refused(b"?")))
        rows = await store.rows(receipts)
        by_receipt = [row.receipt_id for row in await store.rows(events)]
    counts = [(row.receipt_id, row.received, row.applied, row.duplicate, row.quarantined) for row in rows]
    assert counts == [(1, 4, 2, 1, 1), (2, 0, 0, 0, 0), (3, 1, 0, 1, 0), (4, 2, 0, 0, 2)]
    assert by_receipt == [1, 1]


async def test_quarantine_keeps_the_very_bytes_and_says_why(database_url: str) -> None:
    raws = [b"", b"\x00\xff{not json", b'{"name": "long"}' * 100]
    async with opened(database_url) as store:
        items = [refused(raw, source=f"post[{n}]", reason=f"reason {n}") for n, raw in enumerate(raws)]
        await store.append(submission(some_run(1), *items))
        await store.append(submission(refused(b"later")), now=NOW_US + 1)
        rows = await store.rows(quarantine)
    assert [unpack(row.codec, row.raw) for row in rows] == [*raws, b"later"]
    assert [row.raw_size for row in rows] == [*map(len, raws), 5]
    assert [(row.source, row.reason) for row in rows[:3]] == [(f"post[{n}]", f"reason {n}") for n in range(3)]
    assert [row.quarantine_id for row in rows] == [1, 2, 3, 4]
    assert [(row.receipt_id, row.recorded_at) for row in rows[2:]] == [(1, NOW_US), (2, NOW_US + 1)]


async def test_no_text_of_a_client_is_refused_by_a_column(database_url: str) -> None:
    hostile = "\0 \ud800 \U0001f600 " + "long " * 1000
    async with opened(database_url) as store:
        origin = Origin(endpoint=hostile, request_id=hostile, user_agent=hostile, remote_address=hostile)
        await store.append(submission(refused(b"?", source=hostile, reason=hostile), origin=origin))
        (receipt,), (kept,) = await store.rows(receipts), await store.rows(quarantine)
    begin = "\ufffd \ufffd \U0001f600 long long"
    assert all(text.startswith(begin) for text in (receipt.user_agent, receipt.endpoint, kept.source, kept.reason))
    assert len(receipt.user_agent) == 500
    assert len(kept.reason) == 1000


# --- the chain --------------------------------------------------------------------------------------------------------


async def test_the_chains_follow_from_the_rows(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(submission(some_run(1), refused(b"?")), submission(some_run(1), attachment(1, b"x" * 500)))
        await store.append(submission(feedback_posted(2, key="k", comment="c" * 300), project_created(3, "p")))
        event_rows, receipt_rows = await store.rows(events), await store.rows(receipts)
        (head,) = await store.rows(heads)
    assert {row.codec for row in event_rows} == {0, 1}
    assert [row.payload_hash for row in event_rows] == [
        hashlib.sha256(row.payload_salt + row.payload).digest() for row in event_rows
    ]
    assert [row.content_commitment for row in receipt_rows] == [
        hashlib.sha256(row.content_salt + row.content_hash).digest() for row in receipt_rows
    ]
    leaves = {row.receipt_id: receipt_leaf(row) for row in receipt_rows}
    receipt_chain = chained(leaves.values())
    event_chain = chained(event_leaf(row, leaves[row.receipt_id]) for row in event_rows)
    assert [row.chain for row in receipt_rows] == receipt_chain
    assert [row.chain for row in event_rows] == event_chain
    assert (head.chain, head.receipt_chain) == (event_chain[-1], receipt_chain[-1])


async def test_the_chain_of_the_quarantine_follows_from_its_rows(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(submission(refused(b"?"), some_run(1)), submission(refused(b"!" * 500, source="é")))
        rows, receipt_rows = await store.rows(quarantine), await store.rows(receipts)
        (head,) = await store.rows(heads)
    assert [row.raw_hash for row in rows] == [hashlib.sha256(row.raw_salt + row.raw).digest() for row in rows]
    leaves = {row.receipt_id: receipt_leaf(row) for row in receipt_rows}
    links = chained(quarantine_leaf(row, leaves[row.receipt_id]) for row in rows)
    assert [row.chain for row in rows] == links
    assert head.quarantine_chain == links[-1]


async def test_salts_are_drawn_anew_each_time(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(submission(some_run(1), some_run(2)), submission(some_run(3), refused(b"?")))
        salts = [row.payload_salt for row in await store.rows(events)]
        salts += [row.content_salt for row in await store.rows(receipts)]
        salts += [row.raw_salt for row in await store.rows(quarantine)]
    assert len(set(salts)) == 6
    assert {len(salt) for salt in salts} == {16}


async def test_the_same_history_makes_the_same_log_on_every_database(database_url: str) -> None:
    # What is pinned is what `verify` will compute for logs of years ago: it changes with no release. Payloads are too
    # short to be compressed, since another release of zstd may compress in other bytes.
    origin = Origin(endpoint="/runs", request_id="r1", sdk="langsmith-py", content_size=7, content_hash=bytes(32))
    post = run_posted({"id": id_text(1), "n": 1}, salt=b"s" * 16)
    change = run_patched({"id": id_text(1), "e": 2}, salt=b"t" * 16)
    async with opened(database_url) as store:
        for turn in ([post, refused(b"?")], [change, post]):
            await store.append(submission(*turn, origin=origin), random_bytes=lambda size: b"r" * size)
        (head,) = await store.rows(heads)
        ids = [row.event_id.hex() for row in await store.rows(events)]
    assert ids == ["fae1525b95d05ddbcb24cd77f5e32149", "5de7ae79eabe713ce2c9a1493162719e"]
    assert head.chain.hex() == "5c8c60eed72ff7f21062429af10cb795f37f851d9a429db8077d639914ce5378"
    assert head.receipt_chain.hex() == "e7d5ab265b60ff53f1d4020fd2ad4c1ca64464ff0e601e90831a1d0d1f917d49"
    assert head.quarantine_chain.hex() == "621272b48f6d01195220a9b1e2691e882f750a682a57baf078dee278a8990db5"


# --- the head's lock --------------------------------------------------------------------------------------------------


async def test_an_append_waits_for_the_one_that_holds_the_head(database_url: str) -> None:
    async with opened(database_url) as store, opened(database_url) as other:
        async with store.writer.transaction():
            await store.append_within(submission(some_run(1), some_run(2)))
            waiting = asyncio.create_task(other.append(submission(some_run(1), some_run(3))))
            done, _ = await asyncio.wait({waiting}, timeout=0.3)
            assert not done
            assert await read_all(other) == []
        appended = await waiting
    assert [(e.position, e.stream) for e in appended.events] == [(3, some_run(3).stream)]
    assert appended.outcomes == [["duplicate", "applied"]]


async def test_an_append_that_waited_for_one_that_failed_takes_its_place(database_url: str) -> None:
    async with opened(database_url) as store, opened(database_url) as other:
        with suppress(ZeroDivisionError):
            async with store.writer.transaction():
                await store.append_within(submission(some_run(1)))
                waiting = asyncio.create_task(other.append(submission(some_run(1), some_run(2))))
                await asyncio.wait({waiting}, timeout=0.1)
                raise ZeroDivisionError
        appended = await waiting
    assert [e.position for e in appended.events] == [1, 2]


async def test_writers_that_fail_at_random_leave_no_gap_and_no_fork(database_url: str) -> None:
    chance = random.Random(1)

    async def write(writer_number: int) -> int:
        committed = 0
        async with opened(database_url) as store:
            for turn in range(10):
                number = 1000 * writer_number + 10 * turn
                try:
                    async with store.writer.transaction():
                        await store.append_within(submission(some_run(number), some_run(number + 1), refused(b"?")))
                        await asyncio.sleep(chance.random() / 200)
                        if chance.random() < 0.4:
                            raise ZeroDivisionError
                    committed += 1
                except ZeroDivisionError:
                    continue
        return committed

    committed = sum(await asyncio.gather(*(write(number) for number in range(4))))
    async with opened(database_url) as store:
        event_rows, receipt_rows = await store.rows(events), await store.rows(receipts)
        kept = await store.rows(quarantine)
    assert 0 < committed < 40
    assert [row.position for row in event_rows] == list(range(1, 2 * committed + 1))
    assert [row.receipt_id for row in receipt_rows] == list(range(1, committed + 1))
    assert [row.quarantine_id for row in kept] == list(range(1, committed + 1))
    leaves = {row.receipt_id: receipt_leaf(row) for row in receipt_rows}
    assert [row.chain for row in event_rows] == chained(event_leaf(row, leaves[row.receipt_id]) for row in event_rows)


async def test_a_head_that_other_folds_moved_is_refused(database_url: str) -> None:
    async with opened(database_url) as store:
        async with store.writer.transaction():
            assert (await log.lock_head(store.writer, fold_version="2.1/ended")).fold_version == "2.1/ended"
        await store.append(submission(some_run(1)))
        with pytest.raises(FoldVersionMismatch, match=r"folded by 1\.1/documented, this process folds by 2\.1/ended"):
            async with store.writer.transaction():
                await log.lock_head(store.writer, fold_version="2.1/ended")


async def test_a_shard_without_a_head_is_refused(database_url: str) -> None:
    async with opened(database_url) as store:
        with pytest.raises(SchemaMismatch, match="shard 7 has no head"):
            async with store.writer.transaction():
                await log.lock_head(store.writer, fold_version=FOLD_VERSION, shard=7)


# --- duplicates -------------------------------------------------------------------------------------------------------


async def test_what_is_sent_again_is_a_duplicate_wherever_it_comes(database_url: str) -> None:
    async with opened(database_url) as store:
        one = [some_run(1), patch(1, end_time=1), attachment(1, b"body"), feedback_posted(9, key="k")]
        first = await store.append(submission(*one, *one), submission(*one))
        second = await store.append(submission(*reversed(one)), submission(*one))
        applied = [["applied"] * 4 + ["duplicate"] * 4, ["duplicate"] * 4]
        assert first.outcomes == applied
        assert second.outcomes == [["duplicate"] * 4] * 2
        assert second.events == []
        assert len(await store.rows(events)) == 4


async def test_a_patch_repeated_after_another_one_is_a_late_retry(database_url: str) -> None:
    async with opened(database_url) as store:
        a, b = patch(1, end_time=1), patch(1, end_time=2)
        await store.append(submission(a), submission(b))
        assert (await store.append(submission(a))).outcomes == [["duplicate"]]


async def test_the_same_bytes_in_another_kind_or_stream_are_no_duplicate(database_url: str) -> None:
    async with opened(database_url) as store:
        fields = {"id": id_text(1), "name": "run"}
        same_bytes = [run_posted(fields), run_patched(fields), feedback_posted(1, key="k"), feedback_posted(2, key="k")]
        assert (await store.append(submission(*same_bytes))).outcomes == [["applied"] * 4]


@pytest.mark.parametrize("together", [True, False], ids=["in one append", "in appends of their own"])
async def test_a_command_is_a_duplicate_of_the_latest_of_its_stream_only(database_url: str, together: bool) -> None:
    a, b = feedback_patched(1, score=1), feedback_patched(1, score=0)
    told = [a, a, b, a, a, b, b, a]
    expected = ["applied", "duplicate", "applied", "applied", "duplicate", "applied", "duplicate", "applied"]
    async with opened(database_url) as store:
        if together:
            (outcomes,) = (await store.append(submission(*told))).outcomes
        else:
            outcomes = [(await store.append(submission(item))).outcomes[0][0] for item in told]
        rows = await store.rows(events)
    assert outcomes == expected
    assert [row.version for row in rows] == [1, 2, 3, 4, 5]
    assert len({row.event_id for row in rows}) == 5


async def test_a_command_whose_first_time_was_erased_is_still_a_duplicate_of_the_latest(database_url: str) -> None:
    a, b = feedback_patched(1, score=1), feedback_patched(1, score=0)
    async with opened(database_url) as store:
        await store.append(submission(a, b, a))
        await store.execute("UPDATE events SET payload = NULL, payload_salt = NULL, event_id = NULL WHERE position = 1")
        assert (await store.append(submission(a))).outcomes == [["duplicate"]]


@pytest.mark.parametrize("seed", range(2))
async def test_any_repetition_in_any_grouping_is_accounted_for(database_url: str, seed: int) -> None:
    chance = random.Random(seed)
    some = [some_run(1), some_run(2), patch(1, end_time=1), patch(1, end_time=2), patch(2, end_time=1)]
    some += [feedback_patched(3, score=1), feedback_patched(3, score=0), feedback_deleted(3), project_created(4, "p")]
    told = [refused(b"?") if chance.random() < 0.1 else chance.choice(some) for _ in range(200)]
    outcomes: list[Outcome] = []
    async with opened(database_url) as store:
        left = iter(told)
        while group := [items for _ in range(chance.randrange(1, 4)) if (items := list(islice(left, 5)))]:
            appended = await store.append(*(submission(*items) for items in group))
            outcomes += chain.from_iterable(appended.outcomes)
        rows, receipt_rows = await store.rows(events), await store.rows(receipts)
        kept = await store.rows(quarantine)
    assert outcomes == expected_outcomes(told)
    assert len(rows) == outcomes.count("applied")
    assert len(kept) == outcomes.count("quarantined")
    assert all(row.received == row.applied + row.duplicate + row.quarantined for row in receipt_rows)
    assert sum(row.received for row in receipt_rows) == len(told)


async def test_the_unique_key_refuses_what_a_wrong_look_up_let_through(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(database_url) as store:
        await store.append(submission(some_run(1)))
        before = await everything(store)
        look_up = store.writer.lookup

        async def forgetful(query: str, columns: dict[str, str], rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
            return [] if "event_id = k.event_id" in query else await look_up(query, columns, rows)

        monkeypatch.setattr(store.writer, "lookup", forgetful)
        with pytest.raises(DataRefused):
            await store.append(submission(some_run(2), some_run(1)))
        assert await everything(store) == before


# --- reading ----------------------------------------------------------------------------------------------------------


async def test_a_stream_reads_back_in_order_with_what_was_sent(database_url: str) -> None:
    post, changes = some_run(1, inputs={"text": "x" * 500}), [patch(1, end_time=n) for n in range(3)]
    async with opened(database_url) as store:
        await store.append(submission(post, some_run(2), *changes))
        async with store.engine.connect() as connection:
            found = await log.read_stream(connection, post.stream)
            assert await log.read_stream(connection, some_run(3).stream) == []
    assert [e.version for e in found] == [1, 2, 3, 4]
    assert [e.payload for e in found] == [item.payload for item in (post, *changes)]
    assert [e.body for e in found] == [item.body for item in (post, *changes)]
    assert [e.position for e in found] == [1, 3, 4, 5]


async def test_streams_are_read_together_each_in_order(database_url: str) -> None:
    streams = [some_run(number).stream for number in (3, 1, 2)]
    async with opened(database_url) as store:
        await store.append(submission(some_run(1), patch(2, end_time=1), patch(1, end_time=1), some_run(2)))
        async with store.engine.connect() as connection:
            found = await log.read_streams(connection, streams)
            assert await log.read_streams(connection, []) == {}
            assert found == {stream: await log.read_stream(connection, stream) for stream in streams}
    assert {stream: len(found[stream]) for stream in streams} == dict(zip(streams, (0, 2, 2), strict=True))


async def test_a_writer_reads_in_its_transaction_what_it_has_just_appended(database_url: str) -> None:
    async with opened(database_url) as store, store.writer.transaction():
        appended = await store.append_within(submission(some_run(1), some_run(2), patch(1, end_time=1)))
        found = await log.read_stream_written(store.writer, some_run(1).stream)
    assert found == [appended.events[0], appended.events[2]]


async def test_events_are_read_at_positions_up_to_a_number_of_bytes(database_url: str) -> None:
    runs = [some_run(number, inputs="x" * 1000) for number in range(1, 5)]
    size = len(runs[0].payload)
    async with opened(database_url) as store:
        await store.append(submission(*runs))
        async with store.engine.connect() as connection:
            found = {
                bytes_max: await log.read_at(connection, [4, 99, 2, 1], bytes_max=bytes_max)
                for bytes_max in (0, size - 1, size, 2 * size, 10 * size)
            }
            assert await log.read_at(connection, [], bytes_max=size) == {}
    assert [set(by_position) for by_position in found.values()] == [set(), set(), {4}, {4, 2}, {4, 2, 1}]
    assert all(position == e.position for by_position in found.values() for position, e in by_position.items())
    assert found[size][4].payload == runs[3].payload


async def test_the_whole_log_is_read_in_slices(database_url: str) -> None:
    async with opened(database_url) as store:
        appended = await store.append(submission(*(some_run(number) for number in range(1, 1101))))
        async with store.engine.connect() as connection:
            slices = [part async for part in log.read_all(connection)]
            part_of_it = [e async for part in log.read_all(connection, after=3, upto=1003) for e in part]
            assert [part async for part in log.read_all(connection, after=1100)] == []
            assert [part async for part in log.read_all(connection, shard=7)] == []
    assert [len(part) for part in slices] == [500, 500, 100]
    assert [e for part in slices for e in part] == appended.events
    assert part_of_it == appended.events[3:1003]


async def test_an_event_whose_payload_was_erased_reads_as_unknown(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(submission(some_run(1), some_run(2)))
        await store.execute("UPDATE events SET payload = NULL, payload_salt = NULL, event_id = NULL WHERE position = 1")
        erased, kept = await read_all(store)
    assert (erased.body, erased.payload, erased.kind) == (Unknown("RunPosted"), b"", "RunPosted")
    assert (erased.position, erased.version, erased.recorded_at) == (1, 1, NOW_US)
    assert isinstance(kept.body, RunPosted)


async def test_a_kind_that_is_not_known_is_kept_and_reads_as_unknown(database_url: str) -> None:
    stream = run_stream(bytes(16))
    strange = log.seal("RunPraised", stream, b'{"praise": "so fine"}', Unknown("RunPraised"))
    async with opened(database_url) as store:
        assert (await store.append(submission(strange, strange))).outcomes == [["applied", "duplicate"]]
        (found,) = await read_all(store)
    assert (found.kind, found.body, found.payload) == ("RunPraised", Unknown("RunPraised"), strange.payload)


async def test_a_client_cannot_say_that_its_fields_were_moved_to_the_content_store(database_url: str) -> None:
    forged = some_run(1, **{"agent-spy:contents": {"outputs": {"hash": "00", "size": 1, "preview": ""}}})
    async with opened(database_url) as store:
        await store.append(submission(forged))
        (found,) = await read_all(store)
    assert isinstance(found.body, RunPosted)
    assert bytes(found.body.fields.contents) == b""
    assert found.payload == forged.payload


# --- query plans ------------------------------------------------------------------------------------------------------


async def test_a_stream_is_read_by_the_index_of_streams(database_url: str) -> None:
    async with grown(database_url) as store, store.engine.connect() as connection:
        plan = await plan_of_reading(connection, log.read_stream(connection, some_run(7).stream))
        plan_of_many = await plan_of_reading(
            connection, log.read_streams(connection, [some_run(number).stream for number in range(20)])
        )
    assert plan == {("events_stream", frozenset({"shard", "stream", "version"}))}
    assert plan_of_many == {("events_stream", frozenset({"shard", "stream"}))}


async def test_positions_are_read_by_the_primary_key(database_url: str) -> None:
    async def all_of_it() -> None:
        async for _ in log.read_all(connection, after=2900, upto=2950):
            pass

    async with grown(database_url) as store, store.engine.connect() as connection:
        plan_at = await plan_of_reading(connection, log.read_at(connection, [5, 9, 2000], bytes_max=10**6))
        plan_all = await plan_of_reading(connection, all_of_it())
    assert plan_at == {("events_pk", frozenset({"shard", "position"}))}
    assert plan_all == {("events_pk", frozenset({"shard", "position"}))}


async def test_what_an_append_looks_up_is_found_by_the_indexes_of_streams(database_url: str) -> None:
    await require_look_ups_by_stream(database_url, runs=6)


@pytest.mark.parametrize("runs", [100, 700])
async def test_sqlite_reads_no_whole_index_however_many_events_are_appended(sqlite_url: str, runs: int) -> None:
    await require_look_ups_by_stream(sqlite_url, runs=runs)


async def require_look_ups_by_stream(database_url: str, *, runs: int) -> None:
    async with grown(database_url) as store:
        seen = watch(store)
        feedback = (feedback_patched(number, score=1) for number in range(3))
        await store.append(submission(*map(some_run, range(runs)), *feedback))
        plans: dict[str, list[Plan]] = {"max(": [], "e.event_id = k.event_id": [], "e.version = k.version": []}
        for query in list(seen):
            for words, of_kind in plans.items():
                if words in query[0]:
                    of_kind.append(await plan_of_written(store, query))
    versions, known, latest = plans.values()
    assert versions
    assert known
    assert latest
    assert all(plan == {("events_stream", frozenset({"shard", "stream"}))} for plan in versions)
    assert all(plan == {("events_once", frozenset({"shard", "stream", "event_id"}))} for plan in known)
    assert all(plan == {("events_stream", frozenset({"shard", "stream", "version"}))} for plan in latest)


# --- what the tests above are made of ---------------------------------------------------------------------------------


def patch(number: int, **fields: object) -> NewEvent:
    return run_patched({"id": id_text(number), **fields})


async def read_all(store: Log, after: int = 0) -> list[RecordedEvent]:
    async with store.engine.connect() as connection:
        return [e async for part in log.read_all(connection, after=after) for e in part]


async def everything(store: Log) -> dict[str, Sequence[Row[Any]]]:
    return {table.name: await store.rows(table) for table in metadata.sorted_tables}


def expected_outcomes(told: Sequence[NewEvent | Refused]) -> list[Outcome]:
    """The rule for duplicates, as the documentation says it."""
    outcomes: list[Outcome] = []
    seen: dict[bytes, list[tuple[str, bytes]]] = {}
    for item in told:
        if isinstance(item, Refused):
            outcomes.append("quarantined")
            continue
        stream, said = seen.setdefault(item.stream, []), (item.kind, item.payload)
        is_duplicate = said in (stream[-1:] if item.kind in COMMANDS else stream)
        outcomes.append("duplicate" if is_duplicate else "applied")
        if not is_duplicate:
            stream.append(said)
    return outcomes


def event_leaf(row: Row[Any], receipt: bytes) -> bytes:
    """What `events.chain` documents, written down a second time."""
    numbers = [
        row.shard.to_bytes(2),
        *(number.to_bytes(8) for number in (row.position, row.version)),
        row.recorded_at.to_bytes(8, signed=True),
        row.receipt_id.to_bytes(8),
        *(number.to_bytes(2) for number in (row.schema_version, row.codec)),
        row.payload_size.to_bytes(8),
    ]
    words = [sized(row.stream), sized(row.kind.encode()), row.payload_hash, receipt]
    return hashlib.sha256(b"".join(numbers + words)).digest()


def receipt_leaf(row: Row[Any]) -> bytes:
    numbers = [
        row.shard.to_bytes(2),
        row.receipt_id.to_bytes(8),
        row.received_at.to_bytes(8, signed=True),
        *(n.to_bytes(8) for n in (row.received, row.applied, row.duplicate, row.quarantined, row.content_size)),
    ]
    texts = (row.endpoint, row.request_id, row.key_id, row.user_agent, row.sdk, row.sdk_version, row.remote_address)
    words = [b"\0" if text is None else b"\1" + sized(text.encode()) for text in texts]
    return hashlib.sha256(b"".join(numbers + words) + row.content_commitment + (row.repetitions_hash or b"")).digest()


def quarantine_leaf(row: Row[Any], receipt: bytes) -> bytes:
    numbers = [
        row.shard.to_bytes(2),
        *(number.to_bytes(8) for number in (row.quarantine_id, row.receipt_id)),
        row.recorded_at.to_bytes(8, signed=True),
        row.codec.to_bytes(2),
        row.raw_size.to_bytes(8),
    ]
    words = [sized(row.source.encode()), sized(row.reason.encode()), row.raw_hash, receipt]
    return hashlib.sha256(b"".join(numbers + words)).digest()


def sized(part: bytes) -> bytes:
    return len(part).to_bytes(4) + part


def chained(leaves: Iterable[bytes]) -> list[bytes]:
    links = [GENESIS]
    for leaf in leaves:
        links.append(hashlib.sha256(links[-1] + leaf).digest())
    return links[1:]


@asynccontextmanager
async def grown(database_url: str) -> AsyncIterator[Log]:
    """A log of 1,000 streams of three events each: enough for PostgreSQL to prefer an index to reading it all.

    Its statistics are those that the writer had it gather, as in a log that has just begun.
    """
    async with opened(database_url) as store:
        for turn in range(3):
            await store.append(submission(*(patch(number, end_time=turn) for number in range(1000))))
        yield store


def watch(store: Log) -> list[tuple[str, tuple[object, ...]]]:
    """The queries that the writer runs from now on, each with its values, as its driver sees them."""
    seen: list[tuple[str, tuple[object, ...]]] = []
    if isinstance(store.writer, SqliteWriter):
        store.writer._open.set_trace_callback(lambda query: seen.append((query, ())))
    elif isinstance(store.writer, PostgresWriter):
        store.writer._connection.add_query_logger(lambda logged: seen.append((logged.query, logged.args)))
    return seen


async def plan_of_written(store: Log, query: tuple[str, tuple[object, ...]]) -> Plan:
    rows = await store.writer.fetch(explaining(isinstance(store.writer, SqliteWriter)) + query[0], *query[1])
    return access_paths(rows)


async def plan_of_reading(connection: AsyncConnection, reading: Awaitable[object]) -> Plan:
    """How the last query of `reading` finds its rows."""
    seen: list[tuple[str, Any]] = []

    def see(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        seen.append((statement, parameters))

    engine = connection.engine.sync_engine
    event.listen(engine, "before_cursor_execute", see)
    await reading
    event.remove(engine, "before_cursor_execute", see)
    statement, parameters = seen[-1]
    explained = explaining(engine.dialect.name == "sqlite") + statement
    return access_paths((await connection.exec_driver_sql(explained, parameters)).all())


def explaining(sqlite: bool) -> str:
    return "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN (FORMAT JSON) "


def access_paths(rows: Sequence[Sequence[Any]]) -> Plan:
    """By which index, and which columns of it, a plan finds the events. None stands for reading all of them."""
    if len(rows[0]) == 1:
        told = rows[0][0]
        return set(postgresql_paths((orjson.loads(told) if isinstance(told, str) else told)[0]["Plan"]))
    return set(sqlite_paths(row[3] for row in rows))


def sqlite_paths(lines: Iterable[str]) -> Iterator[AccessPath]:
    # SQLite names the index of a constraint itself, in the order of the constraints.
    names = {"sqlite_autoindex_events_1": "events_pk", "sqlite_autoindex_events_2": "events_once"}
    for line in lines:
        found = re.fullmatch(r"(?:SEARCH|SCAN) (?:e|events)\b(?: USING (?:COVERING )?INDEX (\w+))?(?: \((.+)\))?", line)
        if found:
            yield names.get(found[1], found[1]), frozenset(re.findall(r"(\w+)[=<>]", found[2] or ""))
        assert "TEMP B-TREE" not in line, line


def postgresql_paths(node: dict[str, Any]) -> Iterator[AccessPath]:
    is_of_events = node.get("Relation Name") == "events" and node["Node Type"] != "Bitmap Heap Scan"
    if is_of_events or node["Node Type"] == "Bitmap Index Scan":
        columns = re.findall(r'(\w+)"? (?:=|<|>|<=|>=) ', node.get("Index Cond", ""))
        yield node.get("Index Name"), frozenset(columns)
    for child in node.get("Plans", ()):
        yield from postgresql_paths(child)
