"""The pages on a narrow screen."""

from playwright.sync_api import expect

from tests.pages.conftest import OpenPage, Shown
from tests.pages.visits import PAGES, visit


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
