"""Many buyers of few goods, who repeat what was not answered, and remember all that they were told."""

import asyncio
import random
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.e2e.shopper import BUYER, STAFF, Answer, Shopper, purchase

METHODS = ("ok", "ok", "ok", "declined", "lost_answer", "unavailable", "requires_action", "insufficient_funds")
TRIES = 1500
AGAIN_SECONDS = 0.05
NEXT: dict[str, frozenset[str]] = {
    "pending": frozenset({"pending", "awaiting_payment", "open", "rejected", "cancelled"}),
    "awaiting_payment": frozenset({"awaiting_payment", "pending", "open", "rejected", "cancelled"}),
    "open": frozenset({"open", "cancelled"}),
    "rejected": frozenset({"rejected"}),
    "cancelled": frozenset({"cancelled"}),
}
"""What an order that was seen in a status may be later."""


@dataclass
class Memory:
    """What was answered with a 2xx: the newest version of each cart, each order as last seen, the pieces received."""

    received: Counter[str] = field(default_factory=Counter)
    carts: dict[str, int] = field(default_factory=dict)
    orders: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    paid: set[str] = field(default_factory=set)
    odd: list[str] = field(default_factory=list)

    def cart(self, cart: Any) -> None:
        """A cart was shown."""
        self.carts[cart["id"]] = max(cart["version"], self.carts.get(cart["id"], 0))

    def order(self, order: Any) -> None:
        """An order was shown: it must not stand behind where it was."""
        version, status, payment = self.orders.get(order["id"], (0, "pending", "none"))
        if order["version"] < version or order["status"] not in NEXT[status]:
            self.odd.append(f"order {order['id']} was {version} {status}, {payment} and is {order}")
        if order["payment_status"] in ("paid", "refunded"):
            self.paid.add(order["id"])
        elif order["id"] in self.paid:
            self.odd.append(f"order {order['id']} was paid and is {order}")
        if order["version"] >= version:
            self.orders[order["id"]] = (order["version"], order["status"], order["payment_status"])


class Buyers:
    """Purchases at one shop until told to stop.

    Args:
        client: where they shop; its server may die and come back under the same address.
        skus: what they buy, in contention.
        seed: makes their choices repeatable.
    """

    def __init__(self, client: Shopper, skus: Sequence[str], seed: int) -> None:
        self.memory = Memory()
        self._client = client
        self._skus = skus
        self._random = random.Random(seed)  # noqa: S311 - choices of a test
        self._answers = 0
        self._answered = asyncio.Condition()
        self._stopped = False
        self._keys = 0

    def everybody(self, buyers: int) -> list[Coroutine[Any, Any, None]]:
        """What all of them do until told to stop: so many buyers, and the staff."""
        return [*(self.shop() for _ in range(buyers)), self.stock_up()]

    async def shop(self) -> None:
        """One buyer: purchase after purchase."""
        while not self._stopped:
            await self._purchase()

    async def stock_up(self) -> None:
        """Staff: receive a few pieces now and then, each delivery once."""
        while not self._stopped:
            sku, pieces = self._random.choice(self._skus), self._random.randint(1, 3)
            await self.receive(sku, pieces)
            await self.answers(10)

    async def receive(self, sku: str, pieces: int) -> None:
        """Staff: receive pieces of a SKU."""
        body = {"delta": pieces, "reason": "received"}
        await self._insist("POST", f"/inventory/{sku}/adjustments", body, headers=STAFF)
        self.memory.received[sku] += pieces

    def stop(self) -> None:
        """Everybody ends with what was begun."""
        self._stopped = True

    async def answers(self, count: int) -> None:
        """Wait until that many more answers were received."""
        async with self._answered:
            wanted = self._answers + count
            await self._answered.wait_for(lambda: self._answers >= wanted)

    async def look_again(self) -> list[str]:
        """Ask for everything that was ever shown; gives what is missing or went backwards."""
        faults = list(self.memory.odd)
        for id, version in self.memory.carts.items():
            answer = await self._client.call("GET", f"/carts/{id}")
            if answer.status != 200 or answer.json["version"] < version:
                faults.append(f"cart {id} was at {version} and is {answer.body!r}")
        for id in list(self.memory.orders):
            answer = await self._client.call("GET", f"/orders/{id}")
            if answer.status != 200:
                faults.append(f"order {id} is gone: {answer.body!r}")
            else:
                self.memory.order(answer.json)
        return faults + self.memory.odd[len(faults) :]

    async def _purchase(self) -> None:
        cart = (await self._insist("POST", "/carts", {})).json
        self.memory.cart(cart)
        wanted: Counter[str] = Counter()
        for sku in self._random.choices(self._skus, k=self._random.choice((1, 1, 2))):
            pieces = self._random.choice((1, 1, 2))
            wanted[sku] += pieces
            line = {"sku": sku, "quantity": pieces}
            self.memory.cart((await self._insist("POST", f"/carts/{cart['id']}/lines", line)).json)
        cart = (await self._insist("PATCH", f"/carts/{cart['id']}", BUYER)).json
        self.memory.cart(cart)
        if {line["sku"]: line["quantity"] for line in cart["lines"]} != wanted:
            self.memory.odd.append(f"{dict(wanted)} went into {cart}")
        key, method = self._key(), self._random.choice(METHODS)
        answer = await self._insist("POST", "/orders", purchase(cart, method), key=key)
        order = answer.json
        self.memory.order(order)
        if order["status"] == "awaiting_payment" and self._random.random() < 0.7:
            outcome = self._random.choice(("ok", "ok", "failed"))
            path = f"/payments/{order['payment']['id']}/sandbox/authenticate"
            await self._insist("POST", path, {"outcome": outcome}, also=409)
        if self._random.random() < 0.2:
            cancelled = await self._insist("POST", f"/orders/{order['id']}/cancel", {}, also=409)
            if cancelled.status == 200:
                self.memory.order(cancelled.json)
        if self._random.random() < 0.3:
            again = await self._insist("POST", "/orders", purchase(cart, method), key=key)
            if (again.status, again.json["id"]) != (answer.status, order["id"]):
                self.memory.odd.append(f"{key} was answered {answer.body!r} and then {again.status} {again.body!r}")

    def _key(self) -> str:
        self._keys += 1
        return f"a-buyer-and-a-request-{self._keys:06d}"

    async def _insist(
        self,
        method: str,
        path: str,
        body: Any,
        *,
        key: str | None = None,
        also: int = 0,
        headers: Mapping[str, str] = {},
    ) -> Answer:
        """Repeat a request under its key until it is answered with a 2xx, or with the other status that is expected."""
        key, said = key or self._key(), "nothing"
        for _ in range(TRIES):
            try:
                answer = await self._client.call(method, path, body, key=key, headers=headers)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                said = repr(error)
            else:
                said = f"{answer.status} {answer.body!r}"
                if 200 <= answer.status < 300 or (also and answer.status == also and b"in_progress" not in answer.body):
                    async with self._answered:
                        self._answers += 1
                        self._answered.notify_all()
                    return answer
                if answer.status not in (503, 409) or (answer.status == 409 and b"in_progress" not in answer.body):
                    raise AssertionError(f"{method} {path} {body}: {said}")
            await asyncio.sleep(AGAIN_SECONDS)  # as a client does that was told to come back later
        raise AssertionError(f"{method} {path}: no answer after {TRIES} tries; the last was {said}")
