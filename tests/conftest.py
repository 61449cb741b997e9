"""Fixtures for every test: a clean environment, and databases of one's own on SQLite and PostgreSQL."""

import os
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from functools import cache
from typing import TypeVar

import hypothesis
import pytest

from service.settings import Settings
from tests.databases import Databases, PostgresqlServer, SqliteFiles, postgresql_url, quick_directory
from tests.trigrams import trigrams_url

DATABASES = ("sqlite", "postgresql")
TRIGRAMS = "postgresql with pg_trgm"
# What an SDK, its exporters or PostgreSQL's clients would read.
FOREIGN_PREFIXES = ("LANGSMITH_", "LANGCHAIN_", "LANGGRAPH_", "OTEL_", "PG")

# What takes longest: it begins first, so that no process is left alone with it at the end.
LONG = (
    "tests/crash/",
    "tests/sdk/",
    "tests/pages/",
    "tests/projections/test_rebuild.py",
    "tests/projections/filters/test_equivalence.py",
    "tests/replay/",
    "tests/service/test_rebuild_api.py",
    "tests/service/test_operations.py",
    "tests/service/test_hostile_clients.py",
    "tests/service/test_event_stream.py",
)

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--database", choices=DATABASES, help="run storage tests on this database only")
    parser.addoption("--update-snapshots", action="store_true", help="freeze what recorded traffic folds to anew")


def pytest_configure() -> None:
    """Keep the developer's own settings, SDK configuration and proxies from the tests.

    And let a session that is told to end, by `timeout` or by continuous integration, stop its servers first.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A machine that has other work to do is no reason to fail.
    hypothesis.settings.register_profile("untimed", hypothesis.settings(), deadline=None)
    hypothesis.settings.load_profile("untimed")
    settings = {name.upper() for name in Settings.model_fields}
    for name in list(os.environ):
        if name.upper() in settings or name.startswith(FOREIGN_PREFIXES):
            del os.environ[name]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "database" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--database")
        metafunc.parametrize("database", [chosen] if chosen else DATABASES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first. pytest-xdist keeps this order with --no-loadscope-reorder alone."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture
def database_url(database: str, databases: Callable[[str], Databases]) -> Iterator[str]:
    """The URL of a migrated database that only this test uses; the test runs once for each system."""
    url = databases(database).migrated()
    yield url
    databases(database).drop(url)


@pytest.fixture
def indexable_url(database: str, databases: Callable[[str], Databases]) -> Iterator[str]:
    """The URL of a migrated database that only this test uses, and in which words can be indexed."""
    system = TRIGRAMS if database == "postgresql" else database
    url = databases(system).migrated()
    yield url
    databases(system).drop(url)


@pytest.fixture
def empty_database_url(database: str, databases: Callable[[str], Databases]) -> Iterator[str]:
    """The URL of a database without tables that only this test uses; the test runs once for each system."""
    url = databases(database).empty()
    yield url
    databases(database).drop(url)


@pytest.fixture(scope="session")
def databases() -> Iterator[Callable[[str], Databases]]:
    """Gives the maker of databases of "sqlite", "postgresql" or TRIGRAMS. A server starts when it is first needed."""
    with ExitStack() as stack:

        @cache
        def of(system: str) -> Databases:
            made: Databases
            if system == "sqlite":
                made = SqliteFiles(stack.enter_context(quick_directory()))
            elif system == TRIGRAMS:
                made = PostgresqlServer(stack.enter_context(trigrams_url()))
            else:
                made = PostgresqlServer(stack.enter_context(postgresql_url()))
            stack.callback(made.close)
            return made

        yield of


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _refuse_skip((yield))


def _refuse_skip(report: Report) -> Report:
    """In continuous integration everything is there, so a skipped test would only hide that it is not."""
    if os.environ.get("CI") == "true" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"A skipped test counts as failed where CI=true: {report.longrepr}"
    return report
