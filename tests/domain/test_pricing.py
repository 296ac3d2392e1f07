from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultramarket.domain.money import Money, add_up
from ultramarket.domain.pricing import LineTotals, PricedLine, Totals, price
from ultramarket.domain.shop import Channel, ShippingMethod, ShippingRate, ShopRules, TaxRate

NET = Channel(name="us", currency="USD", country="US", language="en", prices_include_tax=False)
GROSS = Channel(name="de", currency="EUR", country="DE", language="de", prices_include_tax=True)
RULES = ShopRules(
    channels=(NET, GROSS),
    shipping=(
        ShippingMethod(
            code="standard",
            title={"en": "Standard"},
            rates=tuple(ShippingRate(price=Money(495, code)) for code in ("USD", "EUR", "JPY", "KWD", "CLF")),
        ),
        ShippingMethod(
            code="heavy",
            title={"en": "Heavy"},
            kind="by_weight",
            rates=(ShippingRate(price=Money(900, "USD"), up_to_grams=2000),),
            countries=("US",),
        ),
    ),
    tax=(
        TaxRate(country="US", region="NY", rate="0.08875"),
        TaxRate(country="US", region="TX", rate="0.0625", shipping=False),
        TaxRate(country="DE", rate="0.19"),
        TaxRate(country="DE", rate="0.07", tax_class="reduced"),
    ),
)


def line(id: str, amount: int, code: str, quantity: int = 1, **more: Any) -> PricedLine:
    return PricedLine(id=id, unit_price=Money(amount, code), quantity=quantity, **more)


def priced(lines: list[PricedLine], channel: Channel = NET, **more: Any) -> Totals:
    where = {"country": "", "region": "", "shipping_method": None, "currency": channel.currency} | more
    return price(lines, channel, RULES, **where)


def amounts(totals: Totals) -> dict[str, int]:
    return {name: value.amount for name, value in msgspec.structs.asdict(totals).items() if isinstance(value, Money)}


def test_net_prices_get_shipping_and_tax_on_top() -> None:
    totals = priced(
        [line("a", 2400, "USD", 2), line("b", 1000, "USD", discount=Money(100, "USD"))],
        country="US",
        region="NY",
        shipping_method="standard",
    )
    # (48.00 + 9.00 + 4.95) x 8.875 % = 5.498..., so 5.50.
    assert amounts(totals) == {
        "subtotal": 5800,
        "discount": 100,
        "shipping": 495,
        "tax": 550,
        "tax_included": 0,
        "total": 6745,
        "shipping_tax": 44,
        "shipping_tax_included": 0,
    }
    assert totals.lines[1] == LineTotals(
        id="b",
        subtotal=Money(1000, "USD"),
        discount=Money(100, "USD"),
        tax=Money(80, "USD"),
        tax_included=Money(0, "USD"),
        total=Money(900, "USD"),
    )


def test_gross_prices_hold_their_tax_and_the_total_stays() -> None:
    totals = priced(
        [line("a", 11900, "EUR"), line("b", 1070, "EUR", tax_class="reduced")], GROSS, shipping_method="standard"
    )
    assert amounts(totals) == {
        "subtotal": 12970,
        "discount": 0,
        "shipping": 495,
        "tax": 0,
        "tax_included": 2049,
        "total": 13465,
        "shipping_tax": 0,
        "shipping_tax_included": 79,
    }
    assert [each.tax_included.amount for each in totals.lines] == [1900, 70]


def test_shipping_stays_untaxed_where_the_table_says_so() -> None:
    totals = priced([line("a", 10000, "USD")], country="US", region="TX", shipping_method="standard")
    assert (totals.tax, totals.shipping_tax) == (Money(625, "USD"), Money(0, "USD"))


def test_exempt_goods_are_not_taxed() -> None:
    assert priced([line("a", 10000, "EUR", tax_class="exempt")], GROSS).tax_included == Money(0, "EUR")


def test_an_unknown_destination_is_reckoned_with_the_channels_country_without_region() -> None:
    assert priced([line("a", 11900, "EUR")], GROSS).tax_included == Money(1900, "EUR")
    assert priced([line("a", 10000, "USD")], region="NY").tax == Money(0, "USD")


def test_an_empty_cart_costs_nothing_not_even_shipping() -> None:
    totals = priced([], shipping_method="standard")
    assert set(amounts(totals).values()) == {0}
    assert totals.shipping_available


@pytest.mark.parametrize(
    ("more", "available"),
    [
        ({"shipping_method": None}, True),
        ({"shipping_method": "heavy", "country": "US"}, True),
        ({"shipping_method": "heavy", "country": "FR"}, False),
        ({"shipping_method": "unknown"}, False),
    ],
)
def test_a_method_that_cannot_be_had_is_said_and_costs_nothing(more: dict[str, str], available: bool) -> None:
    totals = priced([line("a", 100, "USD", 2, weight_grams=1000)], NET, **more)
    assert totals.shipping_available is available
    assert totals.total == Money(200, "USD") + totals.shipping


def test_the_parcel_weighs_what_all_pieces_weigh() -> None:
    assert priced([line("a", 1, "USD", 2, weight_grams=1000)], shipping_method="heavy").shipping == Money(900, "USD")
    assert not priced([line("a", 1, "USD", 3, weight_grams=1000)], shipping_method="heavy").shipping_available


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (line("a", 1, "EUR"), "line a is priced in EUR, the sale is in USD"),
        (line("a", -1, "USD"), "negative price"),
        (line("a", 1, "USD", 0), "no quantity"),
        (line("a", 1, "USD", weight_grams=-1), "negative price or weight"),
        (line("a", 1, "USD", discount=Money(2, "USD")), "beyond the line"),
        (line("a", 1, "USD", discount=Money(-1, "USD")), "below zero"),
        (line("a", 1, "USD", discount=Money(1, "EUR")), "don't mix"),
    ],
)
def test_lines_that_cannot_be_are_refused(bad: PricedLine, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        priced([bad])


@st.composite
def sales(draw: st.DrawFn) -> tuple[str, list[PricedLine]]:
    code = draw(st.sampled_from(["JPY", "EUR", "KWD", "CLF"]))
    lines = []
    for number in range(draw(st.integers(0, 12))):
        amount, quantity = draw(st.integers(0, 10**9)), draw(st.integers(1, 999))
        discount = draw(st.none() | st.integers(0, amount * quantity).map(lambda off: Money(off, code)))
        tax_class = draw(st.sampled_from(["standard", "reduced", "exempt"]))
        lines.append(line(str(number), amount, code, quantity, discount=discount, tax_class=tax_class))
    return code, lines


@given(sales(), st.booleans(), st.sampled_from(["standard", None]))
def test_all_parts_add_up_exactly(sale: tuple[str, list[PricedLine]], included: bool, method: str | None) -> None:
    code, lines = sale
    channel = msgspec.structs.replace(GROSS, prices_include_tax=included)
    totals = priced(lines, channel, currency=code, shipping_method=method)
    assert totals.total == totals.subtotal - totals.discount + totals.shipping + totals.tax
    assert not (totals.tax if included else totals.tax_included)
    for field, rest in {
        "subtotal": Money(0, code),
        "discount": Money(0, code),
        "tax": totals.shipping_tax,
        "tax_included": totals.shipping_tax_included,
    }.items():
        assert add_up((getattr(each, field) for each in totals.lines), code) + rest == getattr(totals, field)
    assert add_up((each.total + each.tax for each in totals.lines), code) == (
        totals.total - totals.shipping - totals.shipping_tax
    )
    for each in totals.lines:
        assert each.total == each.subtotal - each.discount
