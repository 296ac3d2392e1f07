import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultramarket.domain.money import Money
from ultramarket.domain.product_csv import (
    ParsedMedia,
    ParsedOption,
    ParsedProduct,
    ParsedSeo,
    ParsedVariant,
    ProductReader,
    Refused,
    UnreadableFileError,
)

DATA = Path(__file__).parents[1] / "data"
HEADER = "Handle,Title,Variant Price,Option1 Name,Option1 Value,Variant SKU,Image Src,Variant Inventory Qty"


def read(data: str | bytes, code: str = "USD") -> tuple[ProductReader, dict[str, ParsedProduct], dict[int, str]]:
    reader = ProductReader(code)
    found = list(reader.read([data if isinstance(data, bytes) else data.encode()]))
    products = {product.handle: product for product in found if isinstance(product, ParsedProduct)}
    refused = {row.line: row.reason for row in found if isinstance(row, Refused)}
    assert reader.rows == sum(len(product.lines) for product in products.values()) + len(refused)
    assert len(found) == len(products) + len(refused)
    return reader, products, refused


def rows(*lines: str, code: str = "USD") -> tuple[ProductReader, dict[str, ParsedProduct], dict[int, str]]:
    return read("\n".join((HEADER, *lines)), code)


def test_a_product_over_several_rows_is_read_whole() -> None:
    _, products, refused = read((DATA / "odd-shapes.csv").read_bytes())
    assert refused == {}
    assert products["linen-shirt"] == ParsedProduct(
        lines=(2, 6, 7, 8),
        handle="linen-shirt",
        title="Linen Shirt",
        description='<p>Light, "breathable" linen.</p>\n<ul>\n<li>Made to last</li>\n</ul>',
        vendor="Hafen & Co",
        type="Shirts",
        tags=("Summer", "linen"),
        options=(ParsedOption("Size", ("S", "M", "L")), ParsedOption("Colour", ("White",))),
        media=(
            ParsedMedia("https://example.com/shirt-1.jpg", "On a chair"),
            ParsedMedia("https://example.com/shirt-2.jpg", "Folded"),
            ParsedMedia("https://example.com/shirt-3.jpg", ""),
            ParsedMedia("https://example.com/shirt-white.jpg", ""),
        ),
        seo=ParsedSeo("Linen Shirt | Hafen", "A shirt for warm days"),
        status="published",
        variants=(
            ParsedVariant(
                line=2,
                sku="LS-S-W",
                title="S / White",
                options={"Size": "S", "Colour": "White"},
                price=Money(4990, "USD"),
                compare_at_price=Money(5990, "USD"),
                weight_grams=180,
                barcode="04012345678901",
                tax_class="standard",
                track_stock=True,
                when_out="deny",
                quantity=4,
            ),
            ParsedVariant(
                line=6,
                sku="linen-shirt.m.white",
                title="M / White",
                options={"Size": "M", "Colour": "White"},
                price=Money(4990, "USD"),
                compare_at_price=None,
                weight_grams=180,
                barcode="",
                tax_class="standard",
                track_stock=True,
                when_out="continue",
                quantity=0,
            ),
            ParsedVariant(
                line=8,
                sku="linen-shirt.l.white",
                title="L / White",
                options={"Size": "L", "Colour": "White"},
                price=Money(5400, "USD"),
                compare_at_price=None,
                weight_grams=181,
                barcode="",
                tax_class="exempt",
                track_stock=True,
                when_out="deny",
                quantity=0,
            ),
        ),
    )


def test_what_is_passed_over_is_noted() -> None:
    reader, _, _ = read((DATA / "odd-shapes.csv").read_bytes())
    columns, quantity, picture = reader.notes
    assert columns == "Columns that are not read: Cost per item, Lieferzeit."
    assert quantity == "Line 8: the quantity -2 was taken as 0."
    assert picture.startswith(
        "Line 9: the picture was left out. Image Src: 'ftp://example.com/wrap.jpg' is not an http(s)"
    )


