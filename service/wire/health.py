"""What the health endpoints answer."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Health = Literal["healthy", "unhealthy"]


class HealthBody(BaseModel):
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
                }
            ]
        }
    )

    status: Health = Field(description="Healthy when everything that it depends on is.")
    timestamp: datetime = Field(description="When this was found out, in UTC.")
    version: str = Field(description="The version of the service.")
    environment: str = Field(description="The name of this deployment (ENVIRONMENT).")
    uptime_seconds: float = Field(description="Seconds since the service started.")
    database_status: Health = Field(description="Healthy when the database answers and has the newest schema.")
    dependencies: dict[str, Health] = Field(description="The same for each thing the service depends on.")


class ReadinessBody(BaseModel):
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


class LivenessBody(BaseModel):
    """That the service answers at all."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "alive", "timestamp": "2024-01-15T10:30:00Z"}]}
    )

    status: Literal["alive"] = Field(description="Always `alive`.")
    timestamp: datetime = Field(description="The service's time, in UTC.")
