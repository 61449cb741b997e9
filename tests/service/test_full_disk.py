"""A file system that is really full: what is said of it, and that room is all it takes."""

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.migration import upgrade
from service.writer import IngestWriter
from tests.service.apps import a_run, open_store

_ROOM_BYTES = 8_000_000
_PATIENCE_S = 10.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a file system of its own with room for a few MB."""
    where = str(tmp_path)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_ROOM_BYTES}", "tmpfs", where], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a file system takes root")
    yield tmp_path
    subprocess.run(["umount", "--lazy", where], check=True)


def _fill(path: Path) -> None:
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(64 * 1024)):
            pass


async def test_a_full_disk_is_said_in_words_and_room_on_it_is_noticed(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.app.IngestWriter", lambda *args, **more: IngestWriter(*args, **more, patience_s=0.5))
    url = f"sqlite+aiosqlite:///{small_disk}/store.db"
    await upgrade(url)
    other = small_disk / "other"
    async with open_store(url) as store:
        await store.post(a_run())
        _fill(other)
        run = a_run(inputs={"q": "x" * 1_000_000})
        refused = await store.client.post("/runs/batch", json={"post": [run]})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
        assert "is full" in refused.json()["detail"]
        health = await store.client.get("/health")
        assert health.status_code == 503
        assert str(small_disk) in health.json()["ingest"]["reason"]
        assert (await store.get("/dashboard/stats/summary"))["stats"]["total_runs"] == 1
        other.unlink()
        async with asyncio.timeout(_PATIENCE_S):
            while (await store.client.get("/health")).status_code != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await store.post(run)
        assert (await store.get("/dashboard/stats/summary"))["stats"]["total_runs"] == 2
