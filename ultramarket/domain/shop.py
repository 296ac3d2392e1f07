"""The rules of a shop: sales channels, shipping methods, tax table, limits and times. Read from configuration."""

import re
from fractions import Fraction
from typing import Literal

import msgspec

from ultramarket.domain.money import Money, currency

STANDARD_TAX = "standard"
"""The tax class of whatever says nothing else, and of shipping."""
EXEMPT_TAX = "exempt"
"""The tax class that is never taxed."""

_RATE = re.compile(r"[0-9](\.[0-9]{1,6})?")
_COUNTRY = re.compile(r"[A-Z]{2}")


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """A place where the shop sells, with the defaults for what is sold there.

    Attributes:
        currency: ISO 4217, used where a cart names none.
        country: ISO 3166-1 alpha-2; taxes are estimated for it until the buyer's address is known.
        language: BCP 47 in lower case; texts fall back to it.
        prices_include_tax: True where catalogue prices are gross (usual in Europe), False where tax comes on top.
    """

    name: str
    currency: str
    country: str
    language: str
    prices_include_tax: bool

    def __post_init__(self) -> None:
        """Refuse a currency or country that can't be.

        Raises:
            ValueError: the channel is not usable; the text says why.
        """
        currency(self.currency)
        _check_country(self.country)


class ShippingRate(msgspec.Struct, frozen=True, kw_only=True):
    """What a shipping method costs in the currency of `price`.

    Attributes:
        up_to_grams: heaviest parcel for this price; None: any weight.
    """

    price: Money
    up_to_grams: int | None = None

    def __post_init__(self) -> None:
        """Refuse a negative price, an unknown currency and a weight below zero.

        Raises:
            ValueError: the rate is not usable; the text says why.
        """
        currency(self.price.currency)
        if self.price.amount < 0 or (self.up_to_grams is not None and self.up_to_grams < 0):
            raise ValueError("a shipping rate must not have a negative price or weight")


class ShippingMethod(msgspec.Struct, frozen=True, kw_only=True):
    """A way to send a parcel.

    Attributes:
        title: per language.
        kind: `flat` takes the rate of the currency whatever the weight; `by_weight` the rate of the smallest
            `up_to_grams` that carries the parcel.
        countries: where it ships to; empty means anywhere.
        unpriced: what holds in a currency for which `rates` has nothing: `refused` (the method can't be had) or
            `free`. No price is converted from another currency: the shop would bear an exchange rate nobody set.
    """

    code: str
    title: dict[str, str]
    kind: Literal["flat", "by_weight"] = "flat"
    rates: tuple[ShippingRate, ...] = ()
    countries: tuple[str, ...] = ()
    unpriced: Literal["refused", "free"] = "refused"

    def __post_init__(self) -> None:
        """Refuse rates that contradict each other.

        Raises:
            ValueError: the method is not usable; the text says why.
        """
        for country in self.countries:
            _check_country(country)
        steps = [(rate.price.currency, rate.up_to_grams if self.kind == "by_weight" else None) for rate in self.rates]
        if len(set(steps)) < len(steps):
            raise ValueError(f"the shipping method {self.code!r} has two rates for the same currency and weight")

    def price(self, code: str, country: str, grams: int) -> Money | None:
        """Return what a parcel costs, None where the method can't be had.

        Args:
            code: ISO 4217 currency of the cart.
            country: ISO 3166-1 alpha-2 of the destination; empty while it is not known, which asks only for a price.
            grams: weight of the parcel.
        """
        if country and self.countries and country not in self.countries:
            return None
        rates = [rate for rate in self.rates if rate.price.currency == code]
        if not rates:
            return Money(0, code) if self.unpriced == "free" else None
        if self.kind == "flat":
            return rates[0].price
        carrying = [rate for rate in rates if rate.up_to_grams is None or grams <= rate.up_to_grams]
        # A step without a limit stands behind all that have one.
        carrying.sort(key=lambda rate: (rate.up_to_grams is None, rate.up_to_grams or 0))
        return carrying[0].price if carrying else None


