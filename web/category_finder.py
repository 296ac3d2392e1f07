"""The category tree as pages ask for it: by id or handle, the way from the top, and all below."""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator

import msgspec
from aiohttp import web

from ultramarket.errors import Fault, Rejection
from ultramarket.messages.category_tree import TREE, DescribeCategory, Details, ShownCategories, ShownCategory
from ultramarket.ports.asking import Actors
from web.problems import Refused

RECENT_SECONDS = 0.5
"""How old the tree may be by which a list of products is filtered; it is about as old as the list itself may be."""
REMEMBERED = 1_000
"""Categories whose texts are remembered."""


class Categories:
    """The tree of one version.

    Attributes:
        version: of the tree, 0 where there was never a category.
    """

    def __init__(self, shown: ShownCategories) -> None:
        self.version = shown.version
        self._shown = shown
        self._by_handle = {category.handle: category for category in shown.categories.values()}

    def find(self, wanted: str) -> ShownCategory | None:
        """The category with this id, else the one with this handle."""
        return self._shown.categories.get(wanted) or self._by_handle.get(wanted)

    def moved(self, wanted: str) -> ShownCategory | None:
        """The category that had this handle before, where none has it now."""
        return self._shown.categories.get(self._shown.former.get(wanted, ""))

    def path(self, id: str) -> tuple[ShownCategory, ...]:
        """The categories above this one, from the top."""
        found = []
        above = self._shown.categories[id].parent
        while above is not None:
            found.append(self._shown.categories[above])
            above = found[-1].parent
        return tuple(reversed(found))

    def children(self, id: str) -> tuple[ShownCategory, ...]:
        """Those right below, in their order."""
        return tuple(self._shown.categories[child] for child in self._shown.categories[id].children)

    def position(self, id: str) -> int:
        """The place among the siblings, from 0."""
        parent = self._shown.categories[id].parent
        return (self._shown.roots if parent is None else self._shown.categories[parent].children).index(id)

    def with_below(self, id: str) -> tuple[str, ...]:
        """Ids of the category and of all below it."""
        return tuple(category.id for _, category in self._walk((id,), 1, None))

    def walk(self, depth: int | None = None) -> Iterator[tuple[int, ShownCategory]]:
        """Every category with its level from 1, each before those below it, down to a level."""
        return self._walk(self._shown.roots, 1, depth)

    def _walk(self, ids: Iterable[str], level: int, depth: int | None) -> Iterator[tuple[int, ShownCategory]]:
        if depth is not None and level > depth:
            return
        for id in ids:
            category = self._shown.categories[id]
            yield level, category
            yield from self._walk(category.children, level + 1, depth)


NONE = ShownCategories(version=0, roots=(), categories={}, former={})


class CategoryFinder:
    """Reads the tree, and looks through it anew only where it has changed.

    Args:
        actors: who have the tree.
        clock: seconds that only grow.
    """

    def __init__(self, actors: Actors, clock: Callable[[], float] = time.monotonic) -> None:
        self._actors = actors
        self._clock = clock
        self._read_at = -RECENT_SECONDS
        self._tree = Categories(NONE)
        self._details: OrderedDict[tuple[str, int], Details] = OrderedDict()

    async def all(self) -> Categories:
        """The tree as committed.

        Raises:
            Unavailable: the store can't be reached.
        """
        began = self._clock()
        shown = await self._actors.read("category_tree", TREE)
        if shown is not None and shown.version != self._tree.version:
            self._tree = Categories(shown.value)
        self._read_at = began
        return self._tree

    async def recent(self) -> Categories:
        """The tree as it was `RECENT_SECONDS` ago at most, for lists: where another process owns it, a read costs more.

        Raises:
            Unavailable: the store can't be reached.
        """
        if self._clock() - self._read_at < RECENT_SECONDS:
            return self._tree
        return await self.all()

    async def named(self, wanted: Iterable[str], known: Collection[str] = ()) -> tuple[str, ...]:
        """Ids of the categories that a product names by id or handle, each once.

        Args:
            wanted: ids or handles.
            known: what the product names already; of these, those that are gone meanwhile are left out.

        Raises:
            Refused: 422 `invalid`, with each name that is no category's.
            Unavailable: the store can't be reached.
        """
        names = tuple(wanted)
        if not names:
            return ()
        tree = await self.all()
        found = [(index, name, tree.find(name)) for index, name in enumerate(names)]
        faults = tuple(
            Fault(f"/categories/{index}", f"{name[:40]!r} is no category")
            for index, name, category in found
            if category is None and name not in known
        )
        if faults:
            raise Refused(Rejection("invalid", "There is no such category.", 422, faults))
        return tuple(dict.fromkeys(category.id for _, _, category in found if category is not None))

    async def details(self, id: str, version: int) -> Details:
        """What a category says about itself, in a tree of this version.

        Raises:
            Refused: 404 `not_found`: it was removed meanwhile.
            Unavailable: the store can't be reached.
        """
        key = (id, version)
        known = self._details.get(key)
        if known is not None:
            self._details.move_to_end(key)
            return known
        answer = await self._actors.ask("category_tree", TREE, DescribeCategory(id=id))
        if answer.rejection is not None:
            raise Refused(answer.rejection)
        details = msgspec.convert(answer.value, Details, from_attributes=True)
        if answer.version == version:
            self._details[key] = details
            if len(self._details) > REMEMBERED:
                self._details.popitem(last=False)
        return details


CATEGORIES = web.AppKey("categories", CategoryFinder)
