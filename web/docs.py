"""The documentation page: Swagger UI from its bundle in a Python package, nothing from outside."""

import importlib.util
from pathlib import Path

import aiohttp_jinja2
from aiohttp import web

from ultramarket.errors import ConfigurationError
from web.middlewares import DOCS_POLICY, POLICY
from web.pages import STATIC

OPENAPI = web.AppKey("openapi", bytes)
BUNDLE = web.AppKey("bundle", dict[str, Path])
_FROM_BUNDLE = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
_OURS = ("docs.js",)


def bundle() -> dict[str, Path]:
    """The files of the page by name.

    Raises:
        ConfigurationError: the package with Swagger UI is not installed.
    """
    # Only the package's files are wanted: importing it would bring a web framework of its own in.
    spec = importlib.util.find_spec("flask_swagger_ui")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError("The package flask-swagger-ui is missing: install the project's dependencies again.")
    folder = Path(spec.submodule_search_locations[0]) / "dist"
    return {name: folder / name for name in _FROM_BUNDLE} | {name: STATIC / name for name in _OURS}


async def page(request: web.Request) -> web.Response:
    """Swagger UI over the OpenAPI document."""
    answer = aiohttp_jinja2.render_template("docs.html", request, {})
    answer[POLICY] = DOCS_POLICY
    return answer


async def asset(request: web.Request) -> web.FileResponse:
    """A file of the page."""
    path = request.app[BUNDLE].get(request.match_info["file"])
    if path is None:
        raise web.HTTPNotFound
    return web.FileResponse(path, headers={"Cache-Control": "public, max-age=3600"})


async def openapi(request: web.Request) -> web.Response:
    """The OpenAPI document."""
    headers = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    return web.Response(body=request.app[OPENAPI], content_type="application/json", headers=headers)
