"""The lines of a cart: adding, setting and merging them within the shop's limits."""

import hashlib
from collections.abc import Sequence

import msgspec

from ultramarket.domain.shop import Limits
from ultramarket.errors import Fault, Rejection
from ultramarket.messages.cart import (
    AddLine,
    CartKept,
    CartLine,
    LineAdded,
    LineChanged,
    LineRemoved,
    MergeChange,
    MergeReason,
    Quote,
    SetLine,
)
from ultramarket.messages.cart_transfer import TakeLines
from ultramarket.messages.refusals import invalid
from ultramarket.runtime.actor import Context, Decision

LineEvent = LineAdded | LineChanged | LineRemoved


def add(
    lines: Sequence[CartLine],
    away: Sequence[CartLine],
    currency: str,
    command: AddLine,
    limits: Limits,
    ctx: Context,
) -> Decision | Rejection:
    """Add pieces of a SKU: a new line, or more of the line that has it. Room is kept for lines that are `away`."""
    if command.quantity < 1:
        return invalid([Fault("/quantity", "add at least one piece")])
    sku = command.quote.sku
    line = _find(lines, sku)
    before = line.quantity if line else 0
    kept = _skus(lines) | _skus(away)
    refused = (
        _other_currency([command.quote], currency)
        or _too_much(before + command.quantity + _pieces(away, sku), limits)
        or (_too_many(limits) if sku not in kept and len(kept) >= limits.max_lines else None)
    )
    if refused:
        return refused
    return _kept(_put(line, command.quote, before + command.quantity, ctx), ctx)


def set_quantity(
    lines: Sequence[CartLine],
    away: Sequence[CartLine],
    currency: str,
    command: SetLine,
    limits: Limits,
    ctx: Context,
) -> Decision | Rejection:
    """Set the quantity of a line; 0 removes it. Room is kept for lines that are `away`."""
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
    if refused := _other_currency([quote], currency) or _too_much(command.quantity + _pieces(away, quote.sku), limits):
        return refused
    if (quote, command.quantity) == (line.quote, line.quantity):
        return Decision(reply=CartKept(id=ctx.id, version=ctx.version))
    return _kept(_put(line, quote, command.quantity, ctx), ctx)


class TakenLine(msgspec.Struct, frozen=True, kw_only=True):
    """What comes of one line that another cart gives: the change for people, and the line's quote from then on."""

    change: MergeChange
    quote: Quote


def offered(lines: Sequence[CartLine], quotes: Sequence[Quote]) -> tuple[CartLine, ...]:
    """The lines with these quotes, where there is one of the SKU."""
    fresh = {quote.sku: quote for quote in quotes}
    return tuple(msgspec.structs.replace(line, quote=fresh.get(line.quote.sku, line.quote)) for line in lines)


def taken(
    lines: Sequence[CartLine], away: Sequence[CartLine], given: TakeLines, limits: Limits
) -> tuple[TakenLine, ...]:
    """What comes of each line that another cart gives.

    Quantities add up as far as limits and stock allow, and never fall; of two quotes the fresher one holds. So the
    order of merges with the same `available` does not matter: each SKU ends with the same quantity and quote. What is
    beyond a cap is dropped. A cart's own lines keep their place; new ones follow in the order of the source.

    Args:
        lines: the lines of this cart.
        away: lines that may come back to this cart: what they need of the limits is not given to others.
        given: the other cart's lines, and how many pieces there are of each SKU.
        limits: of the shop.
    """
    here = {line.quote.sku: line for line in lines}
    found = []
    for other in given.lines:
        sku = other.quote.sku
        line = here.get(sku)
        before = line.quantity if line else 0
        if sku in given.unsold:
            change = MergeChange(sku=sku, before=before, after=before, reason="dropped")
            quote = line.quote if line else other.quote
        else:
            limit = max(0, limits.max_quantity - _pieces(away, sku))
            change = _capped(sku, before, other.quantity, limit, given.available)
            quote = fresher(line.quote, other.quote) if line else other.quote
        found.append(TakenLine(change=change, quote=quote))
    return tuple(found)


def untakeable(
    lines: Sequence[CartLine], away: Sequence[CartLine], currency: str, given: TakeLines, limits: Limits
) -> Rejection | None:
    """Why the lines of another cart can't be taken at all: their currency, or their number; None where they can."""
    sold = [line.quote for line in given.lines if line.quote.sku not in given.unsold]
    if refused := _other_currency(sold, currency):
        return refused
    kept = _skus(lines) | _skus(away)
    grown = kept | {each.change.sku for each in taken(lines, away, given, limits) if each.change.after}
    return _too_many(limits) if len(grown) > max(len(kept), limits.max_lines) else None


def recorded(
    lines: Sequence[CartLine], taken: Sequence[TakenLine], ctx: Context
) -> tuple[LineAdded | LineChanged, ...]:
    """The events of what was taken; none for a line that stays as it is or that nothing came of."""
    here = {line.quote.sku: line for line in lines}
    return tuple(
        _put(line, each.quote, each.change.after, ctx)
        for each in taken
        for line in (here.get(each.change.sku),)
        if (each.change.after if line is None else (line.quote, line.quantity) != (each.quote, each.change.after))
    )


def restored(lines: Sequence[CartLine], back: Sequence[CartLine]) -> tuple[CartLine, ...]:
    """The cart after lines came back: as if they had never been away.

    They have their old ids and places; pieces that were put in meanwhile are added, and the fresher quote holds.
    What else was put in meanwhile follows. No limit applies here: `add` and the rest keep room for what is away.
    """
    meanwhile = {line.quote.sku: line for line in lines}
    old = [_joined(line, meanwhile.pop(line.quote.sku, None)) for line in back]
    return (*old, *meanwhile.values())


def fresher(one: Quote, other: Quote) -> Quote:
    """The quote that holds longer; of two that hold as long always the same one, whichever comes first."""
    return max(one, other, key=lambda quote: (quote.locked_until, quote.product_version, msgspec.json.encode(quote)))


def _joined(line: CartLine, more: CartLine | None) -> CartLine:
    if more is None:
        return line
    return CartLine(id=line.id, quote=fresher(line.quote, more.quote), quantity=line.quantity + more.quantity)


def _capped(sku: str, before: int, more: int, limit: int, available: dict[str, int]) -> MergeChange:
    """What a SKU's quantity becomes; what was in the cart already stays there."""
    wanted = before + more
    within = min(wanted, limit)
    after = max(before, min(within, max(0, available.get(sku, within))))
    reason: MergeReason
    if after == 0:
        reason = "dropped"
    elif after < within:
        reason = "capped_by_stock"
    else:
        reason = "capped_by_limit" if after < wanted else "merged"
    return MergeChange(sku=sku, before=before, after=after, reason=reason)


def _skus(lines: Sequence[CartLine]) -> set[str]:
    return {line.quote.sku for line in lines}


def _pieces(lines: Sequence[CartLine], sku: str) -> int:
    line = _find(lines, sku)
    return line.quantity if line else 0


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
