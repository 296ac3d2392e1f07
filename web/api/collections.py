"""Collections: products that are shown together, by hand or by rules."""

import asyncio
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from ultramarket.domain.handles import HANDLE_LENGTH, handle, shortened
from ultramarket.domain.ids import new_id
from ultramarket.errors import Unavailable
from ultramarket.messages.collection import (
    Match,
    PlaceProduct,
    RemoveCollection,
    Rule,
    ShownCollection,
    Sort,
    TakeOutProduct,
)
from ultramarket.views.collections import CollectionFilters
from web import presenters
from web.answers import entity, field_tree, not_modified, page, select
from web.bodies import Body
from web.collection_bodies import CollectionPatch, NewCollection, NewPlace, change_command, create_command, merges
from web.collection_finder import COLLECTIONS
from web.finder import FINDER
from web.idempotency import WRITE
from web.listing import refuse_list, shown_writes
from web.operation import ask, operation
from web.preferences import expected_version, languages, text_in, unchanged
from web.principal import PRINCIPAL
from web.problems import Refused, refuse
from web.queries import Cursor, Fields, Limit, Query
from web.redirects import Moved, moved
from web.services import SHOP

PATCH_TYPES = ("application/merge-patch+json", "application/json")
TRIES = 32
"""How often a patch is made when somebody else changes the collection meanwhile."""


class CollectionsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which collections are wanted."""

    published: Annotated[
        Literal["true", "any"], msgspec.Meta(description="`any`: those that are not published too, for staff.")
    ] = "true"
    limit: Limit = 24
    cursor: Cursor | None = None
    fields: Fields | None = None


class CollectionQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a collection is shown."""

    fields: Fields | None = None


class Collection(msgspec.Struct, frozen=True):
    """A collection; `description` is HTML. It is made by hand where it has no rules: `products` are ids then."""

    id: str
    version: int
    handle: str
    title: str
    description: str
    seo: presenters.Seo
    media: tuple[presenters.Media, ...]
    published: bool
    products: tuple[str, ...]
    match: Match
    rules: tuple[Rule, ...]
    sort: Sort
    created_at: datetime
    updated_at: datetime


class CollectionPage(msgspec.Struct, frozen=True):
    """A page of collections; `next` is the cursor of the next one."""

    items: tuple[Collection, ...]
    next: str | None


LIST = Query(CollectionsQuery)
ONE = Query(CollectionQuery)
NEW_COLLECTION = Body(NewCollection)
COLLECTION_PATCH = Body(CollectionPatch, types=PATCH_TYPES)
NEW_PLACE = Body(NewPlace)


@operation(query=LIST, response=CollectionPage, consistent=True)
async def index(request: web.Request) -> web.Response:
    """List the collections by title."""
    query = LIST.read(request)
    tree = field_tree(query.fields, Collection)
    if query.published != "true" and not request[PRINCIPAL].staff:
        refuse("credentials_required", "Collections that are not published are for staff.")
    await shown_writes(request)
    filters = CollectionFilters(published=True if query.published == "true" else None)
    try:
        found = await request.app[SHOP].collections.find(filters, query.limit, query.cursor)
    except ValueError as error:
        refuse_list(error)
    return page((select(_present(request, item), tree) for item in found.items), found.next)


@operation(
    query=ONE,
    response=Collection,
    conditional=True,
    elsewhere=(308, Moved, "A handle that the collection had before."),
)
async def show(request: web.Request) -> web.Response:
    """Show a collection by its id or handle; `GET /products?collection=` lists what is in it."""
    tree = field_tree(ONE.read(request).fields, Collection)
    finder, wanted = request.app[COLLECTIONS], request.match_info["id"]
    collection = await finder.find(wanted)
    if collection is None:
        id = await request.app[SHOP].redirects.before("collection", wanted)
        now = await finder.read(id) if id is not None else None
        if now is not None and _visible(request, now):
            return moved(request, "collections", now.id, now.handle)
    if collection is None or not _visible(request, collection):
        refuse("not_found", "There is no such collection.")
    if unchanged(request, collection.version):
        return not_modified(collection.version)
    return entity(select(_present(request, collection), tree), collection.version)


@operation(body=NEW_COLLECTION, response=Collection, status=201, writes="collection", staff=True, errors=("taken",))
async def create(request: web.Request) -> web.Response:
    """Make a collection."""
    shop, write = request.app[SHOP], request[WRITE]
    new = await NEW_COLLECTION.read(request)
    products = await request.app[COLLECTIONS].products(new.products)
    language = shop.channel.language
    id = write.derived_id(shop.secret, "collection") or new_id()
    made = new.handle or await _free_handle(request, new, language, id)
    command = await asyncio.to_thread(create_command, new, made, products, language)
    try:
        answer = await ask(request, "collection", id, command)
    except Refused as refused:
        if new.handle or refused.rejection.code != "taken":
            raise
        # Somebody else took the handle meanwhile: one that nobody else makes is left.
        command = msgspec.structs.replace(command, handle=shortened(made, id, HANDLE_LENGTH))
        answer = await ask(request, "collection", id, command, attempt=1)
    return await _collection(request, id, status=201, token=answer.token, location=f"/api/v1/collections/{id}")


