import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from service.keys import ApiKey, Scope
from service.settings import (
    InvalidSettings,
    Settings,
    default_text,
    expectation,
    export_options,
    load_settings,
    warnings,
)


def refusal(**options: object) -> str:
    with pytest.raises(InvalidSettings) as raised:
        load_settings(None, **options)
    return str(raised.value)


def env_file(directory: Path, *lines: str) -> Path:
    file = directory / ".env"
    file.write_text("\n".join(lines))
    return file


def test_defaults_are_the_documented_ones() -> None:
    assert load_settings(None).model_dump() == {
        "app_name": "Agent Spy",
        "app_version": "0.1.0",
        "debug": False,
        "environment": "development",
        "host": "0.0.0.0",
        "port": 8000,
        "reload": False,
        "database_url": "sqlite+aiosqlite:///./agentspy.db",
        "database_pool_size": 20,
        "database_echo": False,
        "api_prefix": "/api/v1",
        "require_auth": False,
        "api_keys": None,
        "cors_origins": ("*",),
        "cors_credentials": True,
        "cors_methods": ("*",),
        "cors_headers": ("*",),
        "max_trace_size_mb": 10,
        "max_body_mb": 128,
        "ingest_queue_mb": 256,
        "request_timeout": 30,
        "receive_timeout": 30,
        "metrics_enabled": True,
        "status_rule": "documented",
        "full_text": False,
        "log_level": "INFO",
        "log_format": "auto",
    }


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_every_documented_environment_line_is_taken(tmp_path: Path) -> None:
    file = env_file(
        tmp_path,
        "ENVIRONMENT=production",
        "DEBUG=false",
        "HOST=0.0.0.0",
        "PORT=8000",
        "DATABASE_URL=sqlite+aiosqlite:///./agentspy.db",
        "DATABASE_ECHO=false",
        "API_PREFIX=/api/v1",
        "REQUIRE_AUTH=false",
        "API_KEYS=key1,key2,key3",
        "CORS_ORIGINS=http://localhost:3000,https://yourdomain.com",
        "CORS_CREDENTIALS=true",
        "MAX_TRACE_SIZE_MB=10",
        "REQUEST_TIMEOUT=30",
        "LOG_LEVEL=INFO",
        "LOG_FORMAT=json",
    )
    settings = load_settings(file)
    assert settings.environment == "production"
    assert settings.cors_origins == ("http://localhost:3000", "https://yourdomain.com")
    assert settings.api_keys == (ApiKey("key1"), ApiKey("key2"), ApiKey("key3"))


def test_options_win_over_the_environment_and_this_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = env_file(tmp_path, "HOST=file", "PORT=1001", "ENVIRONMENT=file")
    monkeypatch.setenv("HOST", "environment")
    monkeypatch.setenv("PORT", "1002")
    settings = load_settings(file, port="1003", environment=None)
    assert (settings.host, settings.port, settings.environment) == ("environment", 1003, "file")


def test_exported_options_reach_who_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    export_options({"port": 1004, "debug": True, "host": None})
    assert (os.environ["PORT"], os.environ["DEBUG"], "HOST" in os.environ) == ("1004", "True", False)


def test_an_empty_variable_is_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    monkeypatch.setenv("API_KEYS", "")
    assert load_settings(None) == load_settings(None, port=8000)


@pytest.mark.parametrize("text", ["http://a, http://b", '["http://a", "http://b"]'])
def test_lists_are_separated_by_commas_or_json(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", text)
    assert load_settings(None).cors_origins == ("http://a", "http://b")


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings(None).port = 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"port": "abc"}, "PORT: expected a whole number from 1 to 65535, found 'abc'."),
        ({"port": "65536"}, "PORT: expected a whole number from 1 to 65535, found '65536'."),
        ({"debug": "perhaps"}, "DEBUG: expected true or false, found 'perhaps'."),
        ({"log_format": "xml"}, "LOG_FORMAT: expected one of auto, json, text, found 'xml'."),
        ({"app_name": ""}, "APP_NAME: expected a text that is not empty, found ''."),
        ({"cors_origins": "[1"}, "CORS_ORIGINS: expected entries separated by commas, or a JSON list."),
        ({"api_prefix": "/a b"}, "API_PREFIX: expected a path such as /spy/api/v1."),
    ],
)
def test_an_invalid_value_is_told_in_one_sentence(options: dict[str, object], sentence: str) -> None:
    assert refusal(**options) == sentence


def test_every_invalid_value_is_told() -> None:
    assert [line.split(":")[0] for line in refusal(port="x", reload="x").splitlines()] == ["PORT", "RELOAD"]


def test_levels_and_formats_are_taken_in_any_case() -> None:
    settings = load_settings(None, log_level="debug", log_format="TEXT", status_rule="Ended")
    assert (settings.log_level, settings.log_format, settings.status_rule) == ("DEBUG", "text", "ended")


