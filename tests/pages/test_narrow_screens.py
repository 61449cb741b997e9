"""The pages on a narrow screen."""

import pytest
from playwright.sync_api import Locator, expect

from tests.pages.conftest import OpenPage, Shown
from tests.pages.visits import PAGES, visit


# A telephone; a window of 1280 pixels at a zoom of 200 %; half a screen.
@pytest.mark.parametrize("width", [380, 640, 900])
def test_no_page_is_wider_than_a_narrow_screen(shown: Shown, open_page: OpenPage, width: int) -> None:
    page = visit(shown, open_page, "traces", viewport={"width": width, "height": 740})
    for name, (path, word) in PAGES.items():
        page.goto(shown.url + path.format(**shown.traces))
        expect(page.get_by_role("main")).to_contain_text(word)
        assert page.evaluate("document.scrollingElement.scrollWidth") == width, name
        assert page.evaluate(BEYOND_THE_EDGE) == [], name


def test_on_a_narrow_screen_names_and_choices_can_still_be_read(shown: Shown, open_page: OpenPage) -> None:
    page = visit(shown, open_page, "traces", viewport={"width": 380, "height": 740})
    for label in ("Project", "Time"):
        assert width_of(page.get_by_role("combobox", name=label)) > 120
    page.goto(shown.trace("failing"))
    heading = page.get_by_role("heading", name="support-agent").first
    assert heading.evaluate("(element) => element.scrollWidth <= element.clientWidth")
    page.goto(f"{shown.trace('answered')}?run={shown.traces['answered']}&tab=history")
    assert width_of(page.get_by_role("slider", name="Version")) > 250


def width_of(control: Locator) -> float:
    box = control.bounding_box()
    assert box is not None
    return box["width"]


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
