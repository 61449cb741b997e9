"""Shares on the wire."""

from typing import Final

from pydantic import ConfigDict, Field

from service.wire.projects import Uuid
from service.wire.run_queries import RunV2
from service.wire.shape import BodyShape, Shape

_RUN_ID: Final = "550e8400-e29b-41d4-a716-446655440000"
_TOKEN: Final = "9b1e9d9c-4a3f-4a53-9d0a-3a1f4f0c2f6e"
_PROJECT_ID: Final = "7d0b7f7e-2d0d-5d5c-9df5-3a9c3f0a4a55"


class ShareRequest(BodyShape):
    """How a run is to be shared."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"share_token": _TOKEN}]})

    run_id: Uuid | None = Field(default=None, description="Not needed here: the path names the run.")
    share_token: Uuid | None = Field(default=None, description="The token; by default one that nobody can guess.")


class ShareBody(Shape):
    """A run that is shared."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"run_id": _RUN_ID, "share_token": _TOKEN}]})

    run_id: str = Field(description="The run.")
    share_token: str = Field(description="Whoever has it may read the run and its trace.")


class ShareV2Request(BodyShape):
    """Which trace is to be shared."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"session_id": _PROJECT_ID, "trace_id": _RUN_ID}]})

    session_id: Uuid | None = Field(default=None, description="Not needed here: a run is found by its id.")
    trace_id: Uuid | None = Field(default=None, description="Not needed here: the run's own trace is shared.")


class ShareV2Body(Shape):
    """A trace that is shared."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"share_token": _TOKEN}]})

    share_token: str = Field(description="Whoever has it may read the trace.")


class PublicRunsQuery(BodyShape):
    """Which runs of a shared trace are wanted. Members that are not named here are ignored."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": [_RUN_ID], "limit": 10}]})

    id: list[Uuid] | None = Field(default=None, description="Only these; by default all of the trace.")
    limit: int | None = Field(default=None, ge=1, description="How many at most; 100 to a page.")
    cursor: str | None = Field(default=None, description="`cursors.next` of the page before.")


class PublicRunsV2Query(BodyShape):
    """Which fields of the runs of a shared trace are wanted."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"selects": ["ID", "NAME"]}]})

    selects: list[str] | None = Field(default=None, description="The fields, in upper case; only the id by default.")


class PublicRunsV2(Shape):
    """The runs of a shared trace, with the fields that were selected."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [{"id": _RUN_ID}]}]})

    items: list[RunV2] = Field(description="The runs, in the order in which they started.")
