"""Texts that a text which is still being typed may become, of words that published products have."""

from ultramarket.domain.folding import storable, tokens
from ultramarket.ports.database import Connection
from ultramarket.ports.search import SEARCH_WORDS

_CANDIDATES = 20
"""Words that are tried, the shortest first."""

# The bytes of the word in order, whatever the collation of the database: the column's is "C".
_COMPLETED = """
select w.shown from (
    select word, shown from product_word
    where word >= $1::text collate "C" and word < $1::text collate "C" || U&'\\+10FFFF' and word <> $1
    order by length(word), word limit $4
) w
where exists (
    select from product_card c where c.status = 'published' and c.names @@ ($2::text || quote_literal(w.word))::tsquery
)
order by length(w.word), w.word limit $3
"""


async def completions(connection: Connection, text: str, limit: int) -> tuple[str, ...]:
    """Texts that begin as this one, each with products that have all of its words.

    Args:
        connection: where the words are.
        text: as typed so far; one that ends behind a word is complete.
        limit: texts at most.

    Raises:
        ValueError: the text has what is no text.
    """
    parts = tokens(storable(text, "q"))[:SEARCH_WORDS]
    if not parts or parts[-1][2] != len(text):
        return ()
    *before, (last, begin, _) = parts
    # Letters and digits alone are left in a word: quoting can't be broken out of.
    given = "".join(f"'{word}':* & " for word, _, _ in before)
    rows = await connection.fetch(_COMPLETED, last, given, limit, _CANDIDATES)
    return tuple(f"{text[:begin].lower()}{row['shown']}" for row in rows)
