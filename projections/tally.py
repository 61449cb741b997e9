"""What is counted over runs: statistics, names of roots and projects, for many runs before any of it is stored."""

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from events.dialect import Writer
from projections import names, projects, stats
from projections.names import Key as NameKey
from projections.projects import Project
from projections.runs import RunState, gives_project_name
from projections.stats import Cell
from projections.stats import Key as CellKey

_PORTION: Final = 1000

Key = TypeVar("Key")
Value = TypeVar("Value")


@dataclass(slots=True)
class Tally:
    """Runs counted, by cell of the statistics, by name and by project.

    `members` has, by project and the name that they give it, how many runs are in it and when the first was recorded.
    """

    cells: dict[CellKey, Cell] = field(default_factory=dict)
    names: Counter[NameKey] = field(default_factory=Counter)
    projects: dict[bytes, Project] = field(default_factory=dict)
    members: dict[tuple[bytes, str | None], list[int]] = field(default_factory=dict)

    def count(self, state: RunState) -> None:
        """Count a run, or a placeholder, whose place is final, in what depends on that."""
        stats.count(self.cells, state, +1)
        if state.is_root:
            self.names[state.shard, state.project_id, state.name] += 1

    def count_project(self, state: RunState, name: str) -> None:
        """Count a run in its project. `name` is that of the project when the run gives it."""
        self._add_members(state.project_id, name if gives_project_name(state) else None, 1, state.first_recorded_at)

    def _add_members(self, project_id: bytes, name: str | None, count: int, first_recorded_at: int) -> None:
        known = self.members.get((project_id, name))
        if known is None:
            self.members[project_id, name] = [count, first_recorded_at]
        else:
            known[0] += count
            known[1] = min(known[1], first_recorded_at)

    def add_project(self, project: Project) -> None:
        """Add a count of one project."""
        known = self.projects.get(project.id)
        self.projects[project.id] = project if known is None else projects.merged(known, project)

    def add(self, other: "Tally") -> None:
        """Add all that another one counted."""
        for key, cell in other.cells.items():
            known = self.cells.get(key)
            self.cells[key] = cell if known is None else known.plus(cell)
        self.names.update(other.names)
        for project in other.projects.values():
            self.add_project(project)
        for member, counted in other.members.items():
            self._add_members(*member, *counted)

    def portions(self) -> Iterator["Tally"]:
        """The same in parts that can each be stored in a short transaction."""
        for cells in _cut(self.cells):
            yield Tally(cells=cells)
        for counted in _cut(self.names):
            yield Tally(names=Counter(counted))
        for some in _cut(self._all_projects()):
            yield Tally(projects=some)

    def _all_projects(self) -> Mapping[bytes, Project]:
        """The projects with the runs that are in them."""
        whole = Tally(projects=dict(self.projects))
        for (id_, name), (count, first_recorded_at) in self.members.items():
            namers = 0 if name is None else count
            whole.add_project(Project(id_, name or "", count, namers, 0, first_recorded_at))
        return whole.projects

    async def store(self, writer: Writer, *, shard: int) -> None:
        """Add what was counted to the stored rows, within the writer's transaction."""
        await stats.add(writer, self.cells)
        await names.add(writer, self.names, shard=shard)
        await projects.add(writer, self.projects, shard=shard)


def _cut(counted: Mapping[Key, Value]) -> Iterator[dict[Key, Value]]:
    pairs = iter(counted.items())
    while portion := dict(itertools.islice(pairs, _PORTION)):
        yield portion
