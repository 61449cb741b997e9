"""What an error looks like on the wire, and how every operation documents the errors it may answer."""

from typing import Any, Final

from pydantic import ConfigDict, Field

from service.wire.shape import Shape


class ErrorBody(Shape):
    """Why a request was not done."""

    model_config = ConfigDict(extra="allow")

    detail: str = Field(description="A sentence that says why.")
    request_id: str | None = Field(description="The id in X-Request-ID, which the log lines of the request carry too.")


class FieldProblem(Shape):
    """One value of a request that is not what was expected."""

    loc: list[str | int] = Field(description="Where it stands: `query`, `path`, `header` or `body`, then its names.")
    msg: str = Field(description="What was expected.")
    type: str = Field(description="The kind of problem, for programs.")


class ValidationErrorBody(Shape):
    """Which values of a request are not what was expected."""

    detail: list[FieldProblem] | str = Field(description="Every problem that was found, or a sentence about the one.")
    request_id: str | None = Field(description="The id in X-Request-ID, which the log lines of the request carry too.")


_REQUEST_ID: Final = "0b9f3c1e-6f0e-4a53-9d0a-3a1f4f0c2f6e"

_ERRORS: Final[dict[int, tuple[str, str]]] = {
    400: ("The request cannot be understood.", "The body is no JSON."),
    401: ("No API key that is known here.", "This API key is not known here."),
    403: ("Not allowed.", "This API key may not do this: it lacks the scope admin."),
    404: ("There is nothing here.", "There is no run 550e8400-e29b-41d4-a716-446655440000."),
    409: ("It does not fit what is there.", "There is a run with this id in another project."),
    410: ("It was here and was erased.", "the payload of event 42 was erased"),
    413: ("The body is too large.", "The body is larger than 128 MB when decompressed (MAX_BODY_MB)."),
    415: ("The encoding of the body is not supported.", "Content-Encoding br is not supported."),
    500: ("Something went wrong in the service.", "Internal server error"),
    503: ("Not now: send the same again after Retry-After seconds.", "The queue of writes is full."),
    504: ("It took longer than REQUEST_TIMEOUT.", "The read took longer than 30 s (REQUEST_TIMEOUT)."),
}

_INVALID: Final[dict[str, Any]] = {
    "model": ValidationErrorBody,
    "description": "A value is not what was expected.",
    "content": {
        "application/json": {
            "example": {
                "detail": [
                    {
                        "loc": ["query", "limit"],
                        "msg": "Input should be less than or equal to 1000",
                        "type": "less_than_equal",
                    }
                ],
                "request_id": _REQUEST_ID,
            }
        }
    },
}


NOT_MODIFIED: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "It is as it was when it had the ETag that `If-None-Match` names. Without a body."}
}
"""The `responses=` of an operation that gives its answers an ETag."""


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of an operation that may answer with these error statuses."""
    return {status: _INVALID if status == 422 else _error_response(status) for status in statuses}


def _error_response(status: int) -> dict[str, Any]:
    description, detail = _ERRORS[status]
    example = {"detail": detail, "request_id": _REQUEST_ID}
    return {
        "model": ErrorBody,
        "description": description,
        "content": {"application/json": {"example": example}},
    }
