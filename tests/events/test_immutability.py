"""What was recorded stays: the database itself refuses to change it, whoever asks and in whatever words."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy.exc import DBAPIError

from events.schema import events
from tests.events.histories import Log, opened, some_run, submission

ERASED = ("payload", "payload_salt", "event_id")
KEPT = [column.name for column in events.columns if column.name not in ERASED]
ERASING = "events SET payload = NULL, payload_salt = NULL, event_id = NULL"


def copied(**instead: str) -> str:
    """The rest of an INSERT of the first event once more, with other values instead of its own."""
    values = {**{column.name: column.name for column in events.columns}, **instead}
    return f"INTO events ({', '.join(values)}) SELECT {', '.join(values.values())} FROM events WHERE position = 1"


SAME, SAME_LATER = copied(), copied(position="9")
# Other events at a position that is taken, and at one before the first.
TAKEN, EARLIER = copied(event_id="NULL"), copied(event_id="NULL", position="0")
SAME_ROWID = copied(position="9", event_id="NULL", rowid="1")

# Statements that must fail, with what the database says to them.
REFUSED = {
    "sqlite": [
        *((f"INSERT {SAME}{more}", "INSERT over an event") for more in ("", " ON CONFLICT DO UPDATE SET kind = ''")),
        *((f"INSERT OR {what} {SAME}", "INSERT over an event") for what in ("REPLACE", "IGNORE", "FAIL")),
        *(
            (f"{verb} {again}", "INSERT over an event")
            for verb in ("REPLACE", "INSERT")
            for again in (SAME, SAME_LATER)
        ),
        *((f"REPLACE {other}", "INSERT over an event") for other in (TAKEN, EARLIER, SAME_ROWID)),
        *((f"INSERT {other}", "INSERT over an event") for other in (TAKEN, EARLIER, SAME_ROWID)),
        (f"UPDATE OR REPLACE {ERASING}, rowid = 1 WHERE position = 2", "UPDATE"),
        (f"UPDATE OR REPLACE {ERASING}, position = 1 WHERE position = 2", "UPDATE"),
        ("UPDATE OR IGNORE events SET kind = ''", "UPDATE"),
        ("DELETE FROM events WHERE true", "DELETE"),
    ],
    "postgresql": [
        (f"INSERT {SAME}", "events_pk"),
        (f"INSERT {TAKEN}", "events_pk"),
        (f"INSERT {SAME_LATER}", "events_once"),
        (f"INSERT {SAME} ON CONFLICT ON CONSTRAINT events_pk DO UPDATE SET kind = ''", "UPDATE"),
        (f"INSERT {SAME_LATER} ON CONFLICT ON CONSTRAINT events_once DO UPDATE SET kind = ''", "UPDATE"),
        ("TRUNCATE events", "TRUNCATE"),
        ("TRUNCATE heads, events CASCADE", "TRUNCATE"),
        ("MERGE INTO events e USING heads h ON e.shard = h.shard WHEN MATCHED THEN DELETE", "DELETE"),
        ("MERGE INTO events e USING heads h ON e.shard = h.shard WHEN MATCHED THEN UPDATE SET kind = ''", "UPDATE"),
    ],
}


async def test_no_event_is_deleted(database_url: str) -> None:
    async with recorded(database_url) as store:
        await assert_refused(store, "DELETE FROM events", "DELETE")
        await assert_refused(store, "DELETE FROM events WHERE position = 2", "DELETE")


async def test_no_column_of_an_event_changes(database_url: str) -> None:
    async with recorded(database_url) as store:
        for name in (*KEPT, *ERASED):
            await assert_refused(store, f"UPDATE events SET {name} = {different(name)}", "UPDATE")


async def test_nothing_else_that_a_database_understands_changes_an_event(database: str, database_url: str) -> None:
    async with recorded(database_url) as store:
        for statement, reason in REFUSED[database]:
            await assert_refused(store, statement, reason)


async def test_erasing_clears_payload_salt_and_id_and_nothing_else(database_url: str) -> None:
    async with recorded(database_url) as store:
        before = await store.rows(events)
        await store.execute(f"UPDATE {ERASING} WHERE position = 2")
        after = await store.rows(events)
    assert [after[0], after[2]] == [before[0], before[2]]
    assert [after[1]._mapping[name] for name in ERASED] == [None] * 3
    assert [after[1]._mapping[name] for name in KEPT] == [before[1]._mapping[name] for name in KEPT]


async def test_erasing_takes_all_three_together(database_url: str) -> None:
    async with recorded(database_url) as store:
        for left_out in ERASED:
            cleared = ", ".join(f"{name} = NULL" for name in ERASED if name != left_out)
            await assert_refused(store, f"UPDATE events SET {cleared}", "UPDATE")


async def test_erasing_changes_nothing_beside(database_url: str) -> None:
    async with recorded(database_url) as store:
        for name in KEPT:
            await assert_refused(store, f"UPDATE {ERASING}, {name} = {different(name)}", "UPDATE")


async def test_what_is_erased_stays_erased(database_url: str) -> None:
    async with recorded(database_url) as store:
        await store.execute(f"UPDATE {ERASING}")
        for name in ERASED:
            await assert_refused(store, f"UPDATE events SET {name} = {different(name)}", "UPDATE")


async def test_an_erased_event_does_not_take_the_place_of_another(sqlite_url: str) -> None:
    async with recorded(sqlite_url) as store:
        await store.execute(f"UPDATE {ERASING} WHERE position = 2")
        for place in ("rowid = 1", "position = 1"):
            await assert_refused(store, f"UPDATE OR REPLACE events SET {place} WHERE position = 2", "UPDATE")


async def test_the_guards_let_the_log_grow(database_url: str) -> None:
    async with recorded(database_url) as store:
        await store.execute(f"UPDATE {ERASING} WHERE position = 3")
        for number in range(10, 30):
            await store.append(submission(some_run(number)))
        assert [row.position for row in await store.rows(events)] == list(range(1, 24))


@asynccontextmanager
async def recorded(database_url: str) -> AsyncIterator[Log]:
    """A log of three events."""
    async with opened(database_url) as store:
        await store.append(submission(some_run(1), some_run(2), some_run(3)))
        yield store


async def assert_refused(store: Log, statement: str, reason: str) -> None:
    before = await store.rows(events)
    with pytest.raises(DBAPIError) as refusal:
        await store.execute(statement)
    assert reason in str(refusal.value.orig), statement
    assert await store.rows(events) == before, statement


def different(name: str) -> str:
    """SQL for a value that a column does not have."""
    column = events.columns[name]
    return {int: f"{name} + 1", str: f"{name} || '!'"}.get(column.type.python_type, "payload_hash || chain")
