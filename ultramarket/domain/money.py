"""Money in minor units: amounts, their text form, rounding, and sharing without losing a cent.

Rounding rule of the platform: half away from zero ("commercial rounding", DIN 1333) to whole minor units. It is
applied once, where a ratio is taken (`ratio`), never on the way.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Self

import msgspec

LARGEST = 10**12
"""The largest amount, in minor units, that is accepted as text; more is a typing error or an attack."""

# ISO 4217 list one as of January 2026, without the codes that have no minor unit (metals, bond units, testing).
_BY_EXPONENT: dict[int, str] = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW "
        "CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF "
        "IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK "
        "MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP "
        "SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG "
        "YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
EXPONENTS: dict[str, int] = {code: exponent for exponent, codes in _BY_EXPONENT.items() for code in codes.split()}
"""Every active ISO 4217 currency: how many decimals its minor unit has."""

_PLAIN = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,10}))?")


def currency(code: str) -> str:
    """Return the code when it is an active ISO 4217 currency, in upper case.

    Raises:
        ValueError: it is not one.
    """
    if code not in EXPONENTS:
        raise ValueError(f"{code[:20]!r} is not a currency: use a three-letter ISO 4217 code such as EUR")
    return code


def exponent(code: str) -> int:
    """Return how many decimals the currency has: 2 for EUR, 0 for JPY, 3 for KWD.

    Raises:
        ValueError: not an active ISO 4217 currency.
    """
    return EXPONENTS[currency(code)]


class Money(msgspec.Struct, frozen=True, array_like=True, order=False):
    """An amount of one currency. Arithmetic and comparison across currencies raise ValueError.

    Attributes:
        amount: whole minor units: 1290 is 12.90 EUR, 1290 JPY, 1.290 KWD.
        currency: ISO 4217 code.
    """

    amount: int
    currency: str

    @classmethod
    def parse(cls, text: str, code: str) -> Self:
        """Read a plain decimal such as `12.90`, `12.9` or `12`.

        Raises:
            ValueError: not digits with at most one point (no sign, space, exponent or thousands separator), more
                decimals than the currency has, beyond `LARGEST`, or an unknown currency.
        """
        places = exponent(code)
        match = _PLAIN.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:40]!r} is not an amount: write digits and a point, such as 12.90")
        whole, decimals = match[1], match[2] or ""
        if len(decimals) > places:
            raise ValueError(f"{text!r} has more decimals than {code}, which has {places}")
        amount = int(whole + decimals.ljust(places, "0"))
        if amount > LARGEST:
            raise ValueError(f"{text!r} {code} is too large: the limit is {cls(LARGEST, code).text()}")
        return cls(amount, code)

    def text(self) -> str:
        """Return the amount as a decimal string in the currency's own number of decimals.

        Raises:
            ValueError: not an active ISO 4217 currency.
        """
        places = exponent(self.currency)
        sign = "-" if self.amount < 0 else ""
        digits = str(abs(self.amount)).rjust(places + 1, "0")
        return f"{sign}{digits[:-places]}.{digits[-places:]}" if places else sign + digits

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount + self._same(other), self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.amount - self._same(other), self.currency)

    def __mul__(self, factor: int) -> "Money":
        # A float would bring binary fractions in; ratios have a function of their own.
        if not isinstance(factor, int):
            return NotImplemented
        return Money(self.amount * factor, self.currency)

    __rmul__ = __mul__

    def __neg__(self) -> "Money":
        return Money(-self.amount, self.currency)

    def __bool__(self) -> bool:
        return self.amount != 0

    def __lt__(self, other: "Money") -> bool:
        return self.amount < self._same(other)

    def __le__(self, other: "Money") -> bool:
        return self.amount <= self._same(other)

    def __gt__(self, other: "Money") -> bool:
        return self.amount > self._same(other)

    def __ge__(self, other: "Money") -> bool:
        return self.amount >= self._same(other)

    def _same(self, other: "Money") -> int:
        if self.currency != other.currency:
            raise ValueError(f"{self.currency} and {other.currency} don't mix: convert one of them first")
        return other.amount


def add_up(amounts: Iterable[Money], code: str) -> Money:
    """Return the sum of the amounts, zero of the currency when there are none.

    Raises:
        ValueError: an amount of another currency.
    """
    return sum(amounts, Money(0, code))


def round_half_up(numerator: int, denominator: int) -> int:
    """Return numerator / denominator as a whole number, halves away from zero: 5/2 is 3, -5/2 is -3.

    Raises:
        ValueError: the denominator is not positive.
    """
    if denominator <= 0:
        raise ValueError("a denominator must be positive")
    rounded = (2 * abs(numerator) + denominator) // (2 * denominator)
    return rounded if numerator >= 0 else -rounded


def ratio(amount: Money, numerator: int, denominator: int) -> Money:
    """Return amount x numerator / denominator, rounded half away from zero to whole minor units.

    Raises:
        ValueError: the denominator is not positive.
    """
    return Money(round_half_up(amount.amount * numerator, denominator), amount.currency)


def share(total: Money, weights: Sequence[int]) -> list[Money]:
    """Split an amount in proportion to weights so that the parts add up to it exactly.

    Largest remainder method (Hamilton): each part is rounded towards zero, then the minor units that are left go one
    each to the parts with the largest remainders, on a tie to the earlier part. Where all weights are zero, all count
    the same. No part is further than one minor unit from its exact share.

    Raises:
        ValueError: a negative weight, or an amount other than zero and nobody to share it.
    """
    if any(weight < 0 for weight in weights):
        raise ValueError("weights must not be negative")
    if not weights:
        if total:
            raise ValueError("there is nobody to share the amount with")
        return []
    whole = sum(weights)
    if whole == 0:
        weights, whole = [1] * len(weights), len(weights)
    size, sign = abs(total.amount), -1 if total.amount < 0 else 1
    parts = [size * weight // whole for weight in weights]
    left = size - sum(parts)
    by_remainder = sorted(range(len(weights)), key=lambda index: -(size * weights[index] % whole))
    for index in by_remainder[:left]:
        parts[index] += 1
    return [Money(sign * part, total.currency) for part in parts]
