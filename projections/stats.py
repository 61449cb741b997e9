"""The statistics: exact counts and sums per project, run type and status, kept by differences.

Every change of a run's row takes the old row out of its cell and puts the new one in, in the same transaction. There
are cells per hour of start and cells without the hour: summing a year of hourly cells for a total takes too long.
Latencies, and times until the first token, are kept as subtractable sketches (`projections.sketch`), so a cell can give
percentiles too.
"""

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    func,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Writer
from events.ids import format_id
from events.prepared import Prepared, given, one_of
from events.schema import SHARD, metadata
from projections import sketch
from projections.projects import is_there, projects
from projections.recent import Recent
from projections.runs import RunState, Turn, runs

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
TOTAL: Final = -(2**62)
"""The `hour` of the cells that hold a total over all hours."""

stats: Final = Table(
    "stats",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("hour", BigInteger, nullable=False),
    Column("project_id", LargeBinary, nullable=False),
    Column("run_type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("runs", BigInteger, nullable=False),
    Column("roots", BigInteger, nullable=False),
    Column("ended", BigInteger, nullable=False),
    Column("latency_us", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("total_tokens", BigInteger, nullable=False),
    Column("prompt_cost", BigInteger, nullable=False),
    Column("completion_cost", BigInteger, nullable=False),
    Column("total_cost", BigInteger, nullable=False),
    Column("latencies", LargeBinary, nullable=False),
    # Runs with an error, ended or not.
    Column("errors", BigInteger, nullable=False, server_default="0"),
    Column("first_tokens", LargeBinary),
    PrimaryKeyConstraint("shard", "hour", "project_id", "run_type", "status", name="stats_pk"),
    Index("stats_project", "shard", "project_id", "hour"),
)
_KEYS: Final = 5
COLUMNS: Final = tuple(column.name for column in stats.columns)
_SKETCHES: Final = ("latencies", "first_tokens")
_SUMS: Final = tuple(name for name in COLUMNS[_KEYS:] if name not in _SKETCHES)


class Key(NamedTuple):
    """A cell: `hour` counts from 1970, or is `TOTAL`."""

    shard: int
    hour: int
    project_id: bytes
    run_type: str
    status: str


@dataclass(slots=True)
class Cell:
    """What a cell holds: the sums in the order of the table's columns, and the sketches."""

    sums: list[int]
    latencies: dict[int, int]
    first_tokens: dict[int, int]

    @classmethod
    def empty(cls) -> "Cell":
        """A cell with nothing in it."""
        return cls([0] * len(_SUMS), {}, {})

    def plus(self, other: "Cell") -> "Cell":
        """What two cells hold together."""
        return Cell(
            list(map(operator.add, self.sums, other.sums)),
            sketch.changed(self.latencies, other.latencies),
            sketch.changed(self.first_tokens, other.first_tokens),
        )

    def is_changed(self) -> bool:
        """Whether these changes of a cell, as against what it holds, change anything."""
        return any(self.sums) or any(self.latencies.values()) or any(self.first_tokens.values())

    def is_empty(self) -> bool:
        """Whether nothing is counted here any more."""
        return not any(self.sums)


def changes_of(turns: Iterable[Turn]) -> dict[Key, Cell]:
    """What the turns change in each cell; totals apart, see `with_totals`."""
    changes: dict[Key, Cell] = {}
    for old, new in turns:
        if old is not None:
            count(changes, old, -1)
        if new is not None:
            count(changes, new, +1)
    return changes


def with_totals(counted: Mapping[Key, Cell]) -> dict[Key, Cell]:
    """What was counted into cells per hour, and the same in the cells without the hour."""
    totals: dict[Key, Cell] = {}
    for key, cell in counted.items():
        total = key._replace(hour=TOTAL)
        totals[total] = totals[total].plus(cell) if total in totals else cell
    return {**counted, **totals}


def fold(cells: Mapping[Key, Cell], changes: Mapping[Key, Cell]) -> dict[Key, Cell]:
    """Those cells that something changes in, as they are then. `cells` holds the stored ones of these keys."""
    return {
        key: (cells.get(key) or Cell.empty()).plus(change) for key, change in changes.items() if change.is_changed()
    }


def count(cells: dict[Key, Cell], state: RunState, sign: int) -> None:
    """Count a run into the cell of its hour, or out of it with a `sign` of -1. Changes the cells."""
    key = Key(state.shard, state.start_time // HOUR_US, state.project_id, state.run_type, state.status)
    cell = cells.get(key)
    if cell is None:
        cell = cells[key] = Cell.empty()
    cell.sums = list(map(operator.add if sign > 0 else operator.sub, cell.sums, _sums(state)))
    # A latency may be counted out before it is counted in within one group, so signs are checked at the end.
    if state.end_time is not None and not state.is_placeholder:
        number = sketch.bucket(state.end_time - state.start_time)
        cell.latencies[number] = cell.latencies.get(number, 0) + sign
    if state.first_token_time is not None:
        number = sketch.bucket(state.first_token_time - state.start_time)
        cell.first_tokens[number] = cell.first_tokens.get(number, 0) + sign


def _within_64_bits(value: int) -> int:
    """The value as a column holds it. A sum too large for one wraps around, and is right again when parts of it go."""
    return (value + 2**63) % 2**64 - 2**63


def _sums(state: RunState) -> tuple[int, ...]:
    if state.is_placeholder:
        return (0, 1, *(0,) * (len(_SUMS) - 2))
    ended = state.end_time is not None
    return (
        1,
        state.is_root,
        int(ended),
        max((state.end_time or 0) - state.start_time, 0) if ended else 0,
        state.prompt_tokens or 0,
        state.completion_tokens or 0,
        state.total_tokens or 0,
        state.prompt_cost or 0,
        state.completion_cost or 0,
        state.total_cost or 0,
        int(state.langsmith_status == "error"),
    )


async def apply(writer: Writer, turns: Iterable[Turn], recent: Recent[Key, Cell]) -> None:
    """Fold the turns into the stored cells, within the writer's transaction. `recent` are some cells as they are."""
    changes = with_totals(changes_of(turns))
    stored = await _known(writer, changes, recent)
    folded = fold(stored, changes)
    filled = {key: cell for key, cell in folded.items() if not cell.is_empty()}
    await writer.replace(stats, [as_row(key, cell) for key, cell in filled.items()])
    await writer.delete(stats, [key for key, cell in folded.items() if cell.is_empty() and key in stored])
    for key in folded:
        recent.note(key, filled.get(key))


async def add(writer: Writer, counted: Mapping[Key, Cell]) -> None:
    """Add what was counted elsewhere, by hour, to the stored cells, within the writer's transaction."""
    changes = with_totals(counted)
    stored = await _load(writer, sorted(changes))
    folded = fold(stored, changes)
    await writer.replace(stats, [as_row(key, cell) for key, cell in folded.items()])


async def _known(writer: Writer, keys: Iterable[Key], recent: Mapping[Key, Cell]) -> dict[Key, Cell]:
    known = {key: recent[key] for key in keys if key in recent}
    return known | await _load(writer, sorted(key for key in keys if key not in known))


async def _load(writer: Writer, keys: Sequence[Key]) -> dict[Key, Cell]:
    if not keys:
        return {}
    columns = ", ".join(f"s.{name}" for name in COLUMNS)
    matches = " AND ".join(f"s.{name} = k.{name}" for name in Key._fields)
    kinds = ("smallint", "bigint", "bytea", "text", "text")
    rows = await writer.lookup(
        f"SELECT {columns} FROM k JOIN {writer.name_of(stats)} s ON {matches}",
        dict(zip(Key._fields, kinds, strict=True)),
        keys,
    )
    return {Key(*row[:_KEYS]): _cell(row[_KEYS:]) for row in rows}


def _cell(values: Sequence[Any]) -> Cell:
    """The cell that a row holds, given without its key."""
    *sums, latencies, errors, first_tokens = values
    return Cell([*sums, errors], sketch.unpack(bytes(latencies)), sketch.unpack(bytes(first_tokens or b"")))


def as_row(key: Key, cell: Cell) -> tuple[Any, ...]:
    """The row of a cell, in the order of the table's columns. Raises ValueError when it would count below zero."""
    if min(cell.sums[:3]) < 0:
        raise ValueError(f"the statistics of {key} would count below zero: {cell.sums}")
    *sums, errors = map(_within_64_bits, cell.sums)
    return (*key, *sums, sketch.pack(cell.latencies), errors, sketch.pack(cell.first_tokens))


# --- queries ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProjectActivity:
    """What happened in one project: counts over all time and the newest start of a run (µs)."""

    name: str
    total_runs: int
    total_traces: int
    last_activity: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The dashboard's numbers. Distributions map a value to its number of runs."""

    total_runs: int
    total_traces: int
    recent_runs: int
    statuses: dict[str, int]
    run_types: dict[str, int]
    projects: dict[str, int]
    recent_projects: list[ProjectActivity]


class _Total(NamedTuple):
    """How many runs and roots there are of one project, type and status."""

    project_id: bytes
    run_type: str
    status: str
    runs: int
    roots: int


_IN_TOTALS: Final = (stats.c.shard == given("shard")) & (stats.c.hour == TOTAL)
_IS_SEEN: Final = is_there(stats.c.project_id, shard=given("shard"))
_DELETED: Final = Prepared(select(stats.c.project_id).distinct().where(_IN_TOTALS, ~_IS_SEEN))
_TOTALS: Final = Prepared(select(*(stats.c[name] for name in _Total._fields)).where(_IN_TOTALS, _IS_SEEN))
_NAMES: Final = Prepared(select(projects.c.id, projects.c.name).where(projects.c.shard == given("shard")))


async def count_roots(
    connection: AsyncConnection, *, project_ids: Sequence[bytes] | None, status: str | None, shard: int = SHARD
) -> int:
    """How many traces there are, of some projects and one status if given, without looking at runs."""
    query = _count_roots(of_projects=project_ids is not None, of_status=status is not None)
    rows = await query.rows(connection, shard=shard, project_ids=project_ids, status=status)
    return int(rows[0][0])


@cache
def _count_roots(*, of_projects: bool, of_status: bool) -> Prepared:
    query = select(func.coalesce(func.sum(stats.c.roots), 0)).where(_IN_TOTALS)
    query = query.where(stats.c.project_id.in_(one_of("project_ids")) if of_projects else _IS_SEEN)
    return Prepared(query.where(stats.c.status == given("status")) if of_status else query)


async def deleted_projects(connection: AsyncConnection, *, shard: int = SHARD) -> list[bytes]:
    """The projects that there are still runs of, though they are not to be seen, without looking at runs."""
    return [row[0] for row in await _DELETED.rows(connection, shard=shard)]


async def summary(connection: AsyncConnection, *, now: int, projects_max: int, shard: int = SHARD) -> Summary:
    """The numbers of the dashboard, exact as of one moment. `now` in microseconds ends the last 24 hours."""
    cells = [_Total(*row) for row in await _TOTALS.rows(connection, shard=shard)]
    names = {id_: name for id_, name in await _NAMES.rows(connection, shard=shard)}
    return Summary(
        total_runs=sum(cell.runs for cell in cells),
        total_traces=sum(cell.roots for cell in cells),
        recent_runs=await _count_since(connection, now - DAY_US, now, shard),
        statuses=_distribution((cell.status, cell.runs) for cell in cells),
        run_types=_distribution((cell.run_type, cell.runs) for cell in cells),
        projects=_distribution((_name(names, cell.project_id), cell.runs) for cell in cells),
        recent_projects=await _recent_projects(connection, cells, names, projects_max, shard),
    )


def _name(names: Mapping[bytes, str], project_id: bytes) -> str:
    return names.get(bytes(project_id)) or format_id(bytes(project_id))


def _distribution(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Sums by name, the most frequent first, names without any run left out."""
    sums: dict[str, int] = {}
    for name, count in pairs:
        sums[name] = sums.get(name, 0) + count
    return dict(sorted(((k, n) for k, n in sums.items() if n), key=lambda pair: (-pair[1], pair[0])))


async def _count_since(connection: AsyncConnection, since: int, until: int, shard: int) -> int:
    """Runs started in [since, until]: whole hours from the cells, the two cut hours from the index on start."""
    first_whole, last_whole = since // HOUR_US + 1, until // HOUR_US - 1
    whole = await _IN_HOURS.rows(connection, shard=shard, first=first_whole, last=last_whole)
    counted = whole[0][0]
    for first, last in ((since, first_whole * HOUR_US - 1), ((last_whole + 1) * HOUR_US, until)):
        counted += (await _IN_TIME.rows(connection, shard=shard, first=first, last=last))[0][0]
    return int(counted)


_IN_HOURS: Final = Prepared(
    select(func.coalesce(func.sum(stats.c.runs), 0)).where(
        stats.c.shard == given("shard"), stats.c.hour.between(given("first"), given("last")), _IS_SEEN
    )
)
_IN_TIME: Final = Prepared(
    select(func.count()).where(
        runs.c.shard == given("shard"),
        runs.c.is_placeholder == 0,
        runs.c.start_time.between(given("first"), given("last")),
        is_there(runs.c.project_id, shard=given("shard")),
    )
)


async def _recent_projects(
    connection: AsyncConnection, cells: Iterable[_Total], names: Mapping[bytes, str], limit: int, shard: int
) -> list[ProjectActivity]:
    totals: dict[bytes, list[int]] = {}
    for cell in cells:
        counts = totals.setdefault(cell.project_id, [0, 0])
        counts[0] += cell.runs
        counts[1] += cell.roots
    return [
        ProjectActivity(_name(names, id_), totals[id_][0], totals[id_][1], start)
        for id_, start in await _NEWEST.rows(connection, shard=shard, projects_max=limit)
        # On PostgreSQL each query sees another moment: this project may have come since the cells were read.
        if start is not None and id_ in totals
    ]


_NEWEST_START: Final = (
    select(func.max(runs.c.start_time))
    .where(runs.c.shard == given("shard"), runs.c.project_id == projects.c.id)
    .correlate(projects)
    .scalar_subquery()
)
_NEWEST: Final = Prepared(
    select(projects.c.id, _NEWEST_START.label("start"))
    .where(
        projects.c.shard == given("shard"),
        projects.c.id.in_(select(stats.c.project_id).where(_IN_TOTALS)),
    )
    .order_by(_NEWEST_START.desc(), projects.c.name)
    .limit(given("projects_max"))
)


@dataclass(frozen=True, slots=True)
class ProjectStats:
    """The statistics of one project: counts, sums (costs in picodollars), and quantiles in µs where there are any."""

    runs: int
    ended: int
    errors: int
    streamed: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_cost: int
    completion_cost: int
    total_cost: int
    latency_p50: int | None
    latency_p99: int | None
    first_token_p50: int | None
    first_token_p99: int | None
    last_start: int | None


async def of_projects(
    connection: AsyncConnection, project_ids: Sequence[bytes], *, since: int | None = None, shard: int = SHARD
) -> dict[bytes, ProjectStats]:
    """The statistics of these projects, over all time or since the hour that a moment (µs) lies in."""
    hours = stats.c.hour == TOTAL if since is None else stats.c.hour >= since // HOUR_US
    query = select(*(stats.c[name] for name in ("project_id", *COLUMNS[_KEYS:]))).where(
        stats.c.shard == shard, hours, stats.c.project_id.in_(project_ids)
    )
    cells = {id_: Cell.empty() for id_ in project_ids}
    for row in await connection.execute(query):
        cells[bytes(row[0])] = cells[bytes(row[0])].plus(_cell(row[1:]))
    newest = await _newest_starts(connection, project_ids, shard)
    return {id_: _project_stats(cell, newest.get(id_)) for id_, cell in cells.items()}


def _project_stats(cell: Cell, last_start: int | None) -> ProjectStats:
    sums = dict(zip(_SUMS, cell.sums, strict=True))
    return ProjectStats(
        streamed=sketch.total(cell.first_tokens),
        latency_p50=sketch.quantile(cell.latencies, 0.5),
        latency_p99=sketch.quantile(cell.latencies, 0.99),
        first_token_p50=sketch.quantile(cell.first_tokens, 0.5),
        first_token_p99=sketch.quantile(cell.first_tokens, 0.99),
        last_start=last_start,
        **{name: sums[name] for name in _SUMS if name not in ("roots", "latency_us")},
    )


async def _newest_starts(connection: AsyncConnection, project_ids: Sequence[bytes], shard: int) -> dict[bytes, int]:
    rows = await _NEWEST_OF.rows(connection, shard=shard, project_ids=project_ids)
    return {id_: start for id_, start in rows if start is not None}


_NEWEST_OF: Final = Prepared(
    select(projects.c.id, _NEWEST_START).where(
        projects.c.shard == given("shard"), projects.c.id.in_(one_of("project_ids"))
    )
)
