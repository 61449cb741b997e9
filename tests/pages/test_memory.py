"""Pages that follow the log for hours hold no more than they show. `tests.benchmarks.pages` measures a whole hour."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.pages import demo
from tests.pages.conftest import OpenPage
from tests.pages.memory import Held, held_by
from tests.server import Server

BURST = 600
# Code that is compiled late, and what a page keeps on purpose while it is shown.
SLACK_MB = 1.0
SLACK_NODES = 500
SLACK_LISTENERS = 50


def a_run(number: int, **members: Any) -> dict[str, Any]:
    start = datetime.now(UTC) + timedelta(microseconds=number)
    ended = {"end_time": (start + timedelta(seconds=1)).isoformat(), "outputs": {"answer": "x" * 200}}
    id_ = str(uuid.uuid4())
    return {
        "id": id_,
        "trace_id": id_,
        "name": f"run {number}",
        "run_type": "chain",
        "start_time": start.isoformat(),
        **ended,
        **members,
    }


def send_burst(client: httpx.Client, page: Page, first: int) -> None:
    """Send more traces at once than a page of the list holds, and wait until the list shows the last and counts all."""
    demo.batch(client, post=[a_run(number) for number in range(first, first + BURST)])
    expect(page.locator(".total")).to_have_text(f"{first + BURST:,} traces")
    expect(page.locator(".grid-row").first).to_contain_text(f"run {first + BURST - 1}")


def assert_no_more(before: Held, after: Held) -> None:
    told = f"before: {before}; after: {after}"
    assert after.heap_mb < before.heap_mb + SLACK_MB, told
    assert after.nodes < before.nodes + SLACK_NODES, told
    assert after.listeners < before.listeners + SLACK_LISTENERS, told


def test_a_list_that_is_followed_holds_no_more_after_thousands_of_traces(empty: Server, open_page: OpenPage) -> None:
    with httpx.Client(base_url=empty.url, timeout=60, trust_env=False) as client:
        demo.batch(client, post=[a_run(0)])
        demo.batch(client, post=[a_run(number) for number in range(1, BURST)])
        page = open_page(empty.url)
        for burst in range(1, 5):
            send_burst(client, page, burst * BURST)
        before = held_by(page)
        for burst in range(5, 13):
            send_burst(client, page, burst * BURST)
        assert_no_more(before, held_by(page))


def test_many_traces_at_once_leave_no_gap_and_those_let_go_are_read_anew(empty: Server, open_page: OpenPage) -> None:
    with httpx.Client(base_url=empty.url, timeout=60, trust_env=False) as client:
        demo.batch(client, post=[a_run(number) for number in range(BURST)])
        page = open_page(empty.url)
        for burst in range(1, 5):
            send_burst(client, page, burst * BURST)
    grid = page.locator(".grid")
    grid.focus()
    met: list[int] = []
    while not met or met[-1] > 0:
        names = page.evaluate("() => [...document.querySelectorAll('.row-link')].map((link) => link.textContent)")
        numbers = sorted({int(name.split()[1]) for name in names}, reverse=True)
        met += [number for number in numbers if not met or number < met[-1]]
        assert met == list(range(met[0], met[-1] - 1, -1))
        grid.evaluate("(grid) => { grid.scrollTop += 600; }")
        page.wait_for_timeout(50)
    assert met[0] == 5 * BURST - 1


def test_a_trace_that_is_followed_holds_no_more_after_many_changes(shared_server: Server, open_page: OpenPage) -> None:
    root = a_run(0, name="followed")
    with httpx.Client(base_url=shared_server.url, timeout=60, trust_env=False) as client:
        demo.batch(client, post=[root])
        page = open_page(f"{shared_server.url}/ui/traces/{root['id']}")
        facts = page.locator(".panel .tags")

        def change(times: range) -> None:
            for number in times:
                demo.batch(
                    client, patch=[{"id": root["id"], "tags": [f"change {number}"], "outputs": {"n": "x" * 20_000}}]
                )
                expect(facts).to_contain_text(f"change {number}")

        change(range(10))
        before = held_by(page)
        change(range(10, 30))
        assert_no_more(before, held_by(page))
