"""The migrations make, on both databases, the tables that the code says, and take all of them away again."""

import asyncio
import importlib
import pkgutil
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection, inspect

import projections
from events.dialect import migrating, open_engine
from events.schema import heads, instance, metadata
from service.migration import downgrade, upgrade
from service.schema_version import known, newest
from tests.databases import Databases

# Each module that has a table adds it to the metadata.
for module in pkgutil.iter_modules(projections.__path__, "projections."):
    importlib.import_module(module.name)

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]
MADE = {
    "sqlite": """
        SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'
        UNION ALL SELECT 'column', m.name || '.' || c.name FROM sqlite_master m, pragma_table_info(m.name) c
        WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'
    """,
    "postgresql": """
        SELECT 'relation', relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT 'trigger', tgname FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT 'column', table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = 'public'
        UNION ALL SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    """,
}
INDEXES = {
    "sqlite": "SELECT tbl_name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
    "postgresql": "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
}
TRIGGERS = {
    "sqlite": {"events_no_delete", "events_no_update", "events_no_replace"},
    "postgresql": {"events_no_change", "events_no_truncate"},
}


def test_every_revision_is_named_by_its_number_and_in_words() -> None:
    revisions = scripts()
    names = [Path(script.path).name for script in revisions]
    assert [script.revision for script in revisions] == [f"{number:04}" for number in range(1, len(revisions) + 1)]
    assert all(re.fullmatch(r"\d{4}(_[a-z]+)+\.py", name) for name in names)
    assert [name[:4] for name in names] == [script.revision for script in revisions]


def test_revisions_follow_one_another_in_one_line() -> None:
    revisions = scripts()
    assert [script.down_revision for script in revisions] == [None, *(script.revision for script in revisions[:-1])]
    assert revisions[-1].revision == newest()
    assert {each.revision for each in revisions} == known()


async def test_the_migrated_schema_is_the_one_that_the_code_knows(database_url: str) -> None:
    assert await within(database_url, differences) == []


async def test_the_migrated_schema_is_to_the_letter_what_the_metadata_would_make(
    database_url: str, empty_database_url: str
) -> None:
    await within(empty_database_url, metadata.create_all)
    assert await within(database_url, described) == await within(empty_database_url, described)


async def test_what_was_taken_back_can_be_applied_again(database_url: str) -> None:
    at_first = await within(database_url, everything_made)
    await downgrade(database_url, "base")
    assert await within(database_url, everything_made) == set()
    await upgrade(database_url)
    assert await within(database_url, everything_made) == at_first
    assert await within(database_url, differences) == []


async def test_each_revision_takes_back_what_it_made(empty_database_url: str) -> None:
    made = []
    for script in scripts():
        await upgrade(empty_database_url, script.revision)
        made.append(await within(empty_database_url, everything_made))
    before = ["base", *(script.revision for script in scripts())]
    for revision, expected in zip(before[-2::-1], reversed(made), strict=True):
        assert await within(empty_database_url, everything_made) == expected
        await downgrade(empty_database_url, revision)
    assert await within(empty_database_url, everything_made) == set()
    assert all(one <= other for one, other in pairwise(made))  # Some only make anew what there was.


async def test_a_migration_that_fails_leaves_nothing_behind(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def fail_at_the_second(name: str, *_: object, **__: object) -> None:
        made.append(name)
        if len(made) == 2:
            raise ZeroDivisionError

    monkeypatch.setattr(op, "create_index", fail_at_the_second)
    with pytest.raises(ZeroDivisionError):
        await upgrade(empty_database_url)
    assert await within(empty_database_url, everything_made) == set()


async def test_a_migration_waits_for_the_one_before(empty_database_url: str) -> None:
    one, other = open_engine(empty_database_url), open_engine(empty_database_url)

    async def tables_seen() -> set[tuple[str, str]]:
        async with migrating(other) as connection:
            return await connection.run_sync(everything_made)

    async with migrating(one) as connection:
        waiting = asyncio.create_task(tables_seen())
        done, _ = await asyncio.wait({waiting}, timeout=0.5)
        assert not done
        await connection.exec_driver_sql("CREATE TABLE made_meanwhile (number integer)")
    assert "made_meanwhile" in {name for _, name in await waiting}
    await one.dispose()
    await other.dispose()


async def test_the_guards_of_events_are_there(database: str, database_url: str) -> None:
    made = await within(database_url, everything_made)
    assert {name for kind, name in made if kind == "trigger"} == TRIGGERS[database]


async def test_a_new_log_has_a_head_and_an_instance_of_its_own(database_url: str, empty_database_url: str) -> None:
    await upgrade(empty_database_url)
    (head,) = await within(empty_database_url, lambda c: c.execute(heads.select()).all())
    urls = (database_url, empty_database_url)
    one, other = [await within(url, lambda c: c.execute(instance.select()).one()) for url in urls]
    assert (head.shard, head.position, head.receipt_id, head.quarantine_id, head.fold_version) == (0, 0, 0, 0, "")
    assert {head.chain, head.receipt_chain, head.quarantine_chain} == {bytes(32)}
    assert (len(one.tenant_id), len(one.signing_key)) == (16, 32)
    assert one.tenant_id != other.tenant_id
    assert one.signing_key != other.signing_key


def test_postgresql_does_not_compress_again_what_is_compressed(databases: Callable[[str], Databases]) -> None:
    url = databases("postgresql").migrated()
    query = "SELECT attrelid::regclass || '.' || attname FROM pg_attribute WHERE attstorage = 'e'"
    stored_as_it_is = asyncio.run(within(url, lambda c: set(c.exec_driver_sql(query).scalars())))
    databases("postgresql").drop(url)
    assert stored_as_it_is >= {"events.payload", "contents.body", "quarantine.raw"}


def scripts() -> list[Script]:
    """All revisions, the first one first."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "migrations"))
    config.set_main_option("path_separator", "os")
    return list(ScriptDirectory.from_config(config).walk_revisions())[::-1]


async def within(url: str, work: Callable[[Connection], T]) -> T:
    """What `work` says of a database."""
    engine = open_engine(url)
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def differences(connection: Connection) -> list[Any]:
    """What Alembic would change to make the schema the one of the metadata."""
    options = {"compare_type": True, "compare_server_default": True}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def everything_made(connection: Connection) -> set[tuple[str, str]]:
    """Kind and name of all there is in a database, but for Alembic's own."""
    made = connection.exec_driver_sql(MADE[connection.dialect.name]).all()
    return {(kind, name) for kind, name in made if not name.startswith("alembic_version")}


def described(connection: Connection) -> dict[str, object]:
    """Every table with its columns, keys and indexes, the latter in the database's own words."""
    inspector = inspect(connection)
    indexes = connection.exec_driver_sql(INDEXES[connection.dialect.name]).all()
    return {
        table: (
            [(column["name"], str(column["type"]), column["nullable"]) for column in inspector.get_columns(table)],
            inspector.get_pk_constraint(table),
            inspector.get_unique_constraints(table),
            sorted(words for of_table, words in indexes if of_table == table),
        )
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }
