"""What a cart costs: the parts add up exactly, and each is what an exact calculation with fractions says."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from ultramarket.domain.money import EXPONENTS, Money
from ultramarket.domain.pricing import PricedLine, Totals, price
from ultramarket.domain.shop import Channel, ShippingMethod, ShippingRate, ShopRules, TaxRate

# One of each exponent that ISO 4217 has, and then all of them.
CURRENCIES = st.sampled_from(["JPY", "USD", "KWD", "CLF"]) | st.sampled_from(sorted(EXPONENTS))
CLASSES = st.sampled_from(["standard", "reduced", "books", "exempt"])
RATES = st.decimals("0", "0.5", places=4).map(str)


@st.composite
def sales(draw: st.DrawFn) -> tuple[list[PricedLine], ShopRules, str, str | None]:
    """Lines, the shop's rules, a currency and a shipping method."""
    code = draw(CURRENCIES)
    lines = []
    for number in range(draw(st.integers(0, 6))):
        amount, quantity = draw(st.integers(0, 10**7)), draw(st.integers(1, 999))
        off = draw(st.none() | st.integers(0, amount * quantity))
        lines.append(
            PricedLine(
                id=f"line-{number}",
                unit_price=Money(amount, code),
                quantity=quantity,
                weight_grams=draw(st.integers(0, 5000)),
                tax_class=draw(CLASSES),
                discount=None if off is None else Money(off, code),
            )
        )
    taxed = draw(st.sets(st.tuples(st.sampled_from(["", "BY"]), st.sampled_from(["standard", "reduced"]))))
    rules = ShopRules(
        channels=(
            Channel(name="default", currency=code, country="DE", language="en", prices_include_tax=draw(st.booleans())),
        ),
        shipping=(
            ShippingMethod(
                code="post",
                title={"en": "Post"},
                rates=(ShippingRate(price=Money(draw(st.integers(0, 10**5)), code), up_to_grams=None),),
            ),
        ),
        tax=tuple(
            TaxRate(country="DE", region=region, tax_class=kind, rate=draw(RATES), shipping=draw(st.booleans()))
            for region, kind in sorted(taxed)
        ),
    )
    return lines, rules, code, draw(st.sampled_from([None, "post"]))


def priced(sale: tuple[list[PricedLine], ShopRules, str, str | None], region: str = "") -> Totals:
    lines, rules, code, method = sale
    return price(lines, rules.channels[0], rules, country="DE", region=region, shipping_method=method, currency=code)


@given(sales(), st.sampled_from(["", "BY"]))
def test_the_parts_add_up_to_the_whole_in_every_currency(
    sale: tuple[list[PricedLine], ShopRules, str, str | None], region: str
) -> None:
    totals, code = priced(sale, region), sale[2]
    lines = totals.lines

    def add_up(amounts: list[Money]) -> Money:
        return sum(amounts, Money(0, code))

    assert totals.total == totals.subtotal - totals.discount + totals.shipping + totals.tax
    assert totals.subtotal == add_up([line.subtotal for line in lines])
    assert totals.discount == add_up([line.discount for line in lines])
    assert totals.tax == add_up([line.tax for line in lines]) + totals.shipping_tax
    assert totals.tax_included == add_up([line.tax_included for line in lines]) + totals.shipping_tax_included
    assert totals.total == add_up([line.total for line in lines]) + totals.shipping + totals.tax
    assert not (totals.tax and totals.tax_included)
    for line in lines:
        assert line.total == line.subtotal - line.discount
        assert line.tax_included.amount <= line.total.amount
        assert min(line.subtotal.amount, line.discount.amount, line.tax.amount, line.total.amount) >= 0


@given(sales(), st.sampled_from(["", "BY"]))
def test_the_tax_of_each_rate_is_the_exact_tax_of_its_sum_rounded_once(
    sale: tuple[list[PricedLine], ShopRules, str, str | None], region: str
) -> None:
    lines, rules, _, _ = sale
    totals = priced(sale, region)
    included = rules.channels[0].prices_include_tax
    parts = [(rules.tax_rate("DE", region, line.tax_class), line.unit_price.amount * line.quantity
              - (line.discount.amount if line.discount else 0), index) for index, line in enumerate(lines)]  # fmt: skip
    shipping = rules.tax_rate("DE", region, "standard")
    parts.append((shipping if shipping and shipping.shipping else None, totals.shipping.amount, len(lines)))
    told = [line.tax_included.amount if included else line.tax.amount for line in totals.lines]
    told.append((totals.shipping_tax_included if included else totals.shipping_tax).amount)
    by_rate: dict[Fraction, list[tuple[int, int]]] = {}
    for row, amount, index in parts:
        by_rate.setdefault(Fraction(row.rate) if row else Fraction(0), []).append((amount, index))
    for rate, members in by_rate.items():
        whole = sum(amount for amount, _ in members)
        exact = whole * rate / (1 + rate) if included else whole * rate
        assert abs(sum(told[index] for _, index in members) - exact) <= Fraction(1, 2)
        for amount, index in members:  # no line is further from its share than one minor unit
            share = amount * rate / (1 + rate) if included else amount * rate
            assert abs(told[index] - share) < 2


@given(sales())
def test_the_order_of_the_lines_changes_no_total(
    sale: tuple[list[PricedLine], ShopRules, str, str | None],
) -> None:
    lines, rules, code, method = sale
    there, back = priced(sale), priced((lines[::-1], rules, code, method))
    for name in ("subtotal", "discount", "shipping", "tax", "tax_included", "total"):
        assert getattr(there, name) == getattr(back, name)


@given(CURRENCIES, st.integers(0, 10**12))
def test_an_amount_is_read_as_it_was_written(code: str, amount: int) -> None:
    money = Money(amount, code)
    assert Money.parse(money.text(), code) == money
