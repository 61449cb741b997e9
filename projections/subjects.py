"""Runs as filters ask about them, where SQL gave bounds only: their rows, and what is fetched from the log for them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from events.codec import Offloaded, offloaded
from events.contents import read_content
from events.jsontext import NotJSON, loads
from events.kinds import RunPatched, RunPosted, run_stream, said
from events.log import RecordedEvent, read_at, read_streams
from events.schema import SHARD
from projections import feedback as feedback_of
from projections import feedback_stats, pairs, record, rollup
from projections.feedback import Feedback
from projections.filters import evaluating
from projections.filters.conditions import (
    All,
    AnyOf,
    Condition,
    Contains,
    Document,
    Family,
    Field,
    Like,
    Not,
    OneOf,
    Ordered,
    Search,
    SomePair,
    Value,
)
from projections.filters.evaluating import Pair
from projections.record import Record
from projections.reverts import effective
from projections.rollup import Totals
from projections.runs import RunState
from projections.words import ERROR_CHARS_MAX, read_text

_RUNS_BYTES_MAX: Final = 256 * 1024 * 1024
_DOCUMENT_OF: Final[Mapping[Family, Document]] = {"input": "inputs", "output": "outputs"}
_COLUMN_OF: Final = {"session_id": "project_id", "status": "langsmith_status"}


@dataclass(frozen=True, slots=True)
class Needs:
    """What has to be fetched to answer a condition, besides rows."""

    inputs: bool = False
    outputs: bool = False
    feedback: bool = False
    totals: bool = False
    # Everything that was ever said of the run.
    record: bool = False

    def __or__(self, other: "Needs") -> "Needs":
        return Needs(
            self.inputs or other.inputs,
            self.outputs or other.outputs,
            self.feedback or other.feedback,
            self.totals or other.totals,
            self.record or other.record,
        )


def needs_of(condition: Condition) -> Needs:
    """What has to be fetched to answer the condition about any run."""
    match condition:
        case All(conditions) | AnyOf(conditions):
            needs = Needs()
            for one in conditions:
                needs |= needs_of(one)
            return needs
        case Not(inner):
            return needs_of(inner)
        case OneOf(asked, _) | Ordered(asked, _, _) | Like(asked, _):
            return Needs(totals=asked.name in rollup.AMOUNTS)
        case SomePair(family, _):
            return Needs(inputs=family == "input", outputs=family == "output", feedback=family == "feedback")
        case Contains(document, _):
            return Needs(document == "inputs", document == "outputs", record=document == "metadata")
        case Search(fields, _):
            return Needs("inputs" in fields, "outputs" in fields)
        case _:
            return Needs()


@dataclass(slots=True)
class Fetched:
    """What was fetched for some runs, by their ids."""

    documents: dict[tuple[bytes, Document], Any] = field(default_factory=dict)
    feedback: dict[bytes, list[Feedback]] = field(default_factory=dict)
    totals: Mapping[bytes, Totals] = field(default_factory=dict)
    records: dict[bytes, Record] = field(default_factory=dict)


class RunSubject:
    """A run that is asked about: see `projections.filters.evaluating.Subject`."""

    def __init__(self, state: RunState, fetched: Fetched) -> None:
        self._state = state
        self._fetched = fetched

    def value(self, field: Field) -> Value | None:
        """The run's value of a field; None when it is not said."""
        state = self._state
        match field.name:
            case "latency":
                return None if state.end_time is None else max(state.end_time - state.start_time, 0)
            case "execution_order":
                return 1 if state.is_root else None
            case "has_inputs":
                return int(state.inputs_position is not None)
            case name if name in rollup.AMOUNTS:
                amount: int | None = getattr(self._fetched.totals[state.id], name)
                return amount
            case name:
                value: Value | None = getattr(state, _COLUMN_OF.get(name, name))
                return value

    def tags(self) -> Iterable[str]:
        """The run's tags."""
        tags: list[str] = [] if self._state.tags is None else loads(self._state.tags.encode())
        return tags

    def pairs(self, family: Family) -> Iterable[Pair]:
        """The run's pairs of a family."""
        if family == "feedback":
            return map(_feedback_pair, self._fetched.feedback.get(self._state.id, ()))
        if family == "metadata":
            return self._metadata_pairs()
        return evaluating.pairs_of(self.document(_DOCUMENT_OF[family]))

    def document(self, document: Document) -> Any:
        """The run's inputs, outputs or metadata as a JSON value."""
        if document == "metadata":
            return {key: _value(raw) for key, raw in self._fetched.records[self._state.id].metadata.items()}
        return self._fetched.documents.get((self._state.id, document))

    def texts(self, field: str) -> Iterable[str]:
        """The texts in which a search looks for words."""
        match field:
            case "inputs" | "outputs":
                return evaluating.texts_in(self._fetched.documents.get((self._state.id, field)))
            case "tags":
                return self.tags()
            case "metadata":
                return (str(text) for pair in self._metadata_pairs() for text in pair.values())
            case "error":
                told = self._fetched.records.get(self._state.id)
                return [
                    read_text(told.members["error"]) if told and "error" in told.members else self._state.error or ""
                ]
            case _:
                return [getattr(self._state, field)]

    def _error(self) -> str:
        told = self._fetched.records.get(self._state.id)
        if told is not None and "error" in told.members:
            return read_text(told.members["error"])
        return self._state.error or ""

    def _metadata_pairs(self) -> Iterable[Pair]:
        if self._state.id in self._fetched.records:
            told = self._fetched.records[self._state.id].metadata
            return [{"key": key, "value": pairs.value_text(_value(raw))} for key, raw in told.items() if raw != b"null"]
        return [{"key": pair.key, "value": pair.value} for pair in pairs.read(self._state.metadata).pairs]


