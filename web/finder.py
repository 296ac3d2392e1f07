"""Products by id or handle, and their encoded bodies: what a storefront asks for most."""

from collections import OrderedDict
from typing import NamedTuple

from aiohttp import web
from multidict import CIMultiDict

from ultramarket.messages.product import ShownProduct
from ultramarket.ports.asking import Actors

REMEMBERED = 20_000
"""Handles whose product is remembered."""
BODIES_BYTES = 32 << 20
"""Bytes of encoded products that are kept."""
BESIDE = 1500
"""Bytes that are kept with each, about: its key and headers."""


class ProductFinder:
    """Finds a product by id or handle. It remembers which product has a handle, and checks that each time."""

    def __init__(self, actors: Actors) -> None:
        self._actors = actors
        self._product_of: OrderedDict[str, str] = OrderedDict()

    async def find(self, wanted: str) -> ShownProduct | None:
        """The product with this id, else the one with this handle.

        Raises:
            Unavailable: the store can't be reached.
        """
        known = self._product_of.get(wanted)
        if known is not None:
            product = await self._read(known)
            if product is not None and product.handle == wanted:
                return product
            self._product_of.pop(wanted, None)
        product = await self._read(wanted)
        if product is not None:
            return product
        owner = await self._actors.owner("handle", wanted)
        product = await self._read(owner) if owner is not None else None
        if owner is not None and product is not None:
            self._product_of[wanted] = owner
            if len(self._product_of) > REMEMBERED:
                self._product_of.popitem(last=False)
        return product

    async def _read(self, id: str) -> ShownProduct | None:
        shown = await self._actors.read("product", id)
        if shown is None:
            return None
        product: ShownProduct = shown.value
        return product


BodyKey = tuple[str, int, tuple[str, ...], str]
"""Id, version, reader's languages, and content coding."""


class KeptBody(NamedTuple):
    """An encoded public form with its headers."""

    body: bytes
    headers: CIMultiDict[str]


class KeptBodies:
    """Encoded public forms, each in the codings it was asked in; the least recently used leave first."""

    def __init__(self, limit: int = BODIES_BYTES) -> None:
        self._limit = limit
        self._bytes = 0
        self._bodies: OrderedDict[BodyKey, KeptBody] = OrderedDict()

    def get(self, key: BodyKey) -> KeptBody | None:
        """The body, None where it is not kept."""
        body = self._bodies.get(key)
        if body is not None:
            self._bodies.move_to_end(key)
        return body

    def put(self, key: BodyKey, body: KeptBody) -> None:
        """Keep a body."""
        if key in self._bodies:
            return
        self._bodies[key] = body
        self._bytes += len(body.body) + BESIDE
        while self._bytes > self._limit:
            _, gone = self._bodies.popitem(last=False)
            self._bytes -= len(gone.body) + BESIDE


FINDER = web.AppKey("finder", ProductFinder)
PRODUCT_BODIES = web.AppKey("product_bodies", KeptBodies)