def test_a_product_without_options_is_one_variant_named_by_its_handle() -> None:
    _, products, _ = read((DATA / "odd-shapes.csv").read_bytes())
    wrap, mug = products["gift-wrap"], products["enamel-mug"]
    assert (wrap.options, wrap.variants[0].options, wrap.variants[0].title) == ((), {}, "")
    assert (wrap.variants[0].sku, wrap.variants[0].tax_class) == ("gift-wrap", "P0000000")
    assert (mug.options, mug.variants[0].sku, mug.type) == ((), "MUG", "Kitchen")


def test_stock_is_tracked_where_a_tracker_or_a_quantity_is_given() -> None:
    _, products, _ = read((DATA / "odd-shapes.csv").read_bytes())
    wrap, mug = products["gift-wrap"].variants[0], products["enamel-mug"].variants[0]
    assert (wrap.track_stock, wrap.quantity) == (False, None)
    assert (mug.track_stock, mug.quantity) == (True, 12)


def test_the_status_comes_from_status_and_published() -> None:
    _, products, _ = read((DATA / "odd-shapes.csv").read_bytes())
    assert {name: product.status for name, product in products.items()} == {
        "linen-shirt": "published",
        "gift-wrap": "published",
        "enamel-mug": "draft",
        "old-lamp": "archived",
        "drafted": "draft",
    }


def test_the_newer_layout_is_read_too() -> None:
    _, products, refused = read((DATA / "new-layout.csv").read_bytes())
    assert refused == {}
    small, large = products["cedar-box"].variants
    assert (small.sku, small.price, small.quantity, small.when_out) == ("CEDAR-S", Money(3000, "USD"), 5, "deny")
    assert (large.compare_at_price, large.weight_grams, large.track_stock) == (Money(5000, "USD"), 900, True)
    assert (large.quantity, large.when_out) == (None, "continue")
    assert (products["voucher"].status, products["voucher"].variants[0].tax_class) == ("draft", "exempt")


def test_bad_rows_are_refused_with_line_and_reason_and_the_rest_goes_in() -> None:
    _, products, refused = read((DATA / "bad-rows.csv").read_bytes())
    assert {name: [variant.sku for variant in product.variants] for name, product in products.items()} == {
        "good": ["G-S", "G-9XL"],
        "last": ["L"],
    }
    untitled = "Title: is missing in the first row of the product"
    assert refused == {
        3: "Variant Price: 'ten' is not an amount: write digits and a point, such as 12.90",
        4: "the option values are those of the variant in line 2",
        5: "Variant SKU: 'G-S' is the SKU of the variant in line 2",
        6: "Variant Inventory Qty: 'one' is not a whole number",
        7: "Variant Inventory Policy: 'maybe' is neither deny nor continue",
        8: "Variant Grams: 'heavy' is not a weight in grams",
        9: "Variant SKU: a SKU has no slashes and is not '.' or '..': it stands in addresses",
        10: "Variant Price: is missing",
        11: "Image Src: 'javascript:alert(1)' is not an http(s) address of at most 2,048 characters",
        12: "the row has neither a variant (a price) nor a picture",
        13: "Option1 Value: 'Size' has no value",
        14: "Option1 Name: 'Colour' differs from the product's 'Size'",
        15: "Variant Price: '10.005' has more decimals than USD, which has 2",
        16: "Variant Compare At Price: '-5' is not an amount: write digits and a point, such as 12.90",
        17: "Variant Taxable: 'perhaps' is neither TRUE nor FALSE",
        19: untitled,
        20: f"its product is refused: {untitled}",
        21: "Variant Price: 'free' is not an amount: write digits and a point, such as 12.90",
        22: "no variant of its product could be read",
        23: "the row has neither a handle nor a title",
        24: "Status: 'sleeping' is none of active, draft and archived",
        25: "the handle 'good' was used further up: the rows of a product must stand together",
        26: "a quote is not closed",
    }


@pytest.mark.parametrize(
    ("value", "sku"),
    [
        ("Small", "shirt.small"),
        ("Navy Blue", "shirt.navy-blue"),
        ("S+", "shirt.s-18ccedf6"),
        ("S*", "shirt.s-09e2ca80"),
    ],
)
def test_a_blank_sku_is_made_from_handle_and_option_values(value: str, sku: str) -> None:
    _, products, _ = rows(f"shirt,Shirt,1,Size,{value},,,1")
    assert products["shirt"].variants[0].sku == sku


