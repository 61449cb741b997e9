"""The pages of the demonstration, and what axe finds on a page."""

from collections.abc import Sequence
from typing import Any

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
    "compare": ("/ui/compare/{failing}/{answered}", "lookup_account"),
    "overview": ("/ui/overview?range=7d", "Most failing"),
    "operations": ("/ui/operations", "Up for"),
}


def visit(shown: Shown, open_page: OpenPage, name: str, **options: Any) -> Page:
    path, word = PAGES[name]
    page = open_page(shown.url + path.format(**shown.traces), **options)
    expect(page.get_by_role("main")).to_contain_text(word)
    return page


# What a theme decides: all else that axe looks at is the same in each.
RULES_OF_COLORS = ("color-contrast", "link-in-text-block")


def findings_of(page: Page, *, rules: Sequence[str] = ()) -> list[str]:
    """What axe calls serious or critical, each with the first element that it found so; by these rules, or by all."""
    chosen = {"runOnly": list(rules)} if rules else {}
    results = Axe().run(page, options={"resultTypes": ["violations"], **chosen}).response
    assert len(results["passes"]) > (0 if rules else 10)
    return [
        f"{found['id']}: {found['help']}: {found['nodes'][0]['html'][:200]} {found['nodes'][0]['failureSummary'][:300]}"
        for found in results["violations"]
        if found["impact"] in ("serious", "critical")
    ]
