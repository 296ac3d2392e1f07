"""What ends by itself: orders whose buyers don't act, the stock that is held for them, and prices that moved."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from time import perf_counter
from typing import Any

from tests.e2e.shopper import BUYER, STAFF, Answer, Shopper, purchase
from tests.faults.buyers import Memory
from ultramarket.domain.ids import order_id
from ultramarket.runtime.partitioning import partition_of

ACTION_SECONDS, HOLD_SECONDS, LOCK_SECONDS = 4, 2, 5
"""Settings of the shop: the buyer's time to act, the time for which stock is held, for which a price is honoured."""
EACH = 4
"""Orders whose partitions are the observed member's, and as many whose are others'."""
PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.05
CART_VERSION = 3
"""Of a cart that was made, got one line, and an address."""
BUSY = 503
PIECES = 5
PRICE, DEARER = "12.90", "19.90"


@dataclass(frozen=True, slots=True)
class Abandoned:
    """An order whose buyer never acted; seconds are counted from when it was sent.

    Attributes:
        theirs: the partitions of the order and its goods are the observed member's.
        ended: until it was seen to have ended; None: it did not.
        released: until nothing was held for it any more; None: it was.
        stamped: seconds by which its time of making lies outside of the request that made it.
    """

    theirs: bool
    ended: float | None
    released: float | None
    stamped: float


