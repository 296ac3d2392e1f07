"""Quotes: the price of a SKU as the shop shows it now, and how long it holds."""

from collections import OrderedDict
from datetime import timedelta

from ultramarket.domain.money import Money
from ultramarket.messages.cart import Quote
from ultramarket.messages.product import ShownProduct, ShownVariant
from ultramarket.ports.asking import Actors
from web.problems import refuse

REMEMBERED = 20_000


class Quoter:
    """Finds what is sold under a SKU. It remembers which product has a SKU, and checks that each time."""

    def __init__(self, actors: Actors, lock_seconds: int) -> None:
        self._actors = actors
        self._lock = timedelta(seconds=lock_seconds)
        self._product_of: OrderedDict[str, str] = OrderedDict()

    async def find(self, sku: str) -> tuple[ShownProduct, ShownVariant] | None:
        """The published product with this SKU, and the variant; None where nothing is sold under it."""
        known = self._product_of.get(sku)
        found = await self._variant(known, sku) if known is not None else None
        if found is None:
            owner = await self._actors.owner("sku", sku)
            if owner is None:
                return None
            found = await self._variant(owner, sku)
            if found is not None:
                self._product_of[sku] = owner
                if len(self._product_of) > REMEMBERED:
                    self._product_of.popitem(last=False)
        return found if found is not None and found[0].status == "published" else None

    async def quote(self, sku: str, currency: str) -> Quote:
        """The quote for a SKU in a currency.

        Raises:
            Refused: 422 `sku_not_found` or `price_missing`.
        """
        found = await self.find(sku)
        if found is None:
            refuse("sku_not_found", f"Nothing is sold under the SKU {sku!r}.", pointer="/sku")
        quote = self.quote_of(*found, currency)
        if quote is None:
            refuse("price_missing", f"The SKU {sku!r} has no price in {currency}.", pointer="/sku")
        return quote

    def quote_of(self, product: ShownProduct, variant: ShownVariant, currency: str) -> Quote | None:
        """The quote for a variant as it is now; None where it has no price in the currency."""
        price = variant.prices.get(currency)
        if price is None:
            return None
        return Quote(
            sku=variant.sku,
            product=product.id,
            product_version=product.version,
            title=product.title,
            variant_title=variant.title,
            price=Money.parse(price.amount, price.currency),
            weight_grams=variant.weight_grams,
            tax_class=variant.tax_class,
            locked_until=self._actors.now() + self._lock,
        )

    async def _variant(self, product: str, sku: str) -> tuple[ShownProduct, ShownVariant] | None:
        shown = await self._actors.read("product", product)
        if shown is None:
            return None
        variant = next((variant for variant in shown.value.variants if variant.sku == sku), None)
        return (shown.value, variant) if variant is not None else None
