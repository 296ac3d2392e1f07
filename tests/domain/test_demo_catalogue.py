import re
from pathlib import Path

from ultramarket.domain.money import Money
from ultramarket.domain.product_csv import ParsedProduct, ProductReader

ROOT = Path(__file__).parents[2]


def catalogue() -> tuple[ProductReader, list[ParsedProduct]]:
    reader = ProductReader("USD")
    found = list(reader.read([(ROOT / "config/demo/catalogue.csv").read_bytes()]))
    products = [product for product in found if isinstance(product, ParsedProduct)]
    assert found == products
    return reader, products


def test_the_demo_catalogue_goes_in_whole_and_without_a_note() -> None:
    reader, products = catalogue()
    assert reader.notes == ()
    assert (len(products), sum(len(product.variants) for product in products)) == (63, 126)
    assert len({product.type for product in products}) == 12
    assert {product.status for product in products} == {"published"}


def test_skus_are_unique_over_the_demo_catalogue() -> None:
    skus = [variant.sku for product in catalogue()[1] for variant in product.variants]
    assert len(skus) == len(set(skus))


def test_the_tote_bag_of_the_readme_is_in_stock() -> None:
    (tote,) = [product for product in catalogue()[1] if product.handle == "canvas-tote-bag"]
    natural = tote.variants[0]
    assert (natural.sku, natural.price, natural.quantity) == ("TOTE-NATURAL", Money(2400, "USD"), 200)


def test_the_demo_shows_low_stock_sold_out_and_made_to_order() -> None:
    variants = [variant for product in catalogue()[1] for variant in product.variants]
    assert any(variant.quantity in range(1, 6) for variant in variants)
    assert any(variant.quantity == 0 and variant.when_out == "deny" for variant in variants)
    assert any(variant.quantity == 0 and variant.when_out == "continue" for variant in variants)


def test_every_demo_product_has_a_picture_of_its_own_without_style_or_script() -> None:
    pictures = []
    for product in catalogue()[1]:
        (media,) = product.media
        assert media.url == f"/static/demo/{product.handle}.svg"
        assert media.alt
        pictures.append((ROOT / "web" / media.url.removeprefix("/")).read_text())
    assert len(set(pictures)) == 63
    assert not any(re.search(r"<style|style=|<script|href|class=", picture) for picture in pictures)
