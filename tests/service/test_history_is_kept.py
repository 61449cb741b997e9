"""Whoever corrects, retries, rebuilds or erases appends to the log. What was in it stays as it was."""

from typing import Any

import orjson
from sqlalchemy import Table, select

from events.schema import events, quarantine, receipts
from projections import rebuild
from projections.projector import PROJECTIONS
from projections.rebuilds import Order
from tests.service.apps import Store, a_run, an_ended_run

ERASABLE = {"payload", "payload_salt", "event_id", "content_hash", "content_salt"}
NOTED_OF_A_RETRY = {"retried_at", "retry_receipt_id", "outcome"}


async def rows_of(store: Store, table: Table) -> list[dict[str, Any]]:
    async with store.engine.connect() as connection:
        query = select(table).order_by(*table.primary_key)
        return [dict(row._mapping) for row in await connection.execute(query)]


async def history(store: Store) -> dict[str, list[dict[str, Any]]]:
    return {table.name: await rows_of(store, table) for table in (events, receipts, quarantine)}


def changed(before: dict[str, list[dict[str, Any]]], after: dict[str, list[dict[str, Any]]]) -> set[str]:
    """The columns in which rows that were there are others now, or `gone`."""
    found = set()
    for table, rows in before.items():
        assert len(after[table]) >= len(rows), "gone"
        for one, other in zip(rows, after[table], strict=False):
            found |= {f"{table}.{name}" for name in one if one[name] != other[name]}
    return found


async def test_commands_change_history_by_appending_alone(store: Store) -> None:
    kept, erased = a_run(), an_ended_run()
    await store.post(kept, erased)
    await store.patch({"id": kept["id"], "outputs": {"a": 1}})
    await store.client.post("/runs/batch", content=orjson.dumps({"post": [{"name": "no id"}]}))
    before = await history(store)
    url = store.engine.url.render_as_string(hide_password=False)

    assert (await store.client.post(f"/runs/{kept['id']}/revert", json={"to_version": 1, "reason": "r"})).is_success
    assert (await store.client.post("/quarantine/1/retry", content=orjson.dumps(a_run()))).is_success
    for is_dry_run in (True, False):
        await rebuild.rebuild(url, Order(projections=PROJECTIONS, is_dry_run=is_dry_run), rule="documented")
    after = await history(store)
    assert changed(before, after) == {f"quarantine.{name}" for name in NOTED_OF_A_RETRY}
    assert len(after["events"]) == len(before["events"]) + 2

    assert (await store.client.delete(f"/traces/{erased['id']}", params={"reason": "asked for"})).is_success
    last = await history(store)
    assert {name.split(".")[1] for name in changed(after, last)} == ERASABLE
    assert len(last["events"]) == len(after["events"]) + 1
