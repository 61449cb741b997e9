"""Feedback on the wire, in LangSmith's shape."""

from typing import Any, Final

from pydantic import ConfigDict, Field

from service.wire.shape import Shape

_EXAMPLE: Final[dict[str, Any]] = {
    "id": "3f0a6f1e-7a3c-4c8e-9d55-0d1c8e7b2a10",
    "run_id": "550e8400-e29b-41d4-a716-446655440000",
    "trace_id": "550e8400-e29b-41d4-a716-446655440000",
    "key": "correctness",
    "score": 1.0,
    "value": None,
    "comment": "Right to the point.",
    "correction": None,
    "feedback_source": {"type": "api"},
    "created_at": "2024-01-15T10:31:00Z",
    "modified_at": "2024-01-15T10:31:00Z",
}


class FeedbackBody(Shape):
    """One feedback on a run, or on a project when it names no run."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_EXAMPLE]})

    id: str = Field(description="Its id.")
    run_id: str | None = Field(description="The run that it is about, known or not.")
    trace_id: str | None = Field(description="The trace of that run, as the client gave it.")
    key: str = Field(description="What was judged.")
    score: float | bool | None = Field(description="A number or a boolean.")
    value: Any = Field(description="Any JSON value.")
    comment: Any = Field(description="A text.")
    correction: Any = Field(description="What would have been right.")
    feedback_source: Any = Field(description="Who judged.")
    created_at: str = Field(description="When it was given (UTC), as the client says, else when it was recorded.")
    modified_at: str = Field(description="When it was last changed (UTC).")


def feedback_request(*required: str) -> dict[str, Any]:
    """The documentation of a request body with feedback in it."""
    names = ("id", "run_id", "trace_id", "key", "score", "value", "comment", "correction", "feedback_source")
    schema = {
        "type": "object",
        "required": list(required),
        "properties": {name: {"description": f"The {name.replace('_', ' ')}."} for name in names},
        "additionalProperties": True,
    }
    example = {name: _EXAMPLE[name] for name in ("id", "run_id", "trace_id", "key", "score", "comment")}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}
