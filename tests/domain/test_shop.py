from fractions import Fraction
from typing import Any

import msgspec
import pytest

from ultramarket.domain.money import Money
from ultramarket.domain.shop import DEFAULT, Channel, ShippingMethod, ShippingRate, ShopRules, TaxRate, Timing


def usd(amount: int, up_to_grams: int | None = None) -> ShippingRate:
    return ShippingRate(price=Money(amount, "USD"), up_to_grams=up_to_grams)


PARCEL = ShippingMethod(
    code="parcel",
    title={"en": "Parcel"},
    kind="by_weight",
    rates=(usd(1900), usd(500, 1000), usd(900, 5000)),
    countries=("US", "CA"),
)
RULES = ShopRules(
    channels=DEFAULT.channels,
    shipping=(PARCEL, ShippingMethod(code="flat", title={}, rates=(usd(700),))),
    tax=(
        TaxRate(country="US", region="NY", rate="0.08875"),
        TaxRate(country="DE", rate="0.19"),
        TaxRate(country="DE", rate="0.07", tax_class="reduced"),
        TaxRate(country="US", rate="0", tax_class="books"),
    ),
)


def test_a_new_shop_ships_standard_anywhere_in_any_currency_for_nothing() -> None:
    assert DEFAULT.method_price("standard", "USD", "US", 10**6) == Money(0, "USD")
    assert DEFAULT.method_price("standard", "JPY", "AQ", 0) == Money(0, "JPY")
    assert DEFAULT.method_price("express", "USD", "US", 0) is None


def test_a_new_shop_has_the_default_channel_and_no_taxes() -> None:
    channel = DEFAULT.channel("default")
    assert channel == Channel(name="default", currency="USD", country="US", language="en", prices_include_tax=False)
    assert DEFAULT.channel("other") is None
    assert DEFAULT.tax_rate("US", "NY", "standard") is None


@pytest.mark.parametrize(
    ("grams", "price"), [(0, 500), (1000, 500), (1001, 900), (5000, 900), (5001, 1900), (10**9, 1900)]
)
def test_weight_picks_the_smallest_step_that_carries_the_parcel(grams: int, price: int) -> None:
    assert RULES.method_price("parcel", "USD", "US", grams) == Money(price, "USD")


def test_a_parcel_heavier_than_every_step_is_not_carried() -> None:
    method = msgspec.structs.replace(PARCEL, rates=(usd(500, 1000),))
    assert method.price("USD", "US", 1001) is None


def test_a_method_ships_only_to_its_countries_and_in_its_currencies() -> None:
    assert RULES.method_price("parcel", "USD", "DE", 1) is None
    assert RULES.method_price("parcel", "USD", "", 1) == Money(500, "USD")
    assert RULES.method_price("parcel", "EUR", "US", 1) is None


def test_a_flat_rate_is_the_same_for_every_weight() -> None:
    assert RULES.method_price("flat", "USD", "DE", 1) == Money(700, "USD")
    assert RULES.method_price("flat", "USD", "US", 10**9) == Money(700, "USD")


@pytest.mark.parametrize(
    ("place", "tax_class", "rate"),
    [
        (("DE", ""), "standard", "0.19"),
        (("DE", "BE"), "standard", "0.19"),
        (("DE", ""), "reduced", "0.07"),
        (("DE", ""), "unheard-of", "0.19"),
        (("DE", ""), "exempt", None),
        (("US", "NY"), "standard", "0.08875"),
        (("US", "NY"), "books", "0"),
        (("US", "OR"), "standard", None),
        (("FR", ""), "standard", None),
    ],
)
def test_the_tax_table_goes_from_the_special_to_the_general(
    place: tuple[str, str], tax_class: str, rate: str | None
) -> None:
    row = RULES.tax_rate(*place, tax_class)
    assert (row.rate if row else None) == rate


def test_a_rate_is_an_exact_share() -> None:
    assert TaxRate(country="US", rate="0.08875").share == Fraction(71, 800)


@pytest.mark.parametrize("rate", ["19%", "-0.1", "10", "0,19", "1e-1", "", "0.1234567", ".19", "NaN"])
def test_a_rate_that_is_no_plain_share_is_refused(rate: str) -> None:
    with pytest.raises(ValueError, match="is not a tax rate"):
        TaxRate(country="DE", rate=rate)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: TaxRate(country="de", rate="0.19"), "'de' is not a country"),
        (lambda: ShippingRate(price=Money(-1, "USD")), "negative price or weight"),
        (lambda: usd(1, -1), "negative price or weight"),
        (lambda: ShippingRate(price=Money(1, "usd")), "is not a currency"),
        (lambda: ShippingMethod(code="a", title={}, rates=(usd(1), usd(2, 5))), "two rates for the same currency"),
        (lambda: ShippingMethod(code="a", title={}, countries=("USA",)), "'USA' is not a country"),
        (lambda: Timing(step_seconds=0), "at least one second"),
        (lambda: ShopRules(channels=DEFAULT.channels * 2), "the channel 'default' stands twice"),
        (lambda: ShopRules(channels=(), shipping=(PARCEL, PARCEL)), "the shipping method 'parcel' stands twice"),
        (lambda: ShopRules(channels=(), tax=(RULES.tax[1],) * 2), "the tax rate 'DE  standard' stands twice"),
    ],
)
def test_rules_that_contradict_themselves_are_refused(make: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_rules_read_from_configuration_are_checked_too() -> None:
    with pytest.raises(msgspec.ValidationError, match="is not a currency"):
        msgspec.convert(
            {"name": "x", "currency": "ABC", "country": "US", "language": "en", "prices_include_tax": False}, Channel
        )
    assert msgspec.json.decode(msgspec.json.encode(RULES), type=ShopRules) == RULES