class Expiry:
    """Things that end, at a shop of several processes.

    Args:
        clients: who is asked, in turn; the shop's front end first.
        owned: the partitions of the observed member.
        memory: what was shown is remembered there.
        name: makes SKUs and keys of its own.
    """

    def __init__(self, clients: Sequence[Shopper], owned: set[tuple[str, int]], memory: Memory, name: str) -> None:
        self._clients = clients
        self._owned = owned
        self._memory = memory
        self._name = name
        self._numbers = count(1)

    async def abandon(self) -> list[Abandoned]:
        """Order and never act, and watch how it ends."""
        sides = [(theirs, client) for theirs in (True, False) for client in self._clients for _ in range(EACH // 2)]
        return await asyncio.gather(*(self._abandoned(theirs, client) for theirs, client in sides))

    async def move_prices(self) -> list[str]:
        """Order while the price of before is honoured, and when it is not any more; gives what was odd."""
        waits = (LOCK_SECONDS / 4, LOCK_SECONDS + 1.0)
        done = await asyncio.gather(*(self._moved(client, wait) for client in self._clients for wait in waits))
        return [odd for odd in done if odd]

    async def repeat(self) -> list[str]:
        """Repeat requests under their keys at the other process; gives what was odd."""
        odd = []
        for first, second in ((self._clients[0], self._clients[-1]), (self._clients[-1], self._clients[0])):
            key = self._key()
            path = f"/carts/{(await self._done(first, 'POST', '/carts', {}))['id']}"
            answers = [await _asked(client, "PATCH", path, BUYER, key) for client in (first, second)]
            told = [(answer.status, answer.body, answer.headers.get("Idempotency-Replayed")) for answer in answers]
            if told[0][:2] != told[1][:2] or told[1][2] != "true":
                odd.append(f"a repeat was answered {told}")
        return odd

    def _theirs(self, kind: str, id: str) -> bool:
        return (kind, partition_of(kind, id)) in self._owned

    async def _cart(self, client: Shopper, *, theirs: bool) -> Any:
        """A cart whose order will be the observed member's, or another's, with goods for which that holds too."""
        sku = next(sku for sku in self._skus() if self._theirs("inventory", sku) == theirs)
        await self._stock(sku)
        while True:
            cart = await self._filled(client, sku)
            if self._theirs("order", order_id(cart["id"], CART_VERSION)) == theirs:
                return cart

    async def _abandoned(self, theirs: bool, client: Shopper) -> Abandoned:
        cart = await self._cart(client, theirs=theirs)
        sku = cart["lines"][0]["sku"]
        sent, sent_at = perf_counter(), datetime.now(UTC)
        order = await self._done(client, "POST", "/orders", purchase(cart, "requires_action"))
        answered_at = datetime.now(UTC)
        if order["status"] != "awaiting_payment" or order["id"] != order_id(cart["id"], CART_VERSION):
            raise AssertionError(f"an order whose buyer has to act was answered {order}")
        self._memory.order(order)
        made_at = datetime.fromisoformat(order["created_at"])
        outside = max((sent_at - made_at).total_seconds(), (made_at - answered_at).total_seconds(), 0.0)
        front = self._clients[0]
        ended, released = await asyncio.gather(
            _until(front, f"/orders/{order['id']}", "status", "rejected", sent),
            _until(front, f"/inventory/{sku}", "held", 0, sent),
        )
        self._memory.order(await self._done(front, "GET", f"/orders/{order['id']}"))
        return Abandoned(theirs, ended, released, outside)

    async def _moved(self, client: Shopper, wait: float) -> str:
        """Order so long after the price moved; gives what was odd, if anything was."""
        sku = next(self._skus())
        product = await self._stock(sku)
        cart = await self._filled(client, sku)
        variants = [{"sku": sku, "price": {"amount": DEARER, "currency": "USD"}}]
        await self._done(self._clients[0], "PATCH", f"/products/{product['id']}", {"variants": variants})
        await asyncio.sleep(wait)
        order = await self._done(client, "POST", "/orders", purchase(cart))
        self._memory.order(order)
        code = (order.get("reason") or {}).get("code")
        wanted = None if wait < LOCK_SECONDS else "price_changed"
        return "" if code == wanted else f"an order of the old price, {wait:.1f} s after it moved, became {order}"

    async def _stock(self, sku: str) -> Any:
        variant = {"sku": sku, "price": {"amount": PRICE, "currency": "USD"}}
        product = {"title": sku, "status": "published", "variants": [variant]}
        front = self._clients[0]
        made = await self._done(front, "POST", "/products", product)
        await self._done(front, "POST", f"/inventory/{sku}/adjustments", {"delta": PIECES, "reason": "received"})
        self._memory.received[sku] += PIECES
        return made

    async def _filled(self, client: Shopper, sku: str) -> Any:
        cart = await self._done(client, "POST", "/carts", {})
        await self._done(client, "POST", f"/carts/{cart['id']}/lines", {"sku": sku, "quantity": 1})
        return await self._done(client, "PATCH", f"/carts/{cart['id']}", BUYER)

    async def _done(self, client: Shopper, method: str, path: str, body: Any = None) -> Any:
        """Ask as staff until it is done; gives the JSON.

        Raises:
            AssertionError: it was refused.
        """
        answer = await _asked(client, method, path, body, "" if method == "GET" else self._key())
        if answer.status >= 300:  # noqa: PLR2004 - HTTP
            raise AssertionError(f"{method} {path} {body}: {answer.status} {answer.body!r}")
        return answer.json

    def _key(self) -> str:
        return f"{self._name}-a-key-{next(self._numbers):06d}"

    def _skus(self) -> Iterator[str]:
        while True:
            yield f"{self._name}-{next(self._numbers)}"


async def _asked(client: Shopper, method: str, path: str, body: Any = None, key: str = "") -> Answer:
    """Ask as staff, again under the same key where the shop is busy."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            answer = await client.call(method, path, body, key=key or None, headers=STAFF)
            if answer.status != BUSY:
                return answer
            await asyncio.sleep(LOOK_SECONDS)


async def _until(client: Shopper, path: str, field: str, wanted: object, since: float) -> float | None:
    """Seconds since then when a field was first seen to be so; None where it did not become so."""
    while perf_counter() - since < ACTION_SECONDS + PATIENCE_SECONDS:
        if (await _asked(client, "GET", path)).json[field] == wanted:
            return perf_counter() - since
        await asyncio.sleep(LOOK_SECONDS)
    return None
