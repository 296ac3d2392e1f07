"""What a category and its place must be."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from actors.product_rules import MAX_DESCRIPTION, MAX_MEDIA, MAX_NAME, text_faults
from ultramarket.domain.handles import handle_fault
from ultramarket.domain.texts import control_fault
from ultramarket.errors import Fault
from ultramarket.messages.category_tree import Details
from ultramarket.messages.common import Text

MAX_CATEGORIES = 2_000
"""Categories of a shop: the tree is written whole with each change."""
MAX_DEPTH = 12
"""Levels of the tree; nobody clicks through more."""


class Placed(Protocol):
    """A category, as far as its place goes."""

    @property
    def parent(self) -> str | None:
        """Id of the category above."""
        ...

    @property
    def children(self) -> tuple[str, ...]:
        """Ids of those right below."""
        ...


def own_faults(handle: str, title: Text) -> Iterator[Fault]:
    """What is wrong with the handle and the title."""
    if fault := handle_fault(handle):
        yield Fault("/handle", fault)
    if not any(text.strip() for text in title.values()):
        yield Fault("/title", "a category needs a title")
    yield from text_faults("/title", title, MAX_NAME, lines=False)


def detail_faults(details: Details) -> Iterator[Fault]:
    """What is wrong with the texts and pictures."""
    yield from text_faults("/description", details.description, MAX_DESCRIPTION)
    yield from text_faults("/seo/title", details.seo.title, MAX_NAME, lines=False)
    yield from text_faults("/seo/description", details.seo.description, MAX_DESCRIPTION)
    if len(details.media) > MAX_MEDIA:
        yield Fault("/media", f"at most {MAX_MEDIA} pictures are possible")
    for index, medium in enumerate(details.media):
        if not medium.url:
            yield Fault(f"/media/{index}/url", "a picture needs an address")
        elif fault := control_fault(medium.url):
            yield Fault(f"/media/{index}/url", fault)
        yield from text_faults(f"/media/{index}/alt", medium.alt, MAX_DESCRIPTION)


def level(nodes: Mapping[str, Placed], id: str | None) -> int:
    """How many levels down a category is: 1 at the top, 0 for None."""
    found = 0
    while id is not None:
        found += 1
        id = nodes[id].parent
    return found


def height(nodes: Mapping[str, Placed], id: str) -> int:
    """How many levels a category and those below it take, at least 1."""
    return 1 + max((height(nodes, child) for child in nodes[id].children), default=0)


def within(nodes: Mapping[str, Placed], id: str | None, top: str) -> bool:
    """Whether a category is the one at `top` or below it."""
    while id is not None:
        if id == top:
            return True
        id = nodes[id].parent
    return False
