"""The command line: `agent-spy`, and every command below it."""

import asyncio
import errno
import logging
from contextlib import ExitStack
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import uvicorn
from fastapi import FastAPI

from events.collector import spare_the_collector
from events.errors import SchemaMismatch
from events.ids import parse_id
from service import schema_version
from service.app import create_app, open_engine
from service.command import CannotStart, setting, settings_of, with_database
from service.connections import allow_open_files
from service.erasing import erase_now
from service.logs import configure_logging
from service.paths import API_ROOT
from service.quarantine_commands import quarantine
from service.rebuilding import rebuild_command
from service.serving_alone import serving_alone
from service.settings import (
    VERSION,
    Settings,
    default_text,
    export_options,
    load_settings,
    share_metrics,
    warnings,
)

log = logging.getLogger(__name__)

_ANY_OR_LOOPBACK: Final = {"0.0.0.0", "::", "127.0.0.1", "::1", "localhost"}
# Requests under way may finish; Docker kills what has not stopped after ten seconds.
_GRACE_S: Final = 8
# Longer than SDKs keep an idle connection, so that they never send on one that is being closed.
_KEEP_ALIVE_S: Final = 75


def _settings_table() -> str:
    """Every setting with its default and description, a paragraph each."""
    lines = ["\b", "Every setting is an environment variable, or a line of .env:"]
    for name, field in Settings.model_fields.items():
        lines += [f"  {name.upper()}={default_text(field)}", f"      {field.description}"]
    return "\n".join(lines)


class _Commands(click.Group):
    """Commands, some of which are imported when they are asked for: what they import a server does not need."""

    _ELSEWHERE: Final = {"attest": "attest_command", "verify": "verify_command"}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *self._ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        from service import verifying

        found: click.Command = getattr(verifying, self._ELSEWHERE[cmd_name])
        return found


@click.group(cls=_Commands, context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="agent-spy")
def main() -> None:
    """Agent Spy: a trace store that LangSmith's SDKs send their runs to.

    Run `agent-spy serve --migrate`, set LANGSMITH_ENDPOINT and LANGSMITH_TRACING as it says, and trace.
    """


@main.command(epilog=_settings_table())
@setting("host")
@setting("port")
@setting("database_url")
@setting("require_auth")
@setting("log_level")
@setting("log_format")
@setting("debug")
@setting("reload")
@click.option("--migrate", is_flag=True, help="Bring the database's schema up to date first.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes (PostgreSQL only)."
)
def serve(migrate: bool, workers: int, **options: Any) -> None:
    """Serve the API. Options win over environment variables, and these over the file .env."""
    settings = settings_of(**options)
    if workers > 1 and settings.sqlite_file:
        raise CannotStart(
            "--workers: SQLite lets one process write at a time, so more of them would wait for each other. "
            "Serve with one worker, or set DATABASE_URL to a PostgreSQL database."
        )
    if workers > 1 and settings.reload:
        raise CannotStart("--workers: one worker is all that --reload can start anew.")
    with serving_alone(settings):
        if migrate:
            with_database(settings, _upgrade(settings))
        with_database(settings, _require_newest(settings))
        asyncio.run(_require_address(settings))
        click.echo(introduction(settings))
        export_options(options)
        _run(settings, workers)


@main.command()
@setting("database_url")
@click.option("--revision", default="head", show_default=True, help="The revision of the schema to go to.")
def migrate(revision: str, **options: Any) -> None:
    """Bring the database's schema up to date."""
    from service import migration

    settings = settings_of(**options)
    before = with_database(settings, migration.current(settings.database_url))
    with_database(settings, migration.upgrade(settings.database_url, revision))
    after = with_database(settings, migration.current(settings.database_url))
    was = "already" if after == before else f"now, and was at {before}" if before else "now, and is new"
    click.echo(f"The schema of {settings.data_place} is at {after} {was}.")


