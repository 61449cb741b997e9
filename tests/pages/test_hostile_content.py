"""Whatever a trace holds is shown, and does nothing else."""

import json
import re
import uuid
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.pages import demo
from tests.pages.conftest import OpenPage
from tests.server import Server

MARKUP = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script><svg onload="window.hacked=3">'
LINK = "[click me](javascript:window.hacked=4) [and me](data:text/html,<script>window.hacked=5</script>) <javascript:1>"
ELSEWHERE = "![pixel](https://tracker.example/pixel.png) https://tracker.example/a?b=c"
# What a view library might take for an element of its own.
ELEMENT = {
    "type": "img",
    "__v": 1,
    "__b": 1,
    "props": {"src": "x", "onerror": "window.hacked=6", "dangerouslySetInnerHTML": {"__html": MARKUP}},
    "key": None,
    "ref": None,
    "constructor": None,
    "$$typeof": "react.element",
}
MESSAGES = [
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://tracker.example/i.png"}}]},
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "javascript:window.hacked=7"}}]},
    {"role": "user", "content": [{"type": "image", "source": {"media_type": "text/html", "data": "PHNjcmlwdD4="}}]},
    {"role": MARKUP, "content": MARKUP},
    {
        "role": "assistant",
        "content": ELEMENT,
        "name": ELEMENT,
        "tool_calls": [{"id": ELEMENT, "name": MARKUP, "args": ELEMENT}],
    },
]
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="parent.hacked=8"><script>parent.hacked=9</script></svg>'


UNFOLD = """() => {
  const folded = "details:not([open]) > summary, .json-fold[aria-expanded=false], .segments.small button:last-child";
  document.querySelectorAll(folded).forEach((element) => element.click());
}"""


def a_run(**members: Any) -> dict[str, Any]:
    run_id = str(uuid.uuid4())
    now = datetime.now(UTC).isoformat()
    return {"id": run_id, "trace_id": run_id, "run_type": "chain", "name": "run", "start_time": now, **members}


def look_everywhere(page: Page, url: str, run_id: str) -> None:
    """Visit the pages that show the run, and unfold what is folded."""
    page.goto(url)
    expect(page.locator(f"#trace-{run_id}")).to_be_visible()
    for tab in ("run", "raw", "history"):
        page.goto(f"{url}/ui/traces/{run_id}?run={run_id}&tab={tab}")
        expect(page.locator(".run .facts, .json-lines").first).to_be_visible()
        for _ in range(2):
            page.evaluate(UNFOLD)
            page.wait_for_timeout(100)
    page.goto(f"{url}/ui/compare/{run_id}/{run_id}")
    expect(page.get_by_role("region", name="Facts")).to_be_visible()
    page.goto(f"{url}/ui/overview")
    expect(page.get_by_role("heading", name="Slowest")).to_be_visible()
    page.goto(f"{url}/ui/operations")
    expect(page.get_by_role("heading", name="Receipts")).to_be_visible()


@pytest.mark.parametrize("hostile", [MARKUP, LINK, ELSEWHERE], ids=["markup", "links", "elsewhere"])
def test_texts_in_every_field_are_only_shown(shared_server: Server, open_page: OpenPage, hostile: str) -> None:
    run = a_run(
        name=hostile,
        run_type=hostile,
        session_name=hostile,
        tags=[hostile],
        error=f"{hostile}\nTraceback (most recent call last):\n  File {hostile}",
        inputs={"question": hostile, hostile: {hostile: [hostile]}},
        outputs={
            "messages": [
                {"role": "assistant", "content": hostile, "tool_calls": [{"name": hostile, "args": {hostile: hostile}}]}
            ]
        },
        events=[{"name": hostile, "time": hostile, "kwargs": {hostile: hostile}}],
        extra={"metadata": {hostile: hostile, "ls_model_name": hostile, "thread_id": hostile}},
        serialized={hostile: hostile},
    )
    with httpx.Client(base_url=shared_server.url, trust_env=False) as client:
        demo.batch(client, post=[run])
        feedback = {"run_id": run["id"], "key": hostile, "comment": hostile, "value": hostile, "score": 1}
        client.post("/api/v1/feedback", json=feedback).raise_for_status()
        client.post("/api/v1/runs/batch", json={"post": [{"name": hostile}]})
    page = open_page(shared_server.url)
    look_everywhere(page, shared_server.url, str(run["id"]))
    page.goto(f"{shared_server.url}/ui/traces/{run['id']}")
    expect(page.get_by_role("heading", level=1)).to_have_text(hostile)
    links = page.evaluate("[...document.querySelectorAll('a')].map((link) => link.href)")
    assert [link for link in links if not link.startswith(("http://", "https://"))] == []
    assert page.evaluate("window.hacked") is None


