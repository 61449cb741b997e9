"""The dashboard's document and files, as they are served."""

import gzip
import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from service.app import create_app
from service.page_files import FOLDER, PageFolder
from service.settings import load_settings
from tests.service.running import client_of

PAGES = ("/", "/ui", "/ui/traces/1", "/ui/overview/", "/o/tenant/projects/p/1/r/2", "/public/token/r")
BYTES_MAX = 300_000


@pytest.fixture
def client() -> httpx.AsyncClient:
    return client_of(create_app(load_settings(None, app_name="Spy <b>&amp;</b>")))


async def test_every_page_is_the_same_document_but_for_what_is_fetched_ahead(client: httpx.AsyncClient) -> None:
    answers = [await client.get(page) for page in PAGES]
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.headers["content-type"] for answer in answers} == {"text/html; charset=utf-8"}
    assert len({re.sub("<link rel=.modulepreload.*\n", "", answer.text) for answer in answers}) == 1
    assert (await client.head("/")).status_code == 200


async def test_the_name_of_the_application_stands_in_the_document_as_text(client: httpx.AsyncClient) -> None:
    assert "<title>Spy &lt;b&gt;&amp;amp;&lt;/b&gt;</title>" in (await client.get("/")).text


async def test_nothing_may_run_that_is_not_a_file_of_the_pages(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    for answer in (page, await client.get(files_of(page.text)[0])):
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"].split()[0] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"


async def test_inline_scripts_are_the_import_map_and_the_first_request_and_their_hashes_are_allowed(
    client: httpx.AsyncClient,
) -> None:
    page = await client.get("/")
    first, imports = re.findall(r"<script(?![^>]* src)[^>]*>(.*?)</script>", page.text, re.DOTALL)
    assert first == (FOLDER / "first.js").read_text()
    assert "vendor/preact.mjs" in imports
    allowed = [b64encode(sha256(script.encode()).digest()).decode() for script in (first, imports)]
    assert f"script-src 'self' 'sha256-{allowed[0]}' 'sha256-{allowed[1]}';" in page.headers["content-security-policy"]


async def test_what_a_page_shows_first_is_asked_for_before_any_file(client: httpx.AsyncClient) -> None:
    page = (await client.get("/")).text
    assert page.index("fetch(") < page.index("/ui/files/")


async def test_every_file_that_the_document_names_is_there_and_kept_for_good(client: httpx.AsyncClient) -> None:
    named = files_of((await client.get("/")).text)
    assert len(named) > 15
    for path in named:
        answer = await client.get(path)
        assert answer.status_code == 200, path
        assert "immutable" in answer.headers["cache-control"]
    assert "immutable" not in (await client.get("/")).headers["cache-control"]


@pytest.mark.parametrize(
    ("page", "scripts"),
    [
        ("/", {"traces.js"}),
        ("/ui/traces/1", {"trace.js", "run.js"}),
        ("/public/token/r", {"trace.js", "run.js"}),
        ("/ui/compare/1/2", {"compare.js"}),
        ("/ui/overview", {"overview.js"}),
        ("/ui/operations", {"operations.js"}),
        ("/o/tenant/projects/p/1/r/2", {"links.js"}),
    ],
)
async def test_a_page_fetches_what_draws_it_at_once_and_nothing_else(
    client: httpx.AsyncClient, page: str, scripts: set[str]
) -> None:
    named = {path.split("/", 4)[-1] for path in files_of((await client.get(page)).text)}
    imported = {
        name: set(re.findall(r'from "\./([^"]+)"', file.body.decode()))
        for name, file in PageFolder().files().by_path.items()
        if name.endswith((".js", ".mjs"))
    }
    for name in named & set(imported):
        assert imported[name] <= named, name
    asked_for = {"main.js", "vendor/preact.mjs", *scripts}
    assert named & set(imported) == asked_for | {name for found in named & set(imported) for name in imported[found]}


async def test_a_file_of_another_version_is_asked_for_anew(client: httpx.AsyncClient) -> None:
    answer = await client.get("/ui/files/0123456789abcdef/main.js")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")


async def test_files_are_compressed_for_those_who_understand_it(client: httpx.AsyncClient) -> None:
    path = next(path for path in files_of((await client.get("/")).text) if path.endswith("style.css"))
    async with client.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        raw = b"".join([piece async for piece in answer.aiter_raw()])
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(raw) == plain.content == (FOLDER / "style.css").read_bytes()
    assert "Accept-Encoding" in plain.headers["vary"]


async def test_what_is_no_file_of_the_pages_is_not_found(client: httpx.AsyncClient) -> None:
    for path in ("none.js", "index.html", "../pages.py", "%2e%2e/pages.py", "..%2fpages.py", "vendor", "", "%00"):
        answer = await client.get(f"/ui/files/0/{path}")
        assert answer.status_code == 404 or answer.headers["content-type"].startswith("text/html"), path
        assert "router" not in answer.text


def test_the_files_are_small_and_name_no_other_host() -> None:
    files = PageFolder().files().by_path
    assert sum(len(file.body) for path, file in files.items() if "LICENSE" not in path) < BYTES_MAX
    for path, file in files.items():
        hosts = set(re.findall(r"https?://([\w.-]+)", file.body.decode()))
        assert path.startswith("vendor/") or hosts <= {"www.w3.org"}, (path, hosts)


def test_an_edited_file_is_served_as_it_is_now(tmp_path: Path) -> None:
    (tmp_path / "one.js").write_text('import { two } from "./two.js";')
    (tmp_path / "two.js").write_text("2")
    folder = PageFolder(tmp_path)
    before = folder.files()
    assert folder.files() is before
    (tmp_path / "two.js").write_text('import {\n  one,\n} from "./one.js";\nexport * from "./three.js";')
    after = folder.files()
    assert after.digest != before.digest
    assert (before.needed_by("one.js"), after.needed_by("one.js")) == (
        ["one.js", "two.js"],
        ["one.js", "two.js", "three.js"],
    )


def files_of(document: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r'"(/ui/files/[^"]+)"', document)))
