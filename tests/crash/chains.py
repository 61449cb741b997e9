"""The chains of the log, of receipts and of quarantine, computed anew without the code that made them.

payload_hash = sha256(salt | stored payload)
leaf         = sha256(every column but payload, salt and event_id | the receipt's leaf)
chain        = sha256(previous chain | leaf)
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

_TEXTS: Final = ("endpoint", "request_id", "key_id", "user_agent", "sdk", "sdk_version", "remote_address")
_COUNTS: Final = ("received", "applied", "duplicate", "quarantined")


def broken_receipts(receipts: Sequence[Any], end: bytes) -> Iterator[str]:
    """A sentence for each receipt whose place or chain is not what it must be. `end` is the chain of the head."""
    leaves = [receipt_leaf(receipt) for receipt in receipts]
    numbers = [receipt.receipt_id for receipt in receipts]
    yield from _broken_links("receipt", numbers, leaves, [receipt.chain for receipt in receipts], end)


def broken_events(events: Sequence[Any], leaves: Mapping[int, bytes], end: bytes) -> Iterator[str]:
    """A sentence for each event whose place, payload or chain is not what it must be. `leaves` are the receipts'."""
    for event in events:
        if sha256(event.payload_salt + event.payload).digest() != event.payload_hash:
            yield f"event {event.position}: its payload is not the one that was hashed"
    own = [_event_leaf(event, leaves.get(event.receipt_id, b"")) for event in events]
    numbers = [event.position for event in events]
    yield from _broken_links("event", numbers, own, [event.chain for event in events], end)


def broken_quarantine(items: Sequence[Any], leaves: Mapping[int, bytes], end: bytes) -> Iterator[str]:
    """The same for what is in quarantine."""
    for item in items:
        if sha256(item.raw_salt + item.raw).digest() != item.raw_hash:
            yield f"quarantined item {item.quarantine_id}: its bytes are not those that were hashed"
    own = [_quarantine_leaf(item, leaves.get(item.receipt_id, b"")) for item in items]
    numbers = [item.quarantine_id for item in items]
    yield from _broken_links("quarantined item", numbers, own, [item.chain for item in items], end)


def _broken_links(
    noun: str, numbers: Sequence[int], leaves: Sequence[bytes], chains: Sequence[bytes], end: bytes
) -> Iterator[str]:
    chain = bytes(32)
    for place, (number, leaf, stored) in enumerate(zip(numbers, leaves, chains, strict=True), 1):
        if number != place:
            yield f"{noun} {number} is in place {place}"
        if stored != sha256(chain + leaf).digest():
            yield f"{noun} {number}: its chain is not that of its columns"
        chain = stored
    if chain != end:
        yield f"the head does not end with the chain of the last {noun}"


def receipt_leaf(receipt: Any) -> bytes:
    """The leaf of a receipt, which its events cover."""
    numbers = (
        *((receipt.shard, 2), (receipt.receipt_id, 8), (receipt.received_at, 8)),
        *((getattr(receipt, name), 8) for name in _COUNTS),
        (receipt.content_size, 8),
    )
    texts = (getattr(receipt, name) for name in _TEXTS)
    words = b"".join(b"\0" if text is None else b"\1" + _sized(text.encode()) for text in texts)
    commitment = sha256(receipt.content_salt + receipt.content_hash).digest()
    return sha256(_joined(numbers) + words + commitment + (receipt.repetitions_hash or b"")).digest()


def _event_leaf(event: Any, leaf: bytes) -> bytes:
    numbers = (
        *((event.shard, 2), (event.position, 8), (event.version, 8), (event.recorded_at, 8), (event.receipt_id, 8)),
        *((event.schema_version, 2), (event.codec, 2), (event.payload_size, 8)),
    )
    words = _sized(bytes(event.stream)) + _sized(event.kind.encode())
    return sha256(_joined(numbers) + words + bytes(event.payload_hash) + leaf).digest()


def _quarantine_leaf(item: Any, leaf: bytes) -> bytes:
    numbers = (
        *((item.shard, 2), (item.quarantine_id, 8), (item.receipt_id, 8), (item.recorded_at, 8)),
        *((item.codec, 2), (item.raw_size, 8)),
    )
    words = _sized(item.source.encode()) + _sized(item.reason.encode())
    return sha256(_joined(numbers) + words + bytes(item.raw_hash) + leaf).digest()


def _joined(numbers: Sequence[tuple[int, int]]) -> bytes:
    return b"".join(number.to_bytes(size, "big") for number, size in numbers)


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data
