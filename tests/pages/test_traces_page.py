"""The list of traces in a browser: what a first visit shows, what comes in, filters, and keys."""

import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.pages import demo
from tests.pages.conftest import PATIENCE_MS, OpenPage, Shown
from tests.server import Server

SHIFTS = """() => {
  window.shifts = [];
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const moved = entry.sources.map(({ node }) => node?.nodeType === 1 ? node.outerHTML.slice(0, 200) : node?.data);
      if (!entry.hadRecentInput) window.shifts.push(moved);
    }
  }).observe({ type: "layout-shift", buffered: false });
}"""

# From the end it goes back to the beginning: what came too slowly for its turn has another.
SCROLL_ON = """(grid) => {
  const end = grid.scrollHeight - grid.clientHeight;
  grid.scrollTop = grid.scrollTop >= end ? 0 : grid.scrollTop + 500;
}"""


def client_of(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=30, trust_env=False)


def leave_unconnected(page: Page) -> None:
    """Have the page wait for the log for good. Once it follows that, it looks what came before."""
    page.route("**/events/stream*", lambda route: None)


def send_trace(client: httpx.Client, name: str, *, ago: timedelta = timedelta(seconds=2), **members: object) -> str:
    """Send a trace of one run that has just ended, or not; its id."""
    run_id = str(uuid.uuid4())
    start = datetime.now(UTC) - ago
    run = {
        "id": run_id,
        "trace_id": run_id,
        "name": name,
        "run_type": "chain",
        "start_time": start.isoformat(),
        **members,
    }
    demo.batch(client, post=[run])
    return run_id


def finish(client: httpx.Client, run_id: str, **members: object) -> None:
    demo.batch(client, patch=[{"id": run_id, "end_time": datetime.now(UTC).isoformat(), **members}])


def test_a_first_visit_says_how_to_send_to_this_server_and_shows_the_first_trace(
    empty: Server, open_page: OpenPage
) -> None:
    page = open_page(empty.url)
    expect(page.get_by_role("heading", name="No traces yet")).to_be_visible()
    lines = page.locator("pre").first
    expect(lines).to_contain_text(f"LANGSMITH_ENDPOINT={empty.url}/api/v1")
    page.get_by_role("button", name="JavaScript").click()
    expect(page.locator("pre").last).to_contain_text('import { traceable } from "langsmith/traceable"')
    with client_of(empty) as client:
        send_trace(client, "the very first", outputs={"output": "hello"}, end_time=datetime.now(UTC).isoformat())
    expect(page.get_by_role("link", name="the very first")).to_be_visible()
    expect(page.get_by_text("1 trace", exact=True)).to_be_visible()


def test_what_comes_in_appears_and_changes_without_a_jump_of_the_list(empty: Server, open_page: OpenPage) -> None:
    with client_of(empty) as client:
        for number in range(70):
            send_trace(client, f"old {number}", ago=timedelta(minutes=number + 1))
        page = open_page(empty.url)
        expect(page.get_by_role("button", name="Live")).to_be_visible()
        expect(page.get_by_role("link", name="old 3", exact=True)).to_be_visible()
        page.evaluate(SHIFTS)
        running = send_trace(client, "arrives")
        expect(page.get_by_role("link", name="arrives")).to_be_visible()
        expect(page.locator(f"#trace-{running}").get_by_label("Running")).to_be_visible()
        finish(client, running, error="RuntimeError: it broke")
        expect(page.locator(f"#trace-{running}").get_by_label("Failed")).to_be_visible()
        expect(page.locator(f"#trace-{running}")).to_contain_text("RuntimeError: it broke")

        grid = page.get_by_role("grid")
        grid.evaluate("(grid) => { grid.scrollTop = 800; }")
        seen = page.locator("#" + str(grid.evaluate(FIRST_VISIBLE)))
        before = seen.bounding_box()
        send_trace(client, "above what is read")
        send_trace(client, "above it too")
        expect(page.get_by_role("button", name="2 new")).to_be_visible()
        assert seen.bounding_box() == before
        page.get_by_role("button", name="2 new").click()
        expect(page.get_by_role("link", name="above it too")).to_be_visible()
    assert page.evaluate("window.shifts") == []


