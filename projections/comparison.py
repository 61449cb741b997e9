"""Comparing read models with others of the same shape, row by row, within the database."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, Table, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.ids import format_id
from projections.projects import projects

DIFFERENCES_MAX: Final = 10
"""How many rows of one table are named at most."""

# When a project came to be is when the first run came that made it be, also of runs that moved on since.
_NOT_COMPARED: Final[Mapping[Table, frozenset[str]]] = {projects: frozenset({"first_recorded_at"})}
_ID_BYTES: Final = 16
_SHOWN_CHARS_MAX: Final = 80


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that is not as a fold of the log makes it. `columns` gives, by name, what is live and what was rebuilt.

    They are empty when the row is missing (`is_missing`), or when there should be none.
    """

    table: str
    key: tuple[Any, ...]
    is_missing: bool
    columns: Mapping[str, tuple[Any, Any]]

    def __str__(self) -> str:
        """Such as `runs 018f…: status is 'failed', and should be 'completed'`."""
        place = f"{self.table} {' '.join(map(_shown, self.key))}"
        if self.is_missing:
            return f"{place}: it is missing"
        if not self.columns:
            return f"{place}: it should not be there"
        wrong = (f"{n} is {_shown(live)}, and should be {_shown(new)}" for n, (live, new) in self.columns.items())
        return f"{place}: {'; '.join(wrong)}"

    @property
    def place(self) -> str:
        """Which row it is and in which columns, without anything that clients sent: that may be erased one day."""
        key = " ".join(_shown(part) for part in self.key if not isinstance(part, str))
        return f"{self.table} {key}: {', '.join(self.columns) or ('missing' if self.is_missing else 'too many')}"


async def differences(connection: AsyncConnection, pairs: Mapping[Table, Table]) -> AsyncIterator[Difference]:
    """The first rows in which tables differ from those that were rebuilt: pairs of the live and the rebuilt one.

    They come in the order of the keys, those that are too many last; up to `DIFFERENCES_MAX` of each table.
    """
    for live, rebuilt in pairs.items():
        found = 0
        for query in (_changed(live, rebuilt), _not_in(rebuilt, live)):
            for row in await connection.execute(query.limit(DIFFERENCES_MAX - found)):
                yield _difference(live, rebuilt, row)
                found += 1
            if found == DIFFERENCES_MAX:
                break


def _changed(live: Table, rebuilt: Table) -> Any:
    """Live rows that were rebuilt otherwise, or not at all."""
    compared = [column.name for column in live.c if column.name not in _NOT_COMPARED.get(live, ())]
    missing = next(iter(rebuilt.primary_key)).is_(None)
    differ = [live.c[name].is_distinct_from(rebuilt.c[name]) for name in compared]
    joined = live.outerjoin(rebuilt, _same_key(live, rebuilt))
    columns = [*(c.label(f"live_{c.name}") for c in live.c), *(c.label(f"rebuilt_{c.name}") for c in rebuilt.c)]
    return select(*columns).select_from(joined).where(or_(missing, *differ)).order_by(*live.primary_key)


def _not_in(rebuilt: Table, live: Table) -> Any:
    """Rebuilt rows of which there is none that is live."""
    joined = rebuilt.outerjoin(live, _same_key(live, rebuilt))
    columns = [c.label(f"rebuilt_{c.name}") for c in rebuilt.primary_key]
    missing = next(iter(live.primary_key)).is_(None)
    return select(*columns).select_from(joined).where(missing).order_by(*rebuilt.primary_key)


def _same_key(live: Table, rebuilt: Table) -> Any:
    return and_(*(live.c[column.name] == rebuilt.c[column.name] for column in live.primary_key))


def _difference(live: Table, rebuilt: Table, row: Row[Any]) -> Difference:
    values = row._mapping
    keys = [column.name for column in live.primary_key if column.name != "shard"]
    if "live_shard" not in values:
        return Difference(live.name, tuple(values[f"rebuilt_{name}"] for name in keys), True, {})
    key = tuple(values[f"live_{name}"] for name in keys)
    if values["rebuilt_shard"] is None:
        return Difference(live.name, key, False, {})
    pairs = {c.name: (values[f"live_{c.name}"], values[f"rebuilt_{c.name}"]) for c in live.c}
    left_out = _NOT_COMPARED.get(live, ())
    differing = {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and name not in left_out}
    return Difference(live.name, key, False, differing)


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return format_id(value) if len(value) == _ID_BYTES else f"{len(value)} bytes {value[:8].hex()}…"
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS_MAX else text[:_SHOWN_CHARS_MAX] + "…"
