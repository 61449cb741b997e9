"""What the health endpoints answer."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field

from service.wire.shape import Shape

Health = Literal["healthy", "unhealthy"]
Taking = Literal["taking", "full", "failing"]


class IngestBody(Shape):
    """How it stands with taking in what clients send."""

    status: Taking = Field(
        description="`taking`; `full` while requests wait for room; `failing` when the database took no write."
    )
    reason: str | None = Field(description="Why the database did not take the last write; null when it did.")
    held_bytes: int = Field(description="Bytes of the requests that are being read or wait to be written.")
    limit_bytes: int = Field(description="Beyond how many requests wait, 8 s at most, and are then answered 503.")
    waiting_requests: int = Field(description="Requests that wait for room in memory or to be written.")


FullText = Literal["on", "off", "unavailable"]


class HealthBody(Shape):
    """How the service is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "healthy",
                    "timestamp": "2024-01-15T10:30:00Z",
                    "version": "0.1.0",
                    "environment": "production",
                    "uptime_seconds": 3600.0,
                    "database_status": "healthy",
                    "dependencies": {"database": "healthy"},
                    "ingest": {
                        "status": "taking",
                        "reason": None,
                        "held_bytes": 0,
                        "limit_bytes": 268435456,
                        "waiting_requests": 0,
                    },
                    "full_text": "on",
                }
            ]
        }
    )

    status: Health = Field(description="Healthy when everything that it depends on is.")
    timestamp: datetime = Field(description="When this was found out, in UTC.")
    version: str = Field(description="The version of the service.")
    environment: str = Field(description="The name of this deployment (ENVIRONMENT).")
    uptime_seconds: float = Field(description="Seconds since the service started.")
    database_status: Health = Field(
        description="Healthy when the database answers, has the newest schema and takes writes."
    )
    dependencies: dict[str, Health] = Field(description="The same for each thing the service depends on.")
    ingest: IngestBody = Field(description="Whether it takes in what clients send, and how much waits.")
    full_text: FullText = Field(
        description="Whether words are indexed (FULL_TEXT). Unavailable: the database cannot, and searches are slow."
    )


class ReadinessBody(Shape):
    """Whether the service can do its work."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "ready": True,
                    "checks": {"application": True, "database": True, "configuration": True},
                    "timestamp": "2024-01-15T10:30:00Z",
                }
            ]
        }
    )

    ready: bool = Field(description="Whether every check passed.")
    checks: dict[str, bool] = Field(description="Each check, and whether it passed.")
    timestamp: datetime = Field(description="When this was found out, in UTC.")


class LivenessBody(Shape):
    """That the service answers at all."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "alive", "timestamp": "2024-01-15T10:30:00Z"}]}
    )

    status: Literal["alive"] = Field(description="Always `alive`.")
    timestamp: datetime = Field(description="The service's time, in UTC.")
