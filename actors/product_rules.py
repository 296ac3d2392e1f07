"""What a product must be: every fault of one at once, each with its place in the product as clients send it."""

from collections.abc import Iterable, Iterator, Sequence

from ultramarket.domain.handles import handle_fault, sku_fault
from ultramarket.domain.money import EXPONENTS, LARGEST, Money
from ultramarket.domain.texts import control_fault
from ultramarket.errors import Fault
from ultramarket.messages.common import Text
from ultramarket.messages.product import CreateProduct, Option, Variant

MAX_VARIANTS = 250
MAX_MEDIA = 250
MAX_TAGS = 250
MAX_CATEGORIES = 50
"""Categories of one product."""
MAX_OPTIONS = 10
MAX_OPTION_VALUES = 250
MAX_NAME = 255
"""Characters of a title, a vendor, a tag or a name; as much as other shops allow, so that moving here loses nothing."""
MAX_SEO = 1_000
"""Characters of a description for search engines; they show about 160."""
MAX_DESCRIPTION = 200_000
MAX_WEIGHT_GRAMS = 10_000_000
"""Ten tonnes: more than a lorry's pallet space carries is a typing error."""


def faults(product: CreateProduct) -> list[Fault]:
    """All that is wrong with the product; empty where it may be kept."""
    return [
        *_said("/handle", handle_fault(product.handle)),
        *_texts(product),
        *_names("/tags", product.tags, MAX_TAGS),
        *_names("/categories", product.categories, MAX_CATEGORIES),
        *_options(product.options),
        *_variants(product),
    ]


def _said(pointer: str, fault: str | None) -> Iterator[Fault]:
    if fault:
        yield Fault(pointer, fault)


def _texts(product: CreateProduct) -> Iterator[Fault]:
    if not any(text.strip() for text in product.title.values()):
        yield Fault("/title", "a product needs a title")
    yield from text_faults("/title", product.title, MAX_NAME, lines=False)
    yield from text_faults("/description", product.description, MAX_DESCRIPTION)
    yield from text_faults("/seo/title", product.seo.title, MAX_NAME, lines=False)
    yield from text_faults("/seo/description", product.seo.description, MAX_DESCRIPTION)
    yield from _word("/vendor", product.vendor)
    yield from _word("/type", product.type)
    if len(product.media) > MAX_MEDIA:
        yield Fault("/media", f"at most {MAX_MEDIA} pictures are possible")
    for index, medium in enumerate(product.media):
        if not medium.url:
            yield Fault(f"/media/{index}/url", "a picture needs an address")
        yield from _said(f"/media/{index}/url", control_fault(medium.url))
        yield from text_faults(f"/media/{index}/alt", medium.alt, MAX_DESCRIPTION)


def text_faults(pointer: str, text: Text, longest: int, *, lines: bool = True) -> Iterator[Fault]:
    """What is wrong with a text per language: too long, or with control characters (line ends where `lines`)."""
    if any(len(value) > longest for value in text.values()):
        yield Fault(pointer, f"at most {longest} characters are possible")
    for value in text.values():
        yield from _said(pointer, control_fault(value, lines=lines))


def _word(pointer: str, value: str) -> Iterator[Fault]:
    if len(value) > MAX_NAME:
        yield Fault(pointer, f"at most {MAX_NAME} characters are possible")
    yield from _said(pointer, control_fault(value))


def _names(pointer: str, names: Sequence[str], most: int) -> Iterator[Fault]:
    """Names of one list: not empty, not twice, not too long, not too many."""
    if len(names) > most:
        yield Fault(pointer, f"at most {most} are possible")
    for index, name in enumerate(names):
        if not name.strip() or len(name) > MAX_NAME:
            yield Fault(f"{pointer}/{index}", f"write 1 to {MAX_NAME} characters")
        yield from _said(f"{pointer}/{index}", control_fault(name))
    for index in _repeats(names):
        yield Fault(f"{pointer}/{index}", f"{names[index][:40]!r} stands there twice")


def _repeats(values: Iterable[object]) -> Iterator[int]:
    seen = set()
    for index, value in enumerate(values):
        if value in seen:
            yield index
        seen.add(value)


def _options(options: Sequence[Option]) -> Iterator[Fault]:
    yield from _names("/options", [option.name for option in options], MAX_OPTIONS)
    for index, option in enumerate(options):
        if not option.values:
            yield Fault(f"/options/{index}/values", "an option needs a value")
        yield from _names(f"/options/{index}/values", option.values, MAX_OPTION_VALUES)


def _variants(product: CreateProduct) -> Iterator[Fault]:
    variants = product.variants
    if product.status == "published" and not variants:
        yield Fault("/variants", "a published product needs at least one variant")
    if len(variants) > MAX_VARIANTS:
        yield Fault("/variants", f"at most {MAX_VARIANTS} variants are possible")
    for index in _repeats(variant.sku for variant in variants):
        yield Fault(f"/variants/{index}/sku", f"the SKU {variants[index].sku!r} stands there twice")
    if product.options:
        for index in _repeats(frozenset(variant.options.items()) for variant in variants):
            yield Fault(f"/variants/{index}/options", "another variant has the same options")
    values = {option.name: set(option.values) for option in product.options}
    for index, variant in enumerate(variants):
        yield from _variant(f"/variants/{index}", variant, values)


def _variant(pointer: str, variant: Variant, values: dict[str, set[str]]) -> Iterator[Fault]:
    yield from _said(f"{pointer}/sku", sku_fault(variant.sku))
    yield from text_faults(f"{pointer}/title", variant.title, MAX_NAME, lines=False)
    if variant.options.keys() != values.keys():
        names = ", ".join(sorted(values)) or "none"
        yield Fault(f"{pointer}/options", f"name exactly the product's options: {names}")
    else:
        for name, value in variant.options.items():
            if value not in values[name]:
                yield Fault(f"{pointer}/options/{_escaped(name)}", f"{value[:40]!r} is not a value of this option")
    if not variant.prices:
        yield Fault(f"{pointer}/price", "a variant needs a price")
    yield from _amounts(f"{pointer}/prices", variant.prices)
    yield from _amounts(f"{pointer}/compare_at_price", variant.compare_at)
    priced = {price.currency for price in variant.prices}
    if any(price.currency not in priced for price in variant.compare_at):
        yield Fault(f"{pointer}/compare_at_price", "there is no price of this currency to compare with")
    if not 0 <= variant.weight_grams <= MAX_WEIGHT_GRAMS:
        yield Fault(f"{pointer}/weight_grams", f"a weight is 0 to {MAX_WEIGHT_GRAMS} grams")
    yield from _word(f"{pointer}/barcode", variant.barcode)
    yield from _word(f"{pointer}/tax_class", variant.tax_class)


def _escaped(name: str) -> str:
    """The name as a step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _amounts(pointer: str, amounts: Sequence[Money]) -> Iterator[Fault]:
    for amount in amounts:
        if amount.currency not in EXPONENTS:
            yield Fault(pointer, f"{amount.currency[:20]!r} is not a currency")
        elif not 0 <= amount.amount <= LARGEST:
            yield Fault(pointer, f"{amount.currency} must be 0 to {Money(LARGEST, amount.currency).text()}")
    for index in _repeats(amount.currency for amount in amounts):
        yield Fault(pointer, f"there are two prices in {amounts[index].currency[:20]!r}")
