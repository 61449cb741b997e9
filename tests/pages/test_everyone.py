"""That everybody can use the pages: in both themes, on narrow screens, with readers of the screen, on paper."""

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.pages.conftest import OpenPage, Shown

# A word that is there when the page is.
PAGES = {
    "traces": ("/", "support-agent"),
    "none": ("/?search=there+is+none", "No trace matches"),
    "trace": ("/ui/traces/{failing}?run={failing}", "Traceback"),
    "conversation": ("/ui/traces/{answered}?run={answered}", "Assistant"),
    "raw": ("/ui/traces/{answered}?run={answered}&tab=raw", "dotted_order"),
    "history": ("/ui/traces/{answered}?run={answered}&tab=history", "Chain verified"),
    "long": ("/ui/traces/{long}", "nightly-eval"),
    "overview": ("/ui/overview?range=7d", "Most failing"),
    "operations": ("/ui/operations", "Up for"),
}


def visit(shown: Shown, open_page: OpenPage, name: str, **options: Any) -> Page:
    path, word = PAGES[name]
    page = open_page(shown.url + path.format(**shown.traces), **options)
    expect(page.get_by_role("main")).to_contain_text(word)
    return page


def findings_of(page: Page) -> list[str]:
    """What axe calls serious or critical, each with the first element that it found so."""
    results = Axe().run(page).response
    assert len(results["passes"]) > 10
    return [
        f"{found['id']}: {found['help']}: {found['nodes'][0]['html'][:200]} {found['nodes'][0]['failureSummary'][:300]}"
        for found in results["violations"]
        if found["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(shown: Shown, open_page: OpenPage, theme: str) -> None:
    found = {
        name: findings_of(visit(shown, open_page, name, color_scheme=theme, reduced_motion="reduce")) for name in PAGES
    }
    assert {name: some for name, some in found.items() if some} == {}


def test_dialogs_have_nothing_serious_either(shown: Shown, open_page: OpenPage) -> None:
    page = visit(shown, open_page, "traces", reduced_motion="reduce")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    assert findings_of(page) == []


def test_no_page_is_wider_than_a_narrow_screen(shown: Shown, open_page: OpenPage) -> None:
    for name in PAGES:
        page = visit(shown, open_page, name, viewport={"width": 380, "height": 740})
        width = page.evaluate("document.scrollingElement.scrollWidth")
        assert width == 380, name
        beyond = page.evaluate(BEYOND_THE_EDGE)
        assert beyond == [], name


# Elements that stick out on the right, but for those in a box that scrolls sideways or hides what is beyond.
BEYOND_THE_EDGE = """() => [...document.querySelectorAll("main *")].filter((element) => {
  if (element.getBoundingClientRect().right <= innerWidth + 1) return false;
  for (let at = element; at; at = at.parentElement) {
    if (at.matches(".unseen") || getComputedStyle(at).overflowX !== "visible") return false;
  }
  return true;
}).map((element) => element.className || element.tagName)"""


def test_on_a_narrow_screen_a_run_covers_the_tree_and_gives_way_again(shown: Shown, open_page: OpenPage) -> None:
    page = visit(shown, open_page, "long", viewport={"width": 380, "height": 740})
    expect(page.get_by_role("treegrid")).to_be_visible()
    page.locator(".step").nth(1).click()
    expect(page.get_by_role("complementary", name="Run")).to_be_visible()
    expect(page.get_by_role("treegrid")).not_to_be_visible()
    page.get_by_role("button", name="Back to the tree").click()
    expect(page.get_by_role("treegrid")).to_be_visible()


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
