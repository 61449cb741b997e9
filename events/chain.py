"""The hashes that make a changed log visible.

    event_id     = first 16 bytes of sha256(version it repeats after, kind, stream, payload)
    payload_hash = sha256(salt | stored payload)
    leaf         = sha256(every column but payload, salt and event_id | the receipt's leaf)
    chain        = sha256(previous chain | leaf)

Erasing an event clears payload, salt and event_id; what remains is enough to compute leaf and chain. Receipts and what
is in quarantine have chains of their own, made likewise.
"""

import struct
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from typing import Final

GENESIS: Final = bytes(32)
SALT_BYTES: Final = 16

_EVENT_NUMBERS: Final = struct.Struct(">HQQqQHHQ").pack
_RECEIPT_NUMBERS: Final = struct.Struct(">HQqQQQQQ").pack
_QUARANTINE_NUMBERS: Final = struct.Struct(">HQQqHQ").pack
_VERSION: Final = struct.Struct(">Q").pack
_REPETITION_NUMBERS: Final = struct.Struct(">qq").pack


def event_id(kind: str, stream: bytes, payload: bytes, *, after_version: int = 0) -> bytes:
    """Sixteen bytes that are equal exactly when kind, stream, payload and `after_version` are.

    A command that repeats an earlier one of its stream names the version it came after, so that it is a new event.
    """
    return sha256(b"".join((_beginning(after_version, kind), _sized(stream), payload))).digest()[:16]


def payload_hash(salt: bytes, stored: bytes) -> bytes:
    """The salted hash that the chain covers in place of the payload."""
    return sha256(salt + stored).digest()


def event_leaf(
    *,
    shard: int,
    position: int,
    version: int,
    recorded_at: int,
    receipt_id: int,
    schema_version: int,
    codec: int,
    payload_size: int,
    stream: bytes,
    kind: str,
    hashed: bytes,
    receipt_leaf: bytes,
) -> bytes:
    """The hash of one event's columns. `hashed` is its payload_hash."""
    numbers = _EVENT_NUMBERS(shard, position, version, recorded_at, receipt_id, schema_version, codec, payload_size)
    return sha256(b"".join((numbers, _sized(stream), _sized_kind(kind), hashed, receipt_leaf))).digest()


def receipt_leaf(
    *,
    shard: int,
    receipt_id: int,
    received_at: int,
    counts: tuple[int, int, int, int],
    content_size: int,
    texts: tuple[str | None, ...],
    content_commitment: bytes,
    repetitions_hash: bytes | None,
) -> bytes:
    """The hash of one receipt's columns, but for the hash of the request's bytes and its salt.

    A receipt without `repetitions_hash` repeated nothing, or is older than that column: its leaf is as it was then.
    """
    numbers = _RECEIPT_NUMBERS(shard, receipt_id, received_at, *counts, content_size)
    words = b"".join(b"\0" if text is None else b"\1" + _sized(text.encode()) for text in texts)
    return sha256(numbers + words + content_commitment + (repetitions_hash or b"")).digest()


class RepetitionsHash:
    """The hash of what a request brought again: of each event its stream, its version and how often, in this order.

    sha256, stream and version ascending.
    """

    def __init__(self) -> None:
        self._digest = sha256()

    def add(self, stream: bytes, version: int, times: int) -> None:
        """Take in the next event."""
        self._digest.update(_sized(stream) + _REPETITION_NUMBERS(version, times))

    def digest(self) -> bytes:
        """The hash of all that were taken in."""
        return self._digest.digest()


def repetitions_hash(repetitions: Iterable[tuple[bytes, int, int]]) -> bytes | None:
    """The hash of stream, version and times of all that a request brought again; None when it repeated nothing."""
    hashed = RepetitionsHash()
    is_empty = True
    for repetition in sorted(repetitions):
        hashed.add(*repetition)
        is_empty = False
    return None if is_empty else hashed.digest()


def quarantine_leaf(
    *,
    shard: int,
    quarantine_id: int,
    receipt_id: int,
    recorded_at: int,
    codec: int,
    raw_size: int,
    source: str,
    reason: str,
    hashed: bytes,
    receipt_leaf: bytes,
) -> bytes:
    """The hash of one quarantined item's columns. `hashed` is the payload_hash of its bytes."""
    numbers = _QUARANTINE_NUMBERS(shard, quarantine_id, receipt_id, recorded_at, codec, raw_size)
    return sha256(b"".join((numbers, _sized(source.encode()), _sized(reason.encode()), hashed, receipt_leaf))).digest()


def link(previous: bytes, leaf: bytes) -> bytes:
    """The next value of a chain."""
    return sha256(previous + leaf).digest()


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


@lru_cache(maxsize=64)
def _beginning(after_version: int, kind: str) -> bytes:
    return _VERSION(after_version) + _sized_kind(kind)


@lru_cache(maxsize=64)
def _sized_kind(kind: str) -> bytes:
    return _sized(kind.encode())
