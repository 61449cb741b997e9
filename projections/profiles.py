"""The profiles of projects: what people said of a project, as against what follows from the runs in it.

A project that only runs name has none. One that was deleted keeps its profile, emptied, so that what is written to its
runs later does not bring it back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Any, Final

from sqlalchemy import BigInteger, Column, LargeBinary, PrimaryKeyConstraint, SmallInteger, Table, Text, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Row, Writer
from events.ids import format_id
from events.jsontext import clean, split_object
from events.kinds import ProjectCreated, ProjectDeleted, ProjectPatched, ProjectRenamed
from events.log import RecordedEvent
from events.schema import SHARD, metadata
from events.upcasters import joined
from projections import naming
from projections.naming import Grant
from projections.words import NAME_CHARS_MAX, column_text, project_id_of, read_id, read_text, read_time

DESCRIPTION_CHARS_MAX: Final = 100_000

profiles: Final = Table(
    "profiles",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("project_id", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    Column("is_deleted", SmallInteger, nullable=False),
    Column("description", Text),
    # Clean JSON: `extra`, and an object of the members that only LangSmith's own service looks at.
    Column("extra", Text),
    Column("others", Text),
    Column("start_time", BigInteger),
    Column("end_time", BigInteger),
    Column("reference_dataset_id", LargeBinary),
    PrimaryKeyConstraint("shard", "project_id", name="profiles_pk"),
)

OTHERS: Final = ("default_dataset_id", "trace_tier", "longlived_ttl_days", "num_examples", "num_repetitions")
"""Members of a project that are kept as they come, and given back."""
MEMBERS: Final = ("description", "extra", "start_time", "end_time", "reference_dataset_id", *OTHERS)
"""What can be said of a project beside its name."""

KINDS: Final = (ProjectCreated, ProjectPatched, ProjectRenamed, ProjectDeleted)


@dataclass(frozen=True, slots=True)
class Profile:
    """What was said of a project. Times in µs; `extra` and `others` are clean JSON text."""

    project_id: bytes
    name: str
    is_deleted: int
    description: str | None
    extra: str | None
    others: str | None
    start_time: int | None
    end_time: int | None
    reference_dataset_id: bytes | None


_COLUMNS: Final = tuple(field.name for field in fields(Profile))


def fold(state: Profile | None, event: RecordedEvent) -> Profile | None:
    """The profile after one more event of the project's stream. After a deletion nothing counts any more."""
    if not isinstance(event.body, KINDS) or (state is not None and state.is_deleted):
        return state
    before = state or _begin(event)
    match event.body:
        case ProjectCreated(name=name, members=members):
            return _taken(replace(before, name=column_text(name, NAME_CHARS_MAX)), members)
        case ProjectPatched(members=members):
            return _taken(before, members)
        case ProjectRenamed(name=name):
            return replace(before, name=column_text(name, NAME_CHARS_MAX))
        case ProjectDeleted(name=name):
            return replace(_begin(event), name=column_text(name, NAME_CHARS_MAX), is_deleted=1)


def _begin(event: RecordedEvent) -> Profile:
    id_ = event.stream[1:]
    return Profile(id_, format_id(id_), 0, None, None, None, None, None, None)


def _taken(state: Profile, said: Mapping[str, bytes]) -> Profile:
    told = {name: raw for name, raw in said.items() if name in MEMBERS and raw != b"null"}
    changes: dict[str, Any] = {}
    if "description" in told:
        changes["description"] = column_text(read_text(told["description"]), DESCRIPTION_CHARS_MAX)
    if "extra" in told:
        changes["extra"] = clean(told["extra"]).decode()
    if "reference_dataset_id" in told:
        changes["reference_dataset_id"] = read_id(told["reference_dataset_id"])
    for name in ("start_time", "end_time"):
        if name in told:
            changes[name] = read_time(told[name])
    others: dict[str, bytes] = {name: clean(told[name]) for name in OTHERS if name in told}
    if others:
        changes["others"] = _merged(state.others, others)
    return replace(state, **changes)


def _merged(before: str | None, others: Mapping[str, bytes]) -> str:
    known = {} if before is None else split_object(before.encode())
    return joined({**known, **others}).decode()


def grants_of(event: RecordedEvent) -> list[Grant]:
    """What names stand for from this event on."""
    match event.body:
        case ProjectCreated(project_id=id_, name=name) if project_id_of(name) != id_:
            return [(project_id_of(name), event.position, id_)]
        case ProjectRenamed(project_id=id_, name=name, former_name=former, successor_id=successor):
            return [(project_id_of(former), event.position, successor), (project_id_of(name), event.position, id_)]
        case ProjectDeleted(name=name, successor_id=successor):
            return [(project_id_of(name), event.position, successor)]
        case _:
            return []


async def apply(writer: Writer, events: Sequence[RecordedEvent], *, shard: int) -> None:
    """Fold the events into the stored profiles and what names stand for, within the writer's transaction."""
    told = [event for event in events if isinstance(event.body, KINDS)]
    if not told:
        return
    states: dict[bytes, Profile | None] = dict(await load(writer, {event.stream[1:] for event in told}, shard=shard))
    for event in told:
        states[event.stream[1:]] = fold(states.get(event.stream[1:]), event)
    await writer.replace(profiles, [as_row(shard, state) for state in states.values() if state is not None])
    await naming.note(writer, [grant for event in told for grant in grants_of(event)], shard=shard)


def as_row(shard: int, profile: Profile) -> tuple[Any, ...]:
    """The row of a profile, in the order of the table's columns."""
    return shard, *astuple(profile)


async def load(writer: Writer, ids: Iterable[bytes], *, shard: int) -> dict[bytes, Profile]:
    """The stored profiles of these projects, those of deleted ones included, within the writer's transaction."""
    columns = ", ".join(f"p.{name}" for name in _COLUMNS)
    rows = await writer.lookup(
        f"SELECT {columns} FROM k JOIN {writer.name_of(profiles)} p ON p.shard = {shard} AND p.project_id = k.id",
        {"id": "bytea"},
        [(id_,) for id_ in ids],
    )
    return {profile.project_id: profile for profile in map(_profile, rows)}


async def of_projects(connection: AsyncConnection, ids: Sequence[bytes], *, shard: int = SHARD) -> dict[bytes, Profile]:
    """The profiles of these projects, by id; those that nobody said anything of are left out."""
    query = select(*(profiles.c[name] for name in _COLUMNS)).where(
        profiles.c.shard == shard, profiles.c.project_id.in_(ids)
    )
    return {profile.project_id: profile for profile in map(_profile, await connection.execute(query))}


def _profile(row: Row) -> Profile:
    id_, name, is_deleted, description, extra, others, start, end, dataset = row
    return Profile(bytes(id_), name, is_deleted, description, extra, others, start, end, dataset and bytes(dataset))
