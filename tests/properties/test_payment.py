"""A payment under any sequence of commands and answers: it only goes forward, and no money moves twice."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from actors.payment import Payment
from actors.payment_state import PaymentState, evolve
from tests.actors.harness import Entity, Outcome
from ultramarket.domain.money import Money
from ultramarket.messages.common import Wake
from ultramarket.messages.order import PaymentAuthorised, PaymentCaptured, PaymentNeedsAction, PaymentRefunded
from ultramarket.messages.payment import (
    CallGateway,
    CapturePayment,
    CreatePayment,
    GatewayAnswered,
    GatewayCall,
    GatewayHinted,
    GatewayResult,
    GiveBack,
)

AMOUNT = Money(4180, "USD")
OK = GatewayResult(outcome="ok", authorised=4180, reference="r")
RESULTS = st.sampled_from(
    [
        OK,
        GatewayResult(outcome="ok", authorised=4180, captured=4180, reference="r"),
        GatewayResult(outcome="ok", authorised=4180, captured=4180, refunded=4180, reference="r"),
        *[GatewayResult(outcome="ok", authorised=4180, captured=4180, refunded=1000, reference="r")] * 3,
        GatewayResult(outcome="ok", authorised=4180, voided=True, reference="r"),
        GatewayResult(outcome="ok", reference="r"),
        *[GatewayResult(outcome="refused", code="no")] * 3,
        GatewayResult(outcome="action", action="/act", reference="r"),
        GatewayResult(outcome="unknown", code="lost"),
    ]
)


FORWARD = {
    "created": {"requires_action", "authorised", "refused", "voided"},
    "requires_action": {"authorised", "refused", "voided"},
    "authorised": {"captured", "refused", "voided"},
    # A gateway that refused a capture or a void may say later how it stands after all.
    "refused": {"captured", "voided"},
    "captured": {"refunded"},
    "voided": set(),
    "refunded": set(),
}
"""Where the stage of a payment may go from each; never back."""


def goes_forward(state: PaymentState | None, events: Iterable[Any]) -> None:
    """No event takes the payment back to where it was."""
    for event in events:
        before, state = state, evolve(state, event)
        assert before is None or state.stage == before.stage or state.stage in FORWARD[before.stage], "it went back"


class Takings(RuleBasedStateMachine):
    """A gateway that says anything, and an order that asks for anything, in any order and as often as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.entity = Entity(Payment(), id="p")
        self.calls: dict[str, GatewayCall] = {}
        self.told: list[Any] = []
        self.given_back = False

    def _when(self, command: Any, principal: str = "order:o") -> Outcome:
        before = self.entity.state
        outcome = self.entity.when(command, principal=principal)
        goes_forward(before, outcome.events)
        for send in (*outcome.answers, *outcome.sends):
            if isinstance(send.command, CallGateway):
                self._calls(send.command.call)
            else:
                self._tells(send.command)
        return outcome

    def _calls(self, call: GatewayCall) -> None:
        again = call.key in self.calls
        first = self.calls.setdefault(call.key, call)
        same = (call.operation, call.payment, call.amount, call.method)
        assert same == (first.operation, first.payment, first.amount, first.method), "a key stands for one call"
        state = self.entity.state
        match call.operation:
            case "authorise":
                assert call.amount == AMOUNT
            case "capture":
                assert again or not self.given_back, "a capture began after it was to be given back"
                assert call.amount == AMOUNT
                assert PaymentAuthorised(payment="p") in self.told
            case "void":
                assert self.given_back
                assert not state.captured, "a void of what was captured"
            case "refund":
                assert self.given_back
                assert 0 < call.amount.amount <= state.captured - state.refunded, "more back than there is"
            case _:
                assert call.operation == "lookup"

    def _tells(self, word: Any) -> None:
        self.told.append(word)
        if self.given_back:
            good_news = PaymentAuthorised, PaymentCaptured, PaymentNeedsAction
            assert not isinstance(word, good_news), "it is over"
        if isinstance(word, PaymentCaptured):
            assert self.entity.state.captured == 4180
        if isinstance(word, PaymentRefunded):
            assert word.refunded.amount == self.entity.state.refunded
            assert word.full == (self.entity.state.refunded == self.entity.state.captured)

    @initialize(far=st.integers(0, 3))
    def begin(self, far: int) -> None:
        """Not at all, authorised, captured, or captured and to be given back."""
        if far:
            self.create()
            self.all_goes_well()
        if far > 1:
            self.capture()
            self.all_goes_well()
        self.give_back(sure=far > 2)

    @rule()
    def create(self) -> None:
        self._when(CreatePayment(order="o", amount=AMOUNT, gateway="sandbox", method="ok"))

    @rule()
    def capture(self) -> None:
        self._when(CapturePayment(order="o"))

    @rule(sure=st.booleans())
    def give_back(self, *, sure: bool) -> None:
        if sure:
            self.given_back = True
            self._when(GiveBack(order="o", amount=AMOUNT, refund="o:refund"))

    @precondition(lambda self: self.entity.state is not None and self.entity.state.call is not None)
    @rule(result=RESULTS)
    def answer(self, result: GatewayResult) -> None:
        self._answer(self.entity.state.call, result)

    @precondition(lambda self: self.entity.state is not None and self.entity.state.call is not None)
    @rule()
    def all_goes_well(self) -> None:
        captured = 4180 if self.entity.state.call.operation in ("capture", "refund") else None
        self._answer(self.entity.state.call, replace(OK, captured=captured))

    @precondition(lambda self: self.calls)
    @rule(result=RESULTS, of=st.integers(0, 2))
    def answer_again(self, result: GatewayResult, of: int) -> None:
        """To a call that was answered before; it may be the one that is out, too."""
        calls = list(self.calls.values())
        call, known = calls[min(of, len(calls) - 1)], self.entity.state
        self._answer(call, result)
        if known.call is None or known.call.key != call.key:
            assert self.entity.state == known, "an answer to another call changes nothing"

    def _answer(self, call: GatewayCall, result: GatewayResult) -> None:
        self._when(GatewayAnswered(operation=call.operation, key=call.key, result=result), principal="gateway:p")

    @rule(seconds=st.sampled_from([0.1, 0.5, 61, 4000]))
    def wake(self, seconds: float) -> None:
        self.entity.now += timedelta(seconds=seconds)
        if self.entity.state is not None and self.entity.wake_at is not None:
            due = self.entity.wake_at <= self.entity.now
            version = self.entity.version
            self._when(Wake(), principal="system")
            assert (self.entity.version > version) == due
            assert self.entity.wake_at is None or self.entity.wake_at > self.entity.now, "it would wake for ever"

    @rule()
    def hint(self) -> None:
        self._when(GatewayHinted(event="evt"), principal="gateway:sandbox")

    @invariant()
    def no_more_goes_back_than_came(self) -> None:
        state = self.entity.state
        if state is not None:
            assert 0 <= state.refunded <= state.captured <= state.authorised <= state.amount.amount
            assert not (state.stage == "voided" and state.captured)
            assert state.refundable() >= 0

    @invariant()
    def it_does_not_fall_asleep_with_work_to_do(self) -> None:
        state = self.entity.state
        if state is not None and (state.call is not None or state.stage == "requires_action"):
            assert self.entity.wake_at is not None
        if state is not None and state.give_back and (state.held() or state.captured > state.refunded):
            assert state.call is not None, "what is to go back is being given back"


TestTakings = Takings.TestCase
