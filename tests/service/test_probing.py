"""A database that takes writes again is noticed, also when nobody sends any."""

import asyncio

import pytest

from events.dialect import open_engine, open_writer
from events.errors import Unavailable
from events.log import Submission
from events.reading import read_end
from events.receipts import Origin
from service.ingest.writer import IngestWriter
from service.probing import probing

PAUSE_S = 0.02


async def test_trouble_ends_without_a_request_and_nothing_is_added_to_the_log(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, database = open_engine(database_url), open_writer(database_url)
    async with IngestWriter(database, rule="documented", patience_s=0.1) as writer, probing(writer, pause_s=PAUSE_S):
        with monkeypatch.context() as patched:

            async def gone() -> None:
                raise Unavailable("no room")

            patched.setattr(database, "_begin", gone)
            with pytest.raises(Unavailable):
                await writer.submit(Submission(Origin(endpoint="test"), []))
            await asyncio.sleep(5 * PAUSE_S)
            assert writer.trouble == "no room"
        for _ in range(500):
            if writer.trouble is None:
                break
            await asyncio.sleep(PAUSE_S)
        assert writer.trouble is None
    async with engine.connect() as connection:
        assert (await read_end(connection)).position == 0
    await engine.dispose()
