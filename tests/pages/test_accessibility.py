"""That axe finds nothing serious on any page, in both themes."""

import pytest
from playwright.sync_api import expect

from tests.pages.conftest import OpenPage, Shown
from tests.pages.visits import PAGES, RULES_OF_COLORS, findings_of, visit
from tests.server import Server

# With what axe looks at them.
THEMES: dict[str, tuple[str, ...]] = {"light": (), "dark": RULES_OF_COLORS}


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_serious_on_any_page(shown: Shown, open_page: OpenPage, theme: str) -> None:
    found = {
        name: findings_of(
            visit(shown, open_page, name, color_scheme=theme, reduced_motion="reduce"), rules=THEMES[theme]
        )
        for name in PAGES
    }
    assert {name: some for name, some in found.items() if some} == {}


@pytest.mark.parametrize("theme", THEMES)
def test_dialogs_have_nothing_serious_either(shown: Shown, guarded: Server, open_page: OpenPage, theme: str) -> None:
    rules = THEMES[theme]
    page = visit(shown, open_page, "trace", color_scheme=theme, reduced_motion="reduce")
    page.keyboard.press("c")  # Which leaves a note beside them.
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    assert findings_of(page, rules=rules) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Share").click()
    expect(page.get_by_role("dialog", name="Share this trace").get_by_role("button", name="Share")).to_be_enabled()
    assert findings_of(page, rules=rules) == []
    locked = open_page(guarded.url, allowed=("401",), color_scheme=theme, reduced_motion="reduce")
    expect(locked.get_by_role("dialog", name="An API key is needed")).to_be_visible()
    assert findings_of(locked, rules=rules) == []


def test_nothing_moves_for_those_who_asked_for_that(shown: Shown, open_page: OpenPage) -> None:
    page = visit(shown, open_page, "traces")
    expect(page.get_by_role("button", name="Live")).to_be_visible()
    assert page.evaluate(MOVING) > 0
    still = visit(shown, open_page, "traces", reduced_motion="reduce")
    expect(still.get_by_role("button", name="Live")).to_be_visible()
    assert still.evaluate(MOVING) == 0


MOVING = "document.getAnimations().filter((animation) => animation.playState === 'running').length"
