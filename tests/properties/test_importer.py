"""Any file can be read: every row is in, refused or unchanged, the sum fits, and a repeat changes nothing."""

import asyncio
import csv
import io
from collections.abc import Iterator, Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.product_rules import faults
from tests.actors.test_importer import Files, Shop, run
from ultramarket.domain.money import Money
from ultramarket.domain.parsed_product import (
    ParsedMedia,
    ParsedOption,
    ParsedProduct,
    ParsedSeo,
    ParsedVariant,
    Refused,
)
from ultramarket.domain.product_columns import COLUMNS, NEEDED
from ultramarket.domain.product_csv import ProductReader, UnreadableFileError
from ultramarket.messages.product_import import ImportCounts

Found = list[ParsedProduct | Refused]
Table = tuple[list[str], list[list[str]]]
"""The names of the columns, and the rows."""

HANDLES = ("tee", "mug", "größe", "Bad Handle", "")
PLAUSIBLE: dict[str, Sequence[str]] = {
    "handle": HANDLES,
    "title": ("Tee", "Mug", "Größe", ""),
    "body": ("", "<p>Soft</p>", '<p onclick="x()">a "quote", a comma</p>\n<script>no</script>'),
    "vendor": ("", "Hafen & Co"),
    "tags": ("", "new, Sale, sale"),
    "published": ("", "TRUE", "false"),
    "status": ("", "active", "draft", "archived"),
    "name1": ("", "", "Size", "Title"),
    "value1": ("", "S", "M", "Default Title", "S+"),
    "name2": ("", "", "", "Colour"),
    "value2": ("", "", "", "Blue"),
    "sku": ("", "", "A", "A", "B", "B", "C"),
    "grams": ("", "0", "180", "12.5", "99999999", "99999999"),
    "tracker": ("", "shopify"),
    "quantity": ("", "0", "7", "-3", "999999999"),
    "policy": ("", "deny", "continue"),
    "price": ("12.90", "8", "0", "5.00", ""),
    "compare_at": ("", "0", "15.00"),
    "taxable": ("", "TRUE", "FALSE"),
    "barcode": ("", "'0401234"),
    "image": ("", "", "https://example.com/1.jpg", "/static/2.svg", "javascript:x"),
    "position": ("", "1", "2"),
    "alt": ("", "A picture"),
    "seo_title": ("", "Buy it"),
}
VARIANT = {"sku", "grams", "tracker", "quantity", "policy", "price", "compare_at", "taxable", "barcode"}
PICTURE = {"image", "position", "alt"}
ODD = st.text(max_size=12) | st.sampled_from([
    " ", '"', '""', "=1+1", "-1", "1e400", "9" * 400, "0" * 30 + "1", "1,5", "1.2.3", "NaN", "\u0663", "\0", "\ud800",
    "\u202e", "a\tb", "a\nb", "a\r\nb", "\r", "\x0b", "\x85", "\u2028", "\ufeff", "x" * 300, "../..", "İ", "e\u0301",
])  # fmt: skip
UNKNOWN = st.sampled_from(["", "Note", "Cost per item", "Handle", "Price"])


@st.composite
def tables(draw: st.DrawFn, *, odd: bool) -> Table:
    """A file's columns, in either layout and any order, with rows that are nearly right."""
    layout = draw(st.integers(0, 1))
    left_out = draw(st.sets(st.sampled_from(sorted(PLAUSIBLE)), max_size=6))
    needed = [key for key in NEEDED if not odd or draw(st.integers(0, 30)) != 30]
    keys = draw(st.permutations([*needed, *(key for key in PLAUSIBLE if key not in {*NEEDED, *left_out})]))
    names = [COLUMNS[key][min(layout, len(COLUMNS[key]) - 1)] for key in keys]
    names = [name.upper() if draw(st.integers(0, 9)) == 0 else name for name in names]
    extra = draw(st.integers(0, 9)) == 0
    rows = []
    for cells in [row for group in draw(st.lists(groups(), max_size=3)) for row in group]:
        row = [cells.get(key, "") for key in keys] + [draw(ODD) if odd else "x"] * extra
        if odd and draw(st.integers(0, 3)) == 0:
            row[draw(st.integers(0, len(row) - 1))] = draw(ODD)
        rows.append(row)
        if draw(st.integers(0, 9)) == 9:
            rows.append([draw(st.sampled_from(["", " ", "\t"])) for _ in row])
    return names + [draw(UNKNOWN)] * extra, rows


