"""A PostgreSQL that keeps what it answered, and a disk that is soon full."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash import outages
from tests.crash.postgresql import DurablePostgresql, durable_postgresql


@pytest.fixture(scope="session")
def durable() -> Iterator[DurablePostgresql]:
    """It runs again after every test."""
    with durable_postgresql() as postgresql:
        yield postgresql


@pytest.fixture
def small_disk(tmp_path: Path) -> outages.SmallDisk:
    """An empty disk with room for 8 MB, for processes that are started in its namespace."""
    place = tmp_path / "disk"
    place.mkdir()
    disk = outages.small_disk(place)
    if disk is None:
        pytest.skip("mounting a file system takes root, or a system in which everyone may have namespaces")
    return disk
