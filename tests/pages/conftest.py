"""A real browser on a real server. Where no Chromium is installed the tests of the pages are skipped."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.databases import Databases
from tests.pages import demo
from tests.pages.chromium import ARGUMENTS, find_chromium
from tests.server import Server

# A machine may be busy with other tests; who waits for what is there already waits for nothing.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


@dataclass
class Shown:
    """A server with a week of demonstration traces: its address, and the traces worth a look by what they show."""

    url: str
    traces: dict[str, str]

    def trace(self, name: str) -> str:
        """The address of a trace's page."""
        return f"{self.url}/ui/traces/{self.traces[name]}"


@dataclass
class Complaints:
    """What a browser had to complain about, and where it went besides the server."""

    server: str
    allowed: tuple[str, ...]
    found: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self._note(f"error: {error}"))
        page.on("console", self._hear)
        page.on("request", lambda request: self._look(request.url))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._note(message.text)

    def _look(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and f"{parts.scheme}://{parts.netloc}" != self.server:
            self._note(f"request to another origin: {url}")

    def _note(self, complaint: str) -> None:
        if not any(words in complaint for words in self.allowed):
            self.found.append(complaint)


# Not for the session: as long as it is there, no other test of this thread could have an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = find_chromium()
    if executable is None:
        pytest.skip("no Chromium is installed here")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def start_server(
    databases: Callable[[str], Databases], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Server]]:
    """Starts servers, each on a database of its own, and ends them with the session."""
    started: list[Server] = []

    def start(**environ: str) -> Server:
        url = elsewhere.submit(databases("sqlite").migrated).result()
        server = Server(url, tmp_path_factory.mktemp("pages"), environ=environ)
        server.start()
        started.append(server)
        return server

    # Playwright has an event loop in this thread, and migrating needs one of its own.
    with ThreadPoolExecutor(1) as elsewhere:
        yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def shown(start_server: Callable[..., Server]) -> Shown:
    server = start_server()
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        return Shown(server.url, demo.fill(client, traces=120))


@pytest.fixture(scope="session")
def shared_server(start_server: Callable[..., Server]) -> Server:
    """A server for tests that send traces of their own and mind no others."""
    return start_server()


@pytest.fixture(scope="session")
def guarded(start_server: Callable[..., Server]) -> Server:
    """A server that asks for keys: with `boss` everything may be done, with `reader` one may read."""
    return start_server(REQUIRE_AUTH="true", API_KEYS="boss,reader:read")


@pytest.fixture
def empty(start_server: Callable[..., Server]) -> Server:
    """A server to which nothing was sent yet."""
    return start_server()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens an address in a window of its own.

    Whatever the browser complains about fails the test, but for words that it allows. `options` are of the window.
    """
    watched: list[Complaints] = []

    def open_page(url: str, *, allowed: tuple[str, ...] = (), **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        parts = urlsplit(url)
        complaints = Complaints(f"{parts.scheme}://{parts.netloc}", allowed)
        complaints.watch(page)
        watched.append(complaints)
        page.goto(url)
        return page

    yield open_page
    for context in browser.contexts:
        context.close()
    assert [found for complaints in watched for found in complaints.found] == []
