"""The columns of a product CSV in Shopify's layout: their names, and how their cells are read.

Column names of both layouts are known: the one that shops have exported for years (`Variant Price`) and the newer one
(`Price`). Names are compared without regard to case.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

import msgspec

from ultramarket.domain.money import Money, exponent
from ultramarket.domain.shop import EXEMPT_TAX, STANDARD_TAX
from ultramarket.errors import UltraMarketError

COLUMNS: dict[str, tuple[str, ...]] = {
    "handle": ("Handle", "URL handle"),
    "title": ("Title",),
    "body": ("Body (HTML)", "Body HTML", "Description"),
    "vendor": ("Vendor",),
    "type": ("Type", "Custom Product Type"),
    "tags": ("Tags",),
    "published": ("Published", "Published on online store"),
    "status": ("Status",),
    "name1": ("Option1 Name",),
    "value1": ("Option1 Value",),
    "name2": ("Option2 Name",),
    "value2": ("Option2 Value",),
    "name3": ("Option3 Name",),
    "value3": ("Option3 Value",),
    "sku": ("Variant SKU", "SKU"),
    "grams": ("Variant Grams", "Weight value (grams)"),
    "tracker": ("Variant Inventory Tracker", "Inventory tracker"),
    "quantity": ("Variant Inventory Qty", "Inventory quantity"),
    "policy": ("Variant Inventory Policy", "Continue selling when out of stock"),
    "price": ("Variant Price", "Price"),
    "compare_at": ("Variant Compare At Price", "Compare-at price"),
    "taxable": ("Variant Taxable", "Charge tax"),
    "tax_code": ("Variant Tax Code", "Tax code"),
    "barcode": ("Variant Barcode", "Barcode"),
    "image": ("Image Src", "Product image URL"),
    "position": ("Image Position",),
    "alt": ("Image Alt Text",),
    "variant_image": ("Variant Image", "Variant image URL"),
    "seo_title": ("SEO Title",),
    "seo_description": ("SEO Description",),
}
"""The columns that are read: our name, and the names they have in files, the usual one first."""

NEEDED = ("handle", "title", "price")
"""Without these columns there is nothing to import."""

_MANY_LINES = {"body", "alt", "seo_title", "seo_description", "tags"}
ONE_LINE = frozenset(name.lower() for key, names in COLUMNS.items() if key not in _MANY_LINES for name in names)
"""Names of columns, in lower case, whose cells never hold a line break."""

_WHOLE = re.compile(r"-?[0-9]{1,9}(?:\.0*)?")
_GRAMS = re.compile(r"([0-9]{1,9})(?:\.([0-9]))?[0-9]{0,9}")
_IMAGE = re.compile(r"(?:https?:/)?/[^/\s\\][^\s\\]*", re.IGNORECASE)
_LONGEST_URL = 2048


class UnreadableFileError(UltraMarketError):
    """Nothing can be read from the file: it is empty, no CSV, or lacks a column; the text says which."""


class Fault(ValueError):
    """What is wrong with a row, as a sentence that names the column."""


class Row:
    """The cells of a record by our column names, and what they say.

    Every reading method raises `Fault` where the cell makes no sense.
    """

    __slots__ = ("_cells", "_header", "line")

    def __init__(self, line: int, cells: Sequence[str], header: "Header") -> None:
        self.line = line
        self._cells = cells
        self._header = header

    def cell(self, key: str) -> str:
        """Return the cell without space around it; blank where the file has no such column."""
        at = self._header.at.get(key)
        return "" if at is None else self._cells[at].strip()

    def text(self, key: str, longest: int = 255) -> str:
        """Return a text of at most `longest` characters on one line."""
        text = self.cell(key)
        if len(text) > longest:
            raise self._fault(key, f"is longer than {longest} characters")
        if not text.isprintable():
            text = " ".join(text.split())
            if any(unicodedata.category(mark) == "Cc" for mark in text):
                raise self._fault(key, "holds a control character")
        return text

    def money(self, key: str, currency: str) -> Money | None:
        """Return an amount; None for a blank cell. Zeros beyond the currency's decimals are dropped (`5.00` yen)."""
        text = self.cell(key)
        if not text:
            return None
        if "." in text:
            whole, decimals = text.split(".", 1)
            kept = decimals[: exponent(currency)] + decimals[exponent(currency) :].rstrip("0")
            text = f"{whole}.{kept}" if kept else whole
        try:
            return Money.parse(text, currency)
        except ValueError as error:
            raise self._fault(key, str(error)) from None

    def whole(self, key: str) -> int | None:
        """Return a whole number below 10^9; None for a blank cell."""
        text = self.cell(key)
        if not text:
            return None
        if not _WHOLE.fullmatch(text):
            raise self._fault(key, f"{text[:40]!r} is not a whole number")
        return int(text.split(".")[0])

    def grams(self) -> int:
        """Return the weight of a piece, rounded half up to whole grams; 0 for a blank cell."""
        text = self.cell("grams")
        if not text:
            return 0
        match = _GRAMS.fullmatch(text)
        if match is None:
            raise self._fault("grams", f"{text[:40]!r} is not a weight in grams")
        return int(match[1]) + (match[2] is not None and match[2] >= "5")

    def flag(self, key: str, *, blank: bool) -> bool:
        """Return yes or no; `blank` for a blank cell."""
        text = self.cell(key).lower()
        if text in {"", "true", "false"}:
            return blank if not text else text == "true"
        raise self._fault(key, f"{text[:40]!r} is neither TRUE nor FALSE")

    def when_out(self) -> Literal["deny", "continue"]:
        """Return what happens when the stock is out; blank is `deny`."""
        text = self.cell("policy").lower()
        if text in {"", "deny", "false"}:
            return "deny"
        if text in {"continue", "true"}:
            return "continue"
        raise self._fault("policy", f"{text[:40]!r} is neither deny nor continue")

    def status(self) -> Literal["draft", "published", "archived"]:
        """Return the product's status; an active product that is not on the online store is a draft."""
        status = self.cell("status").lower()
        if status not in {"", "active", "draft", "archived"}:
            raise self._fault("status", f"{status[:40]!r} is none of active, draft and archived")
        if status == "archived":
            return "archived"
        return "published" if status != "draft" and self.flag("published", blank=True) else "draft"

    def tax_class(self) -> str:
        """Return the tax code of the variant, `standard` where it has none, `exempt` where it is not taxable."""
        if not self.flag("taxable", blank=True):
            return EXEMPT_TAX
        return self.text("tax_code", 100) or STANDARD_TAX

    def tags(self) -> tuple[str, ...]:
        """Return the tags, which commas part; one that differs from an earlier one only in case is dropped."""
        found: dict[str, str] = {}
        for tag in " ".join(self.cell("tags").split()).split(","):
            if tag.strip():
                found.setdefault(tag.strip().lower(), tag.strip())
        if len(found) > 250 or any(len(tag) > 255 for tag in found):  # noqa: PLR2004  # the limits named in the reason
            raise self._fault("tags", "has more than 250 tags, or one of more than 255 characters")
        return tuple(found.values())

    def image(self, key: str) -> str:
        """Return the address of a picture: http, https, or a path of this site; empty for a blank cell."""
        url = self.cell(key)
        if url and (len(url) > _LONGEST_URL or not url.isprintable() or not _IMAGE.fullmatch(url)):
            raise self._fault(key, f"{url[:80]!r} is not an http(s) address of at most {_LONGEST_URL:,} characters")
        return url

    def _fault(self, key: str, what: str) -> Fault:
        return Fault(f"{self._header.names.get(key, COLUMNS[key][0])}: {what}")


class Header(msgspec.Struct, frozen=True):
    """Where the columns stand in a file.

    Attributes:
        at: index of each column that is there, by our name.
        names: the name it has in the file.
        ignored: names of the columns that are not read, in the file's order.
    """

    at: dict[str, int]
    names: dict[str, str]
    ignored: tuple[str, ...]

    @classmethod
    def read(cls, cells: Sequence[str]) -> "Header":
        """Find the columns.

        Raises:
            UnreadableFileError: a needed column is missing; the text names it.
        """
        keys = {name.lower(): key for key, names in COLUMNS.items() for name in names}
        at: dict[str, int] = {}
        names: dict[str, str] = {}
        ignored: list[str] = []
        for index, cell in enumerate(cells):
            name = cell.strip()
            key = keys.get(name.lower())
            if key is not None and key not in at:
                at[key], names[key] = index, name
            elif name:
                ignored.append(name)
        missing = [COLUMNS[key][0] for key in NEEDED if key not in at]
        if missing:
            raise UnreadableFileError(
                f"the first line must name the columns, as in Shopify's product CSV; missing: {', '.join(missing)}"
            )
        return cls(at, names, tuple(ignored))
