"""Order: every step of the saga, what comes too late, what takes too long, and what is undone."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from actors.order import Order
from tests.actors.harness import NOON, Entity
from ultramarket.domain.money import Money
from ultramarket.domain.shop import DEFAULT, ShippingMethod, ShopRules
from ultramarket.errors import UltraMarketError
from ultramarket.messages.cart import CartLine, ClearCart, FreezeCart, KeepFrozen, OpenCart, Quote, Requote
from ultramarket.messages.common import Address, Sealed, ShownMoney, Wake
from ultramarket.messages.inventory import CommitHold, ConfirmHold, ReleaseHold, ReserveStock, Restock
from ultramarket.messages.order import (
    ActionNeeded,
    CancelOrder,
    CaptureStarted,
    CartAsks,
    CartFrozen,
    CartRefused,
    HoldConfirmed,
    HoldLost,
    HoldWasConfirmed,
    JudgedLine,
    OrderAuthorised,
    OrderCancelled,
    OrderFilled,
    OrderKept,
    OrderPaid,
    OrderPlaced,
    OrderRefunded,
    OrderRejected,
    OrderStarted,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentGivenBack,
    PaymentNeedsAction,
    PaymentRefunded,
    PaymentRefused,
    PaymentStarted,
    PaymentVoided,
    PlaceOrder,
    QuotesAccepted,
    QuotesJudged,
    QuotesRefused,
    Reason,
    ReservationStarted,
    StepReminded,
    StockRefused,
    StockReserved,
    StockWasReserved,
)
from ultramarket.messages.payment import CapturePayment, CreatePayment, GiveBack
from ultramarket.messages.product import ConfirmQuotes, QuotedLine
from ultramarket.runtime.actor import Send

PLACE = PlaceOrder(cart="c", cart_version=4, number="100123", gateway="sandbox", method="ok")
LOCK = NOON + timedelta(seconds=900)
PAYMENT = "bcc1920aac317235168fcfee9cd0ce4dacbda400"


def sealed(text: str) -> Sealed:
    return Sealed("cart:c", text)


def line(sku: str, product: str, amount: int, quantity: int) -> CartLine:
    quote = Quote(
        sku=sku,
        product=product,
        product_version=1,
        title={"en": sku},
        price=Money(amount, "USD"),
        locked_until=LOCK,
    )
    return CartLine(id=f"line-{sku}", quote=quote, quantity=quantity)


TEE_S, TEE_L, MUG = line("TEE-S", "tee", 1000, 2), line("TEE-L", "tee", 1200, 1), line("MUG", "mug", 500, 1)
ADDRESS = Address(name=sealed("Ada"), line1=sealed("1 Main St"), city=sealed("Reno"), country="US")
FROZEN = CartFrozen(
    cart="c",
    currency="USD",
    channel="default",
    lines=(TEE_S, TEE_L, MUG),
    email=sealed("ada@example.com"),
    shipping_address=ADDRESS,
    shipping_method="standard",
)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def judged(*skus: str, **changes: Any) -> tuple[JudgedLine, ...]:
    return tuple(JudgedLine(sku=sku, verdict="ok", price=Money(1000, "USD"), **changes) for sku in skus)


TEE_OK = QuotesJudged(product="tee", product_version=3, lines=judged("TEE-S", "TEE-L"))
MUG_OK = QuotesJudged(product="mug", product_version=2, lines=judged("MUG"))
RESERVED = tuple(StockReserved(sku=sku) for sku in ("TEE-S", "TEE-L", "MUG"))
CONFIRMED = tuple(HoldConfirmed(sku=sku) for sku in ("TEE-S", "TEE-L", "MUG"))
AUTHORISED = PaymentAuthorised(payment=PAYMENT)
NEEDS_ACTION = PaymentNeedsAction(payment=PAYMENT, action="/act")
CAPTURED = PaymentCaptured(payment=PAYMENT)
PATH = (PLACE, FROZEN, TEE_OK, MUG_OK, *RESERVED, AUTHORISED, *CONFIRMED, CAPTURED)
"""The messages of a checkout where all goes well; a prefix of it leads to a step."""
STEPS = {
    "freezing": PATH[:1],
    "quoting": PATH[:2],
    "reserving": PATH[:4],
    "authorising": PATH[:7],
    "awaiting_action": (*PATH[:7], NEEDS_ACTION),
    "confirming": PATH[:8],
    "capturing": PATH[:11],
    "paid": PATH,
}
RELEASES = tuple(Send("inventory", sku, ReleaseHold(order="one")) for sku in ("TEE-S", "TEE-L", "MUG"))
OPEN = Send("cart", "c", OpenCart(order="one"))
GIVE_BACK = Send("payment", PAYMENT, GiveBack(order="one", amount=Money(3700, "USD"), refund="one:refund"))


def at(step: str) -> Entity:
    """An order that got to this step."""
    it = Entity(Order(DEFAULT))
    for message in STEPS[step]:
        it.when(message)
    assert it.state.step == step
    return it


def cancelled(step: str = "capturing") -> Entity:
    it = at(step)
    it.when(CancelOrder())
    return it


def test_placing_an_order_freezes_its_cart() -> None:
    it = Entity(Order(DEFAULT))
    outcome = it.when(PLACE)
    assert outcome.events == (
        OrderStarted(
            at=NOON,
            cart="c",
            cart_version=4,
            number="100123",
            gateway="sandbox",
            method="ok",
            deadline=after(30),
        ),
    )
    assert outcome.reply == OrderPlaced(id="one", version=1, created=True)
    assert outcome.sends == (Send("cart", "c", FreezeCart(order="one", version=4, deadline=after(60))),)
    assert it.wake_at == after(30)


def test_placing_it_again_says_that_it_exists_whatever_the_body() -> None:
    it = at("quoting")
    outcome = it.when(replace(PLACE, method="declined"))
    assert outcome.reply == OrderPlaced(id="one", version=2, created=False)
    assert outcome.events == ()


def test_the_frozen_cart_is_priced_and_each_product_is_asked_once() -> None:
    it = at("freezing")
    outcome = it.when(FROZEN, now=after(1))
    (filled,) = outcome.events
    assert isinstance(filled, OrderFilled)
    assert filled.total == Money(3700, "USD")
    assert filled.totals.total == ShownMoney("37.00", "USD")
    assert [shown.total.amount for shown in filled.lines] == ["20.00", "12.00", "5.00"]
    tee = tuple(QuotedLine(sku=x.quote.sku, price=x.quote.price, locked_until=LOCK) for x in (TEE_S, TEE_L))
    mug = (QuotedLine(sku="MUG", price=Money(500, "USD"), locked_until=LOCK),)
    assert outcome.sends == (
        Send("product", "tee", ConfirmQuotes(order="one", at=NOON, lines=tee)),
        Send("product", "mug", ConfirmQuotes(order="one", at=NOON, lines=mug)),
    )
    assert it.wake_at == after(31)


def test_a_cart_that_refuses_rejects_the_order_with_its_reason() -> None:
    reason = Reason("cart_changed", "Look again.")
    outcome = at("freezing").when(CartRefused(cart="c", reason=reason))
    assert outcome.events == (OrderRejected(at=NOON, reason=reason),)
    assert outcome.sends == (OPEN,)


def test_a_cart_that_cannot_be_shipped_rejects_the_order() -> None:
    rules = ShopRules(
        channels=DEFAULT.channels, shipping=(ShippingMethod(code="standard", title={}, countries=("DE",)),)
    )
    it = Entity(Order(rules))
    it.when(PLACE)
    assert it.when(FROZEN).events[0].reason.code == "shipping_not_available"


def test_the_stock_is_reserved_when_the_last_product_has_confirmed() -> None:
    it = at("quoting")
    assert it.when(TEE_OK).events == (QuotesAccepted(at=NOON, product="tee", lines=TEE_OK.lines),)
    mug = replace(MUG_OK, lines=judged("MUG", when_out="continue"))
    outcome = it.when(mug, now=after(2))
    assert outcome.events == (
        QuotesAccepted(at=after(2), product="mug", lines=mug.lines),
        ReservationStarted(at=after(2), expires_at=after(902), deadline=after(32)),
    )
    assert outcome.sends == (
        Send("inventory", "TEE-S", ReserveStock(order="one", quantity=2, expires_at=after(902))),
        Send("inventory", "TEE-L", ReserveStock(order="one", quantity=1, expires_at=after(902))),
        Send("inventory", "MUG", ReserveStock(order="one", quantity=1, expires_at=after(902), when_out="continue")),
    )


def test_two_lines_of_one_sku_are_reserved_together() -> None:
    it = at("freezing")
    it.when(replace(FROZEN, lines=(TEE_S, replace(TEE_S, id="other", quantity=3))))
    outcome = it.when(replace(TEE_OK, lines=judged("TEE-S")))
    assert [send.command.quantity for send in outcome.sends] == [5]


def test_a_second_word_of_a_product_changes_nothing() -> None:
    it = at("quoting")
    it.when(TEE_OK)
    assert it.when(TEE_OK).events == ()
    assert it.when(replace(TEE_OK, product="other")).events == ()


def test_a_price_that_moved_rejects_the_order_and_the_cart_learns_every_new_price() -> None:
    it = at("quoting")
    small = JudgedLine(sku="TEE-S", verdict="price_changed", price=Money(1100, "USD"))
    tee = replace(TEE_OK, lines=(small, *judged("TEE-L")))
    first = it.when(tee)
    assert first.events == (QuotesRefused(at=NOON, product="tee", product_version=3, lines=tee.lines),)
    mug = replace(MUG_OK, lines=(JudgedLine(sku="MUG", verdict="price_changed", price=Money(600, "USD")),))
    outcome = it.when(mug)
    reason = Reason("price_changed", "The price changed: TEE-S, MUG. The cart shows the new one.")
    assert outcome.events[1] == OrderRejected(at=NOON, reason=reason)
    quotes = (
        replace(TEE_S.quote, price=Money(1100, "USD"), product_version=3, locked_until=LOCK),
        replace(MUG.quote, price=Money(600, "USD"), product_version=2, locked_until=LOCK),
    )
    assert outcome.sends == (OPEN, Send("cart", "c", Requote(quotes=quotes)))


def test_a_changed_price_without_a_present_one_tells_the_cart_nothing() -> None:
    it = at("freezing")
    it.when(replace(FROZEN, lines=(MUG,)))
    outcome = it.when(replace(MUG_OK, lines=(JudgedLine(sku="MUG", verdict="price_changed"),)))
    assert outcome.sends == (OPEN,)


def test_what_a_product_does_not_sell_any_more_rejects_the_order() -> None:
    it = at("quoting")
    it.when(TEE_OK)
    outcome = it.when(replace(MUG_OK, lines=()))
    gone = JudgedLine(sku="MUG", verdict="not_available")
    assert outcome.events == (
        QuotesRefused(at=NOON, product="mug", product_version=2, lines=(gone,)),
        OrderRejected(at=NOON, reason=Reason("not_available", "Not sold any more: MUG. Take it out of the cart.")),
    )
    assert outcome.sends == (OPEN,)


def test_stock_that_is_not_tracked_is_not_reserved() -> None:
    it = at("quoting")
    it.when(replace(TEE_OK, lines=judged("TEE-S", "TEE-L", track_stock=False)))
    outcome = it.when(replace(MUG_OK, lines=judged("MUG", track_stock=False)))
    assert outcome.events[1] == PaymentStarted(at=NOON, payment=PAYMENT, amount=Money(3700, "USD"), deadline=after(30))
    outcome = it.when(AUTHORISED)
    assert [type(event) for event in outcome.events] == [OrderAuthorised, CaptureStarted]


def test_the_payment_starts_when_the_last_stock_is_held() -> None:
    it = at("reserving")
    assert it.when(RESERVED[0]).events == (StockWasReserved(at=NOON, sku="TEE-S"),)
    it.when(RESERVED[1])
    outcome = it.when(RESERVED[2], now=after(3))
    assert outcome.events == (
        StockWasReserved(at=after(3), sku="MUG"),
        PaymentStarted(at=after(3), payment=PAYMENT, amount=Money(3700, "USD"), deadline=after(33)),
    )
    create = CreatePayment(order="one", amount=Money(3700, "USD"), gateway="sandbox", method="ok")
    assert outcome.sends == (Send("payment", PAYMENT, create),)


@pytest.mark.parametrize("sku", ["TEE-S", "OTHER"])
def test_stock_held_twice_or_never_asked_for_changes_nothing(sku: str) -> None:
    it = at("reserving")
    it.when(RESERVED[0])
    assert it.when(StockReserved(sku=sku)).events == ()


def test_the_loser_of_the_last_piece_is_refused_before_paying() -> None:
    it = at("reserving")
    it.when(RESERVED[0])
    outcome = it.when(StockRefused(sku="MUG", available=0))
    reason = Reason("out_of_stock", "Not enough in stock of MUG: 0 available.")
    assert outcome.events == (OrderRejected(at=NOON, reason=reason, not_held="MUG"),)
    # Those that have not answered yet are released too: the release stands behind the reservation.
    assert outcome.sends == (*RELEASES[:2], OPEN)


def test_a_buyer_who_must_act_has_time_to_do_it() -> None:
    it = at("authorising")
    outcome = it.when(NEEDS_ACTION)
    assert outcome.events == (ActionNeeded(at=NOON, action="/act", deadline=after(900)),)
    shown = it.shown()
    assert (shown.status, shown.payment_status, shown.payment.action) == ("awaiting_payment", "none", "/act")
    assert it.when(NEEDS_ACTION).events == ()


@pytest.mark.parametrize("step", ["authorising", "awaiting_action"])
def test_the_holds_are_confirmed_once_the_money_is_held(step: str) -> None:
    it = at(step)
    outcome = it.when(AUTHORISED)
    assert outcome.events == (OrderAuthorised(at=NOON, deadline=after(30)),)
    assert outcome.sends == (
        Send("inventory", "TEE-S", ConfirmHold(order="one", quantity=2)),
        Send("inventory", "TEE-L", ConfirmHold(order="one", quantity=1)),
        Send("inventory", "MUG", ConfirmHold(order="one", quantity=1)),
    )
    shown = it.shown()
    assert (shown.status, shown.payment_status, shown.payment.action) == ("pending", "authorised", None)


def test_the_capture_starts_when_the_last_hold_is_confirmed() -> None:
    it = at("confirming")
    assert it.when(CONFIRMED[0]).events == (HoldWasConfirmed(at=NOON, sku="TEE-S"),)
    assert it.when(CONFIRMED[0]).events == ()
    assert it.when(HoldConfirmed(sku="OTHER")).events == ()
    it.when(CONFIRMED[1])
    outcome = it.when(CONFIRMED[2])
    assert outcome.events[1] == CaptureStarted(at=NOON, deadline=after(30))
    assert outcome.sends == (Send("payment", PAYMENT, CapturePayment(order="one")),)


def test_a_lost_hold_gives_everything_back() -> None:
    outcome = at("confirming").when(HoldLost(sku="TEE-L"))
    assert outcome.events[0].reason.code == "out_of_stock"
    assert outcome.sends == (RELEASES[0], RELEASES[2], GIVE_BACK, OPEN)


def test_a_captured_order_is_paid_its_stock_is_sold_and_its_cart_cleared() -> None:
    it = at("capturing")
    outcome = it.when(CAPTURED, now=after(5))
    assert outcome.events == (OrderPaid(at=after(5)),)
    assert outcome.sends == (
        Send("inventory", "TEE-S", CommitHold(order="one")),
        Send("inventory", "TEE-L", CommitHold(order="one")),
        Send("inventory", "MUG", CommitHold(order="one")),
        Send("cart", "c", ClearCart(order="one")),
    )
    assert it.wake_at is None


@pytest.mark.parametrize("step", ["authorising", "awaiting_action"])
@pytest.mark.parametrize("code", ["declined", "insufficient_funds"])
def test_a_declined_payment_gives_everything_back(step: str, code: str) -> None:
    outcome = at(step).when(PaymentRefused(payment=PAYMENT, stage="authorise", code=code))
    reason = Reason("payment_declined", f"The payment was declined: {code}.")
    assert outcome.events == (OrderRejected(at=NOON, reason=reason),)
    assert outcome.sends == (*RELEASES, GIVE_BACK, OPEN)


def test_a_refused_capture_gives_everything_back() -> None:
    outcome = at("capturing").when(PaymentRefused(payment=PAYMENT, stage="capture", code="closed"))
    reason = Reason("payment_failed", "The payment could not be completed: closed.")
    assert outcome.events == (OrderRejected(at=NOON, reason=reason),)
    assert outcome.sends == (*RELEASES, GIVE_BACK, OPEN)


def test_a_free_order_needs_no_payment() -> None:
    free = replace(MUG, quote=replace(MUG.quote, price=Money(0, "USD")))
    it = at("freezing")
    it.when(replace(FROZEN, lines=(free,)))
    it.when(MUG_OK)
    outcome = it.when(StockReserved(sku="MUG"))
    assert [type(event) for event in outcome.events] == [StockWasReserved, OrderAuthorised]
    assert outcome.sends == (Send("inventory", "MUG", ConfirmHold(order="one", quantity=1)),)
    assert it.shown().payment_status == "none"
    outcome = it.when(HoldConfirmed(sku="MUG"))
    assert [type(event) for event in outcome.events] == [HoldWasConfirmed, OrderPaid]
    shown = it.shown()
    assert (shown.status, shown.payment_status, shown.payment.id) == ("open", "paid", None)
    outcome = it.when(CancelOrder())
    assert [type(event) for event in outcome.events] == [OrderCancelled, OrderRefunded]
    assert outcome.reply.version == it.version
    assert outcome.sends == (Send("inventory", "MUG", Restock(restock="one:cancel", quantity=1)),)
    assert it.shown().payment_status == "refunded"


@pytest.mark.parametrize(
    ("step", "undone"),
    [
        ("freezing", (OPEN,)),
        ("quoting", (OPEN,)),
        ("reserving", (*RELEASES, OPEN)),
        ("authorising", (*RELEASES, GIVE_BACK, OPEN)),
        ("awaiting_action", (*RELEASES, GIVE_BACK, OPEN)),
        ("confirming", (*RELEASES, GIVE_BACK, OPEN)),
    ],
)
def test_a_step_that_takes_too_long_is_given_up_and_undone(step: str, undone: tuple[Send, ...]) -> None:
    it = at(step)
    assert it.when(Wake(), now=it.wake_at - timedelta(seconds=1)).events == ()
    outcome = it.when(Wake(), now=it.wake_at)
    assert outcome.events[0].reason.code == "expired"
    assert outcome.sends == undone
    assert it.wake_at is None
    assert it.when(Wake()).events == ()
    assert it.shown().status == "rejected"


def test_a_product_that_refused_is_the_reason_when_another_does_not_answer() -> None:
    it = at("quoting")
    it.when(replace(MUG_OK, lines=(JudgedLine(sku="MUG", verdict="not_available"),)))
    assert it.when(Wake(), now=it.wake_at).events[0].reason.code == "not_available"


def test_a_capture_goes_on_until_its_outcome_is_known() -> None:
    it = at("capturing")
    outcome = it.when(Wake(), now=after(30))
    assert outcome.events == (StepReminded(at=after(30), deadline=after(90)),)
    assert outcome.sends == (Send("payment", PAYMENT, CapturePayment(order="one")),)
    assert it.when(Wake(), now=after(90)).events == (StepReminded(at=after(90), deadline=after(210)),)
    it.when(Wake(), now=after(90000))
    assert it.wake_at == after(93600)
    assert it.shown().status == "pending"
    it.when(CAPTURED)
    assert it.shown().status == "open"


@pytest.mark.parametrize(
    ("step", "undone"),
    [
        ("freezing", (OPEN,)),
        ("quoting", (OPEN,)),
        ("reserving", (*RELEASES, OPEN)),
        ("awaiting_action", (*RELEASES, GIVE_BACK, OPEN)),
        ("capturing", (*RELEASES, GIVE_BACK, OPEN)),
    ],
)
def test_an_order_that_is_not_paid_yet_can_be_cancelled_and_is_undone(step: str, undone: tuple[Send, ...]) -> None:
    it = at(step)
    outcome = it.when(CancelOrder(reason="changed my mind", expect=it.version), principal="guest")
    assert outcome.events == (OrderCancelled(at=NOON, reason=Reason("cancelled", "changed my mind"), by="guest"),)
    assert outcome.reply == OrderKept(id="one", version=it.version)
    assert outcome.sends == undone
    assert it.shown().status == "cancelled"
    assert it.wake_at is None


def test_a_paid_order_that_is_cancelled_is_refunded_and_its_stock_comes_back() -> None:
    it = at("paid")
    outcome = it.when(CancelOrder())
    assert outcome.events[0].reason == Reason("cancelled", "The order was cancelled.")
    assert outcome.sends == (
        GIVE_BACK,
        Send("inventory", "TEE-S", Restock(restock="one:cancel", quantity=2)),
        Send("inventory", "TEE-L", Restock(restock="one:cancel", quantity=1)),
        Send("inventory", "MUG", Restock(restock="one:cancel", quantity=1)),
    )
    assert it.shown().payment_status == "paid"
    whole = PaymentRefunded(payment=PAYMENT, refunded=Money(3700, "USD"), full=True)
    assert it.when(whole).events == (OrderRefunded(at=NOON, refunded=Money(3700, "USD"), full=True),)
    shown = it.shown()
    assert (shown.status, shown.payment_status, shown.refunded) == (
        "cancelled",
        "refunded",
        ShownMoney("37.00", "USD"),
    )
    assert it.when(whole).events == ()


def test_a_part_that_went_back_is_shown_as_such() -> None:
    it = at("paid")
    it.when(PaymentRefunded(payment=PAYMENT, refunded=Money(700, "USD"), full=False))
    assert it.shown().payment_status == "partially_refunded"


def test_the_authorisation_of_a_cancelled_order_is_gone_once_the_payment_says_so() -> None:
    it = cancelled("confirming")
    assert it.shown().payment_status == "authorised"
    assert it.when(PaymentVoided(payment=PAYMENT)).events == (PaymentGivenBack(at=NOON),)
    assert it.shown().payment_status == "none"
    assert it.when(PaymentVoided(payment=PAYMENT)).events == ()


def test_cancelling_refuses_what_is_not_there_not_that_version_or_over_already() -> None:
    assert Entity(Order(DEFAULT)).when(CancelOrder()).code == "not_found"
    assert at("paid").when(CancelOrder(expect=3)).code == "version_mismatch"
    assert cancelled().when(CancelOrder()).code == "order_not_cancellable"
    rejected = at("freezing")
    rejected.when(Wake(), now=after(30))
    assert rejected.when(CancelOrder()).code == "order_not_cancellable"


@pytest.mark.parametrize(
    "late",
    [
        FROZEN,
        CartRefused(cart="c", reason=Reason("cart_empty", "")),
        TEE_OK,
        RESERVED[0],
        StockRefused(sku="MUG", available=0),
        NEEDS_ACTION,
        AUTHORISED,
        PaymentRefused(payment=PAYMENT, stage="authorise", code="declined"),
        PaymentRefused(payment=PAYMENT, stage="capture", code="closed"),
        CONFIRMED[0],
        HoldLost(sku="MUG"),
        CAPTURED,
        Wake(),
    ],
)
def test_what_comes_too_late_changes_nothing(late: Any) -> None:
    for it in (cancelled(), at("paid"), Entity(Order(DEFAULT))):
        outcome = it.when(late, now=after(90000))
        assert (outcome.events, outcome.answers, outcome.rejection) == ((), (), None)


def test_a_void_is_not_believed_while_the_order_runs() -> None:
    assert at("confirming").when(PaymentVoided(payment=PAYMENT)).events == ()


@pytest.mark.parametrize(
    ("it", "answer"),
    [
        (at("capturing"), KeepFrozen(order="one", deadline=after(160))),
        (at("paid"), ClearCart(order="one")),
        (cancelled("paid"), ClearCart(order="one")),
        (cancelled("quoting"), OpenCart(order="one")),
        (Entity(Order(DEFAULT)), OpenCart(order="one")),
    ],
)
def test_a_frozen_cart_that_asks_is_told_how_the_order_stands(it: Entity, answer: Any) -> None:
    outcome = it.when(CartAsks(cart="c"), now=after(100))
    assert outcome.answers == (Send("cart", "c", answer),)
    assert outcome.events == ()


def test_an_order_shows_what_it_knows() -> None:
    it = at("freezing")
    early = it.shown()
    assert (early.currency, early.email, early.totals, early.lines, early.refunded) == (None, None, None, (), None)
    assert early.payment.id is None
    assert it.actor.subject(it.state) == "cart:c"
    it = at("paid")
    shown = it.shown()
    assert (shown.id, shown.number, shown.version, shown.status) == ("one", "100123", it.version, "open")
    assert (shown.payment_status, shown.fulfilment_status, shown.reason) == ("paid", "none", None)
    assert (shown.currency, shown.channel, shown.email) == ("USD", "default", "ada@example.com")
    assert (shown.shipping_address.name, shown.billing_address, shown.shipping_method) == ("Ada", None, "standard")
    assert (shown.payment.id, shown.payment.gateway, shown.payment.action) == (PAYMENT, "sandbox", None)
    assert shown.totals.total == ShownMoney("37.00", "USD")
    assert (shown.created_at, shown.updated_at) == (NOON, NOON)


def test_personal_values_are_opened_with_the_key_that_sealed_them() -> None:
    it = at("freezing")
    it.when(replace(FROZEN, email=Sealed("customer:7", "x")))
    assert it.actor.subject(it.state) == "customer:7"


def test_a_log_without_its_beginning_is_refused() -> None:
    with pytest.raises(UltraMarketError, match="begins with OrderPaid"):
        Order(DEFAULT).evolve(None, OrderPaid(at=NOON))
