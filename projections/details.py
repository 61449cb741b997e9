"""What is shown of runs beyond their rows, fetched for a whole page at once, and only what is asked for."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Flag, auto
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.codec import offloaded
from events.ids import parse_id
from events.kinds import RunPatched, RunPosted, run_stream, said
from events.log import RecordedEvent, read_at, read_streams
from events.schema import SHARD
from events.schema import events as events_table
from projections import attachments, feedback, record, rollup, shares, traces
from projections.attachments import Attachment
from projections.feedback import Feedback
from projections.record import Record
from projections.reverts import effective
from projections.rollup import Totals
from projections.runs import RunState, runs
from projections.words import read_text

_ID_CHARS: Final = 36


class Part(Flag):
    """What can be fetched."""

    ROW = 0
    INPUTS = auto()
    OUTPUTS = auto()
    # All that was ever said, inputs and outputs included.
    RECORD = auto()
    # The runs above, where the run's own dotted order does not tell them.
    ABOVE = auto()
    ATTACHMENTS = auto()
    FEEDBACK = auto()
    BELOW = auto()
    TOTALS = auto()
    SHARE = auto()


@dataclass(frozen=True, slots=True)
class Details:
    """A run and what was fetched about it. What was not is empty; totals are then the run's own.

    `above` are its ancestors, its parent first; `below` the runs below it, id and parent of each.
    """

    state: RunState
    record: Record
    attachments: Sequence[Attachment]
    feedback: Sequence[Feedback]
    totals: Totals
    above: Sequence[RunState]
    below: Sequence[tuple[bytes, bytes]] = ()
    share_token: bytes | None = None

    @property
    def parent_ids(self) -> list[bytes]:
        """The ids of the runs above, the root first: as the dotted order tells, else as parents do."""
        if "dotted_order" in self.record.members:
            segments = read_text(self.record.members["dotted_order"]).split(".")
            ids = [parse_id(segment[-_ID_CHARS:]) for segment in segments[:-1]]
            return [id_ for id_ in ids if id_ is not None]
        known = [run.id for run in reversed(self.above)]
        top = self.above[-1].parent_run_id if self.above else self.state.parent_run_id
        return [top, *known] if top is not None and top not in (*known, self.state.id) else known


async def read(
    connection: AsyncConnection, states: Sequence[RunState], parts: Part, *, bytes_max: int, shard: int = SHARD
) -> list[Details]:
    """The runs with these parts: as many of them, from the first on and at least one, as `bytes_max` of payload allow.

    With nothing but rows, all of them.
    """
    if parts & Part.RECORD:
        states = await _within(connection, states, bytes_max, shard)
        records = await _records(connection, states, shard)
    elif parts & (Part.INPUTS | Part.OUTPUTS):
        wanted = [name for name, part in _DOCUMENTS.items() if parts & part]
        records = await _documents(connection, states, wanted, bytes_max, shard)
        states = [state for state in states if state.id in records]
    else:
        records = {}
    ids = [state.id for state in states]
    attached = await attachments.of_runs(connection, ids, shard=shard) if parts & Part.ATTACHMENTS else {}
    told = await _feedback(connection, ids, shard) if parts & Part.FEEDBACK else {}
    totals = await rollup.totals_of(connection, states, shard=shard) if parts & Part.TOTALS else {}
    below = await _below(connection, ids, shard) if parts & Part.BELOW else {}
    shared = await shares.tokens_of(connection, ids, shard=shard) if parts & Part.SHARE else {}
    found = []
    for state in states:
        known = records.get(state.id) or Record()
        above = await _above(connection, state, known, shard) if parts & Part.ABOVE else []
        its_totals = totals.get(state.id) or rollup.own_totals(state)
        pieces = attached.get(state.id, []), told.get(state.id, []), its_totals, above, below.get(state.id, [])
        found.append(Details(state, known, *pieces, shared.get(state.id)))
    return found


_DOCUMENTS: Final = {"inputs": Part.INPUTS, "outputs": Part.OUTPUTS}


async def _within(
    connection: AsyncConnection, states: Sequence[RunState], bytes_max: int, shard: int
) -> Sequence[RunState]:
    streams = [run_stream(state.id) for state in states]
    size = func.sum(events_table.c.payload_size)
    query = select(events_table.c.stream, size).where(events_table.c.shard == shard, events_table.c.stream.in_(streams))
    rows = await connection.execute(query.group_by(events_table.c.stream))
    sizes = {bytes(stream): int(total) for stream, total in rows}
    return states[: _fitting([sizes.get(stream, 0) for stream in streams], bytes_max)]


def _fitting(sizes: Sequence[int], bytes_max: int) -> int:
    """How many of the first of these fit; at least one."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > bytes_max and count:
            return count
    return len(sizes)


