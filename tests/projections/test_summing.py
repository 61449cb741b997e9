"""What the database sums up is what counting run by run comes to."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, column, literal_column, select, values

from events.dialect import open_engine
from projections import queries, sketch, summing
from projections.filters.conditions import FIELDS, Not, OneOf
from projections.filters.reading import read
from projections.queries import RunQuery
from projections.summing import Sums
from service.ingest.items import feedback_posted
from tests.databases import Databases
from tests.projections.histories import IDS, Write, placing_writes, writes
from tests.projections.stores import Store, id_text, in_store, opened, posted, run_id
from tests.projections.test_order import stored

numbers = st.sampled_from(IDS)
HAS_ERROR = Not(OneOf(FIELDS["error"], (None,)))
QUERIES = (
    RunQuery(),
    RunQuery(is_root=False),
    RunQuery(run_type="llm"),
    RunQuery(has_error=True),
    RunQuery(condition=HAS_ERROR),
    RunQuery(trace_condition=HAS_ERROR),
    RunQuery(ids=[run_id(1), run_id(2)]),
)


async def both(store: Store, query: RunQuery, monkeypatch: pytest.MonkeyPatch) -> tuple[Sums, Sums]:
    async with store.engine.connect() as connection:
        by_database = await summing.sum_up(connection, query)
        with monkeypatch.context() as patched:
            patched.setattr(queries, "in_sql", lambda *_, **__: None)
            return by_database, await summing.sum_up(connection, query)


@pytest.mark.parametrize("system", ["sqlite", "postgresql"])
def test_the_database_sums_up_what_counting_run_by_run_does(
    system: str, databases: Callable[[str], Databases], monkeypatch: pytest.MonkeyPatch
) -> None:
    @settings(stored, max_examples=25)
    @given(st.lists(st.one_of(writes(numbers, odd=True), placing_writes(numbers)), min_size=1, max_size=10))
    def check(history: list[Write]) -> None:
        async def used(store: Store) -> None:
            for write in history:
                await store.append(*write.items)
            for query in QUERIES:
                by_database, by_run = await both(store, query, monkeypatch)
                assert told(by_database) == told(by_run), query

        in_store(databases(system), used)

    check()


def told(sums: Sums) -> Sums:
    """Without feedback, whose tallies have no equality."""
    return replace(sums, feedback=None)  # type: ignore[arg-type]


def test_the_database_does_so_where_it_can_tell_the_runs_and_only_there() -> None:
    assert queries.in_sql(RunQuery(condition=read("gt(latency, 1)"))) is not None
    assert queries.in_sql(RunQuery(condition=read('search("words")'))) is None


async def test_sums_beyond_64_bits_and_feedback_are_told(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = {"usage_metadata": {"total_tokens": 2**62 - 1, "input_tokens": 7}}
    async with opened(database_url) as store:
        await store.append(*(posted(number, run_type="llm", outputs=usage) for number in (1, 2, 3)))
        given_ = [b'{"key": "k", "run_id": "%s", "score": %d}' % (id_text(n).encode(), n) for n in (1, 3)]
        await store.append(*(feedback_posted(raw, source="feedback") for raw in given_))
        by_database, by_run = await both(store, RunQuery(), monkeypatch)
        assert by_database.totals.total_tokens == 3 * (2**62 - 1)
        assert told(by_database) == told(by_run)
        assert by_database.feedback.stats() == by_run.feedback.stats()
        assert by_database.feedback.stats()["k"].avg == 2


async def test_the_buckets_of_sql_are_those_of_python(database_url: str) -> None:
    us = sorted({-5, 0, *range(60, 70), *(2**n + d for n in range(6, 63) for d in (-1, 0, 1)), 2**63 - 1})
    table = values(column("us", BigInteger)).data([(value,) for value in us]).cte("told")
    bucket: Any = literal_column(sketch.bucket_in_sql("told.us"))
    engine = open_engine(database_url)
    async with engine.connect() as connection:
        rows = await connection.execute(select(table.c.us, bucket))
        assert {value: number for value, number in rows} == {value: sketch.bucket(value) for value in us}
    await engine.dispose()
