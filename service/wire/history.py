"""The history of a run on the wire. Answers are written by `service.history`; the shapes here document them."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from projections.history import Cause, Content, Effect

_RUN_ID: Final = "550e8400-e29b-41d4-a716-446655440000"
_FIELD: Final = (
    "Which field: a member of the run, `extra.<key>`, `extra.metadata.<key>` (these are merged key by key), or "
    "`attachments.<name>`."
)
_VALUE: Final = "A value of at most 4 KB."
_OUTPUTS: Final[dict[str, Any]] = {
    "field": "outputs",
    "effect": "changed",
    "before": {"value": {"result": "Market analysis"}},
    "after": {
        "size": 48213,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "preview": "Market analysis complete…",
        "url": f"http://localhost:8000/api/v1/runs/{_RUN_ID}/events/2/fields?name=outputs",
    },
}
_ORIGIN: Final[dict[str, Any]] = {
    "receipt_id": 17,
    "received_at": "2024-01-15T10:30:05.214000Z",
    "endpoint": "POST /api/v1/runs/multipart",
    "key_id": "2bb80d53",
    "sdk": "langsmith-py",
    "sdk_version": "0.15.0",
    "user_agent": "langsmith-py/0.15.0",
    "remote_address": "192.0.2.7",
    "request_id": "0b9f3c1e-6f0e-4a53-9d0a-3a1f4f0c2f6e",
}


class OriginBody(BaseModel):
    """Who sent it: what the receipt of the request says."""

    receipt_id: int = Field(description="The receipt of the request.")
    received_at: str = Field(description="When it was received (UTC).")
    endpoint: str = Field(description="Where it was sent to.")
    key_id: str | None = Field(description="The API key, by the beginning of its hash; null when none was asked for.")
    sdk: str | None = Field(description="The SDK, by its user agent.")
    sdk_version: str | None = Field(description="The SDK's version.")
    user_agent: str | None = Field(description="The user agent, as sent.")
    remote_address: str | None = Field(description="The address that it came from.")
    request_id: str | None = Field(description="The id in X-Request-ID, which log lines of the request carry too.")


class FieldValue(BaseModel):
    """A value: itself when it is small, else its size, its hash, its beginning, and where to fetch it."""

    value: Any = Field(default=None, description=_VALUE + " Absent when it is larger.")
    size: int | None = Field(default=None, description="How many bytes a larger value has, as JSON.")
    sha256: str | None = Field(default=None, description="The SHA-256 of these bytes, in hex.")
    preview: str | None = Field(default=None, description="A line of text for people.")
    url: str | None = Field(default=None, description="Where these bytes are, for callers who may read.")


class FieldDifference(BaseModel):
    """A field whose value differs."""

    field: str = Field(description=_FIELD)
    effect: Effect = Field(
        description="`set`: it had no value before. `changed`: it had another. `cleared`: it has none any more. "
        "`left`: it is as it was."
    )
    before: FieldValue | None = Field(description="The value before; null when there was none.")
    after: FieldValue | None = Field(description="The value after; null when there is none.")


class FieldChange(FieldDifference):
    """What became of a field that a write said."""

    cause: Cause | None = Field(
        description="Why it was left as it was. `null`: null says nothing. `same`: it had that value already. `empty`: "
        "an empty value never replaces one that is not. `outranked`: a patch's word stands against a post's. "
        "`unreadable`: it is not what the field takes, which is a time, an id, or an object that is merged; the log "
        "keeps it, and it is read as not said."
    )
    said: FieldValue | None = Field(description="What the write said, when that is not what stands after it.")


class RevertBody(BaseModel):
    """What a revert undid."""

    to_version: int = Field(description="The version that the run went back to.")
    reason: str = Field(description="Why.")


class Repetition(BaseModel):
    """A request that brought the same once more."""

    times: int = Field(description="How often it was in that request.")
    origin: OriginBody | None = Field(description="Who sent it.")


class Repetitions(BaseModel):
    """How often the same came again. None of these changed anything."""

    count: int = Field(description="How often in all.")
    latest: list[Repetition] = Field(description="The last requests that brought it, 20 at most, in their order.")


class MutationBody(BaseModel):
    """One event of a run, and what it changed."""

    version: int = Field(description="Its place among the events of the run.")
    position: int = Field(description="Its place in the log.")
    kind: str = Field(description="RunPosted, RunPatched, AttachmentStored, RunReverted, or what else there may be.")
    recorded_at: str = Field(description="When it was recorded (UTC).")
    happened_at: str | None = Field(
        description="When the write says that it happened (UTC): the end that it tells of, else the start."
    )
    content: Content = Field(
        description="`recorded`, or `erased`: then its fields cannot be told any more; or `unknown`: a newer version "
        "of Agent Spy wrote it."
    )
    origin: OriginBody | None = Field(description="Who sent it.")
    revert: RevertBody | None = Field(description="What it undid, if it is a revert.")
    fields: list[FieldChange] = Field(description="The fields that it said, or, of a revert, that it changed.")
    duplicates: Repetitions = Field(description="How often the same came again.")


class ErasureBody(BaseModel):
    """How a run was erased: by an event of its trace, which is told on every page."""

    trace_id: str = Field(description="The trace that was erased, and the run with it.")
    position: int = Field(description="The event's place in the log.")
    kind: str = Field(description="TraceErased.")
    recorded_at: str = Field(description="When it was recorded (UTC).")
    origin: OriginBody | None = Field(description="Who asked for it.")
    reason: str = Field(description="Why.")


class RunHistoryResponse(BaseModel):
    """What happened to a run, in order."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "run_id": _RUN_ID,
                    "version": 2,
                    "mutations": [
                        {
                            "version": 2,
                            "position": 1042,
                            "kind": "RunPatched",
                            "recorded_at": "2024-01-15T10:30:05.214000Z",
                            "happened_at": "2024-01-15T10:30:05Z",
                            "content": "recorded",
                            "origin": _ORIGIN,
                            "revert": None,
                            "fields": [{**_OUTPUTS, "cause": None, "said": None}],
                            "duplicates": {"count": 1, "latest": [{"times": 1, "origin": _ORIGIN}]},
                        }
                    ],
                    "erasure": None,
                    "next_after": None,
                }
            ]
        }
    )

    run_id: str = Field(description="The run.")
    version: int = Field(description="The newest version that there is.")
    mutations: list[MutationBody] = Field(description="The events after `after`, in order.")
    erasure: ErasureBody | None = Field(description="How the run was erased; null when it was not.")
    next_after: int | None = Field(description="`after` of the next page; null when this is the last.")


