"""The lines of a cart: adding, setting and merging them within the shop's limits."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import msgspec

from ultramarket.domain.shop import Limits
from ultramarket.errors import Fault, Rejection
from ultramarket.messages.cart import (
    AddLine,
    CartKept,
    CartLine,
    CartMerged,
    CartMergedFrom,
    LineAdded,
    LineChanged,
    LineRemoved,
    MergeCart,
    MergeChange,
    Quote,
    SetLine,
)
from ultramarket.messages.refusals import invalid
from ultramarket.runtime.actor import Context, Decision

LineEvent = LineAdded | LineChanged | LineRemoved


def add(
    lines: Sequence[CartLine], currency: str, command: AddLine, limits: Limits, ctx: Context
) -> Decision | Rejection:
    """Add pieces of a SKU: a new line, or more of the line that has it."""
    if command.quantity < 1:
        return invalid([Fault("/quantity", "add at least one piece")])
    line = _find(lines, command.quote.sku)
    before = line.quantity if line else 0
    refused = (
        _other_currency([command.quote], currency)
        or _too_much(before + command.quantity, limits)
        or (_too_many(limits) if line is None and len(lines) >= limits.max_lines else None)
    )
    if refused:
        return refused
    return _kept(_put(line, command.quote, before + command.quantity, ctx), ctx)


def set_quantity(
    lines: Sequence[CartLine], currency: str, command: SetLine, limits: Limits, ctx: Context
) -> Decision | Rejection:
    """Set the quantity of a line; 0 removes it."""
    line = next((line for line in lines if line.id == command.line), None) or _find(lines, command.line)
    if line is None:
        return Rejection("line_not_found", "The cart has no such line.", 404)
    if command.quantity < 0:
        return invalid([Fault("/quantity", "a quantity is 0 or more")])
    if command.quantity == 0:
        return _kept(LineRemoved(at=ctx.now, line=line.id), ctx)
    quote = command.quote or line.quote
    if quote.sku != line.quote.sku:
        return invalid([Fault("/line", f"the quote is for {quote.sku!r}, the line has {line.quote.sku!r}")])
    if refused := _other_currency([quote], currency) or _too_much(command.quantity, limits):
        return refused
    if (quote, command.quantity) == (line.quote, line.quantity):
        return Decision(reply=CartKept(id=ctx.id, version=ctx.version))
    return _kept(_put(line, quote, command.quantity, ctx), ctx)


def merge(
    lines: Sequence[CartLine], currency: str, command: MergeCart, limits: Limits, ctx: Context, *, merged: bool
) -> Decision | Rejection:
    """Take over another cart's lines; quantities add up as far as limits and stock allow, and never fall.

    Args:
        lines: the lines of this cart.
        currency: ISO 4217 code of this cart.
        command: the other cart's lines, and how many pieces there are of each SKU.
        limits: of the shop.
        ctx: of the command.
        merged: whether the other cart was taken over before; then nothing changes.
    """
    if merged:
        return Decision(reply=CartMerged(id=ctx.id, version=ctx.version, changes=()))
    if refused := _other_currency([line.quote for line in command.lines], currency):
        return refused
    here = {line.quote.sku: line for line in lines}
    room = limits.max_lines - len(lines)
    events: list[LineEvent | CartMergedFrom] = [
        CartMergedFrom(at=ctx.now, source=command.source, source_version=command.source_version)
    ]
    changes = []
    for other in command.lines:
        sku = other.quote.sku
        line = here.get(sku)
        change = _capped(sku, line.quantity if line else 0, other.quantity, limits, command.available)
        if line is None and (change.after == 0 or room <= 0):
            changes.append(msgspec.structs.replace(change, after=0, reason="dropped"))
            continue
        changes.append(change)
        if line is None:
            room -= 1
        if change.after != change.before:
            fresher = line is None or other.quote.locked_until > line.quote.locked_until
            quote = other.quote if line is None or fresher else line.quote
            events.append(_put(line, quote, change.after, ctx))
    reply = CartMerged(id=ctx.id, version=ctx.version + len(events), changes=tuple(changes))
    return Decision(events=tuple(events), reply=reply)


def _capped(sku: str, before: int, more: int, limits: Limits, available: dict[str, int]) -> MergeChange:
    """What a SKU's quantity becomes; what was in the cart already stays there."""
    wanted = before + more
    within = min(wanted, limits.max_quantity)
    after = min(within, max(0, available.get(sku, within)))
    if after < within:
        return MergeChange(sku=sku, before=before, after=max(before, after), reason="capped_by_stock")
    reason: Literal["capped_by_limit", "merged"] = "capped_by_limit" if within < wanted else "merged"
    return MergeChange(sku=sku, before=before, after=max(before, after), reason=reason)


def _find(lines: Sequence[CartLine], sku: str) -> CartLine | None:
    return next((line for line in lines if line.quote.sku == sku), None)


def _put(line: CartLine | None, quote: Quote, quantity: int, ctx: Context) -> LineAdded | LineChanged:
    if line is None:
        return LineAdded(at=ctx.now, line=CartLine(id=_line_id(quote.sku, ctx), quote=quote, quantity=quantity))
    return LineChanged(at=ctx.now, line=CartLine(id=line.id, quote=quote, quantity=quantity))


def _line_id(sku: str, ctx: Context) -> str:
    """The same for a repeat of the command, another one for every other command and SKU."""
    return hashlib.sha256(f"{ctx.id}\n{ctx.version}\n{ctx.command}\n{sku}".encode()).hexdigest()[:20]


def _kept(event: LineEvent, ctx: Context) -> Decision:
    return Decision(events=(event,), reply=CartKept(id=ctx.id, version=ctx.version + 1))


def _other_currency(quotes: Sequence[Quote], currency: str) -> Rejection | None:
    other = next((quote.price.currency for quote in quotes if quote.price.currency != currency), None)
    if other is None:
        return None
    return Rejection("currency_mismatch", f"The cart is in {currency}, the price in {other}.", 422)


def _too_much(quantity: int, limits: Limits) -> Rejection | None:
    if quantity <= limits.max_quantity:
        return None
    detail = f"A line holds at most {limits.max_quantity} pieces."
    return Rejection("quantity_limit", detail, 422, (Fault("/quantity", detail),))


def _too_many(limits: Limits) -> Rejection:
    return Rejection("too_many_lines", f"A cart holds at most {limits.max_lines} lines.", 422)
