"""A payment gateway that hangs, is late, loses answers, fails, and sends webhooks: genuine, repeated, forged, stale."""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import asyncpg

from scripts.faultlab.cluster import MASTER_KEY, Cluster, cluster
from scripts.faultlab.crowd import Crowd, afterwards, few, shopping, verdict
from scripts.faultlab.findings import Finding, Size
from scripts.faultlab.probes import probing
from scripts.faultlab.webhooks import COPIES, FORGERIES, GENUINE, Gateway, secret_of
from tests.e2e.server import Server
from tests.e2e.shopper import PatientShopper
from tests.faults.checks import Snapshot
from tests.faults.invariants import at_rest
from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.adapters.sandbox import SandboxGateway

REPLICAS = 3
METHODS = ("ok", "hang", "slow", "lost_answer", "unavailable", "declined", "requires_action")
"""How the gateway behaves, by the method of the payment; see `ultramarket.adapters.sandbox`."""
GATEWAY_SECONDS = 3.5
"""After which the shop gives a call up: those that hang, but not those of `slow`, which are answered after three."""
ACTION_SECONDS = 5
"""For buyers who have to act: long enough for those whom only a webhook tells of."""
PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.05
EVENTS = ("authorised", "captured", "refunded", "failed")
"""What the webhooks of a payment speak of, whether it is true or not; the shop has to ask, and believe none."""
FAULT = "gateway"


@dataclass(frozen=True, slots=True)
class Bought:
    """An order whose payment the gateway sends webhooks for."""

    method: str
    order: str
    payment: str


