"""What a cart or an order costs: the one place where prices, discounts, shipping and tax come together.

total = subtotal - discount + shipping + tax, where `tax` is what comes on top of the prices and `tax_included` is what
they already hold; one of the two is zero. All amounts are exact: the lines and the shipping add up to the totals.
"""

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from ultramarket.domain.money import Money
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
    shipping: Money | None = Money(0, currency)
    if shipping_method is not None and lines:
        grams = sum(line.weight_grams * line.quantity for line in lines)
        shipping = rules.method_price(shipping_method, currency, country, grams)

    place = (country, region) if country else (channel.country, "")
    totals = [_after_discount(line) for line in lines]
    freight = shipping.amount if shipping else 0
    taxes = _taxes([*totals, freight], _rates(rules, place, lines), currency, included=channel.prices_include_tax)
    nothing = [0] * len(taxes)
    on_top, within = (nothing, taxes) if channel.prices_include_tax else (taxes, nothing)
    zero = Money(0, currency)
    priced = [
        LineTotals(
            id=line.id,
            subtotal=Money(total, currency) + line.discount if line.discount else Money(total, currency),
            discount=line.discount or zero,
            tax=Money(tax, currency) if tax else zero,
            tax_included=Money(tax_included, currency) if tax_included else zero,
            total=Money(total, currency),
        )
        for line, total, tax, tax_included in zip(lines, totals, on_top, within, strict=False)  # shipping comes last
    ]
    discount = sum([line.discount.amount for line in lines if line.discount])
    return Totals(
        subtotal=Money(sum(totals) + discount, currency),
        discount=Money(discount, currency),
        shipping=Money(freight, currency),
        tax=Money(sum(on_top), currency),
        tax_included=Money(sum(within), currency),
        total=Money(sum(totals) + freight + sum(on_top), currency),
        shipping_tax=Money(on_top[-1], currency),
        shipping_tax_included=Money(within[-1], currency),
        shipping_available=shipping is not None,
        lines=tuple(priced),
    )


def _after_discount(line: PricedLine) -> int:
    subtotal = line.unit_price.amount * line.quantity
    return subtotal if line.discount is None else subtotal - line.discount.amount


def _taxes(amounts: Sequence[int], rates: Sequence[Fraction | None], currency: str, *, included: bool) -> list[int]:
    """The tax of each amount, in minor units; no rate, no tax."""
    if not any(rates):
        return [0] * len(amounts)
    none = Fraction(0)
    parts = [Taxable(Money(amount, currency), rate or none) for amount, rate in zip(amounts, rates, strict=True)]
    return [tax.amount for tax in tax_parts(parts, currency, included=included)]


def _rates(rules: ShopRules, place: tuple[str, str], lines: Sequence[PricedLine]) -> list[Fraction | None]:
    """The rate of each line, and last that of the shipping; None where nothing taxes it."""
    if not rules.tax:
        return [None] * (len(lines) + 1)
    rows = {tax_class: rules.tax_rate(*place, tax_class) for tax_class in {line.tax_class for line in lines}}
    standard = rows[STANDARD_TAX] if STANDARD_TAX in rows else rules.tax_rate(*place, STANDARD_TAX)
    rates = [row.share if (row := rows[line.tax_class]) else None for line in lines]
    return [*rates, standard.share if standard and standard.shipping else None]


def _check(line: PricedLine, currency: str) -> None:
    if line.unit_price.currency != currency:
        raise ValueError(f"line {line.id} is priced in {line.unit_price.currency}, the sale is in {currency}")
    if line.unit_price.amount < 0 or line.quantity < 1 or line.weight_grams < 0:
        raise ValueError(f"line {line.id} has a negative price or weight, or no quantity")
    if line.discount is not None and not Money(0, currency) <= line.discount <= line.unit_price * line.quantity:
        raise ValueError(f"the discount of line {line.id} is below zero or beyond the line")
