"""A crowd at one shelf: many more buyers than pieces, many of them at once, and what each of them got."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from tests.e2e.shopper import POLL_SECONDS, Answer, Shopper

SKU = "FLASH"
PIECES, BUYERS, AT_ONCE = 200, 1000, 64
PATIENCE_SECONDS = 300.0
WAITING = {"Prefer": "wait=10"}


@dataclass(frozen=True, slots=True)
class Purchase:
    """What a buyer was told of an order: the answer to the first request that had one, and the order at its end."""

    key: str
    cart: Any
    answer: Answer
    order: Any

    @property
    def outcome(self) -> tuple[str, str, str]:
        """Status, payment status and the code of the reason, which is empty where there is none."""
        reason = self.order["reason"]
        return self.order["status"], self.order["payment_status"], reason["code"] if reason else ""


SOLD, REFUSED = ("open", "paid", ""), ("rejected", "none", "out_of_stock")


async def _nothing(_: Purchase) -> None:
    """What happens after a purchase where nobody wants anything to happen."""


async def sell(shop: Shopper, after: Callable[[Purchase], Awaitable[None]] = _nothing) -> list[Purchase]:
    """Stock the shelf and let everybody buy one piece; gives all purchases.

    Args:
        shop: where they buy.
        after: called after each purchase, while the others go on.
    """
    await shop.stock(SKU, PIECES)
    purchases: list[Purchase] = []
    buyers = iter(range(BUYERS))

    async def buy() -> None:
        for number in buyers:
            cart, key = await shop.filled_cart(SKU), f"flash-sale-buyer-{number:06d}"
            answer = await shop.order(cart, key=key, headers=WAITING)
            purchases.append(Purchase(key, cart, answer, await _ended(shop, answer.json)))
            await after(purchases[-1])

    async with asyncio.TaskGroup() as crowd:
        for _ in range(AT_ONCE):
            crowd.create_task(buy())
    return purchases


async def answered_otherwise(shop: Shopper, purchases: Sequence[Purchase]) -> list[str]:
    """Repeat each order with its key; tells those that were answered with something else than at first."""
    found: list[str] = []
    left = iter(purchases)

    async def ask_again() -> None:
        for one in left:
            again = await shop.order(one.cart, key=one.key, headers=WAITING)
            now = Purchase(one.key, one.cart, again, await shop.ok("GET", f"/orders/{one.order['id']}"))
            if (again.status, again.json["id"], now.outcome) != (one.answer.status, one.order["id"], one.outcome):
                found.append(f"{one.key}: {one.answer.status} {one.order}, then {again.status} {again.body!r}, {now}")

    await asyncio.gather(*(ask_again() for _ in range(AT_ONCE)))
    return found


async def gateway_calls(rows: "asyncpg.Connection[asyncpg.Record]") -> Counter[tuple[str, str]]:
    """By operation and outcome: how many payments the gateway's own books tell such a call of."""
    calls = await rows.fetch("select operation, outcome, count(distinct payment) n from sandbox.call group by 1, 2")
    return Counter({(row["operation"], row["outcome"]): row["n"] for row in calls})


async def _ended(shop: Shopper, order: Any) -> Any:
    """The order, once it is decided."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while order["status"] == "pending":
            await asyncio.sleep(POLL_SECONDS)
            order = await shop.ok("GET", f"/orders/{order['id']}")
    return order
