"""What is rebuilt from the log is what is live, byte for byte (invariant 4), and nobody notices that it was rebuilt."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import text

from events.ids import format_id
from projections import rebuilds
from projections.projector import fold_version
from projections.rebuild import (
    EVERYTHING,
    Progress,
    RebuildCancelled,
    RebuildFailed,
    compare,
    rebuild,
)
from projections.rebuilds import Order, Rebuild, RebuildRunning, RebuildSuperseded
from projections.shadow import TABLES, whole
from service.ingest.items import Item, feedback_posted, project_created
from tests.databases import Databases
from tests.examples import examples
from tests.projections.rebuilding import Happening, happen, histories, rebuilt, rows_of, told
from tests.projections.stores import NOW, Store, id_text, opened, patched, posted, run_id, with_attachments
from tests.test_migrations import differences as schema_differences
from tests.test_migrations import everything_made, within

DRY_RUN = Order(projections=EVERYTHING.projections, is_dry_run=True)
stored = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

ROOT, CHILD, LEAF, ALONE, ORPHAN, LOST = range(1, 7)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A store with two traces, a third without root, feedback, an attachment and a project without runs."""
    async with opened(database_url) as store:
        await store.append(
            posted(ROOT, trace_id=id_text(ROOT), name="agent", session_name="one"),
            posted(CHILD, trace_id=id_text(ROOT), parent_run_id=id_text(ROOT), session_name="one"),
            posted(LEAF, parent_run_id=id_text(CHILD), session_name="one"),
            posted(ALONE, trace_id=id_text(ALONE), outputs={"a": 1}, end_time="2025-12-31T12:00:05Z"),
            posted(ORPHAN, trace_id=id_text(LOST)),
            *with_attachments(
                "patch",
                f'{{"id": "{id_text(ROOT)}", "attachments": {{"a.txt": ["text/plain", "eA=="]}}}}'.encode(),
            ),
            some_feedback(CHILD),
            project_created("two"),
        )
        yield store


def some_feedback(run: int) -> Item:
    return feedback_posted(
        f'{{"id": "{id_text(900 + run)}", "run_id": "{id_text(run)}", "key": "good", "score": 1}}'.encode(),
        source="feedback",
    )


def url_of(store: Store) -> str:
    return store.engine.url.render_as_string(hide_password=False)


async def execute(store: Store, statement: str, **values: object) -> None:
    """Run a statement behind the program's back."""
    async with store.engine.begin() as connection:
        await connection.execute(text(statement), values)


async def last_rebuild(store: Store) -> Rebuild:
    """The last rebuild or dry run."""
    async with store.engine.connect() as connection:
        both = [await rebuilds.last_of(connection, EVERYTHING.projections, is_dry_run=dry) for dry in (False, True)]
    return max((last["runs"] for last in both if last), key=lambda rebuild: rebuild.rebuild_id)


# --- rebuilt = live ---------------------------------------------------------------------------------------------------


def live_and_rebuilt(databases: Databases, before: Sequence[Happening], after: Sequence[Happening]) -> None:
    """Rebuild a store, tell it more, and compare before, in between and at the end."""
    url = databases.migrated()

    async def used() -> None:
        async with opened(url) as store:
            await happen(store, before)
            live = await rows_of(store)
            replaced = await rebuilt(url)  # It compares, too, and would replace nothing that differs.
            assert (replaced.outcome, told(replaced.differences)) == ("replaced", "")
            assert await rows_of(store) == live
            await happen(store, after)
            again = await rebuilt(url, DRY_RUN)
            assert (again.outcome, told(again.differences)) == ("equal", "")

    try:
        asyncio.run(used())
    finally:
        databases.drop(url)


@settings(stored, max_examples=examples(20))
@given(histories, histories)
def test_what_is_rebuilt_is_what_is_live_after_any_history(
    databases: Callable[[str], Databases], before: list[Happening], after: list[Happening]
) -> None:
    live_and_rebuilt(databases("sqlite"), before, after)


@settings(stored, max_examples=examples(4))
@given(histories, histories)
def test_what_is_rebuilt_on_postgresql_is_what_is_live_there(
    databases: Callable[[str], Databases], before: list[Happening], after: list[Happening]
) -> None:
    live_and_rebuilt(databases("postgresql"), before, after)


