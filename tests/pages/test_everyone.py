"""That everybody can use the pages: in a theme and a zone of their own, by keys, on paper."""

import re

from playwright.sync_api import expect

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
    drawn = page.locator(".grid-row").count()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(page.locator(".grid-row").nth(drawn + 5)).to_be_attached()
    expect(page.get_by_role("search")).not_to_be_visible()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(page.locator(".grid-row")).to_have_count(drawn)


def test_the_keyboard_reaches_the_page_first_and_every_control_shows_its_focus(
    shown: Shown, open_page: OpenPage
) -> None:
    page = visit(shown, open_page, "traces")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    seen = []
    for _ in range(16):
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
