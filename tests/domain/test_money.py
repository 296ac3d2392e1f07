import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultramarket.domain.money import EXPONENTS, Money, add_up, currency, exponent, ratio, round_half_up, share

codes = st.sampled_from(["EUR", "JPY", "KWD", "CLF"])


@pytest.mark.parametrize(
    ("text", "code", "amount"),
    [
        ("12.90", "EUR", 1290),
        ("12.9", "EUR", 1290),
        ("12", "EUR", 1200),
        ("0", "EUR", 0),
        ("0.05", "EUR", 5),
        ("007.50", "EUR", 750),
        ("1290", "JPY", 1290),
        ("1.234", "KWD", 1234),
        ("1.2345", "CLF", 12345),
        ("10000000000.00", "USD", 10**12),
    ],
)
def test_an_amount_is_read_in_minor_units_of_its_currency(text: str, code: str, amount: int) -> None:
    assert Money.parse(text, code) == Money(amount, code)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "1 ", " 1", "1\n", "-1", "+1", "1e3", "1E3", "NaN", "Infinity", "1,000.00", "1.000,00", "1_000"),
        *(".5", "5.", "1.2.3", "0x10", "1.234", "١٢", "12\x00", "10000000000.01", "9" * 21, "9" * 5000, "$5", "1/2"),
    ],
)
def test_what_is_not_a_plain_amount_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not an amount: write|more decimals than EUR|is too large: the limit is"):
        Money.parse(text, "EUR")


def test_decimals_are_refused_in_a_currency_without_any() -> None:
    with pytest.raises(ValueError, match=r"'5\.0' has more decimals than JPY, which has 0"):
        Money.parse("5.0", "JPY")


@pytest.mark.parametrize("code", ["eur", "XXX", "EURO", "", "XAU", "DEM"])
def test_a_code_that_is_no_active_currency_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="is not a currency: use a three-letter ISO 4217 code such as EUR"):
        currency(code)
    with pytest.raises(ValueError, match="is not a currency"):
        Money.parse("1", code)


@pytest.mark.parametrize(
    ("amount", "code", "text"),
    [
        (1290, "EUR", "12.90"),
        (5, "EUR", "0.05"),
        (0, "EUR", "0.00"),
        (-5, "EUR", "-0.05"),
        (-1290, "JPY", "-1290"),
        (0, "JPY", "0"),
        (1, "KWD", "0.001"),
        (12345, "CLF", "1.2345"),
    ],
)
def test_an_amount_is_written_in_its_currencys_own_decimals(amount: int, code: str, text: str) -> None:
    assert Money(amount, code).text() == text


@given(st.integers(0, 10**12), codes)
def test_what_is_written_reads_back_the_same(amount: int, code: str) -> None:
    assert Money.parse(Money(amount, code).text(), code) == Money(amount, code)


def test_the_currency_table_has_every_exponent() -> None:
    assert len(EXPONENTS) == 165
    assert {code for code, places in EXPONENTS.items() if places == 3} == {
        *("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"),
    }
    assert (exponent("USD"), exponent("JPY"), exponent("ISK"), exponent("UYW")) == (2, 0, 0, 4)


def test_amounts_of_one_currency_calculate() -> None:
    ten, four = Money(1000, "EUR"), Money(400, "EUR")
    assert ten + four == Money(1400, "EUR")
    assert four - ten == Money(-600, "EUR")
    assert ten * 3 == 3 * ten == Money(3000, "EUR")
    assert -ten == Money(-1000, "EUR")
    assert bool(ten)
    assert not Money(0, "EUR")
    assert four < ten
    assert ten > four
    assert four <= ten
    assert four <= Money(400, "EUR")
    assert ten >= four
    assert ten >= Money(1000, "EUR")
    assert not ten < four
    assert add_up([ten, four, four], "EUR") == Money(1800, "EUR")
    assert add_up([], "EUR") == Money(0, "EUR")


def test_amounts_of_two_currencies_do_not_mix() -> None:
    euro, yen = Money(1, "EUR"), Money(1, "JPY")
    for mix in (
        lambda: euro + yen,
        lambda: euro - yen,
        lambda: euro < yen,
        lambda: euro <= yen,
        lambda: euro > yen,
        lambda: euro >= yen,
        lambda: add_up([yen], "EUR"),
    ):
        with pytest.raises(ValueError, match="don't mix"):
            mix()
    assert euro != yen


def test_an_amount_is_multiplied_by_whole_numbers_only() -> None:
    with pytest.raises(TypeError):
        Money(1, "EUR") * 1.5  # type: ignore[operator]  # what the test is about


def test_money_goes_over_the_wire_as_a_pair() -> None:
    assert msgspec.json.encode(Money(1290, "EUR")) == b'[1290,"EUR"]'
    assert msgspec.json.decode(b'[1290,"EUR"]', type=Money) == Money(1290, "EUR")


@pytest.mark.parametrize(
    ("numerator", "denominator", "whole"),
    [(5, 2, 3), (-5, 2, -3), (4, 3, 1), (5, 3, 2), (-4, 3, -1), (0, 7, 0), (1, 2, 1), (-1, 2, -1), (49, 100, 0)],
)
def test_halves_are_rounded_away_from_zero(numerator: int, denominator: int, whole: int) -> None:
    assert round_half_up(numerator, denominator) == whole


def test_a_ratio_is_rounded_once_to_minor_units() -> None:
    assert ratio(Money(1050, "EUR"), 19, 100) == Money(200, "EUR")  # 1.995
    assert ratio(Money(-1050, "EUR"), 19, 100) == Money(-200, "EUR")
    assert ratio(Money(999, "JPY"), 1, 10) == Money(100, "JPY")
    with pytest.raises(ValueError, match="a denominator must be positive"):
        ratio(Money(1, "EUR"), 1, 0)


def test_a_dollar_in_three_goes_to_the_largest_remainders_first_come_first() -> None:
    assert share(Money(100, "USD"), [1, 1, 1]) == [Money(34, "USD"), Money(33, "USD"), Money(33, "USD")]
    assert share(Money(5, "USD"), [3, 7]) == [Money(2, "USD"), Money(3, "USD")]
    assert share(Money(10, "USD"), [1, 0, 2]) == [Money(3, "USD"), Money(0, "USD"), Money(7, "USD")]


def test_zero_weights_count_the_same() -> None:
    assert share(Money(3, "USD"), [0, 0]) == [Money(2, "USD"), Money(1, "USD")]
    assert share(Money(0, "USD"), [0, 0]) == [Money(0, "USD"), Money(0, "USD")]


def test_what_cannot_be_shared_is_refused() -> None:
    assert share(Money(0, "USD"), []) == []
    with pytest.raises(ValueError, match="nobody to share"):
        share(Money(1, "USD"), [])
    with pytest.raises(ValueError, match="must not be negative"):
        share(Money(1, "USD"), [2, -1])


@given(st.integers(-(10**15), 10**15), st.lists(st.integers(0, 10**12), min_size=1, max_size=50), codes)
def test_shares_add_up_and_are_within_one_minor_unit(amount: int, weights: list[int], code: str) -> None:
    parts = share(Money(amount, code), weights)
    assert add_up(parts, code) == Money(amount, code)
    whole = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        exact_times_whole = amount * weight if whole else amount
        assert abs(part.amount * (whole or len(weights)) - exact_times_whole) < (whole or len(weights))
