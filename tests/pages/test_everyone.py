"""That everybody can use the pages: in a theme and a zone of their own, by keys, on paper."""

import re

from playwright.sync_api import Page, expect

from tests.pages.conftest import OpenPage, Shown
from tests.pages.visits import visit


def test_a_chosen_theme_and_zone_are_remembered(shown: Shown, open_page: OpenPage) -> None:
    page = visit(shown, open_page, "trace", timezone_id="Asia/Tokyo", color_scheme="light")
    started = page.locator(".run .facts div").filter(has_text="Started").locator("time")
    expect(started).to_contain_text("GMT+9")
    page.get_by_role("button", name="Local").click()
    expect(started).to_contain_text("UTC")
    page.keyboard.press("t")
    page.keyboard.press("t")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.reload()
    expect(started).to_contain_text("UTC")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    light = visit(shown, open_page, "trace", color_scheme="light")
    assert light.evaluate("getComputedStyle(document.body).backgroundColor") != dark


def test_on_paper_every_loaded_trace_is_there_and_no_control(shown: Shown, open_page: OpenPage) -> None:
    page = visit(shown, open_page, "traces")
    expect(page.locator(".grid-row").nth(22)).to_be_attached()  # With those around the ones that can be seen.
    drawn = page.locator(".grid-row").count()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(page.locator(".grid-row").nth(drawn + 5)).to_be_attached()
    expect(page.get_by_role("search")).not_to_be_visible()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(page.locator(".grid-row")).to_have_count(drawn)


def test_on_paper_charts_have_their_bars_and_a_failure_no_button(shown: Shown, open_page: OpenPage) -> None:
    page = visit(shown, open_page, "overview")
    page.emulate_media(media="print")
    expect(page.locator(".chart rect.stacked").first).to_be_visible()
    expect(page.get_by_role("navigation")).not_to_be_visible()
    page = visit(shown, open_page, "trace")
    button = page.get_by_role("button", name="Go to the failing step")
    expect(button).to_be_visible()
    page.emulate_media(media="print")
    expect(button).not_to_be_visible()


def test_the_keyboard_reaches_the_page_first_and_every_control_shows_its_focus(
    shown: Shown, open_page: OpenPage
) -> None:
    page = visit(shown, open_page, "traces")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    seen = []
    for _ in range(17):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUS))
    assert all(found["ring"] for found in seen), seen
    assert any(re.search("grid", found["what"]) for found in seen)


FOCUS = """() => {
  const element = document.activeElement;
  const shown = element.matches(".search input") ? element.parentElement : element;
  const { boxShadow, outlineStyle } = getComputedStyle(shown);
  return { what: `${element.tagName} ${element.className}`, ring: boxShadow !== "none" || outlineStyle !== "none" };
}"""


def test_a_whole_visit_takes_no_pointer(shown: Shown, open_page: OpenPage) -> None:
    page = visit(shown, open_page, "traces")
    page.keyboard.press("/")
    page.keyboard.type("support")
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("search=support"))
    failed = page.locator(f"#trace-{shown.traces['failing']}")
    expect(failed).to_be_visible()
    for _ in range(int(str(failed.get_attribute("aria-rowindex"))) - 1):
        page.keyboard.press("j")
    expect(failed).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.get_by_role("treegrid")).to_be_visible()
    expect(page.get_by_role("button", name="Go to the failing step")).to_be_visible()
    page.keyboard.press("e")
    expect(page.locator(".step[aria-selected=true]")).to_contain_text("lookup_account")
    tab_to(page, "tab", "Run")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="History")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_text("Chain verified")).to_be_visible()
    page.keyboard.press("Escape")
    expect(failed).to_have_attribute("aria-selected", "true")
    page.keyboard.press("2")
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.keyboard.press("3")
    tab_to(page, "button", "Compare all")
    page.keyboard.press("Enter")
    expect(page.get_by_role("group", name="Read models")).to_contain_text("compared: equal")


def tab_to(page: Page, role: str, name: str) -> None:
    """Press Tab until a control has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        told = page.evaluate("[document.activeElement.getAttribute('role') ?? '', document.activeElement.innerText]")
        if told[1] == name and told[0] in ("", role):
            return
    raise AssertionError(f"Tab does not reach {name}")
