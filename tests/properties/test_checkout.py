"""Checkouts that compete for the same stock, under any sequence of commands, lost calls, delays and cancellations."""

from collections import Counter, deque
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from actors.cart import Cart
from actors.inventory import Inventory
from actors.order import Order
from actors.payment import Payment
from actors.product import Product
from tests.actors.harness import NOON, Entity, Outcome
from tests.actors.test_checkout import ADDRESS, sealed
from tests.properties.test_payment import goes_forward
from ultramarket.adapters.sandbox import Account, judge, look_up
from ultramarket.domain.money import Money
from ultramarket.domain.shop import DEFAULT, Timing
from ultramarket.messages.cart import AddLine, CreateCart, PatchCart, Quote
from ultramarket.messages.common import Wake
from ultramarket.messages.inventory import AdjustStock, HoldCommitted, Restocked
from ultramarket.messages.order import CancelOrder, PlaceOrder
from ultramarket.messages.payment import CallGateway, GatewayAnswered, GatewayCall, GatewayHinted, GatewayResult
from ultramarket.messages.product import ArchiveProduct, ChangeProduct, CreateProduct, Variant
from ultramarket.runtime.actor import Actor

Route = tuple[str, str, str, str]
"""Kind and id of the source and of the target."""

# Holds end before the buyer has to have acted, so that they are lost, or taken again, now and then.
RULES = replace(DEFAULT, timing=Timing(hold_seconds=15, step_seconds=30, action_seconds=120, freeze_seconds=40))
ACTORS: dict[str, Actor[Any, Any, Any]] = {
    "cart": Cart(RULES),
    "order": Order(RULES),
    "payment": Payment(),
    "inventory": Inventory(),
    "product": Product(),
}
VARIANTS = {
    "TEE": Variant(sku="TEE", prices=(Money(1290, "USD"),)),
    "MUG": Variant(sku="MUG", prices=(Money(800, "USD"),)),
    "PRE": Variant(sku="PRE", prices=(Money(100, "USD"),), when_out="continue"),
    "GIFT": Variant(sku="GIFT", prices=(Money(0, "USD"),), track_stock=False),
}
TRACKED = ("TEE", "MUG", "PRE")
SKUS = st.sampled_from(sorted(VARIANTS))
CARTS = st.sampled_from(("c1", "c2", "c3"))
METHODS = st.sampled_from(("ok", "ok", "ok", "ok", "declined", "requires_action"))
PICKS = st.lists(st.integers(0, 11), min_size=1, max_size=40)


