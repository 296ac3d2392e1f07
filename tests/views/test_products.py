from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.adapters.postgres_search import PostgresSearch
from ultramarket.adapters.postgres_search_words import match, terms
from ultramarket.messages.common import ShownMoney
from ultramarket.messages.inventory import ShownStock
from ultramarket.messages.product import Option, ShownProduct, ShownSeo, ShownVariant
from ultramarket.ports.search import SearchQuery
from ultramarket.views.products import ProductFilters, ProductView
from ultramarket.views.projection import LogEvent
from ultramarket.views.projector import Projector

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def variant(sku: str, price: str = "10.00", **fields: Any) -> ShownVariant:
    prices = fields.pop("prices", {"USD": price})
    shown = {currency: ShownMoney(amount, currency) for currency, amount in prices.items()}
    plain: dict[str, Any] = {
        "title": {},
        "options": {},
        "compare_at_price": None,
        "weight_grams": 0,
        "barcode": "",
        "tax_class": "standard",
        "track_stock": True,
        "when_out": "deny",
    }
    return ShownVariant(sku=sku, price=next(iter(shown.values())), prices=shown, **(plain | fields))


def product(id: str, name: str = "", *variants: ShownVariant, **fields: Any) -> ShownProduct:
    plain: dict[str, Any] = {
        "version": 1,
        "handle": f"h-{id}",
        "title": {"en": name or id},
        "description": {},
        "vendor": "",
        "type": "",
        "tags": (),
        "options": (),
        "media": (),
        "seo": ShownSeo(title={}, description={}),
        "status": "published",
        "variants": variants,
        "created_at": NOON,
        "updated_at": NOON,
    }
    return ShownProduct(id=id, **(plain | fields))


def stock(sku: str, available: int, version: int = 1) -> ShownStock:
    return ShownStock(sku=sku, on_hand=available, held=0, available=available, version=version)


def touched(kind: str, id: str, version: int = 1) -> LogEvent:
    return LogEvent(kind=kind, no=0, seq=1, id=id, version=version, type="Happened", at=NOON)


class Shop:
    """The view with what is in it: `put` writes forms into it as a batch of events."""

    def __init__(self, database: PostgresDatabase, forms: Any) -> None:
        self.search = PostgresSearch(database)
        self.view = ProductView(self.search, forms.read_many)
        self._database = database
        self._forms = forms

    async def put(self, *shown: ShownProduct | ShownStock) -> None:
        events = []
        for form in shown:
            kind, id = ("product", form.id) if isinstance(form, ShownProduct) else ("inventory", form.sku)
            self._forms.put(kind, id, form)
            events.append(touched(kind, id, form.version))
        await self.apply(events)

    async def apply(self, events: Sequence[LogEvent]) -> None:
        async with self._database.transaction() as connection:
            await self.view.apply(connection, events)

    async def ids(self, **filters: Any) -> list[str]:
        page = await self.view.find(ProductFilters(**filters), 100)
        return [item.product.id for item in page.items]


@pytest.fixture
def shop(database: PostgresDatabase, forms: Any) -> Shop:
    return Shop(database, forms)


async def test_a_product_is_found_as_it_was_shown(shop: Shop) -> None:
    shown = product(
        "p1",
        "Canvas tote",
        variant("TOTE", options={"Size": "M"}),
        options=(Option(name="Size", values=("M",)),),
        description={"en": "<p>Holds &amp; carries</p>"},
    )
    await shop.put(shown)
    page = await shop.view.find(ProductFilters())
    assert [item.product for item in page.items] == [shown]
    assert page.next is None


async def test_the_log_is_projected_through_the_projector(
    database: PostgresDatabase, log: Any, forms: Any, shop: Shop
) -> None:
    forms.put("product", "p1", product("p1", "Tote", variant("TOTE"), version=3))
    forms.put("inventory", "TOTE", stock("TOTE", 5))
    for version in (1, 2, 3):
        await log.append("product", "p1", version, no=4)
    await log.append("inventory", "TOTE", 1, no=9)
    projector = Projector(database, [shop.view])
    await projector.start()
    try:
        assert await projector.wait("product", 4, 3, 10.0)
        assert await projector.wait("inventory", 9, 1, 10.0)
    finally:
        await projector.stop()
    assert await shop.ids(in_stock=True) == ["p1"]
    assert forms.asked == [("product", ["p1"]), ("inventory", ["TOTE"])]


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("tote", ["bag"]),
        ("TO", ["bag"]),
        ("creme cafe", ["cup"]),
        ("Café", ["cup"]),
        ("nat tote", ["bag"]),
        ("TOTE-NAT", ["bag"]),
        ("t-shirt", ["tee"]),
        ("carries", ["bag"]),
        ("amp", []),
        ("tote cafe", []),
        ("'; drop table product_card; --", []),
        ("x:* | b & !c <-> (", []),
        ("!!!", []),
        ("  ", ["tee", "cup", "bag"]),
        ("12 5", ["cup"]),
    ],
)
async def test_words_and_their_beginnings_are_found(shop: Shop, q: str, found: list[str]) -> None:
    await shop.put(
        product("bag", "Canvas bag", variant("TOTE-NATURAL"), description={"en": "Holds &amp; <b>carries</b> it"}),
        product("cup", "Café Crème cup", variant("CUP"), tags=("12.5 oz",)),
        product("tee", "T-Shirt", variant("TEE"), title={"de": "Hemd", "en": "T-Shirt"}),
    )
    assert await shop.ids(q=q) == found


