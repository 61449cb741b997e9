"""Reading the content store: attachments and fields too large for the log, each stored once, by sha256."""

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.prepared import Prepared, Question, given
from events.schema import SHARD, content_holders, contents


async def read_content(connection: AsyncConnection, content_hash: bytes, *, shard: int = SHARD) -> bytes | None:
    """The bytes with this hash, or None when nothing here has them."""
    query = select(contents.c.body).where(contents.c.shard == shard, contents.c.hash == content_hash)
    body = (await connection.execute(query)).scalar_one_or_none()
    return None if body is None else bytes(body)


def holding_contents(stream: bytes, *, shard: int = SHARD) -> Question[bool]:
    """Whether any event of a stream has a part of it in the content store."""
    return _HELD.asking(bool, shard=shard, stream=stream)


_HELD: Final = Prepared(
    select(content_holders.c.hash)
    .where(content_holders.c.shard == given("shard"), content_holders.c.stream == given("stream"))
    .limit(1)
)
