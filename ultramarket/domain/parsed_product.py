"""A product as a file says it, and how it is put together from the rows of the file."""

from collections.abc import Callable
from typing import Literal

import msgspec

from ultramarket.domain.handles import SKU_LENGTH, handle, shortened, sku_fault
from ultramarket.domain.html import sanitise
from ultramarket.domain.money import Money
from ultramarket.domain.product_columns import Fault, Row

MOST_VARIANTS = 2048
"""Variants of one product, as many as Shopify allows."""
MOST_MEDIA = 250
"""Pictures of one product, as many as Shopify allows."""

_DEFAULT_OPTION = {"Title": "Default Title"}  # how the layout says that a product has only one variant


class ParsedOption(msgspec.Struct, frozen=True):
    """A way in which the variants differ, with its values in the order of the file."""

    name: str
    values: tuple[str, ...]


class ParsedMedia(msgspec.Struct, frozen=True):
    """A picture: its address and its text, which may be empty."""

    url: str
    alt: str


class ParsedSeo(msgspec.Struct, frozen=True):
    """Title and description for search engines, which may be empty."""

    title: str
    description: str


class ParsedVariant(msgspec.Struct, frozen=True, kw_only=True):
    """A variant of a product.

    Attributes:
        line: where its row begins in the file.
        sku: as in the file, or made from the handle and the option values, the same each time.
        title: the option values, e.g. `M / Blue`; empty for the only variant of a product.
        options: value by option name.
        price: None only in a product that is written to a file: it has none in the file's currency.
        tax_class: the tax code, `standard` where there is none, `exempt` where the variant is not taxable.
        track_stock: a tracker or a quantity is given. Without either the variant is sold without looking at stock.
        quantity: pieces in stock; None where the file doesn't say.
    """

    line: int
    sku: str
    title: str
    options: dict[str, str]
    price: Money | None
    compare_at_price: Money | None
    weight_grams: int
    barcode: str
    tax_class: str
    track_stock: bool
    when_out: Literal["deny", "continue"]
    quantity: int | None


class ParsedProduct(msgspec.Struct, frozen=True, kw_only=True):
    """A product with at least one variant.

    Attributes:
        lines: where each row that is in it begins in the file.
        description: safe HTML.
    """

    lines: tuple[int, ...]
    handle: str
    title: str
    description: str
    vendor: str
    type: str
    tags: tuple[str, ...]
    options: tuple[ParsedOption, ...]
    media: tuple[ParsedMedia, ...]
    seo: ParsedSeo
    status: Literal["draft", "published", "archived"]
    variants: tuple[ParsedVariant, ...]


class Refused(msgspec.Struct, frozen=True):
    """A row that did not go in: the line of the file where it begins, counted from 1, and why."""

    line: int
    reason: str


