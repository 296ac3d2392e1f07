"""What every search engine must do; an adapter's test subclasses `SearchContract` and supplies the fixture `engine`.

Nothing here knows what the engine stands on. After writes the engine is refreshed, for those that show them later.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

import pytest

from ultramarket.messages.collection import Rule
from ultramarket.ports.search import (
    Availability,
    Chosen,
    FacetValue,
    Found,
    Search,
    SearchDocument,
    SearchQuery,
    SearchVariant,
    Suggestions,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Engine(Protocol):
    """A search engine with nothing in it, as a test uses it."""

    search: Search

    async def write(self, documents: Sequence[SearchDocument], levels: Sequence[Availability]) -> None:
        """Write in a transaction of their own."""
        ...

    async def refresh(self) -> None:
        """Wait until what was written is found."""
        ...


def variant(sku: str, price: str = "10.00", **fields: Any) -> SearchVariant:
    prices = {currency: Decimal(amount) for currency, amount in fields.pop("prices", {"USD": price}).items()}
    return SearchVariant(sku=sku, prices=prices, **fields)


def product(id: str, title: str | dict[str, str] = "", *variants: SearchVariant, **fields: Any) -> SearchDocument:
    plain: dict[str, Any] = {
        "version": 1,
        "handle": f"h-{id}",
        "status": "published",
        "title": {"en": title or id} if isinstance(title, str) else title,
        "created_at": NOON,
        "body": f"body of {id}",
    }
    if "description" in fields:
        fields["description"] = {"en": fields["description"]}
    return SearchDocument(id=id, variants=variants, **(plain | fields))


class Shelf:
    """The engine as the tests speak to it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def put(self, *written: SearchDocument | Availability) -> None:
        documents = [each for each in written if isinstance(each, SearchDocument)]
        await self._engine.write(documents, [each for each in written if isinstance(each, Availability)])
        await self._engine.refresh()

    async def find(self, text: str = "", **query: Any) -> Found:
        return await self._engine.search.find(SearchQuery(text=text, **query))

    async def ids(self, text: str = "", **query: Any) -> list[str]:
        return [hit.id for hit in (await self.find(text, **query)).hits]

    async def counts(self, *facets: str, text: str = "", **query: Any) -> dict[str, dict[str, int]]:
        found = await self.find(text, facets=facets, **query)
        return {facet: {value.value: value.count for value in values} for facet, values in found.facets.items()}

    async def pages(self, limit: int, text: str = "", **query: Any) -> list[list[str]]:
        pages, cursor = [], None
        while True:
            found = await self.find(text, limit=limit, cursor=cursor, **query)
            pages.append([hit.id for hit in found.hits])
            cursor = found.next
            if cursor is None:
                return pages

    async def suggest(self, text: str, **how: Any) -> Suggestions:
        return await self._engine.search.suggest(text, **how)


SHIRTS = (
    product(
        "oxford",
        "Oxford shirt",
        variant("OX-M", "40.00", options={"Size": "M", "Color": "Blue"}),
        variant("OX-L", "45.00", options={"Size": "L", "Color": "White"}),
        vendor="Acme",
        type="Shirts",
        tags=("summer", "cotton"),
        description="A shirt of heavy cotton for offices.",
    ),
    product(
        "polo",
        "Polo",
        variant("PO-M", "19.00", options={"Size": "M", "Color": "White"}),
        vendor="Acme",
        type="Shirts",
        tags=("summer",),
        description="Worn like a shirt, knitted like a jumper.",
    ),
    product(
        "boots",
        "Hiking boots",
        variant("BO-42", "120.00", options={"Size": "42"}, barcode="4006381333931"),
        vendor="Berg & Tal",
        type="Shoes",
        description="Cotton heavy laces, running on any path.",
    ),
)
STOCK = (Availability("OX-M", 1, 0), Availability("OX-L", 1, 5), Availability("PO-M", 1, 2))