async def holding(
    connection: AsyncConnection, condition: Condition, states: Sequence[RunState], *, shard: int = SHARD
) -> list[RunState]:
    """Those of the runs of which the condition holds, in the order given."""
    fetched = await _fetch(connection, condition, states, shard)
    return [state for state in states if evaluating.holds(condition, RunSubject(state, fetched))]


async def _fetch(connection: AsyncConnection, condition: Condition, states: Sequence[RunState], shard: int) -> Fetched:
    needs = needs_of(condition)
    fetched = Fetched()
    wanted: list[Document] = [name for name in ("inputs", "outputs") if getattr(needs, name)]
    for document in wanted:
        fetched.documents.update(await _documents(connection, states, document, shard))
    if needs.feedback:
        for one in await feedback_of.of_runs(connection, [state.id for state in states], shard=shard):
            if one.run_id is not None:
                fetched.feedback.setdefault(one.run_id, []).append(one)
    if needs.totals:
        fetched.totals = await rollup.totals_of(connection, states, shard=shard)
    in_part = [state.id for state in states if needs.record or _is_told_in_part(condition, state)]
    if in_part:
        streams = await read_streams(connection, [run_stream(id_) for id_ in in_part], shard=shard)
        fetched.records = {stream[1:]: record.fold(effective(events)) for stream, events in streams.items()}
    return fetched


def _is_told_in_part(condition: Condition, state: RunState) -> bool:
    """Whether the row holds only the beginning of something that the condition looks at."""
    match condition:
        case All(conditions) | AnyOf(conditions):
            return any(_is_told_in_part(one, state) for one in conditions)
        case Not(inner):
            return _is_told_in_part(inner, state)
        case SomePair("metadata", _):
            return _is_metadata_cut(state)
        case Search(fields, _):
            is_error_cut = state.error is not None and len(state.error) >= ERROR_CHARS_MAX
            return ("error" in fields and is_error_cut) or ("metadata" in fields and _is_metadata_cut(state))
        case _:
            return False


def _is_metadata_cut(state: RunState) -> bool:
    held = pairs.read(state.metadata)
    return not held.is_whole or any(pair.is_cut for pair in held.pairs)


async def _documents(
    connection: AsyncConnection, states: Sequence[RunState], document: Document, shard: int
) -> dict[tuple[bytes, Document], Any]:
    places: dict[bytes, int | None] = {state.id: getattr(state, f"{document}_position") for state in states}
    positions = [position for position in places.values() if position is not None]
    events = await read_at(connection, positions, bytes_max=_RUNS_BYTES_MAX, shard=shard)
    found = {}
    for id_, position in places.items():
        if position is not None and position in events:
            value = await _document_in(connection, events[position], document, shard)
            # As it is shown: readers expect an object.
            found[id_, document] = value if isinstance(value, dict) or value is None else {document[:-1]: value}
    return found


async def _document_in(connection: AsyncConnection, event: RecordedEvent, document: Document, shard: int) -> Any:
    match event.body:
        case RunPosted(fields=fields) | RunPatched(fields=fields):
            moved: Offloaded | None = offloaded(fields.contents).get(document)
            if moved is not None:
                return _value(await read_content(connection, bytes.fromhex(moved.hash), shard=shard) or b"null")
            raw = bytes(getattr(fields, document))
            return _value(raw) if said(raw) else None
        case _:
            return None


def _feedback_pair(told: Feedback) -> Pair:
    value, comment, source = (feedback_stats.member(told, name) for name in ("value", "comment", "feedback_source"))
    return {
        "key": told.key,
        "score": feedback_stats.number(told),
        "value": None if value is None else pairs.value_text(value),
        "comment": None if comment is None else pairs.value_text(comment),
        "source": str(source["type"]) if isinstance(source, dict) and "type" in source else None,
    }


def _value(raw: bytes) -> Any:
    try:
        return loads(raw)
    except NotJSON:
        return raw.decode("utf-8", "replace")
