"""The attachments of runs."""

import base64
import hashlib
import json
from typing import Any

import pytest
from msgspec.structs import replace

from events.jsontext import split_object
from events.kinds import Operation, decode
from events.log import NewEvent
from events.upcasters import joined, upcast
from projections import attachments, words
from projections.attachments import Attachment
from service.ingest.items import PATCH, POST
from service.ingest.run_items import attachment_item
from tests.projections.stores import START, Store, id_text, opened, posted, run_id, with_attachments

HELLO = hashlib.sha256(b"hello").digest()


async def attached(store: Store, *numbers: int) -> dict[int, list[Attachment]]:
    async with store.engine.connect() as connection:
        found = await attachments.of_runs(connection, [run_id(number) for number in numbers])
    return {int.from_bytes(id_): items for id_, items in found.items()}


async def test_attachments_are_told_by_name(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(
            attachment_item(run_id(1), "b", "text/plain", b"hello", POST),
            attachment_item(run_id(1), "a", "image/png", b"", POST),
            attachment_item(run_id(2), "a", "text/plain", b"hello", POST),
        )
        assert await attached(store, 1, 2, 3) == {
            1: [
                Attachment(run_id(1), "a", "image/png", 0, hashlib.sha256(b"").digest()),
                Attachment(run_id(1), "b", "text/plain", 5, HELLO),
            ],
            2: [Attachment(run_id(2), "a", "text/plain", 5, HELLO)],
        }


async def test_of_two_files_of_one_name_the_later_stays(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(attachment_item(run_id(1), "a", "text/plain", b"old", POST))
        await store.append(
            attachment_item(run_id(1), "a", "text/plain", b"newer", POST),
            attachment_item(run_id(1), "a", "x/y", b"hello", POST),
        )
        assert await attached(store, 1) == {1: [Attachment(run_id(1), "a", "x/y", 5, HELLO)]}


@pytest.mark.parametrize("order", [(POST, PATCH), (PATCH, POST)])
async def test_the_file_of_a_patch_stays_whichever_came_first(
    database_url: str, order: tuple[Operation, Operation]
) -> None:
    async with opened(database_url) as store:
        for operation in order:
            await store.append(attachment_item(run_id(1), "a", operation, b"hello", operation))
        assert await attached(store, 1) == {1: [Attachment(run_id(1), "a", PATCH, 5, HELLO, words.PATCH)]}
        assert list(attachments.fold(await store.events()).values()) == (await attached(store, 1))[1]


async def test_of_files_that_an_older_program_recorded_the_later_stays(database_url: str) -> None:
    async with opened(database_url) as store:
        for media_type in ("text/old", "text/new"):
            await store.append(as_of_version_1(attachment_item(run_id(1), "a", media_type, b"hello", POST)))
        assert await attached(store, 1) == {1: [Attachment(run_id(1), "a", "text/new", 5, HELLO)]}
        await store.append(attachment_item(run_id(1), "a", "text/patched", b"hello", PATCH))
        await store.append(attachment_item(run_id(1), "a", "text/posted", b"hello", POST))
        assert [a.media_type for a in (await attached(store, 1))[1]] == ["text/patched"]


def as_of_version_1(new: NewEvent) -> NewEvent:
    """The attachment as it was written when the log did not tell which write brought it."""
    told = {name: value for name, value in split_object(new.payload).items() if name != "operation"}
    upcasted = upcast("AttachmentStored", 1, joined(told))
    return replace(new, body=decode("AttachmentStored", new.stream, upcasted))


async def test_bytes_are_stored_once_whoever_attached_them(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(attachment_item(run_id(1), "a", "text/plain", b"hello", POST))
        await store.append(attachment_item(run_id(2), "b", "image/png", b"hello", POST))
        assert [tuple(row) for row in await store.query("SELECT size FROM contents")] == [(5,)]


async def test_an_attachment_inside_a_runs_json_is_one_of_the_run(database_url: str) -> None:
    files: dict[str, Any] = {
        "hello": ["text/plain", base64.b64encode(b"hello").decode()],
        "a path on the client's disk": ["text/csv", "/srv/app/attached.csv"],
        "no pair": ["text/plain"],
        "no list": "text",
    }
    run = {"id": id_text(1), "name": "n", "run_type": "chain", "start_time": START, "attachments": files}
    async with opened(database_url) as store:
        await store.append(*with_attachments(POST, json.dumps(run).encode()))
        assert await attached(store, 1) == {1: [Attachment(run_id(1), "hello", "text/plain", 5, HELLO)]}


async def test_odd_names_and_types_fit_the_columns(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(attachment_item(run_id(1), "n\u0000" * 400, "t" * 400, b"hello", POST))
        ((item,),) = (await attached(store, 1)).values()
        assert (len(item.name), len(item.media_type)) == (255, 255)


async def test_attachments_do_not_make_a_run(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(attachment_item(run_id(1), "a", "text/plain", b"hello", POST))
        assert await store.runs() == {}
        await store.append(posted(1))
        assert len(await store.runs()) == 1
        await store.erase(run_id(1))
        assert await attached(store, 1) == {}