class SearchContract:
    """The contract of a search engine."""

    @pytest.fixture
    def shelf(self, engine: Engine) -> Shelf:
        return Shelf(engine)

    # Words

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("boots", ["boots"]),
            ("BOO", ["boots"]),
            ("boot", ["boots"]),
            ("hike", ["boots"]),
            ("run path", ["boots"]),
            ("shirts of cotton", ["oxford"]),
            ('"heavy cotton"', ["oxford"]),
            ('"cotton heavy"', ["boots"]),
            ('"heavy cotton" boots', []),
            ('"cotton', ["oxford", "boots"]),
            ("berg tal", ["boots"]),
            ("blue", ["oxford"]),
            ("PO-M", ["polo"]),
            ("4006381333931", ["boots"]),
            ("400638", ["boots"]),
            ("zzz", []),
            ("!?", []),
        ],
    )
    async def test_words_phrases_beginnings_and_forms_are_found(
        self, shelf: Shelf, text: str, found: list[str]
    ) -> None:
        await shelf.put(*SHIRTS)
        assert await shelf.ids(text) == found

    async def test_words_are_found_whatever_their_accents_and_case(self, shelf: Shelf) -> None:
        await shelf.put(
            product("cup", "Café Crème"), product("hat", "Łódź hat", vendor="Ørsted"), product("mat", "Straßenmatte")
        )
        assert await shelf.ids("creme CAFE") == ["cup"]
        assert await shelf.ids("café") == ["cup"]
        assert await shelf.ids("lodz") == ["hat"]
        assert await shelf.ids("orsted") == ["hat"]
        assert await shelf.ids("strassenmatte") == ["mat"]

    async def test_words_have_the_forms_of_their_language(self, shelf: Shelf) -> None:
        await shelf.put(
            product("house", {"de": "Häuser aus Holz", "en": "Wooden homes"}),
            product("note", {"fr": "Cahiers lignés"}),
            product("other", {"tlh": "raQ"}),
        )
        assert await shelf.ids("haus", language="de") == ["house"]
        assert await shelf.ids("home", language="en") == ["house"]
        assert await shelf.ids("cahier", language="fr-CA") == ["note"]
        assert await shelf.ids("hausern", language="de") == ["house"]
        assert await shelf.ids("homing", language="en") == ["house"]
        assert await shelf.ids("homing", language="de") == []
        assert await shelf.ids("raq", language="tlh") == ["other"]

    async def test_words_that_tell_nothing_may_be_missing(self, shelf: Shelf) -> None:
        await shelf.put(product("mug", "Mug"), product("the", "The Who"))
        assert await shelf.ids("the mug") == ["mug"]
        assert await shelf.ids("the") == ["the"]

    @pytest.mark.parametrize("text", ["shrit", "shrt", "shirrt", "oxfrod shirt", "Oxford shitr"])
    async def test_words_that_are_spelled_wrong_are_found_where_nothing_has_them(self, shelf: Shelf, text: str) -> None:
        await shelf.put(*SHIRTS)
        assert (await shelf.ids(text))[0] == "oxford"

    async def test_typos_are_for_words_that_hardly_anything_has(self, shelf: Shelf) -> None:
        await shelf.put(*(product(f"p{n}", "Horse shoe") for n in range(3)), product("house", "House shoe"))
        assert await shelf.ids("horse") == ["p2", "p1", "p0"]
        assert await shelf.ids("hoarse") == ["p2", "p1", "p0"]
        assert await shelf.ids("xylophone") == []

    async def test_what_was_typed_comes_before_what_is_spelled_like_it(self, shelf: Shelf) -> None:
        later = NOON + timedelta(1)
        await shelf.put(
            product("right", "Lamp", description="Made by Hanssen"), product("near", "Hansen lamp", created_at=later)
        )
        assert await shelf.ids("hanssen") == ["right", "near"]

    # Order

    async def test_codes_come_first_then_titles_then_short_texts_then_descriptions(self, shelf: Shelf) -> None:
        later = NOON + timedelta(1)
        await shelf.put(
            product("description", "Thing", description="With a tote", created_at=later),
            product("tag", "Thing", tags=("tote",), created_at=later),
            product("beginning", "Totebag", created_at=later),
            product("title", "Tote", created_at=NOON),
            product("newer title", "Tote, new", created_at=later),
            product("sku", "Other", variant("TOTE"), created_at=NOON - timedelta(9)),
            product("barcode", "Other", variant("X", barcode="tote"), created_at=NOON - timedelta(10)),
        )
        assert await shelf.ids("tote") == ["sku", "barcode", "newer title", "title", "beginning", "tag", "description"]
        assert (await shelf.ids("tote", sort="newest"))[0] in ("newer title", "tag", "description", "beginning")

    async def test_hits_are_sorted_by_age_title_and_price(self, shelf: Shelf) -> None:
        await shelf.put(
            product("a", "Zebra", variant("A", prices={"USD": "9.00", "EUR": "30.00"})),
            product("b", "ähre", variant("B", prices={"USD": "10.00", "EUR": "20.00"}), created_at=NOON - timedelta(1)),
            product("c", "Apfel", variant("C", prices={"USD": "100.00"}), created_at=NOON + timedelta(1)),
        )
        assert await shelf.ids() == ["c", "a", "b"]
        assert await shelf.ids(sort="relevance") == ["c", "a", "b"]
        assert await shelf.ids(sort="title") == ["b", "c", "a"]
        assert await shelf.ids(sort="price", currency="USD") == ["a", "b", "c"]
        assert await shelf.ids(sort="-price", currency="USD") == ["c", "b", "a"]
        assert await shelf.ids(sort="price", currency="EUR") == ["b", "a"]

    @pytest.mark.parametrize("sort", ["relevance", "newest", "title", "price", "-price"])
    async def test_pages_give_every_hit_once_in_the_order_of_one_large_page(self, shelf: Shelf, sort: Any) -> None:
        await shelf.put(
            *(
                product(
                    f"p{n:02}", f"Lamp {n % 3}" if n % 2 else "Shade", variant(f"S{n}", f"{n % 4}.00"), tags=("lamp",)
                )
                for n in range(20)
            )
        )
        (whole,) = await shelf.pages(100, "lamp", sort=sort, currency="USD")
        assert sorted(whole) == [f"p{n:02}" for n in range(20)]
        pages = await shelf.pages(3, "lamp", sort=sort, currency="USD")
        assert [len(page) for page in pages] == [3, 3, 3, 3, 3, 3, 2]
        assert [id for page in pages for id in page] == whole

    async def test_pages_go_on_when_hits_come_and_go(self, shelf: Shelf) -> None:
        await shelf.put(*(product(f"p{n}", "Lamp") for n in range(6)))
        first = await shelf.find("lamp", limit=2)
        assert [hit.id for hit in first.hits] == ["p5", "p4"]
        await shelf.put(product("p4", "gone", version=2), product("p9", "Lamp", created_at=NOON + timedelta(1)))
        second = await shelf.find("lamp", limit=2, cursor=first.next)
        assert [hit.id for hit in second.hits] == ["p3", "p2"]

    async def test_pages_of_what_is_spelled_alike_go_on_alike(self, shelf: Shelf) -> None:
        await shelf.put(*(product(f"p{n}", "Lantern") for n in range(5)))
        assert await shelf.pages(2, "lnatern") == [["p4", "p3"], ["p2", "p1"], ["p0"]]

    @pytest.mark.parametrize("cursor", ["", "x", "AAAA", "ü", "W10", "e30", "\0", "a" * 3000])
    @pytest.mark.parametrize("text", ["", "lamp"])
    async def test_a_broken_cursor_is_told_in_a_sentence(self, shelf: Shelf, cursor: str, text: str) -> None:
        with pytest.raises(ValueError, match="The cursor is broken"):
            await shelf.find(text, cursor=cursor)

    # Filters

    async def test_filters_hold_together_and_any_value_of_one_will_do(self, shelf: Shelf) -> None:
        await shelf.put(
            product("a", vendor="Acme", type="Bags", tags=("Summer", "new"), categories=("c1", "c2")),
            product("b", vendor="ACME", type="Shirts", tags=("bags",), categories=("c3",)),
            product("c", vendor="Other", type="Bags"),
        )
        assert await shelf.ids(vendors=("acme",)) == ["b", "a"]
        assert await shelf.ids(vendors=("acme", "other")) == ["c", "b", "a"]
        assert await shelf.ids(types=("BAGS",), vendors=("acme", "other")) == ["c", "a"]
        assert await shelf.ids(tags=("summer", "bags")) == ["b", "a"]
        assert await shelf.ids(category="bags") == ["c", "b", "a"]
        assert await shelf.ids(categories=("c1", "c3")) == ["b", "a"]
        assert await shelf.ids(vendors=("nobody",)) == []

    async def test_what_a_collection_chooses_by_hand_or_by_rules_is_found(self, shelf: Shelf) -> None:
        await shelf.put(
            product("a", vendor="Acme", tags=("new",), categories=("c1",)),
            product("b", vendor="ACME"),
            product("c", vendor="Other"),
        )
        by_hand = Chosen(products=("a", "c", "none"))
        assert await shelf.ids(chosen=by_hand) == ["c", "a"]
        assert await shelf.ids(chosen=by_hand, sort="manual") == ["a", "c"]
        assert await shelf.ids(chosen=by_hand, categories=("c1",), tags=("new",)) == ["a"]
        acme = Rule(field="vendor", relation="is", value="acme")
        other = Rule(field="vendor", relation="is_not", value="acme")
        new = Rule(field="tag", relation="is", value="NEW")
        assert await shelf.ids(chosen=Chosen(rules=(acme,))) == ["b", "a"]
        assert await shelf.ids(chosen=Chosen(rules=(other,))) == ["c"]
        assert await shelf.ids(chosen=Chosen(rules=(acme, new))) == ["a"]
        assert await shelf.ids(chosen=Chosen(rules=(other, new), match="any")) == ["c", "a"]

    async def test_what_is_not_published_is_found_where_it_is_asked_for(self, shelf: Shelf) -> None:
        await shelf.put(product("a"), product("b", status="draft"), product("c", status="archived"))
        assert await shelf.ids() == ["a"]
        assert await shelf.ids(status="draft") == ["b"]
        assert await shelf.ids(status=None) == ["c", "b", "a"]

    async def test_options_price_and_stock_are_asked_of_one_variant(self, shelf: Shelf) -> None:
        await shelf.put(*SHIRTS, *STOCK)
        assert await shelf.ids(options={"size": ("m",)}) == ["polo", "oxford"]
        assert await shelf.ids(options={"Size": ("M", "42")}) == ["polo", "oxford", "boots"]
        assert await shelf.ids(options={"Size": ("M",), "Color": ("White",)}) == ["polo"]
        assert await shelf.ids(options={"Size": ("M",)}, in_stock=True) == ["polo"]
        assert await shelf.ids(options={"Size": ("M",)}, in_stock=False) == ["oxford"]
        money: dict[str, Any] = {"currency": "USD"}
        assert await shelf.ids(price_min=Decimal(41), price_max=Decimal(44), **money) == []
        assert await shelf.ids(price_min=Decimal(41), **money) == ["oxford", "boots"]
        assert await shelf.ids(price_max=Decimal(19), **money) == ["polo"]
        assert await shelf.ids(price_min=Decimal(41), options={"Size": ("M",)}, **money) == []
        assert await shelf.ids(price_max=Decimal(41), in_stock=True, **money) == ["polo"]
        assert await shelf.ids(price_max=Decimal(10), currency="EUR") == []

    async def test_stock_counts_as_it_is(self, shelf: Shelf) -> None:
        await shelf.put(
            product("tracked", "T", variant("T"), variant("T2")),
            product("always", "U", variant("U", always=True)),
            product("unknown", "N", variant("N")),
            Availability("T", 1, 1),
            Availability("T2", 1, 0),
            Availability("U", 1, 0),
        )
        assert await shelf.ids(in_stock=True) == ["tracked", "always"]
        assert await shelf.ids(in_stock=False) == ["unknown"]
        await shelf.put(Availability("T", 2, 0))
        assert await shelf.ids(in_stock=True) == ["always"]
        await shelf.put(Availability("T", 1, 5), Availability("T2", 2, 1))
        assert await shelf.ids(in_stock=True, options={}) == ["tracked", "always"]
        await shelf.put(Availability("T2", 3, 0))
        assert {hit.id: hit.in_stock for hit in (await shelf.find()).hits} == {
            "tracked": False,
            "always": True,
            "unknown": False,
        }

    async def test_stock_that_was_there_before_its_product_counts(self, shelf: Shelf) -> None:
        await shelf.put(Availability("S", 1, 1))
        await shelf.put(product("a", "A", variant("S", options={"Size": "M"})))
        assert await shelf.ids(in_stock=True) == ["a"]
        assert await shelf.ids(in_stock=True, options={"Size": ("M",)}) == ["a"]

    @pytest.mark.parametrize(
        "query",
        [
            {"text": "a\0"},
            {"tags": ("\ud800",)},
            {"vendors": ("\0",)},
            {"category": "\0"},
            {"categories": ("\0",)},
            {"options": {"Size": ("\0",)}},
            {"sort": "price"},
            {"price_min": Decimal(1)},
            {"price_min": Decimal("NaN"), "currency": "USD"},
            {"price_max": Decimal("1e999"), "currency": "USD"},
            {"sort": "price", "currency": "\0"},
            {"facets": ("price",)},
            {"facets": ("colour",)},
            {"facets": ("option.",)},
            {"facets": ("option.\0",)},
            {"facets": tuple(f"option.{n}" for n in range(21))},
        ],
    )
    async def test_what_makes_no_sense_is_told_in_a_sentence(self, shelf: Shelf, query: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"\.$"):
            await shelf.find(**query)

    # Facets

    async def test_facets_count_products_by_value_as_it_is_written(self, shelf: Shelf) -> None:
        await shelf.put(*SHIRTS, *STOCK, product("draft", vendor="Acme", status="draft"))
        assert await shelf.counts("vendor", "type", "tag", "option.size", "in_stock") == {
            "vendor": {"Acme": 2, "Berg & Tal": 1},
            "type": {"Shirts": 2, "Shoes": 1},
            "tag": {"summer": 2, "cotton": 1},
            "option.size": {"M": 2, "42": 1, "L": 1},
            "in_stock": {"true": 2, "false": 1},
        }

    async def test_values_that_differ_in_case_and_accents_are_one(self, shelf: Shelf) -> None:
        await shelf.put(product("a", vendor="Café", tags=("Neu", "NEU")), product("b", vendor="CAFE"))
        counted = await shelf.counts("vendor", "tag")
        assert [list(counts.values()) for counts in counted.values()] == [[2], [1]]
        assert set(counted["vendor"]) <= {"Café", "CAFE"}

    async def test_a_facet_is_counted_without_its_own_filter(self, shelf: Shelf) -> None:
        await shelf.put(*SHIRTS, *STOCK)
        assert await shelf.counts("vendor", "type", vendors=("acme",)) == {
            "vendor": {"Acme": 2, "Berg & Tal": 1},
            "type": {"Shirts": 2},
        }
        assert await shelf.counts("option.Size", "option.Color", options={"Size": ("L",)}) == {
            "option.Size": {"M": 2, "42": 1, "L": 1},
            "option.Color": {"White": 1},
        }
        assert await shelf.counts("in_stock", "option.Size", in_stock=True) == {
            "in_stock": {"true": 2, "false": 1},
            "option.Size": {"L": 1, "M": 1},
        }
        assert await shelf.counts("vendor", "tag", text="cotton", tags=("summer",)) == {
            "vendor": {"Acme": 1},
            "tag": {"summer": 1, "cotton": 1},
        }

    async def test_facets_of_variants_are_counted_over_those_that_are_asked_for(self, shelf: Shelf) -> None:
        await shelf.put(*SHIRTS, *STOCK)
        assert await shelf.counts("option.Color", "in_stock", options={"Size": ("M",)}) == {
            "option.Color": {"Blue": 1, "White": 1},
            "in_stock": {"true": 1, "false": 1},
        }
        assert await shelf.counts("option.Size", "price", price_min=Decimal(42), currency="USD") == {
            "option.Size": {"42": 1, "L": 1},
            "price": {"10-20": 1, "20-50": 1, "100-200": 1},
        }
        assert await shelf.counts("price", options={"Color": ("White",)}, currency="USD") == {
            "price": {"10-20": 1, "20-50": 1}
        }

    async def test_price_ranges_say_where_they_begin_and_end(self, shelf: Shelf) -> None:
        prices = ("0.00", "9.99", "10.00", "19.99", "20.00", "4e13")
        await shelf.put(*(product(f"p{n}", "P", variant(f"S{n}", price)) for n, price in enumerate(prices)))
        found = await shelf.find(facets=("price",), currency="USD")
        assert found.facets["price"] == (
            FacetValue(value="0-0.01", count=1, min=Decimal(0), below=Decimal("0.01")),
            FacetValue(value="5-10", count=1, min=Decimal(5), below=Decimal(10)),
            FacetValue(value="10-20", count=2, min=Decimal(10), below=Decimal(20)),
            FacetValue(value="20-50", count=1, min=Decimal(20), below=Decimal(50)),
            FacetValue(value="5000000000000-", count=1, min=Decimal(5_000_000_000_000), below=None),
        )

    async def test_facets_of_nothing_are_empty(self, shelf: Shelf) -> None:
        assert await shelf.counts("vendor", "option.Size") == {"vendor": {}, "option.Size": {}}
        assert await shelf.counts("vendor", text="!?") == {"vendor": {}}

    async def test_facets_have_the_values_that_most_products_have(self, shelf: Shelf) -> None:
        await shelf.put(*(product(f"p{n}", tags=(f"t{n:03}", "all")) for n in range(105)))
        found = (await shelf.counts("tag"))["tag"]
        assert len(found) == 100
        assert next(iter(found.items())) == ("all", 105)

    # Highlights

    async def test_highlights_show_where_the_words_are(self, shelf: Shelf) -> None:
        await shelf.put(
            product("a", "Café <b>lamps</b>", description="x " * 60 + "A lamp & a café, " + "y " * 60),
            product("b", "Lamp"),
        )
        found = await shelf.find("cafe lamp", highlight=True)
        assert [hit.id for hit in found.hits] == ["a"]
        marks = found.hits[0].highlights
        assert marks["title"] == "<mark>Café</mark> &lt;b&gt;<mark>lamps</mark>&lt;/b&gt;"
        assert "x A <mark>lamp</mark> &amp; a <mark>café</mark>, y" in marks["description"]
        assert marks["description"].startswith("… x")
        assert marks["description"].endswith("y …")
        assert len(marks["description"]) < 200
        assert (await shelf.find("cafe lamp")).hits[0].highlights == {}
        assert (await shelf.find(highlight=True)).hits[0].highlights == {}

    async def test_highlights_show_what_is_spelled_alike(self, shelf: Shelf) -> None:
        await shelf.put(product("a", "Desk Lantern"))
        assert (await shelf.find("lnatern", highlight=True)).hits[0].highlights == {
            "title": "Desk <mark>Lantern</mark>"
        }

    # Suggestions

    async def test_suggestions_are_products_and_texts_that_find_some(self, shelf: Shelf) -> None:
        await shelf.put(*SHIRTS, product("secret", "Shirtdress", status="draft"), product("cup", "Café crème"))
        found = await shelf.suggest("shi")
        assert [hit.id for hit in found.hits] == ["oxford", "polo"]
        assert found.completions == ("shirt", "shirts")
        assert (await shelf.suggest("shi", limit=1)).completions == ("shirt",)
        assert (await shelf.suggest("Oxford sh")).completions == ("oxford shirt", "oxford shirts")
        assert (await shelf.suggest("boots sh")).completions == ("boots shoes",)
        assert (await shelf.suggest("cafe cr")).completions == ("cafe crème",)
        assert (await shelf.suggest("shirt ")).completions == ()
        assert (await shelf.suggest("zz")) == Suggestions()
        assert (await shelf.suggest("  ")) == Suggestions()

    async def test_a_text_that_is_none_has_no_suggestions(self, shelf: Shelf) -> None:
        with pytest.raises(ValueError, match="The filter q"):
            await shelf.suggest("a\0")

    # Writes

    async def test_a_newer_version_replaces_all_of_it_and_an_older_one_nothing(self, shelf: Shelf) -> None:
        await shelf.put(product("a", "Old", variant("OLD", options={"Size": "M"}), tags=("old",), version=2))
        await shelf.put(
            product("a", "New", variant("NEW", prices={"EUR": "5.00"}), tags=("new",), version=3, body="b3")
        )
        assert await shelf.ids("old") == []
        assert await shelf.ids(tags=("old",)) == []
        assert await shelf.ids(options={"Size": ("M",)}) == []
        assert await shelf.ids(sort="price", currency="USD") == []
        assert await shelf.ids("new", sort="price", currency="EUR", tags=("new",)) == ["a"]
        await shelf.put(product("a", "Older", variant("OLDER"), version=1))
        assert [hit.body for hit in (await shelf.find("new")).hits] == ["b3"]
        assert (await shelf.counts("tag")) == {"tag": {"new": 1}}

    async def test_a_sku_may_move_from_one_product_to_another(self, shelf: Shelf) -> None:
        await shelf.put(product("a", "A", variant("S")))
        await shelf.put(product("b", "B", variant("S")), product("a", "A", variant("T"), version=2))
        await shelf.put(Availability("S", 1, 1))
        assert await shelf.ids(in_stock=True) == ["b"]

    async def test_texts_of_any_sort_are_taken(self, shelf: Shelf) -> None:
        long = " ".join(f"word{n}" for n in range(3_000))
        await shelf.put(
            product("a", "'\\ \" :*& | ! <->", description=long, vendor="%_", tags=("", "'")),
            product("b", "東京 タワー", variant("x" * 300)),
            product("c", {}),
        )
        assert await shelf.ids("word1999") == ["a"]
        assert await shelf.ids("東京") == ["b"]
        assert await shelf.ids("x" * 300) == ["b"]
        assert await shelf.ids("h-c") == ["c"]
        assert await shelf.counts("vendor") == {"vendor": {"%_": 1}}
