"""The attachments of runs: names, types and sizes. The bytes are in the content store, once for each content."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from sqlalchemy import BigInteger, Column, LargeBinary, PrimaryKeyConstraint, SmallInteger, Table, Text, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Writer
from events.kinds import AttachmentStored
from events.log import RecordedEvent
from events.prepared import Prepared, given, one_of
from events.schema import SHARD, metadata
from projections.words import column_text

NAME_CHARS_MAX: Final = 255

attachments: Final = Table(
    "attachments",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("run_id", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    Column("media_type", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("shard", "run_id", "name", name="attachments_pk"),
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A named file of a run: its media type, its size in bytes, and the sha256 of its content."""

    run_id: bytes
    name: str
    media_type: str
    size: int
    content_hash: bytes


def fold(events: Iterable[RecordedEvent]) -> dict[tuple[bytes, str], Attachment]:
    """The attachments that the events leave, by run and name: of two with one name the later stays."""
    folded: dict[tuple[bytes, str], Attachment] = {}
    for event in events:
        if isinstance(event.body, AttachmentStored):
            told = event.body
            name = column_text(told.name, NAME_CHARS_MAX)
            media_type = column_text(told.media_type, NAME_CHARS_MAX)
            folded[told.run_id, name] = Attachment(told.run_id, name, media_type, told.size, told.content_hash)
    return folded


async def apply(writer: Writer, events: Sequence[RecordedEvent], *, shard: int) -> None:
    """Fold the events into the stored attachments, within the writer's transaction."""
    await writer.replace(attachments, [as_row(shard, attachment) for attachment in fold(events).values()])


def as_row(shard: int, a: Attachment) -> tuple[Any, ...]:
    """The row of an attachment, in the order of the table's columns."""
    return shard, a.run_id, a.name, a.media_type, a.size, a.content_hash


async def renew(writer: Writer, run_ids: Sequence[bytes], events: Sequence[RecordedEvent], *, shard: int) -> None:
    """Make the stored attachments of these runs those that the events leave, and no others."""
    table = writer.name_of(attachments)
    await writer.execute_many(f"DELETE FROM {table} WHERE shard = {shard} AND run_id = ?1", [(i,) for i in run_ids])
    await apply(writer, events, shard=shard)


async def of_runs(
    connection: AsyncConnection, run_ids: Sequence[bytes], *, shard: int = SHARD
) -> dict[bytes, list[Attachment]]:
    """The attachments of these runs, by name; runs without any are left out."""
    found: dict[bytes, list[Attachment]] = {}
    for row in await _OF_RUNS.rows(connection, shard=shard, run_ids=run_ids):
        attachment = Attachment(*row)
        found.setdefault(attachment.run_id, []).append(attachment)
    return found


_OF_RUNS: Final = Prepared(
    select(*(attachments.c[field.name] for field in fields(Attachment)))
    .where(attachments.c.shard == given("shard"), attachments.c.run_id.in_(one_of("run_ids")))
    .order_by(attachments.c.run_id, attachments.c.name)
)
