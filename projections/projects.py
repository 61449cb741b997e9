"""The projects: those that have runs, and those that someone created. LangSmith's API calls them sessions.

A project is there while a run is in it, or because it was created. That follows from the runs as they are now, and so
does not depend on the order in which they came or on runs that are gone. One that was deleted is not there, whatever
runs are in it: nor are these (`is_there`).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Writer
from events.ids import format_id
from events.prepared import Prepared, given
from events.schema import SHARD, metadata
from projections import profiles
from projections.profiles import Profile
from projections.recent import Recent
from projections.runs import Turn, gives_project_name
from projections.words import DEFAULT_PROJECT, DEFAULT_PROJECT_ID, NAME_CHARS_MAX, column_text

projects: Final = Table(
    "projects",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("id", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    Column("runs", BigInteger, nullable=False),
    # How many of them give its name. Without any, and unless it was created, it goes by its id.
    Column("namers", BigInteger, nullable=False),
    # 1 when someone created it, so that it stays without runs.
    Column("is_created", SmallInteger, nullable=False),
    Column("first_recorded_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("shard", "id", name="projects_pk"),
    Index("projects_name", "shard", "name"),
)
UNDUMPED: Final = frozenset({"first_recorded_at"})


@dataclass(frozen=True, slots=True)
class Project:
    """A project: its id and name, how many runs are in it, how many of these name it, and when it came to be (µs)."""

    id: bytes
    name: str
    runs: int
    namers: int
    is_created: int
    first_recorded_at: int


_COLUMNS: Final = tuple(field.name for field in fields(Project))
_SELECTED: Final = ", ".join(f"p.{name}" for name in _COLUMNS)


def fold(
    known: Mapping[bytes, Project],
    turns: Iterable[Turn],
    names: Mapping[bytes, str],
    told: Mapping[bytes, int],
    said: Mapping[bytes, Profile],
) -> dict[bytes, Project | None]:
    """The projects that change, as they are then; None for one that is no more.

    `names` are those that the turns rest on, `told` when somebody said something of a project (µs). `said` has the
    profiles that changed, and those of projects that are not known. A project goes by the name that somebody gave it,
    else by the one that a run in it gives, and otherwise by its id: that depends on no order, and a replay finds the
    same.
    """
    counts: Counter[bytes] = Counter()
    namers: Counter[bytes] = Counter()
    heard_at: dict[bytes, int] = {}
    for old, new in turns:
        if old is not None and not old.is_placeholder:
            counts[old.project_id] -= 1
            namers[old.project_id] -= gives_project_name(old)
        if new is not None and not new.is_placeholder:
            counts[new.project_id] += 1
            namers[new.project_id] += gives_project_name(new)
            heard_at[new.project_id] = new.last_recorded_at
    heard_at.update(told)
    folded: dict[bytes, Project | None] = {}
    for id_ in told.keys() | counts.keys():
        profile = said.get(id_)
        if profile is not None and profile.is_deleted:
            folded[id_] = None
            continue
        before = described(known.get(id_) or begin(id_, heard_at.get(id_, 0)), profile)
        after = replace(
            before,
            name=before.name if before.is_created else names.get(id_, before.name),
            runs=before.runs + counts[id_],
            namers=before.namers + namers[id_],
        )
        if min(after.runs, after.namers) < 0:
            raise ValueError(f"the project {after.name} would have {after.runs} runs, {after.namers} of which name it")
        folded[id_] = settled(after) if after.runs or after.is_created else None
    return folded


def begin(project_id: bytes, recorded_at: int) -> Project:
    """A project that is not there yet."""
    return settled(Project(project_id, "", 0, 0, 0, recorded_at))


def described(project: Project, profile: Profile | None) -> Project:
    """The project with what its profile says of it, if somebody said something."""
    return project if profile is None else replace(project, name=profile.name, is_created=1)


def settled(project: Project) -> Project:
    """The project with the name that it goes by."""
    if project.is_created or project.namers:
        return project
    name = DEFAULT_PROJECT if project.id == DEFAULT_PROJECT_ID else format_id(project.id)
    return replace(project, name=name)


async def apply(
    writer: Writer,
    turns: Sequence[Turn],
    names: Mapping[bytes, str],
    told: Mapping[bytes, int],
    recent: Recent[bytes, Project],
    *,
    shard: int,
) -> None:
    """Fold turns, and what `fold` takes beside them, into the stored projects, within the writer's transaction.

    The profiles come first. `recent` are some projects as they are.
    """
    ids = {state.project_id for turn in turns for state in turn if state is not None} | told.keys()
    known = {id_: recent[id_] for id_ in ids if id_ in recent}
    known |= await _load(writer, ids - known.keys(), shard)
    said = await profiles.load(writer, told.keys() | (ids - known.keys()), shard=shard)
    folded = fold(known, turns, names, told, said)
    await writer.replace(projects, [(shard, *astuple(p)) for id_, p in folded.items() if p and p != known.get(id_)])
    await writer.delete(projects, [(shard, id_) for id_, p in folded.items() if p is None and id_ in known])
    for id_, project in folded.items():
        recent.note(id_, project)


async def add(writer: Writer, counted: Mapping[bytes, Project], *, shard: int) -> None:
    """Add what was counted elsewhere to the stored projects, within the writer's transaction."""
    stored = await _load(writer, counted, shard)
    said = await profiles.load(writer, counted, shard=shard)
    there = {id_: project for id_, project in counted.items() if id_ not in said or not said[id_].is_deleted}
    sums = [merged(stored[id_], project) if id_ in stored else project for id_, project in there.items()]
    rows = [settled(described(project, said.get(project.id))) for project in sums]
    await writer.replace(projects, [(shard, *astuple(project)) for project in rows])


