"""The list of traces by what any run of them says: its name, its error, its inputs or its outputs."""

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from events.schema import SHARD
from projections import projects, queries
from projections.filters.compiling import TextIndex
from projections.filters.conditions import EVERYTHING, Search
from projections.queries import RunQuery
from projections.traces import Filters, NamedRun, Place

SEARCHED: Final = ("name", "error", "inputs", "outputs")


def query_of(filters: Filters) -> RunQuery:
    """The query that finds the roots of the traces which the filters leave, lost ones by their placeholders."""
    return RunQuery(
        project_ids=filters.project_ids,
        is_root=True,
        with_placeholders=True,
        status=filters.status,
        start_from=filters.start_from,
        start_to=filters.start_to,
        tree_condition=EVERYTHING if filters.search is None else Search(SEARCHED, filters.search),
    )


async def find_roots(
    connection: AsyncConnection,
    query: RunQuery,
    *,
    limit: int,
    after: Place | None,
    index: TextIndex,
    shard: int = SHARD,
) -> tuple[list[NamedRun], Place | None]:
    """A page of roots, the newest start first, and the place after which there are more; None when there are none.

    A page that takes long ends before it is full, and may be empty.
    """
    place = None if after is None else queries.Place(*after)
    page = await queries.find(connection, query, limit=limit, after=place, index=index, may_be_empty=True, shard=shard)
    ids = list({run.project_id for run in page.runs})
    names = {one.id: one.name for one in await projects.find(connection, ids=ids, limit=len(ids), shard=shard)}
    named = [NamedRun(run, names[run.project_id]) for run in page.runs if run.project_id in names]
    return named, None if page.next is None else Place(*page.next)
