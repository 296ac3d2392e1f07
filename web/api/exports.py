"""Exports: the catalogue as a file that can be brought in again."""

import asyncio
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from ultramarket.domain.money import EXPONENTS, Money
from ultramarket.domain.parsed_product import ParsedMedia, ParsedOption, ParsedProduct, ParsedSeo, ParsedVariant
from ultramarket.domain.product_sheet import header, sheet
from ultramarket.messages.common import ShownMoney, Text
from ultramarket.messages.product import ShownProduct, ShownVariant, Status
from ultramarket.views.pages import Page
from ultramarket.views.products import FoundProduct, ProductFilters
from web.listing import shown_writes
from web.middlewares import dress
from web.operation import REQUEST_ID, operation
from web.problems import refuse
from web.queries import Query
from web.services import SHOP, Shop

PAGE = 100
"""Products that are read at once."""


class ExportQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which products, and in which currency their prices are."""

    currency: Annotated[str, msgspec.Meta(min_length=3, max_length=3)] | None = None
    status: Annotated[Literal[Status, "any"], msgspec.Meta(description="`any` is all of them.")] = "any"


QUERY = Query(ExportQuery)


@operation(query=QUERY, staff=True, consistent=True, uploads=True, produces="text/csv", errors=("currency_unknown",))
async def products(request: web.Request) -> web.StreamResponse:
    """Export the products as a file.

    CSV in Shopify's layout, which `POST /imports` reads: the same file again changes nothing. Texts are in the shop's
    language, prices in `currency`, the default channel's where it is absent; quantities are what is on hand. What the
    layout can't say, a variant without a price in the currency or a fourth option, has a row without a price.
    """
    shop = request.app[SHOP]
    query = QUERY.read(request)
    currency = query.currency or shop.channel.currency
    if currency not in EXPONENTS:
        refuse("currency_unknown")
    await shown_writes(request)
    filters = ProductFilters(status=None if query.status == "any" else query.status, sort="title")
    page = await shop.products.find(filters, PAGE)  # whatever is wrong with the view is said before the answer begins
    response = web.StreamResponse(headers={"Content-Disposition": 'attachment; filename="products.csv"'})
    response.content_type, response.charset = "text/csv", "utf-8"
    dress(response, request[REQUEST_ID])
    await response.prepare(request)
    try:
        await response.write(header().encode())
        await response.write((await _text(shop, page, currency)).encode())
        while page.next is not None:
            page = await shop.products.find(filters, PAGE, page.next)
            await response.write((await _text(shop, page, currency)).encode())
        await response.write_eof()
    except BaseException:
        # An answer that has begun can't become another: the client must see that the file is not whole.
        if request.transport is not None:
            request.transport.abort()
        raise
    return response


async def _text(shop: Shop, page: Page[FoundProduct], currency: str) -> str:
    """The rows of a page of products."""
    items = [item.product for item in page.items]
    skus = [variant.sku for product in items for variant in product.variants if variant.track_stock]
    stock = await shop.actors.read_many("inventory", skus)
    on_hand = {sku: shown.value.on_hand for sku, shown in stock.items()}
    language = shop.channel.language
    # In a thread: a page of products with hundreds of variants takes longer than others may wait for the loop.
    return await asyncio.to_thread(
        lambda: "".join(sheet(parsed(product, language, currency, on_hand)) for product in items)
    )


def parsed(product: ShownProduct, language: str, currency: str, on_hand: dict[str, int]) -> ParsedProduct:
    """The product as a file says it: in one language and one currency, with the pieces on hand by SKU."""

    def text(texts: Text) -> str:
        return texts.get(language) or next(iter(texts.values()), "")

    return ParsedProduct(
        lines=(),
        handle=product.handle,
        title=text(product.title),
        description=product.description.get(language, ""),
        vendor=product.vendor,
        type=product.type,
        tags=product.tags,
        options=tuple(ParsedOption(option.name, option.values) for option in product.options),
        media=tuple(ParsedMedia(medium.url, medium.alt.get(language, "")) for medium in product.media),
        seo=ParsedSeo(product.seo.title.get(language, ""), product.seo.description.get(language, "")),
        status=product.status,
        variants=tuple(_variant(variant, currency, on_hand) for variant in product.variants),
    )


def _variant(variant: ShownVariant, currency: str, on_hand: dict[str, int]) -> ParsedVariant:
    before = variant.compare_at_price
    return ParsedVariant(
        line=0,
        sku=variant.sku,
        title="",
        options=variant.options,
        price=_money(variant.prices.get(currency)),
        compare_at_price=_money(before if before is not None and before.currency == currency else None),
        weight_grams=variant.weight_grams,
        barcode=variant.barcode,
        tax_class=variant.tax_class,
        track_stock=variant.track_stock,
        quantity=on_hand.get(variant.sku),
        when_out=variant.when_out,
    )


def _money(shown: ShownMoney | None) -> Money | None:
    return None if shown is None else Money.parse(shown.amount, shown.currency)
