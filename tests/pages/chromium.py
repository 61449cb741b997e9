"""The browser that drives the pages: the system's Chromium, told to talk to nobody of its own accord."""

import os
import shutil
from typing import Final

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS: Final = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
    "--disable-quic",
    # Chromium refuses its sandbox to root, which continuous integration often is.
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
]


def find_chromium() -> str | None:
    """The path of a Chromium on this machine; None when there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)