@main.command()
@setting("database_url")
@click.argument("trace_id")
@click.option("--reason", required=True, help="Why, for whoever reads the log. Kept for good.")
def erase(trace_id: str, reason: str, **options: Any) -> None:
    """Erase the trace TRACE_ID for good: its runs' payloads, their attachments and the feedback on them.

    Works beside a running server.
    """
    settings = settings_of(**options)
    id_ = parse_id(trace_id)
    if id_ is None:
        raise click.BadParameter(f"{trace_id!r} is no UUID", param_hint="TRACE_ID")
    erased, is_purged = with_database(settings, erase_now(settings, id_, reason))
    left = "have left the files" if is_purged else "leave the files with the next checkpoint or vacuum"
    what = f"{erased.runs} runs and {erased.feedback} feedbacks"
    click.echo(f"Erased {what}, by event {erased.event.position}. Their bytes {left}.")


main.add_command(quarantine)
main.add_command(rebuild_command)


def introduction(settings: Settings) -> str:
    """What someone who starts the service needs to know: where it is, where data lies, how to send to it."""
    url = public_url(settings)
    lines = [
        f"{settings.app_name} {settings.app_version}: {url} (API documentation: {url}/docs)",
        f"Data: {settings.data_place}",
        "To trace with a LangSmith SDK:",
        f"  export LANGSMITH_ENDPOINT={url}{API_ROOT}",
        "  export LANGSMITH_TRACING=true",
    ]
    if settings.require_auth:
        lines.append("  export LANGSMITH_API_KEY=<one of API_KEYS>")
    return "\n".join(lines)


def public_url(settings: Settings) -> str:
    """The URL of the service: at localhost, unless it listens at an address that this does not reach."""
    host = "localhost" if settings.host in _ANY_OR_LOOPBACK else settings.host
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def worker_app() -> FastAPI:
    """The application, made in a process that uvicorn started: settings come from what `serve` exported."""
    settings = load_settings()
    configure_logging(settings.log_level, settings.log_format)
    app = create_app(settings)
    spare_the_collector()
    return app


async def _require_newest(settings: Settings) -> None:
    engine = open_engine(settings)
    try:
        await schema_version.require_newest(engine)
    finally:
        await engine.dispose()


async def _require_address(settings: Settings) -> None:
    """Raise `CannotStart` when nothing can listen where the settings say. Uvicorn only logs that, later."""
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(asyncio.Protocol, settings.host, settings.port, start_serving=False)
    except OSError as error:
        is_taken = error.errno == errno.EADDRINUSE
        reason = "another process listens there" if is_taken else error.strerror or str(error)
        raise CannotStart(
            f"Cannot listen at {settings.host}, port {settings.port}: {reason}. "
            "PORT= or --port chooses another port, HOST= or --host another address."
        ) from None
    server.close()


async def _upgrade(settings: Settings) -> None:
    """Bring the schema up to date. Where it is, Alembic is not needed, nor 12 MB for as long as the server runs."""
    try:
        await _require_newest(settings)
    except SchemaMismatch:
        from service import migration

        await migration.upgrade(settings.database_url)


def _run(settings: Settings, workers: int) -> None:
    for warning in warnings(settings):
        log.warning(warning)
    alone = workers == 1 and not settings.reload
    with ExitStack() as stack:
        if workers > 1 and settings.metrics_enabled:
            share_metrics(stack.enter_context(TemporaryDirectory(prefix="agent-spy-metrics-")))
        _listen(settings, workers, create_app(settings) if alone else "service.cli:worker_app")


def _listen(settings: Settings, workers: int, app: FastAPI | str) -> None:
    allow_open_files()
    if isinstance(app, FastAPI):
        spare_the_collector()
    uvicorn.run(
        app,
        factory=isinstance(app, str),
        host=settings.host,
        port=settings.port,
        workers=workers,
        reload=settings.reload,
        log_config=None,
        access_log=False,
        server_header=False,
        http="service.connections:BoundedProtocol",
        ws="none",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )
