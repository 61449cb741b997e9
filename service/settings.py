"""Every setting, under its documented name. Nothing else in the code reads the environment."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import orjson
from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict, SettingsError
from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from service.keys import ApiKey, parse_api_key

VERSION: Final = "0.1.0"
ENV_FILE: Final = Path(".env")

_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
}
_DATABASE_URLS: Final = (
    "sqlite:///file, sqlite+aiosqlite:///file, postgresql://user:password@host/name, "
    "postgres://… or postgresql+asyncpg://…"
)
_LOOPBACK: Final = {"localhost", "127.0.0.1", "::1"}
_BYTES_PER_MB: Final = 1024 * 1024
# prometheus_client itself reads it when it is imported.
_SHARED_METRICS: Final = "PROMETHEUS_MULTIPROC_DIR"


class InvalidSettings(Exception):
    """Settings that cannot be used. The message has a sentence for each: which, and what was expected."""


def normal_database_url(text: str) -> str:
    """The URL with the driver that is used here, and with asyncpg's name for libpq's `sslmode`.

    Raises ValueError that says what is accepted. It does not repeat the URL, which may hold a password.
    """
    try:
        url = make_url(text)
    except ArgumentError:
        raise ValueError(f"expected {_DATABASE_URLS}") from None
    if url.drivername not in _DRIVERS:
        raise ValueError(f"expected {_DATABASE_URLS}, found one that begins with {url.drivername}:")
    url = url.set(drivername=_DRIVERS[url.drivername])
    if url.drivername.startswith("sqlite"):
        return _sqlite(url).render_as_string()
    if "sslmode" in url.query:
        url = url.update_query_dict({"ssl": url.query["sslmode"]}).difference_update_query(["sslmode"])
    return url.render_as_string(hide_password=False)


def _sqlite(url: URL) -> URL:
    if url.host:
        raise ValueError("expected three slashes before the path of a SQLite file, four if it begins at the root")
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ValueError("expected the path of a SQLite file: what is in memory alone is lost at the next stop")
    return url


def _split(value: object) -> object:
    """The entries of a comma-separated or JSON list; anything that is no text as it is."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [entry for entry in (part.strip() for part in value.split(",")) if entry]
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        raise ValueError("expected entries separated by commas, or a JSON list") from None


def _parse_api_keys(value: object) -> object:
    entries = _split(value)
    if not isinstance(entries, list | tuple):
        return entries
    keys = [_parse_entry(number, entry) for number, entry in enumerate(entries, 1)]
    if len({key.key for key in keys}) < len(keys):
        raise ValueError("expected every key once")
    return tuple(keys)


def _parse_entry(number: int, entry: object) -> ApiKey:
    if isinstance(entry, ApiKey):
        return entry
    try:
        return parse_api_key(str(entry))
    except ValueError as error:
        raise ValueError(f"in entry {number}, {error}") from None


def _normal_prefix(value: str) -> str:
    prefix = "/" + value.strip("/") if value.strip("/") else ""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", prefix):
        raise ValueError("expected a path such as /spy/api/v1")
    return prefix


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
ApiKeys = Annotated[tuple[ApiKey, ...] | None, NoDecode, BeforeValidator(_parse_api_keys)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]
LogFormat = Annotated[Literal["auto", "json", "text"], BeforeValidator(_lower)]
StatusRule = Annotated[Literal["documented", "ended"], BeforeValidator(_lower)]