def merged(one: Project, other: Project) -> Project:
    """What two counts of one project make together."""
    return Project(
        one.id,
        other.name if other.is_created or not (one.is_created or one.namers) else one.name,
        one.runs + other.runs,
        one.namers + other.namers,
        int(one.is_created or other.is_created),
        min(one.first_recorded_at, other.first_recorded_at),
    )


async def _load(writer: Writer, ids: Collection[bytes], shard: int) -> dict[bytes, Project]:
    if not ids:
        return {}
    rows = await writer.lookup(
        f"SELECT {_SELECTED} FROM k JOIN {writer.name_of(projects)} p ON p.shard = {shard} AND p.id = k.id",
        {"id": "bytea"},
        [(id_,) for id_ in ids],
    )
    return {project.id: project for project in (Project(bytes(row[0]), *row[1:]) for row in rows)}


def is_there(project_id: ColumnElement[bytes], *, shard: int | ColumnElement[Any] = SHARD) -> ColumnElement[bool]:
    """Whether what belongs to a project is to be seen: not when the project was deleted."""
    there = projects.alias("there")
    # With IN, SQLite would go through the projects one by one, by an index that leads with them.
    return select(1).where(there.c.shard == shard, there.c.id == project_id).exists()


async def ids_of(connection: AsyncConnection, names: Sequence[str], *, shard: int = SHARD) -> list[bytes]:
    """The ids of the projects that bear all of these names: of none, when the names differ or nobody bears them."""
    if len(set(names)) != 1:
        return []
    rows = await _IDS_OF.rows(connection, shard=shard, name=column_text(names[0], NAME_CHARS_MAX))
    return [row[0] for row in rows]


_IDS_OF: Final = Prepared(
    select(projects.c.id).where(projects.c.shard == given("shard"), projects.c.name == given("name"))
)


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
    query = select(*(projects.c[name] for name in _COLUMNS)).where(projects.c.shard == shard)
    if name is not None:
        query = query.where(projects.c.name == name)
    if ids is not None:
        query = query.where(projects.c.id.in_(ids))
    query = query.order_by(projects.c.first_recorded_at.desc(), projects.c.id).limit(limit).offset(offset)
    return [Project(bytes(row[0]), *row[1:]) for row in await connection.execute(query)]
