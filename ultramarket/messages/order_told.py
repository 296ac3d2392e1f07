"""Public events of an order: what those are told who know its id. No personal value is in them."""

from datetime import datetime

import msgspec

from ultramarket.messages.cart import ShownLine, ShownTotals
from ultramarket.messages.common import ShownMoney
from ultramarket.messages.order import Reason


class OrderStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The order exists; its cart is being read."""

    number: str


class OrderFilled(msgspec.Struct, frozen=True, kw_only=True):
    """What is bought, and what it costs."""

    lines: tuple[ShownLine, ...]
    totals: ShownTotals


class PaymentStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The stock is held; the amount is being asked for."""

    payment: str
    amount: ShownMoney


class ActionNeeded(msgspec.Struct, frozen=True, kw_only=True):
    """The buyer must act at this address before the deadline."""

    action: str
    deadline: datetime


class OrderAuthorised(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway holds the amount, or there is nothing to pay."""


class OrderPaid(msgspec.Struct, frozen=True, kw_only=True):
    """The money is ours: the order stands."""


class OrderRejected(msgspec.Struct, frozen=True, kw_only=True):
    """The order will not be, and why."""

    reason: Reason


class OrderCancelled(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody cancelled, and why."""

    reason: Reason


class PaymentGivenBack(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway held for a rejected or cancelled order is the buyer's again."""


class OrderRefunded(msgspec.Struct, frozen=True, kw_only=True):
    """This much of the money has gone back in all; `full`: all of it."""

    refunded: ShownMoney
    full: bool
