"""Products: the catalogue as anybody sees it, and as staff keep it."""

import asyncio
import functools
import re
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ultramarket.domain.handles import handle, shortened
from ultramarket.domain.ids import new_id
from ultramarket.errors import Unavailable
from ultramarket.messages.collection import ShownCollection
from ultramarket.messages.product import ArchiveProduct, ShownProduct, ShownSeo, Status
from ultramarket.ports.search import FACETS, FacetValue, Sort
from ultramarket.views.products import FoundProduct, ProductFilters
from web import codings, presenters
from web.answers import Tree, entity, field_tree, listing, not_modified, page, select, spared
from web.bodies import Body
from web.caching import is_public
from web.category_finder import CATEGORIES, Categories
from web.collection_finder import COLLECTIONS
from web.finder import FINDER, PRODUCT_BODIES, KeptBody
from web.idempotency import WRITE
from web.kept_lists import LISTS
from web.listing import refuse_list, shown_writes
from web.operation import ask, operation
from web.preferences import consistency_token, expected_version, languages, unchanged
from web.principal import PRINCIPAL
from web.problems import Refused, refuse
from web.product_bodies import NewProduct, ProductPatch, change_command, create_command, merges
from web.queries import Cursor, Fields, Limit, Query
from web.redirects import Moved, moved
from web.services import SHOP

PATCH_TYPES = ("application/merge-patch+json", "application/json")
TRIES = 32
"""How often a patch is made when somebody else changes the product meanwhile."""

MAX_HANDLE = 100
"""Characters of a handle that is made of a title."""

PRICE = r"^[0-9]{1,12}(\.[0-9]{1,4})?$"

Words = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Price = Annotated[str, msgspec.Meta(description="In `currency`, e.g. `12.90`.", extra_json_schema={"pattern": PRICE})]


SEARCHED = (
    'Words, each the beginning of a word of the product or a form of one, and `"phrases"`; a SKU or barcode comes '
    "first. "
    "Where hardly anything is found, words that are spelled alike are found, too."
)
SORTED = "`relevance` when absent and there is a `q`, else `newest`."
Several = Annotated[
    tuple[Words, ...], msgspec.Meta(max_length=20, description="May be given several times: any of the values will do.")
]
Facets = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=1000,
        description=f"What to count: `{'`, `'.join(FACETS)}` and `option.NAME`, e.g. `vendor,option.Size,price`. "
        "Each is counted without the filter of its own.",
    ),
]


class ProductsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which products are wanted; all that is given must hold."""

    q: Annotated[Words, msgspec.Meta(description=SEARCHED)] | None = None
    category: (
        Annotated[
            str,
            msgspec.Meta(
                min_length=1,
                max_length=200,
                description="A category by id or handle, with all below it; where none is called so, a type or a tag.",
            ),
        ]
        | None
    ) = None
    collection: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=200, description="A collection by id or handle.")] | None
    ) = None
    tag: Several = ()
    vendor: Several = ()
    type: Several = ()
    currency: Annotated[str, msgspec.Meta(min_length=3, max_length=3)] | None = None
    price_min: Price | None = None
    price_max: Price | None = None
    in_stock: bool | None = None
    sort: Annotated[Sort, msgspec.Meta(description=SORTED)] | None = None
    facets: Facets | None = None
    highlight: Annotated[bool, msgspec.Meta(description="Mark the words of `q` where they were found.")] = False
    status: Annotated[Status, msgspec.Meta(description="For staff: `published` is what everybody sees.")] = "published"
    limit: Limit = 24
    cursor: Cursor | None = None
    fields: Fields | None = None


class ProductQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a product is shown."""

    fields: Fields | None = None


class ListedProduct(presenters.Product, frozen=True):
    """A product in a list, and whether any of its variants can be bought now.

    Attributes:
        highlights: HTML of `title` and `description` with the words of `q` in `<mark>`, where it was asked for.
    """

    in_stock: bool
    highlights: dict[str, str] | UnsetType = UNSET


