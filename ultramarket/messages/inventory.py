"""Inventory: the stock of one SKU; the entity's id is the SKU. Holds are entity parts named `hold:{order}`."""

from datetime import datetime
from typing import Literal

import msgspec

from ultramarket.messages.common import Message

MAIN = "main"
"""The location that every shop has."""


# Commands


class AdjustStock(Message, frozen=True):
    """Add `delta` pieces (negative: take away).

    Refused with `negative_stock` when on_hand would fall below 0 or below what is held for orders. The first
    adjustment makes the entity. Replies `StockKept`.
    """

    delta: int
    reason: str
    location: str = MAIN
    expect: int | None = None


class OpenStock(Message, frozen=True):
    """The first count of an import: takes effect only where the SKU has no stock record yet. Replies `StockKept`."""

    quantity: int
    location: str = MAIN


class ReserveStock(Message, frozen=True):
    """Message of an order: hold `quantity` until `expires_at`. Answered with `StockReserved` or `StockRefused`.

    The hold is known by the order: while it stands, a repeat answers the same and changes nothing. A reservation that
    comes after its release, which found nothing to release, is refused.

    Attributes:
        when_out: `continue` holds past zero; the product's word, brought by the order.
    """

    order: str
    quantity: int
    expires_at: datetime
    when_out: Literal["deny", "continue"] = "deny"
    location: str = MAIN


class ConfirmHold(Message, frozen=True):
    """Message of an order that is about to capture: the hold no longer expires.

    Answered with `HoldConfirmed` or `HoldLost`. A hold that expired meanwhile is taken again where the stock still
    allows it.
    """

    order: str
    quantity: int
    when_out: Literal["deny", "continue"] = "deny"
    location: str = MAIN


class ReleaseHold(Message, frozen=True):
    """Message of an order: give the hold back.

    Of an unknown hold it leaves a marker that refuses a late `ReserveStock`.
    """

    order: str
    location: str = MAIN


class CommitHold(Message, frozen=True):
    """Message of a paid order: the pieces are sold; on_hand and held fall by the hold's quantity."""

    order: str


class Restock(Message, frozen=True):
    """Message of an order cancelled after payment: the pieces are on hand again. `restock` is its business id."""

    restock: str
    quantity: int
    location: str = MAIN


# Events


class StockAdjusted(Message, frozen=True):
    """on_hand at the location changed by delta."""

    at: datetime
    delta: int
    reason: str
    location: str = MAIN


class StockHeld(Message, frozen=True):
    """A hold was taken (or taken again at its confirmation, then `expires_at` is None)."""

    at: datetime
    order: str
    quantity: int
    expires_at: datetime | None
    location: str = MAIN


class HoldKept(Message, frozen=True):
    """The hold no longer expires: it waits for its commit or release."""

    at: datetime
    order: str


class HoldReleased(Message, frozen=True):
    """The hold was given back. quantity 0: there was none, only the marker was left."""

    at: datetime
    order: str
    quantity: int
    location: str = MAIN


class HoldsExpired(Message, frozen=True):
    """These holds ran out and markers passed their time; `next_due` is when the next one will.

    Attributes:
        holds: (order, location, quantity) of each hold that ran out.
        markers: names of the entity parts that were only markers.
    """

    at: datetime
    holds: tuple[tuple[str, str, int], ...]
    next_due: datetime | None
    markers: tuple[str, ...] = ()


class HoldCommitted(Message, frozen=True):
    """The pieces left the stock."""

    at: datetime
    order: str
    quantity: int
    location: str = MAIN


class Restocked(Message, frozen=True):
    """Pieces of a cancelled order came back."""

    at: datetime
    restock: str
    quantity: int
    location: str = MAIN


# Replies, answers and the public form


class StockKept(msgspec.Struct, frozen=True, kw_only=True):
    """The stock after a command."""

    sku: str
    version: int
    on_hand: int
    held: int
    changed: bool


class StockChanged(msgspec.Struct, frozen=True, kw_only=True):
    """Public event: what the stock is now, over all locations; who holds what is not told."""

    on_hand: int
    held: int
    available: int
    version: int


class ShownStock(msgspec.Struct, frozen=True, kw_only=True):
    """The public form: pieces over all locations. `available` = on_hand - held, never below 0."""

    sku: str
    on_hand: int
    held: int
    available: int
    version: int
