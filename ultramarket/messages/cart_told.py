"""Public events of a cart: what those are told who know its id. No personal value, no other cart's id is in them."""

from typing import Literal

import msgspec

from ultramarket.messages.cart import CartLine, MergeChange
from ultramarket.messages.common import ShownMoney, Text, shown


class ToldLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line as an event tells it: what it is, how many, and for how much a piece; totals are the cart's."""

    id: str
    sku: str
    product: str
    title: Text
    variant_title: Text
    quantity: int
    unit_price: ShownMoney


class CartCreated(msgspec.Struct, frozen=True, kw_only=True):
    """The cart exists."""

    currency: str
    channel: str


class LineAdded(msgspec.Struct, frozen=True, kw_only=True):
    """A new line."""

    line: ToldLine


class LineChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The line is like this now."""

    line: ToldLine


class LineRemoved(msgspec.Struct, frozen=True, kw_only=True):
    """The line with this id is gone."""

    line: str


class CartPatched(msgspec.Struct, frozen=True, kw_only=True):
    """These fields were set or cleared; what they are now, the cart itself says."""

    fields: tuple[str, ...]


class CartFroze(msgspec.Struct, frozen=True, kw_only=True):
    """This order is being made of the cart, which keeps still meanwhile."""

    order: str


class CartOpened(msgspec.Struct, frozen=True, kw_only=True):
    """The order was not made: the cart may change again."""

    order: str


class CartCleared(msgspec.Struct, frozen=True, kw_only=True):
    """The cart is empty and open: its order is paid, or (in old carts) another cart took its lines."""

    reason: Literal["ordered", "merged"]


class LinesGiven(msgspec.Struct, frozen=True, kw_only=True):
    """All lines left for another cart."""


class LinesGivenBack(msgspec.Struct, frozen=True, kw_only=True):
    """The other cart did not take the lines: they are here again, as the cart itself says."""


class LinesTaken(msgspec.Struct, frozen=True, kw_only=True):
    """Lines of another cart came in; the lines as they are now follow as events of their own."""

    changes: tuple[MergeChange, ...]


def told_line(line: CartLine) -> ToldLine:
    """A line as an event tells it."""
    quote = line.quote
    return ToldLine(
        id=line.id,
        sku=quote.sku,
        product=quote.product,
        title=quote.title,
        variant_title=quote.variant_title,
        quantity=line.quantity,
        unit_price=shown(quote.price),
    )
