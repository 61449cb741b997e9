"""What every command of the command line does: take settings as options, and tell in a sentence what went wrong."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import click
from sqlalchemy.exc import SQLAlchemyError

from events.errors import LogError
from service.logs import configure_logging
from service.settings import InvalidSettings, Settings, expectation, load_settings

Command = TypeVar("Command", bound=Callable[..., Any])
Outcome = TypeVar("Outcome")

_LINGER_S: Final = 0.1


class CannotServe(click.ClickException):
    """The database is not as it must be. Told in a sentence, without a traceback."""

    exit_code = 1


class CannotStart(click.ClickException):
    """Settings or options that are wrong, or do not go together. Told in a sentence, without a traceback."""

    exit_code = 2


def setting(name: str) -> Callable[[Command], Command]:
    """An option for the setting of this name, which tells what the setting tells of itself."""
    field = Settings.model_fields[name]
    flag = "--" + name.replace("_", "-")
    expected = expectation(field)
    text = f"{field.description} Expects {expected}." if expected else field.description
    if field.annotation is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=field.description)
    return click.option(flag, name, default=None, metavar=name.rsplit("_")[-1].upper(), help=text)


def settings_of(**options: Any) -> Settings:
    """The settings, with logs going where they say, and what is probably not meant logged."""
    try:
        settings = load_settings(**options)
    except InvalidSettings as error:
        raise CannotStart(str(error)) from None
    configure_logging(settings.log_level, settings.log_format)
    return settings


def with_database(settings: Settings, work: Awaitable[Outcome]) -> Outcome:
    """What the work comes to. What it raises ends the command with a sentence."""

    async def run() -> Outcome:
        try:
            return await work
        except Exception:
            # The thread that could not open a SQLite file is about to tell this loop that it ends.
            await asyncio.sleep(_LINGER_S)
            raise

    try:
        return asyncio.run(run())
    except LogError as error:
        raise CannotServe(str(error)) from None
    except (SQLAlchemyError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error)
        raise CannotServe(f"The database {settings.data_place} cannot be used: {reason}") from None
