import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import make_url

from service.cli import introduction, main, public_url
from service.settings import Settings, load_settings
from tests.databases import Databases
from tests.server import Server


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="agent-spy")


def test_the_version_is_shown() -> None:
    assert run("--version").output == "agent-spy, version 0.1.0\n"


def test_help_names_the_commands() -> None:
    output = run("--help").output
    assert "serve" in output
    assert "migrate" in output
    assert "verify" in output


def test_a_server_imports_nothing_that_only_other_commands_need() -> None:
    heavy = {"alembic", "cryptography", "multiprocessing.pool", "mako"}
    listed = "import service.cli, sys; service.cli.create_app; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True).stdout
    assert "service.app" in imported.split()
    assert not heavy & set(imported.split())


def test_help_explains_every_setting() -> None:
    output = run("serve", "--help").output
    assert [name for name in Settings.model_fields if f"\n    {name.upper()}=" not in output] == []


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_an_invalid_setting_stops_the_start_with_a_sentence(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PORT", "none")
    result = run(command)
    assert result.exit_code == 2
    assert result.output == "Error: PORT: expected a whole number from 1 to 65535, found 'none'.\n"


def test_workers_are_refused_on_sqlite_with_the_reason(tmp_path: Path) -> None:
    result = run("serve", "--workers", "2", "--database-url", f"sqlite:///{tmp_path}/spy.db")
    assert result.exit_code == 2
    assert "SQLite lets one process write at a time" in result.output


def test_serving_a_database_that_was_never_migrated_says_what_to_do(empty_database_url: str) -> None:
    result = run("serve", "--database-url", empty_database_url)
    assert result.exit_code == 1
    assert result.output.endswith("run agent-spy migrate.\n")


def test_migrate_makes_the_schema_and_tells_its_revision(empty_database_url: str) -> None:
    first, second = (run("migrate", "--database-url", empty_database_url) for _ in range(2))
    assert first.exit_code == second.exit_code == 0
    assert re.search(r" is at \d+ now, and is new\.\n$", first.stdout)
    assert re.search(r" is at \d+ already\.\n$", second.stdout)


def test_migrating_to_a_revision_that_is_none_is_refused(empty_database_url: str) -> None:
    result = run("migrate", "--revision", "nowhere", "--database-url", empty_database_url)
    assert result.exit_code == 1
    assert "Can't locate revision identified by 'nowhere'" in result.output


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/spy.db", "postgresql://spy:hidden@127.0.0.1:1/spy"])
def test_a_database_that_cannot_be_opened_is_told_in_a_sentence(url: str) -> None:
    result = run("serve", "--database-url", url)
    assert result.exit_code == 1
    assert result.output.startswith("Error: The database ")
    assert "hidden" not in result.output


def test_a_postgresql_database_that_is_not_there_is_told_in_a_sentence(postgresql_database_url: str) -> None:
    missing = make_url(postgresql_database_url).set(database="missing").render_as_string(hide_password=False)
    result = run("serve", "--database-url", missing)
    assert result.exit_code == 1
    assert result.output.endswith('cannot be used: database "missing" does not exist\n')


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://localhost:8000"),
        ("127.0.0.1", "http://localhost:8000"),
        ("::", "http://localhost:8000"),
        ("10.0.0.7", "http://10.0.0.7:8000"),
        ("fd00::7", "http://[fd00::7]:8000"),
    ],
)
def test_the_url_is_one_that_can_be_used(host: str, url: str) -> None:
    assert public_url(load_settings(None, host=host)) == url


def test_the_introduction_tells_where_it_is_where_data_lies_and_how_to_send() -> None:
    settings = load_settings(None, database_url="postgres://spy:hidden@db:5433/traces")
    assert introduction(settings).splitlines() == [
        "Agent Spy 0.1.0: http://localhost:8000 (API documentation: http://localhost:8000/docs)",
        "Data: db:5433/traces (PostgreSQL)",
        "To trace with a LangSmith SDK:",
        "  export LANGSMITH_ENDPOINT=http://localhost:8000/api/v1",
        "  export LANGSMITH_TRACING=true",
    ]


