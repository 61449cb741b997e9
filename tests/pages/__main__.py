"""`python -m tests.pages`: makes docs/images, the screenshots of the README, from demonstration traces."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import click
import httpx
from playwright.sync_api import Browser, sync_playwright

from tests.databases import SqliteFiles
from tests.pages import demo
from tests.pages.chromium import ARGUMENTS, find_chromium
from tests.server import CHECKOUT, Server

IMAGES: Final = CHECKOUT / "docs" / "images"
BYTES_MAX: Final = 150_000
PAGES: Final = {
    "traces": "/",
    "trace": "/ui/traces/{failing}?run={failing}",
    "history": "/ui/traces/{answered}?run={answered}&tab=history",
    "compare": "/ui/compare/{failing}/{answered}",
    "overview": "/ui/overview?range=7d",
}


@click.command()
def main() -> None:
    """Start a server, fill it, and take a picture of each page in both themes."""
    executable = find_chromium()
    if executable is None:
        raise click.ClickException("no Chromium is installed here")
    IMAGES.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        databases = SqliteFiles(Path(folder))
        with Server(databases.migrated(), Path(folder)) as server:
            with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
                traces = demo.fill(client)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
                for theme in ("light", "dark"):
                    _take(browser, server.url, traces, theme)
                browser.close()


def _take(browser: Browser, url: str, traces: dict[str, str], theme: str) -> None:
    context = browser.new_context(
        viewport={"width": 1200, "height": 700},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
        timezone_id="Europe/Lisbon",
    )
    for name, path in PAGES.items():
        page = context.new_page()
        page.goto(url + path.format(**traces))
        page.wait_for_load_state("load")
        page.wait_for_timeout(1500)
        picture = page.screenshot()
        size = len(picture)
        if size > BYTES_MAX:
            raise click.ClickException(f"{name}-{theme}.png has {size:,} bytes, more than {BYTES_MAX:,}")
        (IMAGES / f"{name}-{theme}.png").write_bytes(picture)
        click.echo(f"{name}-{theme}.png: {size:,} bytes")
        page.close()
    context.close()


if __name__ == "__main__":
    main()
