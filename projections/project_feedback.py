"""Feedback on the runs of projects, and on projects as a whole, in numbers.

Feedback and its run come in any order, and runs move: which project a feedback counts to is known by its run as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.schema import SHARD
from projections.feedback import Feedback, feedback
from projections.feedback_stats import FeedbackTallies, KeyStats
from projections.runs import runs

_COUNTED: Final = ("score", "value", "comment", "error")
_PART_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class ProjectFeedback:
    """Feedback by its key: on the runs of a project, and on the project itself."""

    on_runs: Mapping[str, KeyStats]
    on_itself: Mapping[str, KeyStats]


async def of_projects(
    connection: AsyncConnection, project_ids: Sequence[bytes], *, shard: int = SHARD
) -> dict[bytes, ProjectFeedback]:
    """The feedback of these projects. Takes as long as there is feedback, on whichever runs."""
    columns = (feedback.c.key, *(feedback.c[name] for name in _COUNTED))
    on_runs = (
        select(runs.c.project_id, *columns)
        .select_from(feedback)
        .join(runs, (runs.c.shard == feedback.c.shard) & (runs.c.id == feedback.c.run_id))
        .where(feedback.c.shard == shard, runs.c.project_id.in_(project_ids))
    )
    on_itself = select(feedback.c.project_id, *columns).where(
        feedback.c.shard == shard, feedback.c.project_id.in_(project_ids), feedback.c.run_id.is_(None)
    )
    told = [await _tallied(connection, query) for query in (on_runs, on_itself)]
    return {
        id_: ProjectFeedback(*(tallies[id_].stats() if id_ in tallies else {} for tallies in told))
        for id_ in project_ids
    }


async def _tallied(connection: AsyncConnection, query: Select[Any]) -> dict[bytes, FeedbackTallies]:
    tallies: dict[bytes, FeedbackTallies] = {}
    rows = await connection.stream(query)
    async for part in rows.partitions(_PART_ROWS):
        for project_id, key, *texts in part:
            members = {name: text for name, text in zip(_COUNTED, texts, strict=True) if text is not None}
            one = Feedback(b"", None, None, key, members, 0, 0, 0)
            tallies.setdefault(bytes(project_id), FeedbackTallies()).count(one)
    return tallies
