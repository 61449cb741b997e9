"""Histories with everything that may happen to a store, and what tests of rebuilding do with a store."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from sqlalchemy import select

from events.ids import format_id
from events.kinds import (
    Event,
    FeedbackConfigDeleted,
    FeedbackConfigSet,
    FeedbackTokenCreated,
    RunShared,
    RunUnshared,
    feedback_config_payload,
    feedback_config_stream,
    feedback_stream,
    feedback_token_payload,
    share_payload,
    share_stream,
)
from events.log import Refused, seal
from projections import projects
from projections.comparison import Difference
from projections.erasure import NoSuchTrace
from projections.project_changes import NoSuchProject, ProjectExists
from projections.rebuild import EVERYTHING, Progress, Result, rebuild
from projections.rebuilds import Order
from projections.reverting import NoSuchRun, NoSuchVersion
from projections.shadow import TABLES
from projections.status import StatusRule
from projections.words import project_id_of
from service.ingest.items import PATCH, POST, project_created
from tests.projections.histories import IDS, Write, feedback, placing_writes, writes
from tests.projections.stores import Store, flat, run_id

Rows = dict[str, list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Batch:
    """What one request brings."""

    writes: tuple[Write, ...]

    async def happen(self, store: Store) -> None:
        await store.append(*flat(write.items for write in self.writes))


@dataclass(frozen=True)
class Revert:
    """A run goes back to a version, if it has that."""

    number: int
    to_version: int

    async def happen(self, store: Store) -> None:
        try:
            await store.revert(run_id(self.number), self.to_version)
        except (NoSuchRun, NoSuchVersion):
            return


@dataclass(frozen=True)
class Erasure:
    """A trace is erased, if there is such a one."""

    number: int

    async def happen(self, store: Store) -> None:
        try:
            await store.erase(run_id(self.number))
        except NoSuchTrace:
            return


@dataclass(frozen=True)
class Creation:
    """A project is created."""

    name: str

    async def happen(self, store: Store) -> None:
        await store.append(project_created(self.name))


@dataclass(frozen=True)
class Change:
    """Someone changes, renames or deletes a project, or creates one under an id of its own, if that can be done."""

    name: str
    what: str

    async def happen(self, store: Store) -> None:
        async with store.engine.connect() as connection:
            ids = await projects.ids_of(connection, [self.name])
        try:
            async with store.changing() as changing:
                if self.what == "create":
                    await changing.create(self.name, {"extra": b'{"a": 1}'}, id_=project_id_of(f"own {self.name}"))
                elif ids and self.what == "delete":
                    await changing.delete(ids[0])
                elif ids:
                    await changing.patch(ids[0], {"description": b'"said"'}, name=self.what)
        except (NoSuchProject, ProjectExists):
            return


@dataclass(frozen=True)
class Word:
    """An event of a small stream: a token, a configuration of feedback, or a share."""

    stream: bytes
    payload: bytes
    body: Event

    async def happen(self, store: Store) -> None:
        await store.append(seal(type(self.body).__name__, self.stream, self.payload, self.body))


def _words(number: int) -> SearchStrategy[Word]:
    id_, run = run_id(900 + number), run_id(number)
    members = {"feedback_config": b'{"min": %d.0}' % number, "is_lower_score_better": b"true"}
    return st.sampled_from(
        [
            Word(
                feedback_stream(id_),
                feedback_token_payload(run, "k", 5, b"null"),
                FeedbackTokenCreated(id_, run, "k", 5, b"null"),
            ),
            Word(
                feedback_config_stream(id_),
                feedback_config_payload("k", members),
                FeedbackConfigSet(id_, "k", members),
            ),
            Word(feedback_config_stream(id_), b"{}", FeedbackConfigDeleted(id_)),
            Word(share_stream(run), share_payload(id_), RunShared(run, id_)),
            Word(share_stream(run), b"{}", RunUnshared(run)),
        ]
    )


@dataclass(frozen=True)
class Nonsense:
    """A request brings what no event can be made of."""

    raw: bytes

    async def happen(self, store: Store) -> None:
        await store.append(Refused("post[0]", "it is no JSON object", self.raw))


Happening = Batch | Revert | Erasure | Creation | Change | Word | Nonsense

numbers = st.sampled_from(IDS)


def _by_project_id(numbers: SearchStrategy[int]) -> SearchStrategy[Write]:
    """Patches that name a project by its id alone, which other writes may name."""
    ids = st.sampled_from([f'"{format_id(project_id_of(name))}"'.encode() for name in ("one", "default", "four")])
    fields = st.fixed_dictionaries({"session_id": ids})
    needed = {"name": b'"a"', "run_type": b'"chain"', "start_time": b'"2025-12-31T08:00:00Z"'}
    return st.one_of(
        st.builds(Write, st.just(PATCH), numbers, fields),
        st.builds(Write, st.just(POST), numbers, fields.map(lambda told: told | needed)),
    )


batches = st.lists(
    st.one_of(
        writes(numbers, odd=True),
        writes(numbers, odd=False),
        placing_writes(numbers),
        placing_writes(numbers),
        _by_project_id(numbers),
        feedback(numbers),
    ),
    min_size=1,
    max_size=4,
).map(lambda some: Batch(tuple(some)))
happenings: SearchStrategy[Happening] = st.one_of(
    batches,
    batches,
    batches,
    st.builds(Revert, numbers, st.integers(1, 4)),
    st.builds(Erasure, numbers),
    st.builds(Creation, st.sampled_from(["one", "four", "default"])),
    numbers.flatmap(_words),
    st.builds(
        Change,
        st.sampled_from(["one", "default", "four", "five"]),
        st.sampled_from(["create", "delete", "one", "four", "five"]),
    ),
    st.builds(Nonsense, st.sampled_from([b"", b"[1]", b"\xff"])),
)
histories = st.lists(happenings, min_size=1, max_size=14)


async def happen(store: Store, history: Sequence[Happening]) -> None:
    """Have all of it happen, in order."""
    for happening in history:
        await happening.happen(store)


async def rebuilt(
    url: str,
    order: Order = EVERYTHING,
    *,
    rule: StatusRule = "documented",
    processes: int | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Result:
    """Rebuild in this process, unless told otherwise."""
    return await rebuild(url, order, rule=rule, processes=processes or 1, progress=progress)


async def rows_of(store: Store) -> Rows:
    """Every row of every read model with all columns, but for when a project came to be (`comparison` says why)."""
    found = {}
    for table in (table for tables in TABLES.values() for table in tables):
        columns = [column for column in table.c if (table.name, column.name) != ("projects", "first_recorded_at")]
        places = [columns.index(column) for column in table.primary_key]
        rows = [tuple(row) for row in await store.query(select(*columns))]
        found[table.name] = sorted(rows, key=lambda row: [row[place] for place in places])
    return found


def told(differences: Sequence[Difference]) -> str:
    """Differences as people are told of them."""
    return "\n".join(map(str, differences))
