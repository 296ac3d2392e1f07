"""Writes products as a CSV in Shopify's layout, so that `ProductReader` reads the same products from it."""

import csv
import io
from collections.abc import Iterator

from ultramarket.domain.parsed_product import ParsedMedia, ParsedProduct, ParsedVariant
from ultramarket.domain.product_columns import COLUMNS
from ultramarket.domain.shop import EXEMPT_TAX, STANDARD_TAX

_KEYS = [key for key in COLUMNS if key != "variant_image"]  # a variant's picture is one of its product's
_OPTIONS = 3
"""Options that the layout has room for."""
_STATUS = {"published": "active", "draft": "draft", "archived": "archived"}

Cells = dict[str, str]


def header() -> str:
    """The line that names the columns."""
    return _text([[COLUMNS[key][0] for key in _KEYS]])


def sheet(product: ParsedProduct) -> str:
    """The rows of a product.

    What the layout can't say, a variant without a price or a product with more than three options, has rows without a
    price: a reader refuses them, which is better than to take something else for them.
    """
    return _text([[row.get(key, "") for key in _KEYS] for row in _rows(product)])


def _text(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _rows(product: ParsedProduct) -> Iterator[Cells]:
    for place in range(max(1, len(product.variants), len(product.media))):
        row: Cells = {"handle": product.handle}
        if place == 0:
            row |= _product(product)
        if place < len(product.variants):
            row |= _variant(product, product.variants[place])
        if place < len(product.media):
            row |= _medium(place + 1, product.media[place])
        yield row


def _product(product: ParsedProduct) -> Cells:
    names = [option.name for option in product.options] or ["Title"]
    return {
        "title": product.title,
        "body": product.description,
        "vendor": product.vendor,
        "type": product.type,
        "tags": ", ".join(product.tags),
        "published": _flag(product.status == "published"),
        "status": _STATUS[product.status],
        **{f"name{at}": name for at, name in enumerate(names[:_OPTIONS], 1)},
        "seo_title": product.seo.title,
        "seo_description": product.seo.description,
    }


def _variant(product: ParsedProduct, variant: ParsedVariant) -> Cells:
    values = [variant.options[option.name] for option in product.options] or ["Default Title"]
    price, compare_at = variant.price, variant.compare_at_price
    return {
        **{f"value{at}": value for at, value in enumerate(values[:_OPTIONS], 1)},
        "sku": variant.sku,
        "grams": str(variant.weight_grams),
        "tracker": "shopify" if variant.track_stock else "",
        "quantity": "" if variant.quantity is None else str(variant.quantity),
        "policy": variant.when_out,
        "price": "" if price is None or len(values) > _OPTIONS else price.text(),
        "compare_at": "" if compare_at is None else compare_at.text(),
        "taxable": _flag(variant.tax_class != EXEMPT_TAX),
        "tax_code": "" if variant.tax_class in (STANDARD_TAX, EXEMPT_TAX) else variant.tax_class,
        # The reader takes one apostrophe away, which others put before digits.
        "barcode": f"'{variant.barcode}" if variant.barcode.startswith("'") else variant.barcode,
    }


def _medium(position: int, medium: ParsedMedia) -> Cells:
    return {"image": medium.url, "position": str(position), "alt": medium.alt}


def _flag(value: bool) -> str:
    return "TRUE" if value else "FALSE"
