import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    func,
    make_url,
    select,
)
from sqlalchemy.engine import URL

from events.dialect import SqliteWriter, Writer, is_sqlite, open_writer
from events.errors import DataRefused, Unavailable
from events.schema import contents, events
from tests.events.histories import Log, opened, some_run, submission

TABLE = Table(
    "things",
    MetaData(),
    Column("shard", SmallInteger, primary_key=True),
    Column("value", Text),
    Column("id", LargeBinary, primary_key=True),
    Column("hour", BigInteger, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
)
SIZED = Table(
    "sized",
    MetaData(),
    Column("shard", SmallInteger, primary_key=True),
    Column("id", Integer, primary_key=True),
    Column("other", Text),
    Column("value", Text),
    Column("size", BigInteger),
)
NUMBERS = (0, 1, 2500)


def thing(number: int, value: str | None = None) -> tuple[object, ...]:
    return (0, value, number.to_bytes(16), number * 2**40, f"é{number}", number % 7)


def key_of(row: Sequence[Any]) -> tuple[object, ...]:
    return (row[0], *row[2:])


# --- opening ----------------------------------------------------------------------------------------------------------


async def test_sqlite_writes_to_disk_before_it_says_so_and_wipes_what_is_deleted(sqlite_url: str) -> None:
    pragmas = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "page_size": 8192}
    async with opened(sqlite_url) as store:
        by_writer = {name: (await store.writer.fetch(f"PRAGMA {name}"))[0][0] for name in pragmas}
        async with store.engine.connect() as connection:
            by_reader = {name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar_one() for name in pragmas}
    assert by_writer == by_reader == pragmas


async def test_postgresql_writes_to_disk_before_it_says_so(postgresql_url: str) -> None:
    async with opened(postgresql_url) as store, store.writer.transaction():
        assert (await store.writer.fetch("SHOW synchronous_commit"))[0][0] == "on"


async def test_the_queries_of_one_read_see_the_same_moment_on_sqlite(sqlite_url: str) -> None:
    async with opened(sqlite_url) as store, store.engine.connect() as connection:
        counts = []
        for number in (1, 2):
            counts.append(len((await connection.execute(events.select())).all()))
            await store.append(submission(some_run(number)))
        counts.append(len((await connection.execute(events.select())).all()))
    assert counts == [0, 0, 0]


@pytest.mark.parametrize(
    ("url", "expected"),
    [("sqlite+aiosqlite:///x.db", True), ("sqlite:///x.db", True), ("postgresql+asyncpg://h/d", False)],
)
def test_the_url_says_which_system_it_is(url: str, expected: bool) -> None:
    assert is_sqlite(url) == is_sqlite(make_url(url)) == expected


async def test_a_writer_that_was_closed_opens_again(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(submission(some_run(1)))
        await store.writer.close()
        await store.writer.close()
        assert (await store.append(submission(some_run(2)))).events[0].position == 2


# --- rows in and out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", NUMBERS)
async def test_rows_are_inserted_looked_up_replaced_and_deleted(database_url: str, number: int) -> None:
    rows = [thing(n, "old") for n in range(number)]
    async with with_things(database_url) as store:
        async with store.writer.transaction():
            await store.writer.insert(TABLE, [*rows, thing(9999, "stays")])
        async with store.writer.transaction():
            found = await looked_up(store, [*rows, thing(5000)])
            await store.writer.replace(TABLE, [thing(n, "new") for n in range(number + 1)])
        after_replace = await things(store)
        async with store.writer.transaction():
            await store.writer.delete(TABLE, [key_of(row) for row in rows])
        after_delete = await things(store)
    assert found == {(row[2], "old") for row in rows}
    assert after_replace == {thing(9999, "stays"), *(thing(n, "new") for n in range(number + 1))}
    assert after_delete == {thing(9999, "stays"), thing(number, "new")}


async def test_more_rows_are_looked_up_than_one_statement_of_sqlite_takes(sqlite_url: str) -> None:
    async with with_things(sqlite_url) as store:
        assert isinstance(store.writer, SqliteWriter)
        # What SQLite allows unless it was built to allow more.
        store.writer._open.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 32_766)
        rows = [thing(n, "there") for n in range(12_000)]
        await in_transaction(store, store.writer.insert, TABLE, rows)
        assert len(await looked_up(store, rows)) == len(rows)


