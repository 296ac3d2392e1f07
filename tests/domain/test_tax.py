from fractions import Fraction

import pytest

from ultramarket.domain.money import Money
from ultramarket.domain.tax import Taxable, tax_on, tax_parts

NINETEEN, SEVEN = Fraction("0.19"), Fraction("0.07")


def eur(amount: int) -> Money:
    return Money(amount, "EUR")


def test_net_amounts_are_taxed_on_top_and_gross_ones_hold_their_tax() -> None:
    assert tax_on(eur(10000), NINETEEN, included=False) == eur(1900)
    assert tax_on(eur(11900), NINETEEN, included=True) == eur(1900)
    assert tax_on(eur(999), NINETEEN, included=True) == eur(160)  # 1.5950
    assert tax_on(Money(999, "JPY"), Fraction("0.1"), included=False) == Money(100, "JPY")


def test_tax_is_computed_on_the_sum_of_a_rate_not_line_by_line() -> None:
    # Three times 0.03 at 19 %: each line alone rounds to 0.01 (0.0057), the sum to 0.02 (0.0171).
    assert tax_parts([Taxable(eur(3), NINETEEN)] * 3, "EUR", included=False) == [eur(1), eur(1), eur(0)]


def test_each_rate_is_summed_for_itself_and_untaxed_parts_stay_out() -> None:
    parts = [
        Taxable(eur(1000), NINETEEN),
        Taxable(eur(1000), SEVEN),
        Taxable(eur(1000), Fraction(0)),
        Taxable(eur(3000), NINETEEN),
    ]
    assert tax_parts(parts, "EUR", included=False) == [eur(190), eur(70), eur(0), eur(570)]


def test_nothing_sold_is_nothing_taxed() -> None:
    assert tax_parts([], "EUR", included=True) == []
    assert tax_parts([Taxable(eur(0), NINETEEN)], "EUR", included=True) == [eur(0)]


def test_amounts_below_zero_or_of_another_currency_are_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        tax_parts([Taxable(eur(-1), NINETEEN)], "EUR", included=False)
    with pytest.raises(ValueError, match="don't mix"):
        tax_parts([Taxable(Money(1, "USD"), NINETEEN)], "EUR", included=False)
