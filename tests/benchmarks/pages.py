"""`python -m tests.benchmarks.pages`: how soon the dashboard shows what it should, measured in a real browser.

The time to the first rows of the list with many traces, on a first visit and on one that finds the files kept; the
time to open a very long trace, and the longest stall while it is scrolled; and how much memory the list takes after
an hour's live updates, sent in a minute. Beside times stands what was used of processors, which says more when others
use the machine, too.
"""

import os
import statistics
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import httpx
import orjson
from playwright.sync_api import Browser, Page, sync_playwright

from tests.benchmarks.watch import Watch
from tests.databases import SqliteFiles
from tests.pages.chromium import ARGUMENTS, find_chromium
from tests.pages.memory import held_by
from tests.server import Server

_BATCH: Final = 1000
_OPENINGS: Final = 5
_SCROLLS: Final = 60
_QUARTERS: Final = 4
_MS: Final = 1000
_US_PER_MS: Final = 1000

_SHOWN: Final = "the first rows were painted"
# When the first row was painted is noted, and nobody asks for it again and again: on a processor or two that would be a
# good part of what is measured.
_WATCH: Final = """
new MutationObserver((_, observer) => {
  const text = document.querySelector(".row-link, .step-name");
  if (!text) return;
  observer.disconnect();
  text.setAttribute("elementtiming", "rows"); // Has the browser say when it stood on the screen.
}).observe(document, { childList: true, subtree: true });
new PerformanceObserver((list) => {
  window.firstRows = list.getEntries()[0].renderTime;
  console.debug("SHOWN");
}).observe({ type: "element", buffered: true });
""".replace("SHOWN", _SHOWN)


@dataclass(frozen=True, slots=True)
class Opening:
    """How a page opened: milliseconds from the navigation to the first rows, and of processor time until then."""

    shown: float
    server: float
    page: float


@dataclass(frozen=True, slots=True)
class Stall:
    """Of all tasks of the main thread the most milliseconds that one took, and the most processor time of one."""

    elapsed: float
    used: float