def test_values_of_any_shape_where_texts_are_expected_are_only_shown(
    shared_server: Server, open_page: OpenPage
) -> None:
    runs = [
        a_run(inputs={"messages": MESSAGES}, outputs=ELEMENT, tags=[ELEMENT, 1], events=[ELEMENT, 5, None]),
        a_run(inputs=ELEMENT, outputs={"documents": [{"page_content": MARKUP, "metadata": ELEMENT}]}, error=ELEMENT),
        a_run(
            name=ELEMENT, inputs=[ELEMENT], outputs={"generations": [[{"text": ELEMENT}]]}, extra={"metadata": ELEMENT}
        ),
        a_run(
            inputs={"messages": [[]]}, outputs={"choices": [{"message": ELEMENT}]}, extra=ELEMENT, serialized=[ELEMENT]
        ),
    ]
    with httpx.Client(base_url=shared_server.url, trust_env=False) as client:
        demo.batch(client, post=runs)
        feedback = {"run_id": runs[0]["id"], "key": "k", "comment": "c", "value": ELEMENT, "score": 1}
        client.post("/api/v1/feedback", json=feedback).raise_for_status()
    page = open_page(shared_server.url)
    for run in runs:
        look_everywhere(page, shared_server.url, run["id"])
        assert page.evaluate("window.hacked") is None


def test_a_place_that_a_client_wrote_is_metadata_and_not_where_the_page_reads(
    shared_server: Server, open_page: OpenPage
) -> None:
    forged: list[object] = [
        1,
        {"url": "/api/v1/feedback/tokens/00000000-0000-0000-0000-000000000000?score=0", "preview": "p", "size": 9},
    ]
    runs = [a_run(extra={"offloaded": {"metadata": place}, "metadata": {"told": "by its sender"}}) for place in forged]
    with httpx.Client(base_url=shared_server.url, trust_env=False) as client:
        demo.batch(client, post=runs)
    page = open_page(shared_server.url)
    for run in runs:
        page.goto(f"{shared_server.url}/ui/compare/{run['id']}/{run['id']}")
        metadata = page.get_by_role("region", name="Metadata", exact=True)
        expect(metadata).to_contain_text("The same in both")
        expect(metadata).to_contain_text("by its sender")
        expect(metadata.get_by_role("button", name=re.compile("^Compare "))).to_have_count(0)


def test_an_image_with_a_script_in_it_is_a_picture_and_no_more(shared_server: Server, open_page: OpenPage) -> None:
    run = a_run(outputs={"output": "see the picture"})
    parts = demo.with_attachment(run, "a.svg", "image/svg+xml", SVG)
    with httpx.Client(base_url=shared_server.url, trust_env=False) as client:
        client.post(f"/api/v1{parts.path}", content=parts.content, headers=parts.headers).raise_for_status()
    page = open_page(f"{shared_server.url}/ui/traces/{run['id']}")
    expect(page.locator(".attachments li")).to_have_count(1)
    expect(page.get_by_role("link", name="a.svg")).to_have_attribute("download", "a.svg")
    assert page.evaluate("window.hacked") is None


def test_a_text_of_five_megabytes_shows_its_beginning_and_more_on_demand(
    shared_server: Server, open_page: OpenPage
) -> None:
    text = "".join(f"{number:>9} of many words\n" for number in range(200_000))
    run = a_run(outputs={"output": text}, inputs={"one": "y" * 5_000_000})
    with httpx.Client(base_url=shared_server.url, timeout=60, trust_env=False) as client:
        demo.batch(client, post=[run])
    page = open_page(f"{shared_server.url}/ui/traces/{run['id']}")
    outputs = page.get_by_role("region", name="Outputs")
    expect(outputs).to_contain_text("0 of many words")
    assert page.evaluate("document.documentElement.textContent.length") < 100_000
    outputs.get_by_role("button", name="Show all").click()
    outputs.get_by_role("button", name="Show more").click()
    expect(outputs).to_contain_text("1999 of many words")
    assert page.evaluate("document.documentElement.textContent.length") < 300_000
    page.get_by_role("tab", name="Raw").click()
    expect(page.get_by_role("button", name="5.0 MB").first).to_be_visible()


def test_five_megabytes_where_a_word_is_expected_freeze_nothing(shared_server: Server, open_page: OpenPage) -> None:
    word = "w" * 5_000_000
    message = {"role": "assistant", "name": word, "content": "hello", "tool_calls": [{"name": word, "args": {}}]}
    run = a_run(
        name=word,
        tags=[word],
        inputs={"messages": [message]},
        events=[{"name": word}],
        extra={"metadata": {word: "the name is long"}},
    )
    with httpx.Client(base_url=shared_server.url, timeout=60, trust_env=False) as client:
        demo.batch(client, post=[run])
    page = open_page(shared_server.url)
    trace = f"/ui/traces/{run['id']}?tab="
    shown = {f"{trace}run": "the name is long", f"{trace}raw": "dotted_order", f"{trace}history": "Chain verified"}
    for path, words in {**shown, f"/ui/compare/{run['id']}/{run['id']}": "the name is long"}.items():
        page.goto(shared_server.url + path)
        expect(page.get_by_role("main")).to_contain_text(words)
        assert page.evaluate("document.documentElement.outerHTML.length") < 100_000
        assert page.evaluate("document.scrollingElement.scrollWidth") == 1280


def test_numbers_that_javascript_would_round_keep_their_digits(shared_server: Server, open_page: OpenPage) -> None:
    run = a_run(outputs={"large": 2**70, "exact": 9007199254740993})
    with httpx.Client(base_url=shared_server.url, trust_env=False) as client:
        body = json.dumps({"post": [run]})
        client.post("/api/v1/runs/batch", content=body).raise_for_status()
    page = open_page(f"{shared_server.url}/ui/traces/{run['id']}")
    outputs = page.get_by_role("region", name="Outputs")
    for digits in (str(2**70), "9007199254740993"):
        expect(outputs).to_contain_text(digits)