class Checkouts(RuleBasedStateMachine):
    """All actors over queues, one a pair of entities; a gateway with a memory; what was given away, on paper."""

    @initialize(stock=st.tuples(*[st.integers(0, 5)] * 3), waits=st.integers(-1, 1))
    def open_shop(self, stock: tuple[int, ...], waits: int) -> None:
        self.now = NOON
        self.entities: dict[tuple[str, str], Entity] = {}
        self.queues: dict[Route, deque[Any]] = {}
        self.accounts: dict[str, Account] = {}
        self.done: dict[str, tuple[GatewayCall, GatewayResult]] = {}
        self.captures: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.given: dict[tuple[str, str], int] = {}
        self.back: dict[tuple[str, str], int] = {}
        self.lock = timedelta(seconds=900 * waits - 1)
        for sku, variant in VARIANTS.items():
            product = CreateProduct(handle=sku.lower(), title={"en": sku}, status="published", variants=(variant,))
            self._tell("product", sku, product, principal="staff")
        for sku, pieces in zip(TRACKED, stock, strict=True):
            self.count(sku, pieces)

    # What people do

    @rule(sku=st.sampled_from(TRACKED), delta=st.integers(-3, 5))
    def count(self, sku: str, delta: int) -> None:
        if self._tell("inventory", sku, AdjustStock(delta=delta, reason="count"), principal="staff").rejection is None:
            self.received[sku] += delta

    @rule(id=CARTS, sku=SKUS, quantity=st.integers(1, 3), other=SKUS, method=METHODS, late=st.integers(0, 9))
    def buy(self, id: str, sku: str, quantity: int, other: str, method: str, late: int) -> None:
        """Fill a cart and order it; `late` 9: change it once more after its version was seen."""
        if self._entity("cart", id).state is None:
            self._tell("cart", id, CreateCart(currency="USD"))
        self._add(id, sku, quantity)
        self._add(id, other, 1)
        patch = PatchCart(email=sealed("ada@example.com"), shipping_address=ADDRESS, shipping_method="standard")
        self._tell("cart", id, patch)
        version = self._entity("cart", id).version
        if late == 9:
            self._add(id, sku, 1)
        place = PlaceOrder(cart=id, cart_version=version, number="1", gateway="sandbox", method=method)
        self._tell("order", f"{id}:{version}", place)

    def _add(self, id: str, sku: str, quantity: int) -> None:
        price = VARIANTS[sku].prices[0]
        until = self.now + self.lock
        quote = Quote(sku=sku, product=sku, product_version=1, title={"en": sku}, price=price, locked_until=until)
        self._tell("cart", id, AddLine(quote=quote, quantity=quantity))

    @precondition(lambda self: self._ids("order"))
    @rule(pick=st.integers(0, 9))
    def cancel(self, pick: int) -> None:
        orders = self._ids("order")
        self._tell("order", orders[pick % len(orders)], CancelOrder())

    @rule(sku=SKUS, dearer=st.integers(0, 500), archive=st.integers(0, 9))
    def change_the_product(self, sku: str, dearer: int, archive: int) -> None:
        price = VARIANTS[sku].prices[0]
        changes = ChangeProduct(variants=(replace(VARIANTS[sku], prices=(price + Money(dearer, "USD"),)),))
        self._tell("product", sku, ArchiveProduct() if archive == 9 else changes, principal="staff")

    @precondition(lambda self: self.accounts)
    @rule(outcome=st.sampled_from(["authorised", "authorised", "refused", "voided", "captured", "hint"]))
    def somebody_acts_at_the_gateway(self, outcome: str) -> None:
        """The buyer authenticates or fails, or staff use the gateway's own pages; or it calls back."""
        for id, account in self.accounts.items():
            if outcome == "hint":
                self._tell("payment", id, GatewayHinted(event="evt"))
            elif account.state == "requires_action" and outcome in ("authorised", "refused"):
                held = account.amount if outcome == "authorised" else 0
                code = "" if held else "authentication_failed"
                self.accounts[id] = replace(account, state=outcome, authorised=held, code=code)
            elif account.state == "authorised" and not account.captured and outcome in ("voided", "captured"):
                changes = {"state": "voided"} if outcome == "voided" else {"captured": account.amount}
                self.accounts[id] = replace(account, **changes)

    # What the machinery does

    @precondition(lambda self: self.queues)
    @rule(picks=PICKS, fate=st.sampled_from(["ok", "ok", "ok", "lost before", "lost after", "twice"]))
    def deliver(self, picks: list[int], fate: str) -> None:
        for pick in picks:
            if self.queues:
                routes = sorted(self.queues)
                self._deliver(routes[pick % len(routes)], fate)

    @precondition(lambda self: self.queues)
    @rule(most=st.integers(1, 120))
    def deliver_in_order(self, most: int) -> None:
        """What came first goes first, as on a quiet day."""
        for _ in range(most):
            if self.queues:
                self._deliver(next(iter(self.queues)))

    @rule(
        seconds=st.sampled_from([0.3, 0.3, 0.3, 5, 5, 16, 16, 35, 100, 1000, 40_000]),
        picks=st.lists(st.integers(0, 9), max_size=6),
    )
    def time_passes(self, seconds: float, picks: list[int]) -> None:
        self.now += timedelta(seconds=seconds)
        for pick in picks:
            if due := self._due():
                self._tell(*due[pick % len(due)], Wake(), principal="system")

    def _deliver(self, route: Route, fate: str = "ok") -> None:
        kind, id, target, target_id = route
        command = self.queues[route].popleft()
        if not self.queues[route]:
            del self.queues[route]
        if target == "gateway":
            self._work(target_id, command, fate)
        else:
            self._tell(target, target_id, command, principal=f"{kind}:{id}")

    def _tell(self, kind: str, id: str, command: Any, principal: str = "guest") -> Outcome:
        entity = self._entity(kind, id)
        before = entity.state
        outcome = entity.when(command, now=self.now, principal=principal)
        for send in (*outcome.answers, *outcome.sends):
            self.queues.setdefault((kind, id, send.kind, send.id), deque()).append(send.command)
        if kind == "payment":
            goes_forward(before, outcome.events)
        if kind == "inventory":
            self._write_down(id, outcome.events)
        return outcome

    def _write_down(self, sku: str, events: Iterable[Any]) -> None:
        for event in events:
            if isinstance(event, HoldCommitted):
                assert (sku, event.order) not in self.given, "given away twice"
                assert self._entity("order", event.order).state.paid, "given away unpaid"
                assert event.quantity == self._entity("order", event.order).state.stock()[sku]
                self.given[sku, event.order] = event.quantity
            if isinstance(event, Restocked):
                order = event.restock.removesuffix(":cancel")
                assert event.quantity == self.given[sku, order], "more came back than went"
                assert (sku, order) not in self.back, "it came back twice"
                self.back[sku, order] = event.quantity

    def _work(self, id: str, command: CallGateway, fate: str) -> None:
        call, result = command.call, GatewayResult(outcome="unknown", code="lost")
        if fate != "lost before":
            heard = [self._gateway(call) for _ in range(2 if fate == "twice" else 1)][-1]
            result = result if fate == "lost after" else heard
        answer = GatewayAnswered(operation=call.operation, key=call.key, result=result)
        self.queues.setdefault(("gateway", id, "payment", id), deque()).append(answer)

    def _gateway(self, call: GatewayCall) -> GatewayResult:
        if call.operation == "lookup":
            return look_up(self.accounts.get(call.payment))
        if call.key not in self.done:
            account, result = judge(self.accounts.get(call.payment), call)
            if call.operation == "capture" and result.outcome == "ok":
                self.captures[call.payment] += 1
                self._has_its_stock(self.entities["payment", call.payment].state.order)
            if account is not None:
                self.accounts[call.payment] = account
            self.done[call.key] = call, result
        first, result = self.done[call.key]
        same = first.operation, first.payment, first.amount
        assert same == (call.operation, call.payment, call.amount), "a key was used for another call"
        return result

    def _has_its_stock(self, id: str) -> None:
        """At the moment of the capture all pieces are kept for the order, unless it gave up meanwhile."""
        order = self._entity("order", id).state
        if order.step == "capturing":
            for sku, pieces in order.stock().items():
                hold = self._entity("inventory", sku).part(f"hold:{id}")
                assert (hold.status, hold.quantity) == ("confirmed", pieces), "captured without stock"
        else:
            assert order.step == "cancelled"

    def _entity(self, kind: str, id: str) -> Entity:
        if (kind, id) not in self.entities:
            self.entities[kind, id] = Entity(ACTORS[kind], id=id)
        return self.entities[kind, id]

    def _ids(self, kind: str) -> list[str]:
        return sorted(id for each, id in getattr(self, "entities", {}) if each == kind)

    def _due(self) -> list[tuple[str, str]]:
        living = [(key, entity) for key, entity in sorted(self.entities.items()) if entity.state is not None]
        return [key for key, entity in living if entity.wake_at is not None and entity.wake_at <= self.now]

    # What holds at every moment

    @invariant()
    def stock_is_counted_right_and_promised_once(self) -> None:
        for sku in self._ids("inventory"):
            entity = self.entities["inventory", sku]
            if entity.state is None:
                continue
            shown = entity.shown()
            gone = sum(pieces for (each, _), pieces in self.given.items() if each == sku)
            back = sum(pieces for (each, _), pieces in self.back.items() if each == sku)
            holds = [part.value for name, part in entity.parts.items() if name.startswith("hold:")]
            assert shown.on_hand == self.received[sku] - gone + back
            assert shown.held == sum(hold.quantity for hold in holds if hold.status in ("open", "confirmed"))
            assert sku == "PRE" or 0 <= shown.held <= shown.on_hand, "oversold"

    @invariant()
    def no_more_money_moves_than_there_is(self) -> None:
        for id in self._ids("payment"):
            payment, account = self.entities["payment", id].state, self.accounts.get(id)
            if payment is None:
                continue
            assert 0 <= payment.refunded <= payment.captured <= payment.authorised <= payment.amount.amount
            assert self.captures[id] <= 1
            if account is not None:
                assert 0 <= account.refunded <= account.captured <= account.authorised <= payment.amount.amount
                assert not (account.captured and account.state == "voided")
                assert payment.captured <= account.captured
                assert payment.refunded <= account.refunded

    # And at the end, when the gateway works again and nothing is left to be done

    def teardown(self) -> None:
        if hasattr(self, "entities"):
            self._settle()
            for id in self._ids("order"):
                self._is_settled(id)
            for sku in self._ids("inventory"):
                assert self._entity("inventory", sku).state is None or self._entity("inventory", sku).shown().held == 0
            for id in self._ids("cart"):
                assert self._entity("cart", id).shown().status == "open"

    def _settle(self) -> None:
        for _ in range(5000):
            if self.queues:
                self._deliver(min(self.queues))
            elif due := self._due():
                self._tell(*due[0], Wake(), principal="system")
            else:
                times = [each.wake_at for each in self.entities.values() if each.state is not None and each.wake_at]
                if not times:
                    return
                self.now = max(self.now, min(times))
        raise AssertionError("the checkouts never come to rest")

    def _is_settled(self, id: str) -> None:
        order = self._entity("order", id).state
        shown, account = self._entity("order", id).shown(), self.accounts.get(order.payment)
        captured, refunded = (account.captured, account.refunded) if account else (0, 0)
        sold = {sku: pieces for (sku, of), pieces in self.given.items() if of == id and (sku, of) not in self.back}
        if shown.status == "open":
            assert order.paid
            assert sold == order.stock()
            assert (captured, refunded) == (order.total.amount, 0)
            assert shown.payment_status == "paid"
        else:
            assert shown.status in ("rejected", "cancelled")
            assert sold == {}
            assert captured == refunded
            assert account is None or captured or account.state in ("voided", "refused")
            assert shown.payment_status == ("refunded" if captured or order.paid else "none")


TestCheckouts = Checkouts.TestCase
