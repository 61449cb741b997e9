"""What `create_app` puts on the application, as handlers and dependencies get at it.

Dependencies are `async` throughout, though they wait for nothing: FastAPI sends all others to a thread, which takes
longer than they do.
"""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncEngine

from service.keys import Keyring
from service.settings import Settings


def settings_of(request: Request) -> Settings:
    found: Settings = request.app.state.settings
    return found


def keyring_of(request: Request) -> Keyring:
    found: Keyring = request.app.state.keyring
    return found


async def settings(request: Request) -> Settings:
    return settings_of(request)


async def engine(request: Request) -> AsyncEngine:
    """The engine for reads. It is there while the application runs, that is, within its lifespan."""
    found: AsyncEngine = request.app.state.engine
    return found


async def started_at(request: Request) -> datetime:
    found: datetime = request.app.state.started_at
    return found


def now() -> datetime:
    return datetime.now(UTC)


SettingsPart = Annotated[Settings, Depends(settings)]
EnginePart = Annotated[AsyncEngine, Depends(engine)]
StartedAtPart = Annotated[datetime, Depends(started_at)]
