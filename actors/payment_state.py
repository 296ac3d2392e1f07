"""The state of a payment and how events change it; what actors/payment.py decides on."""

from datetime import datetime
from typing import Literal, assert_never

import msgspec
from msgspec.structs import replace

from ultramarket.domain.money import Money
from ultramarket.errors import UltraMarketError
from ultramarket.messages import payment as words
from ultramarket.messages.payment import (
    AuthorisationNeedsAction,
    AuthorisationRefused,
    Authorised,
    CallStarted,
    CallUnknown,
    Captured,
    CaptureRefused,
    GatewayCall,
    GiveBackRefused,
    GiveBackWanted,
    PaymentCreated,
    Refunded,
    Voided,
)

Event = (
    PaymentCreated
    | CallStarted
    | CallUnknown
    | AuthorisationNeedsAction
    | Authorised
    | AuthorisationRefused
    | Captured
    | CaptureRefused
    | GiveBackWanted
    | GiveBackRefused
    | Voided
    | Refunded
)


class PaymentState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of the money.

    Attributes:
        stage: the last thing the gateway confirmed.
        authorised: minor units that the gateway holds or held; captured and refunded likewise.
        call: the call whose outcome is not known yet; `asked` while the worker has it, else it waits for `retry_at`.
        give_back: business id of the refund once the order wants nothing of the payment any more.
        refusals: how often the gateway refused the present way of giving back; each try has a key of its own.
    """

    order: str
    amount: Money
    gateway: str
    method: str
    created_at: datetime
    updated_at: datetime
    stage: Literal["created", "requires_action", "authorised", "captured", "refused", "voided", "refunded"] = "created"
    authorised: int = 0
    captured: int = 0
    refunded: int = 0
    call: GatewayCall | None = None
    attempt: int = 0
    asked: bool = False
    retry_at: datetime | None = None
    give_back: str = ""
    refusals: int = 0
    reference: str = ""
    action: str = ""
    code: str = ""

    def refundable(self) -> int:
        """Minor units that may still go back: captured, less what went back, less the refund in flight."""
        in_flight = self.call.amount.amount if self.call and self.call.operation == "refund" else 0
        return self.captured - self.refunded - in_flight

    def held(self) -> bool:
        """Whether the gateway holds, or may come to hold, an authorisation that was not captured."""
        return self.stage in ("requires_action", "authorised") or (self.stage == "refused" and self.authorised > 0)

    def shown_state(self) -> words.State:
        """The stage, or what is being done about it."""
        if self.call is None:
            return self.stage
        if self.call.operation == "capture":
            return "capturing"
        if self.give_back and self.call.operation != "authorise":
            return "refunding" if self.stage == "captured" else "voiding"
        return self.stage


def evolve(state: PaymentState | None, event: Event) -> PaymentState:
    """Apply an event.

    Raises:
        UltraMarketError: the log does not begin with PaymentCreated.
    """
    if isinstance(event, PaymentCreated):
        return PaymentState(
            order=event.order,
            amount=event.amount,
            gateway=event.gateway,
            method=event.method,
            created_at=event.at,
            updated_at=event.at,
        )
    if state is None:
        raise UltraMarketError(f"the log of a payment begins with {type(event).__name__}: restore it from a backup")
    state = replace(state, updated_at=event.at)
    # What the gateway said for good ends the call; a call that starts takes the place of the one before it.
    done = replace(state, call=None, attempt=0, asked=False, retry_at=None)
    match event:
        case CallStarted():
            return replace(state, call=event.call, attempt=event.attempt, asked=True, retry_at=event.retry_at)
        case CallUnknown():
            return replace(state, asked=False, retry_at=event.retry_at)
        case GiveBackWanted():
            return replace(state, give_back=event.refund)
        case AuthorisationNeedsAction():
            return replace(done, stage="requires_action", action=event.action, reference=event.reference)
        case Authorised():
            return replace(done, stage="authorised", authorised=state.amount.amount, reference=event.reference)
        case AuthorisationRefused() | CaptureRefused():
            return replace(done, stage="refused", code=event.code)
        case Captured():
            return replace(done, stage="captured", captured=event.amount.amount, refusals=0)
        case GiveBackRefused():
            return replace(done, refusals=state.refusals + 1, code=event.code)
        case Voided():
            return replace(done, stage="voided")
        case Refunded():
            whole = event.refunded.amount >= state.captured
            return replace(done, stage="refunded" if whole else "captured", refunded=event.refunded.amount)
        case _:
            assert_never(event)
