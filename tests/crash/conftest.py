"""A PostgreSQL that keeps what it answered, and disks that are soon full."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.crash import outages
from tests.crash.postgresql import DurablePostgresql, durable_postgresql

_DISKS: Final = outages.tight_disks()


@pytest.fixture(scope="session")
def durable() -> Iterator[DurablePostgresql]:
    """It runs again after every test."""
    with durable_postgresql() as postgresql:
        yield postgresql


@pytest.fixture(params=_DISKS.values(), ids=list(_DISKS))
def tight_disk(request: pytest.FixtureRequest, tmp_path: Path) -> outages.SmallDisk | outages.Quota:
    """A place that a server soon finds full."""
    place = tmp_path / "disk"
    place.mkdir()
    disk: outages.SmallDisk | outages.Quota = request.param(place)
    return disk
