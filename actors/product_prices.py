"""Prices of a product that are set by SKU."""

import msgspec
from msgspec import UNSET

from ultramarket.domain.money import Money
from ultramarket.messages.product import CreateProduct, SetPrices, Variant


def priced(product: CreateProduct, command: SetPrices) -> CreateProduct | None:
    """The product with these prices; None where it has no such SKU."""
    if all(variant.sku != command.sku for variant in product.variants):
        return None
    variants = (_priced(variant, command) if variant.sku == command.sku else variant for variant in product.variants)
    return msgspec.structs.replace(product, variants=tuple(variants))


def _priced(variant: Variant, command: SetPrices) -> Variant:
    compare_at = variant.compare_at
    if command.compare_at is not UNSET:
        compare_at = _laid_over(compare_at, command.compare_at) if command.compare_at else ()
    return msgspec.structs.replace(variant, prices=_laid_over(variant.prices, command.prices), compare_at=compare_at)


def _laid_over(old: tuple[Money, ...], new: tuple[Money, ...]) -> tuple[Money, ...]:
    """The old prices with those that have a new one in its place: the leading one stays the leading one."""
    named = {price.currency: price for price in new}
    kept = tuple(named.pop(price.currency, price) for price in old)
    return (*kept, *named.values())
