"""Texts as lists and search compare them: without case, accents and runs of space, and cut into words."""

import html
import re
import unicodedata

WORD_LETTERS = 64
"""Longer words are cut, when indexed and when searched."""

_WORD = re.compile(r"[^\W_]+")
_TOKEN = re.compile(r"[^\W_]+(?:[\u0300-\u036f]+[^\W_]*)*")
"""A word as it is written, whose accents may be letters of their own."""
_TAG = re.compile(r"<[^>]*>")
_UNDECOMPOSED = str.maketrans(
    {"æ": "ae", "đ": "d", "ð": "d", "ħ": "h", "\u0131": "i", "ł": "l", "ø": "o", "œ": "oe", "þ": "th"}
)
"""Letters that to Unicode are not another one with an accent, read as by the rules of PostgreSQL's `unaccent`."""


def fold(text: str) -> str:
    """The text without case, accents and runs of space, e.g. ` Café  Crème` gives `cafe creme`."""
    if not text.isascii():
        text = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
        text = text.casefold().translate(_UNDECOMPOSED)
    return " ".join(text.casefold().split())


def words(text: str) -> list[str]:
    """The folded words of a text, in order: runs of letters and digits."""
    return [word[:WORD_LETTERS] for word in _WORD.findall(fold(text))]


def tokens(text: str) -> list[tuple[str, int, int]]:
    """The folded words of a text as `words`, each with where it begins and ends in the text as it is written."""
    found = []
    for match in _TOKEN.finditer(text):
        folded = words(match[0])
        if len(folded) == 1:  # a sign such as ½ reads as several
            found.append((folded[0], match.start(), match.end()))
    return found


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
