"""Projects on the wire, as LangSmith's sessions; and what its clients ask about the server."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class SessionBody(BaseModel):
    """A project. LangSmith's API calls it a session."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "7d0b7f7e-2d0d-5d5c-9df5-3a9c3f0a4a55",
                    "tenant_id": "0d2f7a52-5f0b-4d3e-8d57-2f4f8a6f3c11",
                    "name": "market-analysis",
                    "start_time": "2024-01-15T10:30:00Z",
                    "end_time": None,
                    "description": None,
                    "reference_dataset_id": None,
                    "extra": {},
                }
            ]
        }
    )

    id: str = Field(description="Its id.")
    tenant_id: str = Field(description="The id of this installation.")
    name: str = Field(description="Its name.")
    start_time: str = Field(description="When it was first heard of (UTC).")
    end_time: str | None = Field(description="Always null: a project does not end.")
    description: str | None = Field(description="Always null: nobody can give one yet.")
    reference_dataset_id: str | None = Field(description="Always null: there are no datasets.")
    extra: dict[str, Any] = Field(description="Always empty.")


class SettingsBody(BaseModel):
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
