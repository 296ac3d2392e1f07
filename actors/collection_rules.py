"""What a collection must be: every fault of one at once, each with its place in the collection as clients send it."""

import re
from collections.abc import Iterator
from datetime import datetime

import msgspec

from actors.product_rules import MAX_DESCRIPTION, MAX_MEDIA, MAX_NAME, text_faults
from ultramarket.domain.handles import handle_fault
from ultramarket.domain.texts import control_fault
from ultramarket.errors import Fault
from ultramarket.messages.collection import CreateCollection, Field, Relation, Rule

MAX_PRODUCTS = 2_000
"""Products of a collection that is made by hand; more are for rules."""
MAX_RULES = 50
_TEXT: tuple[Relation, ...] = ("is", "is_not", "contains", "starts_with")
RELATIONS: dict[Field, tuple[Relation, ...]] = {
    "title": _TEXT,
    "vendor": _TEXT,
    "type": _TEXT,
    "tag": _TEXT,
    "category": ("is", "is_not"),
    "price": ("above", "below"),
    "in_stock": ("is",),
    "created_at": ("above", "below"),
    "option": ("is", "is_not"),
}
"""What can be asked of a field."""
_PRICE = re.compile(r"[0-9]{1,12}(\.[0-9]{1,4})?")
_OPTION = re.compile(r"[^=]+=.+")


def faults(collection: CreateCollection) -> list[Fault]:
    """All that is wrong with the collection; empty where it may be kept."""
    return [*_texts(collection), *_products(collection), *_rules(collection)]


def _texts(collection: CreateCollection) -> Iterator[Fault]:
    if fault := handle_fault(collection.handle):
        yield Fault("/handle", fault)
    if not any(text.strip() for text in collection.title.values()):
        yield Fault("/title", "a collection needs a title")
    yield from text_faults("/title", collection.title, MAX_NAME, lines=False)
    yield from text_faults("/description", collection.description, MAX_DESCRIPTION)
    yield from text_faults("/seo/title", collection.seo.title, MAX_NAME, lines=False)
    yield from text_faults("/seo/description", collection.seo.description, MAX_DESCRIPTION)
    if len(collection.media) > MAX_MEDIA:
        yield Fault("/media", f"at most {MAX_MEDIA} pictures are possible")
    for index, medium in enumerate(collection.media):
        if fault := "a picture needs an address" if not medium.url else control_fault(medium.url):
            yield Fault(f"/media/{index}/url", fault)
        yield from text_faults(f"/media/{index}/alt", medium.alt, MAX_DESCRIPTION)


def _products(collection: CreateCollection) -> Iterator[Fault]:
    if len(collection.products) > MAX_PRODUCTS:
        yield Fault("/products", f"at most {MAX_PRODUCTS} products are possible: make rules for more")
    if len(set(collection.products)) < len(collection.products):
        yield Fault("/products", "a product stands there twice")
    if collection.products and collection.rules:
        yield Fault("/rules", "a collection is made by hand or by rules: empty `products` first")


def _rules(collection: CreateCollection) -> Iterator[Fault]:
    if collection.rules and collection.sort == "manual":
        yield Fault("/sort", "only what is made by hand is sorted by hand")
    if len(collection.rules) > MAX_RULES:
        yield Fault("/rules", f"at most {MAX_RULES} rules are possible")
    for index, rule in enumerate(collection.rules):
        if rule.relation not in RELATIONS[rule.field]:
            known = ", ".join(RELATIONS[rule.field])
            yield Fault(f"/rules/{index}/relation", f"of `{rule.field}` can be asked: {known}")
        elif fault := _value_fault(rule):
            yield Fault(f"/rules/{index}/value", fault)


def _value_fault(rule: Rule) -> str | None:
    if not rule.value.strip() or len(rule.value) > MAX_NAME:
        return f"write 1 to {MAX_NAME} characters"
    match rule.field:
        case "price":
            return None if _PRICE.fullmatch(rule.value) else "write a price such as 12.90"
        case "in_stock":
            return None if rule.value in ("true", "false") else "write true or false"
        case "option":
            return None if _OPTION.fullmatch(rule.value) else "write a name and a value such as Size=M"
        case "created_at":
            return None if _is_time(rule.value) else "write a time such as 2026-03-01T12:00:00Z"
        case _:
            return control_fault(rule.value)


def _is_time(value: str) -> bool:
    try:
        time = msgspec.convert(value, datetime)
        return time.tzinfo is not None and bool(time.utctimetuple())
    except (msgspec.ValidationError, OverflowError):
        return False
