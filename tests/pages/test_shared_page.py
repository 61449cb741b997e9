"""Sharing a trace in a browser, and reading one that is shared without a key."""

import re
import uuid
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.pages import demo
from tests.pages.conftest import OpenPage
from tests.pages.visits import findings_of
from tests.server import Server


@pytest.fixture
def client(guarded: Server) -> Any:
    with httpx.Client(base_url=guarded.url, headers={"x-api-key": "boss"}, timeout=30, trust_env=False) as client:
        yield client


def send_trace(client: httpx.Client) -> tuple[str, str]:
    """Send a trace of a root and a step that failed; their ids."""
    root, step = str(uuid.uuid4()), str(uuid.uuid4())
    now = datetime.now(UTC).isoformat()
    ended = {"trace_id": root, "run_type": "chain", "start_time": now, "end_time": now}
    demo.batch(
        client,
        post=[
            {**ended, "id": root, "name": "the whole", "inputs": {"question": "what is shared?"}, "outputs": {"a": 1}},
            {**ended, "id": step, "name": "the step", "parent_run_id": root, "error": "ValueError: it broke"},
        ],
    )
    return root, step


def share(client: httpx.Client, run_id: str) -> str:
    answer = client.put(f"/api/v1/runs/{run_id}/share")
    answer.raise_for_status()
    return str(answer.json()["share_token"])


def open_with_key(open_page: OpenPage, url: str, key: str, **options: Any) -> Page:
    page = open_page(url, allowed=("401", "403"), **options)
    page.get_by_role("dialog", name="An API key is needed").get_by_label("API key").fill(key)
    page.keyboard.press("Enter")
    return page


def dialog_of(page: Page) -> Any:
    page.get_by_role("button", name="Share", exact=True).click()
    return page.get_by_role("dialog", name="Share this trace")


def test_a_shared_trace_is_read_without_a_key_and_changed_by_nothing(
    guarded: Server, client: httpx.Client, open_page: OpenPage
) -> None:
    root, step = send_trace(client)
    feedback = {"run_id": root, "key": "helpful", "score": 1}
    assert client.post("/api/v1/feedback", json=feedback).status_code == 200
    page = open_page(f"{guarded.url}/public/{share(client, root)}/r")
    panel = page.get_by_role("complementary", name="Run")
    expect(page.get_by_role("heading", name="the whole", level=1)).to_be_visible()
    expect(page.get_by_text("A shared trace, read-only")).to_be_visible()
    expect(panel).to_contain_text("what is shared?")
    expect(panel.get_by_role("region", name="Feedback")).to_contain_text("helpful")
    expect(page.get_by_label("Failed").first).to_be_visible()
    page.get_by_role("button", name="Go to the failing step").click()
    expect(panel.get_by_role("region", name="Error")).to_contain_text("it broke")
    expect(page).to_have_url(re.compile(f"run={step}"))
    panel.get_by_role("tab", name="Raw").click()
    expect(panel.get_by_role("group", name="the run as JSON")).to_be_visible()
    for role, name in (("tab", "History"), ("button", "Share"), ("button", "Live"), ("link", "Operations")):
        expect(page.get_by_role(role, name=name)).to_have_count(0)  # type: ignore[arg-type]
    page.keyboard.press("3")
    page.keyboard.press("Escape")
    expect(page.get_by_role("heading", name="the whole", level=1)).to_be_visible()


def test_of_a_shared_step_its_trace_is_shown_with_the_step_opened(
    guarded: Server, client: httpx.Client, open_page: OpenPage
) -> None:
    _, step = send_trace(client)
    page = open_page(f"{guarded.url}/public/{share(client, step)}/r")
    expect(page.locator(".step")).to_have_count(2)
    expect(page.locator(".step[aria-selected=true] .step-name")).to_have_text("the step")


def test_a_token_of_nothing_says_so(guarded: Server, open_page: OpenPage) -> None:
    page = open_page(f"{guarded.url}/public/{uuid.uuid4()}/r", allowed=("404",))
    expect(page.get_by_role("heading", name="Nothing is shared here")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("Nothing is shared by this token, or no longer.")


def test_a_trace_is_shared_by_a_link_to_copy_until_that_is_taken_back(
    guarded: Server, client: httpx.Client, open_page: OpenPage
) -> None:
    root, _ = send_trace(client)
    clipboard = ["clipboard-read", "clipboard-write"]
    page = open_with_key(open_page, f"{guarded.url}/ui/traces/{root}", "boss", permissions=clipboard)
    dialog = dialog_of(page)
    dialog.get_by_role("button", name="Share", exact=True).click()
    link = dialog.get_by_label("Link", exact=True)
    expect(link).to_have_value(re.compile(rf"^{re.escape(guarded.url)}/public/[0-9a-f-]{{36}}/r$"))
    dialog.get_by_role("button", name="Copy the link").click()
    expect(dialog.get_by_text("Copied").first).to_be_visible()
    address = page.evaluate("navigator.clipboard.readText()")
    assert address == link.input_value()
    shared = open_page(address, allowed=("404",))
    expect(shared.get_by_role("heading", name="the whole", level=1)).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    dialog_of(page).get_by_role("button", name="Unshare").click()
    expect(dialog.get_by_role("button", name="Share", exact=True)).to_be_enabled()
    shared.reload()
    expect(shared.get_by_role("heading", name="Nothing is shared here")).to_be_visible()


def test_who_may_only_read_sees_the_link_and_why_it_cannot_be_changed(
    guarded: Server, client: httpx.Client, open_page: OpenPage
) -> None:
    root, _ = send_trace(client)
    page = open_with_key(open_page, f"{guarded.url}/ui/traces/{root}", "reader")
    dialog = dialog_of(page)
    dialog.get_by_role("button", name="Share", exact=True).click()
    expect(dialog.get_by_role("alert")).to_contain_text("it lacks the scope admin")
    page.keyboard.press("Escape")
    token = share(client, root)
    dialog_of(page).get_by_role("button", name="Unshare").click()
    expect(dialog.get_by_role("alert")).to_contain_text("it lacks the scope admin")
    expect(dialog.get_by_label("Link", exact=True)).to_have_value(f"{guarded.url}/public/{token}/r")
    assert client.get(f"/api/v1/public/{token}/run").status_code == 200


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_a_narrow_screen_is_wide_enough(
    guarded: Server, client: httpx.Client, open_page: OpenPage, theme: str
) -> None:
    root, _ = send_trace(client)
    options = {"color_scheme": theme, "reduced_motion": "reduce", "viewport": {"width": 380, "height": 740}}
    shared = open_page(f"{guarded.url}/public/{share(client, root)}/r", **options)
    expect(shared.locator(".step")).to_have_count(2)
    assert findings_of(shared) == []
    page = open_with_key(open_page, f"{guarded.url}/ui/traces/{root}", "boss", **options)
    expect(dialog_of(page).get_by_label("Link", exact=True)).to_be_visible()
    assert findings_of(page) == []
    for one in (shared, page):
        assert one.evaluate("document.scrollingElement.scrollWidth") == 380