class RunDiffResponse(BaseModel):
    """How a run differs between two versions."""

    model_config = ConfigDict(
        populate_by_name=True,
        json_schema_extra={"examples": [{"run_id": _RUN_ID, "from": 1, "to": 2, "fields": [_OUTPUTS]}]},
    )

    run_id: str = Field(description="The run.")
    from_version: int = Field(alias="from", description="The version before; 0 is before the first.")
    to_version: int = Field(alias="to", description="The version after.")
    fields: list[FieldDifference] = Field(description="The fields that differ.")


class ChainFinding(BaseModel):
    """An event that is not what the chain says."""

    version: int = Field(description="Its version.")
    position: int = Field(description="Its place in the log.")
    wrong: str = Field(description="What is wrong with it.")


class RunChainResponse(BaseModel):
    """Whether the events of a run are as the chain of hashes says."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"run_id": _RUN_ID, "version": 2, "checked": 2, "is_sound": True, "findings": []}]
        }
    )

    run_id: str = Field(description="The run.")
    version: int = Field(description="The newest version that there is.")
    checked: int = Field(description="How many events were checked: all, or the newest 200.")
    is_sound: bool = Field(description="Whether nothing is wrong with any of these.")
    findings: list[ChainFinding] = Field(description="What is wrong.")
