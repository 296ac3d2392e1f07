"""Every URL of the shop."""

from dataclasses import dataclass

from aiohttp import web

from web import docs, pages, ws
from web.api import (
    carts,
    categories,
    collections,
    exports,
    health,
    imports,
    inventory,
    orders,
    payments,
    prices,
    products,
    redirects,
    reviews,
    webhooks,
)
from web.operation import Operation

API = "/api/v1"
LIVE = f"{API}/ws"


@dataclass(frozen=True, slots=True)
class Route:
    """A call of the API at its address."""

    method: str
    path: str
    operation: Operation


ROUTES = (
    Route("GET", f"{API}/products", products.index),
    Route("POST", f"{API}/products", products.create),
    Route("POST", f"{API}/products/prices", prices.set_prices),
    Route("GET", f"{API}/products/suggestions", products.suggestions),
    Route("GET", f"{API}/products/{{id}}", products.show),
    Route("PATCH", f"{API}/products/{{id}}", products.change),
    Route("DELETE", f"{API}/products/{{id}}", products.archive),
    Route("GET", f"{API}/categories", categories.index),
    Route("POST", f"{API}/categories", categories.create),
    Route("GET", f"{API}/categories/{{id}}", categories.show),
    Route("PATCH", f"{API}/categories/{{id}}", categories.change),
    Route("DELETE", f"{API}/categories/{{id}}", categories.remove),
    Route("GET", f"{API}/collections", collections.index),
    Route("POST", f"{API}/collections", collections.create),
    Route("GET", f"{API}/collections/{{id}}", collections.show),
    Route("PATCH", f"{API}/collections/{{id}}", collections.change),
    Route("DELETE", f"{API}/collections/{{id}}", collections.remove),
    Route("POST", f"{API}/collections/{{id}}/products", collections.place),
    Route("DELETE", f"{API}/collections/{{id}}/products/{{product}}", collections.take_out),
    Route("GET", f"{API}/redirects", redirects.index),
    Route("POST", f"{API}/redirects", redirects.create),
    Route("GET", f"{API}/redirects/{{id}}", redirects.show),
    Route("DELETE", f"{API}/redirects/{{id}}", redirects.remove),
    Route("GET", f"{API}/products/{{id}}/reviews", reviews.list_reviews),
    Route("POST", f"{API}/products/{{id}}/reviews", reviews.review),
    Route("GET", f"{API}/reviews", reviews.index),
    Route("GET", f"{API}/reviews/{{id}}", reviews.show),
    Route("PATCH", f"{API}/reviews/{{id}}", reviews.judge),
    Route("POST", f"{API}/reviews/{{id}}/votes", reviews.vote),
    Route("POST", f"{API}/imports", imports.create),
    Route("GET", f"{API}/imports/{{id}}", imports.show),
    Route("GET", f"{API}/exports/products", exports.products),
    Route("GET", f"{API}/inventory/{{sku}}", inventory.show),
    Route("POST", f"{API}/inventory/{{sku}}/adjustments", inventory.adjust),
    Route("POST", f"{API}/carts", carts.create),
    Route("GET", f"{API}/carts/{{id}}", carts.show),
    Route("PATCH", f"{API}/carts/{{id}}", carts.change),
    Route("POST", f"{API}/carts/{{id}}/lines", carts.add_line),
    Route("PATCH", f"{API}/carts/{{id}}/lines/{{line}}", carts.set_line),
    Route("DELETE", f"{API}/carts/{{id}}/lines/{{line}}", carts.remove_line),
    Route("POST", f"{API}/carts/{{id}}/merge", carts.merge),
    Route("POST", f"{API}/orders", orders.create),
    Route("GET", f"{API}/orders", orders.index),
    Route("GET", f"{API}/orders/{{id}}", orders.show),
    Route("POST", f"{API}/orders/{{id}}/cancel", orders.cancel),
    Route("GET", f"{API}/payments/{{id}}", payments.show),
    Route("POST", f"{API}/payments/{{id}}/sandbox/authenticate", payments.authenticate),
    Route("POST", f"{API}/webhooks/sandbox", webhooks.sandbox),
)

PAGES = (
    web.get("/", pages.home),
    web.get("/problems/{code}", pages.problem),
    web.get("/docs", docs.page),
    web.get("/docs/{file}", docs.asset),
    web.get(f"{API}/openapi.json", docs.openapi),
    web.get(LIVE, ws.connect, allow_head=False),
    web.get("/health/live", health.live),
    web.get("/health/ready", health.ready),
    web.get("/metrics", health.metrics),
    web.static("/static", pages.STATIC),
)


def setup(app: web.Application) -> None:
    """Give the application its routes."""
    for route in ROUTES:
        app.router.add_route(route.method, route.path, route.operation.run)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, route.operation.run)
    app.add_routes(PAGES)
