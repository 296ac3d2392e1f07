"""Payment: the money of one order at one gateway.

One call at a time: it is recorded, made by the gateway worker, and its outcome recorded. An unknown outcome is asked
for with the same key until it is known. What the gateway says only moves the payment forward.
"""

import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import assert_never

from actors.payment_state import Event, PaymentState, evolve
from ultramarket.domain.money import Money
from ultramarket.errors import Rejection
from ultramarket.messages import payment as words
from ultramarket.messages.common import Wake, shown
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
    PaymentCreated,
    PaymentKept,
    Refunded,
    ShownPayment,
    Voided,
)
from ultramarket.messages.refusals import not_found
from ultramarket.runtime.actor import Actor, Context, Decision, Send, Unseal

ANSWER_WITHIN = timedelta(hours=1)
"""After this time without a word from the worker the call is made again.

The worker always answers, and its messages are not lost: this is for one that was parked and thrown away. A short time
would let the calls that wait for a gateway that hangs multiply until they never end.
"""
ACTION_POLL = timedelta(seconds=60)
"""While the buyer must act the gateway is asked this often: a lost webhook loses no sale."""
_FIRST_RETRY = 0.2
_LAST_RETRY = 60.0

Command = CreatePayment | CapturePayment | GiveBack | GatewayAnswered | GatewayHinted | Wake


class Payment(Actor[PaymentState, Command, Event]):
    """The payment of one order; its id is derived from the order's."""

    kind = "payment"
    state = PaymentState
    commands = Command
    events = Event

    def decide(self, state: PaymentState | None, command: Command, ctx: Context) -> Decision | Rejection:
        """Judge a command; only a hint for a payment that does not exist is refused."""
        if state is None:
            return _begin(command, ctx)
        match command:
            case CreatePayment():
                return Decision()
            case CapturePayment():
                return _capture(state, command, ctx)
            case GiveBack():
                if state.give_back:
                    return Decision()
                return _settle(state, ctx, GiveBackWanted(at=ctx.now, order=command.order, refund=command.refund))
            case GatewayAnswered():
                return _answered(state, command, ctx)
            case GatewayHinted():
                waiting = state.stage == "requires_action" if state.call is None else not state.asked
                events = _ask_again(state, ctx) if waiting else ()
                return Decision(events=events, reply=PaymentKept(id=ctx.id, version=ctx.version + len(events)))
            case Wake():
                due = self.wake_at(state)
                return Decision(events=_ask_again(state, ctx) if due is not None and due <= ctx.now else ())
            case _:
                assert_never(command)

    def evolve(self, state: PaymentState | None, event: Event) -> PaymentState:
        """Apply an event."""
        return evolve(state, event)

    def react(self, event: Event, state: PaymentState, ctx: Context) -> Iterable[Send]:
        """Calls go to the gateway worker; outcomes to the order, unless it asked for the money back."""
        if isinstance(event, CallStarted):
            return (Send("gateway", ctx.id, CallGateway(gateway=state.gateway, call=event.call)),)
        word = _news(event, state, ctx.id)
        return (Send("order", state.order, word),) if word is not None else ()

    def wake_at(self, state: PaymentState) -> datetime | None:
        """When to ask the gateway again."""
        if state.call is None and state.stage == "requires_action":
            return state.updated_at + ACTION_POLL
        return state.retry_at

    def show(self, state: PaymentState, id: str, version: int, unseal: Unseal) -> ShownPayment:
        """The public form."""
        currency = state.amount.currency
        return ShownPayment(
            id=id,
            version=version,
            order=state.order,
            gateway=state.gateway,
            state=state.shown_state(),
            amount=shown(state.amount),
            authorised=shown(Money(state.authorised, currency)),
            captured=shown(Money(state.captured, currency)),
            refunded=shown(Money(state.refunded, currency)),
            action=state.action or None if state.stage == "requires_action" else None,
            code=state.code or None,
            created_at=state.created_at,
            updated_at=state.updated_at,
        )


def retry_delay(key: str, attempt: int) -> timedelta:
    """How long to wait after an attempt without a known outcome: 0.2 s, doubled each time, up to 60 s.

    A quarter less to a quarter more by key and attempt, so that the calls of an outage don't come back all at once.
    """
    spread = 0.75 + zlib.crc32(f"{key}#{attempt}".encode()) / 2**33
    delay = min(_FIRST_RETRY * 2 ** min(attempt - 1, 20) * spread, _LAST_RETRY)
    return timedelta(seconds=max(delay, _FIRST_RETRY))