async def _records(connection: AsyncConnection, states: Sequence[RunState], shard: int) -> dict[bytes, Record]:
    streams = await read_streams(connection, [run_stream(state.id) for state in states], shard=shard)
    return {stream[1:]: record.fold(effective(events)) for stream, events in streams.items()}


async def _documents(
    connection: AsyncConnection, states: Sequence[RunState], wanted: Collection[str], bytes_max: int, shard: int
) -> dict[bytes, Record]:
    """Records with nothing in them but inputs or outputs, of as many runs as fit."""
    places = {state.id: {name: getattr(state, f"{name}_position") for name in wanted} for state in states}
    positions = list(dict.fromkeys(place for of_run in places.values() for place in of_run.values() if place))
    events = await read_at(connection, positions, bytes_max=bytes_max, shard=shard)
    if len(events) < len(positions):
        # What one run alone brings is told whatever its size.
        first = [place for place in places[states[0].id].values() if place]
        events |= await read_at(connection, first, bytes_max=2**62, shard=shard)
    found: dict[bytes, Record] = {}
    for id_, of_run in places.items():
        if any(place and place not in events for place in of_run.values()):
            break
        found[id_] = _record_of({name: events[place] for name, place in of_run.items() if place})
    return found


def _record_of(told: Mapping[str, RecordedEvent]) -> Record:
    made = Record()
    for name, event in told.items():
        match event.body:
            case RunPosted(fields=fields) | RunPatched(fields=fields):
                moved = offloaded(fields.contents).get(name)
                raw = bytes(getattr(fields, name))
                if moved is not None:
                    made.moved[name] = moved
                elif said(raw):
                    made.members[name] = raw
            case _:
                pass  # The payload was erased since the row was read.
    return made


async def _feedback(connection: AsyncConnection, ids: Sequence[bytes], shard: int) -> dict[bytes, list[Feedback]]:
    found: dict[bytes, list[Feedback]] = {}
    for one in await feedback.of_runs(connection, ids, shard=shard):
        if one.run_id is not None:
            found.setdefault(one.run_id, []).append(one)
    return found


async def _below(
    connection: AsyncConnection, ids: Sequence[bytes], shard: int
) -> dict[bytes, list[tuple[bytes, bytes]]]:
    """The runs below each of these, id and parent. In a cycle a run is below itself, and left out there."""
    table = runs
    edge = (table.c.shard == shard) & (table.c.is_placeholder == 0)
    first = select(table.c.parent_run_id.label("top"), table.c.id, table.c.parent_run_id.label("parent"))
    below = first.where(edge, table.c.parent_run_id.in_(ids)).cte("below", recursive=True)
    # Without ALL, so that an edge that was found already ends it.
    further = select(below.c.top, table.c.id, table.c.parent_run_id).where(edge, table.c.parent_run_id == below.c.id)
    found: dict[bytes, list[tuple[bytes, bytes]]] = {}
    for top, id_, parent in await connection.execute(select(below.union(further))):
        if id_ != top:
            found.setdefault(bytes(top), []).append((bytes(id_), bytes(parent)))
    return found


async def _above(connection: AsyncConnection, state: RunState, known: Record, shard: int) -> Sequence[RunState]:
    if state.parent_run_id is None or "dotted_order" in known.members:
        return []
    return await traces.ancestors(connection, state, shard=shard)
