"""The tokens by which others may give a feedback without an API key: of which run, with which key, and until when.

A token is created for one feedback, in the stream of that, and goes by its id. What a person holds is another word
(`service.tokens`), so whoever reads the log cannot use what it says.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, PrimaryKeyConstraint, SmallInteger, Table, Text, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Row, Writer
from events.jsontext import clean
from events.kinds import FeedbackTokenCreated, TraceErased, feedback_stream
from events.log import RecordedEvent
from events.schema import SHARD, metadata
from projections.feedback import KEY_CHARS_MAX
from projections.words import column_text

feedback_tokens: Final = Table(
    "feedback_tokens",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("id", LargeBinary, nullable=False),
    Column("run_id", LargeBinary, nullable=False),
    Column("key", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("config", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("shard", "id", name="feedback_tokens_pk"),
    Index("feedback_tokens_run", "shard", "run_id"),
)
UNDUMPED: Final = frozenset({"created_at"})


@dataclass(frozen=True, slots=True)
class FeedbackToken:
    """A token for the feedback `id`. Times in µs; `config` is clean JSON text."""

    id: bytes
    run_id: bytes
    key: str
    expires_at: int
    config: str
    created_at: int


_COLUMNS: Final = tuple(field.name for field in fields(FeedbackToken))


def fold(events: Iterable[RecordedEvent]) -> dict[bytes, FeedbackToken]:
    """The tokens that the events leave, by id: of two for one feedback the later stays."""
    return {
        told.feedback_id: FeedbackToken(
            *(told.feedback_id, told.run_id, column_text(told.key, KEY_CHARS_MAX), told.expires_at),
            clean(told.config).decode(),
            event.recorded_at,
        )
        for event in events
        if isinstance(told := event.body, FeedbackTokenCreated)
    }


async def apply(writer: Writer, events: Sequence[RecordedEvent], *, shard: int) -> None:
    """Fold the events into the stored tokens, within the writer's transaction."""
    folded = fold(events)
    if folded:
        await writer.replace(feedback_tokens, [as_row(shard, token) for token in folded.values()])
    erased = [event.body.streams for event in events if isinstance(event.body, TraceErased)]
    gone = [stream[1:] for streams in erased for stream in streams if stream == feedback_stream(stream[1:])]
    if gone:
        await writer.delete(feedback_tokens, [(shard, id_) for id_ in gone])


def as_row(shard: int, token: FeedbackToken) -> tuple[Any, ...]:
    """The row of a token, in the order of the table's columns."""
    return shard, *astuple(token)


async def get(connection: AsyncConnection, token_id: bytes, *, shard: int = SHARD) -> FeedbackToken | None:
    """One token, or None when there is none with this id."""
    query = select(*(feedback_tokens.c[name] for name in _COLUMNS)).where(
        feedback_tokens.c.shard == shard, feedback_tokens.c.id == token_id
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else _token(row)


async def of_run(
    connection: AsyncConnection, run_id: bytes, *, limit: int, offset: int, shard: int = SHARD
) -> list[FeedbackToken]:
    """The tokens for feedback on a run, the newest first."""
    query = (
        select(*(feedback_tokens.c[name] for name in _COLUMNS))
        .where(feedback_tokens.c.shard == shard, feedback_tokens.c.run_id == run_id)
        .order_by(feedback_tokens.c.created_at.desc(), feedback_tokens.c.id)
        .limit(limit)
        .offset(offset)
    )
    return [_token(row) for row in await connection.execute(query)]


def _token(row: Row) -> FeedbackToken:
    return FeedbackToken(bytes(row[0]), bytes(row[1]), *row[2:])
