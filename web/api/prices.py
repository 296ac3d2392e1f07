"""Prices of many SKUs in one call, each with a result of its own."""

import asyncio
import functools
import hashlib
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ultramarket.domain.money import Money
from ultramarket.errors import Fault, Rejection, Unavailable
from ultramarket.messages.product import ProductKept, SetPrices
from ultramarket.ports.asking import Answer
from web.answers import json_response
from web.bodies import BODY_HASH, Body
from web.idempotency import WRITE
from web.operation import REQUEST_ID, operation, repeatable
from web.principal import PRINCIPAL
from web.problems import KINDS, Problem, problem_of, refuse
from web.product_bodies import NewMoney
from web.services import SHOP

MAX_ITEMS = 500
AT_ONCE = 16
"""Items that are worked on at the same time, so that one call leaves room for others."""


class NewPrices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices of a SKU by currency; those that are not named stay. `compare_at_price` null: nothing to compare with."""

    sku: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    prices: Annotated[dict[str, NewMoney], msgspec.Meta(max_length=200)] = {}
    compare_at_price: NewMoney | UnsetType | None = UNSET


class PriceList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Up to 500 SKUs, each once."""

    items: Annotated[list[NewPrices], msgspec.Meta(min_length=1, max_length=MAX_ITEMS)]


class PriceResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an item: `status` 200 and the product's version, or the problem with its status.

    `consistency` is the token of this write, for `Prefer: consistency=`; null where nothing had to be changed.
    """

    sku: str
    status: int
    product: str | None = None
    version: int | None = None
    changed: bool = False
    consistency: str | None = None
    problem: Problem | None = None


class PriceResults(msgspec.Struct, frozen=True):
    """A result for each item, in their order."""

    items: tuple[PriceResult, ...]


PRICES = Body(PriceList)


@operation(body=PRICES, response=PriceResults, writes="product", staff=True, own_scope=True, bulk=True)
async def set_prices(request: web.Request) -> web.Response:
    """Set the prices of many SKUs.

    Each item stands by itself: those that can be set are, the others have a problem of their own, and the answer is
    200. The same key and body again sets nothing twice; items that were answered 503 are tried again then.
    """
    items = (await PRICES.read(request)).items
    seen: set[str] = set()
    for index, item in enumerate(items):
        if item.sku in seen:
            refuse("invalid", "Each SKU may stand there once.", pointer=f"/items/{index}/sku")
        seen.add(item.sku)
    work = functools.partial(_set_all, request, items)
    return await repeatable(request, "product", request[WRITE], work, look_first=True)


async def _set_all(request: web.Request, items: list[NewPrices]) -> web.Response:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(index: int, item: NewPrices) -> PriceResult:
        async with room:
            return await _result(request, index, item)

    results = await asyncio.gather(*(one(index, item) for index, item in enumerate(items)))
    unavailable = KINDS["unavailable"].status
    request[WRITE].unfinished = any(result.status == unavailable for result in results)
    return json_response(PriceResults(tuple(results)), headers={"Cache-Control": "no-store"})


async def _result(request: web.Request, index: int, item: NewPrices) -> PriceResult:
    """Set the prices of one SKU; whatever is wrong with it is its result."""
    place = f"/items/{index}"
    try:
        command = _command(item, place)
        if isinstance(command, Rejection):
            return _refused(request, item, place, command)
        owner = await request.app[SHOP].actors.owner("sku", item.sku)
        if owner is None:
            return _refused(request, item, place, Rejection("sku_not_found", "No product has this SKU.", 422))
        answer = await _ask(request, owner, command)
    except Unavailable as error:
        return _refused(request, item, place, Rejection(error.code, str(error), KINDS["unavailable"].status))
    if answer.rejection is not None:
        return _refused(request, item, place, answer.rejection)
    kept = msgspec.convert(answer.value, ProductKept, from_attributes=True)
    return PriceResult(
        sku=item.sku,
        status=200,
        product=kept.id,
        version=kept.version,
        changed=kept.changed,
        consistency=answer.token if kept.changed else None,
    )


async def _ask(request: web.Request, owner: str, command: SetPrices) -> Answer:
    write = request[WRITE]
    key = hashlib.sha256(f"{write.key}\0{command.sku}".encode()).hexdigest() if write.key else None
    return await request.app[SHOP].actors.ask(
        "product",
        owner,
        command,
        principal=request[PRINCIPAL].name,
        key=key,
        body_hash=request.get(BODY_HASH, b""),
        trace=request[REQUEST_ID],
    )


def _command(item: NewPrices, place: str) -> SetPrices | Rejection:
    """The command, or what is wrong with the amounts."""
    try:
        prices = []
        for currency, given in item.prices.items():
            price = Money.parse(given.amount, given.currency)
            if price.currency != currency:
                raise ValueError(f"The price under {currency} is in {price.currency}")  # noqa: TRY301 - as a bad amount is
            prices.append(price)
        before = item.compare_at_price
        if before is UNSET:
            return SetPrices(sku=item.sku, prices=tuple(prices))
        compare_at = (Money.parse(before.amount, before.currency),) if before is not None else ()
        return SetPrices(sku=item.sku, prices=tuple(prices), compare_at=compare_at)
    except ValueError as error:
        return Rejection("invalid", f"{error}.", 422, (Fault(place, f"{error}."),))


def _refused(request: web.Request, item: NewPrices, place: str, rejection: Rejection) -> PriceResult:
    """The result of an item that was refused; what is at fault is told as a part of this body."""
    faults = tuple(Fault(place, fault.detail) for fault in rejection.errors)
    refused = msgspec.structs.replace(rejection, errors=faults or (Fault(place, rejection.detail),))
    occurrence = request[WRITE].occurrence(request.get(BODY_HASH, b"")) or request[REQUEST_ID]
    return PriceResult(sku=item.sku, status=refused.status, problem=problem_of(refused, occurrence))
