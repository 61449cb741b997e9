"""The chain of one run: that its events are what the log's hashes say, or which is not."""

from sqlalchemy import text

from tests.service.apps import END, Store, a_run, new_id


async def drop_guards(store: Store) -> None:
    """Drop the triggers that keep events as they are."""
    async with store.engine.begin() as connection:
        if store.engine.dialect.name == "postgresql":
            await connection.exec_driver_sql("DROP FUNCTION events_refuse_change() CASCADE")
            return
        triggers = await connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.all():
            await connection.exec_driver_sql(f"DROP TRIGGER {name}")


async def test_the_chain_of_a_run_is_sound_until_one_of_its_events_is_changed(store: Store) -> None:
    run, other = a_run(), a_run()
    await store.post(run, other)
    await store.patch({"id": run["id"], "end_time": END, "outputs": {"a": 1}})
    path = f"/runs/{run['id']}/chain"
    sound = await store.get(path)
    assert sound == {"run_id": run["id"], "version": 2, "checked": 2, "is_sound": True, "findings": []}

    await drop_guards(store)
    position = (await store.get(f"/runs/{run['id']}/events"))["mutations"][1]["position"]
    async with store.engine.begin() as connection:
        change = text("UPDATE events SET payload_size = payload_size + 1 WHERE position = :position")
        await connection.execute(change, {"position": position})
    changed = await store.get(path)
    assert (changed["is_sound"], changed["checked"]) == (False, 2)
    assert [(finding["version"], finding["position"]) for finding in changed["findings"]] == [(2, position)]
    assert (await store.get(f"/runs/{other['id']}/chain"))["is_sound"]


async def test_the_chain_of_a_run_that_was_erased_is_sound(store: Store) -> None:
    run = a_run()
    await store.post(run)
    assert (await store.client.delete(f"/traces/{run['id']}?reason=asked")).status_code < 300
    erased = await store.get(f"/runs/{run['id']}/chain")
    assert (erased["is_sound"], erased["checked"]) == (True, 1)


async def test_the_chain_of_a_run_that_nothing_is_known_of_is_a_404(store: Store) -> None:
    answer = await store.client.get(f"/runs/{new_id()}/chain")
    assert answer.status_code == 404