def test_auth_without_keys_says_what_to_do() -> None:
    assert "set API_KEYS" in refusal(require_auth="true")
    assert "set API_KEYS" in refusal(require_auth="true", api_keys=" , ")


def test_keys_have_scopes() -> None:
    settings = load_settings(None, api_keys="all,some:ingest+read")
    assert settings.api_keys == (ApiKey("all"), ApiKey("some", frozenset({Scope.INGEST, Scope.READ})))


@pytest.mark.parametrize("entries", ["fine,secret:fly", '["fine","sec ret"]', "fine,fine"])
def test_a_refused_key_is_not_shown(entries: str) -> None:
    sentence = refusal(api_keys=entries)
    assert sentence.startswith("API_KEYS: ")
    assert [part for part in ("fine", "sec", "fly") if part in sentence] == []


def test_secrets_are_not_in_the_text_form() -> None:
    settings = load_settings(None, api_keys="hidden1", database_url="postgresql://spy:hidden2@db/spy")
    assert "hidden" not in repr(settings)
    assert settings.data_place == "db/spy (PostgreSQL)"


def test_the_queue_holds_the_largest_body() -> None:
    assert refusal(max_body_mb=300) == "INGEST_QUEUE_MB: expected at least MAX_BODY_MB, which is 300, found 256."


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("sqlite:///spy.db", "sqlite+aiosqlite:///spy.db"),
        ("sqlite+aiosqlite:////data/spy.db", "sqlite+aiosqlite:////data/spy.db"),
        ("postgres://u:p%40@h:5433/d", "postgresql+asyncpg://u:p%40@h:5433/d"),
        ("postgresql://u@h/d", "postgresql+asyncpg://u@h/d"),
        ("postgresql+asyncpg://u@h/d", "postgresql+asyncpg://u@h/d"),
        ("postgresql://u@h/d?sslmode=require", "postgresql+asyncpg://u@h/d?ssl=require"),
        ("postgresql://u@/d?host=/run/pg", "postgresql+asyncpg://u@/d?host=%2Frun%2Fpg"),
    ],
)
def test_a_database_url_gets_the_driver_that_is_used(given: str, used: str) -> None:
    assert load_settings(None, database_url=given).database_url == used


@pytest.mark.parametrize(
    "url", ["mysql://root:hidden@h/d", "hidden", "sqlite://", "sqlite:///:memory:", "sqlite://spy.db"]
)
def test_another_database_url_is_refused_with_what_is_accepted(url: str) -> None:
    sentence = refusal(database_url=url)
    assert sentence.startswith("DATABASE_URL: expected ")
    assert "hidden" not in sentence


def test_the_sqlite_file_is_named_in_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings(None).data_place == f"{tmp_path}/agentspy.db (SQLite)"


@pytest.mark.parametrize("slip", ["API_KEY", "LOGLEVEL", "DATABASE_URI", "PROT", "PORTS", "api_key"])
def test_a_name_one_slip_away_from_a_setting_warns(slip: str, tmp_path: Path) -> None:
    file = env_file(tmp_path, f"{slip}=1", "HOST=127.0.0.1")
    [warning] = warnings(load_settings(file), file)
    assert f" sets {slip}, which is no setting." in warning


def test_other_names_in_the_file_do_not_warn(tmp_path: Path) -> None:
    file = env_file(tmp_path, "POSTGRES_PORT=1", "OPENAI_API_KEY=1", "port=1", "HOST=127.0.0.1")
    assert list(warnings(load_settings(file), file)) == []


def test_listening_beyond_the_loopback_without_auth_warns() -> None:
    [warning] = warnings(load_settings(None), None)
    assert warning.startswith("Whoever reaches 0.0.0.0:8000 can read and write every trace")
    assert list(warnings(load_settings(None, host="127.0.0.1"), None)) == []
    assert list(warnings(load_settings(None, require_auth=True, api_keys="key"), None)) == []


def test_megabytes_are_binary() -> None:
    settings = load_settings(None)
    sizes = (settings.max_trace_bytes, settings.max_body_bytes, settings.ingest_queue_bytes)
    assert sizes == (10 << 20, 128 << 20, 256 << 20)


def test_defaults_are_written_as_in_the_environment() -> None:
    fields = Settings.model_fields
    written = {name: default_text(fields[name]) for name in ("debug", "cors_origins", "api_keys", "port")}
    assert written == {"debug": "false", "cors_origins": "*", "api_keys": "", "port": "8000"}


def test_expectations_are_words() -> None:
    fields = Settings.model_fields
    assert expectation(fields["status_rule"]) == "one of documented, ended"
    assert expectation(fields["api_keys"]) == "entries separated by commas, or a JSON list"
    assert expectation(fields["host"]) is None
