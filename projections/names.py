"""The names of root runs, per project, with how many runs bear each: what a search in names looks through.

There are few names and many runs. A search for a piece of a name is done here, in a small table, and the runs are
found by the whole names it gives.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    LargeBinary,
    PrimaryKeyConstraint,
    Select,
    SmallInteger,
    Table,
    Text,
    func,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from events.dialect import Writer
from events.prepared import Prepared, given, one_of
from events.schema import metadata
from projections.projects import is_there
from projections.recent import Recent
from projections.runs import Turn
from projections.words import column_text

names: Final = Table(
    "names",
    metadata,
    Column("shard", SmallInteger, nullable=False),
    Column("project_id", LargeBinary, nullable=False),
    Column("name", Text, nullable=False),
    Column("folded", Text, nullable=False),
    Column("roots", BigInteger, nullable=False),
    PrimaryKeyConstraint("shard", "project_id", "name", name="names_pk"),
)

Key = tuple[int, bytes, str]
_SEARCH_CHARS_MAX: Final = 500
_ESCAPE: Final = "/"


def folded(text: str) -> str:
    """The form in which texts are compared without regard to case, in any script and on both databases.

    The Turkish dotted capital I is taken for an I: who looks for `istanbul` means that city.
    """
    return text.casefold().replace("i\u0307", "i")


def sought(search: str) -> str:
    """The value that stands for a search text in the queries below: a piece of a name, whatever its case."""
    piece = folded(column_text(search, _SEARCH_CHARS_MAX))
    return re.sub(f"[%_{_ESCAPE}]", lambda found: _ESCAPE + found[0], piece)


def named_like(*, of_projects: bool) -> Select[tuple[str]]:
    """The whole names that hold what is `sought`, in the `project_ids` that are given or in all projects."""
    query = select(names.c.name).where(*_holds)
    return query.where(names.c.project_id.in_(one_of("project_ids"))) if of_projects else query


async def count_named_like(
    connection: AsyncConnection, search: str, *, project_ids: Sequence[bytes] | None, shard: int
) -> int:
    """How many root runs bear a name that holds the search text, in some projects or in all."""
    query = _COUNT if project_ids is None else _COUNT_OF_PROJECTS
    rows = await query.rows(connection, shard=shard, sought=sought(search), project_ids=project_ids)
    return int(rows[0][0])


_holds: Final = (
    names.c.shard == given("shard"),
    names.c.folded.contains(given("sought"), escape=_ESCAPE),
)
_count: Final = select(func.coalesce(func.sum(names.c.roots), 0)).where(*_holds)
_COUNT: Final = Prepared(_count.where(is_there(names.c.project_id, shard=given("shard"))))
_COUNT_OF_PROJECTS: Final = Prepared(_count.where(names.c.project_id.in_(one_of("project_ids"))))


def changes_of(turns: Iterable[Turn]) -> dict[Key, int]:
    """By how many the roots that bear each name change with the turns."""
    changes: Counter[Key] = Counter()
    for old, new in turns:
        if old is not None and old.is_root:
            changes[old.shard, old.project_id, old.name] -= 1
        if new is not None and new.is_root:
            changes[new.shard, new.project_id, new.name] += 1
    return {key: change for key, change in changes.items() if change}


async def apply(writer: Writer, turns: Iterable[Turn], recent: Recent[Key, int], *, shard: int) -> None:
    """Fold the turns into the stored names, within the writer's transaction. `recent` are some counts as they are."""
    changes = changes_of(turns)
    stored = {key: recent[key] for key in changes if key in recent}
    stored |= await _load(writer, sorted(changes.keys() - stored.keys()), shard)
    counts = {key: stored.get(key, 0) + change for key, change in changes.items()}
    if min(counts.values(), default=0) < 0:
        raise ValueError(f"names would be counted below zero: {counts}")
    await writer.replace(names, [(*key, folded(key[2]), count) for key, count in counts.items() if count])
    await writer.delete(names, [key for key, count in counts.items() if not count])
    for key, count in counts.items():
        recent.note(key, count or None)


async def add(writer: Writer, counted: Mapping[Key, int], *, shard: int) -> None:
    """Add what was counted elsewhere to the stored names, within the writer's transaction."""
    stored = await _load(writer, sorted(counted), shard)
    await writer.replace(names, [(*key, folded(key[2]), stored.get(key, 0) + n) for key, n in counted.items()])


async def _load(writer: Writer, keys: Sequence[Key], shard: int) -> dict[Key, int]:
    if not keys:
        return {}
    rows = await writer.lookup(
        f"SELECT n.shard, n.project_id, n.name, n.roots FROM k JOIN {writer.name_of(names)} n ON n.shard = {shard} "
        "AND n.project_id = k.project_id AND n.name = k.name",
        {"project_id": "bytea", "name": "text"},
        [key[1:] for key in keys],
    )
    return {(row[0], bytes(row[1]), row[2]): row[3] for row in rows}
