"""Receipts: what one ingest request brought, when and from whom. Numbered and chained like events."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

from events import chain
from events.schema import column_text

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
) -> RecordedReceipt:
    """Number and chain a receipt. The hash of the request's bytes is salted into the chain so that it can be erased."""
    commitment = sha256(salt + origin.content_hash).digest()
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
    )
    link = chain.link(previous_chain, leaf)
    row = (
        *(shard, receipt_id, received_at, *counts, *texts),
        *(origin.content_size, origin.content_hash, salt, commitment, link),
    )
    return RecordedReceipt(receipt_id, leaf, link, row)
