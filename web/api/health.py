"""Health and metrics, for load balancers and Prometheus."""

from aiohttp import web
from aioprometheus.renderer import render

from web.answers import json_response
from web.services import SHOP


async def live(_: web.Request) -> web.Response:
    """200 as long as the process answers."""
    return json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})


async def ready(request: web.Request) -> web.Response:
    """200 when every store is there, else 503; each store is named with its state."""
    stores = await request.app[SHOP].health()
    well = all(state == "ok" for state in stores.values())
    document = {"status": "ok" if well else "unavailable", "stores": stores}
    return json_response(document, 200 if well else 503, {"Cache-Control": "no-store"})


async def metrics(request: web.Request) -> web.Response:
    """What Prometheus scrapes."""
    shop = request.app[SHOP]
    shop.refresh_metrics()
    content, headers = render(shop.metrics, request.headers.getall("Accept", []))
    return web.Response(body=content, headers=headers)