@operation(
    body=COLLECTION_PATCH, response=Collection, writes="collection", staff=True, conditional=True, errors=("taken",)
)
async def change(request: web.Request) -> web.Response:
    """Change a collection by a JSON Merge Patch.

    A text sent as a string is set in the channel's language only; `products` and `rules` replace the whole list.
    """
    language = request.app[SHOP].channel.language
    patch = await COLLECTION_PATCH.read(request)
    expect = expected_version(request)
    products = await request.app[COLLECTIONS].products(patch.products or ())
    for attempt in range(TRIES):
        old = await _find(request)
        # Texts are merged with what they are now: nobody may change them in between.
        wanted = old.version if expect is None and merges(patch) else expect
        command = await asyncio.to_thread(change_command, patch, old, products, language, wanted)
        try:
            answer = await ask(request, "collection", old.id, command, attempt=attempt)
        except Refused as refused:
            if refused.rejection.code != "version_mismatch" or expect is not None:
                raise
        else:
            return await _collection(request, old.id, token=answer.token)
    raise Unavailable("unavailable", "Too many change this collection at the same time: try again.")


@operation(body=NEW_PLACE, response=Collection, writes="collection", staff=True, conditional=True)
async def place(request: web.Request) -> web.Response:
    """Put a product into a collection that is made by hand, or move it within."""
    new = await NEW_PLACE.read(request)
    product = await request.app[FINDER].find(new.product)
    if product is None:
        refuse("invalid", "There is no such product.", pointer="/product")
    collection = await _find(request)
    command = PlaceProduct(product=product.id, position=new.position, expect=expected_version(request))
    answer = await ask(request, "collection", collection.id, command)
    return await _collection(request, collection.id, token=answer.token)


@operation(response=Collection, writes="collection", staff=True, conditional=True)
async def take_out(request: web.Request) -> web.Response:
    """Take a product out of a collection that is made by hand."""
    collection = await _find(request)
    wanted = request.match_info["product"]
    product = await request.app[FINDER].find(wanted)
    command = TakeOutProduct(product=product.id if product else wanted, expect=expected_version(request))
    answer = await ask(request, "collection", collection.id, command)
    return await _collection(request, collection.id, token=answer.token)


@operation(response=Collection, writes="collection", staff=True, conditional=True)
async def remove(request: web.Request) -> web.Response:
    """Take a collection out of the shop; its products stay. The answer is what it was."""
    wanted = request.match_info["id"]
    collection = await request.app[COLLECTIONS].find(wanted)
    # Where it is gone, it says so itself: to a repeat it gives its first reply.
    id = wanted if collection is None else collection.id
    answer = await ask(request, "collection", id, RemoveCollection(expect=expected_version(request)))
    shown = await request.app[SHOP].actors.read("collection", id)
    if shown is None:
        refuse("not_found", "There is no such collection.")
    return entity(_present(request, shown.value), shown.version, token=answer.token)


def _visible(request: web.Request, collection: ShownCollection) -> bool:
    return collection.published or request[PRINCIPAL].staff


async def _find(request: web.Request) -> ShownCollection:
    """The collection by its id or handle.

    Raises:
        Refused: 404 `not_found`.
    """
    collection = await request.app[COLLECTIONS].find(request.match_info["id"])
    if collection is None:
        refuse("not_found", "There is no such collection.")
    return collection


async def _free_handle(request: web.Request, new: NewCollection, language: str, id: str) -> str:
    """A handle made of the title; where another collection has it, a hash of the id follows."""
    texts = new.title if isinstance(new.title, dict) else {language: new.title}
    made = handle(texts.get(language) or next(iter(texts.values()), ""))
    owner = await request.app[SHOP].actors.owner("collection", made)
    return made if owner in (None, id) else shortened(made, id, HANDLE_LENGTH)


def _present(request: web.Request, shown: ShownCollection) -> Collection:
    wanted, fallback = languages(request), request.app[SHOP].channel.language
    return Collection(
        id=shown.id,
        version=shown.version,
        handle=shown.handle,
        title=text_in(shown.title, wanted, fallback),
        description=text_in(shown.description, wanted, fallback),
        seo=presenters.Seo(
            text_in(shown.seo.title, wanted, fallback), text_in(shown.seo.description, wanted, fallback)
        ),
        media=tuple(presenters.Media(medium.url, text_in(medium.alt, wanted, fallback)) for medium in shown.media),
        published=shown.published,
        products=shown.products,
        match=shown.match,
        rules=shown.rules,
        sort=shown.sort,
        created_at=shown.created_at,
        updated_at=shown.updated_at,
    )


async def _collection(
    request: web.Request, id: str, *, status: int = 200, token: str | None = None, location: str | None = None
) -> web.Response:
    """The collection as it is after a write."""
    shown = await request.app[COLLECTIONS].read(id)
    if shown is None:
        refuse("not_found", "There is no such collection.")
    return entity(_present(request, shown), shown.version, status=status, token=token, location=location)
