"""Table tax: computed for each rate on the sum of what it taxes, then shared over the parts.

Source: EN 16931-1 (European e-invoicing), rule BR-CO-17: the tax of a category is its taxable amount x its rate,
rounded once; Directive 2006/112/EC, article 226, asks an invoice for the amounts by rate. Rounding line by line instead
would drift from the invoice by up to half a minor unit a line.
"""

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from ultramarket.domain.money import Money, add_up, ratio, share


class Taxable(msgspec.Struct, frozen=True):
    """A part of a sale: its amount (net or gross, as prices are kept) and the rate that taxes it.

    Attributes:
        amount: zero or more.
        rate: share of the net price; zero where nothing taxes it.
    """

    amount: Money
    rate: Fraction


def tax_on(amount: Money, rate: Fraction, *, included: bool) -> Money:
    """Return the tax on an amount, rounded half away from zero.

    Net amounts (`included` False) are taxed with amount x rate; gross ones hold amount x rate / (1 + rate).
    """
    denominator = rate.denominator + rate.numerator if included else rate.denominator
    return ratio(amount, rate.numerator, denominator)


def tax_parts(parts: Sequence[Taxable], code: str, *, included: bool) -> list[Money]:
    """Return the tax of each part, in order; the parts of one rate add up exactly to the tax on their sum.

    Args:
        parts: the sale, all in one currency.
        code: ISO 4217 code of that currency.
        included: whether the amounts already hold the tax.

    Raises:
        ValueError: an amount is negative or of another currency.
    """
    taxes = [Money(0, code)] * len(parts)
    for rate in {part.rate for part in parts if part.rate}:
        members = [index for index, part in enumerate(parts) if part.rate == rate]
        whole = add_up((parts[index].amount for index in members), code)
        tax = tax_on(whole, rate, included=included)
        for index, amount in zip(members, share(tax, [parts[index].amount.amount for index in members]), strict=True):
            taxes[index] = amount
    return taxes
