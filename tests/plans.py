"""How a database finds the rows of queries: pinned, so that none comes to read a whole table."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


@dataclass
class Queries:
    """What an engine was asked: statements as its driver sees them, with their values."""

    asked: list[tuple[str, Any]] = field(default_factory=list)


@contextmanager
def recording(engine: AsyncEngine) -> Iterator[Queries]:
    """The queries that an engine runs while the block does."""
    queries = Queries()

    def see(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        queries.asked.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", see)
    try:
        yield queries
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", see)


async def whole_reads(engine: AsyncEngine, queries: Queries, *tables: str) -> list[str]:
    """The steps in which the queries read one of these tables from end to end, because no index helps.

    PostgreSQL is told to prefer any index: in the small tables of a test it would not.
    """
    async with engine.connect() as connection:
        if engine.dialect.name != "sqlite":
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        steps = [step for statement, values in queries.asked for step in await _steps(connection, statement, values)]
    return [step for step in steps if any(_reads_whole(step, table) for table in tables)]


async def _steps(connection: AsyncConnection, statement: str, values: Any) -> list[str]:
    if connection.dialect.name == "sqlite":
        rows = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        return [str(row.detail) for row in rows]
    rows = await connection.exec_driver_sql(f"EXPLAIN {statement}", values)
    return [str(row[0]).strip(" ->") for row in rows]


def _reads_whole(step: str, table: str) -> bool:
    """Both say SCAN; SQLite also when it reads a whole index."""
    words = step.split(" (")[0].split()
    if words[:1] == ["SCAN"]:
        return table in words
    return words[:2] == ["Seq", "Scan"] and table in words
