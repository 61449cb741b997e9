from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, Text, event, func, select, text, union_all
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from events.dialect import is_sqlite, open_engine
from events.prepared import Prepared, answers, given, one_of

_things = Table(
    "things",
    MetaData(),
    Column("id", LargeBinary, primary_key=True),
    Column("size", Integer),
    Column("name", Text),
)
_ROWS = [{"id": bytes([number]), "size": number, "name": f"thing {number}"} for number in range(1, 10)]


@pytest.fixture
async def engine(empty_database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_engine(empty_database_url)
    async with engine.begin() as connection:
        await connection.run_sync(_things.create)
        await connection.execute(_things.insert(), _ROWS)
    yield engine
    await engine.dispose()


@pytest.fixture
async def connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    async with engine.connect() as connection:
        yield connection


async def sizes(connection: AsyncConnection, query: Prepared, **values: object) -> list[int]:
    return sorted(size for (size,) in await query.rows(connection, **values))


async def test_a_query_is_given_its_values_when_it_is_run(connection: AsyncConnection) -> None:
    query = Prepared(select(_things.c.size).where(_things.c.id == given("id"), _things.c.size < 8))
    assert await sizes(connection, query, id=b"\3") == [3]
    assert await sizes(connection, query, id=b"\x07") == [7]
    assert await sizes(connection, query, id=b"\x08") == []


async def test_a_value_may_stand_in_several_places_and_several_values_in_one(connection: AsyncConnection) -> None:
    small = select(_things.c.size).where(_things.c.size < given("limit"), _things.c.id.in_(one_of("ids")))
    large = select(_things.c.size + 100).where(_things.c.size > given("limit"), _things.c.id.in_(one_of("ids")))
    query = Prepared(union_all(small, large))
    others = Prepared(select(_things.c.size).where(_things.c.id.not_in(one_of("ids"))))
    ids = [bytes([number]) for number in range(1, 10)]
    for count in range(10):
        assert await sizes(connection, others, ids=ids[:count]) == list(range(count + 1, 10))
        among = range(1, count + 1)
        expected = sorted([n for n in among if n < 4] + [n + 100 for n in among if n > 4])
        assert await sizes(connection, query, limit=4, ids=ids[:count]) == expected


async def test_pages_and_sums_can_be_prepared(connection: AsyncConnection) -> None:
    page = Prepared(select(_things.c.size).order_by(_things.c.size).limit(given("limit")).offset(given("offset")))
    assert await sizes(connection, page, limit=2, offset=3) == [4, 5]
    total = Prepared(select(func.coalesce(func.sum(_things.c.size), 0)).where(_things.c.name == given("name")))
    assert await sizes(connection, total, name="thing 9") == [9]
    assert await sizes(connection, total, name="none") == [0]


async def test_a_query_is_part_of_the_connections_transaction(engine: AsyncEngine) -> None:
    query = Prepared(select(_things.c.size))
    async with engine.begin() as connection:
        await connection.execute(_things.delete().where(_things.c.size > 1))
        assert await sizes(connection, query) == [1]
        await connection.rollback()
    async with engine.connect() as connection:
        assert len(await sizes(connection, query)) == 9


async def test_queries_of_one_sqlite_connection_see_one_moment_whoever_runs_them(
    engine: AsyncEngine,
) -> None:
    query = Prepared(select(_things.c.size))
    async with engine.connect() as reader:
        before = await sizes(reader, query)
        async with engine.begin() as writer:
            await writer.execute(_things.delete())
        if is_sqlite(engine.url):
            assert await sizes(reader, query) == before
            assert len((await reader.execute(select(_things.c.size))).all()) == len(before)
    async with engine.connect() as reader:
        assert await sizes(reader, query) == []


async def test_whoever_listens_to_statements_hears_of_prepared_ones(engine: AsyncEngine) -> None:
    heard: list[str] = []

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def hear(connection: object, cursor: object, statement: str, *_: object) -> None:
        heard.append(statement)

    async with engine.connect() as connection:
        await Prepared(select(_things.c.size)).rows(connection)
    assert "FROM things" in heard[-1]


async def test_what_the_database_says_is_told_as_sqlalchemy_tells_it(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE things"))
    async with engine.connect() as connection:
        with pytest.raises(DBAPIError, match="things"):
            await Prepared(select(_things.c.size)).rows(connection)


async def test_questions_that_are_asked_together_are_each_answered_from_their_own_rows(
    connection: AsyncConnection,
) -> None:
    by_size = Prepared(select(_things.c.name).where(_things.c.size == given("size")))
    count = Prepared(select(func.count()).select_from(_things))
    found = await answers(
        connection,
        by_size.asking(lambda rows: [name for (name,) in rows], size=3),
        count.asking(lambda rows: int(rows[0][0])),
        by_size.asking(bool, size=4),
        by_size.asking(bool, size=4000),
    )
    assert found == (["thing 3"], 9, True, False)
    assert await by_size.asking(len, size=3).answer(connection) == 1
