"""Public events: what they tell, and that no personal value and no other cart's id is ever in them."""

from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
import pytest

from actors import cart as cart_actor
from actors import order_state
from actors.cart import Cart
from actors.order import Order
from ultramarket.domain.money import Money
from ultramarket.domain.shop import DEFAULT
from ultramarket.errors import Rejection
from ultramarket.messages import cart, cart_told, cart_transfer, order, order_told
from ultramarket.messages.cart import CartLine, MergeChange, Quote, ShownTotals
from ultramarket.messages.common import Address, Sealed, ShownMoney

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECRET = "for-nobodys-eyes"
"""Stands wherever a value must not be told."""
BOX = Sealed(f"cart:{SECRET}", SECRET)
ADDRESS = Address(name=BOX, line1=BOX, city=BOX, country="US", region=SECRET, postal_prefix=SECRET)
QUOTE = Quote(
    sku="TOTE", product="p1", product_version=1, title={"en": "Tote"}, price=Money(1290, "USD"), locked_until=NOON
)
LINE = CartLine(id="l1", quote=QUOTE, quantity=2)
ZERO = ShownMoney("0.00", "USD")
TOTALS = ShownTotals(subtotal=ZERO, discount=ZERO, shipping=ZERO, tax=ZERO, tax_included=ZERO, total=ZERO)
CHANGE = MergeChange(sku="TOTE", before=0, after=2, reason="merged")
REFUSAL = Rejection("cart_frozen", SECRET)
TOLD_LINE = cart_told.ToldLine(
    id="l1",
    sku="TOTE",
    product="p1",
    title={"en": "Tote"},
    variant_title={},
    quantity=2,
    unit_price=ShownMoney("12.90", "USD"),
)
LINES_GIVEN = cart_transfer.LinesGiven(at=NOON, transfer=SECRET, target=SECRET, lines=(LINE,), ask_at=NOON)
CONTENT = order.CartFrozen(
    cart="c1", currency="USD", channel="default", lines=(LINE,), email=BOX, billing_address=ADDRESS
)
REASON = order.Reason("out_of_stock", "Not enough in stock.")
JUDGED = (order.JudgedLine(sku="TOTE", verdict="ok"),)

CART: list[tuple[Any, Any]] = [
    (cart.CartCreated(at=NOON, currency="USD", channel="default", subject=SECRET),
     cart_told.CartCreated(currency="USD", channel="default")),
    (cart.LineAdded(at=NOON, line=LINE), cart_told.LineAdded(line=TOLD_LINE)),
    (cart.LineChanged(at=NOON, line=LINE), cart_told.LineChanged(line=TOLD_LINE)),
    (cart.LineRemoved(at=NOON, line="l1"), cart_told.LineRemoved(line="l1")),
    (cart.CartPatched(at=NOON, email=BOX, shipping_address=ADDRESS, billing_address=None),
     cart_told.CartPatched(fields=("email", "shipping_address", "billing_address"))),
    (cart.CartMergedFrom(at=NOON, source=SECRET), None),
    (cart.CartFroze(at=NOON, order="o1", deadline=NOON), cart_told.CartFroze(order="o1")),
    (cart.FreezeExtended(at=NOON, order="o1", deadline=NOON), None),
    (cart.CartOpened(at=NOON, order="o1"), cart_told.CartOpened(order="o1")),
    (cart.CartCleared(at=NOON, reason="merged", by=SECRET), cart_told.CartCleared(reason="merged")),
    (LINES_GIVEN, cart_told.LinesGiven()),
    (cart_transfer.TransferAsked(at=NOON, transfer=SECRET, target=SECRET, ask_at=NOON), None),
    (cart_transfer.TransferDone(at=NOON, transfer=SECRET), None),
    (cart_transfer.LinesGivenBack(at=NOON, transfer=SECRET, refusal=REFUSAL), cart_told.LinesGivenBack()),
    (cart_transfer.LinesTaken(at=NOON, transfer=SECRET, source=SECRET, changes=(CHANGE,)),
     cart_told.LinesTaken(changes=(CHANGE,))),
    (cart_transfer.TransferRefused(at=NOON, transfer=SECRET, source=SECRET, refusal=REFUSAL), None),
]  # fmt: skip

ORDER: list[tuple[Any, Any]] = [
    (order.OrderStarted(at=NOON, cart="c1", cart_version=3, number="7", gateway="g", method=SECRET, deadline=NOON),
     order_told.OrderStarted(number="7")),
    (order.OrderFilled(at=NOON, cart=CONTENT, totals=TOTALS, lines=(), total=Money(0, "USD"), deadline=NOON),
     order_told.OrderFilled(lines=(), totals=TOTALS)),
    (order.QuotesAccepted(at=NOON, product="p1", lines=JUDGED), None),
    (order.QuotesRefused(at=NOON, product="p1", product_version=1, lines=JUDGED), None),
    (order.ReservationStarted(at=NOON, expires_at=NOON, deadline=NOON), None),
    (order.StockWasReserved(at=NOON, sku="TOTE"), None),
    (order.PaymentStarted(at=NOON, payment="y1", amount=Money(1290, "USD"), deadline=NOON),
     order_told.PaymentStarted(payment="y1", amount=ShownMoney("12.90", "USD"))),
    (order.ActionNeeded(at=NOON, action="/act", deadline=NOON), order_told.ActionNeeded(action="/act", deadline=NOON)),
    (order.OrderAuthorised(at=NOON, deadline=NOON), order_told.OrderAuthorised()),
    (order.HoldWasConfirmed(at=NOON, sku="TOTE"), None),
    (order.CaptureStarted(at=NOON, deadline=NOON), None),
    (order.OrderPaid(at=NOON), order_told.OrderPaid()),
    (order.OrderRejected(at=NOON, reason=REASON, not_held="TOTE"), order_told.OrderRejected(reason=REASON)),
    (order.OrderCancelled(at=NOON, reason=REASON, by=SECRET), order_told.OrderCancelled(reason=REASON)),
    (order.PaymentGivenBack(at=NOON), order_told.PaymentGivenBack()),
    (order.OrderRefunded(at=NOON, refunded=Money(1290, "USD"), full=True),
     order_told.OrderRefunded(refunded=ShownMoney("12.90", "USD"), full=True)),
    (order.StepReminded(at=NOON, deadline=NOON), None),
]  # fmt: skip


@pytest.mark.parametrize(("event", "told"), CART, ids=lambda value: type(value).__name__)
def test_a_carts_event_tells_what_its_readers_may_know(event: Any, told: Any) -> None:
    assert Cart(DEFAULT).tell(event) == told
    assert SECRET.encode() not in msgspec.json.encode(told)


@pytest.mark.parametrize(("event", "told"), ORDER, ids=lambda value: type(value).__name__)
def test_an_orders_event_tells_what_its_readers_may_know(event: Any, told: Any) -> None:
    assert Order(DEFAULT).tell(event) == told
    assert SECRET.encode() not in msgspec.json.encode(told)


@pytest.mark.parametrize(("cases", "events"), [(CART, cart_actor.Event), (ORDER, order_state.Event)])
def test_every_event_has_been_thought_of(cases: list[tuple[Any, Any]], events: Any) -> None:
    assert {type(event) for event, _ in cases} == set(get_args(events))


@pytest.mark.parametrize("told", [told for _, told in (*CART, *ORDER) if told is not None])
def test_a_public_event_is_named_like_the_event_and_is_another_struct(told: Any) -> None:
    stored = {type(event).__name__: type(event) for event, of in (*CART, *ORDER) if of == told}
    assert type(told).__name__ in stored
    assert type(told) not in stored.values()
