"""A second database for tests that compare two."""

from collections.abc import Callable, Iterator

import pytest

from tests.databases import Databases


@pytest.fixture
def other_database_url(database: str, databases: Callable[[str], Databases]) -> Iterator[str]:
    """The URL of another migrated database of the same system as `database_url`."""
    url = databases(database).migrated()
    yield url
    databases(database).drop(url)


@pytest.fixture
def sqlite_url(databases: Callable[[str], Databases]) -> Iterator[str]:
    """The URL of a migrated SQLite database, for what is told apart there alone: the plans of queries."""
    url = databases("sqlite").migrated()
    yield url
    databases("sqlite").drop(url)
