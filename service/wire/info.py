"""What a LangSmith client learns about the server it talks to."""

from datetime import datetime

from pydantic import ConfigDict, Field

from service.wire.shape import Shape


class BatchIngestConfig(Shape):
    """How clients send runs. Whole or not at all: with a key missing, Python's SDK silently sends no run."""

    use_multipart_endpoint: bool = Field(description="Send to /runs/multipart rather than to /runs/batch.")
    size_limit: int = Field(description="The most operations in one request.")
    size_limit_bytes: int = Field(description="The most bytes in one request, before compression.")
    scale_up_qsize_trigger: int = Field(description="Waiting operations beyond which a client adds a sender.")
    scale_up_nthreads_limit: int = Field(description="The most senders of a client.")
    scale_down_nempty_trigger: int = Field(description="Empty polls after which a client drops a sender.")


class InstanceFlags(Shape):
    """What this server can do."""

    zstd_compression_enabled: bool = Field(description="Bodies may be compressed with zstd.")
    gzip_body_enabled: bool = Field(description="Bodies may be compressed with gzip.")
    ch_query_enabled: bool = Field(description="Runs are read by the first generation of LangSmith's API.")
    sdb_query_enabled: bool = Field(description="Runs are read by the second generation of LangSmith's API.")


class InfoBody(Shape):
    """What this server is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "version": "0.1.0",
                    "license_expiration_time": None,
                    "batch_ingest_config": {
                        "use_multipart_endpoint": True,
                        "size_limit": 20971520,
                        "size_limit_bytes": 20971520,
                        "scale_up_qsize_trigger": 1000,
                        "scale_up_nthreads_limit": 16,
                        "scale_down_nempty_trigger": 4,
                    },
                    "instance_flags": {
                        "zstd_compression_enabled": True,
                        "gzip_body_enabled": True,
                        "ch_query_enabled": True,
                        "sdb_query_enabled": True,
                    },
                    "tenant_handle": "agent-spy-local",
                }
            ]
        }
    )

    version: str = Field(description="The version of the service; to LangSmith's SDKs, of its API.")
    license_expiration_time: datetime | None = Field(description="Always null: no licence is needed.")
    batch_ingest_config: BatchIngestConfig = Field(description="How clients send runs.")
    instance_flags: InstanceFlags = Field(description="What clients may make use of.")
    tenant_handle: str = Field(description="The name of the one tenant.")
