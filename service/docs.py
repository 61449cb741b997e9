"""The API documentation: Swagger UI, whose files come from here and from no other host."""

from typing import Final

from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from service.parts import SettingsPart
from service.routes import LateRouter

OPENAPI_PATH: Final = "/openapi.json"
_FILES_PATH: Final = "/docs/files"

router = LateRouter(include_in_schema=False)


@router.get("/docs")
async def docs(settings: SettingsPart) -> HTMLResponse:
    """The API, to read and to try."""
    return get_swagger_ui_html(
        openapi_url=OPENAPI_PATH,
        title=f"{settings.app_name}: the API",
        swagger_js_url=f"{_FILES_PATH}/swagger-ui-bundle.js",
        swagger_css_url=f"{_FILES_PATH}/swagger-ui.css",
        swagger_favicon_url=f"{_FILES_PATH}/favicon-32x32.png",
    )


def swagger_files() -> Mount:
    """The route to Swagger UI's own files, which `fastapi_swagger` brings."""
    return Mount(_FILES_PATH, StaticFiles(packages=[("fastapi_swagger", "resources")]))
