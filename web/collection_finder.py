"""Collections by id or handle, and what they choose."""

from collections.abc import Sequence

from aiohttp import web

from ultramarket.errors import Fault, Rejection
from ultramarket.messages.collection import ShownCollection
from ultramarket.ports.asking import Actors
from ultramarket.ports.search import Chosen
from web.category_finder import CategoryFinder
from web.finder import ProductFinder
from web.problems import Refused

MAX_NAMED = 2_000
"""Products that one request names; a collection holds no more."""


class CollectionFinder:
    """Finds collections, and the products that they name."""

    def __init__(self, actors: Actors, categories: CategoryFinder, products: ProductFinder) -> None:
        self._actors = actors
        self._categories = categories
        self._products = products

    async def find(self, wanted: str) -> ShownCollection | None:
        """The collection with this id, else the one with this handle; None where there is none, or not any more.

        Raises:
            Unavailable: the store can't be reached.
        """
        found = await self.read(wanted)
        if found is None and (owner := await self._actors.owner("collection", wanted)) is not None:
            found = await self.read(owner)
        return found

    async def read(self, id: str) -> ShownCollection | None:
        """The collection with this id; None where there is none, or not any more.

        Raises:
            Unavailable: the store can't be reached.
        """
        shown = await self._actors.read("collection", id)
        if shown is None or shown.value.removed:
            return None
        collection: ShownCollection = shown.value
        return collection

    async def chosen(self, collection: ShownCollection, currency: str) -> Chosen:
        """What a collection chooses, with the categories that its rules name as they are now.

        Raises:
            Unavailable: the store can't be reached.
        """
        names = [rule.value for rule in collection.rules if rule.field == "category"]
        tree = await self._categories.all() if names else None
        found = {name: category for name in names if tree and (category := tree.find(name) or tree.moved(name))}
        return Chosen(
            products=collection.products,
            match=collection.match,
            rules=collection.rules,
            currency=currency,
            categories={name: tree.with_below(category.id) for name, category in found.items()} if tree else {},
        )

    async def products(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Ids of the products that are named by id or handle.

        Raises:
            Refused: 422 `invalid`, with each name that is no product's, or with too many.
            Unavailable: the store can't be reached.
        """
        if len(wanted) > MAX_NAMED:
            fault = Fault("/products", f"at most {MAX_NAMED} products are possible")
            raise Refused(Rejection("invalid", fault.detail, 422, (fault,)))
        known = await self._actors.read_many("product", list(dict.fromkeys(wanted))) if wanted else {}
        ids, faults = [], []
        for index, name in enumerate(wanted):
            product = None if name in known else await self._products.find(name)
            if name in known or product is not None:
                ids.append(name if product is None else product.id)
            else:
                faults.append(Fault(f"/products/{index}", f"{name[:40]!r} is no product"))
        if faults:
            raise Refused(Rejection("invalid", "There is no such product.", 422, tuple(faults)))
        return tuple(ids)


COLLECTIONS = web.AppKey("collections", CollectionFinder)
