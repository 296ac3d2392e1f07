"""Inventory: the stock of a SKU."""

from typing import Annotated

import msgspec
from aiohttp import web

from ultramarket.messages.inventory import MAIN, AdjustStock, ShownStock, StockKept
from web.addresses import check_line
from web.answers import entity, not_modified
from web.api.carts import QUOTER
from web.bodies import Body
from web.operation import ask, operation
from web.preferences import expected_version, unchanged
from web.principal import PRINCIPAL
from web.problems import refuse
from web.services import SHOP

MAX_PIECES = 1_000_000_000


class Adjustment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pieces that came (positive) or went (negative), and why."""

    delta: Annotated[int, msgspec.Meta(ge=-MAX_PIECES, le=MAX_PIECES)]
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    location: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] = MAIN


ADJUSTMENT = Body(Adjustment)


@operation(response=ShownStock, conditional=True)
async def show(request: web.Request) -> web.Response:
    """Show the stock of a SKU.

    Of a SKU that is not sold, because its product is not published, staff alone are told.
    """
    sku = request.match_info["sku"]
    if not request[PRINCIPAL].staff and await request.app[QUOTER].find(sku) is None:
        refuse("not_found", "No product has this SKU.")
    stock = await _stock(request, sku)
    return not_modified(stock.version) if unchanged(request, stock.version) else entity(stock, stock.version)


@operation(
    body=ADJUSTMENT, response=ShownStock, writes="inventory", conditional=True, staff=True, errors=("negative_stock",)
)
async def adjust(request: web.Request) -> web.Response:
    """Add pieces to the stock of a SKU, or take some away."""
    sku = request.match_info["sku"]
    new = await ADJUSTMENT.read(request)
    if new.delta == 0:
        refuse("invalid", "The delta must not be 0.", pointer="/delta")
    check_line(new.reason, "/reason")
    check_line(new.location, "/location")
    await _stock(request, sku)  # 404 for a SKU that no product has
    command = AdjustStock(delta=new.delta, reason=new.reason, location=new.location, expect=expected_version(request))
    answer = await ask(request, "inventory", sku, command)
    kept = msgspec.convert(answer.value, StockKept, from_attributes=True)
    available = max(0, kept.on_hand - kept.held)
    stock = ShownStock(sku=sku, on_hand=kept.on_hand, held=kept.held, available=available, version=kept.version)
    return entity(stock, kept.version, token=answer.token)


async def _stock(request: web.Request, sku: str) -> ShownStock:
    """The stock; zeros with version 0 for a SKU that a product has and that was never stocked."""
    actors = request.app[SHOP].actors
    shown = await actors.read("inventory", sku)
    if shown is not None:
        stock: ShownStock = shown.value
        return stock
    if await actors.owner("sku", sku) is None:
        refuse("not_found", "No product has this SKU.")
    return ShownStock(sku=sku, on_hand=0, held=0, available=0, version=0)
