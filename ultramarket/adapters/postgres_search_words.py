"""The words of a query as PostgreSQL looks for them: phrases, beginnings, stems, and words that are spelled alike."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ultramarket.domain.folding import fold, storable, words
from ultramarket.ports.database import Connection
from ultramarket.ports.search import SEARCH_WORDS

# Snowball stemmers that come with every PostgreSQL that the platform runs on.
_CONFIGURATIONS = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "nb": "norwegian", "ne": "nepali",
    "nl": "dutch", "nn": "norwegian", "no": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian",
    "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip

STEMS_KEPT = 20_000
"""Stems that a process remembers."""
_NEAR = 60
"""Words that share most trigrams with one that is wrong; those that are really alike are picked from these."""
_CORRECTIONS = 3
"""Words that one that is wrong may stand for."""
_SHORTEST_WRONG = 4
"""Letters of the shortest word that is corrected: shorter ones are alike by chance."""
_SECOND_SLIP = 8
"""From so many letters on, two slips are forgiven."""

_LEXIZE = "select word, ts_lexize($1::text::regdictionary, word) as stems from unnest($2::text[]) as word"
_NEAREST = """
select w.word, n.word as near from unnest($1::text[]) as w (word)
cross join lateral (select p.word from product_word p order by p.word <-> w.word limit $2) n
"""
_PHRASE = re.compile(r'"([^"]*)"')


class Term(NamedTuple):
    """One word of a query, or the words of a phrase."""

    words: tuple[str, ...]
    phrase: bool


class Match(NamedTuple):
    """A query's words as PostgreSQL asks for them.

    Attributes:
        all: tsquery of what a product must have.
        title: the same, in the title.
        exact: tsquery of the words as they are written, in the title.
        code: SKU or barcode that the text may be.
        typed: ids of the products that have the words as typed; None where no word stands for another.
    """

    all: str
    title: str
    exact: str
    code: str
    typed: tuple[str, ...] | None = None


def configuration(language: str) -> str | None:
    """The text search configuration of a language tag, e.g. `german` for `de-AT`; None where words have no stems."""
    return _CONFIGURATIONS.get(re.split("[-_]", language, maxsplit=1)[0].lower())


def terms(text: str) -> tuple[Term, ...]:
    """The words and phrases of a text, the first `SEARCH_WORDS` words of it.

    Raises:
        ValueError: it has what is no text.
    """
    storable(text, "q")
    found: list[Term] = []
    for place, part in enumerate(_PHRASE.split(text)):  # every second part stood in quotes
        left = SEARCH_WORDS - sum(len(term.words) for term in found)
        part_words = words(part)[:left]
        if place % 2 and len(part_words) > 1:
            found.append(Term(tuple(part_words), phrase=True))
        else:
            found += [Term((word,), phrase=False) for word in part_words]
    return tuple(found)


class Stems:
    """Stems of words by language, asked of PostgreSQL once a word."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}

    async def of(self, connection: Connection, language: str, wanted: Iterable[str]) -> dict[str, str]:
        """The stem of each word; empty for a stop word, and the word itself in a language without stems."""
        config = configuration(language)
        asked = dict.fromkeys(wanted)
        if config is None:
            return {word: word for word in asked}
        unknown = [word for word in asked if (config, word) not in self._known]
        if unknown:
            for row in await connection.fetch(_LEXIZE, f"{config}_stem", unknown):
                stems = row["stems"]
                self._known[config, row["word"]] = "" if stems == [] else stems[0] if stems else row["word"]
        found = {word: self._known[config, word] for word in asked}
        while len(self._known) > STEMS_KEPT:
            del self._known[next(iter(self._known))]  # the one that was asked for first
        return found


def match(
    text: str, found: Sequence[Term], stems: Mapping[str, str], corrections: Mapping[str, Sequence[str]] | None = None
) -> Match:
    """The query of terms.

    Args:
        text: as it was typed.
        found: its terms.
        stems: of all words, empty for stop words.
        corrections: further words that a word stands for.
    """
    telling = [term for term in found if term.phrase or stems[term.words[0]]]
    counted = telling or list(found)  # stop words alone are all that there is to look for
    alike = corrections or {}
    return Match(
        all=_query(counted, stems, alike, ""),
        title=_query(counted, stems, alike, "A"),
        exact=" & ".join(_exact(term) for term in counted),
        code=fold(text),
    )


def _query(found: Sequence[Term], stems: Mapping[str, str], alike: Mapping[str, Sequence[str]], weight: str) -> str:
    return " & ".join(
        _phrase(term, weight) if term.phrase else _word(term.words[0], stems, alike, weight) for term in found
    )


def _exact(term: Term) -> str:
    return _phrase(term, "A") if term.phrase else f"'{term.words[0]}':A"


def _phrase(term: Term, weight: str) -> str:
    label = f":{weight}" if weight else ""
    return "(" + " <-> ".join(f"'{word}'{label}" for word in term.words) + ")"


def _word(word: str, stems: Mapping[str, str], alike: Mapping[str, Sequence[str]], weight: str) -> str:
    """A word's beginning, its stem, and what it stands for.

    A word is letters and digits alone: quoting can't be broken out of.
    """
    others = {stems[word], *alike.get(word, ())} - {"", word}
    label = f":{weight}" if weight else ""
    return "(" + " | ".join([f"'{word}':*{weight}", *(f"'{other}'{label}" for other in sorted(others))]) + ")"


async def corrections(connection: Connection, wanted: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Words of the catalogue that are spelled like these, the most similar first; none for words that are right."""
    long = [word for word in dict.fromkeys(wanted) if len(word) >= _SHORTEST_WRONG and not word.isdecimal()]
    if not long:
        return {}
    near: dict[str, list[str]] = {}
    for row in await connection.fetch(_NEAREST, long, _NEAR):
        near.setdefault(row["word"], []).append(row["near"])
    found = {}
    for word, others in near.items():
        slips = 2 if len(word) >= _SECOND_SLIP else 1
        alike = sorted((distance, other) for other in others if 0 < (distance := slips_between(word, other)) <= slips)
        if alike and word not in others:
            found[word] = tuple(other for _, other in alike[:_CORRECTIONS])
    return found


def slips_between(word: str, other: str) -> int:
    """Letters added, left out, mistaken, or exchanged with their neighbour (optimal string alignment distance)."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, letter in enumerate(word, 1):
        current = [row]
        for column, wanted in enumerate(other, 1):
            least = min(last[column] + 1, current[-1] + 1, last[column - 1] + (letter != wanted))
            if row > 1 and column > 1 and letter == other[column - 2] and word[row - 2] == wanted:
                least = min(least, before[column - 2] + 1)
            current.append(least)
        before, last = last, current
    return last[-1]
