"""Where the words of a query are in the texts of a hit, as HTML."""

import html
from collections.abc import Callable, Sequence

import msgspec

from ultramarket.adapters.postgres_search_words import Stems, Term
from ultramarket.domain.folding import tokens
from ultramarket.messages.common import Text
from ultramarket.ports.database import Connection
from ultramarket.ports.search import MARKS

LETTERS = 5_000
"""So much of a description is looked through."""
_AROUND = 12
"""Words of a description that are shown before the first one that was found."""
_SHOWN = 36
"""Words of a description that are shown."""

_Tokens = list[tuple[str, int, int]]


class Texts(msgspec.Struct, frozen=True):
    """The texts of a product that are highlighted, by language."""

    title: Text
    description: Text

    def fields(self, language: str) -> dict[str, str]:
        """Each text in the language, or the first that there is."""
        description = _in(self.description, language)
        return {"title": _in(self.title, language), "description": description[:LETTERS]}


def _in(texts: Text, language: str) -> str:
    return texts.get(language) or next(iter(texts.values()), "")


async def highlight(
    connection: Connection, hits: Sequence[Texts], language: str, stems: Stems, found: Sequence[str]
) -> list[dict[str, str]]:
    """The highlights of each hit.

    Args:
        connection: for stems that are not known yet.
        hits: texts of each.
        language: of the query.
        stems: known ones.
        found: folded words that were looked for; stop words are left out.
    """
    cut = [[(field, text, tokens(text)) for field, text in hit.fields(language).items()] for hit in hits]
    asked = {word for fields in cut for _, _, parts in fields for word, _, _ in parts}
    known = await stems.of(connection, language, [*found, *sorted(asked)])
    wanted = {known[word] for word in found} - {""}
    beginnings = tuple(word for word in found if known[word])

    def matches(word: str) -> bool:
        return word.startswith(beginnings) or known[word] in wanted

    return [
        {field: marked for field, text, parts in fields if (marked := _marked(field, text, parts, matches))}
        for fields in cut
    ]


def words_of(terms: Sequence[Term], corrections: dict[str, tuple[str, ...]]) -> list[str]:
    """The words of terms, and those that they stand for."""
    found = [word for term in terms for word in term.words]
    return [*found, *(other for word in found for other in corrections.get(word, ()))]


def _marked(field: str, text: str, parts: _Tokens, matches: Callable[[str], bool]) -> str:
    """The text, or the part of it around the first word that was found, with marks; empty where none was."""
    places = [place for place, (word, _, _) in enumerate(parts) if matches(word)]
    if not places:
        return ""
    first, last = 0, len(parts)
    if field == "description":
        first = max(0, places[0] - _AROUND)
        last = min(last, first + _SHOWN)
    begin = 0 if first == 0 else parts[first][1]
    end = len(text) if last == len(parts) else parts[last - 1][2]
    pieces = ["" if begin == 0 else "… "]
    for place in places:
        if first <= place < last:
            _, start, stop = parts[place]
            pieces += [html.escape(text[begin:start]), MARKS[0], html.escape(text[start:stop]), MARKS[1]]
            begin = stop
    return " ".join("".join([*pieces, html.escape(text[begin:end]), "" if end == len(text) else " …"]).split())
