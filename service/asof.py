"""The question "as it was when?": the parameters that ask it, and the position in the log that answers it."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, HTTPException, Query
from pydantic import BeforeValidator
from sqlalchemy.ext.asyncio import AsyncConnection

from events.ids import format_id
from events.kinds import run_stream
from events.positions import last_position, last_version, position_of
from events.times import parse_time

NUMBER_MAX: Final = 2**62


def _time(value: Any) -> Any:
    us = parse_time(value) if isinstance(value, str) else value
    if us is None:
        raise ValueError("expected a time such as 2024-01-15T10:30:00Z")
    return us


_Position = Annotated[
    int | None,
    Query(
        ge=0,
        le=NUMBER_MAX,
        description="As it was when the log ended at this position. One beyond the end means now.",
    ),
]
_Time = Annotated[
    int | None,
    BeforeValidator(_time),
    Query(
        description="As it was at this time: with all that had been recorded by then.",
        json_schema_extra={"type": "string", "format": "date-time"},
    ),
]
_Version = Annotated[
    int | None,
    Query(
        ge=0,
        le=NUMBER_MAX,
        description="As it was when the run had this version. One that it does not have is 404.",
    ),
]


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of the log, by one of: a position, a time (µs), a version of the run that is read. Else it is now."""

    position: int | None = None
    time: int | None = None
    version: int | None = None

    async def find(self, connection: AsyncConnection, run_id: bytes | None = None) -> int | None:
        """The position that the log had reached at this moment; None when that is as far as it reaches now.

        Raises 404 when the run does not have this version.
        """
        if self.version is not None and run_id is not None:
            return await _position_of_version(connection, run_id, self.version)
        if self.time is None and self.position is None:
            return None
        end = await last_position(connection)
        if self.position is not None:
            return self.position if self.position < end else None
        position = await last_position(connection, recorded_by=self.time)
        return position if position < end else None


async def _position_of_version(connection: AsyncConnection, run_id: bytes, version: int) -> int | None:
    newest = await last_version(connection, run_stream(run_id))
    if newest == 0:
        return None
    require_version(run_id, version, newest=newest)
    return 0 if version == 0 else await position_of(connection, run_stream(run_id), version)


def require_version(run_id: bytes, version: int, *, newest: int) -> None:
    """Raise 404 when a run does not have this version. All have 0: what was before the first."""
    if version > newest:
        raise HTTPException(404, f"Run {format_id(run_id)} has versions 1 to {newest}, not {version}.")


async def _moment_of_run(
    as_of_position: _Position = None, as_of: _Time = None, as_of_version: _Version = None
) -> Moment:
    """The moment that is asked for. Raises 422 when it is asked for in several ways."""
    if sum(way is not None for way in (as_of_position, as_of, as_of_version)) > 1:
        raise HTTPException(422, "Ask by one of as_of_position, as_of_version and as_of, not by several.")
    return Moment(as_of_position, as_of, as_of_version)


async def _moment(as_of_position: _Position = None, as_of: _Time = None) -> Moment:
    return await _moment_of_run(as_of_position, as_of)


MomentPart = Annotated[Moment, Depends(_moment)]
MomentOfRunPart = Annotated[Moment, Depends(_moment_of_run)]