@st.composite
def groups(draw: st.DrawFn) -> list[dict[str, str]]:
    """The rows of a product: variants, pictures, both, or anything, as `PLAUSIBLE` says."""
    handle, option = draw(st.sampled_from(HANDLES)), draw(st.sampled_from(["", "Size"]))
    rows = []
    for index in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["variant", "picture", "both"] * 3 + ["anything"]))
        keys = {"variant": VARIANT, "picture": PICTURE, "both": VARIANT | PICTURE}.get(kind, PLAUSIBLE.keys())
        row = {key: draw(st.sampled_from(values)) for key, values in PLAUSIBLE.items() if key in keys or index == 0}
        row |= {"handle": handle}
        if kind != "anything":
            row |= {"name1": option, "value1": f"S{index}" if option and kind != "picture" else "", "value2": ""}
            row |= {"name2": "", "title": "Tee", "price": row.get("price") or "1"}
        if kind == "picture":
            row |= dict.fromkeys(VARIANT, "")
        rows.append(row)
    return rows


def written(table: Table, end: str = "\n", delimiter: str = ",", quoting: int = csv.QUOTE_MINIMAL) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)  # type: ignore[arg-type]
    writer.writerows([table[0], *table[1]])
    return text.getvalue()


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Bytes that are a product file, more or less."""
    table = draw(tables(odd=True))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    text = written(table, end, draw(st.sampled_from([",", ";", "\t"])), quoting)
    mark = draw(st.sampled_from([b""] * 8 + [b"\xef\xbb\xbf"] * 3 + [b"\xff\xfe"]))
    data = mark + text.encode("utf-8", "surrogatepass")
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 3]))):
        at = draw(st.integers(0, len(data)))
        junk = draw(st.sampled_from([b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"\xed\xa0\x80", b"\n\n , \n", b"=;\t"]))
        data = data[:at] + junk + data[at + draw(st.sampled_from([0, 0, 1, 7])) :]
    return data


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    for size in sizes:
        yield data[:size]
        data = data[size:]
    yield data


def read(data: bytes, sizes: list[int] | None = None) -> tuple[Found | str, int, tuple[str, ...]]:
    """What was found, or why nothing could be; the rows read; the notes."""
    reader = ProductReader("USD")
    try:
        return list(reader.read(cut(data, sizes or []))), reader.rows, reader.notes
    except UnreadableFileError as error:
        return str(error), reader.rows, reader.notes


def products_of(found: Found) -> list[ParsedProduct]:
    return [item for item in found if isinstance(item, ParsedProduct)]


@given(
    files() | st.binary(max_size=200),
    st.lists(st.integers(0, 30), max_size=40) | st.integers(1, 3).map(lambda n: [n] * 900),
)
def test_any_bytes_are_read_into_whole_products_and_refused_rows_however_they_arrive(
    data: bytes, sizes: list[int]
) -> None:
    found, rows, notes = read(data)
    assert (found, rows, notes) == read(data, sizes)
    if isinstance(found, str):
        assert found
        return
    products = products_of(found)
    refused = [item for item in found if isinstance(item, Refused)]
    assert rows == sum(len(product.lines) for product in products) + len(refused)
    assert all(row.reason for row in refused)
    places = [item.line for item in refused] + [variant.line for product in products for variant in product.variants]
    assert len(set(places)) == len(places), "a row is in one place only"
    lines = len(data.decode(errors="replace").splitlines()) + 1
    assert all(2 <= place <= lines for place in places)
    assert len({product.handle for product in products}) == len(products)
    for product in products:
        assert 1 <= len(product.variants) <= len(product.lines)
        assert len({variant.sku for variant in product.variants}) == len(product.variants)


@given(tables(odd=False), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from([",", ";", "\t"]))
def test_every_row_of_a_well_formed_file_is_counted_and_its_form_says_nothing(
    table: Table, end: str, delimiter: str
) -> None:
    found, rows, _ = read(written(table).encode())
    filled = [row for row in table[1] if any(cell.strip() for cell in row)]
    assert isinstance(found, list)
    assert rows == len(filled)
    other, _, _ = read(b"\xef\xbb\xbf" + written(table, end, delimiter, csv.QUOTE_ALL).encode())
    assert isinstance(other, list)
    assert [sight(item) for item in other] == [sight(item) for item in found]


def sight(item: ParsedProduct | Refused) -> object:
    """A product or a refusal; line breaks inside cells stay as they are, so HTML is compared without them."""
    return item if isinstance(item, Refused) else replace(item, description="".join(item.description.split()))


def imported(shop: Shop, data: bytes, *, dry_run: bool = False) -> tuple[ImportCounts, str]:
    waiting = Files()
    waiting.kept["job"] = data
    finish = asyncio.run(run(shop, waiting, dry_run=dry_run))
    return finish.counts, finish.failure


@given(files())
def test_every_row_is_in_or_refused_and_the_same_file_again_changes_nothing(data: bytes) -> None:
    shop = Shop()
    planned, _ = imported(shop, data, dry_run=True)
    assert {kind for kind, _ in shop.entities} <= {"import"}
    first, failure = imported(shop, data)
    found, rows, _ = read(data)
    if isinstance(found, str):
        assert (failure, first.rows, first.products) == (found, 0, 0)
        return
    assert failure == ""
    assert first.rows == rows
    taken = [product for product in products_of(found) if shop.claims.get(("handle", product.handle))]
    assert first.unchanged == 0
    assert first.products == planned.products == len(taken)
    assert first.variants == planned.variants == sum(len(product.variants) for product in taken)
    assert rows == sum(len(product.lines) for product in taken) + first.refused_total
    assert [row.line for row in first.refused] == sorted({row.line for row in first.refused})
    for product in taken:
        kept = shop.product(product.handle)
        assert faults(kept) == []
        for variant in product.variants:
            assert shop.on_hand(variant.sku) == variant.quantity
    versions = {key: entity.version for key, entity in shop.entities.items()}
    again, _ = imported(shop, data)
    # A refused product may now be refused for a SKU that another one got; it is refused all the same.
    assert [row.line for row in again.refused] == [row.line for row in first.refused]
    assert again == replace(first, products=0, variants=0, unchanged=first.products, refused=again.refused)
    assert {key: entity.version for key, entity in shop.entities.items()} == versions


WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=12)
LINE = WORDS.map(lambda text: text.replace("'", "")).filter(lambda text: bool(text.strip()))
TITLES = st.lists(LINE, min_size=1, max_size=3).map(" ".join)
URLS = st.integers(1, 99).map("https://example.com/{}.jpg".format)


@st.composite
def variants_of(draw: st.DrawFn, name: str, number: int, options: dict[str, str]) -> ParsedVariant:
    quantity = draw(st.none() | st.integers(0, 10**9 - 1))
    return ParsedVariant(
        line=0,
        sku=f"{name}-{number}",
        title=" / ".join(options.values()),
        options=options,
        price=Money(draw(st.integers(0, 10**9)), "USD"),
        compare_at_price=draw(st.none() | st.integers(1, 10**9).map(lambda amount: Money(amount, "USD"))),
        weight_grams=draw(st.integers(0, 10**7)),
        barcode=draw(st.sampled_from(["", "0401234"])),
        tax_class=draw(st.sampled_from(["standard", "exempt", "reduced"])),
        track_stock=quantity is not None,
        when_out=draw(st.sampled_from(["deny", "continue"])),
        quantity=quantity,
    )


@st.composite
def catalogues(draw: st.DrawFn) -> list[ParsedProduct]:
    """Products as the layout can say them."""
    products = []
    for name in draw(st.lists(st.sampled_from(["tee", "mug", "größe", "hat_2"]), unique=True, max_size=3)):
        names = draw(st.lists(st.sampled_from(["Size", "Colour", "Fit"]), unique=True, max_size=3))
        values = st.tuples(*[TITLES for _ in names])
        combinations = draw(st.lists(values, unique=True, min_size=1, max_size=4 if names else 1))
        variants = [
            draw(variants_of(name, number, dict(zip(names, chosen, strict=True))))
            for number, chosen in enumerate(combinations)
        ]
        pictures = draw(st.lists(URLS, unique=True, max_size=len(variants) + 2))
        products.append(
            ParsedProduct(
                lines=(0,) * max(len(variants), len(pictures)),
                handle=name,
                title=draw(TITLES),
                description=draw(st.sampled_from(["", "<p>Soft, “warm”</p>", "<ul>\n<li>one</li>\n</ul>"])),
                vendor=draw(st.just("") | TITLES),
                type=draw(st.just("") | TITLES),
                tags=draw(st.sampled_from([(), ("new",), ("new", "Sale")])),
                options=tuple(
                    ParsedOption(option, tuple(dict.fromkeys(variant.options[option] for variant in variants)))
                    for option in names
                ),
                media=tuple(ParsedMedia(url, draw(st.just("") | TITLES)) for url in pictures),
                seo=ParsedSeo(draw(st.just("") | TITLES), draw(st.just("") | TITLES)),
                status=draw(st.sampled_from(["draft", "published", "archived"])),
                variants=tuple(variants),
            )
        )
    return products


STATUS = {"draft": "draft", "published": "active", "archived": "archived"}


def rows_of(product: ParsedProduct) -> Iterator[dict[str, str]]:
    """The rows that say this product, by our names of the columns."""
    names = [option.name for option in product.options]
    for index in range(len(product.lines)):
        row = {"handle": product.handle}
        if index == 0:
            row |= {"title": product.title, "body": product.description, "vendor": product.vendor}
            row |= {"type": product.type, "tags": ", ".join(product.tags), "status": STATUS[product.status]}
            row |= {"seo_title": product.seo.title, "seo_description": product.seo.description}
            row |= {f"name{at}": name for at, name in enumerate(names, 1)}
        if index < len(product.variants):
            variant = product.variants[index]
            row |= {f"value{at}": variant.options[name] for at, name in enumerate(names, 1)}
            row |= {"sku": variant.sku, "price": variant.price.text(), "grams": str(variant.weight_grams)}
            row |= {
                "compare_at": variant.compare_at_price.text() if variant.compare_at_price else ("", "0.00")[index % 2]
            }
            row |= {"barcode": f"'{variant.barcode}" if variant.barcode else "", "policy": variant.when_out}
            row |= {"quantity": "" if variant.quantity is None else str(variant.quantity)}
            row |= {"taxable": str(variant.tax_class != "exempt").upper()}
            row |= {"tax_code": variant.tax_class if variant.tax_class == "reduced" else ""}
        if index < len(product.media):
            row |= {"image": product.media[index].url, "alt": product.media[index].alt}
        yield row


def without_lines(product: ParsedProduct) -> ParsedProduct:
    lines = (0,) * len(product.lines)
    return replace(product, lines=lines, variants=tuple(replace(variant, line=0) for variant in product.variants))


@given(catalogues(), st.integers(0, 1), st.sampled_from(["\n", "\r\n"]), st.randoms(use_true_random=False))
def test_products_written_as_a_file_are_read_as_they_were(
    products: list[ParsedProduct], layout: int, end: str, random: object
) -> None:
    keys = list(COLUMNS)
    random.shuffle(keys)  # type: ignore[attr-defined]  # Hypothesis gives a Random of its own
    names = [COLUMNS[key][min(layout, len(COLUMNS[key]) - 1)] for key in keys]
    table = (names, [[row.get(key, "") for key in keys] for product in products for row in rows_of(product)])
    found, _, notes = read(written(table, end).encode())
    assert isinstance(found, list)
    assert [without_lines(product) for product in products_of(found)] == products
    assert (len(found), notes) == (len(products), ())
