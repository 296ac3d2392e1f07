"""Payment: the money of one order at one gateway; its states only move forward. And the words of the gateway worker."""

from datetime import datetime
from typing import Literal

import msgspec

from ultramarket.domain.money import Money
from ultramarket.messages.common import Message, ShownMoney

Operation = Literal["authorise", "capture", "void", "refund", "lookup"]
Outcome = Literal["ok", "refused", "action", "unknown"]
State = Literal[
    "created",
    "requires_action",
    "authorised",
    "capturing",
    "captured",
    "refused",
    "voiding",
    "voided",
    "refunding",
    "refunded",
]


class GatewayCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a gateway.

    Attributes:
        operation: `lookup` asks for the payment's present state and changes nothing.
        key: idempotency key, stable over retries: `um:{order}:pi`, `um:{order}:cap`, `um:{order}:void`, `um:{refund}`.
        payment: id of the payment in the shop; the gateway keeps it as its reference.
        amount: what is authorised, captured or refunded.
        method: the means of payment (a token of the gateway), for `authorise`.
        reference: the gateway's own id of the payment, empty while it is not known; then `payment` finds it.
    """

    operation: Operation
    key: str
    payment: str
    amount: Money
    method: str = ""
    reference: str = ""


class GatewayResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway answered.

    To a `lookup`: `ok` the amounts say how the payment stands; `action` the buyer still has to act; `refused` the
    gateway refused the payment or never heard of it: it holds nothing.

    Attributes:
        outcome: `ok` the call took effect (now or when the key was first used); `refused` it never will; `action` the
            buyer must act first; `unknown` no answer or a passing error: ask again with the same key.
        code: the gateway's reason, e.g. `declined`, `insufficient_funds`, `unavailable`.
        reference: the gateway's id of the payment.
        action: where the buyer must act, for `action`.
        authorised: minor units that the gateway holds or held for us; None when not known.
        captured: minor units captured; None when not known.
        refunded: minor units sent back; None when not known.
        voided: whether the authorisation was given up.
    """

    outcome: Outcome
    code: str = ""
    reference: str = ""
    action: str = ""
    authorised: int | None = None
    captured: int | None = None
    refunded: int | None = None
    voided: bool = False


# Commands


class CreatePayment(Message, frozen=True):
    """Message of an order: authorise the amount (manual capture). Exists already: nothing."""

    order: str
    amount: Money
    gateway: str
    method: str


class CapturePayment(Message, frozen=True):
    """Message of an order whose holds are confirmed. Refused where the money is being given back."""

    order: str


class GiveBack(Message, frozen=True):
    """Message of a rejected or cancelled order: void what is authorised, refund what is captured, now or once it comes.

    `refund` is the business id of the refund, should one be needed. Answered with PaymentVoided or PaymentRefunded.
    For a payment that does not exist yet it leaves one of `amount` that refuses the late CreatePayment.
    """

    order: str
    amount: Money
    refund: str


class GatewayAnswered(Message, frozen=True):
    """Message of the gateway worker: what came of the call with this key."""

    operation: Operation
    key: str
    result: GatewayResult


class GatewayHinted(Message, frozen=True):
    """A webhook or the buyer's return says that something happened: ask the gateway, never believe it.

    Replies `PaymentKept`.
    """

    event: str


class CallGateway(Message, frozen=True):
    """Message for the gateway worker (its id is the payment's): make this call at this gateway."""

    gateway: str
    call: GatewayCall


# Events


class PaymentCreated(Message, frozen=True):
    """The payment exists and its authorisation is being asked for. `gateway` empty: given back before it was made."""

    at: datetime
    order: str
    amount: Money
    gateway: str
    method: str


class CallStarted(Message, frozen=True):
    """A gateway call is to be made; recorded before it is. `retry_at`: when to ask again if no answer came."""

    at: datetime
    call: GatewayCall
    attempt: int
    retry_at: datetime


class CallUnknown(Message, frozen=True):
    """The call's outcome is not known; the same call is made again at `retry_at`."""

    at: datetime
    key: str
    code: str
    retry_at: datetime


class AuthorisationNeedsAction(Message, frozen=True):
    """The buyer must act at `action` before the gateway decides."""

    at: datetime
    action: str
    reference: str


class Authorised(Message, frozen=True):
    """The gateway holds the amount."""

    at: datetime
    reference: str


class AuthorisationRefused(Message, frozen=True):
    """The gateway will not hold the amount."""

    at: datetime
    code: str


class Captured(Message, frozen=True):
    """The gateway confirmed the capture."""

    at: datetime
    amount: Money


class CaptureRefused(Message, frozen=True):
    """The gateway definitely refused the capture."""

    at: datetime
    code: str


class GiveBackWanted(Message, frozen=True):
    """The order wants nothing of this payment any more."""

    at: datetime
    order: str
    refund: str


class GiveBackRefused(Message, frozen=True):
    """The gateway refused the void or refund for good; it is asked how the payment stands, then with a new key."""

    at: datetime
    key: str
    code: str


class Voided(Message, frozen=True):
    """The gateway gave the authorisation up, or holds none."""

    at: datetime


class Refunded(Message, frozen=True):
    """The gateway confirmed a refund; the sum of all of them is `refunded`."""

    at: datetime
    refund: str
    refunded: Money


# Reply and the public form


class PaymentKept(msgspec.Struct, frozen=True, kw_only=True):
    """The payment after a command."""

    id: str
    version: int


class ShownPayment(msgspec.Struct, frozen=True, kw_only=True):
    """The public form of a payment; `action` is where the buyer must act, `code` the gateway's reason for a refusal."""

    id: str
    version: int
    order: str
    gateway: str
    state: State
    amount: ShownMoney
    authorised: ShownMoney
    captured: ShownMoney
    refunded: ShownMoney
    action: str | None
    code: str | None
    created_at: datetime
    updated_at: datetime
