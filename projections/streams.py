"""Which streams of the log tell of a trace."""

from sqlalchemy import select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from events.kinds import TraceErased, feedback_stream, run_stream, share_stream, trace_stream
from events.log import read_stream
from events.schema import SHARD
from projections.feedback import feedback
from projections.feedback_tokens import feedback_tokens
from projections.runs import runs
from projections.shares import shares


async def streams_of_trace(connection: AsyncConnection, trace_id: bytes, *, shard: int = SHARD) -> list[bytes]:
    """The streams of a trace as it is now: of its runs, of feedback on them, of shares, and of the trace itself.

    Of a trace that was erased also those that the erasure names. An unknown trace has its own stream alone.
    """
    whole = trace_stream(trace_id)
    in_trace = select(runs.c.id).where(runs.c.shard == shard, runs.c.trace_id == trace_id, runs.c.is_placeholder == 0)
    here = select(feedback.c.id).where(feedback.c.shard == shard)
    tokens = select(feedback_tokens.c.id).where(feedback_tokens.c.shard == shard)
    on_it = union_all(
        here.where(feedback.c.trace_id == trace_id),
        here.where(feedback.c.run_id.in_(in_trace)),
        tokens.where(feedback_tokens.c.run_id.in_(in_trace)),
    )
    found = {whole}
    found.update(run_stream(bytes(id_)) for id_ in (await connection.execute(in_trace)).scalars())
    found.update(feedback_stream(bytes(id_)) for id_ in (await connection.execute(on_it)).scalars())
    shared = select(shares.c.run_id).where(shares.c.shard == shard, shares.c.run_id.in_(in_trace))
    found.update(share_stream(bytes(id_)) for id_ in (await connection.execute(shared)).scalars())
    for event in await read_stream(connection, whole, shard=shard):
        if isinstance(event.body, TraceErased):
            found.update(event.body.streams)
    return sorted(found)
