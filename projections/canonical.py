"""Canonical dumps: what two stores that were told the same must agree on, row by row.

Positions and record times are left out: they say where and when something was recorded, not what.
"""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from projections import (
    attachments,
    feedback,
    feedback_configs,
    feedback_tokens,
    names,
    profiles,
    projects,
    runs,
    shares,
    stats,
)

UNDUMPED: Final[Mapping[Table, frozenset[str]]] = {
    attachments.attachments: frozenset(),
    feedback.feedback: feedback.UNDUMPED,
    feedback_configs.feedback_configs: feedback_configs.UNDUMPED,
    feedback_tokens.feedback_tokens: feedback_tokens.UNDUMPED,
    names.names: frozenset(),
    profiles.profiles: frozenset(),
    projects.projects: projects.UNDUMPED,
    runs.runs: runs.UNDUMPED,
    shares.shares: frozenset(),
    stats.stats: frozenset(),
}
"""The tables of the read models, each with the columns that a dump leaves out."""


async def dump(connection: AsyncConnection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every read model, by table, in the order of the primary key."""
    return {table.name: await _rows(connection, table, left_out) for table, left_out in UNDUMPED.items()}


async def _rows(connection: AsyncConnection, table: Table, left_out: frozenset[str]) -> list[tuple[Any, ...]]:
    columns = [column for column in table.c if column.name not in left_out]
    rows = await connection.execute(select(*columns))
    # Sorted here and not by the database: each orders text its own way.
    places = [columns.index(column) for column in table.primary_key]
    return sorted((tuple(row) for row in rows), key=lambda row: [row[place] for place in places])