def test_a_made_sku_that_would_be_too_long_is_cut_and_told_apart() -> None:
    _, products, _ = rows(f"{'a' * 90},A,1,Size,extra large one,,,", f"{'a' * 90},,1,,extra large two,,,")
    first, second = (variant.sku for variant in products["a" * 90].variants)
    assert len(first) == len(second) == 100
    assert first != second


def test_a_handle_that_is_none_is_made_into_one() -> None:
    _, products, _ = rows("T-Shirt Blue!,A,1,,,,,", ",Crème,2,,,,,", "größe,C,3,,,,,", "UPPER,D,4,,,,,")
    assert list(products) == ["t-shirt-blue", "creme", "größe", "upper"]


def test_title_as_an_option_of_its_own_stays() -> None:
    _, products, _ = rows("book,Book,1,Title,First part,,,", "book,,1,,Second part,,,")
    assert products["book"].options == (ParsedOption("Title", ("First part", "Second part")),)


def test_a_first_row_without_a_variant_gives_the_product_to_the_rows_below() -> None:
    _, products, refused = rows("tea,Tea,,,,,https://example.com/t.jpg,", "tea,,4.5,Size,Small,T-S,,3")
    assert refused == {}
    assert (len(products["tea"].lines), products["tea"].title, len(products["tea"].media)) == (2, "Tea", 1)
    assert products["tea"].variants[0].price == Money(450, "USD")


def test_a_first_row_whose_variant_is_refused_still_gives_the_product() -> None:
    _, products, refused = rows("tea,Tea,oops,Size,Small,,https://example.com/t.jpg,", "tea,,4.5,,Large,,,")
    assert list(refused) == [2]
    assert (products["tea"].title, products["tea"].media[0].url) == ("Tea", "https://example.com/t.jpg")
    assert products["tea"].options == (ParsedOption("Size", ("Large",)),)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"a,{'x' * 256},1,,,,,", "Title: is longer than 255 characters"),
        ("a,A\x07,1,,,,,", "Title: holds a control character"),
        ("a,A,1,,Red,,,", "Option1 Value: has no option name"),
        ("a,A,99999999999,,,,,", "Variant Price: '99999999999' USD is too large: the limit is 10000000000.00"),
        ("a,A,1e3,,,,,", "Variant Price: '1e3' is not an amount: write digits and a point, such as 12.90"),
        ('a,A,"1,50",,,,,', "Variant Price: '1,50' is not an amount: write digits and a point, such as 12.90"),
        ("a,A,1,,,,,9999999999", "Variant Inventory Qty: '9999999999' is not a whole number"),
        ("a,A,1,,,,,1.5", "Variant Inventory Qty: '1.5' is not a whole number"),
    ],
)
def test_cells_that_make_no_sense_are_named(line: str, says: str) -> None:
    assert rows(line)[2] == {2: says}


def test_an_option_that_stands_twice_is_refused() -> None:
    header = "Handle,Title,Variant Price,Option1 Name,Option1 Value,Option2 Name,Option2 Value"
    _, _, refused = read(f"{header}\na,A,1,Size,S,Size,M\n")
    assert refused == {2: "Option2 Name: 'Size' stands twice"}


def test_too_many_tags_are_refused() -> None:
    tags = ",".join(str(number) for number in range(251))
    _, _, refused = read(f'Handle,Title,Variant Price,Tags\na,A,1,"{tags}"\n')
    assert refused == {2: "Tags: has more than 250 tags, or one of more than 255 characters"}


@pytest.mark.parametrize(
    ("code", "text", "amount"), [("JPY", "5000.00", 5000), ("USD", "9.990", 999), ("KWD", "1.2340", 1234)]
)
def test_zeros_beyond_the_currencys_decimals_are_dropped(code: str, text: str, amount: int) -> None:
    assert rows(f"a,A,{text},,,,,", code=code)[1]["a"].variants[0].price == Money(amount, code)


def test_a_product_has_at_most_so_many_variants_and_pictures() -> None:
    many = [f"a,,1,,{number},,," for number in range(2048)]
    pictures = [f"a,,,,,,/p/{number}.jpg," for number in range(251)]
    _, products, refused = rows("a,A,1,Size,first,,,", *many, *pictures)
    assert (len(products["a"].variants), len(products["a"].media)) == (2048, 250)
    assert refused == {2050: "a product has at most 2,048 variants", 2301: "a product has at most 250 pictures"}


