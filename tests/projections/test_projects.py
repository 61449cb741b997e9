"""The projects: there while runs are in them, or because someone created them."""

import pytest

from events.ids import format_id
from projections import projects
from projections.project_changes import NoSuchProject, ProjectExists
from projections.projects import Project
from projections.words import NAME_CHARS_MAX, project_id_of
from service.ingest.items import project_created
from tests.projections.stores import Store, opened, patched, posted, run_id


async def named(store: Store, name: str | None = None) -> dict[str, tuple[int, int]]:
    """By name: how many runs are in a project, and whether it was created."""
    async with store.engine.connect() as connection:
        return {p.name: (p.runs, p.is_created) for p in await projects.find(connection, name=name)}


async def test_a_project_comes_with_its_first_run_and_goes_with_its_last(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1, session_name="one"), posted(2, session_name="one"), posted(3))
        assert await named(store) == {"one": (2, 0), "default": (1, 0)}
        await store.append(patched(1, session_name="two"), patched(2, session_name="two"))
        assert await named(store) == {"two": (2, 0), "default": (1, 0)}


async def test_a_project_that_was_created_stays_without_runs(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(project_created("one"))
        assert await named(store) == {"one": (0, 1)}
        await store.append(posted(1, session_name="one"))
        await store.append(patched(1, session_name="two"))
        assert await named(store) == {"one": (0, 1), "two": (1, 0)}


async def test_a_write_that_names_no_project_makes_none_but_the_runs_own(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1, session_name="one"), patched(1, end_time="2025-12-31T13:00:00Z"))
        assert await named(store) == {"one": (1, 0)}


async def test_a_project_known_by_its_id_goes_by_it_until_it_is_named(database_url: str) -> None:
    id_ = project_id_of("one")
    async with opened(database_url) as store:
        await store.append(posted(1, session_id=format_id(id_)))
        assert await named(store) == {format_id(id_): (1, 0)}
        await store.append(posted(2, session_name="one"))
        assert await named(store) == {"one": (2, 0)}


async def test_a_name_is_learned_from_a_run_that_takes_the_place_of_another(database_url: str) -> None:
    id_ = project_id_of("one")
    async with opened(database_url) as store:
        await store.append(posted(1, session_id=format_id(id_)))
        await store.append(posted(2, session_name="one"), patched(1, session_name="two"))
        assert await named(store) == {"one": (1, 0), "two": (1, 0)}


async def test_a_long_name_is_found_by_its_beginning(database_url: str) -> None:
    name = "ü" * 20_000
    async with opened(database_url) as store:
        await store.append(posted(1, session_name=name), project_created(name))
        assert await named(store) == {"ü" * NAME_CHARS_MAX: (1, 1)}
        async with store.engine.connect() as connection:
            assert await projects.ids_of(connection, [name]) == [project_id_of("ü" * NAME_CHARS_MAX)]


async def test_two_names_are_the_name_of_no_project(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1, session_name="one"), posted(2, session_name="two"))
        async with store.engine.connect() as connection:
            assert await projects.ids_of(connection, ["one", "two"]) == []
            assert await projects.ids_of(connection, ["one", "one"]) == [project_id_of("one")]
            assert await projects.ids_of(connection, ["three"]) == []


async def test_projects_come_in_pages_the_newest_first(database_url: str) -> None:
    async with opened(database_url) as store:
        for number in range(1, 4):
            await store.append(posted(number, session_name=f"p{number}"), now=1_767_225_600_000_000 + number)
        async with store.engine.connect() as connection:

            async def page(offset: int) -> list[Project]:
                return await projects.find(connection, limit=2, offset=offset)

            assert [p.name for p in [*await page(0), *await page(2)]] == ["p3", "p2", "p1"]
            assert [p.name for p in await projects.find(connection, ids=[project_id_of("p2")])] == ["p2"]


def test_the_id_of_a_project_follows_from_its_name() -> None:
    assert project_id_of("default").hex() == "4f1937ff6543553cb2f3b01725a92634"
    assert len({project_id_of(name) for name in ("a", "A", "a ", "")}) == 4


async def test_what_a_name_stands_for_depends_on_where_in_the_log_it_is_given(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1, session_name="one"))
        async with store.changing() as changing:
            await changing.patch(project_id_of("one"), {}, name="two")
        await store.append(posted(2, session_name="two"), posted(3, session_name="one"))
        await store.append(patched(1, session_name="one", outputs={"a": 1}))
        assert await named(store) == {"two": (2, 1), "one": (1, 0)}
        states = await store.runs()
        assert states[run_id(1)].project_id == states[run_id(2)].project_id == project_id_of("one")


async def test_a_name_that_was_given_up_twice_begins_a_third_project(database_url: str) -> None:
    async with opened(database_url) as store:
        ids = set()
        for number in range(1, 4):
            await store.append(posted(number, session_name="one"))
            ids.add((await store.runs())[run_id(number)].project_id)
            async with store.engine.connect() as connection:
                (current,) = await projects.ids_of(connection, ["one"])
            async with store.changing() as changing:
                await changing.delete(current)
        assert (len(ids), await named(store)) == (3, {})


async def test_a_write_to_a_run_of_a_deleted_project_does_not_bring_it_back(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1, session_name="one"))
        async with store.changing() as changing:
            await changing.delete(project_id_of("one"))
        await store.append(patched(1, session_name="one", outputs={"a": 1}))
        assert await named(store) == {}
        await store.append(patched(1, session_name="two"))
        assert await named(store) == {"two": (1, 0)}


async def test_a_project_cannot_take_the_name_or_the_id_of_another(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1, session_name="one"), posted(2, session_name="two"))
        for name, id_ in (("one", None), ("three", project_id_of("two"))):
            with pytest.raises(ProjectExists):
                async with store.changing() as changing:
                    await changing.create(name, {}, id_=id_)
        with pytest.raises(ProjectExists):
            async with store.changing() as changing:
                await changing.patch(project_id_of("one"), {}, name="two")
        with pytest.raises(NoSuchProject):
            async with store.changing() as changing:
                await changing.delete(project_id_of("three"))
