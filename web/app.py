"""The web front end as an aiohttp application."""

from pathlib import Path

import aiohttp_jinja2
import jinja2
import msgspec
from aiohttp import web

from web import docs, middlewares, openapi, routes
from web.api.carts import QUOTER
from web.bodies import MAX_BYTES
from web.idempotency import IN_FLIGHT
from web.measures import REQUEST_SECONDS, RequestSeconds
from web.quotes import Quoter
from web.services import SHOP, Shop

TEMPLATES = Path(__file__).parent / "templates"


def create_app(shop: Shop) -> web.Application:
    """The application over the shop's services.

    Raises:
        ConfigurationError: a package that the pages need is missing.
    """
    app = web.Application(
        middlewares=[
            middlewares.observe,
            middlewares.problems,
            middlewares.authenticate,
            middlewares.deadline,
        ],
        client_max_size=MAX_BYTES,
    )
    app[SHOP] = shop
    app[QUOTER] = Quoter(shop.actors, shop.rules.timing.quote_lock_seconds)
    app[IN_FLIGHT] = set()
    app[REQUEST_SECONDS] = RequestSeconds(shop.metrics)
    app[docs.BUNDLE] = docs.bundle()
    app[docs.OPENAPI] = msgspec.json.encode(openapi.document())
    app[middlewares.UPLOADS] = frozenset(route.path for route in routes.ROUTES if route.operation.uploads)
    aiohttp_jinja2.setup(app, loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
    routes.setup(app)
    return app
