"""The dashboard's pages. One HTML document serves them all: which page it shows, its scripts read off the address.

The pages hold no data. What they show they read from the documented endpoints, with the key that the viewer gives.
"""

import asyncio
import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Annotated, Final

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from service.page_files import PageFile, PageFiles, PageFolder
from service.parts import SettingsPart
from service.paths import API_ROOT

router = APIRouter(include_in_schema=False)

FILES_PATH: Final = "/ui/files"
_DOCUMENT: Final = "index.html"
# Stands in the document itself: it asks for data, and that is not to wait until all else was asked for.
_FIRST: Final = "first.js"
_INLINE: Final = re.compile(r"<script(?: type=\"importmap\")?>(.*?)</script>", re.DOTALL)
# The scripts that draw what is at an address; `main.js` has the last word. They are only fetched sooner for being here.
_DRAWN_BY: Final = (
    (re.compile(r"/ui/traces/.|/public/"), ("trace.js", "run.js")),
    (re.compile(r"/ui/compare/"), ("compare.js",)),
    (re.compile(r"/ui/overview"), ("overview.js",)),
    (re.compile(r"/ui/operations"), ("operations.js",)),
    (re.compile(r"/ui/runs/|/o/"), ("links.js",)),
    (re.compile(""), ("traces.js",)),
)
_A_YEAR: Final = "public, max-age=31536000, immutable"
# Nothing inline but what the document has of its own, nothing from elsewhere, nothing that turns a text into markup.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY.format(scripts=""),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}

_folder = PageFolder()


async def page_folder() -> PageFolder:
    return _folder


FolderPart = Annotated[PageFolder, Depends(page_folder)]


@router.api_route(FILES_PATH + "/{digest}/{path:path}", methods=["GET", "HEAD"])
async def read_file(digest: str, path: str, request: Request, folder: FolderPart) -> Response:
    """A file of the pages. Kept for good by whoever asked for exactly this one."""
    files = folder.known(digest)
    if files is None:
        files = await asyncio.to_thread(folder.files)
    file = files.by_path.get(path)
    if file is None or path == _DOCUMENT:
        raise HTTPException(404, f"The dashboard has no file {path!r}.")
    cache_control = _A_YEAR if digest == files.digest else "no-cache"
    return _answer_file(request, file, cache_control)


@router.api_route("/", methods=["GET", "HEAD"])
@router.api_route("/ui", methods=["GET", "HEAD"])
@router.api_route("/ui/{page:path}", methods=["GET", "HEAD"])
# What SDKs print: a project, a run in it, and a run that is shared.
@router.api_route("/o/{page:path}", methods=["GET", "HEAD"])
@router.api_route(API_ROOT + "/public/{token}/r", methods=["GET", "HEAD"])
def read_page(request: Request, folder: FolderPart, settings: SettingsPart) -> Response:
    """The document of every page."""
    body = _document(folder.files(), settings.app_name, _drawn_by(request.url.path))
    policy = _POLICY.format(scripts="".join(f" 'sha256-{hash_}'" for hash_ in _hashes_of_inline_scripts(body)))
    headers = {**_HEADERS, "Content-Security-Policy": policy, "Cache-Control": "no-cache"}
    return Response(body, media_type="text/html", headers=headers)


def _drawn_by(path: str) -> tuple[str, ...]:
    return next(scripts for pattern, scripts in _DRAWN_BY if pattern.match(path.removeprefix(API_ROOT)))


def _document(files: PageFiles, title: str, scripts: tuple[str, ...]) -> str:
    # So that a browser fetches all modules at once, and not each when another imports it.
    modules = files.needed_by("main.js", *scripts)
    filled = {
        "{first}": files.by_path[_FIRST].body.decode(),
        "{preloads}": "\n".join(f'<link rel="modulepreload" href="{{files}}/{path}">' for path in modules),
        "{files}": f"{FILES_PATH}/{files.digest}",
        "{title}": escape(title),
    }
    body = files.by_path[_DOCUMENT].body.decode()
    for place, text in filled.items():
        body = body.replace(place, text)
    return body


def _hashes_of_inline_scripts(document: str) -> list[str]:
    """What lets the inline scripts be: the base64 of the SHA-256 of each."""
    return [b64encode(sha256(script.encode()).digest()).decode() for script in _INLINE.findall(document)]


def _answer_file(request: Request, file: PageFile, cache_control: str) -> Response:
    body, headers = file.body, {**_HEADERS, "Cache-Control": cache_control}
    if "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = file.compressed, "gzip"
    return Response(body, media_type=file.media_type, headers=headers)