def rebuilt_meanwhile(databases: Databases, before: Sequence[Happening], meanwhile: Sequence[Happening]) -> None:
    """Rebuild a store while it is told more: what comes at each step is taken in by the rebuild."""
    url = databases.migrated()

    async def used() -> None:
        async with opened(url) as store:
            await happen(store, before)
            steps: asyncio.Queue[str] = asyncio.Queue()
            left = iter(meanwhile)

            def look(progress: Progress) -> None:
                if progress.step in ("folding", "settling", "comparing", "swapping"):
                    steps.put_nowait(progress.step)

            async def tell() -> None:
                while True:
                    await steps.get()
                    await happen(store, [happening for happening, _ in zip(left, range(2), strict=False)])

            telling = asyncio.create_task(tell())
            result = await rebuilt(url, progress=look)
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            assert (result.outcome, told(result.differences)) == ("replaced", "")
            await happen(store, list(left))
            again = await rebuilt(url, DRY_RUN)
            assert (again.outcome, told(again.differences)) == ("equal", "")

    try:
        asyncio.run(used())
    finally:
        databases.drop(url)


@settings(stored, max_examples=examples(12))
@given(histories, histories)
def test_what_comes_during_a_rebuild_is_in_what_is_rebuilt(
    databases: Callable[[str], Databases], before: list[Happening], meanwhile: list[Happening]
) -> None:
    rebuilt_meanwhile(databases("sqlite"), before, meanwhile)


@settings(stored, max_examples=examples(4))
@given(histories, histories)
def test_what_comes_during_a_rebuild_on_postgresql_is_in_what_is_rebuilt(
    databases: Callable[[str], Databases], before: list[Happening], meanwhile: list[Happening]
) -> None:
    rebuilt_meanwhile(databases("postgresql"), before, meanwhile)


async def test_several_processes_make_what_one_makes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projections.rebuild._ALONE_EVENTS_MAX", 0)
    monkeypatch.setattr("projections.rebuild._PART_EVENTS", 2)
    assert (await rebuilt(url_of(store), processes=2)).outcome == "replaced"
    assert (await rebuilt(url_of(store), DRY_RUN)).outcome == "equal"


