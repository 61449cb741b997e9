"""Projects on the wire in the second generation of LangSmith's API."""

from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from service.wire.projects import SessionCreation, SessionPatch
from service.wire.shape import Shape

_PROJECT: Final[dict[str, Any]] = {
    "id": "7d0b7f7e-2d0d-5d5c-9df5-3a9c3f0a4a55",
    "tenant_id": "0d2f7a52-5f0b-4d3e-8d57-2f4f8a6f3c11",
    "name": "market-analysis",
    "type": "PROJECT",
    "start_time": "2024-01-15T10:30:00Z",
    "extra": {"metadata": {"team": "search"}},
}
SessionType = Literal["PROJECT", "AGENT", "EXPERIMENT"]


class SessionV2Patch(SessionPatch):
    """What to change of a project. What is null or absent stays as it is."""


class SessionV2Creation(SessionCreation):
    """A project to create. It is an experiment when it names a dataset, whatever `type` says."""

    type: SessionType | None = Field(default=None, exclude=True, description="What it is to be.")


class SessionV2(Shape):
    """A project. The statistics are null unless they were asked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PROJECT]})

    id: str = Field(description="Its id.")
    tenant_id: str = Field(description="The id of this installation.")
    name: str = Field(description="Its name.")
    type: SessionType = Field(description="EXPERIMENT when it names a dataset, else PROJECT.")
    start_time: str = Field(description="When it began (UTC).")
    end_time: str | None = Field(default=None, description="When it ended (UTC).")
    description: str | None = Field(default=None, description="What it is for.")
    extra: dict[str, Any] = Field(description="What else was said of it; `metadata` among it.")
    reference_dataset_id: str | None = Field(default=None, description="The dataset that it is an experiment on.")
    default_dataset_id: str | None = Field(default=None, description="As it was sent.")
    trace_tier: str | None = Field(default=None, description="LONG_LIVED or SHORT_LIVED, if somebody said so.")
    run_count: int | None = Field(default=None, description="How many runs are in it.")
    latency_p50: float | None = Field(default=None, description="The median latency of its runs, in seconds.")
    latency_p99: float | None = Field(default=None, description="The 99th percentile, in seconds.")
    first_token_p50: float | None = Field(default=None, description="The median time to the first token, in seconds.")
    first_token_p99: float | None = Field(default=None, description="The 99th percentile, in seconds.")
    prompt_tokens: int | None = Field(default=None, description="Tokens, as clients reported them.")
    completion_tokens: int | None = Field(default=None, description="Tokens, as clients reported them.")
    total_tokens: int | None = Field(default=None, description="Tokens, as clients reported them.")
    prompt_cost: float | None = Field(default=None, description="US dollars, as clients gave them.")
    completion_cost: float | None = Field(default=None, description="US dollars.")
    total_cost: float | None = Field(default=None, description="US dollars.")
    error_rate: float | None = Field(default=None, description="The part of its runs that have an error.")
    streaming_rate: float | None = Field(default=None, description="The part of its runs that streamed tokens.")
    last_run_start_time: str | None = Field(default=None, description="When its newest run started (UTC).")
    feedback_stats: dict[str, Any] | None = Field(default=None, description="Feedback on its runs, by key.")
    session_feedback_stats: dict[str, Any] | None = Field(default=None, description="Feedback on itself, by key.")
    run_facets: list[Any] | None = Field(default=None, description="Always empty.")


class SessionPage(Shape):
    """A page of projects."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [_PROJECT], "next_cursor": None}]})

    items: list[SessionV2] = Field(description="The projects.")
    next_cursor: str | None = Field(description="The `cursor` of the next page; null when there is none.")
