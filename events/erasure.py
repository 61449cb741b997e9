"""Erasing: payloads go, and with them every hash that could confirm a guess at them. The events' places remain.

What remains of an erased event (position, stream, kind, times, size, salted hash) is enough for the chain to verify.
"""

import re
from collections.abc import Sequence, Set
from typing import Final

from events.codec import unpack
from events.dialect import Writer
from events.ids import format_id
from events.schema import contents, erased

_QUARANTINE_ROWS: Final = 500


async def erase_streams(writer: Writer, streams: Sequence[bytes], *, shard: int) -> None:
    """Erase all events of these streams, within a transaction that holds the shard's head.

    Also go: the content hashes of the requests that brought them, which cover the payloads; refused items that name
    what is erased; and stored contents that nobody else holds.
    """
    here = [(shard, stream) for stream in streams]
    keys = [(stream,) for stream in streams]
    rows = await writer.lookup(
        f"SELECT DISTINCT e.receipt_id FROM k JOIN events e ON e.shard = {shard} AND e.stream = k.stream",
        {"stream": "bytea"},
        keys,
    )
    await writer.execute_many(
        "UPDATE events SET payload = NULL, payload_salt = NULL, event_id = NULL "
        "WHERE shard = ?1 AND stream = ?2 AND payload IS NOT NULL",
        here,
    )
    brought = {row[0] for row in rows}
    receipt_ids = brought | await _erase_quarantined(writer, streams, brought, shard)
    await writer.execute_many(
        "UPDATE receipts SET content_hash = NULL, content_salt = NULL WHERE shard = ?1 AND receipt_id = ?2",
        [(shard, receipt_id) for receipt_id in sorted(receipt_ids)],
    )
    await _drop_contents(writer, keys, shard)


async def refuse_from_now_on(writer: Writer, streams: Sequence[bytes], *, shard: int) -> None:
    """Remember streams as erased: `events.log.append` refuses late writes to them."""
    await writer.replace(erased, [(shard, stream) for stream in streams])


async def _erase_quarantined(writer: Writer, streams: Sequence[bytes], brought: Set[int], shard: int) -> set[int]:
    """Erase the bytes of refused items that name what is erased; give the receipts that they came with.

    Nothing says what a refused item was about, so all of them are looked through. One that became an event later, in a
    request of `brought`, need not name it: it may have been given its id then.
    """
    names = re.compile(b"|".join(format_id(stream[1:]).encode() for stream in streams))
    receipt_ids: set[int] = set()
    after = 0
    while rows := await writer.fetch(
        "SELECT quarantine_id, receipt_id, source, codec, raw, retry_receipt_id FROM quarantine "
        "WHERE shard = ?1 AND quarantine_id > ?2 ORDER BY quarantine_id LIMIT ?3",
        *(shard, after, _QUARANTINE_ROWS),
    ):
        kept = [row for row in rows if row[4] is not None]
        found = [row for row in kept if row[5] in brought or names.search(_text(row[2], row[3], bytes(row[4])))]
        await writer.execute_many(
            "UPDATE quarantine SET raw = NULL, raw_salt = NULL WHERE shard = ?1 AND quarantine_id = ?2",
            [(shard, row[0]) for row in found],
        )
        receipt_ids.update(row[1] for row in found)
        after = rows[-1][0]
    return receipt_ids


def _text(source: str, codec: int, raw: bytes) -> bytes:
    return source.lower().encode() + b" " + unpack(codec, raw).lower()


async def _drop_contents(writer: Writer, keys: Sequence[tuple[bytes]], shard: int) -> None:
    rows = await writer.lookup(
        f"SELECT DISTINCT h.hash FROM k JOIN content_holders h ON h.shard = {shard} AND h.stream = k.stream",
        {"stream": "bytea"},
        keys,
    )
    held = {bytes(row[0]) for row in rows}
    await writer.execute_many(f"DELETE FROM content_holders WHERE shard = {shard} AND stream = ?1", keys)
    others = await writer.lookup(
        f"SELECT DISTINCT h.hash FROM k JOIN content_holders h ON h.shard = {shard} AND h.hash = k.hash",
        {"hash": "bytea"},
        [(hash_,) for hash_ in held],
    )
    free = held - {bytes(row[0]) for row in others}
    await writer.delete(contents, [(shard, hash_) for hash_ in sorted(free)])