def _begin(command: Command, ctx: Context) -> Decision | Rejection:
    """The first command of a payment."""
    if isinstance(command, CreatePayment):
        created = PaymentCreated(
            at=ctx.now,
            order=command.order,
            amount=command.amount,
            gateway=command.gateway,
            method=command.method,
        )
        return _settle(evolve(None, created), ctx, before=(created,))
    if isinstance(command, GiveBack):
        made = PaymentCreated(at=ctx.now, order=command.order, amount=command.amount, gateway="", method="")
        wanted = GiveBackWanted(at=ctx.now, order=command.order, refund=command.refund)
        return Decision(events=(made, wanted, Voided(at=ctx.now)))
    if isinstance(command, CapturePayment):
        return _not_captured(command, ctx, "not_authorised")
    if isinstance(command, GatewayHinted):
        return not_found("payment")
    return Decision()


def _not_captured(command: CapturePayment, ctx: Context, code: str) -> Decision:
    refused = PaymentRefused(payment=ctx.id, stage="capture", code=code)
    return Decision(answers=(Send("order", command.order, refused),))


def _capture(state: PaymentState, command: CapturePayment, ctx: Context) -> Decision:
    """Capture what is authorised; a repeat is answered with what came of the first one."""
    if state.give_back:
        return _not_captured(command, ctx, "given_back")
    if state.stage == "captured":
        return Decision(answers=(Send("order", command.order, PaymentCaptured(payment=ctx.id)),))
    if state.stage != "authorised":
        return _not_captured(command, ctx, state.code or "not_authorised")
    if state.call is not None:
        return Decision()
    call = _call(state, ctx, "capture", f"um:{state.order}:cap", state.amount)
    return Decision(events=(_started(call, 1, ctx.now),))


def _answered(state: PaymentState, command: GatewayAnswered, ctx: Context) -> Decision:
    """Record what came of the call that is being made; an answer for another one changes nothing."""
    call, result = state.call, command.result
    if call is None or call.key != command.key:
        return Decision()
    facts: tuple[Event, ...] = ()
    if result.outcome != "unknown":
        facts = _facts(state, call, result, ctx.now)
    if not facts:
        return Decision(events=(_unknown(state, call, result, ctx.now),))
    if isinstance(facts[0], GiveBackRefused):
        return Decision(events=(*facts, _started(_lookup(state, ctx), 1, ctx.now)))
    return _settle(state, ctx, *facts)


def _facts(state: PaymentState, call: GatewayCall, result: GatewayResult, now: datetime) -> tuple[Event, ...]:
    """What an answer says for good; nothing where it does not answer the question."""
    if call.operation == "lookup":
        return _found_giving_back(state, result, now) if state.give_back else _found(state, result, now)
    match (call.operation, result.outcome):
        case ("authorise", "ok"):
            return (Authorised(at=now, reference=result.reference),)
        case ("authorise", "action"):
            return (AuthorisationNeedsAction(at=now, action=result.action, reference=result.reference),)
        case ("authorise", "refused"):
            return (AuthorisationRefused(at=now, code=result.code),)
        case ("capture", "ok"):
            return (Captured(at=now, amount=call.amount),)
        case ("capture", "refused"):
            return (CaptureRefused(at=now, code=result.code),)
        case ("void", "ok"):
            return (Voided(at=now),)
        case ("refund", "ok"):
            refunded = Money(state.refunded, state.amount.currency) + call.amount
            return (Refunded(at=now, refund=state.give_back, refunded=refunded),)
        case ("void" | "refund", "refused"):
            return (GiveBackRefused(at=now, key=call.key, code=result.code),)
        case _:
            return ()


def _found(state: PaymentState, result: GatewayResult, now: datetime) -> tuple[Event, ...]:
    """What a lookup says of a payment whose buyer had to act."""
    if result.outcome == "refused" or result.voided:
        return (AuthorisationRefused(at=now, code=result.code or "voided"),)
    authorised = Authorised(at=now, reference=result.reference)
    if result.captured:
        return (authorised, Captured(at=now, amount=Money(result.captured, state.amount.currency)))
    return (authorised,) if result.authorised else ()