class Settings(BaseSettings):
    """What can be set, by environment variables of the same names in capitals, by `.env`, or by options."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        env_file_encoding="utf-8",
        hide_input_in_errors=True,
    )

    app_name: str = Field("Agent Spy", min_length=1, description="The name shown in the API documentation.")
    app_version: str = Field(VERSION, min_length=1, description="The version reported to clients.")
    debug: bool = Field(False, description="Whether answers of status 500 tell the exception.")
    environment: str = Field("development", min_length=1, description="The name of this deployment.")

    host: str = Field("0.0.0.0", min_length=1, description="The address to listen at; 127.0.0.1 is this machine alone.")
    port: int = Field(8000, ge=1, le=65535, description="The port to listen at.")
    reload: bool = Field(False, description="Whether to start anew when the code changes, for development.")

    database_url: Annotated[str, AfterValidator(normal_database_url)] = Field(
        "sqlite+aiosqlite:///./agentspy.db",
        repr=False,
        description="The database: sqlite:///file or postgresql://user:password@host/name.",
    )
    database_pool_size: int = Field(20, ge=1, le=500, description="Connections a process keeps for reading.")
    database_echo: bool = Field(False, description="Whether to log every SQL statement of reads.")

    api_prefix: Annotated[str, AfterValidator(_normal_prefix)] = Field(
        "/api/v1", description="One more path under which the API is served, beside /, /api and /api/v1."
    )
    require_auth: bool = Field(False, description="Whether clients must present one of API_KEYS.")
    api_keys: ApiKeys = Field(
        None,
        repr=False,
        description="Keys: `key` may do all, `key:scope+scope` what it says of ingest, read, admin, metrics.",
    )

    cors_origins: Texts = Field(("*",), description="Origins whose pages may call the API; * is any.")
    cors_credentials: bool = Field(True, description="Whether pages may send credentials along.")
    cors_methods: Texts = Field(("*",), description="Methods that pages may use; * is any.")
    cors_headers: Texts = Field(("*",), description="Headers that pages may send; * is any.")

    max_trace_size_mb: int = Field(
        10,
        ge=1,
        le=1024,
        description="MB (of 1,048,576 bytes) beyond which a field of a run is stored by itself.",
    )
    max_body_mb: int = Field(
        128, ge=1, le=4096, description="MB of a decompressed request beyond which it is answered 413."
    )
    ingest_queue_mb: int = Field(
        256,
        ge=1,
        le=65536,
        description="MB of memory for requests until they are written; beyond, the answer is 503.",
    )
    request_timeout: int = Field(30, ge=1, le=3600, description="Seconds beyond which a read is answered 504.")

    receive_timeout: int = Field(
        30,
        ge=1,
        le=3600,
        description="Seconds a client may take to send a request, not counting those in which 1,000 bytes came.",
    )
    metrics_enabled: bool = Field(True, description="Whether GET /metrics is served, for Prometheus.")

    status_rule: StatusRule = Field(
        "documented",
        description="A run is completed: `documented`, with end time and outputs; `ended`, with end time.",
    )

    full_text: bool = Field(False, description="Whether words are indexed, so that searches of many runs are fast.")

    log_level: LogLevel = Field("INFO", description="The least severity that is logged.")
    log_format: LogFormat = Field(
        "auto", description="`json`, an object a line; `text`, for people; `auto`, text at a terminal, else JSON."
    )

    @model_validator(mode="after")
    def _agree(self) -> "Settings":
        if self.require_auth and not self.api_keys:
            raise ValueError(
                "REQUIRE_AUTH is on and API_KEYS is empty, so nobody could come in: "
                "set API_KEYS to one or more keys, separated by commas, or turn REQUIRE_AUTH off"
            )
        if self.ingest_queue_mb < self.max_body_mb:
            raise ValueError(
                f"INGEST_QUEUE_MB: expected at least MAX_BODY_MB, which is {self.max_body_mb}, "
                f"found {self.ingest_queue_mb}"
            )
        return self

    @property
    def max_trace_bytes(self) -> int:
        return self.max_trace_size_mb * _BYTES_PER_MB

    @property
    def max_body_bytes(self) -> int:
        return self.max_body_mb * _BYTES_PER_MB

    @property
    def ingest_queue_bytes(self) -> int:
        return self.ingest_queue_mb * _BYTES_PER_MB

    @property
    def sqlite_file(self) -> Path | None:
        """The whole path of the SQLite file, or None with PostgreSQL."""
        url = make_url(self.database_url)
        return Path(url.database or "").resolve() if url.get_backend_name() == "sqlite" else None

    @property
    def data_place(self) -> str:
        """Where the data lies, for people: a file, or a server and its database. Without the password."""
        url = make_url(self.database_url)
        if self.sqlite_file:
            return f"{self.sqlite_file} (SQLite)"
        host = url.host or url.query.get("host", "localhost")  # A socket's directory stands in the query.
        port = f":{url.port}" if url.port else ""
        return f"{host}{port}/{url.database or ''} (PostgreSQL)"


def load_settings(env_file: Path | None = ENV_FILE, **options: object) -> Settings:
    """The settings: options win over environment variables, these over the file, this over the defaults.

    An option that is None is not given. Raises InvalidSettings.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    given["_env_file"] = env_file
    try:
        return Settings(**given)
    except ValidationError as error:
        raise InvalidSettings("\n".join(_sentences(error))) from None
    except (SettingsError, UnicodeDecodeError, OSError) as error:
        raise InvalidSettings(f"{env_file}: cannot be read: {error}") from None


