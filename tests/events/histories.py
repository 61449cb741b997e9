"""Histories to tell the log in tests: sealed events made of dicts, and a log to append them to and look into."""

import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Row, Table, text
from sqlalchemy.ext.asyncio import AsyncEngine

from events import log
from events.codec import Content
from events.dialect import Writer, open_engine, open_writer
from events.ids import parse_id
from events.kinds import (
    AttachmentStored,
    Event,
    FeedbackDeleted,
    FeedbackPatched,
    FeedbackPosted,
    ProjectCreated,
    RunPatched,
    RunPosted,
    attachment_payload,
    feedback_stream,
    project_payload,
    project_stream,
    run_stream,
)
from events.log import Appended, NewEvent, Refused, Submission, seal
from events.receipts import Origin

NOW_US = 1_767_225_600_000_000  # 2026-01-01
FOLD_VERSION = "1.1/documented"

Fields = dict[str, Any]


def id_text(number: int) -> str:
    """A UUID that is easy to recognise."""
    return str(uuid.UUID(int=number))


def run_posted(fields: Fields, *, salt: bytes | None = None) -> NewEvent:
    """A post of the run that `fields["id"]` names."""
    return _run_written(RunPosted, fields, salt)


def run_patched(fields: Fields, *, salt: bytes | None = None) -> NewEvent:
    """A patch of the run that `fields["id"]` names."""
    return _run_written(RunPatched, fields, salt)


def some_run(number: int, **fields: object) -> NewEvent:
    """A post of a run with the fields that every post has."""
    usual = {"id": id_text(number), "name": "run", "run_type": "chain", "start_time": "2026-01-01T00:00:00Z"}
    return run_posted({**usual, **fields})


def attachment(run_number: int, body: bytes, *, name: str = "file") -> NewEvent:
    """A file attached to a run."""
    run_id = _id(id_text(run_number))
    content = Content(hashlib.sha256(body).digest(), body)
    event = AttachmentStored(run_id, name, "text/plain", len(body), content.hash, "post")
    payload = attachment_payload(name, "text/plain", len(body), content.hash, "post")
    return seal("AttachmentStored", run_stream(run_id), payload, event, contents=(content,))


def feedback_posted(number: int, **fields: object) -> NewEvent:
    """New feedback."""
    return _feedback(FeedbackPosted, number, fields)


def feedback_patched(number: int, **fields: object) -> NewEvent:
    """A change of feedback."""
    return _feedback(FeedbackPatched, number, fields)


def feedback_deleted(number: int) -> NewEvent:
    """The end of feedback."""
    id_ = _id(id_text(number))
    return seal("FeedbackDeleted", feedback_stream(id_), b"{}", FeedbackDeleted(id_))


def project_created(number: int, name: str) -> NewEvent:
    """A project, by an id of its own."""
    id_ = _id(id_text(number))
    return seal("ProjectCreated", project_stream(id_), project_payload(name), ProjectCreated(id_, name))


def refused(raw: bytes, *, source: str = "post[0]", reason: str = "it is no JSON object") -> Refused:
    """An item that no event can be made of."""
    return Refused(source, reason, raw)


def submission(*items: NewEvent | Refused, origin: Origin | None = None) -> Submission:
    """What one request brings."""
    return Submission(origin or Origin(endpoint="/runs/batch", content_hash=bytes(32)), items)


@dataclass(frozen=True, slots=True)
class Log:
    """The log of one database, opened for writing and for reading."""

    writer: Writer
    engine: AsyncEngine

    async def append(
        self, *submissions: Submission, now: int = NOW_US, random_bytes: Callable[[int], bytes] = os.urandom
    ) -> Appended:
        """Append in a transaction of its own."""
        async with self.writer.transaction():
            return await self.append_within(*submissions, now=now, random_bytes=random_bytes)

    async def append_within(
        self, *submissions: Submission, now: int = NOW_US, random_bytes: Callable[[int], bytes] = os.urandom
    ) -> Appended:
        """Append within the transaction that the writer is in."""
        head = await log.lock_head(self.writer, fold_version=FOLD_VERSION)
        return await log.append(self.writer, head, submissions, now=now, random_bytes=random_bytes)

    async def rows(self, table: Table) -> Sequence[Row[Any]]:
        """All rows of a table, in the order of its primary key."""
        async with self.engine.connect() as connection:
            return (await connection.execute(table.select().order_by(*table.primary_key))).all()

    async def execute(self, statement: str, **values: object) -> None:
        """Run a statement behind the program's back."""
        async with self.engine.begin() as connection:
            await connection.execute(text(statement), values)


@asynccontextmanager
async def opened(database_url: str) -> AsyncIterator[Log]:
    """The log of a database; what was opened is closed at the end."""
    writer, engine = open_writer(database_url), open_engine(database_url)
    try:
        yield Log(writer, engine)
    finally:
        await writer.close()
        await engine.dispose()


def _run_written(event: type[RunPosted] | type[RunPatched], fields: Fields, salt: bytes | None) -> NewEvent:
    payload = orjson.dumps(fields)
    run_id = _id(fields["id"])
    return seal(event.__name__, run_stream(run_id), payload, event(run_id, payload), salt=salt)


def _feedback(event: type[FeedbackPosted] | type[FeedbackPatched], number: int, fields: Fields) -> NewEvent:
    id_ = _id(id_text(number))
    members = {name: orjson.dumps(value) for name, value in fields.items()}
    told: Event = event(id_, members)
    return seal(event.__name__, feedback_stream(id_), orjson.dumps(fields), told)


def _id(text: str) -> bytes:
    id_ = parse_id(text)
    assert id_ is not None
    return id_
