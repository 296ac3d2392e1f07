"""Load as a shop gets it: visitors who look and visitors who buy; as many as can be, or at a fixed rate."""

import asyncio
import random
from dataclasses import dataclass, field
from secrets import token_hex
from time import perf_counter
from typing import Any

from scripts.benchmarks.http_client import Connection, Reply
from scripts.benchmarks.rounds import percentile

API = "/api/v1"
BUYER = {
    "email": "ada@example.com",
    "shipping_method": "standard",
    "shipping_address": {
        "name": "Ada L.",
        "line1": "12 Mill Lane",
        "city": "Albany",
        "region": "NY",
        "postal_code": "12207",
        "country": "US",
    },
}
BUYING = 0.2
"""The share of the visitors who buy; the others look at one page."""
ONE_PRODUCT = 0.8
"""The share of those who look at one product; the others look at the list."""
# A product by its handle, a list of products, what leads to an order, and the order itself.
KINDS = ("page", "list", "cart", "order")
ERROR = 300
"""Statuses below this one tell that it was done."""
OVERLOADED = 503
AGAIN = (409, OVERLOADED)
"""What is to be asked again: there was no room, or the first request with this key still runs."""
TRIES = 20
AGAIN_SECONDS = 1.0


@dataclass
class Seen:
    """What came of the requests of a phase.

    Attributes:
        began: when the phase began, by `perf_counter`.
        accepted: when each request was sent and how long it took, by kind, of those that were answered with a 2xx.
        refused: the same of those that were answered with 503.
        statuses: how many answers there were of each status.
        broken: requests without an answer.
        bought: purchases that ended with a paid order.
        begun: purchases whose cart was made.
        visits: visitors who came.
        seconds: how long the phase took.
    """

    began: float = field(default_factory=perf_counter)
    accepted: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    refused: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    statuses: dict[int, int] = field(default_factory=dict)
    broken: int = 0
    bought: int = 0
    begun: int = 0
    visits: int = 0
    seconds: float = 0.0

    @property
    def served(self) -> int:
        """Visitors who were let in: who saw their page, or got a cart."""
        return len(self.accepted["page"]) + len(self.accepted["list"]) + self.begun

    def refusals(self) -> int:
        """Requests that were sent away."""
        return sum(len(refused) for refused in self.refused.values())

    def odd(self) -> set[int]:
        """Statuses that no request should have had."""
        return {status for status in self.statuses if status >= ERROR and status not in AGAIN}

    def between(self, begin: float, end: float) -> "Seen":
        """What was sent between these seconds of the phase; without what has no time."""
        first, last = self.began + begin, self.began + end
        part = Seen(self.began)
        for kind in KINDS:
            part.accepted[kind] = [each for each in self.accepted[kind] if first <= each[0] < last]
            part.refused[kind] = [each for each in self.refused[kind] if first <= each[0] < last]
        part.visits = round(self.visits * (end - begin) / self.seconds)
        return part

    def note(self, kind: str, sent: float, status: int) -> None:
        """An answer came."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status < ERROR:
            self.accepted[kind].append((sent, perf_counter() - sent))
        elif status == OVERLOADED:
            self.refused[kind].append((sent, perf_counter() - sent))

    def p99(self, kind: str) -> float:
        """Seconds within which 99 of 100 accepted requests of a kind were answered."""
        return percentile([seconds for _, seconds in self.accepted[kind]], 0.99)


class Visitors:
    """Visitors of one shop.

    Args:
        port: where the shop listens.
        handles: products that are looked at.
        skus: what is bought.
        seed: makes their choices repeatable.
    """

    def __init__(self, port: int, handles: list[str], skus: list[str], seed: int = 1) -> None:
        self.orders: dict[str, str] = {}
        self._port = port
        self._handles = handles
        self._skus = skus
        self._random = random.Random(seed)  # noqa: S311 - choices of a load
        self._idle: list[Connection] = []

    def leave(self) -> None:
        """Close the connections that nobody uses: on a slow machine they may be all that the shop takes."""
        while self._idle:
            self._idle.pop().close()

    async def closed(self, count: int, seconds: float) -> Seen:
        """That many visitors at once, each coming again as soon as it is done."""
        seen = Seen()
        end = perf_counter() + seconds

        async def run() -> None:
            while perf_counter() < end:
                await self._visit(seen)

        await asyncio.gather(*(run() for _ in range(count)))
        seen.seconds = seconds
        return seen

    async def open(self, rate: float, seconds: float) -> Seen:
        """Visitors who come at random at this rate (a Poisson process), whatever becomes of those before them."""
        seen = Seen()
        due = seen.began
        running: set[asyncio.Task[None]] = set()
        while (due := due + self._random.expovariate(rate)) < seen.began + seconds:
            wait = due - perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(self._visit(seen))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
        seen.seconds = seconds
        return seen

    async def _visit(self, seen: Seen) -> None:
        seen.visits += 1
        try:
            connection = self._idle.pop() if self._idle else await self._connect()
        except OSError:
            seen.broken += 1
            return
        try:
            if self._random.random() < BUYING:
                await self._buy(connection, seen)
            else:
                kind = "page" if self._random.random() < ONE_PRODUCT else "list"
                what = f"/{self._random.choice(self._handles)}" if kind == "page" else "?limit=12"
                await self._call(connection, seen, kind, "GET", f"{API}/products{what}")
        except OSError:
            seen.broken += 1
            connection.close()
        else:
            self._idle.append(connection)

    async def _connect(self) -> Connection:
        return await Connection.open(self._port)

    async def _buy(self, connection: Connection, seen: Seen) -> None:
        made = await self._call(connection, seen, "cart", "POST", f"{API}/carts", {}, key=token_hex(16))
        if made.status >= ERROR:
            return
        seen.begun += 1
        path = f"{API}/carts/{made.json()['id']}"
        line = {"sku": self._random.choice(self._skus), "quantity": 1}
        if (await self._insist(connection, seen, "cart", "POST", f"{path}/lines", line)) is None:
            return
        cart = await self._insist(connection, seen, "cart", "PATCH", path, BUYER)
        if cart is None:
            return
        payment = {"gateway": "sandbox", "method": "ok"}
        order = {"cart_id": cart["id"], "cart_version": cart["version"], "payment": payment}
        placed = await self._insist(connection, seen, "order", "POST", f"{API}/orders", order)
        if placed is None:
            return
        for _ in range(TRIES):
            if placed["status"] != "pending":
                break
            await asyncio.sleep(AGAIN_SECONDS)
            placed = await self._insist(connection, seen, "order", "GET", f"{API}/orders/{placed['id']}") or placed
        self.orders[placed["id"]] = placed["payment_status"]
        seen.bought += placed["payment_status"] == "paid"

    async def _insist(
        self, connection: Connection, seen: Seen, kind: str, method: str, path: str, body: Any = None
    ) -> Any:
        key = token_hex(16)
        for _ in range(TRIES):
            reply = await self._call(connection, seen, kind, method, path, body, key=key)
            if reply.status < ERROR:
                return reply.json()
            if reply.status not in AGAIN:
                return None
            await asyncio.sleep(AGAIN_SECONDS)
        return None

    async def _call(
        self, connection: Connection, seen: Seen, kind: str, method: str, path: str, body: Any = None, *, key: str = ""
    ) -> Reply:
        sent = perf_counter()
        reply = await connection.call(method, path, body, f"idempotency-key: {key}\r\n" if key else "")
        seen.note(kind, sent, reply.status)
        return reply