@click.command(context_settings={"show_default": True})
@click.option("--traces", default=100_000, help="Traces in the store.")
@click.option("--runs", default=25_000, help="Runs in the long trace.")
@click.option("--updates", default=3600, help="Live updates of the list.")
def main(traces: int, runs: int, updates: int) -> None:
    """Fill a store, open it in a browser, and print what was measured."""
    executable = find_chromium()
    if executable is None:
        raise click.ClickException("no Chromium is installed here")
    with TemporaryDirectory() as directory, _server(Path(directory)) as server, sync_playwright() as playwright:
        client = httpx.Client(base_url=server.url, timeout=120, trust_env=False)
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        with client, browser:
            _send(client, _traces(traces))
            long = _send(client, _long_trace(runs))
            click.echo(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
            _report_list(browser, server, traces)
            _report_trace(browser, server, long, runs)
            _report_memory(browser, server, client, updates)


def _report_list(browser: Browser, server: Server, traces: int) -> None:
    visits = [_visits(browser, server, server.url) for _ in range(_OPENINGS)]
    for name, openings in zip(("first visit", "files kept"), zip(*visits, strict=True), strict=True):
        click.echo(f"list of {traces:,} traces, {name}: {_told(openings)}")


def _visits(browser: Browser, server: Server, url: str) -> tuple[Opening, Opening]:
    """The first visit to a page, and the second one."""
    with _window(browser) as page:
        return _open(page, server, url), _open(page, server, url)


def _report_trace(browser: Browser, server: Server, trace: str, runs: int) -> None:
    openings, stalls = [], []
    for _ in range(_OPENINGS):
        with _window(browser) as page:
            openings.append(_open(page, server, f"{server.url}/ui/traces/{trace}"))
            stalls.append(_scroll(browser, page))
    click.echo(f"trace of {runs:,} runs, first visit: {_told(openings)}")
    longest, most = _words([stall.elapsed for stall in stalls]), _words([stall.used for stall in stalls])
    click.echo(f"trace of {runs:,} runs: longest task while scrolling {longest} ms; most CPU of a task {most} ms")


def _scroll(browser: Browser, page: Page) -> Stall:
    """Turn the wheel over the rows, ever faster."""
    page.wait_for_timeout(1000)
    page.locator(".steps").hover()
    browser.start_tracing(page=page, categories=["disabled-by-default-devtools.timeline"])
    for number in range(_SCROLLS):
        page.mouse.wheel(0, 400 * (1 + number % 40))
        page.wait_for_timeout(16)
    page.wait_for_timeout(300)
    events = orjson.loads(browser.stop_tracing())["traceEvents"]
    names = {
        (event["pid"], event["tid"]): event["args"].get("name") for event in events if event["name"] == "thread_name"
    }
    tasks = [
        (event["dur"] / _US_PER_MS, event.get("tdur", 0) / _US_PER_MS)
        for event in events
        if event["name"] == "RunTask" and names[event["pid"], event["tid"]] == "CrRendererMain"
    ]
    return Stall(max(elapsed for elapsed, _ in tasks), max(used for _, used in tasks))


def _report_memory(browser: Browser, server: Server, client: httpx.Client, updates: int) -> None:
    """An hour of a trace a second, sent as fast as it goes: what the list holds before, and after each quarter."""
    with _window(browser) as page:
        _open(page, server, server.url)
        click.echo(f"live list, before: {held_by(page)}")
        for quarter in range(1, _QUARTERS + 1):
            for _ in range(updates // _QUARTERS):
                _send(client, _traces(1, ago=timedelta()))
            page.wait_for_timeout(1500)
            click.echo(f"live list, after {updates * quarter // _QUARTERS:,} new traces: {held_by(page)}")


@contextmanager
def _window(browser: Browser) -> Iterator[Page]:
    """A window of its own, in which nothing is kept from before."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.add_init_script(_WATCH)
    yield context.new_page()
    context.close()


def _open(page: Page, server: Server, url: str) -> Opening:
    """Go to an address and wait for its first rows. Starting a process for the window is not counted."""
    page.goto(f"{server.url}/health/live")
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    is_shown = page.expect_console_message(lambda message: message.text == _SHOWN, timeout=60_000)
    with Watch([server.pid]) as used, is_shown:
        page.goto(url)
    metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    session.detach()
    shown = float(page.evaluate("window.firstRows"))
    return Opening(shown, _MS * used.cpu_seconds, _MS * metrics["TaskDuration"])


def _told(openings: Sequence[Opening]) -> str:
    server, page = (statistics.median(getattr(one, name) for one in openings) for name in ("server", "page"))
    shown = _words([one.shown for one in openings])
    return f"first rows after {shown} ms; CPU {server:.0f} ms of the server, {page:.0f} ms of the page's main thread"


def _words(numbers: Sequence[float]) -> str:
    return f"{statistics.median(numbers):.0f} ({', '.join(f'{number:.0f}' for number in numbers)})"


def _traces(count: int, ago: timedelta = timedelta(days=7)) -> Iterator[dict[str, Any]]:
    now = datetime.now(UTC)
    for number in range(count):
        start = now - ago * (1 - number / count)
        yield _run(str(uuid.uuid4()), start, name=f"agent {number % 7}", session_name=f"project {number % 5}")


def _long_trace(count: int) -> Iterator[dict[str, Any]]:
    """A trace in which every run but the root has one of the eight before it as its parent. The root comes last."""
    start = datetime.now(UTC) - timedelta(hours=1)
    ids = [str(uuid.uuid4()) for _ in range(count)]
    for number in range(count - 1, -1, -1):
        parent = ids[(number - 1) // 8] if number else None
        kind = ("chain", "llm", "tool", "retriever")[number % 4]
        run = _run(ids[number], start + timedelta(milliseconds=number * 3), name=f"step {number}", run_type=kind)
        yield {**run, "trace_id": ids[0], "parent_run_id": parent}


def _run(run_id: str, start: datetime, **members: Any) -> dict[str, Any]:
    return {
        "id": run_id,
        "trace_id": run_id,
        "run_type": "chain",
        "start_time": start.isoformat(),
        "end_time": (start + timedelta(seconds=2)).isoformat(),
        "inputs": {"question": "What is the refund policy for annual plans?"},
        "outputs": {"output": "It is thirty days, pro rata after that."},
        **members,
    }


def _send(client: httpx.Client, runs: Iterator[dict[str, Any]]) -> str:
    """Send runs in batches; the id of the last."""
    batch: list[dict[str, Any]] = []
    last = ""
    for run in runs:
        batch.append(run)
        last = run["id"]
        if len(batch) == _BATCH:
            _post(client, batch)
            batch = []
    if batch:
        _post(client, batch)
    return last


def _post(client: httpx.Client, batch: list[dict[str, Any]]) -> None:
    answer = client.post("/api/v1/runs/batch", content=orjson.dumps({"post": batch}))
    answer.raise_for_status()
    if answer.json()["errors"]:
        raise click.ClickException(answer.text)


@contextmanager
def _server(directory: Path) -> Iterator[Server]:
    databases = SqliteFiles(directory)
    with Server(databases.migrated(), directory) as server:
        yield server


if __name__ == "__main__":
    main()