def _found_giving_back(state: PaymentState, result: GatewayResult, now: datetime) -> tuple[Event, ...]:
    """What a lookup says of a payment that the gateway refused to void or refund."""
    currency = state.amount.currency
    facts: list[Event] = []
    if result.captured and state.stage != "captured":
        if not state.authorised:  # the buyer acted after all, and somebody captured at the gateway itself
            facts.append(Authorised(at=now, reference=result.reference))
        facts.append(Captured(at=now, amount=Money(result.captured, currency)))
    if result.refunded and result.refunded > state.refunded:
        facts.append(Refunded(at=now, refund=state.give_back, refunded=Money(result.refunded, currency)))
    if not facts and state.stage != "captured" and (result.outcome == "refused" or result.voided):
        facts.append(Voided(at=now))
    return tuple(facts)


def _settle(state: PaymentState, ctx: Context, *facts: Event, before: tuple[Event, ...] = ()) -> Decision:
    """Record the facts, and the call that follows from them."""
    for fact in facts:
        state = evolve(state, fact)
    call = _next_call(state, ctx)
    return Decision(events=(*before, *facts, *((_started(call, 1, ctx.now),) if call else ())))


def _next_call(state: PaymentState, ctx: Context) -> GatewayCall | None:
    """The call that the state asks for; none while another one is out whose effect must be known first."""
    if state.call is not None and state.call.operation != "lookup":
        return None
    if not state.give_back:
        starting = state.stage == "created"
        return _call(state, ctx, "authorise", f"um:{state.order}:pi", state.amount) if starting else None
    again = f":{state.refusals + 1}" if state.refusals else ""
    if state.held():
        return _call(state, ctx, "void", f"um:{state.order}:void{again}", state.amount)
    if state.stage == "captured":
        amount = Money(state.refundable(), state.amount.currency)
        return _call(state, ctx, "refund", f"um:{state.give_back}{again}", amount)
    return None


def _ask_again(state: PaymentState, ctx: Context) -> tuple[Event, ...]:
    """Make the call once more, ask how the payment stands where there is none, or give back with a new key."""
    if state.call is None:
        return (_started(_lookup(state, ctx), 1, ctx.now),)
    if state.call.operation == "lookup" and state.give_back:
        return _settle(state, ctx).events
    return (_started(state.call, state.attempt + 1, ctx.now),)


def _call(state: PaymentState, ctx: Context, operation: words.Operation, key: str, amount: Money) -> GatewayCall:
    return GatewayCall(
        operation=operation,
        key=key,
        payment=ctx.id,
        amount=amount,
        method=state.method if operation == "authorise" else "",
        reference=state.reference,
    )


def _lookup(state: PaymentState, ctx: Context) -> GatewayCall:
    return _call(state, ctx, "lookup", f"um:{state.order}:lookup:{ctx.version}", state.amount)


def _started(call: GatewayCall, attempt: int, now: datetime) -> CallStarted:
    return CallStarted(at=now, call=call, attempt=attempt, retry_at=now + ANSWER_WITHIN)


def _unknown(state: PaymentState, call: GatewayCall, result: GatewayResult, now: datetime) -> CallUnknown:
    pending = call.operation == "lookup" and result.outcome == "action" and not state.give_back
    delay = ACTION_POLL if pending else retry_delay(call.key, state.attempt + state.refusals)
    return CallUnknown(at=now, key=call.key, code=result.code or result.outcome, retry_at=now + delay)


def _news(
    event: Event, state: PaymentState, id: str
) -> PaymentAuthorised | PaymentNeedsAction | PaymentRefused | PaymentCaptured | PaymentVoided | PaymentRefunded | None:
    """What the order is told of an event."""
    match event:
        case Voided():
            return PaymentVoided(payment=id)
        case Refunded():
            return PaymentRefunded(payment=id, refunded=event.refunded, full=state.stage == "refunded")
        case GiveBackWanted() | AuthorisationRefused() if state.give_back and state.stage == "refused":
            return None if state.held() else PaymentVoided(payment=id)
        case _ if state.give_back:
            return None
        case AuthorisationNeedsAction():
            return PaymentNeedsAction(payment=id, action=event.action)
        case Authorised():
            return PaymentAuthorised(payment=id)
        case AuthorisationRefused():
            return PaymentRefused(payment=id, stage="authorise", code=event.code)
        case Captured():
            return PaymentCaptured(payment=id)
        case CaptureRefused():
            return PaymentRefused(payment=id, stage="capture", code=event.code)
        case _:
            return None