class Customers:
    """Buyers who pay with one method each; the gateway sends webhooks while it has not answered, and afterwards.

    Args:
        shop: where they buy.
        crowd: whose memory keeps what they are told.
        gateway: sends the webhooks.
        books: the gateway's other side, where a buyer acts without the shop's knowing.
        chance: what they choose.

    Attributes:
        bought: their orders.
        untouched, touched: how many payments that a genuine webhook would have moved stood still under forged ones, and
            those that did not.
    """

    def __init__(
        self, shop: PatientShopper, crowd: Crowd, gateway: Gateway, books: SandboxGateway, chance: random.Random
    ) -> None:
        self.bought: list[Bought] = []
        self.untouched, self.touched = 0, list[str]()
        self._shop = shop
        self._memory = crowd.buyers.memory
        self._gateway = gateway
        self._books = books
        self._chance = chance

    async def buy(self, method: str, seconds: float) -> None:
        """Buy again and again for so long, at least once; who has to act, until one was in time to be deceived."""
        end = perf_counter() + seconds
        await self._purchase(method)
        while perf_counter() < end or (method == "requires_action" and not self.untouched and not self.touched):
            await self._purchase(method)

    async def _purchase(self, method: str) -> None:
        cart = await self._shop.filled_cart("LAB-C")
        placed = (await self._shop.order(cart, method, headers={"Prefer": "wait=0"})).json
        self._memory.order(placed)
        path = f"/orders/{placed['id']}"
        order = await self._until(path, lambda order: order["payment"]["id"] is not None)
        one = Bought(method, order["id"], order["payment"]["id"])
        self.bought.append(one)
        await self._until(f"/payments/{one.payment}", lambda _: True)
        if method == "requires_action":
            await self._deceive(one)
        await self._gateway.send(one.payment, EVENTS)
        if method == "requires_action":
            await self._act(one)
        order = await self._until(path, lambda order: order["status"] not in ("pending", "awaiting_payment"))
        self._memory.order(order)
        if order["status"] == "open" and self._chance.random() < 0.25:  # noqa: PLR2004 - a share
            await self._regret(one)

    async def _deceive(self, one: Bought) -> None:
        """Send forged webhooks alone while the payment waits for one: neither it nor its order may move."""
        before = await self._until(f"/payments/{one.payment}", lambda payment: payment["state"] != "created")
        waiting = await self._until(f"/orders/{one.order}", lambda order: order["status"] != "pending")
        await self._gateway.forge(one.payment)
        after = await self._until(f"/payments/{one.payment}", lambda _: True)
        order = await self._until(f"/orders/{one.order}", lambda _: True)
        if (before["state"], order["status"]) != ("requires_action", "awaiting_payment"):
            return  # its time was over: the shop itself has given it up
        if (after["version"], order["version"]) == (before["version"], waiting["version"]):
            self.untouched += 1
        else:
            self.touched.append(f"{before} and {waiting} became {after} and {order}")

    async def _act(self, one: Bought) -> None:
        """The buyer acts at the gateway; the shop hears of it by webhooks alone."""
        if await self._books.authenticate(one.payment, self._chance.choice(("ok", "failed"))):
            await self._gateway.send(one.payment, ("authenticated",))

    async def _regret(self, one: Bought) -> None:
        """The buyer wants the money back; the gateway tells of that, too, while it is under way."""
        async with asyncio.TaskGroup() as group:
            cancelling = group.create_task(self._shop.call("POST", f"/orders/{one.order}/cancel", {}))
            group.create_task(self._gateway.send(one.payment, ("cancelled", "sent-back")))
        answer = cancelling.result()
        if answer.status == 200:  # noqa: PLR2004 - HTTP
            self._memory.order(answer.json)

    async def _until(self, path: str, there: Callable[[Any], bool]) -> Any:
        """Ask for a resource until it is as wanted; gives it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                answer = await self._shop.call("GET", path)
                if answer.status == 200 and there(answer.json):  # noqa: PLR2004 - HTTP
                    return answer.json
                await asyncio.sleep(POLL_SECONDS)


async def run(place: Path, size: Size) -> list[Finding]:
    """Buy with every method under load while webhooks come; then send them all again to a shop at rest."""
    key, chance = secrets.token_hex(32), random.Random(21)  # noqa: S311 - choices of a test
    settings = {
        MASTER_KEY: key,
        "ULTRAMARKET_GATEWAY_SECONDS": str(GATEWAY_SECONDS),
        "ULTRAMARKET_ORDER__ACTION_SECONDS": str(ACTION_SECONDS),
    }
    async with cluster(place) as it, _books(it.dsn) as books:
        replicas = await _replicas(it, settings)
        async with shopping(replicas[0], seed=21) as crowd:
            urls = [replica.url for replica in replicas]
            gateway = Gateway(crowd.client.session, urls, secret_of(key), chance)
            shop = PatientShopper(replicas[0].url, crowd.client.session, crowd.client.seen)
            customers = Customers(shop, crowd, gateway, books, chance)
            async with probing(crowd.client, crowd.buyers.memory), asyncio.TaskGroup() as group:
                for method in METHODS:
                    group.create_task(customers.buy(method, size.hang))
            findings = await afterwards(crowd, it.dsn, FAULT)
            charged = _charged(customers.bought, await _at_rest(it.dsn))
            during = _answers(gateway, "before, while and after it answers")
            still = _still(customers)
            again = await _again(it.dsn, customers.bought, gateway, crowd)
    return [charged, *during, still, *again, *findings]


async def _replicas(it: Cluster, settings: dict[str, str]) -> list[Server]:
    """Processes with a port each, so that every one of them gets webhooks, once each has its partitions."""
    first = await it.start("replica-0", "serve", settings=settings)
    others = [it.start(f"replica-{number}", "serve", settings=settings) for number in range(1, REPLICAS)]
    replicas = [first, *await asyncio.gather(*others)]
    await it.settled(*(replica.pid for replica in replicas))
    return replicas


@asynccontextmanager
async def _books(dsn: str) -> AsyncIterator[SandboxGateway]:
    """The sandbox gateway, reached past the shop."""
    database = await PostgresDatabase.connect(dsn, max_size=2, application_name="fault laboratory")
    try:
        yield SandboxGateway(database)
    finally:
        await database.close()


async def _at_rest(dsn: str) -> Snapshot:
    connection = await asyncpg.connect(dsn)
    try:
        return await at_rest(connection)
    finally:
        await connection.close()


def _charged(bought: list[Bought], shop: Snapshot) -> Finding:
    """Whether each order had one charge of its amount, none, or one that was given back, by the gateway's own books."""
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    orders = shop.states("order")
    for one in bought:
        order, book, effects = orders[one.order], shop.books.get(one.payment), shop.effects.get(one.payment)
        status = order.payment_status()
        outcomes[f"{one.method}: {order.status()}, {status}"] += 1
        charged = order.total.amount if status in ("paid", "refunded") else 0
        given_back = charged if status == "refunded" else 0
        expected = (charged, given_back, int(charged > 0), int(given_back > 0))
        money = (book.captured, book.refunded) if book else (0, 0)
        found = (*money, *(effects[:2] if effects else (0, 0)))
        if status not in ("paid", "refunded", "none") or found != expected:
            wrong.append(f"{one.method} order {one.order} is {status}: {found} instead of {expected}")
    counts = "; ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
    methods = {one.method for one in bought}
    return Finding(
        fault=f"{FAULT} hangs, is late, loses answers, fails: {len(bought)} orders",
        must="each ends, with one charge of its amount or none left, by the gateway's own books",
        measured=f"{few(wrong)}: {counts}",
        held=not wrong and methods == set(METHODS),
    )


