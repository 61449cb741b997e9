"""The projects: every name that a run or a client gave to one. LangSmith's API calls them sessions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, PrimaryKeyConstraint, SmallInteger, Table, Text, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Writer
from events.ids import format_id
from events.kinds import ProjectCreated, RunPatched, RunPosted
from events.log import RecordedEvent
from events.schema import SHARD, metadata
from projections.runs import DEFAULT_PROJECT, DEFAULT_PROJECT_ID, NAME_CHARS_MAX, column_text, project_named

projects: Final = Table(
    "projects",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("id", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    Column("first_recorded_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("shard", "id", name="projects_pk"),
    Index("projects_name", "shard", "name"),
)
UNDUMPED: Final = frozenset({"first_recorded_at"})


@dataclass(frozen=True, slots=True)
class Project:
    """A project: its id, its name, and when the log first heard of it (µs)."""

    id: bytes
    name: str
    first_recorded_at: int


def fold(known: Iterable[Project], events: Iterable[RecordedEvent]) -> dict[bytes, Project]:
    """The projects after the events. One that is only known by its id goes by that id until it gets a name."""
    folded = {project.id: project for project in known}
    for event in events:
        for id_, name in _named(event):
            before = folded.get(id_)
            if before is None:
                folded[id_] = Project(id_, name or format_id(id_), event.recorded_at)
            elif name is not None and name != before.name:
                folded[id_] = Project(id_, name, before.first_recorded_at)
    return folded


def _named(event: RecordedEvent) -> Sequence[tuple[bytes, str | None]]:
    match event.body:
        case RunPosted(fields=fields) | RunPatched(fields=fields):
            named = project_named(fields)
            return [(DEFAULT_PROJECT_ID, DEFAULT_PROJECT) if named is None else named]
        case ProjectCreated(project_id=id_, name=name):
            return [(id_, name)]
        case _:
            return []


async def apply(writer: Writer, events: Sequence[RecordedEvent], *, shard: int) -> None:
    """Fold the events into the stored projects, within the writer's transaction."""
    ids = {id_ for event in events for id_, _ in _named(event)}
    rows = await writer.lookup(
        f"SELECT p.id, p.name, p.first_recorded_at FROM k JOIN projects p ON p.shard = {shard} AND p.id = k.id",
        {"id": "bytea"},
        [(id_,) for id_ in ids],
    )
    known = {bytes(row[0]): Project(bytes(row[0]), row[1], row[2]) for row in rows}
    folded = fold(known.values(), events)
    changed = [project for id_, project in folded.items() if known.get(id_) != project]
    await writer.replace(projects, [(shard, p.id, p.name, p.first_recorded_at) for p in changed])


async def ids_of(connection: AsyncConnection, names: Sequence[str], *, shard: int = SHARD) -> list[bytes]:
    """The ids of the projects that bear all of these names: of none, when the names differ or nobody bears them."""
    if len(set(names)) != 1:
        return []
    name = column_text(names[0], NAME_CHARS_MAX)
    query = select(projects.c.id).where(projects.c.shard == shard, projects.c.name == name)
    return [bytes(id_) for id_ in (await connection.execute(query)).scalars()]


async def find(
    connection: AsyncConnection,
    *,
    name: str | None = None,
    ids: Sequence[bytes] | None = None,
    limit: int = 100,
    offset: int = 0,
    shard: int = SHARD,
) -> list[Project]:
    """Projects, the newest first; by exact name or by ids when given."""
    query = select(projects.c.id, projects.c.name, projects.c.first_recorded_at).where(projects.c.shard == shard)
    if name is not None:
        query = query.where(projects.c.name == name)
    if ids is not None:
        query = query.where(projects.c.id.in_(ids))
    query = query.order_by(projects.c.first_recorded_at.desc(), projects.c.id).limit(limit).offset(offset)
    return [Project(bytes(row.id), row.name, row.first_recorded_at) for row in await connection.execute(query)]
