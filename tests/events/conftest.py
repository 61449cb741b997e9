"""Databases of one system, for what only that system does."""

from collections.abc import Callable, Iterator

import pytest

from tests.databases import Databases


@pytest.fixture
def sqlite_url(databases: Callable[[str], Databases], request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a migrated SQLite file that only this test uses."""
    yield from _migrated("sqlite", databases, request)


@pytest.fixture
def postgresql_url(databases: Callable[[str], Databases], request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a migrated PostgreSQL database that only this test uses."""
    yield from _migrated("postgresql", databases, request)


def _migrated(system: str, databases: Callable[[str], Databases], request: pytest.FixtureRequest) -> Iterator[str]:
    if request.config.getoption("--database") not in (None, system):
        pytest.skip(f"only on {system}")
    url = databases(system).migrated()
    yield url
    databases(system).drop(url)