FIRST_VISIBLE = """(grid) => {
  const top = grid.getBoundingClientRect().top + 40;
  return [...grid.querySelectorAll(".grid-row")].find((row) => row.getBoundingClientRect().top > top).id;
}"""

LEAVE_AN_EARLY_ANSWER = """(age) => {
  const path = "/api/v1/dashboard/runs/roots?preview=true&trace_totals=true&limit=60";
  const body = JSON.stringify({ runs: [], total: 777, has_more: true, next: "x" });
  window.firstRequest = { path, key: null, at: performance.now() - age, answer: Promise.resolve(new Response(body)) };
}"""


def test_filters_are_in_the_address_and_a_shared_address_shows_the_same(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(shown.url)
    page.get_by_label("Project").select_option("customer-support")
    page.get_by_role("button", name="Failed").click()
    page.keyboard.press("/")
    page.keyboard.type("support")
    expect(page).to_have_url(re.compile(r"search=support"))
    for part in ("project=customer-support", "status=failed"):
        assert part in page.url
    expect(page.locator(".total")).to_have_text(re.compile(r"\d+ trace"))
    counted = page.locator(".total").inner_text()
    other = open_page(page.url)
    expect(other.locator(".total")).to_have_text(counted)
    expect(other.get_by_label("Project")).to_have_value("customer-support")
    expect(other.get_by_role("button", name="Failed")).to_have_attribute("aria-pressed", "true")
    expect(other.get_by_label("Search names")).to_have_value("support")
    assert {words.strip() for words in other.locator(".cell-project:not(.head)").all_inner_texts()} == {
        "customer-support"
    }
    other.get_by_role("button", name="Clear").click()
    expect(other).to_have_url(f"{shown.url}/")


def test_filters_are_remembered_and_a_search_without_a_find_can_be_cleared(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(f"{shown.url}/?search=there+is+none")
    expect(page.get_by_role("heading", name="No trace matches these filters")).to_be_visible()
    page.goto(shown.url)
    expect(page).to_have_url(f"{shown.url}/?search=there+is+none")
    page.get_by_role("button", name="Clear the filters").click()
    expect(page.get_by_role("grid")).to_be_visible()


def test_all_texts_are_searched_on_demand(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(f"{shown.url}/?search=cites+sso.md")
    page.get_by_role("button", name="Search all texts, not names alone").click()
    expect(page).to_have_url(re.compile(r"search=cites\+sso.md&search_in=all"))
    expect(page.get_by_role("link", name="nightly-eval").first).to_be_visible()
    expect(page.get_by_role("link", name="support-agent")).to_have_count(0)
    expect(page.locator(".total")).to_have_text(re.compile(r"^\d+ found$"))
    page.get_by_label("Search all texts").fill("not said anywhere")
    expect(page.get_by_role("heading", name="No trace matches these filters")).to_be_visible()
    page.get_by_role("button", name="All texts", exact=True).click()
    expect(page.get_by_label("Search names")).to_be_visible()


def test_a_search_that_comes_back_early_goes_on_by_itself(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(f"{shown.url}/ui/operations")
    found = httpx.get(f"{shown.url}/api/v1/dashboard/runs/roots?limit=1&preview=true", trust_env=False).json()["runs"]
    nothing_yet: dict[str, object] = {"runs": [], "total": None, "has_more": True, "next": "further"}
    page.route("**/roots?*", lambda route: route.fulfill(json=nothing_yet))
    page.route(
        "**/roots?*after=further*",
        lambda route: route.fulfill(json={**nothing_yet, "runs": found, "has_more": False, "next": None}),
    )
    page.goto(f"{shown.url}/?search=rare&search_in=all")
    expect(page.get_by_role("link", name=found[0]["name"])).to_be_visible()
    expect(page.locator(".total")).to_have_text("1 found")


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?project=customer-support&status=failed&search=support+agent&search_in=all",
        "?from=2026-01-01T00%3A00%3A00.000Z&to=2100-01-01T00%3A00%3A00.000Z&project=caf%C3%A9%20%26%20co",
    ],
)
def test_traces_are_asked_for_before_the_modules_come_and_once(shown: Shown, open_page: OpenPage, query: str) -> None:
    page = open_page(f"{shown.url}/ui/operations")
    leave_unconnected(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(shown.url)))
    page.goto(shown.url + "/" + query)
    expect(page.locator(".total")).to_have_text(re.compile(r"\d+ (trace|found)"))
    assert len([url for url in asked if "/roots?" in url and "after=" not in url]) == 1, asked
    # The other way in which this query comes: it was the last one in use.
    asked.clear()
    page.goto(shown.url)
    expect(page.locator(".total")).to_have_text(re.compile(r"\d+ (trace|found)"))
    assert len([url for url in asked if "/roots?" in url and "after=" not in url]) == 1, asked


def test_an_address_without_a_filter_is_asked_for_once_with_those_that_are_remembered(
    shown: Shown, open_page: OpenPage
) -> None:
    page = open_page(f"{shown.url}/?search=support")
    expect(page.locator(".total")).to_have_text(re.compile(r"\d+ trace"))
    leave_unconnected(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{shown.url}/?of=no+meaning")
    expect(page).to_have_url(f"{shown.url}/?search=support")
    expect(page.locator(".total")).to_have_text(re.compile(r"\d+ trace"))
    assert len([url for url in asked if "/roots?" in url]) == 1, asked


@pytest.mark.parametrize(("age_ms", "is_asked_for_first"), [(0, False), (60_000, True)], ids=["passed over", "old"])
def test_an_early_answer_that_nobody_took_is_not_handed_out_later(
    shown: Shown, open_page: OpenPage, age_ms: int, is_asked_for_first: bool
) -> None:
    page = open_page(f"{shown.url}/ui/operations")
    leave_unconnected(page)
    page.goto(f"{shown.url}/?search=support")
    expect(page.locator(".total")).to_have_text(re.compile(r"\d+ trace"))
    page.evaluate(LEAVE_AN_EARLY_ANSWER, age_ms)
    if not is_asked_for_first:
        page.get_by_role("button", name="Failed").click()
        expect(page).to_have_url(re.compile("status=failed"))
        expect(page.locator(".total")).to_have_text(re.compile(r"\d+ trace"))
    page.get_by_role("button", name="Clear").click()
    expect(page).to_have_url(f"{shown.url}/")
    expect(page.get_by_role("link", name="support-agent").first).to_be_visible()
    expect(page.locator(".total")).not_to_have_text("777 traces")


def test_a_trace_that_has_not_ended_for_hours_is_told_from_one_at_work(
    shared_server: Server, open_page: OpenPage
) -> None:
    with client_of(shared_server) as client:
        at_work = send_trace(client, "at work or left")
        left = send_trace(client, "at work or left", ago=timedelta(hours=2))
    page = open_page(f"{shared_server.url}/?search=at+work+or+left")
    expect(page.locator(f"#trace-{at_work}").get_by_label("Running", exact=True)).to_be_visible()
    expect(page.locator(f"#trace-{left}").get_by_label("without an end for more than an hour")).to_be_visible()


def test_a_preview_reads_as_words_and_not_as_json_or_markdown(shared_server: Server, open_page: OpenPage) -> None:
    with client_of(shared_server) as client:
        run_id = send_trace(client, "answers", outputs={"answer": '**Three** plans,\nof which "Team" fits.'})
    page = open_page(shared_server.url)
    expect(page.locator(f"#trace-{run_id} .snippet")).to_have_text('Three plans, of which "Team" fits.')


def test_the_list_tells_the_tokens_and_cost_of_a_whole_trace(shared_server: Server, open_page: OpenPage) -> None:
    def child(tokens: int) -> dict[str, object]:
        usage = {"metadata": {"usage_metadata": {"total_tokens": tokens, "total_cost": tokens / 1000}}}
        start = datetime.now(UTC).isoformat()
        id_ = str(uuid.uuid4())
        return {
            **{"id": id_, "trace_id": root, "parent_run_id": root, "name": "model", "run_type": "llm"},
            **{"start_time": start, "end_time": start, "extra": usage},
        }

    with client_of(shared_server) as client:
        root = send_trace(client, "asks twice")
        demo.batch(client, post=[child(1200), child(300)])
    page = open_page(shared_server.url)
    row = page.locator(f"#trace-{root}")
    expect(row.locator(".cell-tokens")).to_have_text("1.5k")
    expect(row.locator(".cell-cost")).to_have_text("$1.50")


def test_every_page_of_a_long_list_comes_as_it_is_scrolled(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(shown.url)
    expect(page.locator(".total")).to_have_text(re.compile(r"\d+ trace"))
    total = int(page.locator(".total").inner_text().split()[0])
    grid = page.get_by_role("grid")
    seen: set[str] = set()
    give_up = time.monotonic() + PATIENCE_MS / 1000
    while len(seen) < total and time.monotonic() < give_up:
        seen |= set(grid.evaluate("(grid) => [...grid.querySelectorAll('.grid-row')].map((row) => row.id)"))
        assert grid.locator(".grid-row").count() < 60
        grid.evaluate(SCROLL_ON)
        page.wait_for_timeout(30)
    assert len(seen) == total


def test_the_list_is_used_by_keys_alone(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(shown.url)
    expect(page.locator(".grid-row").first).to_be_visible()
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("k")
    current = page.locator(".grid-row[aria-selected=true]")
    expect(current).to_have_attribute("aria-rowindex", "3")
    assert page.get_by_role("grid").get_attribute("aria-activedescendant") == current.get_attribute("id")
    run_id = str(current.get_attribute("id")).removeprefix("trace-")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{shown.url}/ui/traces/{run_id}")
    expect(page.get_by_role("treegrid")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".grid-row[aria-selected=true]")).to_have_attribute("id", f"trace-{run_id}")
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keys")
    expect(sheet).to_contain_text("next trace")
    page.keyboard.press("Escape")
    expect(sheet).not_to_be_visible()


def test_a_lost_connection_shows_and_what_was_missed_comes_when_it_is_back(
    start_server: Callable[..., Server], open_page: OpenPage
) -> None:
    server = start_server()
    with client_of(server) as client:
        send_trace(client, "before")
        page = open_page(server.url, allowed=("net::ERR_",))
        expect(page.get_by_role("button", name="Live")).to_be_visible()
        server.stop()
        expect(page.get_by_role("button", name="Reconnecting")).to_be_visible()
        server.start()
        send_trace(client, "while it was away")
        expect(page.get_by_role("button", name="Live")).to_be_visible()
        expect(page.get_by_role("link", name="while it was away")).to_be_visible()


def test_what_came_before_the_log_was_followed_is_shown(shared_server: Server, open_page: OpenPage) -> None:
    page = open_page(f"{shared_server.url}/ui/operations")
    held: list[Route] = []
    page.route("**/events/stream*", lambda route: held.append(route))
    page.goto(shared_server.url)
    expect(page.locator(".grid-row, .first-steps").first).to_be_visible()
    with client_of(shared_server) as client:
        send_trace(client, "between")
    held[0].continue_()
    expect(page.get_by_role("link", name="between")).to_be_visible()


def test_a_paused_list_stays_as_it_is_until_it_goes_on(shared_server: Server, open_page: OpenPage) -> None:
    with client_of(shared_server) as client:
        send_trace(client, "before")
        page = open_page(shared_server.url)
        expect(page.get_by_role("button", name="Live")).to_be_visible()
        page.keyboard.press("p")
        expect(page.get_by_role("button", name="Paused")).to_be_visible()
        send_trace(client, "meanwhile")
        page.wait_for_timeout(1_000)
        expect(page.get_by_role("link", name="meanwhile")).not_to_be_visible()
        page.keyboard.press("p")
        expect(page.get_by_role("link", name="meanwhile")).to_be_visible()


def test_a_key_is_asked_for_once_and_kept_for_the_tab(guarded: Server, open_page: OpenPage) -> None:
    with client_of(guarded) as client:
        client.headers["x-api-key"] = "boss"
        send_trace(client, "locked away")
    page = open_page(guarded.url, allowed=("401",))
    dialog = page.get_by_role("dialog", name="An API key is needed")
    dialog.get_by_label("API key").fill("wrong")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog).to_contain_text("does not know this key")
    dialog.get_by_label("API key").fill("reader")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="locked away")).to_be_visible()
    expect(page.get_by_role("button", name="Live")).to_be_visible()
    page.reload()
    expect(page.get_by_role("link", name="locked away")).to_be_visible()
    expect(dialog).not_to_be_visible()
    assert page.evaluate("Object.keys(localStorage).some((name) => localStorage[name].includes('reader'))") is False
