"""The commands below `agent-spy quarantine`. They work on the database, beside a running server or without one."""

import sys
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, BinaryIO, TypeVar

import click
from sqlalchemy.ext.asyncio import AsyncConnection

from events import dialect
from events import quarantine as items
from events.dialect import open_writer
from events.quarantine import Quarantined
from events.receipts import Origin
from events.times import format_time
from service import retrying
from service.command import setting, settings_of, with_database
from service.ingest.writer import IngestWriter
from service.retrying import Retried
from service.settings import Settings

T = TypeVar("T")

_NUMBER = click.IntRange(1, 2**62)


@click.group()
def quarantine() -> None:
    """What came and could not become an event: list it, look at it, try it again."""


@quarantine.command("list")
@setting("database_url")
@click.option("--after", type=click.IntRange(0, 2**62), default=0, metavar="ID", help="Only items after this one.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="How many at most.")
def list_(after: int, limit: int, **options: Any) -> None:
    """List the items in quarantine: number, time, bytes, what became of it, and the reason."""

    async def work(connection: AsyncConnection) -> list[Quarantined]:
        return await items.read_page(connection, after=after, limit=limit)

    found = _reading(settings_of(**options), work)
    for item in found:
        line = (f"{item.quarantine_id:>6}", format_time(item.recorded_at), f"{item.raw_size:>9} B", _state(item))
        click.echo("  ".join((*line, item.reason)))
    if not found:
        click.echo(f"Nothing is in quarantine after item {after}." if after else "Nothing is in quarantine.")


@quarantine.command()
@setting("database_url")
@click.argument("quarantine_id", type=_NUMBER, metavar="ID")
@click.option("--raw", "is_raw", is_flag=True, help="The bytes of the item alone, as they came.")
def show(quarantine_id: int, is_raw: bool, **options: Any) -> None:
    """Show the item ID in quarantine, with its bytes."""

    async def work(connection: AsyncConnection) -> tuple[Quarantined, bytes | None]:
        item = await retrying.read_item(connection, quarantine_id)
        return item, await items.read_raw(connection, quarantine_id)

    item, raw = _reading(settings_of(**options), work)
    if is_raw:
        sys.stdout.buffer.write(raw or b"")
        return
    told = {
        "item": item.quarantine_id,
        "recorded at": format_time(item.recorded_at),
        "receipt": item.receipt_id,
        "source": item.source,
        "reason": item.reason,
        "bytes": item.raw_size,
        "state": _state(item),
    }
    for name, value in told.items():
        click.echo(f"{name + ':':13}{value}")
    click.echo()
    click.echo("(erased)" if raw is None else raw.decode(errors="backslashreplace"))


@quarantine.command()
@setting("database_url")
@click.argument("quarantine_id", type=_NUMBER, metavar="ID")
@click.option("--with", "file", type=click.File("rb"), help="A file with the item, corrected; - is standard input.")
def retry(quarantine_id: int, file: BinaryIO | None, **options: Any) -> None:
    """Try the item ID again, as it is or corrected. All of it becomes events, or nothing does."""
    settings = settings_of(**options)
    corrected = None if file is None else file.read()
    retried = with_database(settings, _retry(settings, quarantine_id, corrected))
    if retried.positions:
        where = f"events {retried.positions[0]} to {retried.positions[-1]}"
        where = where if len(retried.positions) > 1 else f"event {retried.positions[0]}"
        click.echo(f"Applied item {quarantine_id}: {where}, receipt {retried.receipt_id}.")
    else:
        click.echo(f"Item {quarantine_id} was in the log already: receipt {retried.receipt_id}.")


async def _retry(settings: Settings, quarantine_id: int, corrected: bytes | None) -> Retried:
    body = corrected or b""
    origin = Origin(
        endpoint=f"agent-spy quarantine retry {quarantine_id}",
        content_size=len(body),
        content_hash=sha256(body).digest(),
    )
    engine = dialect.open_engine(settings.database_url)
    try:
        async with IngestWriter(open_writer(settings.database_url), rule=settings.status_rule) as writer:
            return await retrying.retry(engine, writer, settings, quarantine_id, corrected=body or None, origin=origin)
    finally:
        await engine.dispose()


def _reading(settings: Settings, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    async def read() -> T:
        engine = dialect.open_engine(settings.database_url)
        try:
            async with engine.connect() as connection:
                return await work(connection)
        finally:
            await engine.dispose()

    return with_database(settings, read())


def _state(item: Quarantined) -> str:
    """What became of an item since it came."""
    if item.outcome is not None:
        return f"{item.outcome} by receipt {item.retry_receipt_id}"
    return "erased" if item.is_erased else "waiting"
