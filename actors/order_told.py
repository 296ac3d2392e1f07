"""What those who know an order's id, and staff, are told of its events. Pure."""

from typing import Any, assert_never

from actors.order_state import Event
from ultramarket.messages import order, order_told
from ultramarket.messages.common import shown


def tell(event: Event) -> Any:
    """The public event; None for an internal one: a step between the actors that the buyer can't tell apart."""
    match event:
        case order.OrderStarted():
            return order_told.OrderStarted(number=event.number)
        case order.OrderFilled():
            return order_told.OrderFilled(lines=event.lines, totals=event.totals)
        case order.PaymentStarted():
            return order_told.PaymentStarted(payment=event.payment, amount=shown(event.amount))
        case order.ActionNeeded():
            return order_told.ActionNeeded(action=event.action, deadline=event.deadline)
        case order.OrderAuthorised():
            return order_told.OrderAuthorised()
        case order.OrderPaid():
            return order_told.OrderPaid()
        case order.OrderRejected():
            return order_told.OrderRejected(reason=event.reason)
        case order.OrderCancelled():
            return order_told.OrderCancelled(reason=event.reason)
        case order.PaymentGivenBack():
            return order_told.PaymentGivenBack()
        case order.OrderRefunded():
            return order_told.OrderRefunded(refunded=shown(event.refunded), full=event.full)
        case (
            order.QuotesAccepted()
            | order.QuotesRefused()
            | order.ReservationStarted()
            | order.StockWasReserved()
            | order.HoldWasConfirmed()
            | order.CaptureStarted()
            | order.StepReminded()
        ):
            return None
        case _:
            assert_never(event)
