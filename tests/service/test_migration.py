import pytest

from events.dialect import open_engine
from events.errors import SchemaMismatch
from service.migration import NoSuchRevision, current, downgrade, upgrade
from service.schema_version import newest, require_newest


async def test_upgrade_brings_an_empty_database_to_the_newest_revision(empty_database_url: str) -> None:
    assert await current(empty_database_url) is None
    await upgrade(empty_database_url)
    assert await current(empty_database_url) == newest()


async def test_upgrading_again_changes_nothing(database_url: str) -> None:
    await upgrade(database_url)
    assert await current(database_url) == newest()


async def test_downgrade_takes_everything_back(database_url: str) -> None:
    await downgrade(database_url, "base")
    assert await current(database_url) is None
    await upgrade(database_url)
    assert await current(database_url) == newest()


async def test_a_revision_that_is_none_is_refused(database_url: str) -> None:
    with pytest.raises(NoSuchRevision, match="nowhere"):
        await upgrade(database_url, "nowhere")
    assert await current(database_url) == newest()


async def test_a_database_that_was_never_migrated_is_refused_with_what_to_do(empty_database_url: str) -> None:
    engine = open_engine(empty_database_url)
    with pytest.raises(SchemaMismatch, match=r"schema was never made, but \w+ is needed: run agent-spy migrate\."):
        await require_newest(engine)
    await engine.dispose()


async def test_a_database_of_a_newer_program_is_refused_with_what_to_do(database_url: str) -> None:
    engine = open_engine(database_url)
    async with engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch, match=r"is at 9999, but .* run a newer version of this program"):
        await require_newest(engine)
    await engine.dispose()