class CountedValue(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value of a facet and how many products have it; a price range begins with `min` and ends before `below`."""

    value: str
    count: int
    min: str | None = None
    below: str | None = None


class ProductPage(msgspec.Struct, frozen=True):
    """A page of products; `next` is the cursor of the next one.

    Attributes:
        facets: by name, where they were asked for: values that most products have come first, price ranges in order.
    """

    items: tuple[ListedProduct, ...]
    next: str | None
    facets: dict[str, tuple[CountedValue, ...]] | UnsetType = UNSET


class SuggestionsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was typed so far."""

    q: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    limit: Annotated[int, msgspec.Meta(ge=1, le=10, description="How many of each at most.")] = 5


class SuggestedProduct(msgspec.Struct, frozen=True):
    """A product that somebody who is typing may mean."""

    id: str
    handle: str
    title: str


class ProductSuggestions(msgspec.Struct, frozen=True):
    """Products that are found already, and longer texts that find some."""

    products: tuple[SuggestedProduct, ...]
    completions: tuple[str, ...]


COSTLY = {"description": {}, "options": (), "media": (), "seo": ShownSeo(title={}, description={}), "variants": ()}
"""What takes most of the time to present, and what stands there where nobody asks for it."""

_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")
"""What can stand in a header's list of keys."""

LIST = Query(ProductsQuery, prefix="option.")
SUGGESTIONS = Query(SuggestionsQuery)
ONE = Query(ProductQuery)
NEW_PRODUCT = Body(NewProduct)
PRODUCT_PATCH = Body(ProductPatch, types=PATCH_TYPES)


@operation(query=LIST, response=ProductPage, consistent=True)
async def index(request: web.Request) -> web.Response:
    """List and search products."""
    shop = request.app[SHOP]
    query = LIST.read(request)
    tree = field_tree(query.fields, ListedProduct)
    if query.status != "published" and not request[PRINCIPAL].staff:
        refuse("credentials_required", "Products that are not published are for staff.")
    await shown_writes(request)
    collection = await _collection(request, query.collection)
    position = shop.views.position("products") if is_public(request) else None
    if position is None:
        return await _page(request, query, tree, collection)
    # What is in a category or a collection is said by these two, and not by the view.
    stands = (await _tree(request)).version if query.category or collection else 0
    chosen = collection.version if collection else 0
    key = f"{position} {stands} {chosen} {request.query_string} {','.join(languages(request))}"
    make = functools.partial(_page, request, query, tree, collection)
    return await request.app[LISTS].answer(key, codings.wanted(request), make)


async def _page(
    request: web.Request, query: ProductsQuery, tree: Tree, collection: ShownCollection | None
) -> web.Response:
    """The list as it is now.

    Raises:
        Refused: 400 `malformed_cursor` or 422 `invalid_parameter`.
        Unavailable: the view can't be reached.
    """
    shop = request.app[SHOP]
    wanted, fallback = languages(request), shop.channel.language
    filters = ProductFilters(
        q=query.q,
        category=query.category,
        categories=await _categories(request, query.category),
        language=wanted[0] if wanted else fallback,
        tag=query.tag,
        vendor=query.vendor,
        type=query.type,
        currency=query.currency or shop.channel.currency,
        price_min=_price(query.price_min, "price_min"),
        price_max=_price(query.price_max, "price_max"),
        in_stock=query.in_stock,
        options=dict(LIST.prefixed(request)),
        status=query.status,
        sort=query.sort or (collection.sort if collection and not query.q else None),
        collection=collection.id if collection else None,
        chosen=await request.app[COLLECTIONS].chosen(collection, shop.channel.currency) if collection else None,
    )
    try:
        found = await shop.products.search(
            filters,
            query.limit,
            query.cursor,
            facets=tuple(name.strip() for name in query.facets.split(",")) if query.facets else (),
            highlight=query.highlight,
        )
    except ValueError as error:
        refuse_list(error)
    items = [
        select(listed(item, spared(item.product, tree, COSTLY), wanted, fallback, query), tree)
        for item in found.page.items
    ]
    # What is asked with a token must come from here: caches that keep the list look at Prefer too.
    keys = ["products"]
    if query.category and _KEY.fullmatch(query.category):
        keys.append(f"category-{query.category}")
    counted = {name: tuple(_counted(value) for value in values) for name, values in found.facets.items()}
    beside = {"facets": counted} if counted else {}
    headers = shop.caching.public(*keys, vary="Prefer") if is_public(request) else None
    return page(items, found.page.next, headers, **beside)


@operation(query=SUGGESTIONS, response=ProductSuggestions, consistent=True)
async def suggestions(request: web.Request) -> web.Response:
    """Suggest products and texts while somebody types."""
    shop = request.app[SHOP]
    query = SUGGESTIONS.read(request)
    await shown_writes(request)
    wanted, fallback = languages(request), shop.channel.language
    try:
        found = await shop.products.suggest(query.q, wanted[0] if wanted else fallback, query.limit)
    except ValueError as error:
        refuse_list(error)
    products = (presenters.product(item.product, wanted, fallback) for item in found.products)
    answer = ProductSuggestions(
        products=tuple(SuggestedProduct(id=each.id, handle=each.handle, title=each.title) for each in products),
        completions=found.completions,
    )
    return listing(answer, shop.caching.public("products", vary="Prefer") if is_public(request) else None)


@operation(
    query=ONE,
    response=presenters.Product,
    conditional=True,
    elsewhere=(308, Moved, "A handle that the product had before."),
)
async def show(request: web.Request) -> web.Response:
    """Show a product by its id or handle."""
    tree = field_tree(ONE.read(request).fields, presenters.Product) if request.query_string else {}
    shown = await request.app[FINDER].find(request.match_info["id"])
    if shown is None:
        return await _moved(request)
    _visible(request, shown)
    public = is_public(request)
    if unchanged(request, shown.version):
        return not_modified(shown.version, _public(request, shown) if public else None)
    if tree:
        part = select(_present(request, spared(shown, tree, COSTLY)), tree)
        return entity(part, shown.version, headers=_public(request, shown) if public else None)
    if not public:
        return entity(_present(request, shown), shown.version)
    bodies = request.app[PRODUCT_BODIES]
    key = (shown.id, shown.version, languages(request), codings.wanted(request))
    kept = bodies.get(key)
    if kept is None:
        answer = entity(_present(request, shown), shown.version, headers=_public(request, shown))
        await codings.pack(answer, key[3])
        body: Any = answer.body
        kept = KeptBody(body, answer.headers.copy())
        bodies.put(key, kept)
    return web.Response(body=kept.body, headers=kept.headers.copy())  # those of each answer are its own


@operation(body=NEW_PRODUCT, response=presenters.Product, status=201, writes="product", staff=True, errors=("taken",))
async def create(request: web.Request) -> web.Response:
    """Make a product."""
    shop, write = request.app[SHOP], request[WRITE]
    new = await NEW_PRODUCT.read(request)
    language = shop.channel.language
    id = write.derived_id(shop.secret, "product") or new_id()
    categories = await request.app[CATEGORIES].named(new.categories)
    made = new.handle or await _free_handle(request, new, language, id)
    # In a thread: deeply nested HTML takes seconds to read, and nobody else is to wait for it.
    command = await asyncio.to_thread(create_command, new, made, language, categories)
    try:
        answer = await ask(request, "product", id, command)
    except Refused as refused:
        if new.handle or refused.rejection.code != "taken":
            raise
        # Somebody else took the handle meanwhile: one that nobody else makes is left, or it was a SKU.
        command = msgspec.structs.replace(command, handle=shortened(made, id, MAX_HANDLE))
        answer = await ask(request, "product", id, command, attempt=1)
    return await _product(request, id, status=201, token=answer.token, location=f"/api/v1/products/{id}")


@operation(
    body=PRODUCT_PATCH, response=presenters.Product, writes="product", staff=True, conditional=True, errors=("taken",)
)
async def change(request: web.Request) -> web.Response:
    """Change a product by a JSON Merge Patch.

    A text sent as a string is set in the channel's language only; `variants` replaces the whole list.
    """
    language = request.app[SHOP].channel.language
    patch = await PRODUCT_PATCH.read(request)
    expect = expected_version(request)
    for attempt in range(TRIES):
        old = await _find(request)
        # Texts are merged with what they are now: nobody may change them in between.
        wanted = old.version if expect is None and merges(patch) else expect
        named = await request.app[CATEGORIES].named(patch.categories or (), old.categories)
        command = await asyncio.to_thread(change_command, patch, old, language, wanted, named)
        try:
            answer = await ask(request, "product", old.id, command, attempt=attempt)
        except Refused as refused:
            if refused.rejection.code != "version_mismatch" or expect is not None:
                raise
        else:
            return await _product(request, old.id, token=answer.token)
    raise Unavailable("unavailable", "Too many change this product at the same time: try again.")


@operation(response=presenters.Product, writes="product", staff=True, conditional=True)
async def archive(request: web.Request) -> web.Response:
    """Take a product out of the shop; it keeps its handle and SKUs."""
    shown = await _find(request)
    answer = await ask(request, "product", shown.id, ArchiveProduct(expect=expected_version(request)))
    return await _product(request, shown.id, token=answer.token)


def listed(
    found: FoundProduct, shown: ShownProduct, wanted: tuple[str, ...], fallback: str, query: ProductsQuery
) -> ListedProduct:
    """A product as lists show it; `shown` is what is to be presented of it."""
    product = presenters.product(shown, wanted, fallback)
    highlights = found.highlights if query.highlight else UNSET
    return ListedProduct(**msgspec.structs.asdict(product), in_stock=found.in_stock, highlights=highlights)


def _counted(value: FacetValue) -> CountedValue:
    low, below = (None if bound is None else format(bound, "f") for bound in (value.min, value.below))
    return CountedValue(value.value, value.count, low, below)


def _price(price: str | None, name: str) -> Decimal | None:
    if price is None:
        return None
    if not re.fullmatch(PRICE, price):
        refuse("invalid_parameter", f"The parameter `{name}` is not a price: write one such as 12.90.")
    return Decimal(price)


async def _collection(request: web.Request, wanted: str | None) -> ShownCollection | None:
    """The collection that a list asks for; None where it asks for none.

    Raises:
        Refused: 422 `invalid_parameter`: there is none that this reader may see.
    """
    if wanted is None:
        return None
    found = await request.app[COLLECTIONS].find(wanted)
    if found is None or not (found.published or request[PRINCIPAL].staff):
        refuse("invalid_parameter", "The parameter `collection` names no collection.")
    return found


async def _tree(request: web.Request) -> Categories:
    """The categories by which a list is filtered; those of this moment, where it is to show a certain write."""
    finder = request.app[CATEGORIES]
    return await (finder.recent() if consistency_token(request) is None else finder.all())


async def _categories(request: web.Request, category: str | None) -> tuple[str, ...]:
    """Ids of the category that a list asks for and of all below it; empty where none is called so."""
    if category is None:
        return ()
    categories = await _tree(request)
    found = categories.find(category)
    return categories.with_below(found.id) if found else ()


def _visible(request: web.Request, shown: ShownProduct) -> None:
    """Check that this reader may see the product.

    Raises:
        Refused: 404 `not_found`.
    """
    if shown.status != "published" and not request[PRINCIPAL].staff:
        refuse("not_found", "There is no such product.")


async def _moved(request: web.Request) -> web.Response:
    """The way to the product that had this handle before.

    Raises:
        Refused: 404 `not_found`.
    """
    shop = request.app[SHOP]
    id = await shop.redirects.before("product", request.match_info["id"])
    shown = await shop.actors.read("product", id) if id is not None else None
    if shown is None:
        refuse("not_found", "There is no such product.")
    _visible(request, shown.value)
    return moved(request, "products", shown.value.id, shown.value.handle)


async def _find(request: web.Request) -> ShownProduct:
    """The product by its id or handle.

    Raises:
        Refused: 404 `not_found`.
    """
    product = await request.app[FINDER].find(request.match_info["id"])
    if product is None:
        refuse("not_found", "There is no such product.")
    return product


async def _free_handle(request: web.Request, new: NewProduct, language: str, id: str) -> str:
    """A handle made of the title; where another product has it, a hash of the id follows."""
    texts = new.title if isinstance(new.title, dict) else {language: new.title}
    title = texts.get(language) or next(iter(texts.values()), "")
    made = handle(title)
    owner = await request.app[SHOP].actors.owner("handle", made)
    return made if owner in (None, id) else shortened(made, id, MAX_HANDLE)


def _public(request: web.Request, shown: ShownProduct) -> dict[str, str]:
    """The headers that let caches keep a product."""
    return request.app[SHOP].caching.public("products", f"product-{shown.id}")


def _present(request: web.Request, shown: ShownProduct) -> presenters.Product:
    return presenters.product(shown, languages(request), request.app[SHOP].channel.language)


async def _product(
    request: web.Request, id: str, *, status: int = 200, token: str | None = None, location: str | None = None
) -> web.Response:
    """The product as it is after a write."""
    shown = await request.app[SHOP].actors.read("product", id)
    if shown is None:
        refuse("not_found", "There is no such product.")
    return entity(_present(request, shown.value), shown.version, status=status, token=token, location=location)