async def test_chains_and_cycles_of_inferred_traces_are_settled_in_portions(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for portion in ("_PARENTS", "_ROWS"):
        monkeypatch.setattr(f"projections.settling.{portion}", 3)
    chain = [posted(number, parent_run_id=id_text(number - 1)) for number in range(20, 2, -1)]
    cycle = [posted(number, parent_run_id=id_text(30 + (number + 1) % 5)) for number in range(30, 35)]
    below = [posted(number, parent_run_id=id_text(number - 10)) for number in range(40, 45)]
    itself = [posted(50, parent_run_id=id_text(50)), posted(51, parent_run_id=id_text(50))]
    # Its parent says that it is in the trace of its child.
    back = [posted(60, trace_id=id_text(61), parent_run_id=id_text(61)), posted(61, parent_run_id=id_text(60))]
    async with opened(database_url) as store:
        await store.append(*chain, *cycle, *below, *itself, *back)
        result = await rebuilt(database_url, DRY_RUN)
        assert (result.outcome, told(result.differences)) == ("equal", "")


async def test_an_empty_log_makes_empty_read_models(database_url: str) -> None:
    assert (await rebuilt(database_url, DRY_RUN)).outcome == "equal"
    assert (await rebuilt(database_url)).outcome == "replaced"
    async with opened(database_url) as store:
        await store.append(posted(ROOT))
        assert (await rebuilt(database_url, DRY_RUN)).outcome == "equal"


# --- comparing --------------------------------------------------------------------------------------------------------

TAMPERED = {
    "a run's column": (
        "UPDATE runs SET status = 'failed' WHERE name = 'agent'",
        f"runs {id_text(ROOT)}: status is 'failed', and should be 'running'",
    ),
    "a run too few": (f"DELETE FROM runs WHERE id = {{{CHILD}}}", f"runs {id_text(CHILD)}: it is missing"),
    "a run too many": (
        "UPDATE runs SET id = {77} WHERE id = {4}",
        f"runs {id_text(77)}: it should not be there",
    ),
    "a trace that was inferred": (
        f"UPDATE runs SET trace_id = {{{LEAF}}}, is_root = 1 WHERE id = {{{LEAF}}}",
        f"runs {id_text(LEAF)}: trace_id is {id_text(LEAF)}, and should be {id_text(ROOT)}; "
        "is_root is 1, and should be 0",
    ),
    "a placeholder": (f"DELETE FROM runs WHERE id = {{{LOST}}}", f"runs {id_text(LOST)}: it is missing"),
    "statistics": ("UPDATE stats SET runs = runs + 1 WHERE status = 'completed'", "stats "),
    "a name": ("UPDATE names SET roots = 7 WHERE name = 'agent'", "names "),
    "a project": ("UPDATE projects SET name = 'three' WHERE name = 'two'", "name is 'three', and should be 'two'"),
    "feedback": (
        "UPDATE feedback SET score = '0'",
        f"feedback {id_text(900 + CHILD)}: score is '0', and should be '1'",
    ),
    "an attachment": (
        "DELETE FROM attachments",
        f"attachments {id_text(ROOT)} 'a.txt': it is missing",
    ),
    "a former place": (
        "INSERT INTO former_places (shard, place_id, run_id) VALUES (0, {1}, {2})",
        f"former_places {id_text(1)} {id_text(2)}: it should not be there",
    ),
}


async def tamper(store: Store, statement: str) -> None:
    """Run a statement in which `{7}` stands for the id of run 7."""
    parts = statement.replace("}", "{").split("{")
    values = {f"v{place}": run_id(int(part)) for place, part in enumerate(parts) if place % 2}
    await execute(store, "".join(f":v{p}" if p % 2 else part for p, part in enumerate(parts)), **values)


@pytest.mark.parametrize("name", TAMPERED)
async def test_a_dry_run_names_the_row_that_was_tampered_with(store: Store, name: str) -> None:
    statement, expected = TAMPERED[name]
    await tamper(store, statement)
    live = await rows_of(store)
    result = await rebuilt(url_of(store), DRY_RUN)
    assert result.outcome == "different"
    assert expected in told(result.differences)
    assert await rows_of(store) == live


async def test_what_differs_is_left_unless_it_is_to_be_replaced(store: Store) -> None:
    right = await rows_of(store)
    await tamper(store, TAMPERED["a run's column"][0])
    wrong = await rows_of(store)
    assert (await rebuilt(url_of(store))).outcome == "different"
    assert await rows_of(store) == wrong
    replacing = Order(projections=EVERYTHING.projections, replaces_differing=True)
    result = await rebuilt(url_of(store), replacing)
    assert (result.outcome, len(result.differences)) == ("replaced", 1)
    assert await rows_of(store) == right


async def test_what_a_rebuild_notes_for_good_tells_the_row_and_no_value(store: Store) -> None:
    await tamper(store, "UPDATE runs SET inputs_preview = 'secret' WHERE name = 'agent'")
    await tamper(store, "UPDATE names SET roots = 7 WHERE name = 'agent'")
    await rebuilt(url_of(store), DRY_RUN)
    note = (await last_rebuild(store)).note or ""
    assert f"runs {id_text(ROOT)}: inputs_preview" in note
    assert "secret" not in note
    assert "agent" not in note


async def test_comparing_yields_the_differences(store: Store) -> None:
    assert [found async for found in compare(url_of(store), rule="documented")] == []
    await tamper(store, "UPDATE feedback SET score = '0'")
    found = [found async for found in compare(url_of(store), rule="documented", projections=["feedback"])]
    assert [(one.table, one.key, one.columns) for one in found] == [
        ("feedback", (run_id(900 + CHILD),), {"score": ("0", "1")})
    ]


# --- some of it -------------------------------------------------------------------------------------------------------


def test_what_counts_rows_is_made_together_with_them() -> None:
    assert whole(["stats"]) == whole(["runs", "names"]) == ("names", "projects", "runs", "stats")
    assert whole(["feedback"]) == ("feedback",)
    assert set(whole(TABLES)) == set(EVERYTHING.projections)


async def test_one_read_model_is_rebuilt_and_the_others_are_left(store: Store) -> None:
    await tamper(store, "UPDATE feedback SET score = '0'")
    await tamper(store, "DELETE FROM attachments")
    order = Order(projections=["feedback"], replaces_differing=True)
    assert (await rebuilt(url_of(store), order)).outcome == "replaced"
    left = await rebuilt(url_of(store), DRY_RUN)
    assert [difference.table for difference in left.differences] == ["attachments"]
    await store.append(some_feedback(ROOT))
    assert await store.query("SELECT count(*) FROM feedback") == [(2,)]


async def test_read_models_of_other_folds_are_only_replaced_together(store: Store) -> None:
    with pytest.raises(RebuildFailed, match=r"by the folds .*documented: all of them have to be rebuilt"):
        await rebuilt(url_of(store), Order(projections=["feedback"]), rule="ended")
    result = await rebuilt(url_of(store), rule="ended")
    assert (result.outcome, result.differences) == ("replaced", ())
    assert await store.query("SELECT fold_version FROM heads") == [(fold_version("ended"),)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET status = 'failed', model = 'x' WHERE trace_id = {1}",
        "DELETE FROM runs WHERE trace_id = {1}",
        "DELETE FROM runs WHERE id = {2}",
        "UPDATE runs SET trace_id = {3}, is_root = 1 WHERE id = {3}",
        "DELETE FROM attachments",
        "DELETE FROM feedback",
        "UPDATE feedback SET score = '0'",
        "INSERT INTO former_places (shard, place_id, run_id) VALUES (0, {4}, {2})",
    ],
)
async def test_one_trace_is_put_right(store: Store, statement: str) -> None:
    right = await rows_of(store)
    await tamper(store, statement)
    wrong = await rows_of(store)
    names = EVERYTHING.projections
    looked_at = await rebuilt(url_of(store), Order(projections=names, trace_id=run_id(ROOT), is_dry_run=True))
    assert looked_at.outcome == "different"
    assert looked_at.differences
    assert await rows_of(store) == wrong
    repaired = await rebuilt(url_of(store), Order(projections=names, trace_id=run_id(ROOT)))
    assert (repaired.outcome, repaired.differences) == ("replaced", looked_at.differences)
    assert await rows_of(store) == right
    assert (await rebuilt(url_of(store), Order(projections=names, trace_id=run_id(ROOT)))).outcome == "equal"


