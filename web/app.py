"""The web front end as an aiohttp application."""

from pathlib import Path

import aiohttp_jinja2
import jinja2
import msgspec
from aiohttp import web

from web import docs, openapi, routes, turnstile, ws
from web.api.carts import QUOTER
from web.bodies import MAX_BYTES
from web.category_finder import CATEGORIES, CategoryFinder
from web.collection_finder import COLLECTIONS, CollectionFinder
from web.finder import FINDER, PRODUCT_BODIES, KeptBodies, ProductFinder
from web.idempotency import IN_FLIGHT
from web.kept_lists import LISTS, KeptLists
from web.measures import RequestSeconds
from web.middlewares import Frame
from web.quotes import Quoter
from web.services import SHOP, Shop
from web.ws import measures
from web.ws.hub import Hub

TEMPLATES = Path(__file__).parent / "templates"


def create_app(shop: Shop) -> web.Application:
    """The application over the shop's services.

    Raises:
        ConfigurationError: a package that the pages need is missing.
    """
    uploads = frozenset(route.path for route in routes.ROUTES if route.operation.uploads)
    app = web.Application(
        middlewares=[Frame(shop, RequestSeconds(shop.metrics), uploads, frozenset({routes.LIVE})).handle],
        client_max_size=MAX_BYTES,
    )
    app[SHOP] = shop
    app[QUOTER] = Quoter(shop.actors, shop.rules.timing.quote_lock_seconds)
    app[FINDER] = ProductFinder(shop.actors)
    app[PRODUCT_BODIES] = KeptBodies()
    app[CATEGORIES] = CategoryFinder(shop.actors)
    app[COLLECTIONS] = CollectionFinder(shop.actors, app[CATEGORIES], app[FINDER])
    app[IN_FLIGHT] = set()
    app[ws.HUB] = Hub(shop.actors, shop.log, shop.tailer, shop.tell, app[QUOTER], shop.live_limits)
    app.on_shutdown.append(ws.close)
    measures.install(app[ws.HUB], shop.tailer, shop.metrics)
    app[LISTS] = KeptLists(shop.cache, shop.list_seconds)
    app[docs.BUNDLE] = docs.bundle()
    app[docs.OPENAPI] = msgspec.json.encode(openapi.document())
    aiohttp_jinja2.setup(app, loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True)
    routes.setup(app)
    turnstile.install(app, shop.admission, shop.metrics)
    return app
