"""Fixtures of the tests of the service."""

from collections.abc import AsyncIterator

import pytest

from tests.service.apps import Store, open_store


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """The application on a database that only this test uses; the test runs once for each system."""
    async with open_store(database_url) as store:
        yield store
