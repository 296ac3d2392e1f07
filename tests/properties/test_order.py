"""An order that is told anything by anybody, in any step: it never takes money without stock, or stock twice."""

from collections import Counter
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from actors.order import Order
from tests.actors.harness import NOON, Entity, Outcome
from tests.actors.test_checkout import ADDRESS, sealed
from ultramarket.domain.money import Money
from ultramarket.domain.shop import DEFAULT
from ultramarket.messages.cart import CartLine, ClearCart, FreezeCart, KeepFrozen, OpenCart, Quote, Requote
from ultramarket.messages.common import Wake
from ultramarket.messages.inventory import CommitHold, ConfirmHold, ReleaseHold, ReserveStock, Restock
from ultramarket.messages.order import (
    CancelOrder,
    CartAsks,
    CartFrozen,
    CartRefused,
    HoldConfirmed,
    HoldLost,
    JudgedLine,
    PaymentAuthorised,
    PaymentCaptured,
    PaymentNeedsAction,
    PaymentRefunded,
    PaymentRefused,
    PaymentVoided,
    PlaceOrder,
    QuotesJudged,
    Reason,
    StockRefused,
    StockReserved,
)
from ultramarket.messages.payment import CapturePayment, CreatePayment, GiveBack
from ultramarket.messages.product import ConfirmQuotes

SKUS = st.sampled_from(["A", "B", "C"])
LINES = st.dictionaries(SKUS, st.integers(1, 3), min_size=1)
STEPS = ["freezing", "quoting", "reserving", "authorising", "awaiting_action", "confirming", "capturing", "paid"]


