"""Reads of very large traces and pages: whole, without recursion or quadratic work, and beside everyone else."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from events.dialect import open_writer
from projections import runs
from projections.runs import RunState, begin
from projections.traces import Outline, outline
from projections.trees import Edge, Tree, build
from service import dashboard, rendering
from tests.service.apps import Store, an_ended_run

MANY = 25_000
ROOT = bytes(15) + b"\x01"


def id_of(number: int) -> bytes:
    return number.to_bytes(16)


def a_trace(count: int, parent_of: Callable[[int], int]) -> list[RunState]:
    """The rows of a trace whose root is number 1."""
    return [_row(number, None if number == 1 else id_of(parent_of(number))) for number in range(1, count + 1)]


def _row(number: int, parent_id: bytes | None) -> RunState:
    row = begin(0, id_of(number), 0)
    row.trace_id, row.parent_run_id, row.is_root = ROOT, parent_id, int(parent_id is None)
    row.name, row.run_type, row.status, row.langsmith_status = f"step {number}", "chain", "running", "pending"
    row.start_time, row.version = number, 1
    return row


async def write(url: str, rows: Sequence[RunState]) -> None:
    """Put rows where folding would: 25,000 runs would take it long."""
    writer = open_writer(url)
    async with writer.transaction():
        await writer.insert(runs.runs, [runs.as_row(row) for row in rows])
    await writer.close()


SHAPES = {"a chain": lambda number: number - 1, "a fan": lambda _: 1, "a tree": lambda number: number // 2}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_trace_of_25_000_runs_is_answered_whole(store: Store, database_url: str, shape: str) -> None:
    await write(database_url, a_trace(MANY, SHAPES[shape]))
    root = "00000000-0000-0000-0000-000000000001"
    answer = await store.client.get(f"/dashboard/runs/{root}/hierarchy")
    assert answer.status_code == 200
    levels = {"a chain": MANY, "a fan": 2, "a tree": MANY.bit_length()}
    assert answer.content.startswith(
        orjson.dumps({"root_run_id": root, "total_runs": MANY, "max_depth": levels[shape]})[:-1]
    )
    assert answer.content.count(b'"children":[') == MANY
    names = [f'"name":"step {number}"'.encode() for number in (1, 2, MANY)]
    assert all(answer.content.count(name) == 1 for name in names)
    again = await store.client.get(
        f"/dashboard/runs/{root}/hierarchy", headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert again.status_code == 304


@pytest.mark.parametrize("shape", SHAPES)
def test_twice_the_runs_are_twice_the_work(shape: str) -> None:
    """Counted in calls, of Python and of C, so that nothing depends on the machine."""

    def calls(count: int) -> int:
        outlines = [outline(row) for row in a_trace(count, SHAPES[shape])]
        return calls_of(lambda: render(outlines))

    assert calls(4000) < 2.2 * calls(2000)


def render(outlines: Sequence[Outline]) -> bytes:
    edges = [Edge(run.id, run.parent_run_id, run.start_time, run) for run in outlines]
    return rendering.hierarchy(build(edges, ROOT))


def calls_of(work: Callable[[], Any]) -> int:
    counted = 0

    def count(_: object, what: str, __: object) -> None:
        nonlocal counted
        counted += what in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return counted


# --- beside everyone else ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def threads_counted(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[str]]:
    """What was done in threads while the block ran, by the names of the functions."""
    done: list[str] = []
    to_thread = asyncio.to_thread

    async def noting(work: Callable[..., Any], *arguments: Any) -> Any:
        done.append(work.__qualname__)
        return await to_thread(work, *arguments)

    monkeypatch.setattr(asyncio, "to_thread", noting)
    yield done
    monkeypatch.undo()


async def test_a_large_trace_is_rendered_beside_the_event_loop_and_a_small_one_in_it(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(database_url, a_trace(dashboard.IN_LOOP_RUNS_MAX + 1, lambda _: 1))
    small = an_ended_run()
    await store.post(small)
    render = rendering.hierarchy
    places: list[str] = []

    def noting(tree: Tree[Outline]) -> bytes:
        places.append("in it" if threading.get_ident() == loop_thread else "beside it")
        return render(tree)

    loop_thread = threading.get_ident()
    monkeypatch.setattr(rendering, "hierarchy", noting)
    await store.get(f"/dashboard/runs/{small['id']}/hierarchy")
    assert places == ["in it"]
    await store.get("/dashboard/runs/00000000-0000-0000-0000-000000000001/hierarchy")
    assert places == ["in it", "beside it"]


async def test_a_page_of_much_text_is_rendered_beside_the_event_loop_and_a_small_one_in_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.post(
        an_ended_run(name="small"), an_ended_run(name="large", inputs={"q": "x" * dashboard.IN_LOOP_BYTES_MAX})
    )
    async with threads_counted(monkeypatch) as done:
        await store.roots(search="small")
        assert not any("read_roots" in name or "read_at" in name for name in done)
        (run,) = (await store.roots(search="large"))["runs"]
        assert len(run["inputs"]["q"]) == dashboard.IN_LOOP_BYTES_MAX
        assert sum("read_roots" in name for name in done) == 1
        assert sum("read_at" in name for name in done) == 1
