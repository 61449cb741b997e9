"""A fault that passes is nobody's: what was being written when it came is written, not put in quarantine."""

import pytest

from events.dialect import open_writer
from events.log import Submission
from events.receipts import Origin
from service.ingest.items import Item
from service.ingest.run_items import batch_items
from service.ingest.writer import IngestWriter
from tests.crash.traffic import planned


def items_of_a_batch() -> list[Item]:
    request = next(each for each in (planned(1, number) for number in range(100)) if each.body.path == "/runs/batch")
    return batch_items(request.body.content, field_bytes_max=10**6)


async def test_what_fails_once_for_no_reason_of_its_own_is_written_and_not_quarantined(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_writer(database_url)
    begin = database._begin
    faults = [RuntimeError("as when PostgreSQL ends a connection that nobody is using")]

    async def fail_once() -> None:
        if faults:
            raise faults.pop()
        await begin()

    monkeypatch.setattr(database, "_begin", fail_once)
    items = items_of_a_batch()
    async with IngestWriter(database, rule="documented") as writer:
        results = await writer.submit(Submission(Origin(endpoint="test"), items))
    assert not faults
    assert [result.outcome for result in results] == ["applied"] * len(items)
