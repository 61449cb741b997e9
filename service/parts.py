"""What `create_app` puts on the application, as handlers and dependencies get at it."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from service.keys import Keyring
from service.settings import Settings


def settings(request: Request) -> Settings:
    found: Settings = request.app.state.settings
    return found


def keyring(request: Request) -> Keyring:
    found: Keyring = request.app.state.keyring
    return found


def engine(request: Request) -> AsyncEngine:
    """The engine for reads. It is there while the application runs, that is, within its lifespan."""
    found: AsyncEngine = request.app.state.engine
    return found


def started_at(request: Request) -> datetime:
    found: datetime = request.app.state.started_at
    return found


def now() -> datetime:
    return datetime.now(UTC)


SettingsPart = Annotated[Settings, Depends(settings)]
EnginePart = Annotated[AsyncEngine, Depends(engine)]
StartedAtPart = Annotated[datetime, Depends(started_at)]