class SlowToCommit:
    """SQLite's connection, on a disk that is written when the test says so."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.asked, self.written = threading.Event(), threading.Event()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        if statement == "COMMIT":
            self.asked.set()
            assert self.written.wait(timeout=30)
        return self._connection.execute(statement, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


async def test_who_is_cancelled_while_the_disk_is_written_waits_for_it(sqlite_url: str) -> None:
    async with with_things(sqlite_url) as store:
        assert isinstance(store.writer, SqliteWriter)
        disk = SlowToCommit(store.writer._open)
        store.writer._connection = cast(sqlite3.Connection, disk)
        committing = asyncio.ensure_future(in_transaction(store, store.writer.insert, TABLE, [thing(1)]))
        await asyncio.to_thread(disk.asked.wait, 30)
        for _ in range(2):
            committing.cancel()
            await asyncio.wait({committing}, timeout=0.05)
            assert not committing.done()
        disk.written.set()
        with pytest.raises(asyncio.CancelledError):
            await committing
        await in_transaction(store, store.writer.insert, TABLE, [thing(2)])
        assert await things(store) == {thing(1), thing(2)}


@pytest.mark.parametrize("number", NUMBERS)
async def test_one_statement_runs_for_many_rows(database_url: str, number: int) -> None:
    async with with_things(database_url) as store:
        async with store.writer.transaction():
            await store.writer.insert(TABLE, [thing(n) for n in range(number + 1)])
            values = [(f"to {n}", n.to_bytes(16)) for n in range(number)]
            await store.writer.execute_many("UPDATE things SET value = ?1 WHERE id = ?2", values)
        assert await things(store) == {thing(number), *(thing(n, f"to {n}") for n in range(number))}


@pytest.mark.parametrize("number", NUMBERS)
async def test_named_columns_of_rows_are_updated_and_no_others(database_url: str, number: int) -> None:
    def row(n: int, value: str | None, size: int) -> tuple[object, ...]:
        return (0, n, "stays", value, size)

    async with with_things(database_url) as store:
        async with store.writer.transaction():
            await store.writer.execute(
                "CREATE TABLE sized (shard SMALLINT, id INTEGER, other TEXT, value TEXT, size BIGINT, "
                "PRIMARY KEY (shard, id))"
            )
            await store.writer.insert(SIZED, [row(n, "old", 1) for n in range(number + 1)])
            changes = [(None if n % 2 else f"new {n}", 2**40 + n, 0, n) for n in range(number)]
            await store.writer.update(SIZED, ["value", "size"], [*changes, ("of none", 0, 0, number + 1)])
        found = {tuple(each) for each in await store.writer.fetch("SELECT * FROM sized")}
    assert found == {row(number, "old", 1), *(row(n, change[0], change[1]) for n, change in enumerate(changes))}


async def test_of_several_rows_with_one_key_the_last_replaces(database_url: str) -> None:
    async with with_things(database_url) as store:
        async with store.writer.transaction():
            await store.writer.insert(TABLE, [thing(1, "before")])
            await store.writer.replace(TABLE, [thing(1, "first"), thing(2), thing(1, "last")])
        assert await things(store) == {thing(1, "last"), thing(2)}


async def test_rows_with_one_key_are_not_inserted(database_url: str) -> None:
    async with with_things(database_url) as store:
        with pytest.raises(DataRefused):
            await in_transaction(store, store.writer.insert, TABLE, [thing(2), thing(1), thing(1)])
        assert await things(store) == set()


async def test_a_transaction_reads_what_it_wrote(database_url: str) -> None:
    async with with_things(database_url) as store, store.writer.transaction():
        await store.writer.insert(TABLE, [thing(1, "mine")])
        await store.writer.execute("UPDATE things SET value = ?1 WHERE number = ?2", "ours", 1)
        rows = await store.writer.fetch("SELECT value FROM things WHERE value = ?2 AND number = ?1", 1, "ours")
    assert [tuple(row) for row in rows] == [("ours",)]


# --- what is kept in memory of rows -----------------------------------------------------------------------------------


async def test_what_sqlite_rows_are_kept_stays_while_nobody_else_writes(sqlite_url: str) -> None:
    async with with_things(sqlite_url) as store:
        await in_transaction(store, store.writer.insert, TABLE, [thing(1)])
        store.writer.kept["things"] = 1
        async with store.engine.connect() as connection:
            await connection.execute(select(func.count()).select_from(TABLE))
        async with store.writer.transaction():
            assert store.writer.kept == {"things": 1}


async def test_what_is_kept_of_rows_goes_when_another_writes(database_url: str) -> None:
    async with with_things(database_url) as store, opened(database_url) as other:
        async with store.writer.transaction():
            store.writer.kept["things"] = 1
        await in_transaction(other, other.writer.insert, TABLE, [thing(1)])
        async with store.writer.transaction():
            assert store.writer.kept == {}


async def test_what_is_kept_of_rows_goes_with_a_transaction_that_is_rolled_back(database_url: str) -> None:
    async with with_things(database_url) as store:
        with suppress(DataRefused):
            async with store.writer.transaction():
                store.writer.kept["things"] = 1
                raise DataRefused("no")
        assert store.writer.kept == {}


async def test_what_is_kept_of_rows_goes_with_the_connection(database_url: str) -> None:
    async with with_things(database_url) as store:
        async with store.writer.transaction():
            store.writer.kept["things"] = 1
        await store.writer.close()
        async with store.writer.transaction():
            assert store.writer.kept == {}


async def test_postgresql_learns_how_large_a_table_is_when_it_has_doubled(postgresql_url: str) -> None:
    known = []
    async with with_things(postgresql_url) as store:
        await store.execute("ALTER TABLE things SET (autovacuum_enabled = off)")
        for start, number in ((0, 499), (499, 1), (500, 499), (999, 1), (1000, 999), (1999, 1)):
            await in_transaction(store, store.writer.insert, TABLE, [thing(n) for n in range(start, start + number)])
            known.append(await rows_known(store))
        await begin(store.writer)
        known.append(await rows_known(store))
    assert known == [-1, -1, 500, 500, 1000, 1000, 2000]


async def test_postgresql_need_not_learn_again_what_only_changed_or_was_rolled_back(postgresql_url: str) -> None:
    async with with_things(postgresql_url) as store:
        await store.execute("ALTER TABLE things SET (autovacuum_enabled = off)")
        for _ in range(3):
            await in_transaction(store, store.writer.replace, TABLE, [thing(n) for n in range(400)])
            with suppress(ZeroDivisionError):
                await in_transaction(store, fail_after_insert, store, ZeroDivisionError(), 1000)
        await begin(store.writer)
        assert await rows_known(store) == -1


# --- what goes wrong --------------------------------------------------------------------------------------------------


async def test_an_error_of_ours_rolls_back_and_stays_what_it_was(database_url: str) -> None:
    async with with_things(database_url) as store:
        for error in (KeyError("ours"), DataRefused("ours"), asyncio.CancelledError()):
            with pytest.raises(type(error)) as caught:
                await in_transaction(store, fail_after_insert, store, error)
            assert caught.value is error
            assert await things(store) == set()
        await in_transaction(store, store.writer.insert, TABLE, [thing(1)])
        assert await things(store) == {thing(1)}


async def test_a_value_that_a_column_does_not_take_is_refused(database: str, database_url: str) -> None:
    refused_by = {
        "sqlite": {"value": "\ud800", "hour": 2**63},
        "postgresql": {"value": "\ud800", "hour": 2**63, "name": "a\0b", "shard": 2**15, "number": 2**31},
    }
    async with with_things(database_url) as store:
        for column, value in refused_by[database].items():
            row = [value if name == column else old for name, old in zip(TABLE.columns.keys(), thing(1), strict=True)]
            for write in (store.writer.insert, store.writer.replace):
                with pytest.raises(DataRefused):
                    await in_transaction(store, write, TABLE, [thing(2), row])
        assert await things(store) == set()


async def test_an_index_entry_too_long_for_postgresql_is_refused(postgresql_url: str) -> None:
    noise = "".join(chr(0x4E00 + n * 7919 % 20000) for n in range(12_000))
    async with with_things(postgresql_url) as store:
        with pytest.raises(DataRefused, match="index row"):
            await in_transaction(store, store.writer.insert, TABLE, [(0, None, b"", 0, noise, 0)])


async def test_a_sqlite_file_that_another_process_locks_is_unavailable_for_now(sqlite_url: str) -> None:
    path = str(make_url(sqlite_url).database)
    writer = open_writer(sqlite_url, lock_patience_s=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match=f"the SQLite file {path} is locked by another process"):
        await begin(writer)
    other.execute("COMMIT")
    await begin(writer)
    other.close()
    await writer.close()


async def test_a_full_disk_is_named_and_leaves_nothing_half_written_on_sqlite(sqlite_url: str) -> None:
    async with opened(sqlite_url) as store:
        await store.append(submission(some_run(1)))
        pages = (await store.writer.fetch("PRAGMA page_count"))[0][0]
        await store.writer.fetch(f"PRAGMA max_page_count = {pages + 20}")
        before = [await store.rows(table) for table in events.metadata.sorted_tables]
        with pytest.raises(Unavailable, match=f"the disk that holds {make_url(sqlite_url).database} is full"):
            await store.append(submission(*(some_run(number, inputs="é" * number) for number in range(2, 1000))))
        assert [await store.rows(table) for table in events.metadata.sorted_tables] == before
        await store.writer.fetch(f"PRAGMA max_page_count = {pages + 1000}")
        assert (await store.append(submission(some_run(2)))).events[0].position == 2


async def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database " * 100)
    for path, words in (("text.db", "file is not a database"), ("missing/x.db", "unable to open database file")):
        writer = open_writer(f"sqlite+aiosqlite:///{tmp_path / path}")
        with pytest.raises(Unavailable, match=words):
            await begin(writer)
        await writer.close()


async def test_a_postgresql_that_cannot_be_reached_is_unavailable(postgresql_url: str) -> None:
    url = make_url(postgresql_url)
    for wrong in (url.set(host="127.0.0.1", port=1, query={}), url.set(database="nowhere")):
        writer = open_writer(wrong.render_as_string(hide_password=False))
        with pytest.raises(Unavailable, match="PostgreSQL: "):
            await begin(writer)


async def test_what_postgresql_says_is_put_in_our_words(postgresql_url: str) -> None:
    for_now = {
        "the disk is full, out of memory, too many connections": ["53100", "53200", "53300"],
        "serialisation, deadlock, lock": ["40001", "40P01", "55P03"],
        "shutdown, cancelled, starting": ["57P01", "57014", "57P03"],
        "a standby, idle for too long, trouble with a file": ["25006", "25P03", "58030"],
    }
    for_good = {
        "bad value, key taken, too long, a trigger": ["22021", "23505", "54000", "P0001"],
        "whatever it is: neighbours must not wait for it": ["XX000"],
    }
    async with opened(postgresql_url) as store:
        for error, states_by_meaning in ((Unavailable, for_now), (DataRefused, for_good)):
            for state in chain.from_iterable(states_by_meaning.values()):
                statement = f"DO $$ BEGIN RAISE EXCEPTION 'told so' USING ERRCODE = '{state}'; END $$"
                words = "the disk of the PostgreSQL server is full" if state == "53100" else "told so"
                with pytest.raises(error, match=words):
                    await in_transaction(store, store.writer.execute, statement)


@pytest.mark.parametrize("next_query", ["SELECT 1", None], ids=["before a statement", "before the commit"])
async def test_a_postgresql_session_that_is_killed_takes_its_transaction_along(
    postgresql_url: str, next_query: str | None
) -> None:
    async with opened(postgresql_url) as store:
        await store.append(submission(some_run(1)))
        with pytest.raises(Unavailable, match="PostgreSQL: "):
            await in_transaction(store, append_and_be_killed, store, next_query)
        assert len(await store.rows(events)) == 1
        appended = await store.append(submission(some_run(2), some_run(3)))
    assert [e.position for e in appended.events] == [2, 3]


async def test_a_postgresql_session_that_is_killed_between_transactions_costs_one_at_most(postgresql_url: str) -> None:
    async with opened(postgresql_url) as store:
        await store.append(submission(some_run(1)))
        await kill_session(store)
        with suppress(Unavailable):
            await store.append(submission(some_run(2)))
        await store.append(submission(some_run(2), some_run(3)))
        assert [row.stream for row in await store.rows(events)] == [some_run(number).stream for number in (1, 2, 3)]


@pytest.mark.parametrize("moment", ["begin", "statement", "commit"])
async def test_a_postgresql_that_stalls_is_unavailable_until_it_goes_on(postgresql_url: str, moment: str) -> None:
    async with stallable(postgresql_url) as (url, going), opened(postgresql_url) as store:
        writer = open_writer(url, statement_patience_s=0.3)
        await begin(writer)

        async def write(number: int, stall_at: str | None = None) -> None:
            if stall_at == "begin":
                going.clear()
            async with writer.transaction():
                if stall_at == "statement":
                    going.clear()
                await writer.insert(contents, [(0, number.to_bytes(32), 0, b"")])
                if stall_at == "commit":
                    going.clear()

        with pytest.raises(Unavailable):
            await write(1, moment)
        going.set()
        await write(2)
        kept = {row.hash[-1] for row in await store.rows(contents)}
        await writer.close()
    assert kept == {2} or (kept == {1, 2} and moment == "commit")


async def test_an_append_that_is_cancelled_while_it_waits_leaves_its_writer_usable(database_url: str) -> None:
    async with opened(database_url) as store, opened(database_url) as other:
        async with store.writer.transaction():
            await store.append_within(submission(some_run(1)))
            waiting = asyncio.create_task(other.append(submission(some_run(2))))
            await asyncio.wait({waiting}, timeout=0.2)
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
            assert waiting.cancelled()
        assert [e.position for e in (await other.append(submission(some_run(3)))).events] == [2]
        assert len(await store.rows(events)) == 2


# --- what the tests above are made of ---------------------------------------------------------------------------------


@asynccontextmanager
async def with_things(database_url: str) -> AsyncIterator[Log]:
    async with opened(database_url) as store:
        async with store.engine.begin() as connection:
            await connection.run_sync(TABLE.create)
        yield store


async def things(store: Log) -> set[tuple[object, ...]]:
    return {tuple(row) for row in await store.rows(TABLE)}


async def looked_up(store: Log, rows: Sequence[Sequence[object]]) -> set[tuple[object, ...]]:
    found = await store.writer.lookup(
        "SELECT t.id, t.value FROM k JOIN things t ON t.id = k.id AND t.hour = k.hour AND t.name = k.name",
        {"id": "bytea", "hour": "bigint", "name": "text"},
        [(row[2], row[3], row[4]) for row in rows],
    )
    return {tuple(row) for row in found}


async def rows_known(store: Log) -> int:
    """How many rows PostgreSQL takes the table for; -1 when it never looked."""
    async with store.engine.connect() as connection:
        query = "SELECT reltuples FROM pg_class WHERE relname = 'things'"
        return int((await connection.exec_driver_sql(query)).scalar_one())


async def in_transaction(store: Log, work: Callable[..., Awaitable[object]], *arguments: object) -> None:
    async with store.writer.transaction():
        await work(*arguments)


async def begin(writer: Writer) -> None:
    async with writer.transaction():
        pass


async def fail_after_insert(store: Log, error: BaseException, number: int = 1) -> None:
    await store.writer.insert(TABLE, [thing(1000 + n) for n in range(number)])
    raise error


async def append_and_be_killed(store: Log, next_query: str | None) -> None:
    await store.append_within(submission(some_run(2)))
    await kill_session(store)
    if next_query is not None:
        await store.writer.fetch(next_query)


async def kill_session(store: Log) -> None:
    """End the server's process that serves the writer, and wait until it is gone."""
    ((pid,),) = await store.writer.fetch("SELECT pg_backend_pid()")
    async with store.engine.connect() as connection:
        await connection.execute(select(func.pg_terminate_backend(pid, 5000)))


@asynccontextmanager
async def stallable(postgresql_url: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """The URL of a way to the server that leads nowhere while the event is cleared."""
    url, going = make_url(postgresql_url), asyncio.Event()
    going.set()
    tasks: set[asyncio.Task[None]] = set()

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                await going.wait()
                target.write(data)
        target.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await connect(url)
        tasks.add(asyncio.create_task(carry(reader, there_writer)))
        tasks.add(asyncio.create_task(carry(there_reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield url.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False), going
    going.set()
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def connect(url: URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = str(url.query.get("host", url.host)), url.port or 5432
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)
