"""Databases for replaying recordings."""

from collections.abc import Callable, Iterator

import pytest

from tests.databases import Databases


@pytest.fixture
def sqlite_url(databases: Callable[[str], Databases]) -> Iterator[str]:
    """The URL of a migrated SQLite database: the one that others are compared with."""
    url = databases("sqlite").migrated()
    yield url
    databases("sqlite").drop(url)


@pytest.fixture
def other_sqlite_url(databases: Callable[[str], Databases]) -> Iterator[str]:
    """The URL of another migrated SQLite database."""
    url = databases("sqlite").migrated()
    yield url
    databases("sqlite").drop(url)
