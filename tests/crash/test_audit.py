"""What the audit is for: it finds what is wrong. Each test makes one thing wrong in a store that is right."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text

from events.dialect import open_engine
from projections import canonical, projector
from service.app import create_app
from service.settings import load_settings
from tests.crash import audit
from tests.crash.audit import Found
from tests.crash.traffic import Planned, planned
from tests.databases import Databases
from tests.server import Server
from tests.service.running import running

SEED = 6  # It makes an attachment, feedback and an item for quarantine, in request 8 too.
REQUESTS = {number: planned(SEED, number) for number in range(8)}


@pytest.fixture
async def found(database_url: str) -> Found:
    """The log of a store that took every request, and one of them twice."""
    await send(database_url, [*REQUESTS.values(), REQUESTS[3]])
    return await audit.read(database_url)


async def send(database_url: str, requests: list[Planned]) -> None:
    async with running(create_app(load_settings(None, database_url=database_url))) as client:
        for request in requests:
            answer = await client.post(request.body.path, content=request.body.content, headers=request.body.headers)
            assert answer.status_code in (200, 202)


def changed(row: Any, **values: object) -> Any:
    return SimpleNamespace(**{**row._mapping, **values})


def with_event(found: Found, place: int, **values: object) -> Found:
    events = list(found.events)
    return replace(found, events=[*events[:place], changed(events[place], **values), *events[place + 1 :]])


def with_receipt(found: Found, place: int, **values: object) -> Found:
    rows = list(found.receipts)
    return replace(found, receipts=[*rows[:place], changed(rows[place], **values), *rows[place + 1 :]])


def with_quarantined(found: Found, **values: object) -> Found:
    return replace(found, quarantine=[changed(found.quarantine[0], **values), *found.quarantine[1:]])


def test_nothing_is_wrong_in_a_store_that_was_only_written_to(found: Found) -> None:
    assert found.quarantine
    assert found.contents
    assert not list(audit.wrong_in_log(found))
    assert not list(audit.wrong_in_requests(found, REQUESTS, REQUESTS))
    assert audit.present(found, REQUESTS) == REQUESTS.keys()


WRONG: dict[str, Callable[[Found], Found]] = {
    "there are": lambda found: replace(found, events=found.events[:-1]),
    "event 4 is in place 3": lambda found: replace(found, events=[*found.events[:2], *found.events[3:]]),
    "its payload is not the one": lambda found: with_event(found, 5, payload=b"{}"),
    "its chain is not that of its columns": lambda found: with_event(found, 5, kind="RunPosted", version=1, shard=1),
    "of its stream": lambda found: with_event(found, 5, version=3),
    "was recorded before": lambda found: with_event(found, 5, recorded_at=1),
    "does not end with the chain": lambda found: replace(found, head=changed(found.head, chain=bytes(32))),
    "the head is at receipt": lambda found: replace(found, receipts=found.receipts[:-1]),
    "the head is at quarantined item": lambda found: replace(found, quarantine=found.quarantine[:-1]),
    "does not add up": lambda found: with_receipt(found, 2, received=0),
    "applied and": lambda found: with_receipt(found, 2, applied=0, duplicate=found.receipts[2].received),
    "receipt 3: its chain": lambda found: with_receipt(found, 2, user_agent="another"),
    "quarantined item 1: its chain": lambda found: with_quarantined(found, reason="another"),
    "quarantined item 1: its bytes": lambda found: with_quarantined(found, raw=b"{}"),
    "have no content": lambda found: replace(found, contents=frozenset()),
}


def test_a_log_that_contradicts_itself_is_found_wrong(found: Found) -> None:
    told = {sentence: list(audit.wrong_in_log(change(found))) for sentence, change in WRONG.items()}
    assert not {sentence: all_ for sentence, all_ in told.items() if not any(sentence in one for one in all_)}


def test_an_acknowledged_request_that_is_not_there_is_found(found: Found) -> None:
    sent = {**REQUESTS, 8: planned(SEED, 8)}
    assert list(audit.wrong_in_requests(found, sent, sent)) == ["request 8 was acknowledged and is not there"]
    assert not list(audit.wrong_in_requests(found, sent, REQUESTS))
    assert 8 not in audit.present(found, sent)


def test_a_request_that_is_there_in_part_is_found_whether_acknowledged_or_not(found: Found) -> None:
    more = replace(REQUESTS[3], items=[*REQUESTS[3].items, planned(SEED, 8).items[0]])
    count = len(more.facts())
    wrong = list(audit.wrong_in_requests(found, {**REQUESTS, 3: more}, ()))
    assert wrong == [f"request 3 is there in part: {count - 1} of {count} items"]


def test_a_request_that_was_recorded_in_two_portions_is_found(found: Found) -> None:
    (other,) = {event.receipt_id for event in found.events[-1:]}
    torn = with_event(found, 1, receipt_id=other)
    assert any("several receipts" in wrong for wrong in audit.wrong_in_requests(torn, REQUESTS, REQUESTS))


def test_an_event_that_nobody_sent_is_found(found: Found) -> None:
    sent = {number: request for number, request in REQUESTS.items() if number != 3}
    assert any("that nobody sent" in wrong for wrong in audit.wrong_in_requests(found, sent, sent))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("UPDATE runs SET name = 'another'", "runs has"),
        ("DELETE FROM feedback", "feedback has"),
        ("DELETE FROM attachments", "attachments has"),
        ("UPDATE stats SET runs = runs + 1", "stats has"),
        ("UPDATE checkpoints SET position = position - 1", "checkpoints are at"),
    ],
)
async def test_read_models_that_are_no_fold_of_the_log_are_found(
    found: Found, database_url: str, fresh_url: str, change: str, sentence: str
) -> None:
    assert found.events
    assert not await audit.wrong_in_read_models(database_url, fresh_url)
    await execute(database_url, change)
    await execute(fresh_url, *(f"DELETE FROM {table}" for table in read_models()))
    (wrong,) = await audit.wrong_in_read_models(database_url, fresh_url)
    assert sentence in wrong


def test_what_does_not_read_back_with_its_fields_is_found(sqlite_url: str, tmp_path: Path) -> None:
    sent = list(REQUESTS.values())
    asyncio.run(send(sqlite_url, sent))
    first = sent[0].items[0]
    unsent = planned(SEED, 8)
    renamed = replace(sent[0], items=[first._replace(document={**first.document, "name": "another"})])
    with Server(sqlite_url, tmp_path) as server:
        assert not audit.wrong_over_http(server.url, sent, [])
        assert not audit.wrong_over_http(server.url, sent[::2], sent[1::2])
        assert "reads back another name" in audit.wrong_over_http(server.url, [renamed], [])[0]
        wrong = audit.wrong_over_http(server.url, [unsent], [])
    assert len(wrong) == len(unsent.items) + len(unsent.attachments) + len(unsent.feedback)


@pytest.fixture
def fresh_url(database: str, databases: Callable[[str], Databases]) -> Iterator[str]:
    """Another migrated database of the same system."""
    url = databases(database).migrated()
    yield url
    databases(database).drop(url)


@pytest.fixture
def sqlite_url(databases: Callable[[str], Databases]) -> Iterator[str]:
    url = databases("sqlite").migrated()
    yield url
    databases("sqlite").drop(url)


def read_models() -> list[str]:
    return [*(table.name for table in canonical.UNDUMPED), projector.checkpoints.name]


async def execute(url: str, *statements: str) -> None:
    engine = open_engine(url)
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()