class TaxRate(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the tax table.

    Attributes:
        region: state or province code; empty: the whole country, where no row names the region.
        rate: decimal share of the net price, e.g. `0.19`; below 10, at most six decimals.
        shipping: whether shipping is taxed at this rate too; read from the row of class `standard`.
    """

    country: str
    region: str = ""
    rate: str
    tax_class: str = STANDARD_TAX
    shipping: bool = True

    def __post_init__(self) -> None:
        """Refuse a rate that is not a plain decimal.

        Raises:
            ValueError: the row is not usable; the text says why.
        """
        _check_country(self.country)
        if not _RATE.fullmatch(self.rate):
            raise ValueError(f"{self.rate[:20]!r} is not a tax rate: write a share such as 0.19 for 19 %")

    @property
    def share(self) -> Fraction:
        """The rate as an exact fraction of the net price."""
        return Fraction(self.rate)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much fits into a cart: lines, and pieces of one line."""

    max_lines: int = 100
    max_quantity: int = 999


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long things are waited for, in seconds.

    Attributes:
        quote_lock_seconds: a price stays honoured this long after it went into a cart.
        hold_seconds: stock held for an order that is not paid yet.
        step_seconds: one step of a checkout.
        action_seconds: the buyer's time to act, e.g. for 3-D Secure.
        freeze_seconds: a frozen cart asks its order after this time how it stands.
    """

    quote_lock_seconds: int = 900
    hold_seconds: int = 900
    step_seconds: int = 30
    action_seconds: int = 900
    freeze_seconds: int = 60

    def __post_init__(self) -> None:
        """Refuse times that are not positive.

        Raises:
            ValueError: one of them is zero or less.
        """
        if min(msgspec.structs.astuple(self)) <= 0:
            raise ValueError("every time must be at least one second")


class ShopRules(msgspec.Struct, frozen=True, kw_only=True):
    """All rules of the shop, given to actors and pricing as a value."""

    channels: tuple[Channel, ...]
    shipping: tuple[ShippingMethod, ...] = ()
    tax: tuple[TaxRate, ...] = ()
    limits: Limits = Limits()
    timing: Timing = Timing()

    def __post_init__(self) -> None:
        """Refuse names that stand twice.

        Raises:
            ValueError: two channels, methods or tax rows have the same key.
        """
        _unique("channel", [channel.name for channel in self.channels])
        _unique("shipping method", [method.code for method in self.shipping])
        _unique("tax rate", [f"{row.country} {row.region} {row.tax_class}" for row in self.tax])

    def channel(self, name: str) -> Channel | None:
        """Return the channel of this name, None where there is none."""
        return next((channel for channel in self.channels if channel.name == name), None)

    def method(self, code: str) -> ShippingMethod | None:
        """Return the shipping method of this code, None where there is none."""
        return next((method for method in self.shipping if method.code == code), None)

    def method_price(self, method: str, code: str, country: str, grams: int) -> Money | None:
        """Return what a parcel costs, None where the method is unknown or can't be had (see `ShippingMethod.price`)."""
        found = self.method(method)
        return found.price(code, country, grams) if found else None

    def tax_rate(self, country: str, region: str, tax_class: str) -> TaxRate | None:
        """Return the row that taxes a class of goods there, None where nothing does.

        The region's own row goes before the country's. A class that the place has no row for is taxed as `standard`,
        because tax that was not asked for is the shop's to pay; a zero rate is said by a row with rate `0`.
        """
        if tax_class == EXEMPT_TAX:
            return None
        rows = {(row.region, row.tax_class): row for row in self.tax if row.country == country}
        for wanted in (tax_class, STANDARD_TAX):
            for place in (region, ""):
                if (place, wanted) in rows:
                    return rows[place, wanted]
        return None


def _check_country(country: str) -> None:
    if not _COUNTRY.fullmatch(country):
        raise ValueError(f"{country[:20]!r} is not a country: use a two-letter ISO 3166 code such as DE")


def _unique(what: str, keys: list[str]) -> None:
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"the {what} {key!r} stands twice in the shop's rules")


DEFAULT = ShopRules(
    channels=(Channel(name="default", currency="USD", country="US", language="en", prices_include_tax=False),),
    # Free until the shop sets a rate: nobody is charged a price that nobody set.
    shipping=(ShippingMethod(code="standard", title={"en": "Standard shipping"}, unpriced="free"),),
)
"""A new shop: one channel, shipping anywhere in any currency, no taxes."""
