"""The index of words while the server serves: it follows by itself, tells how it is, and can be switched off."""

import asyncio
import logging
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import inspect
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import open_engine
from projections import fulltext
from projections.textstore import store_of
from service import indexing
from service.cli import main
from tests.service.apps import Store, a_run, open_store

PATIENCE_S = 120.0


async def found(store: Store, piece: str) -> set[str]:
    """The ids of the runs that a search finds."""
    answer = await store.client.post("/runs/query", json={"filter": f'search("{piece}")'})
    assert answer.status_code == 200, answer.text
    return {run["id"] for run in answer.json()["runs"]}


async def projection(store: Store) -> dict[str, Any]:
    """What is told of the index among the read models."""
    told = [one for one in (await store.get("/projections"))["projections"] if one["name"] == "full_text"]
    return told[0] if told else {"lag": "not there yet"}


async def until_indexed(store: Store) -> None:
    """Wait until the index has followed the whole log."""
    async with asyncio.timeout(PATIENCE_S):
        while (await projection(store))["lag"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_the_index_follows_what_is_written_and_erased(indexable_url: str) -> None:
    run, other = a_run(inputs={"q": "Ein Pelikan"}), a_run(name="pelican crossing")
    async with open_store(indexable_url, full_text=True) as store:
        await store.post(run, other)
        assert await found(store, "pelikan") == {run["id"]}
        await until_indexed(store)
        assert (await store.get("/health"))["full_text"] == "on"
        assert await found(store, "PELIKAN") == {run["id"]}
        answer = await store.client.delete(f"/traces/{run['id']}", params={"reason": "asked for"})
        assert answer.status_code == 200, answer.text
        assert await found(store, "pelikan") == set()
        assert await found(store, "pelican") == {other["id"]}


async def test_the_index_goes_on_where_it_was_when_the_server_starts_again(indexable_url: str) -> None:
    run, other = a_run(name="pelican"), a_run(name="pelican crossing")
    async with open_store(indexable_url, full_text=True) as store:
        await store.post(run)
        await until_indexed(store)
    async with open_store(indexable_url) as store:
        assert (await store.get("/health"))["full_text"] == "off"
        await store.post(other)
        assert await found(store, "pelican") == {run["id"], other["id"]}
        assert (await projection(store))["lag"] == 1
    async with open_store(indexable_url, full_text=True) as store:
        await until_indexed(store)
        assert await found(store, "pelican") == {run["id"], other["id"]}


async def test_switched_off_nothing_is_indexed_and_searches_find_the_same(database_url: str) -> None:
    run = a_run(inputs={"q": "pelican"})
    async with open_store(database_url, full_text=False) as store:
        await store.post(run)
        assert await found(store, "pelican") == {run["id"]}
        async with store.engine.connect() as connection:
            assert not await connection.run_sync(lambda given: inspect(given).has_table("full_text"))


@pytest.mark.parametrize("full_text", [True, False])
async def test_an_idle_server_locks_nothing_to_find_that_there_is_nothing_to_clean(
    indexable_url: str, full_text: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[bool] = []
    cleaned: list[object] = []
    is_unclean = fulltext.is_unclean

    async def look(connection: AsyncConnection) -> bool:
        looks.append(await is_unclean(connection))
        return looks[-1]

    async def clean(writer: object) -> None:
        cleaned.append(writer)

    monkeypatch.setattr(fulltext, "is_unclean", look)
    monkeypatch.setattr(fulltext, "clean", clean)
    monkeypatch.setattr(indexing, "_CLEANING_S", 0.01)
    async with open_store(indexable_url, full_text=full_text):
        async with asyncio.timeout(PATIENCE_S):
            while len(looks) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert not any(looks)
    assert not cleaned


async def test_a_database_that_cannot_index_is_told_of_and_searched_all_the_same(
    database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def cannot(*_: object) -> bool:
        return False

    monkeypatch.setattr(type(store_of(database_url)), "create", cannot)
    run = a_run(inputs={"q": "pelican"})
    with caplog.at_level(logging.WARNING, "service.indexing"):
        async with open_store(database_url, full_text=True) as store:
            async with asyncio.timeout(PATIENCE_S):
                while (await store.get("/health"))["full_text"] != "unavailable":  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            await store.post(run)
            assert await found(store, "pelican") == {run["id"]}
    assert "pg_trgm" in caplog.text


async def test_the_index_is_made_anew_by_a_command(indexable_url: str) -> None:
    async with open_store(indexable_url) as store:
        await store.post(a_run(name="pelican"))
    result = await asyncio.to_thread(
        CliRunner().invoke, main, ["rebuild", "--projection", "full_text", "--database-url", indexable_url]
    )
    assert result.exit_code == 0, result.output
    assert "Made anew: the index of words, up to position 2" in result.output
    engine = open_engine(indexable_url)
    try:
        async with engine.connect() as connection:
            assert await fulltext.position(connection) == 2
    finally:
        await engine.dispose()
