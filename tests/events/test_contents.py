import hashlib
from contextlib import suppress

from events.contents import read_content
from events.schema import content_holders, contents
from tests.events.histories import Log, attachment, opened, some_run, submission


async def test_stored_bytes_are_read_by_their_hash(database_url: str) -> None:
    bodies = [b"", b"\0\xff", b"large" * 300_000]
    async with opened(database_url) as store:
        await store.append(submission(*(attachment(number, body) for number, body in enumerate(bodies))))
        assert [await read(store, body) for body in bodies] == bodies
        assert await read(store, b"other") is None
        sizes = {row.hash: row.size for row in await store.rows(contents)}
    assert sizes == {digest(body): len(body) for body in bodies}


async def test_bytes_are_stored_once_whoever_holds_them(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(
            submission(attachment(1, b"same"), attachment(1, b"same", name="again"), attachment(2, b"same")),
            submission(attachment(3, b"same"), attachment(3, b"other")),
        )
        await store.append(submission(attachment(4, b"same"), attachment(1, b"same"), attachment(1, b"other")))
        stored = [row.hash for row in await store.rows(contents)]
        holders = {(row.stream, row.hash) for row in await store.rows(content_holders)}
    assert stored == sorted(map(digest, (b"same", b"other")))
    assert holders == {
        *((some_run(number).stream, digest(b"same")) for number in (1, 2, 3, 4)),
        *((some_run(number).stream, digest(b"other")) for number in (1, 3)),
    }


async def test_a_duplicate_stores_nothing_again(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(submission(attachment(1, b"body")))
        before = [await store.rows(contents), await store.rows(content_holders)]
        appended = await store.append(submission(attachment(1, b"body"), attachment(1, b"body")))
        assert [await store.rows(contents), await store.rows(content_holders)] == before
    assert appended.outcomes == [["duplicate", "duplicate"]]


async def test_contents_of_an_append_that_failed_are_not_kept(database_url: str) -> None:
    async with opened(database_url) as store:
        with suppress(ZeroDivisionError):
            async with store.writer.transaction():
                await store.append_within(submission(attachment(1, b"body")))
                raise ZeroDivisionError
        assert await read(store, b"body") is None
        assert await store.rows(content_holders) == []


async def read(store: Log, body: bytes) -> bytes | None:
    async with store.engine.connect() as connection:
        return await read_content(connection, digest(body))


def digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
