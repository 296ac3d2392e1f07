import csv
import io
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultramarket.domain.money import Money
from ultramarket.domain.parsed_product import (
    ParsedMedia,
    ParsedOption,
    ParsedProduct,
    ParsedSeo,
    ParsedVariant,
    Refused,
)
from ultramarket.domain.product_csv import ProductReader
from ultramarket.domain.product_sheet import header, sheet

DATA = Path(__file__).parents[1] / "data"
THEIRS = Path(__file__).parents[3] / "shared" / "data"
FILES = [DATA / "odd-shapes.csv", *sorted(THEIRS.glob("*.csv"))]

PLAIN = ParsedVariant(
    line=0,
    sku="MUG",
    title="",
    options={},
    price=Money(1290, "EUR"),
    compare_at_price=None,
    weight_grams=300,
    barcode="",
    tax_class="standard",
    track_stock=True,
    when_out="deny",
    quantity=7,
)
MUG = ParsedProduct(
    lines=(),
    handle="mug",
    title="Mug",
    description="<p>For tea</p>",
    vendor="Hafen",
    type="Kitchen",
    tags=("tea", "gifts"),
    options=(),
    media=(),
    seo=ParsedSeo("", ""),
    status="published",
    variants=(PLAIN,),
)


def read(text: str, code: str = "EUR") -> tuple[list[ParsedProduct], list[Refused]]:
    """Products and refused rows of a file, without the lines where they stood."""
    found = list(ProductReader(code).read([text.encode()]))
    products = [
        msgspec.structs.replace(
            product, lines=(), variants=tuple(msgspec.structs.replace(variant, line=0) for variant in product.variants)
        )
        for product in found
        if isinstance(product, ParsedProduct)
    ]
    return products, [row for row in found if isinstance(row, Refused)]


def written(*products: ParsedProduct) -> str:
    return header() + "".join(map(sheet, products))


def cells(*products: ParsedProduct) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(written(*products), newline="")))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_what_was_read_from_a_file_is_read_again_from_what_was_written(file: Path) -> None:
    products, _ = read(file.read_text("utf-8"), "USD")
    assert products
    assert read(written(*products), "USD") == (products, [])


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), max_size=20)
WORDS = TEXT.filter(str.strip).map(str.strip)
NAMES = st.lists(WORDS, min_size=1, max_size=3, unique_by=str)


@st.composite
def products(draw: st.DrawFn) -> ParsedProduct:
    """A product that the layout can say."""
    options = draw(st.one_of(st.just([]), NAMES))
    combinations = draw(
        st.lists(st.tuples(*(WORDS for _ in options)), min_size=1, max_size=4, unique=True)
        if options
        else st.just([()])
    )
    variants = [
        msgspec.structs.replace(
            PLAIN,
            sku=f"S-{n}",
            title=" / ".join(values),
            options=dict(zip(options, values, strict=True)),
            price=Money(draw(st.integers(0, 10**9)), "EUR"),
            compare_at_price=draw(st.one_of(st.none(), st.integers(1, 10**9).map(lambda cents: Money(cents, "EUR")))),
            weight_grams=draw(st.integers(0, 10**6)),
            barcode=draw(st.one_of(TEXT, WORDS.map(lambda word: f"'{word}"[:90]))),
            tax_class=draw(st.sampled_from(["standard", "exempt", "books"])),
            when_out=draw(st.sampled_from(["deny", "continue"])),
            track_stock=(tracked := draw(st.booleans())),
            quantity=draw(st.one_of(st.none(), st.integers(0, 10**8))) if tracked else None,
        )
        for n, values in enumerate(combinations)
    ]
    urls = draw(st.lists(st.integers(0, 99), max_size=6, unique=True))
    return msgspec.structs.replace(
        MUG,
        title=draw(WORDS),
        description=draw(st.sampled_from(["", "<p>a, \"b\" 'c'</p>\n<ul>\n<li>d</li>\n</ul>"])),
        vendor=draw(TEXT),
        type=draw(TEXT),
        options=tuple(
            ParsedOption(name, tuple(dict.fromkeys(values[at] for values in combinations)))
            for at, name in enumerate(options)
        ),
        media=tuple(ParsedMedia(f"https://example.com/{n}.jpg", draw(TEXT)) for n in urls),
        seo=ParsedSeo(draw(TEXT), draw(TEXT)),
        status=draw(st.sampled_from(["draft", "published", "archived"])),
        variants=tuple(variants),
    )


@given(products())
def test_a_product_that_the_layout_can_say_is_read_as_it_was(product: ParsedProduct) -> None:
    assert read(written(product)) == ([product], [])


def test_a_product_stands_in_as_many_rows_as_it_has_variants_or_pictures() -> None:
    media = tuple(ParsedMedia(f"https://example.com/{n}.jpg", "") for n in range(3))
    rows = cells(msgspec.structs.replace(MUG, media=media))
    assert [(row["Title"], row["Variant SKU"], row["Image Position"]) for row in rows] == [
        ("Mug", "MUG", "1"),
        ("", "", "2"),
        ("", "", "3"),
    ]


def test_a_variant_without_a_price_in_the_currency_has_none_and_is_refused_when_it_is_read() -> None:
    unpriced = msgspec.structs.replace(PLAIN, sku="CUP", price=None)
    text = written(msgspec.structs.replace(MUG, handle="cup", variants=(unpriced,)), MUG)
    found, refused = read(text)
    assert found == [MUG]
    assert [row.reason for row in refused] == [
        "Variant Price: is missing",
    ]


def test_a_fourth_option_is_not_lost_silently() -> None:
    options = tuple(ParsedOption(name, ("x",)) for name in "ABCD")
    variant = msgspec.structs.replace(PLAIN, options=dict.fromkeys("ABCD", "x"), title="x / x / x / x")
    found, refused = read(written(msgspec.structs.replace(MUG, options=options, variants=(variant,))))
    assert found == []
    assert [row.line for row in refused] == [2]
