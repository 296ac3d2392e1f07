"""Texts as views compare them: without case, accents and runs of space, and cut into words."""

import html
import re
import unicodedata

WORD_LETTERS = 64
"""Longer words are cut, when indexed and when searched."""

_WORD = re.compile(r"[^\W_]+")
_TAG = re.compile(r"<[^>]*>")


def fold(text: str) -> str:
    """The text without case, accents and runs of space, e.g. ` Café  Crème` gives `cafe creme`."""
    if not text.isascii():
        text = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    return " ".join(text.casefold().split())


def words(text: str) -> list[str]:
    """The folded words of a text, in order: runs of letters and digits."""
    return [word[:WORD_LETTERS] for word in _WORD.findall(fold(text))]


def readable(markup: str) -> str:
    """The text of an HTML fragment that was sanitised when it came in."""
    return html.unescape(_TAG.sub(" ", markup))


def storable(text: str, name: str) -> str:
    """The text, checked for what PostgreSQL can't take.

    Raises:
        ValueError: it has a NUL or half a character; the message names the filter.
    """
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"The filter {name} has a character that is not text; leave it out.")
    return text