async def test_a_trace_without_root_gets_its_placeholder_back(store: Store) -> None:
    right = await rows_of(store)
    await tamper(store, f"DELETE FROM runs WHERE id = {{{LOST}}}")
    await rebuilt(url_of(store), Order(projections=EVERYTHING.projections, trace_id=run_id(LOST)))
    assert await rows_of(store) == right


# --- being one of several ---------------------------------------------------------------------------------------------


async def begun(store: Store, *, owner: str = "elsewhere 1", now: int) -> int:
    """The number of a rebuild that was begun, and is not carried out."""
    async with store.writer.transaction():
        return await rebuilds.begin(
            store.writer, EVERYTHING, fold_version=fold_version("documented"), now=now, owner=owner
        )


async def test_there_is_one_rebuild_at_a_time(store: Store) -> None:
    await begun(store, now=10**18)
    with pytest.raises(RebuildRunning, match="rebuild 1 is under way, and there is one at a time"):
        await rebuilt(url_of(store))


async def test_a_rebuild_that_was_silent_for_long_is_taken_over(store: Store) -> None:
    await begun(store, now=NOW)
    result = await rebuilt(url_of(store))
    assert (result.rebuild_id, result.outcome) == (2, "replaced")
    assert await store.query("SELECT rebuild_id, outcome FROM rebuilds ORDER BY 1") == [
        (1, "interrupted"),
        (2, "replaced"),
    ]


async def test_a_rebuild_whose_process_is_gone_is_taken_over_at_once(store: Store) -> None:
    gone = await asyncio.create_subprocess_exec("true")
    await gone.wait()
    owner = rebuilds.this_process().rpartition(" ")[0] + f" {gone.pid}"
    await begun(store, now=10**18, owner=owner)
    assert (await rebuilt(url_of(store))).outcome == "replaced"


