"""Health and metrics, for load balancers and Prometheus."""

from aiohttp import web
from aioprometheus.renderer import render

from web.answers import json_response
from web.services import SHOP


async def live(_: web.Request) -> web.Response:
    """200 as long as the process answers."""
    return json_response({"status": "ok"}, headers={"Cache-Control": "no-store"})


BESIDE = frozenset({"broker", "cache"})
"""Stores without which requests are answered all the same: what needs one of them gets an answer of its own."""


async def ready(request: web.Request) -> web.Response:
    """200 when requests can be answered, else 503; each store is named with its state.

    `degraded` is a shop that goes on without a store: no reason to send its visitors elsewhere, where it is no better.
    """
    stores = await request.app[SHOP].health()
    away = {name for name, state in stores.items() if state != "ok"}
    status = "unavailable" if away - BESIDE else "degraded" if away else "ok"
    document = {"status": status, "stores": stores}
    return json_response(document, 503 if status == "unavailable" else 200, {"Cache-Control": "no-store"})


async def metrics(request: web.Request) -> web.Response:
    """What Prometheus scrapes."""
    shop = request.app[SHOP]
    shop.refresh_metrics()
    content, headers = render(shop.metrics, request.headers.getall("Accept", []))
    return web.Response(body=content, headers=headers)
