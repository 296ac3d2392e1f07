"""What the web layer does with a request, without HTTP: it quotes, asks the actors, waits, and reads back."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import msgspec

from tests.simulation.oracle import Oracle, WatchedStore
from ultramarket.domain.ids import order_id
from ultramarket.errors import Rejection, Unavailable
from ultramarket.messages.cart import AddLine, CreateCart, PatchCart, ShownCart
from ultramarket.messages.cart_transfer import AllowMerge, AskTransfer, GiveLines, TransferBegun, TransferStands
from ultramarket.messages.common import Address, Sealed
from ultramarket.messages.inventory import AdjustStock, StockKept
from ultramarket.messages.order import CancelOrder, OrderPlaced, PlaceOrder, ShownOrder
from ultramarket.messages.payment import GatewayHinted
from ultramarket.messages.product import ChangeProduct, CreateProduct
from ultramarket.ports.asking import Answer, Shown
from ultramarket.ports.vault import ERASED
from ultramarket.runtime.partitioning import partition_of
from ultramarket.runtime.system import Runtime
from web.quotes import Quoter

WAIT_SECONDS = 4.0
"""How long an order is waited for until it has left `pending`."""


class Refused(Exception):
    """The shop says no.

    Attributes:
        code: why.
    """

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(f"{rejection.code}: {rejection.detail}")
        self.code = rejection.code


class SimVault:
    """Seals by writing whose it is; see `ultramarket.ports.vault.Vault`."""

    async def sealer(self, subject: str) -> Callable[[str], Sealed]:
        """A function that seals."""
        return lambda text: Sealed(subject, text)

    async def opener(self, subject: str | None) -> Callable[[Sealed], str]:
        """A function that opens."""
        return lambda sealed: sealed.box if sealed.subject == subject else ERASED

    def token(self, text: str) -> str:
        """The text itself."""
        return text


class World(Protocol):
    """What a front end must know of its world: only to check what it is about to answer."""

    oracle: Oracle
    store: WatchedStore


class Front:
    """The front end of one replica."""

    def __init__(self, world: World, runtime: Runtime, lock_seconds: int) -> None:
        self._world = world
        self._runtime = runtime
        self._vault = SimVault()
        self._quoter = Quoter(runtime, lock_seconds)
        self._in_flight: set[str] = set()

    async def create_cart(self, key: str) -> ShownCart:
        """Make a cart; its id follows from the key."""
        id = hashlib.sha256(key.encode()).hexdigest()[:12]
        try:
            await self._ask("cart", id, CreateCart(currency="USD"), key)
        except Refused as refused:
            if refused.code != "cart_exists":  # made by an earlier try
                raise
        return await self.cart(id)

    async def add_line(self, id: str, sku: str, quantity: int, key: str) -> ShownCart:
        """Add pieces of a SKU."""
        cart = await self.cart(id)
        quote = await self._quoter.quote(sku, cart.currency or "USD")
        await self._ask("cart", id, AddLine(quote=quote, quantity=quantity), key)
        return await self.cart(id)

    async def patch(self, id: str, key: str) -> ShownCart:
        """Say who buys and where it goes."""
        await self.cart(id)
        seal = await self._vault.sealer(f"cart:{id}")
        address = Address(name=seal("Ada"), line1=seal("1 Main St"), city=seal("Reno"), country="US")
        command = PatchCart(email=seal("ada@example.com"), shipping_address=address, shipping_method="standard")
        await self._ask("cart", id, command, key)
        return await self.cart(id)

    async def cart(self, id: str) -> ShownCart:
        """Show a cart."""
        cart: ShownCart = await self._read("cart", id)
        return cart

    async def place(self, cart: str, version: int, method: str, key: str) -> ShownOrder:
        """Make an order, and keep the whole answer: a repeat of the request is given it again.

        Raises:
            Refused: the shop says no, or the request with this key still runs in this process.
        """
        if key in self._in_flight:
            raise Refused(Rejection("in_progress", "The first request with this key still runs."))
        self._in_flight.add(key)
        try:
            return await self._placed_once(cart, version, method, key)
        finally:
            self._in_flight.discard(key)

    async def _placed_once(self, cart: str, version: int, method: str, key: str) -> ShownOrder:
        name, body_hash = f"answer:{key}", hashlib.sha256(f"{cart} {version} {method}".encode()).digest()
        found = await self._runtime.stored("order", key, name, body_hash)
        if found is not None:
            return self._world.oracle.repeated(key, msgspec.convert(found.value, ShownOrder))
        order = await self._placed(cart, version, method, key)
        try:
            await self._runtime.keep("order", key, name, body_hash, order)
            found = await self._runtime.stored("order", key, name, body_hash)
        except Unavailable:  # what was asked for is done; a repeat is told how it stands then
            return order
        # Where an earlier try was faster, its answer is kept; where that one is still under way, none is there yet.
        if found is not None and msgspec.convert(found.value, ShownOrder) == order:
            self._world.oracle.repeated(key, order)
        return order

    async def _placed(self, cart: str, version: int, method: str, key: str) -> ShownOrder:
        """Make an order, or find the one that this cart version made, and wait until it stands."""
        id = order_id(cart, version)
        shown = await self.cart(cart)
        if shown.version < version:
            raise Unavailable("behind", "This process has lost the cart's partition and does not know it yet.")
        if shown.version != version and await self._runtime.read("order", id) is None:
            raise Refused(Rejection("cart_changed", f"The cart is at version {shown.version}."))
        number = str(await self._runtime.number("order_number"))
        command = PlaceOrder(cart=cart, cart_version=version, number=number, gateway="sandbox", method=method)
        async with self._runtime.watch("order", id) as versions:
            answer = await self._ask("order", id, command, key)
            msgspec.convert(answer.value, OrderPlaced, from_attributes=True)
            return await self._settled(id, versions)

    async def order(self, id: str) -> ShownOrder:
        """Show an order."""
        order: ShownOrder = await self._read("order", id)
        return order

    async def merge(self, source: str, target: str, key: str) -> None:
        """Let a cart give its lines to another one, and wait for the end."""
        await self._ask("cart", target, AllowMerge(), key)
        attempt, own = 0, False
        async with self._runtime.watch("cart", source) as versions:
            while not own:
                shown = await self.cart(source)
                quotes = tuple([await self._quoter.quote(line.sku, "USD") for line in shown.lines])
                give = GiveLines(target=target, quotes=quotes)
                answer = await self._ask("cart", source, give, f"{key}:{attempt}" if attempt else key)
                begun = msgspec.convert(answer.value, TransferBegun, from_attributes=True)
                if begun.transfer is None:
                    return
                stands = await self._transferred(source, begun.transfer, versions)
                attempt, own = attempt + 1, begun.own
        if stands.outcome is not None and stands.outcome.refusal is not None:
            raise Refused(stands.outcome.refusal)

    async def cancel(self, id: str, key: str) -> ShownOrder:
        """Cancel an order."""
        await self._ask("order", id, CancelOrder(), key)
        return await self.order(id)

    async def hint(self, payment: str, event: str) -> None:
        """Take a webhook: a hint, kept under the event's id."""
        key = f"webhook:sandbox:{event}"
        await self._ask("payment", payment, GatewayHinted(event=event), key, principal="gateway:sandbox")

    async def create_product(self, id: str, product: CreateProduct, key: str) -> None:
        """Staff make a product."""
        await self._ask("product", id, product, key, principal="staff")

    async def change_product(self, id: str, change: ChangeProduct, key: str) -> None:
        """Staff change a product."""
        await self._ask("product", id, change, key, principal="staff")

    async def adjust(self, sku: str, delta: int, key: str) -> StockKept:
        """Staff add pieces, or take some away."""
        answer = await self._ask("inventory", sku, AdjustStock(delta=delta, reason="counted"), key, principal="staff")
        return msgspec.convert(answer.value, StockKept, from_attributes=True)

    async def _ask(self, kind: str, id: str, command: Any, key: str, principal: str = "guest") -> Answer:
        key = f"{principal} {key}"
        body_hash = hashlib.sha256(f"{kind} {type(command).__name__}".encode()).digest()
        answer = await self._runtime.ask(kind, id, command, principal=principal, key=key, body_hash=body_hash)
        self._world.oracle.answered(self._world.store, kind, id, key, answer)
        if answer.rejection is not None:
            raise Refused(answer.rejection)
        return answer

    async def _transferred(self, source: str, transfer: str, versions: AsyncIterator[int]) -> TransferStands:
        """How a transfer stands once it is not under way any more."""
        while True:
            answer = await self._runtime.ask("cart", source, AskTransfer(transfer=transfer), principal="guest")
            stands = msgspec.convert(answer.value, TransferStands, from_attributes=True)
            if not stands.under_way:
                return stands
            await anext(versions)

    async def _settled(self, id: str, versions: AsyncIterator[int]) -> ShownOrder:
        shown = await self.order(id)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while shown.status == "pending":
                    await anext(versions)
                    shown = await self.order(id)
        except TimeoutError:
            shown = await self.order(id)
        return shown

    async def _read(self, kind: str, id: str) -> Any:
        """Read an entity; from who owns its partition it is never older than what clients were told before."""
        world = self._world
        told, epoch = world.oracle.acknowledged.get((kind, id), 0), self._epoch(kind, id)
        least = world.oracle.least(kind, id)
        shown: Shown | None = await self._runtime.read(kind, id)
        version = 0 if shown is None else shown.version
        if version < told and epoch and epoch == self._epoch(kind, id):
            world.oracle.fault(f"{kind} {id}: clients were told of version {told}, and its owner shows {version}")
        if version < least:
            world.oracle.fault(f"{kind} {id}: version {least} is old news, and somebody still shows {version}")
        if shown is None:
            raise Refused(Rejection("not_found", f"There is no {kind} {id}.", 404))
        return shown.value

    def _epoch(self, kind: str, id: str) -> int:
        """The epoch under which this process owns the entity's partition; 0 where it does not."""
        partition = self._world.store.partitions.get((kind, partition_of(kind, id)))
        ours = partition is not None and partition.owner == self._runtime.name
        return partition.epoch if partition is not None and ours else 0
