"""Tokens for feedback on the wire."""

from datetime import timedelta
from typing import Any, Final

from pydantic import ConfigDict, Field, StrictBool, StrictFloat, StrictInt

from service.wire.projects import Moment, Uuid
from service.wire.shape import BodyShape, Shape

_RUN_ID: Final = "550e8400-e29b-41d4-a716-446655440000"
_ID: Final = "3f0a6f1e-7a3c-4c8e-9d55-0d1c8e7b2a10"
_TOKEN: Final[dict[str, Any]] = {
    "id": "9b1e9d9c-4a3f-4a53-9d0a-3a1f4f0c2f6e",
    "url": "http://localhost:8000/api/v1/feedback/tokens/9b1e9d9c-4a3f-4a53-9d0a-3a1f4f0c2f6e",
    "expires_at": "2024-01-15T13:30:00Z",
}
_PARTS_MAX: Final = 1_000_000


class Lifetime(Shape):
    """A span of time."""

    days: int = Field(default=0, ge=0, le=_PARTS_MAX, description="Days.")
    hours: int = Field(default=0, ge=0, le=_PARTS_MAX, description="Hours.")
    minutes: int = Field(default=0, ge=0, le=_PARTS_MAX, description="Minutes.")

    def lifetime(self) -> timedelta:
        """The sum of its parts."""
        return timedelta(days=self.days, hours=self.hours, minutes=self.minutes)


class TokenRequest(BodyShape):
    """What others may give feedback on, and for how long."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"run_id": _RUN_ID, "feedback_key": "helpful", "expires_in": {"days": 1, "hours": 0}}]
        }
    )

    run_id: Uuid = Field(description="The run, known or not.")
    feedback_key: str = Field(min_length=1, description="What is to be judged.")
    feedback_config: dict[str, Any] | None = Field(default=None, description="How it is to be understood.")
    id: Uuid | None = Field(default=None, description="The id that the first feedback is to have.")
    expires_in: Lifetime | None = Field(default=None, description="How long it is valid; by default three hours.")
    expires_at: Moment | None = Field(default=None, description="Until when it is valid, in place of `expires_in`.")


class TokenBody(Shape):
    """A token: whoever has it may give the feedback."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TOKEN]})

    id: str = Field(description="The token, with which the URL ends.")
    url: str = Field(description="Where to POST it, or GET with a query. Works without an API key.")
    expires_at: str = Field(description="Until when (UTC).")


class TokenFeedback(BodyShape):
    """The feedback that is given."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"score": 1, "comment": "Just what I needed."}]})

    score: StrictBool | StrictInt | StrictFloat | None = Field(default=None, description="A number or a boolean.")
    value: Any = Field(default=None, description="Any JSON value.")
    comment: str | None = Field(default=None, description="A text.")
    correction: Any = Field(default=None, description="What would have been right.")
    metadata: dict[str, Any] | None = Field(default=None, description="Anything about who gives it.")


class FeedbackGiven(Shape):
    """The feedback was taken."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": _ID}]})

    id: str = Field(description="Its id.")
