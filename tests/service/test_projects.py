"""GET /sessions and /settings: projects, as SDKs of all ages ask for them."""

from typing import Any

from tests.service.apps import Store, a_run, new_id, open_store


async def sessions(store: Store, **query: Any) -> list[dict[str, Any]]:
    answer = await store.client.get("/sessions", params=query or None)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


async def test_there_is_a_default_project_before_the_first_run(store: Store) -> None:
    (default,) = await sessions(store, limit=1)
    assert default["name"] == "default"
    settings = await store.get("/settings")
    assert (default["tenant_id"], settings["tenant_handle"]) == (settings["id"], "agent-spy-local")
    assert settings["display_name"] == "Agent Spy"


async def test_the_default_project_is_made_once_however_often_the_service_starts(database_url: str) -> None:
    found = []
    for _ in range(3):
        async with open_store(database_url) as store:
            found.append(await sessions(store))
            assert await store.count("events") == 1
    assert found == [found[0]] * 3


async def test_projects_are_found_by_exact_name_and_by_id_and_in_pages(store: Store) -> None:
    for name in ("one", "two", "three"):
        await store.post(a_run(session_name=name))
    assert [session["name"] for session in await sessions(store)] == ["three", "two", "one", "default"]
    assert [session["name"] for session in await sessions(store, limit=2, offset=1)] == ["two", "one"]
    (one,) = await sessions(store, name="one", limit=1, include_stats="False")
    assert await sessions(store, id=one["id"]) == [one]
    assert await store.get(f"/sessions/{one['id']}") == one
    for name in ("ONE", "on", "nobody's", "\0", "x" * 5000):
        assert await sessions(store, name=name) == []
    assert await sessions(store, id=new_id()) == []


async def test_a_project_that_is_not_there_is_a_404_and_what_cannot_be_asked_a_422(store: Store) -> None:
    assert (await store.client.get(f"/sessions/{new_id()}")).status_code == 404
    for path in (
        "/sessions/one",
        "/sessions?id=one",
        "/sessions?limit=0",
        "/sessions?limit=1001",
        "/sessions?offset=-1",
    ):
        assert (await store.client.get(path)).status_code == 422, path


async def test_names_that_are_too_long_or_odd_for_an_index_are_projects_all_the_same(store: Store) -> None:
    for name in ("x" * 12_000, "nul\0byte", "Σ", " ", "💥"):
        run = a_run(session_name=name)
        await store.post(run)
        shown = name[:500].replace("\0", "\ufffd")
        assert (await store.run(run["id"]))["project_name"] == shown
        assert [session["name"] for session in await sessions(store, name=name)] == [shown]
        assert (await store.roots(project=name))["total"] == 1


async def test_a_project_known_by_its_id_alone_goes_by_that_until_it_gets_a_name(store: Store) -> None:
    id_ = new_id()
    run = a_run(session_id=id_)
    await store.post(run)
    read = await store.run(run["id"])
    assert (read["session_id"], read["project_name"]) == (id_, id_)
    assert (await store.roots(project=id_))["total"] == 1
