"""A catalogue as large as a benchmark needs, brought in the way that shops do it: as a product file."""

import asyncio
import csv
import io
from time import perf_counter
from typing import Any

from scripts.benchmarks.http_client import connections
from scripts.benchmarks.shop import API, SIZES, STAFF

COLOURS = ("Black", "White", "Navy", "Olive", "Sand")
PIECES = 1_000_000
WORDS = "Cut from heavy cotton, sewn in one place, washed before it leaves. Made for years of wear, and easy to mend."
_COLUMNS = (
    "Handle", "Title", "Body (HTML)", "Vendor", "Type", "Tags", "Published", "Option1 Name", "Option1 Value",
    "Option2 Name", "Option2 Value", "Variant SKU", "Variant Grams", "Variant Inventory Tracker",
    "Variant Inventory Qty", "Variant Inventory Policy", "Variant Price", "Status",
)  # fmt: skip
_POLL_SECONDS = 0.05
_PAGE = 100


def handles(numbers: range) -> list[str]:
    """The handles of the products with these numbers."""
    return [f"heavy-shirt-{number:06}" for number in numbers]


def skus(numbers: range, colours: int = 1) -> list[str]:
    """Their SKUs."""
    return [sku for number in numbers for sku, _, _ in _variants(number, colours)]


def product_file(numbers: range, colours: int = 1) -> bytes:
    """Products in four sizes and one to five colours, as Shopify exports them.

    Args:
        numbers: of the products.
        colours: of each: variants are four times that.
    """
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(_COLUMNS)
    for number, handle in zip(numbers, handles(numbers), strict=True):
        for place, (sku, size, colour) in enumerate(_variants(number, colours)):
            about = ("", "", "", "", "", "") if place else (
                f"Heavy shirt {number}", f"<p>{WORDS}</p><p>{WORDS}</p>", f"Vendor {number % 20}", f"Type {number % 8}",
                f"shirt, season-{number % 4}", "TRUE",
            )  # fmt: skip
            rows.writerow((
                handle, *about, "" if place else "Size", size, "" if place else "Colour", colour, sku, 300,
                "shopify", PIECES, "deny", "19.90", "" if place else "active",
            ))  # fmt: skip
    return text.getvalue().encode()


def _variants(number: int, colours: int) -> list[tuple[str, str, str]]:
    return [(f"HS-{number:06}-{size}-{colour}", size, colour) for colour in COLOURS[:colours] for size in SIZES]


async def import_file(port: int, file: bytes) -> tuple[dict[str, Any], float]:
    """Import a product file and wait until it is in; gives the import as it is shown, and its seconds.

    Raises:
        RuntimeError: something of it was refused.
    """
    began = perf_counter()
    async with connections(port, 1) as (connection,):
        head = f"POST {API}/imports?currency=USD HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/csv\r\n{STAFF}"
        shown = (await connection.send(f"{head}content-length: {len(file)}\r\n\r\n".encode() + file)).json()
        while shown["status"] == "running":
            await asyncio.sleep(_POLL_SECONDS)
            shown = (await connection.call("GET", f"{API}/imports/{shown['id']}", headers=STAFF)).json()
    if shown["status"] != "done" or shown["refused"]:
        raise RuntimeError(f"the import was not taken whole: {shown}")
    return shown, perf_counter() - began


async def listed(port: int, products: int) -> list[str]:
    """Wait until the list shows all products; gives the cursors of its pages.

    Args:
        port: of the platform.
        products: how many there are.
    """
    while True:
        cursors, seen = [], 0
        async with connections(port, 1) as (connection,):
            cursor: str | None = ""
            while cursor is not None:
                after = f"&cursor={cursor}" if cursor else ""
                page = (await connection.call("GET", f"{API}/products?limit={_PAGE}{after}")).json()
                seen += len(page["items"])
                cursor = page["next"]
                cursors += [cursor] if cursor else []
        if seen >= products:
            return cursors
        await asyncio.sleep(_POLL_SECONDS)
