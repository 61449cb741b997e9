"""Receipts: what one ingest request brought, when and from whom. Numbered and chained like events."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events import chain
from events.schema import SHARD, column_text, duplicates, heads, receipts

_TEXT_CHARS_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Who sent a request, and what its bytes were. Never the key itself: `key_id` is a hash of it."""

    endpoint: str
    request_id: str | None = None
    key_id: str | None = None
    user_agent: str | None = None
    sdk: str | None = None
    sdk_version: str | None = None
    remote_address: str | None = None
    content_size: int = 0
    content_hash: bytes = b""


class Counts(NamedTuple):
    """received = applied + duplicate + quarantined, always."""

    received: int
    applied: int
    duplicate: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class RecordedReceipt:
    """A numbered receipt: its leaf (which every event of it covers), its place in the chain, and its row."""

    receipt_id: int
    leaf: bytes
    chain: bytes
    row: Sequence[object]


def record(
    origin: Origin,
    counts: Counts,
    *,
    shard: int,
    receipt_id: int,
    received_at: int,
    salt: bytes,
    previous_chain: bytes,
    repetitions: Iterable[tuple[bytes, int, int]] = (),
) -> RecordedReceipt:
    """Number and chain a receipt. The hash of the request's bytes is salted into the chain so that it can be erased.

    `repetitions` gives stream, version and times of what the request brought again.
    """
    commitment = sha256(salt + origin.content_hash).digest()
    repeated = chain.repetitions_hash(repetitions)
    texts = tuple(
        None if text is None else column_text(text, _TEXT_CHARS_MAX)
        for text in (
            origin.endpoint,
            origin.request_id,
            origin.key_id,
            origin.user_agent,
            origin.sdk,
            origin.sdk_version,
            origin.remote_address,
        )
    )
    leaf = chain.receipt_leaf(
        shard=shard,
        receipt_id=receipt_id,
        received_at=received_at,
        counts=counts,
        content_size=origin.content_size,
        texts=texts,
        content_commitment=commitment,
        repetitions_hash=repeated,
    )
    link = chain.link(previous_chain, leaf)
    row = (
        *(shard, receipt_id, received_at, *counts, *texts),
        *(origin.content_size, origin.content_hash, salt, commitment, link, repeated),
    )
    return RecordedReceipt(receipt_id, leaf, link, row)


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """A receipt as it stands in the log. `content_hash` and its salt are None once something it covers was erased."""

    shard: int
    receipt_id: int
    received_at: int
    received: int
    applied: int
    duplicate: int
    quarantined: int
    endpoint: str
    request_id: str | None
    key_id: str | None
    user_agent: str | None
    sdk: str | None
    sdk_version: str | None
    remote_address: str | None
    content_size: int
    content_hash: bytes | None
    content_salt: bytes | None
    content_commitment: bytes
    chain: bytes
    repetitions_hash: bytes | None


class Repetition(NamedTuple):
    """An event of a stream that came again, and how often in one request."""

    stream: bytes
    version: int
    times: int


async def read_page(
    connection: AsyncConnection, *, after: int, limit: int, newest_first: bool = False, shard: int = SHARD
) -> list[StoredReceipt]:
    """The receipts after one (0: all), in order: the oldest first, or the newest."""
    number = receipts.c.receipt_id
    query = select(receipts).where(receipts.c.shard == shard).limit(limit)
    if newest_first:
        query = query.where(number < after if after else number > 0).order_by(number.desc())
    else:
        query = query.where(number > after).order_by(number)
    return [StoredReceipt(*row) for row in await connection.execute(query)]


async def read_receipt(connection: AsyncConnection, receipt_id: int, *, shard: int = SHARD) -> StoredReceipt | None:
    """One receipt, or None when there is none of this number."""
    query = select(receipts).where(receipts.c.shard == shard, receipts.c.receipt_id == receipt_id)
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else StoredReceipt(*row)


async def read_repetitions(connection: AsyncConnection, receipt_id: int, *, shard: int = SHARD) -> list[Repetition]:
    """Which events a request brought again."""
    query = (
        select(duplicates.c.stream, duplicates.c.version, duplicates.c.times)
        .where(duplicates.c.shard == shard, duplicates.c.receipt_id == receipt_id)
        .order_by(duplicates.c.stream, duplicates.c.version)
    )
    return [Repetition(bytes(row.stream), row.version, row.times) for row in await connection.execute(query)]


async def last_receipt_id(connection: AsyncConnection, *, shard: int = SHARD) -> int:
    """The number of the last receipt; 0 when there is none."""
    last: int = (await connection.execute(select(heads.c.receipt_id).where(heads.c.shard == shard))).scalar_one()
    return last


async def sum_counts(connection: AsyncConnection, *, after: int, upto: int, shard: int = SHARD) -> Counts:
    """The sums of the counts of all receipts after one and up to another."""
    columns = (receipts.c.received, receipts.c.applied, receipts.c.duplicate, receipts.c.quarantined)
    query = select(*(func.coalesce(func.sum(column), 0) for column in columns)).where(
        receipts.c.shard == shard, receipts.c.receipt_id > after, receipts.c.receipt_id <= upto
    )
    return Counts(*map(int, (await connection.execute(query)).one()))


async def read_receipts(
    connection: AsyncConnection, receipt_ids: Sequence[int], *, shard: int = SHARD
) -> dict[int, StoredReceipt]:
    """Those of these receipts that there are, by number."""
    query = select(receipts).where(receipts.c.shard == shard, receipts.c.receipt_id.in_(receipt_ids))
    return {row.receipt_id: StoredReceipt(*row) for row in await connection.execute(query)}


class Repeated(NamedTuple):
    """How often an event came again in all, and the last requests that brought it: each receipt, and how often."""

    times: int
    latest: list[tuple[int, int]]


async def read_repeated(
    connection: AsyncConnection,
    stream: bytes,
    *,
    after_version: int,
    upto_version: int,
    latest_max: int,
    shard: int = SHARD,
) -> dict[int, Repeated]:
    """The events of a stream, by version, that came again; those after one version and up to another."""
    newest_first = duplicates.c.receipt_id.desc()
    ranked = (
        select(
            duplicates.c.version,
            duplicates.c.receipt_id,
            duplicates.c.times,
            func.sum(duplicates.c.times).over(partition_by=duplicates.c.version).label("in_all"),
            func.row_number().over(partition_by=duplicates.c.version, order_by=newest_first).label("place"),
        )
        .where(duplicates.c.shard == shard, duplicates.c.stream == stream)
        .where(duplicates.c.version > after_version, duplicates.c.version <= upto_version)
        .subquery()
    )
    query = select(ranked).where(ranked.c.place <= latest_max).order_by(ranked.c.version, ranked.c.receipt_id)
    found: dict[int, Repeated] = {}
    for row in await connection.execute(query):
        found.setdefault(row.version, Repeated(int(row.in_all), [])).latest.append((row.receipt_id, row.times))
    return found
