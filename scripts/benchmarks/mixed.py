"""Mixed traffic of people who are not signed in: nine reads to one write."""

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from scripts.benchmarks.catalogue import handles, import_file, listed, product_file, skus
from scripts.benchmarks.checkout import BUYER
from scripts.benchmarks.http_client import Connection, Reply, connections, request
from scripts.benchmarks.meter import Meter
from scripts.benchmarks.rounds import Round, client_share, figures, percentile, rate, timed
from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import API, meter_of, running_shop
from scripts.benchmarks.statements import HOW, counted

VISITORS = 64
SHARES = {"product": 60, "list": 10, "cart": 20, "write": 10}
"""What of a hundred requests is what. A visitor's writes are one purchase after the other, step by step."""
PAGE = 24
REPORTED = ("product", "list", "cart", "create", "add", "patch", "order")


@dataclass(slots=True)
class Visitor:
    """Somebody who looks around, and now and then takes the next step of a purchase.

    Attributes:
        cart: the path of the cart, empty before there is one.
        step: how many steps of the purchase are done.
    """

    connection: Connection
    choices: random.Random
    took: dict[str, list[float]]
    reads: dict[str, Sequence[bytes]]
    skus: Sequence[str]
    cart: str = ""
    version: int = 0
    step: int = field(default=0)

    async def act(self, kind: str) -> None:
        """One request."""
        if kind == "write":
            await self._write()
        elif kind == "cart" and self.cart:
            await self._timed(kind, request("GET", self.cart))
        else:
            kind = "product" if kind == "cart" else kind
            await self._timed(kind, self.choices.choice(self.reads[kind]))

    async def _write(self) -> None:
        if self.step == 0:
            shown = (await self._timed("create", request("POST", f"{API}/carts", {}))).json()
            self.cart = f"{API}/carts/{shown['id']}"
        elif self.step <= 2:  # noqa: PLR2004 - two lines a cart
            line = {"sku": self.choices.choice(self.skus), "quantity": 1}
            (await self._timed("add", request("POST", f"{self.cart}/lines", line))).json()
        elif self.step == 3:  # noqa: PLR2004 - then the address
            shown = (await self._timed("patch", request("PATCH", self.cart, BUYER))).json()
            self.version = shown["version"]
        else:
            order = {
                "cart_id": self.cart.rpartition("/")[2],
                "cart_version": self.version,
                "payment": {"gateway": "sandbox", "method": "ok"},
            }
            placed = (await self._timed("order", request("POST", f"{API}/orders", order))).json()
            if placed["payment_status"] != "paid":
                raise RuntimeError(f"an order was not paid: {placed}")
            self.cart, self.step = "", -1
        self.step += 1

    async def _timed(self, kind: str, raw: bytes) -> Reply:
        began = perf_counter()
        reply = await self.connection.send(raw)
        self.took[kind].append(perf_counter() - began)
        if reply.status >= 400:  # noqa: PLR2004 - HTTP
            reply.json()
        return reply


async def run(work: Path, size: Size, log_level: str) -> list[Row]:
    """The one row."""
    products = max(2 * PAGE, size.entities // 2)
    async with running_shop(work / "mixed", log_level) as shop, meter_of(shop) as meter:
        await import_file(shop.port, product_file(range(products)))
        cursors = await listed(shop.port, products)
        crowd = Crowd(meter, *_reads(products, cursors), skus(range(products)))
        async with connections(shop.port, VISITORS) as opened:
            crowd.enter(opened)
            await crowd.round(size.operations // 2, seed=-1)  # carts are there, caches are warm
            crowd.took.clear()
            rounds = [await crowd.round(size.operations, seed=number) for number in range(size.rounds)]
            said = crowd.said()
            few = size.part(4, 200)
            async with counted(shop.dsn, shop.log) as found:
                await crowd.round(few, seed=-2)
    shares = ", ".join(f"{name} {share} %" for name, share in SHARES.items())
    return [
        Row(
            name="mixed traffic, 90 % reads",
            value=rate(rounds),
            unit="requests/s",
            conditions=f"{VISITORS} connections, {products} products of 4 variants; {shares}: a cart is created, gets "
            f"two lines and an address, is ordered and paid, one step a write; log level {log_level}; p50 / p99 in ms: "
            f"{said}; {HOW}{client_share(rounds)}",
            operation=figures(rounds, found.count / few),
        )
    ]


class Crowd:
    """All visitors."""

    def __init__(self, meter: Meter, product: Sequence[bytes], lists: Sequence[bytes], skus: Sequence[str]) -> None:
        self._meter = meter
        self._reads = {"product": product, "list": lists}
        self._skus = skus
        self._visitors: list[Visitor] = []
        self.took: dict[str, list[float]] = defaultdict(list)

    def enter(self, opened: Sequence[Connection]) -> None:
        """A visitor for each connection."""
        self._visitors = [
            Visitor(connection, random.Random(number), self.took, self._reads, self._skus)  # noqa: S311 - no secret
            for number, connection in enumerate(opened)
        ]

    async def round(self, operations: int, seed: int) -> Round:
        """That many requests; the same kinds for the same seed."""
        kinds = random.Random(seed).choices(list(SHARES), list(SHARES.values()), k=operations)  # noqa: S311 - no secret
        return await timed(self._visitors, kinds, Visitor.act, self._meter)

    def said(self) -> str:
        """The times of each kind of request."""
        return ", ".join(
            f"{kind} {percentile(took, 0.5) * 1000:.1f} / {percentile(took, 0.99) * 1000:.1f}"
            for kind in REPORTED
            if (took := self.took[kind])
        )


def _reads(products: int, cursors: Sequence[str]) -> tuple[list[bytes], list[bytes]]:
    pages = ("", *(f"&cursor={cursor}" for cursor in cursors))
    return (
        [request("GET", f"{API}/products/{handle}") for handle in handles(range(products))],
        [request("GET", f"{API}/products?limit={PAGE}{after}") for after in pages],
    )
