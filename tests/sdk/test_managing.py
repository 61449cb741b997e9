"""Projects, feedback, shares and threads, managed with the clients that people use."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from tests.databases import Databases
from tests.sdk.conftest import ENDPOINTS
from tests.sdk.environments import JS_CLIENTS, PYTHON_CLIENTS, installed
from tests.server import Server

Document = dict[str, Any]


@pytest.fixture(scope="module")
def managers(
    databases: Callable[[str], Databases], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, str], Document]]:
    """What a client printed that managed a server on a database; it does so once."""
    with ExitStack() as stack:

        @cache
        def server_on(database: str) -> Server:
            url = databases(database).migrated()
            stack.callback(databases(database).drop, url)
            return stack.enter_context(Server(url, tmp_path_factory.mktemp(f"managed-{database}")))

        @cache
        def manage(database: str, client_name: str) -> Document:
            directory = tmp_path_factory.mktemp(client_name)
            environ = {
                "PATH": os.defpath,
                "HOME": str(directory),
                "LANG": "C.UTF-8",
                "LANGSMITH_ENDPOINT": server_on(database).url + ENDPOINTS[client_name],
                "LANGSMITH_API_KEY": "test",
                "LANGSMITH_TRACING": "true",
                "LANGSMITH_PROJECT": f"from {client_name}",
            }
            driver = "manage.mjs" if client_name in JS_CLIENTS else "manage.py"
            document: Document = installed(client_name).run(driver, environ, directory)
            return document

        yield manage


@pytest.fixture
def managed(database: str, client_name: str, managers: Callable[[str, str], Document]) -> Document:
    return managers(database, client_name)


python_clients = pytest.mark.parametrize("client_name", PYTHON_CLIENTS)
js_clients = pytest.mark.parametrize("client_name", JS_CLIENTS)


@python_clients
def test_projects_are_created_changed_renamed_and_deleted(managed: Document) -> None:
    projects = managed["projects"]
    latency = projects["stats"].pop()
    assert projects.pop("upserted") in ([True, {"team": "b"}], None)
    assert latency.startswith(("0:00:04", "0:00:03.9"))
    assert projects == {
        "made": [projects["made"][0], "what for", {"team": "a"}],
        "conflict": "LangSmithConflictError",
        "stats": [1, 0.0],
        "listed": [True],
        "by_id": True,
        "renamed": [True, True, "renamed"],
        "end_time": "2024-01-15 10:30:00+00:00",
        "runs_of_it": [True, True],
        "has": [True, False],
        "tenant": True,
    }
    assert managed["deleted"] is False


@python_clients
def test_feedback_is_given_changed_listed_and_deleted(managed: Document) -> None:
    assert managed["feedback"] == {
        "read": [True, "correctness", 0.5, "right"],
        "listed": [True],
        "elsewhere": 0,
        "deleted": "LangSmithNotFoundError",
    }


@python_clients
def test_everything_that_feedback_says_reads_back(managed: Document) -> None:
    assert managed["full feedback"] == {
        "read": [0.25, {"label": "good"}, {"answer": "better"}, "因为", "model"],
        "source": ["a judge", True],
        "changed": [0.25, "best", {"answer": "best"}, "改"],
        "of_project": [[True, None, True]],
        "by_source": [True],
    }


@python_clients
def test_each_argument_of_a_list_counts(managed: Document) -> None:
    lists = managed["lists"]
    assert lists["ways"] >= 4
    expected = {"newest": [True], "narrow": 3, "listed": [[3], []]}
    assert lists == {
        "examples": [True],
        "projects": True,
        "ways": lists["ways"],
        "thread": {name: value for name, value in expected.items() if name in lists["thread"]},
    }


@python_clients
def test_feedback_is_given_with_a_token(managed: Document) -> None:
    assert managed["tokens"] == {"given": [1, "by a link", True], "again": [0, 1], "listed": True, "lives": True}


def test_configurations_of_feedback_are_managed(managers: Callable[[str, str], Document], database: str) -> None:
    expected = {"made": [True, 5], "changed": True, "listed": True, "deleted": True}
    told = [managers(database, name)["configs"] for name in PYTHON_CLIENTS]
    assert [configs for configs in told if configs is not None] == [expected] * sum(one is not None for one in told)
    assert expected in told


@python_clients
def test_a_run_is_shared_read_and_no_longer_shared(managed: Document) -> None:
    assert managed["shares"] == {"shared": [False, True, True], "read": True, "listed": [True], "unshared": False}
    assert managed["shared by choice"]


@python_clients
def test_threads_are_read_where_the_sdk_can(managed: Document) -> None:
    expected = {
        "turns": [1, 2],
        "listed": [["thread-café", 2]],
        "queried": [["thread-café", 2]],
        "traces": [1, 2],
        "sums": 2,
        "roots": 2,
    }
    assert managed["threads"] == {name: value for name, value in expected.items() if name in managed["threads"]}


def test_the_newest_sdk_does_it_in_every_way(managers: Callable[[str, str], Document], database: str) -> None:
    managed = managers(database, "langsmith-0.15.0")
    assert set(managed["threads"]) == {"turns", "listed", "queried", "traces", "sums", "roots"}
    assert managed["projects"].get("upserted", True) is not None
    assert set(managed["lists"]["thread"]) == {"newest", "narrow", "listed"}
    assert managed["lists"]["ways"] == 6
    assert managed["resources"] == {
        "shared": [True, "managed", True],
        "sums": [1, 3],
        "tree": [[True, []]],
        "roots": ["managed"],
        "projects": ["changed", True, 3],
        "gone": [],
    }


@js_clients
def test_the_javascript_sdk_manages_the_same(managed: Document) -> None:
    assert managed == {
        "made": ["what for", True],
        "conflict": "LangSmithConflictError",
        "stats": 1,
        "renamed": ["renamed", True],
        "has": [True, False],
        "feedback": ["correctness", 0.5, 1],
        "token": [1, "by a link", 1],
        "shared": [None, True, True, None],
        "sharedRuns": [[True], [True], []],
        "turns": [1],
        "threads": [["thread-café", 1]],
        "secondGeneration": {
            "publicName": "managed",
            "threads": [["thread-café", 1]],
            "streamed": ["thread-café"],
            "turns": [1],
            "stats": 1,
            "sums": 1,
            "roots": ["managed"],
            "tree": [[True, []]],
        },
        "deleted": False,
    }
