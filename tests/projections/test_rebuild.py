"""What is rebuilt from the log is what is live, byte for byte (invariant 4), and nobody notices that it was rebuilt."""

import asyncio
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings

from projections.rebuilds import Order
from tests.databases import Databases
from tests.projections.rebuilding import Happening, happen, histories, rebuilt, rows_of, told
from tests.projections.stores import opened

stored = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def live_and_rebuilt(databases: Databases, before: list[Happening], after: list[Happening]) -> None:
    """Rebuild a store twice while it is told things, and compare."""
    url = databases.migrated()

    async def used() -> None:
        async with opened(url) as store:
            await happen(store, before)
            compared = await rebuilt(url, Order(projections=("runs", "attachments", "feedback"), is_dry_run=True))
            assert (compared.outcome, told(compared.differences)) == ("equal", "")
            live = await rows_of(store)
            assert (await rebuilt(url)).outcome == "replaced"
            assert await rows_of(store) == live
            await happen(store, after)
            again = await rebuilt(url, Order(projections=("runs", "attachments", "feedback"), is_dry_run=True))
            assert (again.outcome, told(again.differences)) == ("equal", "")

    try:
        asyncio.run(used())
    finally:
        databases.drop(url)


@settings(stored, max_examples=60)
@given(histories, histories)
def test_what_is_rebuilt_is_what_is_live_after_any_history(
    databases: Callable[[str], Databases], before: list[Happening], after: list[Happening]
) -> None:
    live_and_rebuilt(databases("sqlite"), before, after)


@settings(stored, max_examples=8)
@given(histories, histories)
def test_the_same_on_postgresql(
    databases: Callable[[str], Databases], before: list[Happening], after: list[Happening]
) -> None:
    live_and_rebuilt(databases("postgresql"), before, after)
