"""Erasing: payloads go, and with them every hash that could confirm a guess at them. The events' places remain.

What remains of an erased event (position, stream, kind, times, size, salted hash) is enough for the chain to verify.
"""

from collections.abc import Sequence

from events.codec import unpack
from events.dialect import Writer
from events.ids import format_id
from events.schema import contents, erased


async def erase_streams(writer: Writer, streams: Sequence[bytes], *, shard: int) -> None:
    """Erase all events of these streams, within a transaction that holds the shard's head.

    Also goes: the content hash of the requests that brought them, which covers the payloads; what of those requests is
    in quarantine; and stored contents that nobody else holds.
    """
    here = [(shard, stream) for stream in streams]
    keys = [(stream,) for stream in streams]
    rows = await writer.lookup(
        f"SELECT DISTINCT e.receipt_id FROM k JOIN events e ON e.shard = {shard} AND e.stream = k.stream",
        {"stream": "bytea"},
        keys,
    )
    receipts = [(shard, receipt_id) for receipt_id in sorted({row[0] for row in rows})]
    await writer.execute_many(
        "UPDATE events SET payload = NULL, payload_salt = NULL, event_id = NULL "
        "WHERE shard = ?1 AND stream = ?2 AND payload IS NOT NULL",
        here,
    )
    await writer.execute_many(
        "UPDATE receipts SET content_hash = NULL, content_salt = NULL WHERE shard = ?1 AND receipt_id = ?2", receipts
    )
    await _erase_quarantined(writer, streams, receipts)
    await _drop_contents(writer, keys, shard)


async def refuse_from_now_on(writer: Writer, streams: Sequence[bytes], *, shard: int) -> None:
    """Remember streams as erased: `events.log.append` refuses late writes to them."""
    await writer.replace(erased, [(shard, stream) for stream in streams])


async def _erase_quarantined(
    writer: Writer, streams: Sequence[bytes], receipts: Sequence[tuple[int, int]]
) -> None:
    """Erase the bytes of refused items that came in the same requests and name what is erased."""
    names = [format_id(stream[1:]).encode() for stream in streams]
    for shard, receipt_id in receipts:
        rows = await writer.fetch(
            "SELECT quarantine_id, source, codec, raw FROM quarantine "
            "WHERE shard = ?1 AND receipt_id = ?2 AND raw IS NOT NULL",
            shard,
            receipt_id,
        )
        for quarantine_id, source, codec, raw in rows:
            text = source.lower().encode() + unpack(codec, bytes(raw)).lower()
            if any(name in text for name in names):
                await writer.execute(
                    "UPDATE quarantine SET raw = NULL WHERE shard = ?1 AND quarantine_id = ?2", shard, quarantine_id
                )


async def _drop_contents(writer: Writer, keys: Sequence[tuple[bytes]], shard: int) -> None:
    rows = await writer.lookup(
        f"SELECT DISTINCT h.hash FROM k JOIN content_holders h ON h.shard = {shard} AND h.stream = k.stream",
        {"stream": "bytea"},
        keys,
    )
    held = {bytes(row[0]) for row in rows}
    await writer.execute_many(
        f"DELETE FROM content_holders WHERE shard = {shard} AND stream = ?1", keys
    )
    others = await writer.lookup(
        f"SELECT DISTINCT h.hash FROM k JOIN content_holders h ON h.shard = {shard} AND h.hash = k.hash",
        {"hash": "bytea"},
        [(hash_,) for hash_ in held],
    )
    free = held - {bytes(row[0]) for row in others}
    await writer.delete(contents, [(shard, hash_) for hash_ in sorted(free)])
