"""A short while of what `python -m tests.crash.overlap` does for minutes."""

import asyncio
from collections.abc import Callable

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.crash.overlap import deadlocks_in, write_together
from tests.databases import Databases


def test_writers_that_write_to_the_same_traces_never_deadlock(databases: Callable[[str], Databases]) -> None:
    found = write_together(databases("postgresql"), writers=16, seconds=4, seed=1)
    assert found.items > 100
    assert (found.deadlocks, found.wrong) == (0, [])


async def test_a_deadlock_would_be_counted(databases: Callable[[str], Databases]) -> None:
    url = await asyncio.to_thread(databases("postgresql").migrated)
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    one, two = await asyncpg.connect(address), await asyncpg.connect(address)
    try:
        for connection, key in ((one, 1), (two, 2)):
            await connection.execute(f"BEGIN; SELECT pg_advisory_xact_lock({key})")
        first = asyncio.create_task(one.execute("SELECT pg_advisory_xact_lock(2)"))
        with pytest.raises(asyncpg.DeadlockDetectedError):  # One of them is chosen to fail.
            await asyncio.gather(first, two.execute("SELECT pg_advisory_xact_lock(1)"))
    finally:
        one.terminate()
        two.terminate()
        await asyncio.gather(first, return_exceptions=True)
    for _ in range(600):
        if await deadlocks_in(url):
            break
        await asyncio.sleep(0.1)
    assert await deadlocks_in(url) == 1
    await asyncio.to_thread(databases("postgresql").drop, url)