def test_a_picture_that_comes_twice_is_one_with_the_text_it_was_given() -> None:
    header = "Handle,Title,Variant Price,Image Src,Image Position,Image Alt Text"
    _, products, _ = read(f"{header}\na,A,1,/1.jpg,,\na,,,/2.jpg,1,Two\na,,,/1.jpg,2,One\na,,,/2.jpg,,\n")
    assert products["a"].media == (ParsedMedia("/2.jpg", "Two"), ParsedMedia("/1.jpg", "One"))


def test_notes_are_counted_beyond_the_first_hundred() -> None:
    lines = [f"p{number},P,1,,,,,-1" for number in range(103)]
    reader, _, _ = rows(*lines)
    assert len(reader.notes) == 101
    assert reader.notes[0] == "Line 2: the quantity -1 was taken as 0."
    assert reader.notes[-1] == "3 more notes were left out."


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b"Handle,Title\na,A\n", "missing: Variant Price"),
        (b"a,b\n1,2\n", "missing: Handle, Title, Variant Price"),
        ("Handle,Title".encode("utf-16"), "line 1, which must name the columns, can't be read: the file is UTF-16"),
        (b'"Handle,Title', "a quote is not closed"),
        (b"\x89PNG\r\n\x1a\n\x00", "it is not UTF-8"),
        (b",,,\n", "the file is empty"),
    ],
)
def test_a_file_that_is_none_is_said_once(data: bytes, says: str) -> None:
    with pytest.raises(UnreadableFileError, match=says):
        list(ProductReader("USD").read([data]))


def test_an_unknown_currency_is_refused_before_reading() -> None:
    with pytest.raises(ValueError, match="is not a currency"):
        ProductReader("XYZ")


def test_products_come_out_as_soon_as_the_next_one_begins() -> None:
    reader = ProductReader("USD")
    assert reader.feed(f"{HEADER}\na,A,1,,,,,\n".encode()) == []
    (product,) = reader.feed(b"b,B,1,,,,,\n")
    assert isinstance(product, ParsedProduct)
    assert product.handle == "a"
    (last,) = reader.close()
    assert isinstance(last, ParsedProduct)
    assert last.handle == "b"


def test_column_names_are_found_in_any_case_and_the_first_of_two_counts() -> None:
    reader, products, _ = read("HANDLE,title,Variant price,Title,\na,A,1,B,\n")
    assert products["a"].title == "A"
    assert reader.notes == ("Columns that are not read: Title.",)


cells = st.sampled_from([
    *("", "a", "b", "Size", "S", "M", "1.50", "-1", "Title", "Default Title", "true", "continue", "https://e.com/x"),
    *('"', "<b>", "\x07", "é", "9" * 30, "\n", "a,b"),
])  # fmt: skip


@given(st.lists(st.lists(cells, min_size=1, max_size=12), max_size=12))
def test_every_row_is_in_a_product_or_refused(table: list[list[str]]) -> None:
    header = "Handle,Title,Variant Price,Option1 Name,Option1 Value,Option2 Name,Option2 Value,Variant SKU,Image Src"
    text = io.StringIO(newline="")
    csv.writer(text).writerows(table)
    _, products, _ = read(f"{header},Variant Inventory Qty,Status\r\n{text.getvalue()}")
    for product in products.values():
        skus = [variant.sku for variant in product.variants]
        assert len(skus) == len(set(skus)) > 0
        for variant in product.variants:
            assert list(variant.options) == [option.name for option in product.options]


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    read(HEADER.encode() + b"\n" + data)


@given(st.text(alphabet='a1,;"\n\r ', max_size=120))
def test_any_text_is_read_or_refused(text: str) -> None:
    read(f"{HEADER}\n{text}")


def test_unusual_spaces_in_a_title_become_plain_ones() -> None:
    _, products, refused = read("Handle,Title,Variant Price\nmug,Blue\u00a0 Mug,8.00\n")
    assert (products["mug"].title, refused) == ("Blue Mug", {})
