"""The attachments of runs: names, types and sizes. The bytes are in the content store, once for each content.

Of two with one name that of a PATCH stays rather than that of a POST, whichever came first, and among equals the later:
as it is with the fields of a run (`projections.runs`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import BigInteger, Column, LargeBinary, PrimaryKeyConstraint, SmallInteger, Table, Text, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Row, Writer
from events.kinds import AttachmentStored, Operation
from events.log import RecordedEvent
from events.prepared import Prepared, Question, given, one_of
from events.schema import SHARD, metadata
from projections.words import PATCH, POST, column_text

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
    # How strong the word is that it rests on: 2 of a POST, 3 of a PATCH.
    Column("rank", SmallInteger, nullable=False, server_default=text(str(POST))),
    PrimaryKeyConstraint("shard", "run_id", "name", name="attachments_pk"),
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A named file of a run: its media type, its size in bytes, the sha256 of its content, and the rank of the word."""

    run_id: bytes
    name: str
    media_type: str
    size: int
    content_hash: bytes
    rank: int = POST

    @classmethod
    def from_row(cls, row: Row) -> "Attachment":
        """The attachment that a row holds, given without its shard."""
        run_id, name, media_type, size, content_hash, rank = row
        return cls(bytes(run_id), name, media_type, size, bytes(content_hash), rank)


Key = tuple[bytes, str]
"""The run and the name of an attachment."""


_NONE: Final[Mapping[Key, Attachment]] = MappingProxyType({})


def fold(events: Iterable[RecordedEvent], known: Mapping[Key, Attachment] = _NONE) -> dict[Key, Attachment]:
    """The attachments that the events leave, in order, together with those that are `known`, by run and name."""
    folded = dict(known)
    for event in events:
        if isinstance(event.body, AttachmentStored):
            told = _told(event.body)
            before = folded.get((told.run_id, told.name))
            if before is None or told.rank >= before.rank:
                folded[told.run_id, told.name] = told
    return folded


def _told(body: AttachmentStored) -> Attachment:
    name = column_text(body.name, NAME_CHARS_MAX)
    media_type = column_text(body.media_type, NAME_CHARS_MAX)
    return Attachment(body.run_id, name, media_type, body.size, body.content_hash, _RANKS[body.operation])


_RANKS: Final[Mapping[Operation, int]] = {"post": POST, "patch": PATCH}


async def apply(writer: Writer, events: Sequence[RecordedEvent], *, shard: int) -> None:
    """Fold the events into the stored attachments, within the writer's transaction."""
    told = fold(events)
    if not told:
        return
    known = await _load(writer, told, shard=shard)
    folded = fold(events, known)
    await writer.replace(attachments, [as_row(shard, a) for key, a in folded.items() if a != known.get(key)])


async def _load(writer: Writer, keys: Iterable[Key], *, shard: int) -> dict[Key, Attachment]:
    columns = ", ".join(f"a.{column.name}" for column in attachments.c if column.name != "shard")
    rows = await writer.lookup(
        f"SELECT {columns} FROM k JOIN {writer.name_of(attachments)} a ON a.shard = {shard} AND a.run_id = k.run_id "
        "AND a.name = k.name",
        {"run_id": "bytea", "name": "text"},
        list(keys),
    )
    return {(attachment.run_id, attachment.name): attachment for attachment in map(Attachment.from_row, rows)}


def as_row(shard: int, a: Attachment) -> tuple[Any, ...]:
    """The row of an attachment, in the order of the table's columns."""
    return shard, a.run_id, a.name, a.media_type, a.size, a.content_hash, a.rank


async def renew(writer: Writer, run_ids: Sequence[bytes], events: Sequence[RecordedEvent], *, shard: int) -> None:
    """Make the stored attachments of these runs those that the events leave, and no others."""
    table = writer.name_of(attachments)
    await writer.execute_many(f"DELETE FROM {table} WHERE shard = {shard} AND run_id = ?1", [(i,) for i in run_ids])
    await apply(writer, events, shard=shard)


async def of_runs(
    connection: AsyncConnection, run_ids: Sequence[bytes], *, shard: int = SHARD
) -> dict[bytes, list[Attachment]]:
    """The attachments of these runs, by name; runs without any are left out."""
    return await on_runs(run_ids, shard=shard).answer(connection)


def on_runs(run_ids: Sequence[bytes], *, shard: int = SHARD) -> Question[dict[bytes, list[Attachment]]]:
    """The attachments of these runs, by name; runs without any are left out."""
    return _OF_RUNS.asking(_by_run, shard=shard, run_ids=run_ids)


def _by_run(rows: Sequence[Sequence[Any]]) -> dict[bytes, list[Attachment]]:
    found: dict[bytes, list[Attachment]] = {}
    for attachment in map(Attachment.from_row, rows):
        found.setdefault(attachment.run_id, []).append(attachment)
    return found


_OF_RUNS: Final = Prepared(
    select(*(attachments.c[field.name] for field in fields(Attachment)))
    .where(attachments.c.shard == given("shard"), attachments.c.run_id.in_(one_of("run_ids")))
    .order_by(attachments.c.run_id, attachments.c.name)
)