async def test_a_rebuild_that_was_taken_over_stops_and_touches_nothing(store: Store) -> None:
    live = await rows_of(store)

    def take_over(progress: Progress) -> None:
        if progress.step == "folding" and progress.events:
            taking.append(asyncio.ensure_future(execute(store, "UPDATE rebuilds SET outcome = 'interrupted'")))

    taking: list[asyncio.Future[None]] = []
    with pytest.raises(RebuildSuperseded):
        await rebuilt(url_of(store), progress=take_over)
    await asyncio.gather(*taking)
    assert await rows_of(store) == live


async def test_a_cancelled_rebuild_leaves_no_table_behind(store: Store) -> None:
    made = await within(url_of(store), everything_made)
    live = await rows_of(store)

    def cancel(progress: Progress) -> None:
        if progress.step == "comparing":
            raise RebuildCancelled("enough")

    with pytest.raises(RebuildCancelled):
        await rebuilt(url_of(store), progress=cancel)
    assert await within(url_of(store), everything_made) == made
    assert await rows_of(store) == live
    assert ((last := await last_rebuild(store)).outcome, last.note) == ("cancelled", "enough")


async def test_somebody_else_can_cancel_a_rebuild(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def cancel_it() -> None:
        async with store.writer.transaction():
            await rebuilds.ask_to_cancel(store.writer, 1)

    def look(progress: Progress) -> None:
        if progress.step == "comparing" and not asking:
            asking.append(asyncio.ensure_future(cancel_it()))

    async def compare_for_ever(self: Any, _: object) -> None:
        while True:
            self._at("comparing")
            await asyncio.sleep(0.01)

    asking: list[asyncio.Future[None]] = []
    monkeypatch.setattr("projections.rebuild._TELL_S", 0.05)
    monkeypatch.setattr("projections.rebuild._Rebuilding._compare", compare_for_ever)
    with pytest.raises(RebuildCancelled, match="rebuild 1 was cancelled"):
        await rebuilt(url_of(store), progress=look)
    assert (await last_rebuild(store)).outcome == "cancelled"


# --- what is left behind ----------------------------------------------------------------------------------------------


async def test_tables_indexes_and_constraints_have_their_names_after_a_rebuild(store: Store) -> None:
    made = await within(url_of(store), everything_made)
    for _ in range(2):
        assert (await rebuilt(url_of(store))).outcome == "replaced"
        assert await within(url_of(store), everything_made) == made
        assert await within(url_of(store), schema_differences) == []


async def test_the_next_rebuild_drops_what_a_killed_one_left(store: Store) -> None:
    made = await within(url_of(store), everything_made)
    await execute(store, "CREATE TABLE runs_shadow AS SELECT * FROM runs")
    await execute(store, "CREATE TABLE stats_old AS SELECT * FROM stats")
    assert (await rebuilt(url_of(store))).outcome == "replaced"
    assert await within(url_of(store), everything_made) == made


async def test_an_erasure_reaches_the_copies_that_a_killed_rebuild_left(store: Store) -> None:
    for table, suffix in (("runs", "shadow"), ("feedback", "old"), ("names", "shadow"), ("attachments", "old")):
        await execute(store, f"CREATE TABLE {table}_{suffix} AS SELECT * FROM {table}")
    await store.erase(run_id(ROOT))
    assert await store.query("SELECT count(*) FROM feedback_old") == [(0,)]
    assert await store.query("SELECT count(*) FROM attachments_old") == [(0,)]
    assert await store.query("SELECT count(*) FROM names_shadow WHERE name = 'agent'") == [(0,)]
    left = {format_id(bytes(row.id)) for row in await store.query("SELECT id FROM runs_shadow")}
    assert left == {id_text(number) for number in (ALONE, ORPHAN, LOST)}


async def test_a_store_goes_on_on_the_connections_that_it_has(store: Store) -> None:
    await store.append(patched(CHILD, error="boom"))
    before = await store.dump()
    for number in range(3):
        await rebuild(url_of(store), rule="documented", processes=1)
        assert await store.dump() == before
        await store.append(patched(ALONE, tags=[str(number)]))
        before = await store.dump()
