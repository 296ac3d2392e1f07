"""What those who know a cart's id are told of its events. Pure."""

from typing import TYPE_CHECKING, Any, assert_never

from msgspec import UNSET

from ultramarket.messages import cart, cart_told, cart_transfer

if TYPE_CHECKING:
    from actors.cart import Event

_PATCHED = ("email", "shipping_address", "billing_address", "shipping_method")


def tell(event: "Event") -> Any:
    """The public event; None for an internal one: a deadline that moved, or a merge's talk between carts."""
    match event:
        case cart.CartCreated():
            return cart_told.CartCreated(currency=event.currency, channel=event.channel)
        case cart.LineAdded():
            return cart_told.LineAdded(line=cart_told.told_line(event.line))
        case cart.LineChanged():
            return cart_told.LineChanged(line=cart_told.told_line(event.line))
        case cart.LineRemoved():
            return cart_told.LineRemoved(line=event.line)
        case cart.CartPatched():
            fields = tuple(name for name in _PATCHED if getattr(event, name) is not UNSET)
            return cart_told.CartPatched(fields=fields)
        case cart.CartFroze():
            return cart_told.CartFroze(order=event.order)
        case cart.CartOpened():
            return cart_told.CartOpened(order=event.order)
        case cart.CartCleared():
            return cart_told.CartCleared(reason=event.reason)
        case cart_transfer.LinesGiven():
            return cart_told.LinesGiven()
        case cart_transfer.LinesGivenBack():
            return cart_told.LinesGivenBack()
        case cart_transfer.LinesTaken():
            return cart_told.LinesTaken(changes=event.changes)
        case (
            cart.FreezeExtended()
            | cart.CartMergedFrom()
            | cart_transfer.TransferAsked()
            | cart_transfer.TransferDone()
            | cart_transfer.TransferRefused()
        ):
            return None
        case _:
            assert_never(event)
