"""Public forms that carts and orders share: priced lines, totals and addresses. All of it is pure."""

from collections.abc import Callable, Sequence

from ultramarket.domain.pricing import PricedLine, Totals, price
from ultramarket.domain.shop import ShopRules
from ultramarket.messages.cart import CartLine, ShownLine, ShownTotals
from ultramarket.messages.common import Address, Sealed, ShownAddress, shown


def priced_line(line: CartLine) -> PricedLine:
    """What pricing wants to know of a line."""
    quote = line.quote
    return PricedLine(
        id=line.id,
        unit_price=quote.price,
        quantity=line.quantity,
        weight_grams=quote.weight_grams,
        tax_class=quote.tax_class,
    )


def price_cart(
    lines: Sequence[CartLine],
    rules: ShopRules,
    *,
    channel: str,
    currency: str,
    destination: Address | None,
    shipping_method: str | None,
) -> Totals:
    """Price the lines of a cart or an order; no shipping method costs no shipping.

    Args:
        lines: what is bought, at the prices of its quotes.
        rules: the shop's channels, shipping methods and taxes.
        channel: name of the channel; one that the shop gave up is reckoned as its first.
        currency: ISO 4217 code of every quote.
        destination: where it goes, None while that is not known.
        shipping_method: code of the method, None while none is chosen.

    Raises:
        ValueError: a quote has another currency, or the shop has no channel at all.
    """
    found = rules.channel(channel) or next(iter(rules.channels), None)
    if found is None:
        raise ValueError("the shop's rules name no channel: nothing can be priced")
    return price(
        [priced_line(line) for line in lines],
        found,
        rules,
        country=destination.country if destination else "",
        region=destination.region if destination else "",
        shipping_method=shipping_method,
        currency=currency,
    )


def show_lines(lines: Sequence[CartLine], totals: Totals) -> tuple[ShownLine, ...]:
    """The public form of the lines, with their share of the totals; both in the same order."""
    return tuple(
        [
            ShownLine(
                id=line.id,
                sku=line.quote.sku,
                product=line.quote.product,
                title=line.quote.title,
                variant_title=line.quote.variant_title,
                quantity=line.quantity,
                unit_price=shown(line.quote.price),
                discount=shown(amounts.discount),
                tax=shown(amounts.tax),
                tax_included=shown(amounts.tax_included),
                total=shown(amounts.total),
            )
            for line, amounts in zip(lines, totals.lines, strict=True)
        ]
    )


def show_totals(totals: Totals) -> ShownTotals:
    """The public form of the totals."""
    return ShownTotals(
        subtotal=shown(totals.subtotal),
        discount=shown(totals.discount),
        shipping=shown(totals.shipping),
        tax=shown(totals.tax),
        tax_included=shown(totals.tax_included),
        total=shown(totals.total),
    )


def show_address(address: Address | None, unseal: Callable[[Sealed], str]) -> ShownAddress | None:
    """The public form of an address, its sealed parts opened; None stays None."""
    if address is None:
        return None
    return ShownAddress(
        name=unseal(address.name),
        line1=unseal(address.line1),
        line2=unseal(address.line2) if address.line2 else None,
        city=unseal(address.city),
        region=address.region,
        postal_code=unseal(address.postal_code) if address.postal_code else None,
        country=address.country,
        phone=unseal(address.phone) if address.phone else None,
    )
