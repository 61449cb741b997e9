"""Configurations of feedback on the wire."""

from typing import Any, Final, Literal

from pydantic import ConfigDict, Field

from service.wire.shape import BodyShape, Shape

_CONFIG: Final[dict[str, Any]] = {"type": "continuous", "min": 0.0, "max": 5.0}


class Category(Shape):
    """A value that categorical feedback may have."""

    value: float = Field(description="The value.")
    label: str | None = Field(default=None, description="What it means.")


class FeedbackConfigShape(Shape):
    """How feedback is to be understood."""

    model_config = ConfigDict(extra="allow")

    type: Literal["continuous", "categorical", "freeform"] = Field(description="What kind of feedback it is.")
    min: float | None = Field(default=None, description="The smallest score of continuous feedback.")
    max: float | None = Field(default=None, description="The largest score of continuous feedback.")
    categories: list[Category] | None = Field(default=None, description="The values of categorical feedback.")


class ConfigCreation(BodyShape):
    """A configuration to set."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"feedback_key": "rating", "feedback_config": _CONFIG}]})

    feedback_key: str = Field(min_length=1, description="The key of the feedback.")
    feedback_config: FeedbackConfigShape = Field(description="How it is to be understood.")
    is_lower_score_better: bool | None = Field(default=None, description="Whether a lower score is better.")


class ConfigPatch(BodyShape):
    """What to change of a configuration. What is null or absent stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"feedback_key": "rating", "is_lower_score_better": True}]}
    )

    feedback_key: str = Field(min_length=1, description="The key of the feedback.")
    feedback_config: FeedbackConfigShape | None = Field(default=None, description="The whole configuration, anew.")
    is_lower_score_better: bool | None = Field(default=None, description="Whether a lower score is better.")
    add_categories: list[Category] | None = Field(default=None, description="Categories to add.")
    remove_categories: list[float] | None = Field(default=None, description="Values of categories to remove.")


class ConfigBody(Shape):
    """How feedback with a key is to be understood."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "6f7a5a0e-1f1c-5a37-9d0e-3b8f4d1c2e11",
                    "tenant_id": "0d2f7a52-5f0b-4d3e-8d57-2f4f8a6f3c11",
                    "feedback_key": "rating",
                    "feedback_config": _CONFIG,
                    "is_lower_score_better": False,
                    "modified_at": "2024-01-15T10:30:00Z",
                }
            ]
        }
    )

    id: str = Field(description="Its id.")
    tenant_id: str = Field(description="The id of this installation.")
    feedback_key: str = Field(description="The key of the feedback.")
    feedback_config: dict[str, Any] = Field(description="How it is to be understood.")
    is_lower_score_better: bool | None = Field(description="Whether a lower score is better, if somebody said so.")
    modified_at: str = Field(description="When it was last set (UTC).")