async def test_filters_hold_together_whatever_their_case(shop: Shop) -> None:
    await shop.put(
        product("a", "A", variant("A"), vendor="Acme", type="Bags", tags=("Summer", "new")),
        product("b", "B", variant("B"), vendor="ACME", type="Shirts", tags=("bags",)),
        product("c", "C", variant("C"), vendor="Other", type="Bags"),
    )
    assert await shop.ids(tag="SUMMER") == ["a"]
    assert await shop.ids(vendor="acme") == ["b", "a"]
    assert await shop.ids(category="bags") == ["c", "b", "a"]
    assert await shop.ids(category="bags", vendor="Acme", tag="new") == ["a"]
    assert await shop.ids(tag="nothing") == []


async def test_guests_see_published_products_and_staff_may_see_all(shop: Shop) -> None:
    await shop.put(product("a"), product("b", status="draft"), product("c", status="archived"))
    assert await shop.ids() == ["a"]
    assert await shop.ids(status="draft") == ["b"]
    assert await shop.ids(status=None) == ["c", "b", "a"]


async def test_options_price_and_stock_are_asked_of_one_variant(shop: Shop) -> None:
    await shop.put(
        product(
            "a",
            "A",
            variant("A-M-RED", "10.00", options={"Size": "M", "Color": "Red"}),
            variant("A-L-BLUE", "100.00", options={"Size": "L", "Color": "Blue"}),
        ),
        product("b", "B", variant("B-M-BLUE", "50.00", options={"Size": "M", "Color": "Blue"})),
        stock("A-M-RED", 0),
        stock("A-L-BLUE", 3),
        stock("B-M-BLUE", 1),
    )
    assert await shop.ids(options={"Size": "m"}) == ["b", "a"]
    assert await shop.ids(options={"Size": "M", "Color": "Blue"}) == ["b"]
    assert await shop.ids(options={"Size": "M"}, in_stock=True) == ["b"]
    assert await shop.ids(options={"Size": "M"}, in_stock=False) == ["a"]
    assert await shop.ids(price_min=Decimal(40), price_max=Decimal(60), currency="USD") == ["b"]
    assert await shop.ids(price_min=Decimal(40), currency="USD") == ["b", "a"]
    assert await shop.ids(options={"Size": "M"}, price_min=Decimal(40), currency="USD") == ["b"]
    assert await shop.ids(price_max=Decimal(10), currency="USD") == ["a"]
    assert await shop.ids(price_max=Decimal(10), currency="EUR") == []


async def test_stock_counts_as_it_is_when_asked(shop: Shop) -> None:
    await shop.put(
        product("tracked", "T", variant("T")),
        product("untracked", "U", variant("U", track_stock=False)),
        product("backorder", "B", variant("B", when_out="continue")),
        product("unknown", "N", variant("N")),
        stock("T", 1),
        stock("B", 0),
    )
    assert await shop.ids(in_stock=True) == ["untracked", "tracked", "backorder"]
    assert await shop.ids(in_stock=False) == ["unknown"]
    await shop.put(stock("T", 0, version=2))
    assert await shop.ids(in_stock=True) == ["untracked", "backorder"]
    page = await shop.view.find(ProductFilters())
    assert {item.product.id: item.in_stock for item in page.items} == {
        "tracked": False,
        "untracked": True,
        "backorder": True,
        "unknown": False,
    }


