"""What a LangSmith client asks first. Open to everyone, and answered without the database."""

from typing import Final

from fastapi import Request, Response

from service.parts import SettingsPart
from service.requests import is_langsmith_sdk
from service.routes import LateRouter
from service.settings import Settings
from service.wire.info import BatchIngestConfig, InfoBody, InstanceFlags

router = LateRouter(tags=["info"])

_SIZE_LIMIT: Final = 20 * 1024 * 1024
TENANT_HANDLE: Final = "agent-spy-local"
LANGSMITH_VERSION: Final = "0.16.0"
"""The version of LangSmith whose API is served: from this on there are runs, threads and traces of both generations."""


@router.get("/info")
async def info(settings: SettingsPart, request: Request, response: Response) -> InfoBody:
    """What this server is, and how clients are to send runs to it.

    LangSmith's own SDKs choose by the version what they may call, so they are told that of LangSmith's API.
    """
    response.headers["Vary"] = "User-Agent"
    return InfoBody(
        version=LANGSMITH_VERSION if is_langsmith_sdk(request.headers) else settings.app_version,
        license_expiration_time=None,
        batch_ingest_config=_batch_ingest_config(settings),
        instance_flags=InstanceFlags(
            zstd_compression_enabled=True,
            gzip_body_enabled=True,
            ch_query_enabled=True,
            sdb_query_enabled=True,
        ),
        tenant_handle=TENANT_HANDLE,
    )


def _batch_ingest_config(settings: Settings) -> BatchIngestConfig:
    return BatchIngestConfig(
        use_multipart_endpoint=True,
        size_limit=_SIZE_LIMIT,
        size_limit_bytes=min(_SIZE_LIMIT, settings.max_body_bytes),
        scale_up_qsize_trigger=1000,
        scale_up_nthreads_limit=16,
        scale_down_nempty_trigger=4,
    )
