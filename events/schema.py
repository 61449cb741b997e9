"""The tables of the log. Created by `migrations/`; a test holds the two against each other.

Times are integer microseconds since 1970 UTC, ids 16 raw bytes, hashes 32. Every key leads with `shard`.
No table has a foreign key or a sequence: the holder of the head row numbers everything itself (design.md §3).
"""

import re
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)

SHARD: Final = 0

metadata: Final = MetaData()

events: Final = Table(
    "events",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("stream", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("event_id", LargeBinary),
    Column("recorded_at", BigInteger, nullable=False),
    Column("receipt_id", BigInteger, nullable=False),
    Column("schema_version", SmallInteger, nullable=False),
    Column("codec", SmallInteger, nullable=False),
    Column("payload_size", BigInteger, nullable=False),
    Column("payload_salt", LargeBinary),
    Column("payload_hash", LargeBinary, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("payload", LargeBinary),
    PrimaryKeyConstraint("shard", "position", name="events_pk"),
    UniqueConstraint("shard", "stream", "event_id", name="events_once"),
    Index("events_stream", "shard", "stream", "version"),
    Index("events_kind", "shard", "kind", "position"),
)

heads: Final = Table(
    "heads",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("receipt_id", BigInteger, nullable=False),
    Column("receipt_chain", LargeBinary, nullable=False),
    Column("quarantine_id", BigInteger, nullable=False),
    Column("quarantine_chain", LargeBinary, nullable=False),
    Column("fold_version", Text, nullable=False),
    PrimaryKeyConstraint("shard", name="heads_pk"),
)

receipts: Final = Table(
    "receipts",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("receipt_id", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("received", Integer, nullable=False),
    Column("applied", Integer, nullable=False),
    Column("duplicate", Integer, nullable=False),
    Column("quarantined", Integer, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("request_id", Text),
    Column("key_id", Text),
    Column("user_agent", Text),
    Column("sdk", Text),
    Column("sdk_version", Text),
    Column("remote_address", Text),
    Column("content_size", BigInteger, nullable=False),
    Column("content_hash", LargeBinary),
    Column("content_salt", LargeBinary),
    Column("content_commitment", LargeBinary, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    # What this request has in `duplicates`, hashed; NULL when nothing.
    Column("repetitions_hash", LargeBinary),
    PrimaryKeyConstraint("shard", "receipt_id", name="receipts_pk"),
)

quarantine: Final = Table(
    "quarantine",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("quarantine_id", BigInteger, nullable=False),
    Column("receipt_id", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("codec", SmallInteger, nullable=False),
    Column("raw_size", BigInteger, nullable=False),
    Column("raw_salt", LargeBinary),
    Column("raw_hash", LargeBinary, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("raw", LargeBinary),
    # What became of it since: NULL until it was retried with success.
    Column("retried_at", BigInteger),
    Column("retry_receipt_id", BigInteger),
    Column("outcome", Text),
    PrimaryKeyConstraint("shard", "quarantine_id", name="quarantine_pk"),
    Index("quarantine_receipt", "shard", "receipt_id"),
)

# What came again: which event of a stream, with which receipt, and how often in that request.
duplicates: Final = Table(
    "duplicates",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("stream", LargeBinary, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("receipt_id", BigInteger, nullable=False),
    Column("times", Integer, nullable=False),
    PrimaryKeyConstraint("shard", "stream", "version", "receipt_id", name="duplicates_pk"),
    Index("duplicates_receipt", "shard", "receipt_id"),
)

contents: Final = Table(
    "contents",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("shard", "hash", name="contents_pk"),
)

content_holders: Final = Table(
    "content_holders",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("stream", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("shard", "stream", "hash", name="content_holders_pk"),
    Index("content_holders_hash", "shard", "hash"),
)

erased: Final = Table(
    "erased",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("stream", LargeBinary, nullable=False),
    PrimaryKeyConstraint("shard", "stream", name="erased_pk"),
)

instance: Final = Table(
    "instance",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("tenant_id", LargeBinary, nullable=False),
    Column("signing_key", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("shard", name="instance_pk"),
)

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")


def column_text(text: str, chars_max: int) -> str:
    """What a TEXT column of either database takes: no U+0000, no lone surrogates (both become U+FFFD), not endless."""
    return _UNSTORABLE.sub("\ufffd", text[:chars_max])
