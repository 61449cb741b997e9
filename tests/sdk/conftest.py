"""Fixtures that let a real client send to a real server, once for each client and database."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.databases import Databases
from tests.sdk.environments import (
    JS_CLIENTS,
    LANGCHAIN_CLIENTS,
    PYTHON_CLIENTS,
    ClientEnvironment,
    installed,
)
from tests.sdk.store import Store
from tests.server import Server

DRIVERS = (
    dict.fromkeys(PYTHON_CLIENTS, "python_sdk.py")
    | dict.fromkeys(JS_CLIENTS, "js_sdk.mjs")
    | dict.fromkeys(LANGCHAIN_CLIENTS, "langchain_runs.py")
)
# An SDK appends its paths to whatever endpoint its user sets, so each client is given another one.
ENDPOINTS = dict(zip(DRIVERS, ("", "/api", "/api/v1", "", "/api/v1", "/api"), strict=True))


@dataclass(frozen=True, slots=True)
class Sent:
    """What a client says it sent to a server, and the server's statistics before and after."""

    client: ClientEnvironment
    environ: dict[str, str]
    directory: Path
    store: Store
    project: str
    sdk: str
    runs: list[dict[str, Any]]
    feedback: list[dict[str, Any]]
    warnings: list[str]
    stats_before: dict[str, Any]
    stats_after: dict[str, Any]

    def roots(self) -> list[dict[str, Any]]:
        return [run for run in self.runs if run["parent_run_id"] is None]

    def children(self, run_id: str) -> list[dict[str, Any]]:
        return [run for run in self.runs if run["parent_run_id"] == run_id]

    def named(self, name: str) -> list[dict[str, Any]]:
        """The runs of that name; never none."""
        found = [run for run in self.runs if run["name"] == name]
        assert found, f"The driver sent no run named {name!r}."
        return found

    def read_back(self) -> dict[str, Any]:
        """The same runs and feedback as the SDK itself reads them, in the fields of the API."""
        wanted = {kind: [item["id"] for item in getattr(self, kind)] for kind in ("runs", "feedback")}
        driver = "read_back.mjs" if self.client.name in JS_CLIENTS else "read_back.py"
        document: dict[str, Any] = self.client.run(driver, self.environ, self.directory, wanted)
        return document


@pytest.fixture
def sent(database: str, client_name: str, senders: Callable[[str, str], Sent]) -> Sent:
    """What the client `client_name` sent; it sends once for each database, however many tests look at it."""
    return senders(database, client_name)


@pytest.fixture(scope="session")
def senders(
    databases: Callable[[str], Databases], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, str], Sent]]:
    with ExitStack() as stack:

        @cache
        def server_on(database: str) -> Server:
            url = databases(database).migrated()
            stack.callback(databases(database).drop, url)
            return stack.enter_context(Server(url, tmp_path_factory.mktemp(f"server-{database}")))

        @cache
        def send(database: str, client_name: str) -> Sent:
            store = Store(server_on(database).url)
            stack.callback(store.close)
            return _send(server_on(database), store, client_name, tmp_path_factory.mktemp(client_name))

        yield send


def _send(server: Server, store: Store, client_name: str, directory: Path) -> Sent:
    client = installed(client_name)
    project = f"from {client_name}"
    environ = {
        "PATH": os.defpath,
        "HOME": str(directory),
        "LANG": "C.UTF-8",
        "LANGSMITH_ENDPOINT": server.url + ENDPOINTS[client_name],
        "LANGSMITH_API_KEY": "test",
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_PROJECT": project,
    }
    before = store.stats()["stats"]
    document = client.run(DRIVERS[client_name], environ, directory)
    after = store.stats()
    return Sent(client, environ, directory, store, project, **document, stats_before=before, stats_after=after)
