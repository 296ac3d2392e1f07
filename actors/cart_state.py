"""What a cart knows of itself."""

from datetime import datetime

import msgspec

from ultramarket.errors import Fault, Rejection
from ultramarket.messages.cart import CartLine
from ultramarket.messages.cart_transfer import TransferOutcome
from ultramarket.messages.common import Address, Sealed


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """Lines that were given to another cart, which has not said yet whether it took them.

    Attributes:
        lines: as they were here, to be put back if it did not.
        ask_at: when it is asked, if nothing was heard until then.
    """

    id: str
    target: str
    lines: tuple[CartLine, ...]
    given_at: datetime
    ask_at: datetime


class Received(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A transfer that was settled here, remembered for its repeats: taken, or refused for this reason."""

    transfer: str
    refusal: Rejection | None = None


class CartState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A cart as it is.

    Attributes:
        subject: whose key seals its personal values.
        order: the order that freezes it, or the last one made of it.
        frozen_until: the deadline after which the order is asked; None while the cart is open.
        transfer: the merge into another cart that is under way; its lines are not in `lines` any more.
        returned: lines that came back while an order is made of the others; they join when it ends.
        outcomes: how the last merges into other carts ended.
        received: the last transfers from other carts.
    """

    subject: str
    currency: str
    channel: str
    lines: tuple[CartLine, ...] = ()
    email: Sealed | None = None
    shipping_address: Address | None = None
    billing_address: Address | None = None
    shipping_method: str | None = None
    order: str = ""
    frozen_until: datetime | None = None
    transfer: Transfer | None = None
    returned: tuple[CartLine, ...] = ()
    outcomes: tuple[TransferOutcome, ...] = ()
    received: tuple[Received, ...] = ()
    created_at: datetime
    updated_at: datetime

    @property
    def away(self) -> tuple[CartLine, ...]:
        """Lines that may come back: room is kept for them within the limits."""
        return self.transfer.lines if self.transfer else ()


def frozen(state: CartState, pointer: str | None = None) -> Rejection:
    """409 `cart_frozen`: an order is being made of the cart; `pointer` is where the request names the cart."""
    detail = "An order is being made of this cart: wait for it, or cancel it to change the cart."
    errors = (Fault(pointer, detail),) if pointer is not None else ()
    return Rejection("cart_frozen", detail, errors=errors, extra={"order": f"/api/v1/orders/{state.order}"})
