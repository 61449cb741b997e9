import re

from service.app import create_app
from service.settings import load_settings
from tests.service.running import client_of


async def test_the_documentation_needs_no_other_host() -> None:
    async with client_of(create_app(load_settings(None))) as client:
        page = await client.get("/docs")
        assert page.status_code == 200
        urls = re.findall(r"""(?:src|href)="([^"]+)"|["']?url["']?: ?["']([^"']+)["']""", page.text)
        paths = {"".join(found) for found in urls}
        assert paths == {
            "/docs/files/swagger-ui-bundle.js",
            "/docs/files/swagger-ui.css",
            "/docs/files/favicon-32x32.png",
            "/openapi.json",
        }
        assert "//" not in re.sub(r"(?m)^\s*//.*$", "", page.text)
        assert [(await client.get(path)).status_code for path in paths] == [200] * 4


async def test_the_documentation_is_shown_by_swagger_ui_5() -> None:
    async with client_of(create_app(load_settings(None))) as client:
        script = await client.get("/docs/files/swagger-ui-bundle.js")
    assert re.search(r'PACKAGE_VERSION:"5\.', script.text)
    assert "javascript" in script.headers["content-type"]