class Saga(RuleBasedStateMachine):
    """Answers that fit come most of the time; late, false and foreign ones now and then."""

    @initialize(
        lines=LINES,
        untracked=st.sets(SKUS, max_size=1),
        cents=st.sampled_from([500, 500, 500, 0]),
        well=st.sampled_from([0, 1, 2, 3, 4, 4, 4, 5, 6]),
    )
    def place(self, lines: dict[str, int], untracked: set[str], cents: int, well: int) -> None:
        """Place the order; `well`: so many steps go well first, because few runs would come far by chance."""
        self.lines = lines
        self.tracked = {sku: pieces for sku, pieces in lines.items() if sku not in untracked}
        self.cents = cents
        self.entity = Entity(Order(DEFAULT), id="o")
        self.asked: Counter[tuple[str, type]] = Counter()
        self.said_yes: set[tuple[str, str]] = set()
        self.steps = ["freezing"]
        place = PlaceOrder(cart="c", cart_version=3, number="1", gateway="sandbox", method="ok")
        self._when(place, "guest")
        self.all_goes_well(well)

    def _when(self, command: Any, principal: str) -> Outcome:
        outcome = self.entity.when(command, principal=principal)
        for send in outcome.sends:
            self._sends(send.kind, send.id, send.command)
        if self.entity.state.step != self.steps[-1]:
            self.steps.append(self.entity.state.step)
        return outcome

    def _sends(self, kind: str, id: str, message: Any) -> None:
        self.asked[id, type(message)] += 1
        once = self.asked[id, type(message)] == 1
        over = any(self.asked[key] for key in self.asked if key[1] in (OpenCart, GiveBack))
        match message:
            case CapturePayment():
                assert not over, "captured although it is over"
                assert {(sku, "confirmed") for sku in self.tracked} <= self.said_yes, "captured without stock"
                assert ("payment", "authorised") in self.said_yes, "captured without an authorisation"
            case CreatePayment():
                assert once
                assert not over
                assert {(sku, "reserved") for sku in self.tracked} <= self.said_yes, "stock comes before money"
                assert message.amount == Money(self.cents * sum(self.lines.values()), "USD")
            case ReserveStock() | ConfirmHold():
                assert once
                assert not over
                assert (kind, message.quantity) == ("inventory", self.tracked[id])
                assert {(sku, "quoted") for sku in self.lines} <= self.said_yes, "reserved at an unknown price"
            case CommitHold() | ClearCart():
                assert once
                assert not over, "sold although it is over"
                assert self.cents == 0 or ("payment", "captured") in self.said_yes, "given away unpaid"
            case ReleaseHold():
                assert once
                assert not self.asked[id, CommitHold], "released what is sold"
            case Restock():
                assert once
                assert self.asked[id, CommitHold] == 1, "more back than went"
                assert message.quantity == self.tracked[id]
            case GiveBack() | OpenCart() | FreezeCart() | Requote():
                assert once
            case _:
                assert isinstance(message, ConfirmQuotes)

    # What the others say

    @rule(freezes=st.integers(0, 7))
    def cart_answers(self, freezes: int) -> None:
        if freezes:
            self._when(self._frozen(), "cart:c")
        else:
            self._when(CartRefused(cart="c", reason=Reason("cart_changed", "It changed.")), "cart:c")

    def _frozen(self) -> CartFrozen:
        lines = tuple(
            CartLine(
                id=sku,
                quantity=pieces,
                quote=Quote(
                    sku=sku,
                    product=f"product of {sku}",
                    product_version=1,
                    title={"en": sku},
                    price=Money(self.cents, "USD"),
                    locked_until=NOON,
                ),
            )
            for sku, pieces in self.lines.items()
        )
        return CartFrozen(
            cart="c", currency="USD", channel="default", lines=lines, email=sealed("a@b.c"), shipping_address=ADDRESS
        )

    @rule(sku=SKUS, verdict=st.sampled_from(["ok"] * 12 + ["price_changed", "not_available", "nothing"]))
    def product_answers(self, sku: str, verdict: str) -> None:
        word = JudgedLine(
            sku=sku,
            verdict=verdict if verdict != "nothing" else "ok",  # type: ignore[arg-type]  # one of the three
            price=Money(self.cents, "USD"),
            track_stock=sku in self.tracked,
        )
        lines = (word,) if verdict != "nothing" else ()
        if verdict == "ok" and self.entity.state.step == "quoting":
            self.said_yes.add((sku, "quoted"))
        self._when(QuotesJudged(product=f"product of {sku}", product_version=2, lines=lines), f"product:{sku}")

    @rule(sku=SKUS, yes=st.integers(0, 9))
    def stock_is_held(self, sku: str, yes: int) -> None:
        if yes and self.entity.state.step == "reserving":
            self.said_yes.add((sku, "reserved"))
        self._when(StockReserved(sku=sku) if yes else StockRefused(sku=sku, available=0), f"inventory:{sku}")

    @rule(sku=SKUS, yes=st.integers(0, 9), times=st.integers(1, 2))
    def hold_is_confirmed(self, sku: str, yes: int, times: int = 1) -> None:
        waits = self.entity.state.step == "confirming"
        if yes and waits:
            self.said_yes.add((sku, "confirmed"))
        for _ in range(times):
            self._when(HoldConfirmed(sku=sku) if yes else HoldLost(sku=sku), f"inventory:{sku}")
        if waits and not yes:
            assert self.entity.state.step == "rejected", "stock is gone, and the order goes on"

    @rule(word=st.sampled_from(["authorised"] * 4 + ["captured"] * 3 + ["action", "declined", "not captured"]))
    def payment_answers(self, word: str) -> None:
        words = {
            "authorised": PaymentAuthorised(payment="p"),
            "captured": PaymentCaptured(payment="p"),
            "action": PaymentNeedsAction(payment="p", action="/act"),
            "declined": PaymentRefused(payment="p", stage="authorise", code="declined"),
            "not captured": PaymentRefused(payment="p", stage="capture", code="declined"),
        }
        steps = {"authorised": ("authorising", "awaiting_action"), "captured": ("capturing",)}
        if self.entity.state.step in steps.get(word, ()):
            self.said_yes.add(("payment", word))
        self._when(words[word], "payment:p")

    @rule(part=st.sampled_from([None, 200, 500]))
    def money_came_back(self, part: int | None) -> None:
        word = PaymentVoided(payment="p")
        before = self.entity.state.refunded
        if part is not None and self.entity.state.payment:
            refunded = Money(part, "USD")
            self._when(PaymentRefunded(payment="p", refunded=refunded, full=part == 500), "payment:p")
            assert before is None or self.entity.state.refunded >= before, "a refund was taken back"
        elif self.entity.state.step in ("rejected", "cancelled"):
            self._when(word, "payment:p")

    @rule(most=st.integers(1, 4))
    def all_goes_well(self, most: int) -> None:  # noqa: C901 - one case a step
        """Everybody says what the step waits for."""
        for _ in range(most):
            match self.entity.state.step:
                case "freezing":
                    self.cart_answers(freezes=1)
                case "quoting":
                    for sku in self.lines:
                        self.product_answers(sku, "ok")
                case "reserving":
                    for sku in self.tracked:
                        self.stock_is_held(sku, yes=1)
                case "authorising" | "awaiting_action":
                    self.payment_answers("authorised")
                case "confirming":
                    for sku in self.tracked:
                        self.hold_is_confirmed(sku, yes=1)
                case "capturing":
                    self.payment_answers("captured")

    # Clients, the cart and time

    @rule(often=st.integers(0, 9))
    def cancel(self, often: int) -> None:
        if often == 0:
            over = self.entity.state.step in ("rejected", "cancelled")
            refused = self._when(CancelOrder(), "guest").code
            assert refused == ("order_not_cancellable" if over else None)

    @rule()
    def cart_asks(self) -> None:
        (send,) = self._when(CartAsks(cart="c"), "cart:c").answers
        step = self.entity.state.step
        kind = OpenCart if step in ("rejected", "cancelled") else ClearCart if step == "paid" else KeepFrozen
        assert isinstance(send.command, kind if not self.entity.state.paid else ClearCart)

    @rule(seconds=st.sampled_from([0, 1, 1, 1, 20, 4000]))
    def wake(self, seconds: int) -> None:
        self.entity.now += timedelta(seconds=seconds)
        if self.entity.wake_at is not None and self.entity.wake_at <= self.entity.now:
            self._when(Wake(), "system")
            assert self.entity.wake_at is None or self.entity.wake_at > self.entity.now

    @precondition(lambda self: len(getattr(self, "steps", ())) > 1)
    @invariant()
    def it_only_goes_forward(self) -> None:
        ranks = [STEPS.index(step) for step in self.steps if step in STEPS]
        assert ranks == sorted(ranks)
        assert not {"rejected", "cancelled"} & set(self.steps[:-1]), "it rose from the dead"
        assert "paid" not in self.steps or "rejected" not in self.steps

    @invariant()
    def what_it_asked_for_is_given_back_or_taken_in_the_end(self) -> None:
        if not hasattr(self, "entity"):
            return
        step = self.entity.state.step
        for sku in self.tracked:
            asked = {kind for (id, kind) in self.asked if id == sku}
            if step in ("rejected", "cancelled") and ReserveStock in asked and CommitHold not in asked:
                refused = self.entity.state.reason.code == "out_of_stock"
                assert ReleaseHold in asked or refused
            if step == "paid":
                assert CommitHold in asked
        payment = self.entity.state.payment
        if step in ("rejected", "cancelled"):
            assert bool(payment) == (self.asked[payment, GiveBack] == 1)
            assert self.asked["c", OpenCart] + self.asked["c", ClearCart] == 1
        assert (self.entity.wake_at is None) == (step in ("paid", "rejected", "cancelled"))


TestSaga = Saga.TestCase
