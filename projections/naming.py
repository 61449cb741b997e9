"""Which project a name stands for, and from which position of the log on.

Runs name their project, and the id of a project follows from its name, until somebody renames or deletes a project or
creates one under an id of its own. From that event on the name stands for another project. The few names that this ever
happened to are here, by the id that follows from them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import BigInteger, Column, LargeBinary, PrimaryKeyConstraint, SmallInteger, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Row, Writer
from events.schema import SHARD, metadata

project_names: Final = Table(
    "project_names",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    # The id that follows from the name.
    Column("named_id", LargeBinary, nullable=False),
    # Of the event since which the name stands for the project.
    Column("position", BigInteger, nullable=False),
    Column("project_id", LargeBinary, nullable=False),
    PrimaryKeyConstraint("shard", "named_id", "position", name="project_names_pk"),
)

# The id that follows from a name, the position of an event, and the project that the name stands for from there on.
Grant = tuple[bytes, int, bytes]


@dataclass(frozen=True, slots=True)
class Naming:
    """What names stand for: `granted` has, by the id that follows from a name, positions and projects, in order."""

    granted: Mapping[bytes, Sequence[tuple[int, bytes]]] = field(default_factory=dict)

    @classmethod
    def of(cls, grants: Iterable[Grant]) -> "Naming":
        """The naming that these grants make."""
        granted: dict[bytes, list[tuple[int, bytes]]] = {}
        for named_id, position, project_id in sorted(grants):
            granted.setdefault(named_id, []).append((position, project_id))
        return cls(granted)

    def project_of(self, named_id: bytes, position: int, current: bytes | None = None) -> bytes:
        """The project that a write at this position means by a name.

        A run that is in a project which bore the name before stays in it (`current`): its writes go on naming the
        project as they did when the run began.
        """
        granted = self.granted.get(named_id)
        if granted is None:
            return named_id
        bearers = [named_id, *(project_id for since, project_id in granted if since < position)]
        return current if current in bearers else bearers[-1]

    def bearers(self, named_id: bytes) -> list[bytes]:
        """Every project that ever bore a name."""
        return [named_id, *(project_id for _, project_id in self.granted.get(named_id, ()))]

    def by_bearer(self, names: Mapping[bytes, str]) -> Mapping[bytes, str]:
        """The names, given by the ids that follow from them, by every project that ever bore them."""
        if not self.granted:
            return names
        return {id_: name for named_id, name in names.items() for id_ in self.bearers(named_id)}


UNCHANGED: Final = Naming()
"""Every name stands for the project whose id follows from it."""


async def note(writer: Writer, grants: Iterable[Grant], *, shard: int) -> None:
    """Note what names stand for from now on, within the writer's transaction."""
    await writer.replace(project_names, [(shard, *grant) for grant in grants])


async def is_changed(writer: Writer, *, shard: int) -> bool:
    """Whether any name stands for another project than the one whose id follows from it."""
    query = f"SELECT 1 FROM {writer.name_of(project_names)} WHERE shard = ?1 LIMIT 1"
    return bool(await writer.fetch(query, shard))


async def load(writer: Writer, named_ids: Iterable[bytes] | None, *, shard: int) -> Naming:
    """What these names stand for, or all of them, within the writer's transaction. `named_ids` follow from names."""
    table = writer.name_of(project_names)
    if named_ids is None:
        rows = await writer.fetch(f"SELECT named_id, position, project_id FROM {table} WHERE shard = ?1", shard)
    else:
        rows = await writer.lookup(
            f"SELECT n.named_id, n.position, n.project_id FROM k JOIN {table} n ON n.shard = {shard} "
            "AND n.named_id = k.named_id",
            {"named_id": "bytea"},
            [(id_,) for id_ in set(named_ids)],
        )
    return Naming.of(_grant(row) for row in rows)


async def read(connection: AsyncConnection, named_ids: Iterable[bytes] | None, *, shard: int = SHARD) -> Naming:
    """The same for readers."""
    columns = (project_names.c.named_id, project_names.c.position, project_names.c.project_id)
    query = select(*columns).where(project_names.c.shard == shard)
    if named_ids is not None:
        query = query.where(project_names.c.named_id.in_(set(named_ids)))
    return Naming.of(_grant(row) for row in await connection.execute(query))


def _grant(row: Row) -> Grant:
    return bytes(row[0]), int(row[1]), bytes(row[2])
