"""The overview and the operations in a browser."""

import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import httpx
from playwright.sync_api import expect

from tests.pages import demo
from tests.pages.conftest import OpenPage, Shown
from tests.server import Server


def number(text: str) -> int:
    return int(re.sub(r"\D", "", text.split("\n")[0]) or "0")


def test_every_number_of_the_overview_leads_to_the_traces_that_it_counts(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(f"{shown.url}/ui/overview?range=7d")
    failed = page.locator(".tiles div").filter(has_text="Failed").get_by_role("link")
    counted = number(failed.inner_text())
    assert counted > 3
    failed.click()
    expect(page.locator(".total")).to_have_text(f"{counted} traces")
    expect(page.get_by_role("button", name="Failed")).to_have_attribute("aria-pressed", "true")
    page.go_back()
    column = page.locator(".chart").first.locator("a[tabindex='0']").first
    label = str(column.get_attribute("aria-label"))
    column.focus()
    page.keyboard.press("Enter")
    total = sum(number(part) for part in label.split(": ", 1)[1].split(","))
    expect(page.locator(".total")).to_have_text(f"{total} trace{'' if total == 1 else 's'}")


def test_the_overview_tells_models_projects_and_names_and_keeps_what_is_asked_in_the_address(
    shown: Shown, open_page: OpenPage
) -> None:
    page = open_page(f"{shown.url}/ui/overview")
    page.get_by_role("button", name="7d").click()
    expect(page.get_by_role("group", name="Models").get_by_role("row").nth(1)).to_contain_text("gpt-5-mini")
    expect(page.get_by_role("group", name="Projects")).to_contain_text("customer-support")
    expect(page.get_by_role("group", name="Slowest")).to_contain_text("support-agent")
    page.get_by_role("combobox", name="Project").select_option("research")
    expect(page).to_have_url(re.compile(r"range=7d&project=research"))
    expect(page.get_by_role("group", name="Projects").locator("tbody tr")).to_have_count(1)


def test_an_overview_of_nothing_says_so(empty: Server, open_page: OpenPage) -> None:
    page = open_page(f"{empty.url}/ui/overview")
    expect(page.locator(".card").filter(has_text="Models")).to_contain_text("Nothing in this time")


def test_an_overview_counts_hours_by_the_servers_clock(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(f"{shown.url}/ui/overview")
    tile = page.locator(".tiles div").filter(has_text="Runs").locator("dd")
    runs = tile.inner_text()
    assert number(runs) > 0
    for off in (timedelta(days=30), timedelta(days=-30)):
        page.clock.set_system_time(datetime.now(UTC) + off)
        page.goto(f"{shown.url}/ui/overview")
        expect(tile).to_have_text(runs)


def test_the_latency_of_a_single_hour_is_marked(empty: Server, open_page: OpenPage) -> None:
    start = datetime.now(UTC)
    run = {"id": str(uuid.uuid4()), "name": "alone", "run_type": "chain", "start_time": start.isoformat()}
    ended = {**run, "end_time": (start + timedelta(seconds=1)).isoformat(), "outputs": {}}
    with httpx.Client(base_url=empty.url, timeout=30, trust_env=False) as client:
        demo.batch(client, post=[ended])
    page = open_page(f"{empty.url}/ui/overview")
    latency = page.locator(".chart").filter(has_text="Latency of traces")
    expect(latency.locator(".line.dots")).to_have_count(3)
    expect(latency.locator(".line.dots").first).to_have_css("stroke-width", "9px")


def test_read_models_are_compared_with_the_log_by_a_button(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(f"{shown.url}/ui/operations")
    models = page.get_by_role("region", name="Read models")
    known = httpx.get(f"{shown.url}/api/v1/projections", trust_env=False).json()["projections"]
    expect(models.locator("tbody tr")).to_have_count(len(known))
    expect(page.get_by_text("Healthy", exact=False).first).to_be_visible()
    models.get_by_role("button", name="Compare all").click()
    expect(models.get_by_text("compared: equal").first).to_be_visible(timeout=30_000)


def test_what_came_in_adds_up(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(f"{shown.url}/ui/operations")
    words = page.get_by_role("region", name="Receipts").locator(".card-words")
    expect(words).to_contain_text("quarantined")
    received, applied, duplicate, quarantined = (number(part) for part in re.split(r"[=+]", words.inner_text()))
    assert received == applied + duplicate + quarantined
    assert received > 100


def test_an_item_in_quarantine_is_corrected_and_tried_again(
    start_server: Callable[..., Server], open_page: OpenPage
) -> None:
    server = start_server()
    run = {"id": "7b2f1c50-6f5c-4a0b-9a54-0d6a7c1f4f11", "name": "without a type", "start_time": "2026-11-23T09:00:00Z"}
    httpx.post(f"{server.url}/runs/batch", json={"post": [run]}, trust_env=False)
    page = open_page(f"{server.url}/ui/operations", allowed=("422",))
    quarantine = page.get_by_role("region", name="Quarantine")
    quarantine.get_by_text("run_type is missing").click()
    quarantine.get_by_role("button", name="Try again").click()
    expect(quarantine.get_by_role("alert")).to_contain_text("run_type")
    field = quarantine.get_by_label("The item as it came")
    field.fill(field.input_value().replace('"name"', '"run_type": "tool", "name"'))
    quarantine.get_by_role("button", name="Try with the correction").click()
    expect(quarantine).to_contain_text("applied")
    assert httpx.get(f"{server.url}/runs/{run['id']}", trust_env=False).json()["run_type"] == "tool"


def test_a_key_without_rights_to_administer_is_told_so(guarded: Server, open_page: OpenPage) -> None:
    page = open_page(f"{guarded.url}/ui/operations", allowed=("401", "403"))
    page.get_by_role("textbox", name="API key").fill("reader")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Compare all").click()
    expect(page.get_by_role("alert")).to_contain_text("lacks the scope admin")
