"""Creating, changing, renaming and deleting projects, by events that say so.

Each is done within a transaction that holds the head, where nobody else can take the name that is looked for.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from events import log
from events.dialect import Writer
from events.errors import LogError
from events.ids import format_id
from events.kinds import (
    ProjectCreated,
    ProjectDeleted,
    ProjectPatched,
    ProjectRenamed,
    deletion_payload,
    project_patch_payload,
    project_payload,
    project_stream,
    renaming_payload,
)
from events.log import Head, NewEvent, Submission, seal
from events.receipts import Origin
from projections import naming, profiles, projector, projects
from projections.status import StatusRule
from projections.words import DEFAULT_PROJECT, NAME_CHARS_MAX, column_text, project_id_of

Members = Mapping[str, bytes]
"""What is said of a project (`profiles.MEMBERS`), as raw JSON."""


class NoSuchProject(LogError):
    """There is no project with this id, or no longer."""


class ProjectExists(LogError):
    """There is another project of this name, or there is or was one with this id."""


@dataclass(frozen=True, slots=True)
class Changing:
    """Who changes projects, and where: within a transaction of the writer that holds the head."""

    writer: Writer
    head: Head
    origin: Origin
    rule: StatusRule
    now: int

    async def create(self, name: str, members: Members, *, id_: bytes | None = None, upsert: bool = False) -> bytes:
        """Create a project; return its id. With `upsert`, change the one of this name if there is one.

        Without an id it gets the one that runs mean by its name. Raises `ProjectExists`.
        """
        name = column_text(name, NAME_CHARS_MAX)
        known = await self._named(name)
        if known is not None:
            if not upsert:
                raise ProjectExists(f"there is a project {name!r} already: {format_id(known)}")
            await self.patch(known, members)
            return known
        id_ = await self._meant(name) if id_ is None else id_
        if await self._is_taken(id_):
            raise ProjectExists(f"there is, or there was, another project with the id {format_id(id_)}")
        await self._append([_created(id_, name, members)])
        return id_

    async def patch(self, project_id: bytes, members: Members, *, name: str | None = None) -> None:
        """Change what is said of a project, and its name when one is given.

        Raises `NoSuchProject`, and `ProjectExists` when another one bears the name.
        """
        former = await self._name_of(project_id)
        changes: list[NewEvent] = []
        said = {key: raw for key, raw in members.items() if raw != b"null"}
        if not await profiles.load(self.writer, [project_id], shard=self.head.shard):
            changes.append(_created(project_id, former, said))
        elif said:
            body = ProjectPatched(project_id, said)
            changes.append(_sealed(body, project_patch_payload(said)))
        name = former if name is None else column_text(name, NAME_CHARS_MAX)
        if name != former:
            await self._require_free(name)
            successor = self._successor(project_id, former)
            renamed = ProjectRenamed(project_id, name, former, successor)
            changes.append(_sealed(renamed, renaming_payload(name, former, successor)))
            changes += _default_again(former, successor)
        await self._append(changes)

    async def delete(self, project_id: bytes) -> None:
        """Delete a project with all its runs. Raises `NoSuchProject`."""
        name = await self._name_of(project_id)
        successor = self._successor(project_id, name)
        deleted = ProjectDeleted(project_id, name, successor)
        await self._append([_sealed(deleted, deletion_payload(name, successor)), *_default_again(name, successor)])

    async def _append(self, events: Sequence[NewEvent]) -> None:
        appended = await log.append(self.writer, self.head, [Submission(self.origin, events)], now=self.now)
        await projector.apply(self.writer, appended.events, rule=self.rule, shard=self.head.shard)

    async def _named(self, name: str) -> bytes | None:
        query = f"SELECT id FROM {projects.projects.name} WHERE shard = ?1 AND name = ?2"
        rows = await self.writer.fetch(query, self.head.shard, name)
        return bytes(rows[0][0]) if rows else None

    async def _name_of(self, project_id: bytes) -> str:
        query = f"SELECT name FROM {projects.projects.name} WHERE shard = ?1 AND id = ?2"
        rows = await self.writer.fetch(query, self.head.shard, project_id)
        if not rows:
            raise NoSuchProject(f"there is no project {format_id(project_id)}")
        return str(rows[0][0])

    async def _is_taken(self, project_id: bytes) -> bool:
        # Runs that know a project by its id may come before whoever creates it under that.
        query = f"SELECT 1 FROM {projects.projects.name} WHERE shard = ?1 AND id = ?2 AND namers > 0"
        there = await self.writer.fetch(query, self.head.shard, project_id)
        return bool(there or await profiles.load(self.writer, [project_id], shard=self.head.shard))

    async def _require_free(self, name: str) -> None:
        known = await self._named(name)
        if known is not None:
            raise ProjectExists(f"there is a project {name!r} already: {format_id(known)}")

    async def _meant(self, name: str) -> bytes:
        """The project that runs mean by a name from now on."""
        named_id = project_id_of(name)
        given = await naming.load(self.writer, [named_id], shard=self.head.shard)
        return given.project_of(named_id, self.head.position + 1)

    def _successor(self, project_id: bytes, name: str) -> bytes:
        """The project that a name is to stand for when this one gives it up: one that there never was."""
        return uuid.uuid5(uuid.UUID(bytes=project_id), f"{name} after {self.head.position}").bytes


def _created(project_id: bytes, name: str, members: Members) -> NewEvent:
    body = ProjectCreated(project_id, name, dict(members))
    return _sealed(body, project_payload(name, members))


def _default_again(name: str, successor: bytes) -> list[NewEvent]:
    """There is always a project for runs that name none."""
    return [_created(successor, DEFAULT_PROJECT, {})] if name == DEFAULT_PROJECT else []


def _sealed(body: "ProjectCreated | ProjectPatched | ProjectRenamed | ProjectDeleted", payload: bytes) -> NewEvent:
    return seal(type(body).__name__, project_stream(body.project_id), payload, body)
