"""A trace and its runs in a browser: the failing step, what is odd about a tree, values as people read them."""

import os
import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.pages import demo
from tests.pages.conftest import OpenPage, Shown
from tests.sdk.environments import LANGCHAIN_CLIENTS, installed
from tests.server import Server

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
NUMBERED = uuid.uuid4()


def client_of(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, timeout=30, trust_env=False)


def a_run(number: int, parent: int | None = None, **members: Any) -> dict[str, Any]:
    """A run of the trace 1 that took a second, named after its number."""
    start = START + timedelta(milliseconds=10 * number)
    return {
        "id": id_of(number),
        "trace_id": id_of(1),
        "parent_run_id": None if parent is None else id_of(parent),
        "name": f"run {number}",
        "run_type": "chain",
        "start_time": start.isoformat(),
        "end_time": (start + timedelta(seconds=1)).isoformat(),
        "outputs": {"output": number},
        **members,
    }


@pytest.fixture(autouse=True)
def ids_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives the runs that a test numbers ids that no other test on the same server has."""
    monkeypatch.setitem(globals(), "NUMBERED", uuid.uuid4())


def id_of(number: int) -> str:
    return str(uuid.uuid5(NUMBERED, str(number)))


def step(page: Page, name: str) -> Any:
    """The row of the tree with this name."""
    return page.locator(".step").filter(has=page.locator(".step-name", has_text=re.compile(f"^{re.escape(name)}$")))


def panel(page: Page) -> Any:
    return page.get_by_role("complementary", name="Run")


def test_the_failing_step_of_a_graph_that_the_real_sdk_sent_is_a_click_away(
    shared_server: Server, open_page: OpenPage, tmp_path: Path
) -> None:
    environ = {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "LANGSMITH_ENDPOINT": shared_server.url,
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_PROJECT": "graphs",
    }
    installed(LANGCHAIN_CLIENTS[0]).run("langchain_runs.py", environ, tmp_path)
    page = open_page(f"{shared_server.url}/?project=graphs&status=failed")
    page.get_by_role("link", name="graph of give_up").click()
    expect(page.locator(".failure")).to_contain_text("second")
    expect(page.locator(".failure")).to_contain_text("the node gave up")
    page.get_by_role("button", name="Go to the failing step").click()
    expect(page.locator(".step[aria-selected=true] .step-name")).to_have_text("second")
    expect(panel(page).get_by_role("region", name="Error")).to_contain_text("the node gave up")
    expect(panel(page).locator(".traceback")).to_contain_text("in give_up")


def test_a_failure_that_was_handled_is_a_quiet_note_and_never_the_error_of_the_trace(
    shared_server: Server, open_page: OpenPage
) -> None:
    handled = a_run(2, 1, name="flaky tool", error="ValueError('boom')\n\nTraceback (most recent call last):\n  1")
    ended = {"error": "RuntimeError('agent failed')\n\nTraceback (most recent call last):\n  1, 2, 3"}
    cause = a_run(4, 3, name="cause", error="RuntimeError('agent failed')\n\nTraceback (most recent call last):\n  3")
    with client_of(shared_server) as client:
        demo.batch(client, post=[a_run(1), handled])
        page = open_page(f"{shared_server.url}/ui/traces/{id_of(1)}")
        note = page.locator(".failure.is-handled")
        expect(note).to_contain_text("1 step failed, and was handled")
        note.get_by_role("button").click()
        expect(page.locator(".step[aria-selected=true] .step-name")).to_have_text("flaky tool")
        demo.batch(client, patch=[{"id": id_of(1), "trace_id": id_of(1), **ended}])
        page.reload()
        expect(note).to_have_count(0)
        expect(page.locator(".failure")).to_contain_text("run 1 RuntimeError('agent failed')")
        demo.batch(client, post=[a_run(3, 1, name="way", **ended), cause])
        page.reload()
        expect(page.locator(".failure")).to_contain_text("cause RuntimeError('agent failed')")


def test_runs_that_come_and_end_show_in_an_open_trace(shared_server: Server, open_page: OpenPage) -> None:
    with client_of(shared_server) as client:
        demo.batch(client, post=[a_run(1, end_time=None, outputs=None)])
        page = open_page(f"{shared_server.url}/ui/traces/{id_of(1)}")
        expect(step(page, "run 1").get_by_label("Running")).to_be_visible()
        expect(page.get_by_role("button", name="Live")).to_be_visible()
        demo.batch(client, post=[a_run(2, 1)])
        expect(step(page, "run 2")).to_be_visible()
        demo.batch(client, patch=[{**a_run(1), "outputs": {"output": "the end of it"}}])
        expect(step(page, "run 1").get_by_label("Running")).not_to_be_visible()
        expect(panel(page)).to_contain_text("the end of it")


def test_orphans_cycles_and_a_root_that_never_came_are_shown_as_such(empty: Server, open_page: OpenPage) -> None:
    with client_of(empty) as client:
        demo.batch(client, post=[a_run(2, 9), a_run(3, 4), a_run(4, 3)])
    page = open_page(empty.url)
    expect(page.get_by_text("root missing")).to_be_visible()
    page.get_by_role("link", name="run 2").click()
    expect(page.get_by_role("heading", name="A trace whose root never came")).to_be_visible()
    expect(page.locator(".step.is-missing")).to_have_count(2)
    expect(page.locator(".step").filter(has_text="cycle")).to_have_count(1)
    for number in (2, 3, 4):
        expect(step(page, f"run {number}")).to_have_count(1)
    page.locator(".step.is-missing").last.click()
    expect(panel(page)).to_contain_text("nothing was ever received of it itself")


def test_a_large_tree_holds_few_rows_in_the_document_and_folds_and_zooms(
    shared_server: Server, open_page: OpenPage
) -> None:
    with client_of(shared_server) as client:
        demo.batch(
            client,
            post=[
                a_run(1),
                *(a_run(n, 1 if n % 10 == 2 else n - n % 10 + 2 if n % 10 > 2 else 1) for n in range(2, 1502)),
            ],
        )
    page = open_page(f"{shared_server.url}/ui/traces/{id_of(1)}")
    tree = page.get_by_role("treegrid")
    expect(tree).to_have_attribute("aria-rowcount", "1502")
    assert page.locator(".step").count() < 80
    page.get_by_role("button", name="Fold all", exact=True).click()
    expect(tree).to_have_attribute("aria-rowcount", re.compile(r"^\d{3}$"))
    page.get_by_role("button", name="Unfold all", exact=True).click()
    page.keyboard.press("End")
    expect(page.locator(".step[aria-selected=true]")).to_have_attribute("aria-rowindex", "1502")
    page.get_by_role("searchbox", name="Find in the tree").fill("run 777")
    page.keyboard.press("Enter")
    expect(page.locator(".step[aria-selected=true] .step-name")).to_have_text("run 777")
    first_tick = page.locator(".tick").first.inner_text()
    page.get_by_role("button", name="Zoom in").click()
    assert page.locator(".tick").first.inner_text() != first_tick
    page.get_by_role("button", name="Whole time").click()
    expect(page.locator(".tick").first).to_have_text(first_tick)


def test_a_trace_is_asked_for_before_the_modules_come_and_once(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(f"{shown.url}/ui/operations")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(shown.url)))
    page.goto(shown.trace("failing"))
    expect(page.locator(".step").first).to_be_visible()
    assert len([path for path in asked if "/outline" in path]) == 1, asked


def test_a_trace_is_used_by_keys_alone(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(shown.trace("failing"))
    expect(page.locator(".step").first).to_be_visible()
    page.keyboard.press("j")
    expect(page.locator(".step[aria-selected=true] .step-name")).to_have_text("agent")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".step[aria-selected=true]")).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".step[aria-selected=true]")).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("e")
    expect(page.locator(".step[aria-selected=true] .step-name")).to_have_text("lookup_account")
    expect(panel(page).get_by_role("region", name="Error")).to_be_visible()


def test_a_conversation_reads_as_one_and_its_json_is_a_click_away(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(shown.trace("answered"))
    step(page, "ChatOpenAI").last.click()
    inputs = panel(page).get_by_role("region", name="Inputs")
    expect(inputs.locator(".role")).to_have_text(["System", "User", "Assistant", "Tool"])
    expect(inputs.locator(".call code")).to_have_text("lookup_account")
    expect(panel(page)).to_contain_text("First token")
    outputs = panel(page).get_by_role("region", name="Outputs")
    expect(outputs.get_by_role("table")).to_contain_text("Business")
    outputs.get_by_role("button", name="JSON").click()
    outputs.get_by_role("searchbox").fill("total_tokens")
    expect(outputs.get_by_text("1 of 1")).to_be_visible()
    expect(outputs.locator(".json-line.is-current")).to_contain_text("total_tokens")


def test_documents_thinking_and_attached_images_are_shown(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(shown.trace("sources"))
    step(page, "HybridRetriever").click()
    expect(panel(page).locator(".documents li")).to_have_count(4)
    expect(panel(page)).to_contain_text("audit-logs.md")
    step(page, "ChatAnthropic").click()
    expect(panel(page).get_by_text("Thinking", exact=True)).to_be_visible()
    page.goto(f"{shown.url}/?search=describe_chart")
    page.get_by_role("link", name="describe_chart").click()
    picture = panel(page).get_by_role("img", name="Attachment chart.png")
    picture.scroll_into_view_if_needed()
    expect(picture).to_be_visible()
    page.wait_for_function("() => document.querySelector('.picture')?.naturalWidth === 240")


def test_metadata_that_is_a_list_or_an_object_is_drawn_as_wide_as_a_word(
    shared_server: Server, open_page: OpenPage
) -> None:
    metadata = {
        "lc_versions": {"langchain-core": "1.2.3"},
        "langgraph_triggers": ["branch:to:agent"],
        "LANGSMITH_PROJECT": "graphs",
    }
    with client_of(shared_server) as client:
        demo.batch(client, post=[a_run(1, extra={"metadata": metadata})])
    page = open_page(f"{shared_server.url}/ui/traces/{id_of(1)}", viewport={"width": 1300, "height": 800})
    pairs = panel(page).get_by_role("region", name="Metadata").locator(".pairs")
    expect(pairs.locator(".json-string")).to_have_count(2)
    for words in ("branch:to:agent", "LANGSMITH_PROJECT"):
        shown_at = pairs.get_by_text(words)
        shown_at.scroll_into_view_if_needed()
        assert shown_at.evaluate("(box) => box.getBoundingClientRect().height") < 30, words


def test_a_run_is_copied_as_an_id_and_as_lines_of_python_that_parse(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(shown.trace("answered"), permissions=["clipboard-read", "clipboard-write"])
    panel(page).get_by_role("button", name="Copy the run's id").click()
    copied = "(id) => navigator.clipboard.readText().then((text) => text === id)"
    page.wait_for_function(copied, arg=shown.traces["answered"])
    panel(page).get_by_role("button", name="Copy as Python").click()
    page.wait_for_function("() => navigator.clipboard.readText().then((text) => text.startsWith('from langsmith'))")
    lines = page.evaluate("navigator.clipboard.readText()")
    namespace: dict[str, Any] = {}
    exec(compile(lines.partition("inputs = ")[1] + lines.partition("inputs = ")[2], "copied", "exec"), namespace)
    assert namespace["inputs"]["messages"][0]["type"] == "human"


def test_addresses_that_sdks_print_lead_to_the_run_and_to_its_project(shown: Shown, open_page: OpenPage) -> None:
    run = httpx.get(f"{shown.url}/api/v1/runs/{shown.traces['failing']}", trust_env=False).json()
    project = f"{shown.url}/o/{uuid.uuid4()}/projects/p/{run['session_id']}"
    page = open_page(f"{project}/r/{run['id']}?poll=true")
    expect(page).to_have_url(shown.trace("failing"))
    page.goto(project)
    expect(page).to_have_url(f"{shown.url}/?project=customer-support")
    page.goto(f"{shown.url}/ui/nothing/here")
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()


def test_an_id_that_nothing_is_known_of_says_so(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(f"{shown.url}/ui/traces/{uuid.uuid4()}", allowed=("404",))
    expect(page.get_by_role("heading", name="There is no such trace")).to_be_visible()


def test_what_a_proxy_in_between_says_is_told_and_can_be_tried_again(
    shared_server: Server, open_page: OpenPage
) -> None:
    with client_of(shared_server) as client:
        demo.batch(client, post=[a_run(1)])
    page = open_page(f"{shared_server.url}/ui/traces/{id_of(1)}", allowed=("502",))
    expect(step(page, "run 1")).to_be_visible()
    page.route("**/outline*", lambda route: route.fulfill(status=502, body="<html>bad gateway</html>"))
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("The server answered 502.")
    page.unroute("**/outline*")
    page.get_by_role("button", name="Try again").click()
    expect(step(page, "run 1")).to_be_visible()
