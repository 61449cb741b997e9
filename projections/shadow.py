"""Shadow tables: read models in the making, beside the live ones, whose place they take when they are done.

A read model that counts the rows of another cannot be made without it. So names, projects, runs and stats are made
together, attachments, feedback and shares each alone.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import cache, cached_property
from typing import Final

from sqlalchemy import MetaData, Table, quoted_name

from events.dialect import Writer
from events.schema import SHARD
from projections import (
    attachments,
    feedback,
    feedback_configs,
    feedback_tokens,
    names,
    naming,
    places,
    profiles,
    projects,
    rebuilds,
    runs,
    shares,
    stats,
)
from projections.dialect import Ddl, Renaming, ddl_of, ddl_used_by
from projections.projector import PROJECTIONS, checkpoints

TABLES: Final[Mapping[str, tuple[Table, ...]]] = {
    "attachments": (attachments.attachments,),
    "feedback": (feedback.feedback, feedback_tokens.feedback_tokens, feedback_configs.feedback_configs),
    "names": (names.names,),
    "projects": (projects.projects, profiles.profiles, naming.project_names),
    "runs": (runs.runs, places.former_places),
    "shares": (shares.shares,),
    "stats": (stats.stats,),
}
"""The tables of each read model."""

_TOGETHER: Final = (("attachments",), ("feedback",), ("shares",), ("names", "projects", "runs", "stats"))
_SHADOW: Final = "_shadow"
_OLD: Final = "_old"


def whole(wanted: Iterable[str]) -> tuple[str, ...]:
    """These read models, and those that are made together with them, by name."""
    asked = set(wanted)
    return tuple(sorted(name for group in _TOGETHER if asked.intersection(group) for name in group))


@cache
def shadow_of(table: Table, ddl: Ddl) -> Table:
    """The shadow of a table: of the same shape, under other names."""
    shadow = table.to_metadata(MetaData(), name=table.name + _SHADOW)
    for index in shadow.indexes:
        index.name = quoted_name(f"{index.name}{_SHADOW}", quote=None)
    if ddl.has_global_constraint_names:
        shadow.primary_key.name = f"{shadow.primary_key.name}{_SHADOW}"
    return shadow


class Shadows:
    """The shadow tables of some read models, in one database, for one rebuild."""

    def __init__(self, url: str, projections: Sequence[str], rebuild_id: int, *, shard: int = SHARD) -> None:
        self.projections = projections
        self.tables = [table for name in projections for table in TABLES[name]]
        self._rebuild_id = rebuild_id
        self._shard = shard
        self._ddl = ddl_of(url)

    @cached_property
    def shadows(self) -> Mapping[Table, Table]:
        """The shadow of each table."""
        return {table: shadow_of(table, self._ddl) for table in (*self.tables, checkpoints)}

    @property
    def stand_ins(self) -> Mapping[str, str]:
        """The shadows' names, by the names of those that they are to replace: for a writer that fills them."""
        return {table.name: shadow.name for table, shadow in self.shadows.items()}

    async def create(self, writer: Writer) -> None:
        """Make the shadow tables, without rows and with their indexes."""
        async with writer.transaction():
            await rebuilds.still_owned(writer, self._rebuild_id, shard=self._shard)
            for shadow in self.shadows.values():
                for statement in self._ddl.creation(shadow):
                    await writer.execute(statement)

    async def finish(self, writer: Writer) -> None:
        """Make the shadow tables, once they are filled, ready to be read."""
        await self._ddl.finish(writer, [shadow.name for shadow in self.shadows.values()])

    async def take_places(self, writer: Writer) -> None:
        """Give the shadows the names of the live tables, within a transaction that holds the head.

        The tables that were live are kept under other names, for `discard`. Raises `Unavailable` when readers do not
        let go of them soon.
        """
        live = [table.name for table in self.tables]
        await self._ddl.lock(writer, live)
        indexes = self._index_names()
        aside = [(name, name + _OLD) for name in live], [(name, name + _OLD) for name in indexes]
        there = [(name + _SHADOW, name) for name in live], [(name + _SHADOW, name) for name in indexes]
        tables: list[Renaming] = [*aside[0], *there[0]]
        await self._ddl.rename(writer, tables, [*aside[1], *there[1]])

    def _index_names(self) -> list[str]:
        found = [str(index.name) for table in self.tables for index in sorted(table.indexes, key=lambda i: str(i.name))]
        if self._ddl.has_global_constraint_names:
            found += [str(table.primary_key.name) for table in self.tables]
        return found


async def discard(writer: Writer, url: str) -> AsyncIterator[None]:
    """Drop all shadow tables, and what was live before one took its place, in small steps."""
    ddl = ddl_of(url)
    async with writer.transaction():
        left = await ddl.existing(writer, _copies([*_all_tables(), checkpoints]))
    for name in left:
        async for _ in ddl.discard(writer, name):
            yield


async def forget(
    writer: Writer,
    *,
    run_ids: Sequence[bytes],
    feedback_ids: Sequence[bytes],
    root_names: Sequence[str],
    now: int,
    shard: int,
) -> None:
    """Have left-over copies of read models forget what is erased, within a transaction that holds the head.

    The shadows of a rebuild that is under way hear of the erasure from the log, and must not be touched before.
    """
    ddl = ddl_used_by(writer)
    is_tended = await rebuilds.is_under_way(writer, now=now, shard=shard)
    keyed: dict[Table, tuple[str, Sequence[bytes | str]]] = {
        runs.runs: ("id", run_ids),
        places.former_places: ("run_id", run_ids),
        attachments.attachments: ("run_id", run_ids),
        feedback.feedback: ("id", feedback_ids),
        feedback_tokens.feedback_tokens: ("id", feedback_ids),
        shares.shares: ("run_id", run_ids),
        names.names: ("name", root_names),
    }
    for table, (column, values) in keyed.items():
        copies = [table.name + suffix for suffix in ((_OLD,) if is_tended else (_OLD, _SHADOW))]
        for name in await ddl.existing(writer, copies):
            query = f"DELETE FROM {name} WHERE shard = {shard} AND {column} = ?1"
            await writer.execute_many(query, [(value,) for value in values])


def _copies(tables: Iterable[Table]) -> list[str]:
    return [table.name + suffix for table in tables for suffix in (_SHADOW, _OLD)]


def _all_tables() -> list[Table]:
    return [table for name in PROJECTIONS for table in TABLES[name]]
