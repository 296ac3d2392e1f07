"""A merge of two carts: the source gives its lines away under a transfer, the target takes them or gives them back.

    edge --GiveLines--> source --TakeLines--> target --TransferTaken or GiveBack--> source

Each arrow between carts is a message that stays in the outbox until its receiver's commit; a repeat changes nothing.
"""

from datetime import datetime

import msgspec

from ultramarket.errors import Rejection
from ultramarket.messages.cart import CartLine, MergeChange, Quote
from ultramarket.messages.common import Message

# Commands of the edge


class AllowMerge(Message, frozen=True):
    """Told to the target first: may a merge into it begin now? Changes nothing. Replies `CartKept`."""

    expect: int | None = None


class GiveLines(Message, frozen=True):
    """Told to the source: give all lines to `target`. Replies `TransferBegun`.

    Attributes:
        quotes: today's quotes in the target's currency; a line without one goes with the quote that it has.
        available: how many pieces of each SKU there are; a SKU that is not named is not capped.
        unsold: SKUs that can't be bought in the target; they are dropped there.
        target_version: the version that the target has to have when it takes the lines; None: any.
    """

    target: str
    quotes: tuple[Quote, ...] = ()
    available: dict[str, int] = {}
    unsold: tuple[str, ...] = ()
    target_version: int | None = None


class AskTransfer(Message, frozen=True):
    """Told to the source: how does this transfer stand? Changes nothing. Replies `TransferStands`."""

    transfer: str


# Messages between the carts


class TakeLines(Message, frozen=True):
    """Message of the source: take these lines, once. Answered with `TransferTaken` or `GiveBack`.

    The attributes are those of `GiveLines`; `lines` have the quotes that hold in the target.
    """

    transfer: str
    source: str
    lines: tuple[CartLine, ...]
    available: dict[str, int] = {}
    unsold: tuple[str, ...] = ()
    target_version: int | None = None


class SettleTransfer(Message, frozen=True):
    """Message of a source that waits for long: say again what came of the transfer.

    A target that has not seen it refuses it now, and does not take it when it comes after all.
    """

    transfer: str
    source: str


class TransferTaken(Message, frozen=True):
    """Message of the target: the lines are mine now; `changes` is what they did, told the first time only."""

    transfer: str
    changes: tuple[MergeChange, ...] = ()


class GiveBack(Message, frozen=True):
    """Message of the target: I did not take the lines."""

    transfer: str
    refusal: Rejection


# Events of the source


class LinesGiven(Message, frozen=True):
    """All lines left for `target`; `lines` are as they are offered, with the quotes that hold there.

    The cart keeps its lines as they were until the transfer ends.

    Attributes:
        ask_at: when the target is asked what came of it, if nothing was heard until then.
    """

    at: datetime
    transfer: str
    target: str
    lines: tuple[CartLine, ...]
    ask_at: datetime
    available: dict[str, int] = {}
    unsold: tuple[str, ...] = ()
    target_version: int | None = None


class TransferAsked(Message, frozen=True):
    """Nothing was heard of the transfer: the target is asked, and again at `ask_at`."""

    at: datetime
    transfer: str
    target: str
    ask_at: datetime


class TransferDone(Message, frozen=True):
    """The target took the lines: they are forgotten here."""

    at: datetime
    transfer: str
    changes: tuple[MergeChange, ...] = ()


class LinesGivenBack(Message, frozen=True):
    """The target did not take the lines: they are added to what is here, as they were when they left."""

    at: datetime
    transfer: str
    refusal: Rejection


# Events of the target


class LinesTaken(Message, frozen=True):
    """The lines of `source` are taken over; the line events stand right behind this one."""

    at: datetime
    transfer: str
    source: str
    changes: tuple[MergeChange, ...]


class TransferRefused(Message, frozen=True):
    """The lines of `source` were not taken, and never will be under this transfer."""

    at: datetime
    transfer: str
    source: str
    refusal: Rejection


# Replies


class TransferBegun(msgspec.Struct, frozen=True, kw_only=True):
    """What `GiveLines` led to.

    Attributes:
        transfer: the transfer that is under way now; None: there was nothing to give.
        own: False where an earlier merge of this cart is still under way: wait for its end and ask again.
    """

    transfer: str | None = None
    own: bool = True


class TransferOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end of a transfer: what it changed in the target, or why the target did not take it."""

    transfer: str
    changes: tuple[MergeChange, ...] = ()
    refusal: Rejection | None = None


class TransferStands(msgspec.Struct, frozen=True, kw_only=True):
    """How a transfer stands; neither under way nor with an outcome: it ended so long ago that it is forgotten."""

    under_way: bool
    outcome: TransferOutcome | None = None
