from typing import Any

from service.app import create_app
from service.info import LANGSMITH_VERSION
from service.settings import load_settings
from tests.service.running import client_of


async def info(path: str = "/api/v1/info", **options: object) -> dict[str, Any]:
    async with client_of(create_app(load_settings(None, **options))) as client:
        response = await client.get(path)
    assert response.status_code == 200
    body: dict[str, Any] = response.json()
    return body


async def test_info_has_the_documented_fields_and_what_sdks_of_all_ages_need() -> None:
    assert await info() == {
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


async def test_info_is_the_same_under_every_prefix() -> None:
    assert await info("/info") == await info("/api/info") == await info()


async def test_clients_are_not_told_to_send_more_than_is_taken() -> None:
    config = (await info(max_body_mb=4))["batch_ingest_config"]
    assert config["size_limit_bytes"] == 4 * 1024 * 1024


async def test_the_version_is_the_application_s() -> None:
    assert (await info(app_version="1.2.3"))["version"] == "1.2.3"


async def test_langsmiths_sdks_are_told_the_version_of_the_api_they_may_call() -> None:
    async with client_of(create_app(load_settings(None))) as client:
        for agent in ("langsmith-py/0.15.0-httpx2", "langsmith-js/0.12.0"):
            answer = await client.get("/info", headers={"user-agent": agent})
            assert answer.json()["version"] == LANGSMITH_VERSION
            assert "User-Agent" in answer.headers["vary"]
