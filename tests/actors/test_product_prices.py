from typing import Any

from msgspec.structs import replace

from actors.product import Product
from tests.actors.harness import Entity
from ultramarket.domain.money import Money
from ultramarket.messages.product import (
    ChangeProduct,
    CreateProduct,
    Option,
    ProductChanged,
    ProductCreated,
    ProductKept,
    SetPrices,
    Variant,
)

SMALL = Variant(sku="TEE-S", options={"Size": "S"}, prices=(Money(1290, "USD"), Money(1190, "EUR")))
LARGE = Variant(sku="TEE-L", options={"Size": "L"}, prices=(Money(1490, "USD"),))
TEE = CreateProduct(
    handle="tee",
    title={"en": "Tee"},
    options=(Option(name="Size", values=("S", "L")),),
    status="published",
    variants=(SMALL, LARGE),
)


def created(small: Variant = SMALL) -> Entity:
    it = Entity(Product())
    return it.given(ProductCreated(at=it.now, product=replace(TEE, variants=(small, LARGE))))


def changed(it: Entity, **fields: Any) -> tuple[ProductChanged]:
    """The one event after which the small one has these fields, and the large one is as it was."""
    return (ProductChanged(at=it.now, changes=ChangeProduct(variants=(replace(SMALL, **fields), LARGE))),)


def test_a_price_is_set_where_it_stands_and_the_others_stay() -> None:
    it = created()
    outcome = it.when(SetPrices(sku="TEE-S", prices=(Money(1090, "EUR"), Money(2000, "JPY"))))
    prices = (Money(1290, "USD"), Money(1090, "EUR"), Money(2000, "JPY"))
    assert outcome.events == changed(it, prices=prices)
    assert outcome.reply == ProductKept(id="one", version=2, changed=True)
    assert outcome.claims == outcome.drops == ()


def test_a_price_to_compare_with_is_set_kept_and_cleared() -> None:
    it = created()
    was = (Money(1590, "USD"),)
    assert it.when(SetPrices(sku="TEE-S", compare_at=was)).events == changed(it, compare_at=was)
    it = created(replace(SMALL, compare_at=was))
    kept = it.when(SetPrices(sku="TEE-S", prices=(Money(1190, "USD"),)))
    assert kept.events == changed(it, prices=(Money(1190, "USD"), Money(1190, "EUR")), compare_at=was)
    it = created(replace(SMALL, compare_at=was))
    assert it.when(SetPrices(sku="TEE-S", compare_at=())).events == changed(it, compare_at=())


def test_prices_that_are_so_already_record_nothing() -> None:
    outcome = created().when(SetPrices(sku="TEE-S", prices=(Money(1290, "USD"),), compare_at=()))
    assert (outcome.events, outcome.reply) == ((), ProductKept(id="one", version=1, changed=False))


def test_a_sku_that_the_product_does_not_have_is_refused() -> None:
    for it in (created(), Entity(Product())):
        refused = it.when(SetPrices(sku="MUG", prices=(Money(1, "USD"),)))
        assert (refused.code, refused.rejection.status, refused.events) == ("sku_not_found", 422, ())


def test_prices_are_judged_as_those_of_any_product() -> None:
    refused = created().when(SetPrices(sku="TEE-S", compare_at=(Money(9, "KWD"),)))
    assert (refused.code, refused.pointers) == ("invalid", ["/variants/0/compare_at_price"])
