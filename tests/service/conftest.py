"""Fixtures of the tests of the service."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import pytest

from service.ingest.writer import IngestWriter
from tests.service.apps import Store, open_store

WRITE_PATIENCE_S: Final = 120.0


@pytest.fixture(autouse=True)
def patient_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has other work to do is no reason to refuse a write, which a server does after eight seconds."""
    monkeypatch.setattr("service.app.IngestWriter", partial(IngestWriter, patience_s=WRITE_PATIENCE_S))


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """The application on a database that only this test uses; the test runs once for each system."""
    async with open_store(database_url) as store:
        yield store
