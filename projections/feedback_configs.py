"""How feedback is to be understood, by its key: its type, bounds and categories, as people set them."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any, Final

from sqlalchemy import BigInteger, Column, LargeBinary, PrimaryKeyConstraint, SmallInteger, Table, Text, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Row, Writer
from events.jsontext import clean
from events.kinds import FeedbackConfigDeleted, FeedbackConfigSet
from events.log import RecordedEvent
from events.schema import SHARD, metadata
from projections.feedback import KEY_CHARS_MAX
from projections.words import column_text

feedback_configs: Final = Table(
    "feedback_configs",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("id", LargeBinary, nullable=False),
    Column("key", Text, nullable=False),
    Column("config", Text, nullable=False),
    # 1, 0, or nothing when nobody said.
    Column("is_lower_score_better", SmallInteger),
    Column("modified_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("shard", "id", name="feedback_configs_pk"),
)
UNDUMPED: Final = frozenset({"modified_at"})
_IDS: Final = uuid.UUID("2b8a4d17-6c1e-5f0d-9a53-70d1a8c3e942")


@dataclass(frozen=True, slots=True)
class FeedbackConfig:
    """How feedback with a key is to be understood. `config` is clean JSON text; times in µs."""

    id: bytes
    key: str
    config: str
    is_lower_score_better: int | None
    modified_at: int


_COLUMNS: Final = tuple(field.name for field in fields(FeedbackConfig))


def config_id_of(key: str) -> bytes:
    """The id of the configuration of a key: there is one for each."""
    return uuid.uuid5(_IDS, column_text(key, KEY_CHARS_MAX).encode("utf-8", "replace").decode()).bytes


def fold(state: FeedbackConfig | None, event: RecordedEvent) -> FeedbackConfig | None:
    """The configuration after one more event of its stream; None when there is none, or no longer."""
    match event.body:
        case FeedbackConfigSet(config_id=id_, key=key, members=said):
            return _set(state, id_, column_text(key, KEY_CHARS_MAX), said, event.recorded_at)
        case FeedbackConfigDeleted():
            return None
        case _:
            return state


def _set(
    state: FeedbackConfig | None, id_: bytes, key: str, said: Mapping[str, bytes], recorded_at: int
) -> FeedbackConfig:
    config = "{}" if state is None else state.config
    is_lower_better = None if state is None else state.is_lower_score_better
    if "feedback_config" in said:
        config = clean(said["feedback_config"]).decode()
    if "is_lower_score_better" in said:
        is_lower_better = int(said["is_lower_score_better"] == b"true")
    return FeedbackConfig(id_, key, config, is_lower_better, recorded_at)


async def apply(writer: Writer, events: Sequence[RecordedEvent], *, shard: int) -> None:
    """Fold the events into the stored configurations, within the writer's transaction."""
    told = [event for event in events if isinstance(event.body, (FeedbackConfigSet, FeedbackConfigDeleted))]
    if not told:
        return
    before = await load(writer, {event.stream[1:] for event in told}, shard=shard)
    after: dict[bytes, FeedbackConfig | None] = dict(before)
    for event in told:
        after[event.stream[1:]] = fold(after.get(event.stream[1:]), event)
    await writer.replace(feedback_configs, [as_row(shard, state) for state in after.values() if state is not None])
    gone = [(shard, id_) for id_, state in after.items() if state is None and id_ in before]
    await writer.delete(feedback_configs, gone)


def as_row(shard: int, config: FeedbackConfig) -> tuple[Any, ...]:
    """The row of a configuration, in the order of the table's columns."""
    return shard, *astuple(config)


async def load(writer: Writer, ids: set[bytes], *, shard: int) -> dict[bytes, FeedbackConfig]:
    """The stored configurations with these ids, within the writer's transaction."""
    columns = ", ".join(f"c.{name}" for name in _COLUMNS)
    rows = await writer.lookup(
        f"SELECT {columns} FROM k JOIN {writer.name_of(feedback_configs)} c ON c.shard = {shard} AND c.id = k.id",
        {"id": "bytea"},
        [(id_,) for id_ in ids],
    )
    return {config.id: config for config in map(_config, rows)}


async def find(
    connection: AsyncConnection, *, keys: Sequence[str] | None = None, shard: int = SHARD
) -> list[FeedbackConfig]:
    """The configurations of these keys, or all, in the order of the keys."""
    query = select(*(feedback_configs.c[name] for name in _COLUMNS)).where(feedback_configs.c.shard == shard)
    if keys is not None:
        query = query.where(feedback_configs.c.id.in_([config_id_of(key) for key in keys]))
    found = [_config(row) for row in await connection.execute(query)]
    return sorted(found, key=lambda config: config.key)


def _config(row: Row) -> FeedbackConfig:
    return FeedbackConfig(bytes(row[0]), *row[1:])