async def test_lists_are_sorted_by_age_title_and_price(shop: Shop) -> None:
    await shop.put(
        product("a", "Zebra", variant("A", prices={"USD": "9.00", "EUR": "30.00"}), created_at=NOON),
        product("b", "ähre", variant("B", prices={"USD": "10.00", "EUR": "20.00"}), created_at=NOON - timedelta(1)),
        product("c", "Apfel", variant("C", prices={"USD": "100.00"}), created_at=NOON + timedelta(1)),
    )
    assert await shop.ids(sort="newest") == ["c", "a", "b"]
    assert await shop.ids(sort="title") == ["b", "c", "a"]
    assert await shop.ids(sort="price", currency="USD") == ["a", "b", "c"]
    assert await shop.ids(sort="-price", currency="USD") == ["c", "b", "a"]
    assert await shop.ids(sort="price", currency="EUR") == ["b", "a"]


@pytest.mark.parametrize("sort", ["newest", "title", "price", "-price"])
async def test_pages_by_cursor_give_every_product_once_while_rows_come_and_go(shop: Shop, sort: Any) -> None:
    await shop.put(*(product(f"p{n:02d}", f"T{n // 3}", variant(f"S{n}", f"{n // 3}.00")) for n in range(20)))
    filters = ProductFilters(sort=sort, currency="USD")
    seen: list[str] = []
    cursor = None
    for page_number in range(10):
        page = await shop.view.find(filters, 3, cursor)
        seen += [item.product.id for item in page.items]
        cursor = page.next
        if page_number == 0:
            gone = seen[0]
            await shop.put(product(gone, "gone", status="archived", version=2))
        if cursor is None:
            break
    assert len(seen) == 20
    assert sorted(seen) == [f"p{n:02d}" for n in range(20)]


@pytest.mark.parametrize("cursor", ["", "x", "AAAA", "ü", "W10", "e30", "\0", "a" * 3000, "WyJuZXdlc3QiLDEsMl0"])
async def test_a_broken_cursor_is_told_in_a_sentence(shop: Shop, cursor: str) -> None:
    with pytest.raises(ValueError, match="The cursor is broken"):
        await shop.view.find(ProductFilters(), 3, cursor)


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
async def test_a_cursor_with_a_time_that_is_none_in_utc_is_broken(shop: Shop, time: str) -> None:
    place = b64encode(f'["{time}","x",false]'.encode()).decode()
    with pytest.raises(ValueError, match="The cursor is broken"):
        await shop.search.find(SearchQuery(cursor=place))


async def test_a_cursor_of_another_order_is_refused(shop: Shop) -> None:
    await shop.put(product("a"), product("b"))
    cursor = (await shop.view.find(ProductFilters(sort="title"), 1)).next
    with pytest.raises(ValueError, match=r"another order|broken"):
        await shop.view.find(ProductFilters(sort="newest"), 1, cursor)


async def test_a_cursor_of_a_list_with_other_filters_is_refused(shop: Shop) -> None:
    await shop.put(product("a"), product("b"))
    cursor = (await shop.view.find(ProductFilters(), 1)).next
    with pytest.raises(ValueError, match="other filters"):
        await shop.view.find(ProductFilters(status=None), 1, cursor)


@pytest.mark.parametrize("limit", [0, -1, 101])
async def test_a_limit_out_of_range_is_refused(shop: Shop, limit: int) -> None:
    with pytest.raises(ValueError, match="from 1 to 100"):
        await shop.view.find(ProductFilters(), limit)


