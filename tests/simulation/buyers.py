"""Buyers and staff of a simulated shop: they insist under a key until they are answered, and remember each 2xx."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Literal, TypeVar

import msgspec

from tests.faults.buyers import NEXT
from tests.simulation.front import Front, Refused
from tests.simulation.oracle import Oracle
from ultramarket.domain.money import Money
from ultramarket.errors import Unavailable
from ultramarket.messages.cart import ShownCart
from ultramarket.messages.order import ShownOrder
from ultramarket.messages.product import ChangeProduct, CreateProduct, Variant

Result = TypeVar("Result")
Work = Callable[[Front], Awaitable[Result]]

METHODS = ("ok", "ok", "ok", "ok", "declined", "requires_action", "requires_action", "insufficient_funds")
TRIES = 2000
SKUS = ("TEE", "MUG")
MERGE_REFUSALS = ("cart_frozen", "version_mismatch")


class GaveUp(Exception):
    """A buyer went away after an error."""


@dataclass
class Memory:
    """What was answered.

    Attributes:
        received: pieces of each SKU that staff were told to have received.
        orders: version, status and payment status of each order, as last seen.
        paid: orders that were shown as paid.
        shared: carts that were merged, with the pieces that went into all of them.
        rivals: products that wanted the same handle.
    """

    received: Counter[str] = field(default_factory=Counter)
    orders: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    paid: set[str] = field(default_factory=set)
    shared: list[tuple[list[str], Counter[str]]] = field(default_factory=list)
    rivals: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Crowd:
    """Everybody who uses a shop.

    Args:
        send: sends a request to some replica that listens.
        act: the buyer acts at the gateway.
        say: told of what happens; None where nobody wants to know.
        impatient: share of the errors after which a buyer goes away.

    Attributes:
        settled: no replica that lost its partitions answers any more: what is shown is never older than before.
    """

    oracle: Oracle
    random: Random
    send: Callable[[Work[object]], Awaitable[object]]
    act: Callable[[str, Literal["ok", "failed"]], bool]
    say: Callable[[str], None] | None = None
    impatient: float = 0.03
    skus: Sequence[str] = SKUS
    memory: Memory = field(default_factory=Memory)
    keys: int = 0
    settled: bool = False

    async def open_shop(self, pieces: int) -> None:
        """Staff: make the products, and count the first stock."""
        for sku in self.skus:
            await self._insist(_create(sku.lower(), self._product(sku, 1000), key := self._key("make")), key)
            await self.count(sku, pieces)

    async def count(self, sku: str, delta: int) -> None:
        """Staff: pieces of a SKU came or went."""
        key = self._key(f"count {sku} {delta}")
        try:
            await self._insist(lambda front: front.adjust(sku, delta, key), key)
        except Refused as refused:
            if refused.code != "negative_stock":
                raise
        else:
            self.memory.received[sku] += delta

    async def staff(self, times: int) -> None:
        """Staff: count the stock and change prices now and then."""
        for _ in range(times):
            await asyncio.sleep(self.random.uniform(0.0, 3.0))
            sku = self.random.choice(self.skus)
            if self.random.random() < 0.6:
                await self.count(sku, self.random.choice((-2, -1, 1, 1, 2)))
            else:
                change = ChangeProduct(variants=self._product(sku, self.random.choice((1000, 1250))).variants)
                await self._insist(_change(sku, change, key := self._key("price")), key)

    async def rivals(self) -> None:
        """Staff: two people make a product under the same handle at once."""
        name = self._key("rival")
        pair = (f"{name}-a", f"{name}-b")
        product = msgspec.structs.replace(self._product(name, 100), handle=name)
        made = [self._insist(_create(id, product, self._key("make")), "make") for id in pair]
        ends = await asyncio.gather(*made, return_exceptions=True)
        if [isinstance(end, Refused) and end.code for end in ends].count("taken") != 1:
            self.oracle.fault(f"two products want the handle {name}: {ends}")
        self.memory.rivals.append(pair)

    async def merger(self) -> None:
        """Somebody merges carts into each other; pieces move, and are never more or less."""
        carts, pieces = [], Counter[str]()
        for _ in range(3):
            carts.append((await self._insist(_create_cart(key := self._key("merging cart")), key, patient=True)).id)
            sku, count = self.random.choice(self.skus), self.random.choice((1, 2))
            await self._insist(_add(carts[-1], sku, count, key := self._key("merging add")), key, patient=True)
            pieces[sku] += count
        self.memory.shared.append((carts, pieces))
        ways = [self.random.sample(carts, 2) for _ in range(self.random.choice((1, 2, 3)))]
        await asyncio.gather(*[self._merge(source, target) for source, target in ways])

    async def _merge(self, source: str, target: str) -> None:
        key = self._key("merge")
        try:
            await self._insist(lambda front: front.merge(source, target, key), key, patient=True)
        except Refused as refused:
            if refused.code not in MERGE_REFUSALS:
                raise

    async def buyer(self, purchases: int) -> None:
        """One buyer: purchase after purchase."""
        for _ in range(purchases):
            await asyncio.sleep(self.random.choice((0.0, 1.0, 2.0)) * self.random.random())
            with suppress(GaveUp):
                await self._purchase()

    async def look_again(self) -> None:
        """Ask for everything that was ever shown: it is there, and not behind what it was."""
        for kind, id in list(self.oracle.acknowledged):
            if kind == "cart":
                self._cart(await self._insist(_show(id), "look", patient=True))
        for id in list(self.memory.orders):
            self._order(await self._insist(_show_order(id), "look", patient=True))

        for carts, pieces in self.memory.shared:
            found: Counter[str] = Counter()
            for id in carts:
                cart = await self._insist(_show(id), "look", patient=True)
                found.update({line.sku: line.quantity for line in cart.lines})
            if found != pieces:
                self.oracle.fault(f"{dict(pieces)} went into the carts {carts}, which have {dict(found)}")

    async def _purchase(self) -> None:
        cart = await self._filled_cart()
        method, key = self.random.choice(METHODS), self._key("place")
        place = self._placing(cart, method, key)
        try:
            order = await place
            if self.random.random() < 0.2:  # the button was pressed twice
                twice = await self._placing(cart, method, self._key("place"))
                if twice.id != order.id:
                    self.oracle.fault(f"cart {cart.id} version {cart.version} became {order.id} and {twice.id}")
        except Refused as refused:
            if refused.code != "cart_changed":
                raise
            self.oracle.fault(f"{key}: {refused}")
            return
        await self._after(order)
        if self.random.random() < 0.3:
            again = await self._placing(cart, method, key)
            if again.id != order.id:
                self.oracle.fault(f"{key} was answered with {order.id} and then {again.id}")

    async def _filled_cart(self) -> ShownCart:
        cart = self._cart(await self._insist(_create_cart(key := self._key("cart")), key))
        wanted: Counter[str] = Counter()
        for sku in self.random.choices(self.skus, k=self.random.choice((1, 1, 2))):
            pieces = self.random.choice((1, 1, 2))
            wanted[sku] += pieces
            cart = self._cart(await self._insist(_add(cart.id, sku, pieces, key := self._key("add")), key))
        id, key = cart.id, self._key("patch")
        cart = self._cart(await self._insist(lambda front: front.patch(id, key), key))
        # A process that has lost the cart's partition and does not know it yet shows it as it was.
        while cart.version < self.oracle.acknowledged["cart", id]:
            await asyncio.sleep(0.1)
            cart = self._cart(await self._insist(_show(id), key))
        if {line.sku: line.quantity for line in cart.lines} != wanted:
            self.oracle.fault(f"{dict(wanted)} went into cart {id}, which has {cart.lines}")
        return cart

    async def _placing(self, cart: ShownCart, method: str, key: str) -> ShownOrder:
        return self._order(await self._insist(lambda front: front.place(cart.id, cart.version, method, key), key))

    async def _after(self, order: ShownOrder) -> None:
        """The buyer acts where the gateway asks for it, and may cancel."""
        payment = order.payment.id
        if order.status == "awaiting_payment" and payment and self.random.random() < 0.8:
            outcome: Literal["ok", "failed"] = "ok" if self.random.random() < 0.7 else "failed"
            self.act(payment, outcome)
            for _ in range(self.random.choice((0, 1, 1, 2))):
                await self._insist(_hint(payment, event := self._key("evt")), event)
        if self.random.random() < 0.25:
            await asyncio.sleep(self.random.choice((0.0, self.random.uniform(0.0, 1.0))))
            key = self._key("cancel")
            try:
                self._order(await self._insist(lambda front: front.cancel(order.id, key), key))
            except Refused as refused:
                if refused.code != "order_not_cancellable":
                    raise

    async def _insist(self, work: Work[Result], key: str, *, patient: bool = False) -> Result:
        """Repeat a request under its key until it is answered.

        Raises:
            Refused: the shop says no.
            GaveUp: the buyer went away.
        """
        said: object = None
        staff = patient or key.startswith(("make", "count", "price", "look"))
        for _ in range(TRIES):
            try:
                result: Result = await self.send(work)  # type: ignore[assignment]  # of this work
            except Refused as refused:
                if refused.code != "in_progress":
                    self._said(key, refused)
                    raise
                said = refused
            except (Unavailable, ConnectionError, TimeoutError) as error:
                said = error
            else:
                self._said(key, "answered")
                return result
            self._said(key, said)
            if not staff and self.random.random() < self.impatient:
                raise GaveUp(key)
            await asyncio.sleep(self.random.uniform(0.05, 1.0))
        raise AssertionError(f"{key}: no answer after {TRIES} tries; the last was {said!r}")

    def _said(self, key: str, what: object) -> None:
        if self.say is not None:
            self.say(f"{key}: {what!r}" if isinstance(what, Exception) else f"{key}: {what}")

    def _key(self, what: str) -> str:
        self.keys += 1
        return f"{what}-{self.keys}"

    def _cart(self, cart: ShownCart) -> ShownCart:
        """A cart was shown."""
        if cart.version < self.oracle.acknowledged.get(("cart", cart.id), 0) and self.settled:
            self.oracle.fault(f"cart {cart.id} was at {self.oracle.acknowledged['cart', cart.id]} and is {cart}")
        self.oracle.acknowledge("cart", cart.id, cart.version)
        return cart

    def _order(self, order: ShownOrder) -> ShownOrder:
        """An order was shown: it must not stand behind where it was."""
        version, status, _ = self.memory.orders.get(order.id, (0, "pending", "none"))
        newer = order.version >= version
        if newer and order.status not in NEXT[status]:
            self.oracle.fault(f"order {order.id} was {status} and is {order.status}")
        if not newer and self.settled:
            self.oracle.fault(f"order {order.id} was at version {version} and is at {order.version}")
        if order.payment_status in ("paid", "refunded"):
            self.memory.paid.add(order.id)
        elif newer and order.id in self.memory.paid:
            self.oracle.fault(f"order {order.id} was paid and is {order.payment_status}")
        if newer:
            self.memory.orders[order.id] = (order.version, order.status, order.payment_status)
        self.oracle.acknowledge("order", order.id, order.version)
        return order

    def _product(self, sku: str, cents: int) -> CreateProduct:
        variant = Variant(sku=sku, prices=(Money(cents, "USD"),))
        return CreateProduct(handle=sku.lower(), title={"en": sku}, status="published", variants=(variant,))


def _create(id: str, product: CreateProduct, key: str) -> Work[None]:
    return lambda front: front.create_product(id, product, key)


def _create_cart(key: str) -> Work[ShownCart]:
    return lambda front: front.create_cart(key)


def _show(cart: str) -> Work[ShownCart]:
    return lambda front: front.cart(cart)


def _show_order(order: str) -> Work[ShownOrder]:
    return lambda front: front.order(order)


def _change(sku: str, change: ChangeProduct, key: str) -> Work[None]:
    return lambda front: front.change_product(sku.lower(), change, key)


def _hint(payment: str, event: str) -> Work[None]:
    return lambda front: front.hint(payment, event)


def _add(cart: str, sku: str, pieces: int, key: str) -> Work[ShownCart]:
    return lambda front: front.add_line(cart, sku, pieces, key)
