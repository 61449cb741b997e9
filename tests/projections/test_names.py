"""The names of root runs, as they are counted and compared."""

import pytest

from projections.names import folded
from projections.words import DEFAULT_PROJECT_ID, project_id_of
from tests.projections.stores import Store, id_text, opened, patched, posted, run_id


async def names_of(store: Store) -> dict[tuple[bytes, str], int]:
    rows = (await store.dump())["names"]
    return {(project_id, name): roots for _, project_id, name, _, roots in rows}


async def test_names_are_counted_by_project(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1, name="a"), posted(2, name="a"), posted(3, name="a", session_name="one"))
        assert await names_of(store) == {(DEFAULT_PROJECT_ID, "a"): 2, (project_id_of("one"), "a"): 1}


async def test_a_name_that_no_root_bears_any_more_is_gone(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1, name="a"))
        await store.append(patched(1, name="b"))
        assert await names_of(store) == {(DEFAULT_PROJECT_ID, "b"): 1}
        await store.append(patched(1, trace_id=id_text(2)))
        assert await names_of(store) == {(DEFAULT_PROJECT_ID, "b"): 1}  # That of the placeholder.
        await store.append(posted(2, name="c"))
        assert await names_of(store) == {(DEFAULT_PROJECT_ID, "c"): 1}
        await store.erase(run_id(2))
        assert await names_of(store) == {}


async def test_a_name_is_kept_beside_its_folded_form(database_url: str) -> None:
    async with opened(database_url) as store:
        await store.append(posted(1, name="STRAẞE"))
        assert [row[2:4] for row in (await store.dump())["names"]] == [("STRAẞE", "strasse")]


@pytest.mark.parametrize(
    ("one", "other"), [("ß", "SS"), ("İ", "i"), ("ς", "Σ"), ("ﬁ", "FI"), ("Ǆ", "ǆ"), ("ÿ", "Ÿ"), ("搜", "搜")]
)
def test_texts_that_differ_in_case_alone_fold_to_one(one: str, other: str) -> None:
    assert folded(one) == folded(other)


def test_the_dotless_i_is_another_letter() -> None:
    assert folded("\u0131") != folded("i")
