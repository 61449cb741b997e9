"""What ingest takes and answers, on the wire. Requests are documented here and read by `service.ingest.run_items`
and `service.ingest.multipart_items`."""

from typing import Any, Final

from pydantic import ConfigDict, Field

from service.wire.shape import Shape


class Accepted(Shape):
    """Everything that could be used is stored and can be read."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message": "Runs ingested"}]})

    message: str = Field(description="What was done.")


class BatchReport(Shape):
    """What became of a batch."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"success": True, "created_count": 1, "updated_count": 1, "errors": []}],
        }
    )

    success: bool = Field(description="Whether there are no errors.")
    created_count: int = Field(description="Posts applied. One that was there already is not applied again.")
    updated_count: int = Field(description="Patches applied. One that was there already is not applied again.")
    errors: list[str] = Field(description="A sentence for every item that could not be used: it is in quarantine.")


_POSTED: Final[dict[str, Any]] = {
    "id": "550e8400-e29b-41d4-a716-446655440000",
    "name": "Agent Planning",
    "run_type": "chain",
    "start_time": "2024-01-15T10:30:00Z",
    "inputs": {"query": "Analyze market trends"},
    "project_name": "market-analysis",
}
_PATCHED: Final[dict[str, Any]] = {
    "id": "550e8400-e29b-41d4-a716-446655440000",
    "end_time": "2024-01-15T10:30:05Z",
    "outputs": {"result": "Market analysis complete"},
    "status": "completed",
}
_ANYTHING: Final[dict[str, Any]] = {"description": "Any JSON value."}
_ID: Final = {"type": "string", "format": "uuid"}
_TIME: Final = {
    "description": "ISO 8601 (UTC when it names no zone), or milliseconds since 1970.",
    "anyOf": [{"type": "string"}, {"type": "number"}],
}
_RUN_PROPERTIES: Final[dict[str, Any]] = {
    "id": _ID,
    "name": {"type": "string"},
    "run_type": {"type": "string", "description": "chain, llm, tool, retriever, prompt, parser, or any other."},
    "start_time": _TIME,
    "end_time": _TIME,
    "trace_id": _ID,
    "parent_run_id": _ID,
    "dotted_order": {"type": "string"},
    "project_name": {"type": "string", "description": "`session_name` names the project as well."},
    "session_name": {"type": "string"},
    "session_id": _ID,
    "inputs": {"type": "object"},
    "outputs": {"type": "object"},
    "error": {"type": "string"},
    "status": {"type": "string"},
    "tags": {"type": "array", "items": {"type": "string"}},
    "extra": {"type": "object", "description": "`metadata` in it, and `extra` itself, are merged key by key."},
    "events": {"type": "array", "items": {"type": "object"}, "description": "The run's own events."},
    "serialized": _ANYTHING,
    "reference_example_id": _ID,
}
_POST_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "A run. Unknown members are kept; null means not said.",
    "required": ["id", "name", "run_type", "start_time"],
    "properties": _RUN_PROPERTIES,
    "additionalProperties": True,
}
_PATCH_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "description": "What is known now about a run. Null means not said.",
    "properties": _RUN_PROPERTIES,
    "additionalProperties": True,
}


def _json_request(schema: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


POST_REQUEST: Final = _json_request(_POST_SCHEMA, _POSTED)
PATCH_REQUEST: Final = _json_request(_PATCH_SCHEMA, _PATCHED)
BATCH_REQUEST: Final = _json_request(
    {
        "type": "object",
        "properties": {
            "post": {"type": "array", "items": _POST_SCHEMA},
            "patch": {"type": "array", "items": {**_PATCH_SCHEMA, "required": ["id"]}},
        },
    },
    {"post": [_POSTED], "patch": [_PATCHED]},
)
MULTIPART_REQUEST: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": (
            "Parts named `post.<id>` and `patch.<id>` hold runs, `post.<id>.inputs` and the like single fields of "
            "them, `feedback.<id>` feedback, `attachment.<run id>.<name>` files. The whole may be compressed: "
            "Content-Encoding zstd, gzip or deflate."
        ),
        "content": {"multipart/form-data": {"schema": {"type": "object", "additionalProperties": True}}},
    }
}