class ProductRows:
    """Puts one product together from its rows.

    What belongs to the product, the fields of its first row and all pictures, is taken even from a row whose variant is
    refused. A product of which no variant is left is refused with all its rows.
    """

    def __init__(self, name: str, first: Row, currency: str, note: Callable[[str], None]) -> None:
        """Start with the first row, which is to be added like the others.

        Args:
            name: the product's handle.
            first: the row with what belongs to the product.
            currency: ISO 4217 code of the prices.
            note: called with what is passed over without refusing a row.
        """
        self.handle = name
        self._first = first
        self._currency = currency
        self._note = note
        self._lines: list[int] = []
        self._names = ["", "", ""]
        self._variants: list[ParsedVariant] = []
        self._skus: dict[str, int] = {}
        self._combinations: dict[tuple[str, ...], int] = {}
        self._media: dict[str, tuple[float, str]] = {}
        self._product: ParsedProduct | None = None
        self._fault = ""
        try:
            self._product = self._read_product(first)
        except Fault as fault:
            self._fault = str(fault)

    def add(self, row: Row) -> Refused | None:
        """Take a row; returns it as refused where it can't be read."""
        if self._product is None:
            reason = self._fault if row is self._first else f"its product is refused: {self._fault}"
            return Refused(row.line, reason)
        try:
            self._read(row)
        except Fault as fault:
            return Refused(row.line, str(fault))
        self._lines.append(row.line)
        return None

    def finish(self) -> list[ParsedProduct | Refused]:
        """Return the product, or its rows as refused where it has no variant."""
        if self._product is None or not self._variants:
            return [Refused(line, "no variant of its product could be read") for line in self._lines]
        names = [name for name in self._names if name]
        variants = self._variants
        if names == ["Title"] and [variant.options for variant in variants] == [_DEFAULT_OPTION]:
            names, variants = [], [msgspec.structs.replace(variants[0], options={}, title="")]
        options = [
            ParsedOption(name, tuple(dict.fromkeys(variant.options[name] for variant in variants))) for name in names
        ]
        media = sorted(self._media.items(), key=lambda item: item[1][0])
        return [
            msgspec.structs.replace(
                self._product,
                lines=tuple(self._lines),
                options=tuple(options),
                media=tuple(ParsedMedia(url, alt) for url, (_, alt) in media),
                variants=tuple(variants),
            )
        ]

    def _read_product(self, row: Row) -> ParsedProduct:
        title = row.text("title")
        if not title:
            raise Fault("Title: is missing in the first row of the product")
        return ParsedProduct(
            lines=(),
            handle=self.handle,
            title=title,
            description=sanitise(row.cell("body")),
            vendor=row.text("vendor"),
            type=row.text("type"),
            tags=row.tags(),
            options=(),
            media=(),
            seo=ParsedSeo(row.text("seo_title"), row.text("seo_description", 1000)),
            status=row.status(),
            variants=(),
        )

    def _read(self, row: Row) -> None:
        has_variant = any(row.cell(key) for key in ("price", "sku", "value1", "barcode"))
        if not has_variant and row is not self._first and not row.cell("image"):
            raise Fault("the row has neither a variant (a price) nor a picture")
        self._add_pictures(row, keep_row=has_variant or row is self._first)
        if has_variant:
            self._add_variant(row)

    def _add_pictures(self, row: Row, *, keep_row: bool) -> None:
        """Take the row's pictures; a bad one is a fault of a row that has nothing else, and a note otherwise."""
        try:
            self._add_picture(row.image("image"), row.whole("position"), row.text("alt", 512))
            self._add_picture(row.image("variant_image"), None, "")
        except Fault as fault:
            if not keep_row:
                raise
            self._note(f"Line {row.line}: the picture was left out. {fault}.")

    def _add_picture(self, url: str, position: int | None, alt: str) -> None:
        if url in self._media:
            place, known_alt = self._media[url]
            self._media[url] = (place if position is None else position, known_alt or alt)
        elif url:
            if len(self._media) >= MOST_MEDIA:
                raise Fault(f"a product has at most {MOST_MEDIA} pictures")
            # Pictures without a position follow the others, in the order of the file.
            self._media[url] = (float("inf") if position is None else position, alt)

    def _add_variant(self, row: Row) -> None:
        if len(self._variants) >= MOST_VARIANTS:
            raise Fault(f"a product has at most {MOST_VARIANTS:,} variants")
        options = self._options(row)
        values = tuple(options.values())
        if values in self._combinations:
            raise Fault(f"the option values are those of the variant in line {self._combinations[values]}")
        sku = row.cell("sku") or _made_sku(self.handle, () if options == _DEFAULT_OPTION else values)
        fault = sku_fault(sku)
        if fault:
            raise Fault(f"Variant SKU: {fault}")
        if sku in self._skus:
            raise Fault(f"Variant SKU: {sku!r} is the SKU of the variant in line {self._skus[sku]}")
        price = row.money("price", self._currency)
        if price is None:
            raise Fault("Variant Price: is missing")
        self._variants.append(
            ParsedVariant(
                line=row.line,
                sku=sku,
                title=" / ".join(values),
                options=options,
                price=price,
                # The layout writes "no former price" as blank or as 0.
                compare_at_price=row.money("compare_at", self._currency) or None,
                weight_grams=row.grams(),
                # Exports put an apostrophe before digits, so that spreadsheets keep leading zeros.
                barcode=row.text("barcode", 100).removeprefix("'"),
                tax_class=row.tax_class(),
                track_stock=bool(row.cell("tracker") or row.cell("quantity")),
                when_out=row.when_out(),
                quantity=self._quantity(row),
            )
        )
        self._skus[sku] = self._combinations[values] = row.line

    def _options(self, row: Row) -> dict[str, str]:
        """Return value by option name; names stand in the first row and may be repeated."""
        options: dict[str, str] = {}
        for at in range(3):
            name, value = row.text(f"name{at + 1}"), row.text(f"value{at + 1}")
            if name and not self._names[at] and not self._variants:
                self._names[at] = name
            known = self._names[at]
            if name not in {"", known}:
                raise Fault(f"Option{at + 1} Name: {name!r} differs from the product's {known!r}")
            if bool(value) != bool(known):
                raise Fault(f"Option{at + 1} Value: " + ("has no option name" if value else f"{known!r} has no value"))
            if known in options:
                raise Fault(f"Option{at + 1} Name: {known!r} stands twice")
            if known:
                options[known] = value
        return options

    def _quantity(self, row: Row) -> int | None:
        quantity = row.whole("quantity")
        if quantity is not None and quantity < 0:
            self._note(f"Line {row.line}: the quantity {quantity} was taken as 0.")
            return 0
        return quantity


def _made_sku(name: str, values: tuple[str, ...]) -> str:
    """Make a SKU of the handle and the option values: `classic-varsity-top.small`, or the handle where there are none.

    Neither part has a point of its own, so that no two products share one. A value that a slug can't tell from others
    (`S+`) gets a hash; a SKU that would be too long is cut and gets one too.
    """
    parts = [name]
    for value in values:
        slug = handle(value)
        parts.append(slug if slug == value.lower().replace(" ", "-") else shortened(slug, value, SKU_LENGTH))
    sku = ".".join(parts)
    return sku if sku_fault(sku) is None else shortened(sku, sku, SKU_LENGTH)
