import pytest

from ultramarket.domain.folding import fold, readable, storable, words


def test_folding_takes_case_accents_and_space_away() -> None:
    assert fold("  Café   CRÈME\n") == "cafe creme"
    assert fold("Straße") == "strasse"


def test_words_are_runs_of_letters_and_digits() -> None:
    assert words("T-Shirt_XL, 12.5 oz!") == ["t", "shirt", "xl", "12", "5", "oz"]
    assert words("---") == []
    assert words("a" * 100) == ["a" * 64]


def test_markup_reads_as_its_text() -> None:
    assert words(readable("<p>Salt &amp; <b>pepper</b></p>")) == ["salt", "pepper"]


@pytest.mark.parametrize("text", ["a\0b", "\udfff"])
def test_what_the_database_cant_take_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="The filter q"):
        storable(text, "q")
