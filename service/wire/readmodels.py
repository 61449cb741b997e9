"""Read models and their rebuilds on the wire."""

from datetime import datetime
from typing import Any, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from projections.rebuilds import Outcome, Step
from service.wire.shape import BodyShape, Shape

Name = Literal["attachments", "feedback", "names", "projects", "runs", "shares", "stats"]

_TRACE: Final = "550e8400-e29b-41d4-a716-446655440000"
_TIME: Final = "2024-01-15T10:30:00.120000Z"
_REBUILD: Final[dict[str, Any]] = {
    "id": 3,
    "projections": ["names", "projects", "runs", "stats"],
    "trace_id": None,
    "dry_run": False,
    "replace": False,
    "fold_version": "1.1/documented",
    "started_at": _TIME,
    "ended_at": None,
    "step": "folding",
    "events": 450_000,
    "events_total": 1_000_000,
    "events_per_second": 61_000.0,
    "seconds_left": 9.0,
    "position": 0,
    "cancelled": False,
    "outcome": None,
    "notes": [],
}
_PROJECTION: Final[dict[str, Any]] = {
    "name": "runs",
    "rebuilt_with": ["names", "projects", "stats"],
    "checkpoint": 42,
    "lag": 0,
    "rows": 21,
    "digest": None,
    "last_rebuild": {**_REBUILD, "ended_at": _TIME, "step": "swapped", "outcome": "replaced", "position": 1_000_000},
    "last_comparison": None,
}


class RebuildRequest(BodyShape):
    """What to rebuild: everything, unless one read model or one trace is named."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"projection": "stats", "dry_run": True}]}
    )

    projection: Name | None = Field(None, description="One read model, with those that are made together with it.")
    trace_id: str | None = Field(None, description="Instead: put the rows of one trace right.")
    dry_run: bool = Field(False, description="Only compare.")
    replace: bool = Field(False, description="Replace what is live though it differs.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.projection is not None and self.trace_id is not None:
            raise ValueError("a trace is put right in all read models: name a projection or a trace")
        if self.dry_run and self.replace:
            raise ValueError("a dry run replaces nothing")
        return self


class RebuildBody(Shape):
    """A rebuild, as far as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REBUILD]})

    id: int = Field(description="Its number.")
    projections: list[str] = Field(description="The read models that are made.")
    trace_id: str | None = Field(None, description="The trace whose rows are put right, when it is only that.")
    dry_run: bool = Field(description="Whether it only compares.")
    replace: bool = Field(description="Whether it replaces what is live though it differs.")
    fold_version: str = Field(description="The folds by which it makes them.")
    started_at: datetime = Field(description="When it began.")
    ended_at: datetime | None = Field(None, description="When it ended; null while it is under way.")
    step: Step = Field(description="What it does, or did last.")
    events: int = Field(description="How many events are folded.")
    events_total: int = Field(description="How many there were when it began.")
    events_per_second: float | None = Field(description="How many it folds a second, while it does.")
    seconds_left: float | None = Field(description="How long the folding will still take, about, while it does.")
    position: int = Field(description="Up to where in the log the read models were made, or compared.")
    cancelled: bool = Field(description="Whether somebody asked for it to be cancelled.")
    outcome: Outcome | None = Field(
        None,
        description="`equal`: a comparison found no difference. `different`: it found some, and nothing was replaced. "
        "`replaced`: what was made is live. Else nothing that is live was touched. Null while it is under way.",
    )
    notes: list[str] = Field(description="The first rows that differed, or what went wrong.")


class ProjectionBody(Shape):
    """One read model."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PROJECTION]})

    name: str = Field(description="Its name.")
    rebuilt_with: list[str] = Field(description="The others that are rebuilt whenever this one is.")
    checkpoint: int = Field(description="The last position of the log that it has taken in.")
    lag: int = Field(description="How many events it has yet to take in.")
    rows: int | None = Field(description="How many rows it has. Null for one that was added and joins the others.")
    digest: str | None = Field(
        None, description="Equal for stores that were told the same. Null unless it was asked for."
    )
    last_rebuild: RebuildBody | None = Field(description="Its last rebuild, be it under way; null when it had none.")
    last_comparison: RebuildBody | None = Field(description="Its last dry run, be it under way; null when it had none.")


class ProjectionsBody(Shape):
    """The read models, and the log that they are made from."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "head": 42,
                    "fold_version": "1.1/documented",
                    "own_fold_version": "1.1/documented",
                    "is_current": True,
                    "projections": [_PROJECTION],
                }
            ]
        }
    )

    head: int = Field(description="The position of the last event in the log.")
    fold_version: str = Field(description="The folds that made the read models: version and status rule.")
    own_fold_version: str = Field(description="The folds of this server.")
    is_current: bool = Field(
        description="Whether the two are the same. If not, this server writes nothing until a rebuild."
    )
    projections: list[ProjectionBody] = Field(description="Every read model, by name.")
