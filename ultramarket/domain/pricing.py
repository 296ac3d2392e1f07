"""What a cart or an order costs: the one place where prices, discounts, shipping and tax come together.

total = subtotal - discount + shipping + tax, where `tax` is what comes on top of the prices and `tax_included` is what
they already hold; one of the two is zero. All amounts are exact: the lines and the shipping add up to the totals.
"""

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from ultramarket.domain.money import Money, add_up
from ultramarket.domain.shop import STANDARD_TAX, Channel, ShopRules
from ultramarket.domain.tax import Taxable, tax_parts


class PricedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line to be priced.

    Attributes:
        quantity: pieces, at least 1.
        weight_grams: of one piece.
        discount: taken off the whole line, at most its subtotal; None: nothing.
    """

    id: str
    unit_price: Money
    quantity: int
    weight_grams: int = 0
    tax_class: str = STANDARD_TAX
    discount: Money | None = None


class LineTotals(msgspec.Struct, frozen=True, kw_only=True):
    """The amounts of a line.

    Attributes:
        subtotal: unit price x quantity.
        tax: comes on top of `total`.
        tax_included: held by `total`.
        total: subtotal - discount: what the buyer pays for the line without tax to be added.
    """

    id: str
    subtotal: Money
    discount: Money
    tax: Money
    tax_included: Money
    total: Money


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The amounts of a cart or an order; total = subtotal - discount + shipping + tax.

    Attributes:
        tax: comes on top of the prices: that of the lines and `shipping_tax`.
        tax_included: held by the prices: that of the lines and `shipping_tax_included`.
        shipping_available: False where the chosen shipping method can't be had for this destination, weight or
            currency; shipping is then counted as zero, and a checkout has to refuse.
    """

    subtotal: Money
    discount: Money
    shipping: Money
    tax: Money
    tax_included: Money
    total: Money
    shipping_tax: Money
    shipping_tax_included: Money
    shipping_available: bool
    lines: tuple[LineTotals, ...]


def price(
    lines: Sequence[PricedLine],
    channel: Channel,
    rules: ShopRules,
    *,
    country: str,
    region: str,
    shipping_method: str | None,
    currency: str,
) -> Totals:
    """Price the lines.

    Gross prices are the same for every destination; the tax they hold is that of the destination. Shipping is taxed
    as `standard` goods of the destination where that row of the table says so.

    Args:
        lines: what is bought; none costs nothing, shipping included.
        channel: says whether prices include tax, and the country to reckon with while `country` is empty.
        rules: shipping methods and tax table.
        country: ISO 3166-1 alpha-2 of the destination, empty while it is not known.
        region: state or province code of the destination, or empty.
        shipping_method: code of the chosen method, None while none is chosen.
        currency: ISO 4217 code of every amount.

    Raises:
        ValueError: an amount of another currency or below zero, a quantity below 1, a discount beyond its line.
    """
    for line in lines:
        _check(line, currency)
    zero = Money(0, currency)
    shipping: Money | None = zero
    if shipping_method is not None and lines:
        grams = sum(line.weight_grams * line.quantity for line in lines)
        shipping = rules.method_price(shipping_method, currency, country, grams)

    place = (country, region) if country else (channel.country, "")
    parts = [Taxable(_after_discount(line), _rate(rules, place, line.tax_class)) for line in lines]
    parts.append(Taxable(shipping or zero, _shipping_rate(rules, place)))
    taxes = tax_parts(parts, currency, included=channel.prices_include_tax)
    zeros = [zero] * len(parts)
    on_top, within = (zeros, taxes) if channel.prices_include_tax else (taxes, zeros)
    priced = tuple(_line_totals(*amounts) for amounts in zip(lines, on_top[:-1], within[:-1], strict=True))

    tax = add_up(on_top, currency)
    return Totals(
        subtotal=add_up((line.subtotal for line in priced), currency),
        discount=add_up((line.discount for line in priced), currency),
        shipping=shipping or zero,
        tax=tax,
        tax_included=add_up(within, currency),
        total=add_up((part.amount for part in parts), currency) + tax,
        shipping_tax=on_top[-1],
        shipping_tax_included=within[-1],
        shipping_available=shipping is not None,
        lines=priced,
    )


def _after_discount(line: PricedLine) -> Money:
    subtotal = line.unit_price * line.quantity
    return subtotal if line.discount is None else subtotal - line.discount


def _line_totals(line: PricedLine, tax: Money, tax_included: Money) -> LineTotals:
    return LineTotals(
        id=line.id,
        subtotal=line.unit_price * line.quantity,
        discount=line.discount or line.unit_price * 0,
        tax=tax,
        tax_included=tax_included,
        total=_after_discount(line),
    )


def _check(line: PricedLine, currency: str) -> None:
    if line.unit_price.currency != currency:
        raise ValueError(f"line {line.id} is priced in {line.unit_price.currency}, the sale is in {currency}")
    if line.unit_price.amount < 0 or line.quantity < 1 or line.weight_grams < 0:
        raise ValueError(f"line {line.id} has a negative price or weight, or no quantity")
    if line.discount is not None and not Money(0, currency) <= line.discount <= line.unit_price * line.quantity:
        raise ValueError(f"the discount of line {line.id} is below zero or beyond the line")


def _rate(rules: ShopRules, place: tuple[str, str], tax_class: str) -> Fraction:
    row = rules.tax_rate(*place, tax_class)
    return row.share if row else Fraction(0)


def _shipping_rate(rules: ShopRules, place: tuple[str, str]) -> Fraction:
    row = rules.tax_rate(*place, STANDARD_TAX)
    return row.share if row and row.shipping else Fraction(0)
