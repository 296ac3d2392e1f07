"""Payment: calls that are made again until their outcome is known, states that only move forward, and giving back."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from actors.payment import Payment, retry_delay
from tests.actors.harness import NOON, Entity, Outcome
from ultramarket.domain.money import Money
from ultramarket.errors import UltraMarketError
from ultramarket.messages.common import ShownMoney, Wake
from ultramarket.messages.order import (
    PaymentAuthorised,
    PaymentCaptured,
    PaymentNeedsAction,
    PaymentRefunded,
    PaymentRefused,
    PaymentVoided,
)
from ultramarket.messages.payment import (
    AuthorisationNeedsAction,
    AuthorisationRefused,
    Authorised,
    CallGateway,
    CallStarted,
    CallUnknown,
    Captured,
    CapturePayment,
    CaptureRefused,
    CreatePayment,
    GatewayAnswered,
    GatewayCall,
    GatewayHinted,
    GatewayResult,
    GiveBack,
    GiveBackRefused,
    GiveBackWanted,
    Operation,
    PaymentCreated,
    PaymentKept,
    Refunded,
    Voided,
)
from ultramarket.runtime.actor import Send

WHOLE = Money(3700, "USD")
CREATE = CreatePayment(order="o", amount=WHOLE, gateway="sandbox", method="ok")
CAPTURE = CapturePayment(order="o")
GIVE_BACK = GiveBack(order="o", amount=WHOLE, refund="o:refund")
HINT = GatewayHinted(event="evt_1")
OK = GatewayResult(outcome="ok", reference="ref")
ACTION = GatewayResult(outcome="action", reference="ref", action="/act")
UNKNOWN = GatewayResult(outcome="unknown", code="lost")


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def refused(code: str) -> GatewayResult:
    return GatewayResult(outcome="refused", code=code, reference="ref")


def call(
    operation: Operation, key: str, amount: Money = WHOLE, reference: str = "ref", method: str = ""
) -> GatewayCall:
    return GatewayCall(operation=operation, key=key, payment="p", amount=amount, reference=reference, method=method)


AUTHORISE = call("authorise", "um:o:pi", reference="", method="ok")
TAKE = call("capture", "um:o:cap")
VOID = call("void", "um:o:void")
REFUND = call("refund", "um:o:refund")


def started(call: GatewayCall, attempt: int = 1, now: datetime = NOON) -> CallStarted:
    return CallStarted(at=now, call=call, attempt=attempt, retry_at=now + timedelta(hours=1))


def ask(call: GatewayCall) -> Send:
    return Send("gateway", "p", CallGateway(gateway="sandbox", call=call))


def tell(word: Any) -> Send:
    return Send("order", "o", word)


class Paying(Entity):
    """A payment whose calls are answered one by one."""

    def answered(self, result: GatewayResult, **kwargs: Any) -> Outcome:
        call = self.state.call
        return self.when(GatewayAnswered(operation=call.operation, key=call.key, result=result), **kwargs)


def a_payment(*steps: Any) -> Paying:
    """A payment that was told these commands and answers."""
    it = Paying(Payment(), id="p")
    for step in (CREATE, *steps):
        if isinstance(step, GatewayResult):
            it.answered(step)
        else:
            it.when(step)
    return it


def test_a_new_payment_records_the_call_before_it_is_made() -> None:
    it = Paying(Payment(), id="p")
    outcome = it.when(CREATE)
    created = PaymentCreated(at=NOON, order="o", amount=WHOLE, gateway="sandbox", method="ok")
    assert outcome.events == (created, started(AUTHORISE))
    assert outcome.sends == (ask(AUTHORISE),)
    assert it.wake_at == after(3600)
    assert it.when(CREATE).events == ()


def test_an_authorisation_is_told_to_the_order() -> None:
    it = a_payment()
    outcome = it.answered(OK)
    assert outcome.events == (Authorised(at=NOON, reference="ref"),)
    assert outcome.sends == (tell(PaymentAuthorised(payment="p")),)
    assert it.wake_at is None
    assert it.shown().state == "authorised"


def test_a_refused_authorisation_is_told_to_the_order() -> None:
    it = a_payment()
    outcome = it.answered(refused("declined"))
    assert outcome.events == (AuthorisationRefused(at=NOON, code="declined"),)
    assert outcome.sends == (tell(PaymentRefused(payment="p", stage="authorise", code="declined")),)
    shown = it.shown()
    assert (shown.state, shown.code, shown.authorised) == ("refused", "declined", ShownMoney("0.00", "USD"))


def test_a_call_without_a_known_outcome_is_made_again_with_the_same_key() -> None:
    it = a_payment()
    outcome = it.answered(UNKNOWN)
    retry_at = NOON + retry_delay("um:o:pi", 1)
    assert outcome.events == (CallUnknown(at=NOON, key="um:o:pi", code="lost", retry_at=retry_at),)
    assert it.wake_at == retry_at
    assert it.when(Wake()).events == ()
    outcome = it.when(Wake(), now=retry_at)
    assert outcome.events == (started(AUTHORISE, attempt=2, now=retry_at),)
    assert outcome.sends == (ask(AUTHORISE),)


def test_a_worker_that_never_answers_is_asked_again() -> None:
    it = a_payment()
    assert it.when(Wake(), now=after(3600)).events == (started(AUTHORISE, attempt=2, now=after(3600)),)


def test_the_pauses_double_up_to_a_minute_and_are_the_same_each_time() -> None:
    delays = [retry_delay("um:o:pi", attempt).total_seconds() for attempt in range(1, 40)]
    assert delays == [retry_delay("um:o:pi", attempt).total_seconds() for attempt in range(1, 40)]
    assert delays[0] >= 0.2
    assert max(delays) == 60.0
    assert all(0.75 * 0.2 * 2**n <= delays[n] <= 1.25 * 0.2 * 2**n for n in range(1, 8))
    assert retry_delay("um:a:pi", 4) != retry_delay("um:b:pi", 4)


def test_an_answer_for_another_key_or_after_the_call_changes_nothing() -> None:
    it = a_payment()
    other = GatewayAnswered(operation="authorise", key="um:x:pi", result=OK)
    assert it.when(other).events == ()
    it.answered(OK)
    assert it.when(replace(other, key="um:o:pi")).events == ()


def test_an_answer_that_does_not_fit_the_call_is_an_unknown_outcome() -> None:
    it = a_payment(OK, CAPTURE)
    (event,) = it.answered(ACTION).events
    assert (type(event), event.code) == (CallUnknown, "action")


def test_a_capture_is_told_to_the_order() -> None:
    it = a_payment(OK)
    outcome = it.when(CAPTURE)
    assert outcome.events == (started(TAKE),)
    assert outcome.sends == (ask(TAKE),)
    assert it.shown().state == "capturing"
    assert it.when(CAPTURE).events == ()
    outcome = it.answered(OK)
    assert outcome.events == (Captured(at=NOON, amount=WHOLE),)
    assert outcome.sends == (tell(PaymentCaptured(payment="p")),)
    again = it.when(CAPTURE)
    assert (again.events, again.answers) == ((), (tell(PaymentCaptured(payment="p")),))
    shown = it.shown()
    assert (shown.id, shown.order, shown.gateway, shown.state) == ("p", "o", "sandbox", "captured")
    assert (shown.amount.amount, shown.authorised.amount, shown.captured.amount) == ("37.00", "37.00", "37.00")
    assert (shown.refunded.amount, shown.action, shown.code, shown.created_at) == ("0.00", None, None, NOON)
    assert it.state.refundable() == 3700


def test_a_refused_capture_is_told_to_the_order_and_leaves_an_authorisation_to_void() -> None:
    it = a_payment(OK, CAPTURE)
    outcome = it.answered(refused("closed"))
    assert outcome.events == (CaptureRefused(at=NOON, code="closed"),)
    assert outcome.sends == (tell(PaymentRefused(payment="p", stage="capture", code="closed")),)
    outcome = it.when(GIVE_BACK)
    assert outcome.events == (GiveBackWanted(at=NOON, order="o", refund="o:refund"), started(VOID))
    assert outcome.sends == (ask(VOID),)
    assert it.answered(OK).sends == (tell(PaymentVoided(payment="p")),)
    assert it.shown().state == "voided"


@pytest.mark.parametrize(
    ("it", "code"),
    [
        (Paying(Payment(), id="p"), "not_authorised"),
        (a_payment(), "not_authorised"),
        (a_payment(refused("declined")), "declined"),
        (a_payment(OK, GIVE_BACK), "given_back"),
    ],
)
def test_what_is_not_authorised_or_given_back_is_not_captured(it: Paying, code: str) -> None:
    outcome = it.when(CAPTURE)
    assert outcome.events == ()
    assert outcome.answers == (tell(PaymentRefused(payment="p", stage="capture", code=code)),)


def test_a_payment_given_back_before_it_was_made_refuses_to_be_made() -> None:
    it = Paying(Payment(), id="p")
    outcome = it.when(GIVE_BACK)
    assert outcome.events == (
        PaymentCreated(at=NOON, order="o", amount=WHOLE, gateway="", method=""),
        GiveBackWanted(at=NOON, order="o", refund="o:refund"),
        Voided(at=NOON),
    )
    assert outcome.sends == (tell(PaymentVoided(payment="p")),)
    assert it.when(CREATE).events == ()
    assert it.shown().state == "voided"


def test_giving_back_while_authorising_waits_for_the_outcome_and_then_voids() -> None:
    it = a_payment()
    assert it.when(GIVE_BACK).events == (GiveBackWanted(at=NOON, order="o", refund="o:refund"),)
    it.answered(UNKNOWN)
    assert it.shown().state == "created"
    it.when(Wake(), now=after(1))
    outcome = it.answered(OK)
    assert outcome.events == (Authorised(at=after(1), reference="ref"), started(VOID, now=after(1)))
    assert outcome.sends == (ask(VOID),)
    assert it.shown().state == "voiding"
    outcome = it.answered(OK)
    assert outcome.events == (Voided(at=after(1)),)
    assert outcome.sends == (tell(PaymentVoided(payment="p")),)
    assert it.when(GIVE_BACK).events == ()


def test_giving_back_what_is_being_refused_has_nothing_to_void() -> None:
    it = a_payment(GIVE_BACK)
    assert it.answered(refused("declined")).sends == (tell(PaymentVoided(payment="p")),)
    assert it.wake_at is None


def test_giving_back_what_was_refused_has_nothing_to_void() -> None:
    it = a_payment(refused("declined"))
    outcome = it.when(GIVE_BACK)
    assert outcome.events == (GiveBackWanted(at=NOON, order="o", refund="o:refund"),)
    assert outcome.sends == (tell(PaymentVoided(payment="p")),)
    assert it.shown().state == "refused"


def test_giving_back_what_is_authorised_voids_it() -> None:
    assert a_payment(OK).when(GIVE_BACK).events[1] == started(VOID)


def test_giving_back_what_waits_for_the_buyer_voids_it() -> None:
    assert a_payment(ACTION).when(GIVE_BACK).events[1] == started(VOID)
    it = a_payment(GIVE_BACK)
    outcome = it.answered(ACTION)
    assert outcome.sends == (ask(VOID),)


def test_giving_back_while_capturing_waits_for_the_outcome_and_then_refunds() -> None:
    it = a_payment(OK, CAPTURE)
    assert it.when(GIVE_BACK).sends == ()
    outcome = it.answered(OK)
    assert outcome.events == (Captured(at=NOON, amount=WHOLE), started(REFUND))
    assert outcome.sends == (ask(REFUND),)
    assert it.state.refundable() == 0
    assert it.shown().state == "refunding"
    outcome = it.answered(OK)
    assert outcome.events == (Refunded(at=NOON, refund="o:refund", refunded=WHOLE),)
    assert outcome.sends == (tell(PaymentRefunded(payment="p", refunded=WHOLE, full=True)),)
    assert (it.shown().state, it.shown().refunded) == ("refunded", ShownMoney("37.00", "USD"))


def test_giving_back_while_a_capture_is_refused_voids() -> None:
    it = a_payment(OK, CAPTURE, GIVE_BACK)
    outcome = it.answered(refused("closed"))
    assert outcome.events == (CaptureRefused(at=NOON, code="closed"), started(VOID))
    assert outcome.sends == (ask(VOID),)


def test_giving_back_what_is_captured_refunds_all_of_it() -> None:
    assert a_payment(OK, CAPTURE, OK).when(GIVE_BACK).events[1] == started(REFUND)


def test_a_void_refused_because_of_a_capture_becomes_a_refund() -> None:
    it = a_payment(OK, GIVE_BACK)
    outcome = it.answered(refused("captured"))
    lookup = call("lookup", "um:o:lookup:5")
    assert outcome.events == (GiveBackRefused(at=NOON, key="um:o:void", code="captured"), started(lookup))
    assert it.shown().state == "voiding"
    outcome = it.answered(replace(OK, authorised=3700, captured=3700, refunded=0))
    assert outcome.events == (Captured(at=NOON, amount=WHOLE), started(REFUND))
    assert outcome.sends == (ask(REFUND),)


def test_a_capture_found_while_the_buyer_still_had_to_act_says_that_it_was_authorised_too() -> None:
    it = a_payment(ACTION, GIVE_BACK, refused("captured"))
    outcome = it.answered(replace(OK, authorised=3700, captured=3700))
    authorised, captured = Authorised(at=NOON, reference="ref"), Captured(at=NOON, amount=WHOLE)
    assert outcome.events == (authorised, captured, started(REFUND))
    shown = it.shown()
    assert (shown.authorised.amount, shown.captured.amount) == ("37.00", "37.00")


@pytest.mark.parametrize("found", [replace(OK, voided=True), refused("unknown_payment")])
def test_a_void_refused_for_there_is_nothing_is_done(found: GatewayResult) -> None:
    it = a_payment(OK, GIVE_BACK, refused("not_authorised"))
    assert it.answered(found).events == (Voided(at=NOON),)


def test_a_void_refused_without_a_reason_to_be_found_is_tried_again_with_a_new_key() -> None:
    it = a_payment(OK, GIVE_BACK, refused("busy"))
    outcome = it.answered(replace(OK, authorised=3700, captured=0))
    assert [type(event) for event in outcome.events] == [CallUnknown]
    outcome = it.when(Wake(), now=it.wake_at)
    assert outcome.events == (started(call("void", "um:o:void:2"), now=it.now),)
    assert it.answered(OK).events == (Voided(at=it.now),)


def test_a_refused_refund_is_tried_again_with_what_is_left() -> None:
    it = a_payment(OK, CAPTURE, OK, GIVE_BACK, refused("refund_too_large"))
    outcome = it.answered(replace(OK, authorised=3700, captured=3700, refunded=700))
    part = Money(700, "USD")
    assert outcome.events == (
        Refunded(at=NOON, refund="o:refund", refunded=part),
        started(call("refund", "um:o:refund:2", amount=Money(3000, "USD"))),
    )
    assert outcome.sends[0] == tell(PaymentRefunded(payment="p", refunded=part, full=False))
    assert it.answered(OK).sends == (tell(PaymentRefunded(payment="p", refunded=WHOLE, full=True)),)


def test_a_lookup_that_says_nothing_new_about_a_refund_is_asked_again() -> None:
    it = a_payment(OK, CAPTURE, OK, GIVE_BACK, refused("busy"))
    assert type(it.answered(replace(OK, captured=3700, refunded=0, voided=True)).events[0]) is CallUnknown


def test_a_buyer_who_must_act_is_told_where() -> None:
    it = a_payment()
    outcome = it.answered(ACTION)
    assert outcome.events == (AuthorisationNeedsAction(at=NOON, action="/act", reference="ref"),)
    assert outcome.sends == (tell(PaymentNeedsAction(payment="p", action="/act")),)
    assert (it.shown().state, it.shown().action) == ("requires_action", "/act")
    assert it.wake_at == after(60)


def test_the_gateway_is_asked_now_and_then_whether_the_buyer_acted() -> None:
    it = a_payment(ACTION)
    lookup = call("lookup", "um:o:lookup:3")
    assert it.when(Wake(), now=after(60)).events == (started(lookup, now=after(60)),)
    assert it.shown().state == "requires_action"
    it.answered(ACTION)
    assert it.wake_at == after(120)
    assert it.when(Wake(), now=after(120)).events == (started(lookup, attempt=2, now=after(120)),)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (replace(OK, authorised=3700), (PaymentAuthorised(payment="p"),)),
        (
            replace(OK, authorised=3700, captured=3700),
            (PaymentAuthorised(payment="p"), PaymentCaptured(payment="p")),
        ),
        (refused("declined"), (PaymentRefused(payment="p", stage="authorise", code="declined"),)),
        (replace(OK, voided=True), (PaymentRefused(payment="p", stage="authorise", code="voided"),)),
        (OK, ()),
    ],
)
def test_a_hint_is_never_believed_but_the_gateway_is_asked(found: GatewayResult, words: tuple[Any, ...]) -> None:
    it = a_payment(ACTION)
    outcome = it.when(HINT)
    assert outcome.events == (started(call("lookup", "um:o:lookup:3")),)
    assert outcome.reply == PaymentKept(id="p", version=4)
    assert it.when(HINT).reply == PaymentKept(id="p", version=4)
    assert it.answered(found).sends == tuple(tell(word) for word in words)


def test_a_hint_hurries_a_call_that_waits_and_disturbs_nothing_else() -> None:
    it = a_payment(UNKNOWN)
    assert it.when(HINT).events == (started(AUTHORISE, attempt=2),)
    assert a_payment(OK).when(HINT).events == ()
    assert Paying(Payment(), id="p").when(HINT).code == "not_found"


def test_giving_back_goes_before_a_lookup() -> None:
    it = a_payment(ACTION, HINT)
    assert it.when(GIVE_BACK).events[1] == started(VOID)
    late = GatewayAnswered(operation="lookup", key="um:o:lookup:3", result=replace(OK, authorised=3700))
    assert it.when(late).events == ()


@pytest.mark.parametrize("command", [Wake(), GatewayAnswered(operation="capture", key="um:o:cap", result=OK)])
def test_a_payment_that_does_not_exist_is_not_made_by_chance(command: Any) -> None:
    assert Paying(Payment(), id="p").when(command).events == ()


def test_a_payment_at_rest_has_nothing_to_wake_for() -> None:
    assert a_payment(OK).when(Wake(), now=after(90000)).events == ()


def test_a_log_without_its_beginning_is_refused() -> None:
    with pytest.raises(UltraMarketError, match="begins with Voided"):
        Payment().evolve(None, Voided(at=NOON))
