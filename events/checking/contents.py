"""Checking contents: each has the hash and the size that it is known by, and who is said to hold it does."""

from hashlib import sha256

from events.checking.events import CONTENT_KINDS, EVENT_COLUMNS, OFFLOADED, LoggedRow, contents_held
from events.checking.rows import UNREADABLE, read_known, sized, stream_name
from events.checking.slices import Checked, Slice
from events.codec import unpack
from events.dialect import Snapshot


async def check_contents(snapshot: Snapshot, part: Slice) -> Checked:
    """Each content has the hash and the size that it is known by, and somebody holds it."""
    rows = await snapshot.fetch(
        f"SELECT hash, size, {sized('body')} FROM contents WHERE shard = ?1 AND hash > ?2 AND hash <= ?3 ORDER BY hash",
        *(part.shard, part.after, part.upto),
    )
    held = await read_known(snapshot, "content_holders", {"hash": "bytea"}, {(row[0],) for row in rows}, part.shard)
    checked = Checked(rows=len(rows))
    for hash_, size, stored_size, body in rows:
        if body is None:
            query = "SELECT body FROM contents WHERE shard = ?1 AND hash = ?2"
            body = (await snapshot.fetch(query, part.shard, hash_))[0][0]
        errors = []
        if not isinstance(body, bytes) or sha256(body).digest() != hash_:
            errors.append("its bytes do not have this hash")
        if size != stored_size:
            errors.append(f"it has {stored_size} bytes, not {size}")
        if (hash_,) not in held:
            errors.append("nothing holds it")
        checked.find_all("content", hash_.hex(), errors, 0)
    return checked


async def check_holders(snapshot: Snapshot, part: Slice) -> Checked:
    """Each stream that is said to hold a content has an event that says so, and the content is there."""
    rows = await snapshot.fetch(
        "SELECT h.stream, h.hash, (SELECT 1 FROM contents c WHERE c.shard = h.shard AND c.hash = h.hash) "
        "FROM content_holders h WHERE h.shard = ?1 AND h.stream > ?2 AND h.stream <= ?3 ORDER BY h.stream, h.hash",
        *(part.shard, part.after, part.upto),
    )
    kinds = ", ".join(f"'{kind}'" for kind in CONTENT_KINDS)
    events = await snapshot.lookup(
        f"SELECT {EVENT_COLUMNS}, length(e.payload), e.payload FROM k "
        f"JOIN events e ON e.shard = {part.shard} AND e.stream = k.stream "
        f"WHERE e.payload IS NOT NULL AND (e.kind IN ({kinds}) OR (e.codec & {OFFLOADED}) <> 0)",
        {"stream": "bytea"},
        [(stream,) for stream in {row[0] for row in rows}],
    )
    told = {(event.stream, hash_) for event in map(LoggedRow._make, events) for hash_ in _told(event)}
    checked = Checked(rows=len(rows))
    for stream, hash_, is_there in rows:
        errors = [] if is_there else [f"it is missing, and {stream_name(stream)} holds it"]
        if (stream, hash_) not in told:
            errors.append(f"{stream_name(stream)} is said to hold it, but no event of it does")
        checked.find_all("content", hash_.hex(), errors, 0)
    return checked


def _told(event: LoggedRow) -> list[bytes]:
    assert event.stored is not None
    try:
        return contents_held(event, unpack(event.codec, event.stored))
    except UNREADABLE:
        return []
