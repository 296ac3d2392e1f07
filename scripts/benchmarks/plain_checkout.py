"""The plain handler's checkout: address, stock, order, payment and events in one transaction, with row locks.

Its payment is a row that says captured: no gateway is asked, and nothing could be undone. Nothing is encrypted.
"""

import secrets
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from aiohttp import web

from scripts.benchmarks.plain_shop import INSERT_EVENT, POOL, STATE, Buyer, State, answer, encode, money, shown
from ultramarket.runtime.codec import Chain

_BUYER = msgspec.json.Decoder(Buyer)


class NewOrder(msgspec.Struct, frozen=True):
    """The cart to order, as the buyer saw it."""

    cart_id: str
    cart_version: int


_NEW_ORDER = msgspec.json.Decoder(NewOrder)


async def change(request: web.Request) -> web.Response:
    """Set who buys and where it goes."""
    id = request.match_info["id"]
    buyer, now, trace = _BUYER.decode(await request.read()), datetime.now(UTC), secrets.token_hex(12)
    async with request.app[POOL].acquire() as connection, connection.transaction():
        cart = await _locked_cart(connection, id)
        state = msgspec.structs.replace(STATE.decode(cart["state"]), buyer=buyer, updated_at=now)
        version = await _store_cart(connection, id, cart, state, ("CartChanged", encode(buyer).decode(), now, trace))
    return answer(shown(id, version, state))


async def order(request: web.Request) -> web.Response:
    """Sell what is in the cart."""
    new, now, trace = _NEW_ORDER.decode(await request.read()), datetime.now(UTC), secrets.token_hex(12)
    async with request.app[POOL].acquire() as connection, connection.transaction():
        cart = await _locked_cart(connection, new.cart_id)
        state = STATE.decode(cart["state"])
        if cart["version"] != new.cart_version or not state.lines or state.buyer is None:
            raise web.HTTPConflict
        for line in sorted(state.lines, key=lambda each: each.sku):  # in one order: no deadlocks
            await _sell(connection, line.sku, line.quantity, (now, trace))
        id, text = secrets.token_hex(16), encode(state).decode()
        number = await connection.fetchval("select nextval('order_number')")
        head = await _event(connection, Chain.START, id, 1, ("OrderPlaced", text, now, trace))
        await connection.execute(
            "insert into placed_order values ($1, $2, $3, $4, $5)", id, number, new.cart_id, head, text
        )
        total = sum((line.price * line.quantity for line in state.lines), Decimal(0))
        await _pay(connection, id, total, (now, trace))
        cleared = msgspec.structs.replace(state, lines=(), updated_at=now)
        await _store_cart(connection, new.cart_id, cart, cleared, ("CartOrdered", encode(id).decode(), now, trace))
    shown_order = {**shown(id, 1, state), "number": str(number), "payment_status": "paid", "total": money(total)}
    return answer(shown_order, 201)


async def _locked_cart(connection: Any, id: str) -> Any:
    cart = await connection.fetchrow("select version, head, state from cart where id = $1 for update", id)
    if cart is None:
        raise web.HTTPNotFound
    return cart


async def _store_cart(connection: Any, id: str, cart: Any, state: State, event: tuple[str, str, datetime, str]) -> int:
    version: int = cart["version"] + 1
    head = await _event(connection, cart["head"], id, version, event)
    await connection.execute(
        "update cart set version = $2, head = $3, state = $4 where id = $1", id, version, head, encode(state).decode()
    )
    return version


async def _sell(connection: Any, sku: str, quantity: int, when: tuple[datetime, str]) -> None:
    stock = await connection.fetchrow("select version, head, on_hand from stock where sku = $1 for update", sku)
    if stock is None or stock["on_hand"] < quantity:
        raise web.HTTPConflict
    version = stock["version"] + 1
    head = await _event(connection, stock["head"], sku, version, ("StockSold", encode(quantity).decode(), *when))
    await connection.execute(
        "update stock set version = $2, head = $3, on_hand = on_hand - $4 where sku = $1", sku, version, head, quantity
    )


async def _pay(connection: Any, order: str, amount: Decimal, when: tuple[datetime, str]) -> None:
    id = secrets.token_hex(16)
    head = await _event(connection, Chain.START, id, 1, ("PaymentCaptured", encode(money(amount)).decode(), *when))
    await connection.execute("insert into payment values ($1, $2, $3, $3, $4)", id, order, amount, head)


async def _event(connection: Any, before: bytes, id: str, version: int, event: tuple[str, str, datetime, str]) -> bytes:
    """Write an event, a tuple of type, data, time and trace; gives the chain's new head."""
    name, data, now, trace = event
    head = Chain.link(before, ("plain", id, name, trace, "guest"), version, now, data)
    await connection.execute(INSERT_EVENT, id, version, name, data, now, trace, "guest", trace, head)
    return head