def export_options(options: Mapping[str, object]) -> None:
    """Hand options down to processes started from here, as environment variables."""
    given = {name.upper(): str(value) for name, value in options.items() if value is not None}
    os.environ.update(given)  # noqa: TID251


def share_metrics(directory: str) -> None:
    """Have processes started from here count in files of this directory, each for all of them."""
    os.environ[_SHARED_METRICS] = directory  # noqa: TID251


def shared_metrics() -> Path | None:
    """The directory in which this process counts together with others, if there is one."""
    directory = os.environ.get(_SHARED_METRICS)  # noqa: TID251
    return Path(directory) if directory else None


def warnings(settings: Settings, env_file: Path | None = ENV_FILE) -> Iterator[str]:
    """A sentence for each thing that works but is probably not meant."""
    for name, setting in _misspelt(env_file):
        yield f"{env_file} sets {name}, which is no setting. {setting} is meant, perhaps."
    if settings.host not in _LOOPBACK and not settings.require_auth:
        yield (
            f"Whoever reaches {settings.host}:{settings.port} can read and write every trace: "
            "set REQUIRE_AUTH and API_KEYS, or HOST=127.0.0.1."
        )


def _misspelt(env_file: Path | None) -> Iterator[tuple[str, str]]:
    settings = [name.upper() for name in Settings.model_fields]
    names = dotenv_values(env_file) if env_file and env_file.is_file() else {}
    for name in names:
        meant = [setting for setting in settings if _one_slip(name.upper(), setting)]
        if meant and name.upper() not in settings:
            yield name, meant[0]


def _one_slip(name: str, other: str) -> bool:
    """Whether one letter too many, too few or wrong, or two swapped, makes the one of the other."""
    name, other = _without_common_start(name, other)
    name, other = _without_common_start(name[::-1], other[::-1])
    return max(len(name), len(other)) == 1 or (len(name) == 2 and name == other[::-1])


def _without_common_start(name: str, other: str) -> tuple[str, str]:
    start = next((n for n, (a, b) in enumerate(zip(name, other, strict=False)) if a != b), None)
    start = min(len(name), len(other)) if start is None else start
    return name[start:], other[start:]


def _sentences(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        reason = str(problem.get("ctx", {}).get("error", ""))
        if not problem["loc"]:
            yield f"{reason}."
            continue
        name = str(problem["loc"][0])
        field = Settings.model_fields[name]
        found = f", found {problem['input']!r}" if field.repr and not reason else ""
        expected = reason or f"expected {expectation(field) or 'a text that is not empty'}"
        yield f"{name.upper()}: {expected}{found}."


def default_text(field: FieldInfo) -> str:
    """A setting's default, as it would be written in the environment."""
    if isinstance(field.default, bool):
        return str(field.default).lower()
    if isinstance(field.default, tuple):
        return ",".join(field.default)
    return "" if field.default is None else str(field.default)


def expectation(field: FieldInfo) -> str | None:
    """What values a setting takes, in words: its choices, or type and bounds. None if any text will do."""
    kind = field.annotation
    if get_origin(kind) in (Union, UnionType):
        kind = next(choice for choice in get_args(kind) if choice is not NoneType)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if get_origin(kind) is tuple:
        return "entries separated by commas, or a JSON list"
    if kind is bool:
        return "true or false"
    return _whole_number(field) if kind is int else None


def _whole_number(field: FieldInfo) -> str:
    least, most = (
        next(getattr(limit, name) for limit in field.metadata if hasattr(limit, name)) for name in ("ge", "le")
    )
    return f"a whole number from {least} to {most}"
