"""Projects on the wire, as LangSmith's sessions; and what its clients ask about the server."""

from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field

from events.ids import parse_id
from events.times import parse_time
from service.wire.shape import BodyShape, Shape

_ID: Final = "7d0b7f7e-2d0d-5d5c-9df5-3a9c3f0a4a55"
_PROJECT: Final[dict[str, Any]] = {
    "id": _ID,
    "tenant_id": "0d2f7a52-5f0b-4d3e-8d57-2f4f8a6f3c11",
    "name": "market-analysis",
    "start_time": "2024-01-15T10:30:00Z",
    "end_time": None,
    "description": "What the analysts' agent does.",
    "reference_dataset_id": None,
    "extra": {"metadata": {"team": "search"}},
}
_STATS: Final[dict[str, Any]] = {
    "run_count": 1200,
    "latency_p50": 1.245,
    "latency_p99": 9.61,
    "total_tokens": 48213,
    "total_cost": "0.4821",
    "error_rate": 0.0125,
    "last_run_start_time": "2024-01-15T11:02:00Z",
}


def _uuid(text: str) -> str:
    if parse_id(text) is None:
        raise ValueError("expected a UUID")
    return text


def _moment(value: str | int | float) -> str | int | float:
    if parse_time(value) is None:
        raise ValueError("expected a time such as 2024-01-15T10:30:00Z")
    return value


Uuid = Annotated[str, AfterValidator(_uuid)]
Moment = Annotated[str | int | float, AfterValidator(_moment)]


class SessionPatch(BodyShape):
    """What to change of a project. What is null or absent stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "market-research", "description": "Renamed."}]})

    name: str | None = Field(default=None, min_length=1, description="The new name. No other project may bear it.")
    description: str | None = Field(default=None, description="What it is for.")
    extra: dict[str, Any] | None = Field(default=None, description="Anything; `metadata` in it can be filtered by.")
    start_time: Moment | None = Field(default=None, description="When it began (UTC).")
    end_time: Moment | None = Field(default=None, description="When it ended (UTC).")
    reference_dataset_id: Uuid | None = Field(default=None, description="The dataset that it is an experiment on.")
    default_dataset_id: Uuid | None = Field(default=None, description="Kept and given back.")
    trace_tier: str | None = Field(default=None, description="Kept and given back.")
    longlived_ttl_days: int | None = Field(default=None, description="Kept.")
    num_examples: int | None = Field(default=None, description="Kept: how many examples an experiment is to run on.")
    num_repetitions: int | None = Field(default=None, description="Kept: how often on each.")


class SessionCreation(SessionPatch):
    """A project to create."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "support-agents", "extra": {"metadata": {"team": "search"}}}]}
    )

    name: str = Field(min_length=1, description="Its name.")
    id: Uuid | None = Field(default=None, description="Its id; by default one that follows from its name.")


class SessionBody(Shape):
    """A project. LangSmith's API calls it a session. The statistics are null unless they were asked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{**_PROJECT, **_STATS}]})

    id: str = Field(description="Its id.")
    tenant_id: str = Field(description="The id of this installation.")
    name: str = Field(description="Its name.")
    start_time: str = Field(
        description="When it began, as was said, else with its first run, or first word of it (UTC)."
    )
    end_time: str | None = Field(description="When it ended, if somebody said so (UTC).")
    description: str | None = Field(description="What it is for.")
    reference_dataset_id: str | None = Field(description="The dataset that it is an experiment on.")
    extra: dict[str, Any] = Field(description="What else was said of it; `metadata` among it.")
    default_dataset_id: str | None = Field(default=None, description="As it was sent.")
    trace_tier: str | None = Field(default=None, description="As it was sent.")
    run_count: int | None = Field(default=None, description="How many runs are in it.")
    latency_p50: float | None = Field(default=None, description="The median latency of its runs, in seconds.")
    latency_p99: float | None = Field(default=None, description="The 99th percentile, in seconds.")
    first_token_p50: float | None = Field(default=None, description="The median time to the first token, in seconds.")
    first_token_p99: float | None = Field(default=None, description="The 99th percentile, in seconds.")
    prompt_tokens: int | None = Field(default=None, description="Tokens, as clients reported them.")
    completion_tokens: int | None = Field(default=None, description="Tokens, as clients reported them.")
    total_tokens: int | None = Field(default=None, description="Tokens, as clients reported them.")
    prompt_cost: str | None = Field(default=None, description="US dollars, as clients gave them, a decimal string.")
    completion_cost: str | None = Field(default=None, description="US dollars, a decimal string.")
    total_cost: str | None = Field(default=None, description="US dollars, a decimal string.")
    error_rate: float | None = Field(default=None, description="The part of its runs that have an error.")
    streaming_rate: float | None = Field(default=None, description="The part of its runs that streamed tokens.")
    last_run_start_time: str | None = Field(default=None, description="When its newest run started (UTC).")
    feedback_stats: dict[str, Any] | None = Field(default=None, description="Feedback on its runs, by key.")
    session_feedback_stats: dict[str, Any] | None = Field(default=None, description="Feedback on itself, by key.")
    run_facets: list[Any] | None = Field(default=None, description="Always empty.")


class DeletedBody(Shape):
    """Something was deleted."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message": f"Project {_ID} was deleted."}]})

    message: str = Field(description="What was deleted.")


class SettingsBody(Shape):
    """This installation, as LangSmith's clients ask for it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "0d2f7a52-5f0b-4d3e-8d57-2f4f8a6f3c11",
                    "display_name": "Agent Spy",
                    "created_at": "2024-01-15T10:30:00Z",
                    "tenant_handle": "agent-spy-local",
                }
            ]
        }
    )

    id: str = Field(description="The id of this installation.")
    display_name: str = Field(description="The application's name.")
    created_at: str = Field(description="When the installation was made (UTC).")
    tenant_handle: str | None = Field(description="A short name for it.")
