import pytest

from ultramarket.domain.texts import control_fault, without_control


@pytest.mark.parametrize("text", ["", "Crème Brûlée", "שלום", "日本", "a\N{ZERO WIDTH JOINER}b", "\N{NO-BREAK SPACE}"])
def test_what_people_write_has_no_fault(text: str) -> None:
    assert control_fault(text) is None
    assert control_fault(text, lines=True) is None


@pytest.mark.parametrize("mark", ["\0", "\x07", "\x1b", "\x7f", "\x85", "\x9f"])
def test_a_control_character_is_a_fault(mark: str) -> None:
    assert control_fault(f"a{mark}b") == "a text on one line has no control characters"
    assert control_fault(mark, lines=True) == "a text has no control characters but tabs and line breaks"


@pytest.mark.parametrize("mark", ["\n", "\r", "\t"])
def test_layout_is_for_texts_of_several_lines(mark: str) -> None:
    assert control_fault(f"a{mark}") == "a text on one line has no control characters"
    assert control_fault(f"a{mark}b", lines=True) is None


def test_a_text_is_freed_of_control_characters_but_layout() -> None:
    assert without_control("a\x0bb\x85\r\n\tc") == "ab\r\n\tc"
