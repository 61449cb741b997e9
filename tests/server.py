"""A real server process for tests: `python -m service serve` on a free port of the loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

CHECKOUT = Path(__file__).parent.parent
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 30
POLL_S = 0.05
# What the process needs of the environment; everything else might be taken for a setting.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")


class ServerFailed(Exception):
    """The server ended or did not become ready; the message ends with what it printed."""


class Server:
    """Starts one server on `database_url`, already migrated, and never leaves it behind.

    `directory` is its working directory and takes its output, `server.log`. `environ` are settings, `options`
    are added to the command; no other setting of the environment reaches it. The command is added to `inside`, one
    that becomes what is added to it. Use it as a context manager, or call `start` and `stop`; `kill` ends it without
    warning, and `start` brings it up again on the same port.
    """

    def __init__(
        self,
        database_url: str,
        directory: Path,
        *,
        environ: Mapping[str, str] | None = None,
        options: Sequence[str] = (),
        inside: Sequence[str] = (),
    ) -> None:
        self._database_url = database_url
        self._directory = directory
        self._environ = dict(environ or {})
        self._options = tuple(options)
        self._inside = tuple(inside)
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.log = directory / "server.log"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The id of the server's process; raises ServerFailed when it was not started."""
        if self._process is None:
            raise ServerFailed("The server was not started.")
        return self._process.pid

    def start(self) -> None:
        """Start the process and wait until it says it is ready; raises ServerFailed when it never does."""
        command = [
            *self._inside, sys.executable, "-m", "service", "serve",
            "--host", "127.0.0.1", "--port", str(self._port), "--database-url", self._database_url,
            *self._options,
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._directory,
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own, so that its workers end with it.
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask the process to end, and end it if it has not within 30 s. Does nothing when it is gone."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the process and its workers, and wait until it is gone."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def output(self) -> str:
        """Everything that the server printed so far."""
        return self.log.read_text(errors="replace")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        return inherited | {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"} | self._environ

    def _wait_until_ready(self) -> None:
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < give_up_at:
            if self._process is not None and self._process.poll() is not None:
                raise ServerFailed(f"The server ended with {self._process.returncode}:\n{self.output()}")
            if self._is_ready():
                return
            time.sleep(POLL_S)
        raise ServerFailed(f"The server was not ready after {START_TIMEOUT_S} s:\n{self.output()}")

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=2, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False


def free_port() -> int:
    """A port of the loopback that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
