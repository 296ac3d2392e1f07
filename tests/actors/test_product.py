"""Product: what may be kept, what changes, what an import keeps, and how quotes are judged."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from actors.product import Product
from tests.actors.harness import Entity
from ultramarket.domain.money import Money
from ultramarket.messages.common import ShownMoney
from ultramarket.messages.order import JudgedLine, QuotesJudged
from ultramarket.messages.product import (
    ArchiveProduct,
    ChangeProduct,
    ConfirmQuotes,
    CreateProduct,
    Media,
    Option,
    ProductArchived,
    ProductChanged,
    ProductCreated,
    ProductKept,
    PutProduct,
    QuotedLine,
    Seo,
    Variant,
)
from ultramarket.runtime.actor import Claim, Send

SMALL = Variant(sku="TEE-S", options={"Size": "S"}, prices=(Money(1290, "USD"),))
LARGE = Variant(
    sku="TEE-L", options={"Size": "L"}, prices=(Money(1490, "USD"),), when_out="continue", track_stock=False
)
TEE = CreateProduct(
    handle="tee",
    title={"en": "Tee"},
    options=(Option(name="Size", values=("S", "L")),),
    status="published",
    variants=(SMALL, LARGE),
)
PLAIN = CreateProduct(handle="mug", title={"en": "Mug"}, variants=(Variant(sku="MUG", prices=(Money(800, "USD"),)),))


def created(product: CreateProduct = TEE) -> Entity:
    it = Entity(Product())
    return it.given(ProductCreated(at=it.now, product=product))


def variant(**changes: Any) -> CreateProduct:
    return replace(PLAIN, variants=(replace(PLAIN.variants[0], **changes),))


def test_a_new_product_claims_its_handle_and_skus() -> None:
    it = Entity(Product())
    outcome = it.when(TEE)
    assert outcome.events == (ProductCreated(at=it.now, product=TEE),)
    assert outcome.reply == ProductKept(id="one", version=1, changed=True)
    assert outcome.claims == (
        Claim("handle", "tee"),
        Claim("handle", "one"),
        Claim("sku", "TEE-S"),
        Claim("sku", "TEE-L"),
    )
    assert it.wake_at is None


def test_a_handle_that_is_the_products_own_id_is_claimed_once() -> None:
    outcome = Entity(Product()).when(replace(PLAIN, handle="one"))
    assert outcome.claims == (Claim("handle", "one"), Claim("sku", "MUG"))


def test_a_product_that_exists_is_not_created_again() -> None:
    outcome = created().when(TEE)
    assert (outcome.code, outcome.rejection.status) == ("product_exists", 409)


@pytest.mark.parametrize(
    ("product", "pointer"),
    [
        (replace(PLAIN, handle=""), "/handle"),
        (replace(PLAIN, handle="two words"), "/handle"),
        (replace(PLAIN, title={}), "/title"),
        (replace(PLAIN, title={"en": "  "}), "/title"),
        (replace(PLAIN, title={"en": "x" * 256}), "/title"),
        (replace(PLAIN, description={"en": "x" * 200_001}), "/description"),
        (replace(PLAIN, seo=Seo(title={"en": "x" * 256})), "/seo/title"),
        (replace(PLAIN, vendor="x" * 256), "/vendor"),
        (replace(PLAIN, type="x" * 256), "/type"),
        (replace(PLAIN, tags=("a", "a")), "/tags/1"),
        (replace(PLAIN, tags=("a", "")), "/tags/1"),
        (replace(PLAIN, tags=tuple(f"t{n}" for n in range(251))), "/tags"),
        (replace(PLAIN, media=(Media(url=""),)), "/media/0/url"),
        (replace(PLAIN, media=tuple(Media(url=f"/{n}.jpg") for n in range(251))), "/media"),
        (replace(TEE, options=(Option(name="Size", values=()),)), "/options/0/values"),
        (replace(TEE, options=(*TEE.options, *TEE.options)), "/options/1"),
        (replace(PLAIN, status="published", variants=()), "/variants"),
        (replace(TEE, variants=(SMALL, replace(LARGE, sku="TEE-S"))), "/variants/1/sku"),
        (replace(TEE, variants=(SMALL, replace(LARGE, options={"Size": "S"}))), "/variants/1/options"),
        (replace(TEE, variants=(replace(SMALL, options={}),)), "/variants/0/options"),
        (replace(TEE, variants=(replace(SMALL, options={"Size": "XXL"}),)), "/variants/0/options/Size"),
        (variant(options={"Size": "S"}), "/variants/0/options"),
        (variant(sku=" MUG"), "/variants/0/sku"),
        (variant(title={"en": "x" * 256}), "/variants/0/title"),
        (variant(prices=()), "/variants/0/price"),
        (variant(prices=(Money(1, "USD"), Money(2, "USD"))), "/variants/0/prices"),
        (variant(prices=(Money(-1, "USD"),)), "/variants/0/prices"),
        (variant(prices=(Money(10**13, "USD"),)), "/variants/0/prices"),
        (variant(prices=(Money(1, "XXX"),)), "/variants/0/prices"),
        (variant(compare_at=(Money(1, "EUR"),)), "/variants/0/compare_at_price"),
        (variant(weight_grams=-1), "/variants/0/weight_grams"),
        (variant(weight_grams=10_000_001), "/variants/0/weight_grams"),
        (variant(barcode="1" * 256), "/variants/0/barcode"),
    ],
)
def test_a_product_that_can_not_be_is_refused_at_its_place(product: CreateProduct, pointer: str) -> None:
    outcome = Entity(Product()).when(product)
    assert (outcome.code, outcome.rejection.status) == ("invalid", 422)
    assert outcome.pointers[0] == pointer


def test_more_than_250_variants_are_refused() -> None:
    variants = tuple(Variant(sku=f"MUG-{n}", prices=(Money(800, "USD"),)) for n in range(251))
    assert Entity(Product()).when(replace(PLAIN, variants=variants)).pointers == ["/variants"]
    assert Entity(Product()).when(replace(PLAIN, variants=variants[:250])).code is None


def test_the_place_of_an_option_is_a_valid_json_pointer() -> None:
    product = replace(PLAIN, options=(Option(name="a/b~c", values=("1",)),))
    product = replace(product, variants=(replace(PLAIN.variants[0], options={"a/b~c": "2"}),))
    assert Entity(Product()).when(product).pointers == ["/variants/0/options/a~1b~0c"]


def test_a_change_records_what_differs_and_moves_the_claims() -> None:
    it = created()
    outcome = it.when(ChangeProduct(handle="t-shirt", title={"en": "Tee"}, vendor="Loom", variants=(SMALL,), expect=1))
    changes = ChangeProduct(handle="t-shirt", vendor="Loom", variants=(SMALL,))
    assert outcome.events == (ProductChanged(at=it.now, changes=changes),)
    assert outcome.reply == ProductKept(id="one", version=2, changed=True)
    assert outcome.claims == (Claim("handle", "t-shirt"),)
    assert outcome.drops == (Claim("handle", "tee"), Claim("sku", "TEE-L"))
    assert it.state.product == replace(TEE, handle="t-shirt", vendor="Loom", variants=(SMALL,))


def test_a_change_to_what_is_already_records_nothing() -> None:
    outcome = created().when(ChangeProduct(title={"en": "Tee"}))
    assert (outcome.events, outcome.reply) == ((), ProductKept(id="one", version=1, changed=False))


def test_a_change_that_can_not_be_is_refused() -> None:
    assert created().when(ChangeProduct(variants=())).pointers == ["/variants"]


@pytest.mark.parametrize("command", [ChangeProduct(vendor="Loom", expect=7), ArchiveProduct(expect=7)])
def test_a_write_that_expects_another_version_is_refused(command: ChangeProduct | ArchiveProduct) -> None:
    outcome = created().when(command)
    assert (outcome.code, outcome.rejection.status) == ("version_mismatch", 412)


@pytest.mark.parametrize("command", [ChangeProduct(vendor="Loom"), ArchiveProduct()])
def test_a_write_to_nothing_is_not_found(command: ChangeProduct | ArchiveProduct) -> None:
    outcome = Entity(Product()).when(command)
    assert (outcome.code, outcome.rejection.status) == ("not_found", 404)


def test_an_archived_product_keeps_its_claims() -> None:
    it = created()
    outcome = it.when(ArchiveProduct())
    assert outcome.events == (ProductArchived(at=it.now),)
    assert (outcome.claims, outcome.drops) == ((), ())
    assert it.shown().status == "archived"
    again = it.when(ArchiveProduct())
    assert (again.events, again.reply) == ((), ProductKept(id="one", version=2, changed=False))


def test_an_import_creates_a_product_that_is_new() -> None:
    it = Entity(Product())
    outcome = it.when(PutProduct(product=PLAIN))
    assert outcome.events == (ProductCreated(at=it.now, product=PLAIN),)
    assert outcome.claims == (Claim("handle", "mug"), Claim("handle", "one"), Claim("sku", "MUG"))


def test_a_blank_text_of_an_import_clears_that_language() -> None:
    it = created(replace(PLAIN, description={"en": "<p>Blue</p>", "de": "<p>Blau</p>"}))
    it.when(PutProduct(product=replace(PLAIN, description={"en": ""})))
    assert it.state.product.description == {"de": "<p>Blau</p>"}
    new = Entity(Product())
    new.when(PutProduct(product=replace(PLAIN, description={"en": ""})))
    assert new.state.product.description == {}


def test_the_same_import_again_changes_nothing() -> None:
    it = created()
    outcome = it.when(PutProduct(product=TEE))
    assert (outcome.events, outcome.reply) == ((), ProductKept(id="one", version=1, changed=False))


def test_an_import_keeps_the_categories() -> None:
    it = created(replace(PLAIN, categories=("cups", "gifts")))
    assert it.when(PutProduct(product=PLAIN)).events == ()
    assert it.shown().categories == ("cups", "gifts")


@pytest.mark.parametrize(("categories", "pointer"), [(("a", "a"), "/categories/1"), (("x",) * 51, "/categories")])
def test_a_product_names_each_category_once_and_not_too_many(categories: tuple[str, ...], pointer: str) -> None:
    outcome = created(PLAIN).when(ChangeProduct(categories=categories))
    assert outcome.code == "invalid"
    assert pointer in outcome.pointers


def test_an_import_keeps_other_languages_and_currencies() -> None:
    rich = replace(
        PLAIN,
        title={"en": "Mug", "de": "Becher"},
        seo=Seo(title={"de": "Becher kaufen"}),
        media=(Media(url="/mug.jpg", alt={"de": "Ein Becher"}),),
        variants=(
            replace(
                PLAIN.variants[0],
                title={"de": "Blau"},
                prices=(Money(700, "EUR"), Money(800, "USD")),
                compare_at=(Money(900, "EUR"), Money(1000, "USD")),
            ),
        ),
    )
    it = created(rich)
    filed = replace(
        PLAIN,
        title={"en": "Cup"},
        media=(Media(url="/mug.jpg", alt={"en": "A mug"}), Media(url="/new.jpg")),
        variants=(
            Variant(sku="MUG", title={"en": "Blue"}, prices=(Money(850, "USD"), Money(120, "JPY"))),
            Variant(sku="MUG-2", prices=(Money(1, "USD"),)),
        ),
    )
    outcome = it.when(PutProduct(product=filed))
    product = it.state.product
    assert product.title == {"en": "Cup", "de": "Becher"}
    assert product.seo == Seo(title={"de": "Becher kaufen"})
    assert product.media == (Media(url="/mug.jpg", alt={"de": "Ein Becher", "en": "A mug"}), Media(url="/new.jpg"))
    assert product.variants == (
        Variant(
            sku="MUG",
            title={"de": "Blau", "en": "Blue"},
            prices=(Money(700, "EUR"), Money(850, "USD"), Money(120, "JPY")),
            compare_at=(Money(900, "EUR"),),
        ),
        Variant(sku="MUG-2", prices=(Money(1, "USD"),)),
    )
    assert outcome.claims == (Claim("sku", "MUG-2"),)
    assert it.when(PutProduct(product=filed)).events == ()


def quoted(it: Entity, sku: str, cents: int, currency: str = "USD", locked: timedelta = timedelta(0)) -> QuotedLine:
    return QuotedLine(sku=sku, price=Money(cents, currency), locked_until=it.now + locked)


def judged(it: Entity, *lines: QuotedLine, at: timedelta = timedelta(seconds=1)) -> tuple[JudgedLine, ...]:
    outcome = it.when(ConfirmQuotes(order="o1", at=it.now + at, lines=lines))
    assert outcome.events == ()
    (answer,) = outcome.answers
    assert answer == Send(
        "order", "o1", QuotesJudged(product="one", product_version=it.version, lines=answer.command.lines)
    )
    return answer.command.lines


def test_quotes_are_judged_against_the_present_prices() -> None:
    it = created()
    assert judged(
        it,
        quoted(it, "TEE-S", 1290),
        quoted(it, "TEE-L", 1390),
        quoted(it, "TEE-XL", 1290),
        quoted(it, "TEE-S", 1290, "EUR"),
    ) == (
        JudgedLine(sku="TEE-S", verdict="ok", price=Money(1290, "USD")),
        JudgedLine(
            sku="TEE-L", verdict="price_changed", price=Money(1490, "USD"), track_stock=False, when_out="continue"
        ),
        JudgedLine(sku="TEE-XL", verdict="not_available"),
        JudgedLine(sku="TEE-S", verdict="not_available"),
    )


def test_a_price_that_moved_is_honoured_until_its_lock_ends() -> None:
    it = created()
    line = quoted(it, "TEE-S", 1000, locked=timedelta(seconds=60))
    assert [judged(it, line, at=timedelta(seconds=s))[0].verdict for s in (60, 61)] == ["ok", "price_changed"]


def test_what_is_not_published_is_not_available() -> None:
    draft = created(PLAIN)
    assert judged(draft, quoted(draft, "MUG", 800)) == (JudgedLine(sku="MUG", verdict="not_available"),)
    nothing = Entity(Product())
    assert judged(nothing, quoted(nothing, "MUG", 800)) == (JudgedLine(sku="MUG", verdict="not_available"),)
    assert nothing.version == 0


def test_the_public_form_leads_with_the_first_price() -> None:
    product = replace(
        PLAIN,
        media=(Media(url="/mug.jpg"),),
        variants=(
            replace(
                PLAIN.variants[0],
                prices=(Money(700, "EUR"), Money(120, "JPY")),
                compare_at=(Money(900, "EUR"), Money(150, "JPY")),
            ),
        ),
    )
    shown = created(product).shown()
    (line,) = shown.variants
    assert (shown.id, shown.version, shown.handle, shown.media[0].url) == ("one", 1, "mug", "/mug.jpg")
    assert line.price == ShownMoney("7.00", "EUR")
    assert line.prices == {"EUR": ShownMoney("7.00", "EUR"), "JPY": ShownMoney("120", "JPY")}
    assert line.compare_at_price == ShownMoney("9.00", "EUR")
    assert created().shown().variants[0].compare_at_price is None


def test_a_log_that_does_not_begin_with_the_creation_is_an_error() -> None:
    with pytest.raises(ValueError, match="before the product's creation"):
        Product().evolve(None, ProductArchived(at=datetime(2026, 3, 1, tzinfo=UTC)))


@pytest.mark.parametrize(
    ("product", "pointer"),
    [
        (replace(PLAIN, title={"en": "Mug\x07"}), "/title"),
        (replace(PLAIN, title={"en": "Mug", "de": "Be\ncher"}), "/title"),
        (replace(PLAIN, vendor="Ann\t& Co"), "/vendor"),
        (replace(PLAIN, type="Cup\x1b"), "/type"),
        (replace(PLAIN, tags=("hot", "co\x00ld")), "/tags/1"),
        (replace(PLAIN, seo=Seo(title={"en": "Mug\x7f"})), "/seo/title"),
        (replace(PLAIN, description={"en": "<p>hot\x08</p>"}), "/description"),
        (replace(PLAIN, media=(Media(url="https://example.com/\x01.jpg"),)), "/media/0/url"),
        (variant(title={"en": "blue\x85"}), "/variants/0/title"),
        (variant(barcode="12\r34"), "/variants/0/barcode"),
        (variant(tax_class="re\nduced"), "/variants/0/tax_class"),
    ],
)
def test_control_characters_are_refused(product: CreateProduct, pointer: str) -> None:
    outcome = Entity(Product()).when(product)
    assert outcome.rejection is not None
    assert (outcome.rejection.status, outcome.rejection.errors[0].pointer) == (422, pointer)


def test_an_options_names_and_values_are_refused_with_control_characters() -> None:
    size = (Option(name="Si\nze", values=("S", "L\t")),)
    outcome = Entity(Product()).when(replace(PLAIN, options=size))
    assert outcome.rejection is not None
    assert {"/options/0", "/options/0/values/1"} <= {fault.pointer for fault in outcome.rejection.errors}


def test_a_description_may_have_lines() -> None:
    text = {"en": "<p>hot</p>\r\n\t<p>cold</p>"}
    outcome = Entity(Product()).when(replace(PLAIN, description=text, seo=Seo(description={"en": "hot\ncold"})))
    assert outcome.rejection is None
