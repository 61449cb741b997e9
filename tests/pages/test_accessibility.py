"""That axe finds nothing serious on any page, in both themes."""

import pytest
from playwright.sync_api import expect

from tests.pages.conftest import OpenPage, Shown
from tests.pages.visits import PAGES, findings_of, visit


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