def test_with_auth_the_introduction_asks_for_a_key_and_shows_none() -> None:
    text = introduction(load_settings(None, require_auth=True, api_keys="hidden"))
    assert text.endswith("  export LANGSMITH_API_KEY=<one of API_KEYS>")
    assert "hidden" not in text


def test_serve_introduces_itself_answers_and_stops_gracefully(empty_database_url: str, tmp_path: Path) -> None:
    server = Server(empty_database_url, tmp_path, environ={"LOG_FORMAT": "text"}, options=["--migrate"])
    with server:
        response = httpx.get(f"{server.url}/info", headers={"X-Request-ID": "mine"}, trust_env=False)
        server.stop()
    output = server.output()
    assert response.status_code == 200
    assert "server" not in response.headers
    assert f"  export LANGSMITH_ENDPOINT={server.url.replace('127.0.0.1', 'localhost')}/api/v1\n" in output
    assert "  export LANGSMITH_TRACING=true\n" in output
    assert re.search(r"Z INFO     \[mine\] service.access: GET /info 200 in \d+\.\d ms\n", output)
    assert output.count("GET /info") == 1
    assert "Application shutdown complete." in output
    assert "Traceback" not in output


def test_where_another_process_listens_serve_says_so_and_does_not_introduce_itself(database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = run("serve", "--database-url", database_url, "--host", "127.0.0.1", "--port", str(port))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        f"Error: Cannot listen at 127.0.0.1, port {port}: another process listens there. "
        "PORT= or --port chooses another port, HOST= or --host another address.\n"
    )


def test_at_an_address_of_another_machine_serve_says_that_it_cannot_listen(database_url: str) -> None:
    result = run("serve", "--database-url", database_url, "--host", "192.0.2.1")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: Cannot listen at 192.0.2.1, port ")


def test_a_second_server_on_a_sqlite_file_is_refused_until_the_first_is_gone_however_it_went(
    databases: Callable[[str], Databases], tmp_path: Path
) -> None:
    url = databases("sqlite").migrated()
    with Server(url, tmp_path) as server:
        # At its port: whoever is let in here fails there.
        second = run("serve", "--database-url", url, "--host", "127.0.0.1", "--port", server.url.rpartition(":")[2])
        beside = [run(*command, "--database-url", url) for command in (["migrate"], ["quarantine", "list"])]
        served = make_url(url).database
        assert (second.exit_code, second.stdout) == (2, "")
        assert second.stderr == (
            f"Error: Another process ({server.pid}) serves {served}, and SQLite is served by one: "
            "stop that one, or set DATABASE_URL to another file or to a PostgreSQL database.\n"
        )
        assert [result.exit_code for result in beside] == [0, 0]
        server.kill()
        server.start()
    databases("sqlite").drop(url)


@pytest.fixture
def postgresql_database_url(databases: Callable[[str], Databases]) -> Iterator[str]:
    url = databases("postgresql").migrated()
    yield url
    databases("postgresql").drop(url)


def test_settings_and_options_reach_every_worker(postgresql_database_url: str, tmp_path: Path) -> None:
    settings = {"ENVIRONMENT": "from the environment", "LOG_FORMAT": "text"}
    options = ["--workers", "2", "--require-auth"]
    (tmp_path / ".env").write_text("API_KEYS=key\nAPP_VERSION=from-the-file\n")
    with Server(postgresql_database_url, tmp_path, environ=settings, options=options) as server:
        health = httpx.get(f"{server.url}/health", trust_env=False).json()
        server.stop()
    assert (health["environment"], health["version"]) == ("from the environment", "from-the-file")
    assert server.output().count("Application startup complete.") == 2
    assert "export LANGSMITH_API_KEY=" in server.output()
