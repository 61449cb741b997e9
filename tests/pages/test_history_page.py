"""The history of a run in a browser: who sent what, what it changed, and the run and its tree as of a version."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.pages import demo
from tests.pages.conftest import OpenPage
from tests.server import Server

START = datetime(2026, 11, 23, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def corrected(shared_server: Server) -> str:
    """The address of a run that was posted, got a child, was patched, corrected and put back to its second version."""
    server = shared_server
    root, child = str(uuid.uuid4()), str(uuid.uuid4())
    posted = {"id": root, "trace_id": root, "name": "corrected", "run_type": "chain", "start_time": START.isoformat()}
    ended = {"id": root, "end_time": (START + timedelta(seconds=2)).isoformat()}
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
        demo.batch(client, post=[{**posted, "inputs": {"question": "how many?"}}])
        demo.batch(client, patch=[{**ended, "outputs": {"answer": "forty\npeople\nat least"}}])
        below = {**posted, "id": child, "parent_run_id": root, "name": "came later", "outputs": {"large": "x" * 9000}}
        demo.batch(client, post=[below])
        demo.batch(client, patch=[{**ended, "outputs": {"answer": "thirty-eight\npeople\nat least"}}])
        revert = client.post(f"/api/v1/runs/{root}/revert", json={"to_version": 2, "reason": "it was right before"})
        revert.raise_for_status()
    return f"{server.url}/ui/traces/{root}?run={root}&tab=history"


def mutation(page: Page, version: int) -> Any:
    return page.locator(".mutation").nth(version - 1)


def test_mutations_say_who_sent_them_and_what_they_changed(corrected: str, open_page: OpenPage) -> None:
    page = open_page(corrected)
    expect(page.locator(".mutation")).to_have_count(4)
    expect(mutation(page, 1)).to_contain_text("Posted")
    expect(mutation(page, 2)).to_contain_text("python-httpx")
    expect(mutation(page, 2)).to_contain_text("receipt")
    expect(mutation(page, 3).locator(".diff-removed")).to_contain_text("forty")
    expect(mutation(page, 3).locator(".diff-added")).to_contain_text("thirty-eight")
    expect(mutation(page, 3).locator(".diff-same").first).not_to_contain_text("forty")
    expect(mutation(page, 4)).to_contain_text("Went back to version 2: it was right before")
    expect(page.get_by_text("Chain verified")).to_be_visible()


def test_the_slider_shows_the_run_and_its_tree_as_of_a_version(corrected: str, open_page: OpenPage) -> None:
    page = open_page(corrected)
    panel = page.get_by_role("complementary", name="Run")
    outputs = panel.get_by_role("region", name="Outputs")
    expect(outputs).to_contain_text("forty")
    expect(page.locator(".step")).to_have_count(2)
    slider = page.get_by_role("slider", name="Version")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(outputs).to_contain_text("thirty-eight")
    expect(page).to_have_url(f"{corrected}&version=3")
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    expect(slider).to_have_value("1")
    expect(outputs).to_contain_text("Nothing")
    expect(page.locator(".step")).to_have_count(1)
    expect(page.locator(".as-of")).to_contain_text("1 run had come")
    page.reload()
    expect(slider).to_have_value("1")
    expect(page.locator(".step")).to_have_count(1)
    page.get_by_role("tab", name="Run").click()
    expect(page.locator(".step")).to_have_count(2)
    expect(outputs).to_contain_text("forty")


def test_what_ran_as_of_a_version_had_run_until_that_was_recorded(shared_server: Server, open_page: OpenPage) -> None:
    root = str(uuid.uuid4())
    run = {"id": root, "trace_id": root, "name": "quick", "run_type": "chain"}
    with httpx.Client(base_url=shared_server.url, timeout=30, trust_env=False) as client:
        demo.batch(client, post=[{**run, "start_time": (datetime.now(UTC) - timedelta(milliseconds=50)).isoformat()}])
        demo.batch(client, patch=[{"id": root, "end_time": datetime.now(UTC).isoformat(), "outputs": {"answer": 1}}])
    page = open_page(f"{shared_server.url}/ui/traces/{root}")
    expect(page.locator(".bar-words")).to_be_visible()
    page.clock.set_system_time(datetime.now(UTC) + timedelta(hours=2))
    page.goto(f"{shared_server.url}/ui/traces/{root}?run={root}&tab=history&version=1")
    expect(page.locator(".as-of")).to_be_visible()
    latency = page.locator(".trace-head .facts div").filter(has_text="Latency")
    expect(latency).to_contain_text("s")
    for place in (latency, page.locator(".bar-words"), page.locator(".axis")):
        expect(place).not_to_contain_text(re.compile(r"\d [hm] "))
    assert page.evaluate("Date.now()") > (datetime.now(UTC) + timedelta(hours=1)).timestamp() * 1000
    expect(page.locator(".step .status, .trace-head .status, .run .status")).to_have_count(3)
    expect(page.locator(".status-unended")).to_have_count(0)


def test_of_an_erased_trace_its_history_and_the_erasure_are_shown(shared_server: Server, open_page: OpenPage) -> None:
    root = str(uuid.uuid4())
    run = {"id": root, "trace_id": root, "name": "private", "run_type": "chain", "start_time": START.isoformat()}
    with httpx.Client(base_url=shared_server.url, timeout=30, trust_env=False) as client:
        demo.batch(client, post=[run])
        demo.batch(client, patch=[{"id": root, "end_time": START.isoformat(), "outputs": {"answer": "secret"}}])
        erased = client.delete(f"/api/v1/traces/{root}", params={"reason": "a customer asked for it"})
        erased.raise_for_status()
    page = open_page(f"{shared_server.url}/ui/traces/{root}", allowed=("404",))
    expect(page.get_by_role("heading", name="There is no such trace")).to_be_visible()
    expect(page.locator(".mutation")).to_have_count(3)
    expect(mutation(page, 2)).to_contain_text("What it said was erased.")
    expect(mutation(page, 3)).to_contain_text("Erased with its trace")
    expect(mutation(page, 3)).to_contain_text("a customer asked for it")
    expect(mutation(page, 3)).to_contain_text("DELETE")
    expect(page.get_by_text("Chain verified")).to_be_visible()
    expect(page.get_by_role("slider")).to_have_count(0)
    page.goto(f"{shared_server.url}/ui/traces/{uuid.uuid4()}")
    expect(page.get_by_role("heading", name="There is no such trace")).to_be_visible()
    expect(page.locator(".mutation, .problem")).to_have_count(0)


def test_any_two_versions_are_compared(corrected: str, open_page: OpenPage) -> None:
    page = open_page(corrected)
    compare = page.get_by_role("region", name="Compare versions")
    compare.get_by_label("from").select_option("3")
    compare.get_by_label("to").select_option("2")
    compare.get_by_role("button", name="Compare").click()
    expect(compare.locator(".diff-removed")).to_contain_text("thirty-eight")
    compare.get_by_label("from").select_option("4")
    compare.get_by_role("button", name="Compare").click()
    expect(compare).to_contain_text("Nothing differs.")


def test_values_too_large_for_the_history_are_compared_on_demand(corrected: str, open_page: OpenPage) -> None:
    page = open_page(corrected)
    page.locator(".step").nth(1).click()
    page.get_by_role("tab", name="History").click()
    page.locator(".mutation summary").click()
    change = page.locator(".change").filter(has_text="outputs")
    change.get_by_role("button", name="Compare").click()
    expect(change.locator(".diff-added")).to_contain_text("xxxxxxxx")


def test_a_chain_that_does_not_verify_is_said_loudly(corrected: str, open_page: OpenPage) -> None:
    page = open_page(corrected)
    expect(page.get_by_text("Chain verified")).to_be_visible()
    finding = {"version": 2, "position": 5, "wrong": "its payload is not the one that was recorded"}
    body = {"run_id": "1", "version": 4, "checked": 4, "is_sound": False, "findings": [finding]}
    page.route("**/chain", lambda route: route.fulfill(json=body))
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("Chain broken: version 2: its payload is not the one")
