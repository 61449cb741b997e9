"""Reverts and erasures on the wire."""

from pydantic import ConfigDict, Field

from service.wire.shape import BodyShape, Shape

_REASON = "Why, for whoever reads the history. Kept for good."


class RevertRequest(BodyShape):
    """Which version of the run to go back to, and why."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"to_version": 1, "reason": "patched by mistake"}]})

    to_version: int = Field(ge=1, le=2**62, description="What was written after this version no longer counts.")
    reason: str = Field(min_length=1, max_length=500, description=_REASON)


class RevertReport(Shape):
    """The event that undid what came after a version."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "run_id": "550e8400-e29b-41d4-a716-446655440000",
                    "version": 3,
                    "position": 42,
                    "to_version": 1,
                    "reason": "patched by mistake",
                }
            ]
        }
    )

    run_id: str = Field(description="The run.")
    version: int = Field(description="The version that the run has now.")
    position: int = Field(description="The place of the event in the log.")
    to_version: int = Field(description="The version that it went back to.")
    reason: str = Field(description="Why.")


class ErasureReport(Shape):
    """What was erased, and the event that says so."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "trace_id": "550e8400-e29b-41d4-a716-446655440000",
                    "position": 43,
                    "runs": 2,
                    "feedback": 0,
                    "reason": "asked for by the user",
                    "is_purged": True,
                }
            ]
        }
    )

    trace_id: str = Field(description="The trace.")
    position: int = Field(description="The place in the log of the event that says so.")
    runs: int = Field(description="How many runs were erased.")
    feedback: int = Field(description="How many feedbacks on them were erased.")
    reason: str = Field(description="Why.")
    is_purged: bool = Field(
        description="Whether the bytes have left the database's files. If not yet, they leave a SQLite file with its "
        "next checkpoint that no reader holds up, and PostgreSQL's with the next vacuum."
    )
