import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultramarket.domain.handles import handle, handle_fault, sku_fault


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("Canvas Tote Bag", "canvas-tote-bag"),
        ("  Crème Brûlée -- Set (2 pcs.) ", "creme-brulee-set-2-pcs"),
        ("Straße & Smørrebrød", "strasse-and-smorrebrod"),
        ("Baker's Choice", "bakers-choice"),
        ("Łódź", "lodz"),
        ("½ litre ①", "1-2-litre-1"),
        ("帽子", "product-f045b9ca"),
        ("シャツ M", "m-7f46ce98"),
        ("!!!", "product-e84c538e"),
        ("a" * 100, "a" * 100),
    ],
)
def test_a_handle_is_the_title_in_plain_letters(title: str, slug: str) -> None:
    assert handle(title) == slug


def test_long_titles_are_cut_and_told_apart() -> None:
    first, second = handle("a" * 101), handle("a" * 102)
    assert len(first) == len(second) == 100
    assert first != second


@given(st.text())
def test_every_title_gives_a_handle(title: str) -> None:
    assert handle_fault(handle(title)) is None
    assert handle(title) == handle(title)


@pytest.mark.parametrize("text", ["a", "tote-bag_2", "größe", "帽子", "हिन्दी", "-", "a" * 100])
def test_words_of_any_script_can_be_handles(text: str) -> None:
    assert handle_fault(text) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1 to 100"),
        ("a" * 101, "1 to 100"),
        ("帽" * 67, "at most 200 bytes"),
        ("Tote", "lower case"),
        ("gro\u0308sse", "composed"),
        ("tote bag", "only letters"),
        ("a/b", "only letters"),
        ("a.b", "only letters"),
        ("a\x00", "only letters"),
        ("\ud800", "only letters"),
    ],
)
def test_what_is_no_handle_is_refused_with_a_sentence(text: str, says: str) -> None:
    assert says in (handle_fault(text) or "")


@pytest.mark.parametrize("text", ["TOTE-NATURAL", "a b", "A#1?x=%20", "ä", "...", "0", "x" * 100])
def test_printable_words_can_be_skus(text: str) -> None:
    assert sku_fault(text) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "1 to 100"),
        ("x" * 101, "1 to 100"),
        ("帽" * 67, "at most 200 bytes"),
        (" a", "no space at either end"),
        ("a\n", "printable"),
        ("a\x00b", "printable"),
        ("a\u200bb", "printable"),
        ("a\u2028b", "printable"),
        ("\ud800", "printable"),
        ("a/b", "slashes"),
        ("a\\b", "slashes"),
        (".", "slashes"),
        ("..", "slashes"),
    ],
)
def test_what_cannot_stand_in_an_address_is_no_sku(text: str, says: str) -> None:
    assert says in (sku_fault(text) or "")
