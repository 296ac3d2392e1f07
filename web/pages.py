"""The pages for people: the front page, and one for each problem code."""

from pathlib import Path

import aiohttp_jinja2
from aiohttp import web

from ultramarket.views.products import ProductFilters
from web import presenters
from web.middlewares import PAGE_POLICY, POLICY
from web.preferences import languages
from web.problems import KINDS
from web.services import SHOP

STATIC = Path(__file__).parent / "static"
SHOWN = 24
"""Products on the front page."""


async def home(request: web.Request) -> web.Response:
    """The front page: what this is, and what the shop has."""
    shop = request.app[SHOP]
    page = await shop.products.find(ProductFilters(), SHOWN)
    wanted, fallback = languages(request), shop.channel.language
    products = [presenters.product(found.product, wanted, fallback) for found in page.items]
    answer = aiohttp_jinja2.render_template("home.html", request, {"products": products})
    answer[POLICY] = PAGE_POLICY
    return answer


async def problem(request: web.Request) -> web.Response:
    """What a problem code means."""
    code = request.match_info["code"].replace("-", "_")
    kind = KINDS.get(code)
    if kind is None:
        raise web.HTTPNotFound
    answer = aiohttp_jinja2.render_template("problem.html", request, {"code": code, "kind": kind})
    answer[POLICY] = PAGE_POLICY
    return answer