@pytest.mark.parametrize(
    "filters",
    [
        {"q": "a\0"},
        {"tag": "\ud800"},
        {"vendor": "\0"},
        {"category": "\0"},
        {"options": {"Size": "\0"}},
        {"sort": "price"},
        {"price_min": Decimal(1)},
        {"price_min": Decimal("NaN"), "currency": "USD"},
        {"price_max": Decimal("1e999"), "currency": "USD"},
        {"sort": "price", "currency": "\0"},
    ],
)
async def test_filters_that_make_no_sense_are_told_in_a_sentence(shop: Shop, filters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        await shop.view.find(ProductFilters(**filters))


async def test_a_newer_version_replaces_all_of_it_and_an_older_one_nothing(shop: Shop) -> None:
    await shop.put(product("a", "Old", variant("OLD", options={"Size": "M"}), tags=("old",), version=2))
    await shop.put(product("a", "New", variant("NEW", prices={"EUR": "5.00"}), tags=("new",), version=3))
    assert await shop.ids(q="old") == []
    assert await shop.ids(tag="old") == []
    assert await shop.ids(options={"Size": "M"}) == []
    assert await shop.ids(sort="price", currency="USD") == []
    assert await shop.ids(sort="price", currency="EUR", tag="new", q="new") == ["a"]
    await shop.put(product("a", "Older", variant("OLDER"), version=1))
    assert await shop.ids(q="new") == ["a"]


async def test_a_sku_may_move_from_one_product_to_another(shop: Shop) -> None:
    await shop.put(product("a", "A", variant("S")))
    await shop.put(product("b", "B", variant("S")), product("a", "A", variant("T"), version=2), stock("S", 1))
    assert await shop.ids(in_stock=True) == ["b"]


FILL = """
insert into product_card (
    id, version, status, created_at, title, vendor, type, tags, categories, options, ranges, codes,
    in_stock, names, search
)
select 'p' || n, 1, case when n % 20 = 0 then 'draft' else 'published' end, now() - make_interval(mins => n),
    'title ' || md5(n::text), 'vendor ' || n % 200, 'type ' || n % 100, array['tag ' || n % 300, 'tag ' || n % 7],
    array['category' || n % 100], array['size=' || n % 50, 'color=' || n % 40], array['USD:' || n % 30],
    array['s' || n], n % 10 > 0,
    array_to_tsvector(array['word' || n % 500]), array_to_tsvector(array['word' || n % 500, 'name' || n])
from generate_series(1, 20000) n;
insert into product_body select 'p' || n, '{}', '{}' from generate_series(1, 20000) n;
insert into product_variant select 'p' || n, 's' || n, array['size=' || n % 50, 'color=' || n % 40],
    jsonb_build_object('USD', n % 1000), false, n % 10 > 0 from generate_series(1, 20000) n;
insert into product_price select 'USD', 'p' || n, n % 1000, n % 1000 from generate_series(1, 20000) n;
insert into stock_level select 's' || n, 1, n % 10 from generate_series(1, 20000) n;
analyze product_card; analyze product_body; analyze product_variant; analyze product_price; analyze stock_level;
"""


async def test_common_lists_read_by_index_at_twenty_thousand_products(database: PostgresDatabase, shop: Shop) -> None:
    await database.execute(FILL)
    asked: dict[str, dict[str, Any]] = {
        "newest": {},
        "title": {"sort": "title"},
        "cheapest": {"sort": "price", "currency": "USD"},
        "dearest": {"sort": "-price", "currency": "USD"},
        "word": {"text": "word17"},
        "prefix": {"text": "name1999"},
        "a word, the newest first": {"text": "word17", "sort": "newest"},
        "tag": {"tags": ("tag 250",)},
        "vendor": {"vendors": ("vendor 17",)},
        "category": {"category": "type 17"},
        "categories": {"categories": ("category17", "category18")},
        "options": {"options": {"size": ("17",)}},
        "options of one variant": {"options": {"size": ("17",), "color": ("17",)}},
        "price": {"price_min": Decimal(10), "price_max": Decimal(11), "currency": "USD"},
        "in stock": {"in_stock": True},
    }
    scanned = {}
    for name, filters in asked.items():
        query = SearchQuery(**filters)
        found = match(query.text, terms(query.text), {query.text: query.text}) if query.text else None
        sql, args = shop.search.statement(query, found)
        plan = "\n".join(row[0] for row in await database.fetch(f"explain {sql}", *args))
        if "Seq Scan on product" in plan:
            scanned[name] = plan
        assert len(await database.fetch(sql, *args)) > 1, name
    assert scanned == {}


async def test_a_list_of_categories_has_what_is_in_any_of_them(shop: Shop) -> None:
    await shop.put(
        product("a", "", variant("A"), categories=("knives", "gifts")),
        product("b", "", variant("B"), categories=("kitchen",)),
        product("c", "", variant("C"), type="kitchen"),
    )
    assert await shop.ids(category="kitchen", categories=("kitchen", "knives")) == ["b", "a"]
    assert await shop.ids(category="gifts", categories=("gifts",)) == ["a"]
    assert await shop.ids(category="kitchen") == ["c"], "no category has the name: it is a type"
    await shop.put(product("b", "", variant("B"), version=2))
    assert await shop.ids(category="kitchen", categories=("kitchen", "knives")) == ["a"]


async def test_a_page_goes_on_where_categories_come_below_meanwhile(shop: Shop) -> None:
    await shop.put(*(product(id, "", variant(id), categories=("kitchen",)) for id in "abc"))
    first = await shop.view.find(ProductFilters(category="kitchen", categories=("kitchen",)), 2)
    more = ProductFilters(category="kitchen", categories=("kitchen", "knives"))
    second = await shop.view.find(more, 2, first.next)
    assert [item.product.id for item in (*first.items, *second.items)] == ["c", "b", "a"]
