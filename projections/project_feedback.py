"""Feedback on the runs of projects, on projects as a whole, and on the runs of a query, in numbers.

Feedback and its run come in any order, and runs move: which project a feedback counts to is known by its run as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from events.schema import SHARD
from projections.feedback import Feedback, feedback
from projections.feedback_stats import COMMENTS_MAX, FeedbackTallies, KeyStats
from projections.runs import runs

_COUNTED: Final = ("score", "value", "error")
_PART_ROWS: Final = 1000


@dataclass(frozen=True, slots=True)
class ProjectFeedback:
    """Feedback by its key: on the runs of a project, and on the project itself."""

    on_runs: Mapping[str, KeyStats]
    on_itself: Mapping[str, KeyStats]


@dataclass(frozen=True, slots=True)
class _Subject:
    """What feedback is on: where its rows are, which of them count, and to what, a project say."""

    rows: FromClause
    group: ColumnElement[Any]
    is_counted: ColumnElement[bool]


async def of_projects(
    connection: AsyncConnection, project_ids: Sequence[bytes], *, shard: int = SHARD
) -> dict[bytes, ProjectFeedback]:
    """The feedback of these projects. The database counts what is alike; it looks at all feedback on their runs."""
    of_run = (runs.c.shard == feedback.c.shard) & (runs.c.id == feedback.c.run_id)
    here = feedback.c.shard == shard
    on_runs = _Subject(feedback.join(runs, of_run), runs.c.project_id, here & runs.c.project_id.in_(project_ids))
    its_own = here & feedback.c.project_id.in_(project_ids) & feedback.c.run_id.is_(None)
    on_itself = _Subject(feedback, feedback.c.project_id, its_own)
    told = [await _tallied(connection, subject) for subject in (on_runs, on_itself)]
    return {
        id_: ProjectFeedback(*(tallies[id_].stats() if id_ in tallies else {} for tallies in told))
        for id_ in project_ids
    }


async def of_runs(
    connection: AsyncConnection, run: FromClause, conditions: Sequence[ColumnElement[bool]]
) -> FeedbackTallies:
    """The feedback on those rows of `run`, which has the columns of `runs`, that the conditions hold of."""
    of_run = (feedback.c.shard == run.c.shard) & (feedback.c.run_id == run.c.id)
    subject = _Subject(run.join(feedback, of_run), run.c.shard, and_(*conditions))
    return next(iter((await _tallied(connection, subject)).values()), FeedbackTallies())


async def _tallied(connection: AsyncConnection, subject: _Subject) -> dict[Any, FeedbackTallies]:
    tallies: dict[Any, FeedbackTallies] = {}
    rows = await connection.stream(_counts(subject))
    async for part in rows.partitions(_PART_ROWS):
        for group, key, times, *texts in part:
            members = {name: text for name, text in zip(_COUNTED, texts, strict=True) if text is not None}
            one = Feedback(b"", None, None, key, members, 0, 0, 0)
            tallies.setdefault(group, FeedbackTallies()).count(one, times)
    for group, key, comment in await connection.execute(_comments(subject)):
        one = Feedback(b"", None, None, key, {"comment": comment}, 0, 0, 0)
        tallies.setdefault(group, FeedbackTallies()).quote(one)
    return tallies


def _counts(subject: _Subject) -> Select[Any]:
    """How often each score, value and error was given with each key."""
    alike = (subject.group, feedback.c.key, *(feedback.c[name] for name in _COUNTED))
    query = select(*alike[:2], func.count(), *alike[2:]).select_from(subject.rows)
    return query.where(subject.is_counted).group_by(*alike)


def _comments(subject: _Subject) -> Select[Any]:
    """A few comments with each key, always the same."""
    place = func.row_number().over(
        partition_by=(subject.group, feedback.c.key), order_by=(feedback.c.first_recorded_at, feedback.c.id)
    )
    columns = (subject.group.label("group_"), feedback.c.key, feedback.c.comment, place.label("place"))
    said = feedback.c.comment.is_not(None) & (feedback.c.comment != '""')
    some = select(*columns).select_from(subject.rows).where(subject.is_counted, said).subquery()
    found = select(some.c.group_, some.c.key, some.c.comment).where(some.c.place <= COMMENTS_MAX)
    return found.order_by(some.c.group_, some.c.key, some.c.place)
