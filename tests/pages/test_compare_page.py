"""Two runs side by side in a browser: how they are chosen, and what differs between them."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.pages import demo
from tests.pages.conftest import OpenPage, Shown
from tests.pages.visits import visit
from tests.server import Server

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
LARGE = 12 * 2**20
MINUS = "\u2212"


def card(page: Page, name: str) -> Any:
    return page.get_by_role("region", name=name, exact=True)


def row(page: Page, name: str, words: str) -> Any:
    """The row of a table that begins with these words."""
    return card(page, name).get_by_role("row").filter(has=page.get_by_role("rowheader", name=words, exact=True))


def test_two_runs_chosen_one_after_the_other_are_compared(shown: Shown, open_page: OpenPage) -> None:
    page = visit(shown, open_page, "conversation")
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("status").filter(has_text="Compare support-agent with")).to_be_visible()
    page.goto(shown.trace("failing"))
    page.get_by_role("button", name="Compare").click()
    expect(page).to_have_url(f"{shown.url}/ui/compare/{shown.traces['answered']}/{shown.traces['failing']}")
    expect(row(page, "Facts", "Status")).to_have_text(re.compile("Completed.*Failed"))
    expect(row(page, "Facts", "Runs")).to_contain_text(MINUS + "3")
    expect(row(page, "Steps", "tools \u203a lookup_account").get_by_role("cell")).to_have_text(
        ["1", "1", "", "1", re.compile(r"\d"), re.compile(r"\d"), re.compile(f"^$|[+{MINUS}]")]
    )
    expect(card(page, "Error").locator(".diff-added")).to_contain_text("503 Service Unavailable")
    expect(page.get_by_role("status").filter(has_text="Compare support-agent with")).not_to_be_visible()
    page.get_by_role("link", name="Swap sides").click()
    expect(row(page, "Facts", "Status")).to_have_text(re.compile("Failed.*Completed"))


def test_traces_are_chosen_in_the_list_by_keys_and_let_go_again(shown: Shown, open_page: OpenPage) -> None:
    page = visit(shown, open_page, "traces")
    chosen = page.get_by_role("status").filter(has_text="open another run")
    page.keyboard.press("j")
    page.keyboard.press("c")
    expect(chosen).to_be_visible()
    page.keyboard.press("c")
    expect(chosen).not_to_be_visible()
    page.keyboard.press("c")
    page.keyboard.press("j")
    page.keyboard.press("c")
    expect(page).to_have_url(re.compile("/ui/compare/"))
    expect(page.get_by_role("heading", name="Compare")).to_be_visible()


def test_values_are_compared_line_by_line_or_read_side_by_side(shared_server: Server, open_page: OpenPage) -> None:
    ids = [str(uuid.uuid4()) for _ in range(2)]
    answers = ("The plan has\nforty seats.", "The plan has\nfifty seats.")
    values = [{"same": "x", "text": "a" * LARGE}, {"same": "x", "text": "b"}]
    with httpx.Client(base_url=shared_server.url, timeout=60, trust_env=False) as client:
        for id_, answer, inputs in zip(ids, answers, values, strict=True):
            end = START + timedelta(seconds=1)
            times = {"start_time": START.isoformat(), "end_time": end.isoformat()}
            run = {"id": id_, "trace_id": id_, "name": "plans", "run_type": "chain", **times}
            demo.batch(client, post=[{**run, "inputs": inputs, "outputs": {"answer": answer}}])
    page = open_page(f"{shared_server.url}/ui/compare/{ids[0]}/{ids[1]}")
    outputs = card(page, "Outputs")
    expect(outputs.locator(".diff-removed")).to_contain_text("forty seats")
    expect(outputs.locator(".diff-added")).to_contain_text("fifty seats")
    outputs.get_by_role("button", name="Side by side").click()
    expect(outputs.locator(".sides > div")).to_have_text(list(answers), use_inner_text=True)
    inputs_card = card(page, "Inputs")
    inputs_card.get_by_role("button", name="Compare 13 MB").click()
    expect(inputs_card.locator(".diff-same").first).to_contain_text('"same": "x"')


def test_a_run_that_is_not_there_cannot_be_compared(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(f"{shown.url}/ui/compare/{shown.traces['failing']}/{uuid.uuid4()}", allowed=("404",))
    expect(page.get_by_role("heading", name="These cannot be compared")).to_be_visible()
