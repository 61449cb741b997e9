"""The files that the dashboard is made of, read from this package: the page, its styles, its modules."""

import gzip
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Final

FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_DIGEST_HEX_DIGITS: Final = 16
_IMPORTED: Final = re.compile(r"""^(?:import|export)\b[^"']*["']\./([^"']+)["'];""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file as it is sent: its bytes, the same compressed, and its media type."""

    body: bytes
    compressed: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class PageFiles:
    """All files at one moment, by path, and a digest that names exactly these.

    `imports` tells of each script which others it imports at once, by their paths.
    """

    digest: str
    by_path: Mapping[str, PageFile]
    imports: Mapping[str, Sequence[str]]

    def needed_by(self, *scripts: str) -> list[str]:
        """These scripts and all that they import, and what that imports, each once: what a page may fetch at once."""
        needed = dict.fromkeys(scripts)
        waiting = list(scripts)
        while waiting:
            for path in self.imports.get(waiting.pop(0), ()):
                if path not in needed:
                    needed[path] = None
                    waiting.append(path)
        return list(needed)


class PageFolder:
    """Gives the files of a folder, and reads them anew when one was changed: who edits one only reloads the page."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._lock = Lock()
        self._stamp: tuple[tuple[str, int], ...] = ()
        self._files: PageFiles | None = None

    def known(self, digest: str) -> PageFiles | None:
        """The files that this digest names, if they are those that were read last. Reads nothing."""
        files = self._files
        return files if files is not None and files.digest == digest else None

    def files(self) -> PageFiles:
        """The files as they are now. Reads from the disk."""
        paths = sorted(path for path in self._folder.rglob("*") if path.is_file() and path.name != "README.md")
        stamp = tuple((str(path), path.stat().st_mtime_ns) for path in paths)
        with self._lock:
            if self._files is None or stamp != self._stamp:
                self._stamp, self._files = stamp, self._read(paths)
            return self._files

    def _read(self, paths: list[Path]) -> PageFiles:
        by_path = {path.relative_to(self._folder).as_posix(): _page_file(path) for path in paths}
        digest = sha256()
        for name, file in by_path.items():
            digest.update(f"{name}\0{len(file.body)}\0".encode() + file.body)
        imports = {path: _imports(file) for path, file in by_path.items() if file.media_type == _TYPES[".js"]}
        return PageFiles(digest.hexdigest()[:_DIGEST_HEX_DIGITS], by_path, imports)


def _page_file(path: Path) -> PageFile:
    body = path.read_bytes()
    media_type = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return PageFile(body, gzip.compress(body, mtime=0), media_type)


def _imports(script: PageFile) -> list[str]:
    return _IMPORTED.findall(script.body.decode())