def _answers(gateway: Gateway, when: str) -> list[Finding]:
    """Whether all webhooks so far were taken or refused as they should be."""
    genuine, forged = gateway.sent([GENUINE]), gateway.sent(FORGERIES)
    by_sort = ", ".join(f"{sum(gateway.answered[sort].values())} {sort}" for sort in FORGERIES)
    put_off = f"; {dict(gateway.put_off)} before that, and sent again" if gateway.put_off else ""
    return [
        Finding(
            fault=f"{FAULT}: webhooks {when}, each {COPIES} times, in any order, to {REPLICAS} replicas at once",
            must="each is taken, however often it comes",
            measured=f"{genuine.total()} of {genuine.total() // COPIES} events: answered {dict(genuine)}{put_off}",
            held=set(genuine) == {204},
        ),
        Finding(
            fault=f"{FAULT}: forged and stale webhooks {when}",
            must="400 for each",
            measured=f"{forged.total()}: answered {dict(forged)} ({by_sort})",
            held=set(forged) == {400} and all(gateway.answered[sort] for sort in FORGERIES),
        ),
    ]


def _still(customers: Customers) -> Finding:
    """Whether forged webhooks moved nothing where genuine ones do."""
    return Finding(
        fault=f"{FAULT}: forged and stale webhooks alone, for payments that wait for one",
        must="nothing changes: neither the payment nor its order has another version",
        measured=f"{customers.untouched} stood still, {len(customers.touched)} moved: {few(customers.touched)}",
        held=customers.untouched > 0 and not customers.touched,
    )


async def _again(dsn: str, bought: list[Bought], gateway: Gateway, crowd: Crowd) -> list[Finding]:
    """Say everything once more, and a few things for the first time, to a shop where all of it is long done."""
    gateway.answered.clear()
    gateway.put_off.clear()
    before = await _versions(dsn)
    for one in bought:
        await gateway.send(one.payment, (*EVENTS, "late", "later"))
    _, wrong = await verdict(dsn, crowd.buyers.memory.received)
    after = await _versions(dsn)
    moved = [
        f"{entity}: {before.get(entity)} and {after[entity]}" for entity in after if after[entity] != before.get(entity)
    ]
    return [
        *_answers(gateway, "once more when all is long done"),
        Finding(
            fault=f"{FAULT}: all webhooks once more when all is long done, with new, forged and stale ones",
            must="nothing changes: no order or payment has another version",
            measured=f"{len(moved)} of {len(after)} have: {few(moved)}; the shop: {few(wrong)}",
            held=not moved and not wrong,
        ),
    ]


async def _versions(dsn: str) -> dict[str, int]:
    """The version of each order and payment."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("select kind, id, version from entity where kind in ('order', 'payment')")
    finally:
        await connection.close()
    return {f"{row['kind']} {row['id']}": row["version"] for row in rows}
