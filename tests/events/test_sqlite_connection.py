import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from events.dialect import open_engine
from events.prepared import Prepared

_ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(f"sqlite+aiosqlite:///{tmp_path}/numbers.db", pool_size=1)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE numbers (n INTEGER)"))
        rows = [{"n": n} for n in range(2500)]
        inserted = await connection.execute(text("INSERT INTO numbers VALUES (:n)"), rows)
        assert inserted.rowcount == 2500
    yield engine
    await engine.dispose()


@pytest.mark.parametrize("count", [0, 1, 999, 1000, 1001, 2000, 2500])
async def test_all_rows_come_whether_at_once_or_in_a_stream(engine: AsyncEngine, count: int) -> None:
    query = text(f"SELECT n FROM numbers WHERE n < {count} ORDER BY n")
    async with engine.connect() as connection:
        assert list((await connection.execute(query)).scalars()) == list(range(count))
        assert (await connection.execute(query)).scalars().first() == (0 if count else None)
        streamed = await connection.stream(query)
        assert [n async for n in streamed.scalars()] == list(range(count))


async def test_a_stream_that_nobody_reads_to_its_end_leaves_the_connection_free(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        async for _ in await connection.stream(text("SELECT n FROM numbers")):
            break
        await connection.rollback()
        await connection.execute(text("DELETE FROM numbers WHERE n > 9"))
        await connection.commit()
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM numbers"))).scalar_one() == 10


async def test_what_was_not_committed_is_gone(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        await connection.execute(text("DELETE FROM numbers"))
    with contextlib.suppress(ZeroDivisionError):
        async with engine.begin() as connection:
            await connection.execute(text("DELETE FROM numbers"))
            raise ZeroDivisionError
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM numbers"))).scalar_one() == 2500


async def test_a_transaction_that_asks_nothing_locks_nothing(engine: AsyncEngine, tmp_path: Path) -> None:
    other = open_engine(f"sqlite+aiosqlite:///{tmp_path}/numbers.db")
    async with engine.connect() as connection, connection.begin():
        async with other.begin() as writer:
            await writer.execute(text("DELETE FROM numbers WHERE n > 4"))
        assert (await connection.execute(text("SELECT count(*) FROM numbers"))).scalar_one() == 5
    await other.dispose()


async def test_a_statement_that_nobody_waits_for_any_more_ends(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await connection.execute(text(_ENDLESS))
    async with asyncio.timeout(60), engine.connect() as connection:  # of a pool of one
        assert (await connection.execute(text("SELECT count(*) FROM numbers"))).scalar_one() == 2500


@pytest.mark.parametrize("turns", range(12))
async def test_a_reader_that_is_cancelled_at_any_moment_leaves_no_transaction(
    engine: AsyncEngine, tmp_path: Path, turns: int
) -> None:
    async def read() -> int:
        async with engine.connect() as connection:
            return int((await counted.rows(connection))[0][0])

    counted = Prepared(text("SELECT count(*) FROM numbers"))
    other = open_engine(f"sqlite+aiosqlite:///{tmp_path}/numbers.db")
    for left in range(2499, 2470, -1):
        reading = asyncio.ensure_future(read())
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        async with other.begin() as writer:
            await writer.execute(text(f"DELETE FROM numbers WHERE n = {left}"))
        assert await read() == left
    await other.dispose()


async def test_a_file_that_cannot_be_opened_is_told_of(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite+aiosqlite:///{tmp_path}/no/such/directory.db")
    with pytest.raises(DBAPIError, match="unable to open"):
        async with engine.connect():
            pass
    await engine.dispose()
