"""Importer: a file becomes products and stock, what can't go in is said with its line, and a repeat changes nothing."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid5

import msgspec
import pytest

from actors.importer import AT_ONCE, ATTEMPTS, PRODUCTS, Importer
from actors.inventory import Inventory
from actors.product import Product
from actors.product_import import Import
from tests.actors.harness import Entity
from ultramarket.domain.money import Money
from ultramarket.errors import Rejection, UltraMarketError, Unavailable
from ultramarket.messages.inventory import OpenStock
from ultramarket.messages.product import CreateProduct, PutProduct, Variant
from ultramarket.messages.product_import import (
    DropUpload,
    FinishImport,
    ImportCounts,
    RefusedRow,
    ReportImport,
    RunImport,
    StartImport,
)
from ultramarket.ports.asking import Answer

HEADER = (
    "Handle,Title,Body (HTML),Option1 Name,Option1 Value,Variant SKU,Variant Inventory Qty,Variant Price,"
    "Variant Compare At Price,Image Src,Image Alt Text\n"
)
TEE = (
    "tee,Tee,<p>Soft</p>,Size,S,TEE-S,3,12.90,15.00,https://example.com/tee.jpg,A tee\n"
    "tee,,,,L,TEE-L,,14.90,,,\n"
    "tee,,,,,,,,,https://example.com/back.jpg,\n"
)
MUG = "mug,Mug,,Title,Default Title,MUG,8,8.00,,,\n"


class Shop:
    """The actors that an import asks, in memory, with the claims that the runtime would hold."""

    def __init__(self) -> None:
        self.entities: dict[tuple[str, str], Entity] = {}
        self.claims: dict[tuple[str, str], str] = {}
        self.asked: Counter[str] = Counter()
        self.busy: Counter[str] = Counter()
        self.stopping = False
        self.reports: list[ImportCounts] = []
        self.in_flight = self.most_in_flight = 0

    async def ask(self, kind: str, id: str, command: Any, *, trace: str) -> Answer:
        assert trace == "job"
        self.asked[type(command).__name__] += 1
        self._maybe_busy(type(command).__name__)
        if isinstance(command, ReportImport):
            self.reports.append(command.counts)
        self.in_flight += 1
        self.most_in_flight = max(self.in_flight, self.most_in_flight)
        await asyncio.sleep(0)
        self.in_flight -= 1
        return self.tell(kind, id, command)

    def tell(self, kind: str, id: str, command: Any) -> Answer:
        actors = {"product": Product, "inventory": Inventory, "import": Import}
        entity = self.entities.setdefault((kind, id), Entity(actors[kind](), id=id))
        if isinstance(command, PutProduct):
            wanted = [("sku", variant.sku) for variant in command.product.variants]
            if any(self.claims.get(claim, id) != id for claim in wanted):
                return Answer(rejection=Rejection("taken", "The SKU belongs to another product."))
        outcome = entity.when(command)
        for claim in outcome.claims:
            self.claims[claim.namespace, claim.value] = id
        return Answer(value=outcome.reply, rejection=outcome.rejection, version=entity.version)

    async def owner(self, namespace: str, value: str) -> str | None:
        self._maybe_busy("owner")
        return self.claims.get((namespace, value))

    def _maybe_busy(self, what: str) -> None:
        if self.stopping:
            raise Unavailable("shutting_down", "stopping")
        if self.busy[what] > 0:
            self.busy[what] -= 1
            raise Unavailable("mailbox_full", "busy")

    def product(self, handle: str) -> CreateProduct:
        return self.entities["product", str(uuid5(PRODUCTS, handle))].state.product

    def on_hand(self, sku: str) -> int | None:
        entity = self.entities.get(("inventory", sku))
        return entity.shown().on_hand if entity and entity.state else None


class Files:
    """Uploads in memory."""

    def __init__(self, text: str = "", *, error: Exception | None = None, size: int = 7) -> None:
        self.kept = {"job": text.encode()}
        self.error = error
        self.size = size

    async def read(self, id: str) -> AsyncIterator[bytes]:
        data = self.kept[id]
        for start in range(0, len(data), self.size):
            yield data[start : start + self.size]
        if self.error:
            raise self.error

    async def drop(self, id: str) -> None:
        self.kept.pop(id, None)


class Pauses(list[float]):
    """Waits without waiting."""

    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


async def run(
    shop: Shop,
    files: Files,
    *,
    dry_run: bool = False,
    clock: Callable[[], float] = lambda: 0.0,
    sleep: Pauses | None = None,
) -> FinishImport:
    importer = Importer(shop, files, "de", clock=clock, sleep=Pauses() if sleep is None else sleep)
    (send,) = await importer.work("job", RunImport(currency="EUR", dry_run=dry_run), "message")
    assert (send.kind, send.id) == ("import", "job")
    return send.command


async def test_a_file_becomes_products_and_stock() -> None:
    shop = Shop()
    finish = await run(shop, Files(HEADER + TEE + MUG))
    assert finish == FinishImport(counts=ImportCounts(rows=4, products=2, variants=3))
    tee = shop.product("tee")
    assert (tee.title, tee.description, tee.status) == ({"de": "Tee"}, {"de": "<p>Soft</p>"}, "published")
    assert [(medium.url, medium.alt) for medium in tee.media] == [
        ("https://example.com/tee.jpg", {"de": "A tee"}),
        ("https://example.com/back.jpg", {}),
    ]
    assert tee.variants[0] == Variant(
        sku="TEE-S",
        title={"de": "S"},
        options={"Size": "S"},
        prices=(Money(1290, "EUR"),),
        compare_at=(Money(1500, "EUR"),),
    )
    assert shop.product("mug").variants == (Variant(sku="MUG", prices=(Money(800, "EUR"),)),)
    assert [shop.on_hand(sku) for sku in ("TEE-S", "TEE-L", "MUG")] == [3, None, 8]


async def test_the_same_file_again_changes_nothing() -> None:
    shop = Shop()
    await run(shop, Files(HEADER + TEE + MUG))
    versions = {key: entity.version for key, entity in shop.entities.items()}
    finish = await run(shop, Files(HEADER + TEE + MUG))
    assert finish == FinishImport(counts=ImportCounts(rows=4, unchanged=2))
    assert {key: entity.version for key, entity in shop.entities.items()} == versions


async def test_a_product_is_found_by_its_handle_whoever_made_it() -> None:
    shop = Shop()
    shop.tell("product", "by hand", CreateProduct(handle="mug", title={"en": "Cup"}, variants=()))
    await run(shop, Files(HEADER + MUG))
    product = shop.entities["product", "by hand"].state.product
    assert (product.title, [variant.sku for variant in product.variants]) == ({"en": "Cup", "de": "Mug"}, ["MUG"])


async def test_what_can_not_go_in_is_said_with_its_line_and_the_rest_goes_in() -> None:
    shop = Shop()
    shop.tell("product", "other", CreateProduct(handle="o", title={"en": "O"}, variants=()))
    shop.claims["sku", "TEE-L"] = "other"
    finish = await run(shop, Files(HEADER + TEE + "cap,Cap,,,,CAP,1,free,,,\n" + MUG))
    assert finish.counts.refused_total == 4
    assert [row.line for row in finish.counts.refused] == [2, 3, 4, 5]
    assert finish.counts.refused[0].reason == "The SKU belongs to another product."
    assert (finish.counts.rows, finish.counts.products, finish.failure) == (5, 1, "")
    assert shop.on_hand("MUG") == 8


async def test_a_fault_of_one_variant_is_the_reason_at_its_line() -> None:
    heavy = HEADER.replace("Image Src", "Variant Grams").replace(",Image Alt Text", "")
    finish = await run(Shop(), Files(heavy + "tee,Tee,,Size,S,TEE-S,1,1.00,,5\ntee,,,,L,TEE-L,1,1.00,,99999999\n"))
    assert finish.counts.refused_total == 2
    whole, own = finish.counts.refused
    assert (whole.line, own.line) == (2, 3)
    assert own.reason == "a weight is 0 to 10000000 grams"


async def test_each_row_of_a_refused_product_is_refused_once_pictures_and_rows_refused_before_too() -> None:
    heavy = HEADER.replace("Image Alt Text", "Variant Grams")
    rows = "tee,Tee,,Size,S,TEE-S,1,free,,,\ntee,,,,M,TEE-M,1,1.00,,,99999999\ntee,,,,,,,,,/tee.jpg,\n"
    finish = await run(Shop(), Files(heavy + rows))
    assert (finish.counts.rows, finish.counts.refused_total) == (3, 3)
    assert [row.line for row in finish.counts.refused] == [2, 3, 4]


async def test_a_first_count_that_is_refused_is_said_with_its_line() -> None:
    shop = Shop()

    def tell(kind: str, id: str, command: Any) -> Answer:
        if isinstance(command, OpenStock):
            return Answer(rejection=Rejection("invalid", "too many", 422))
        return Shop.tell(shop, kind, id, command)

    shop.tell = tell  # type: ignore[method-assign]  # one actor that refuses
    finish = await run(shop, Files(HEADER + MUG))
    assert finish.counts.refused == (RefusedRow(2, "too many"),)
    assert finish.counts.products == 1


async def test_at_most_a_thousand_refused_rows_are_listed() -> None:
    rows = "".join(f"cap-{n},Cap,,,,,,free,,,\n" for n in range(1_010))
    finish = await run(Shop(), Files(HEADER + rows, size=100_000))
    assert (len(finish.counts.refused), finish.counts.rows) == (1_000, 1_010)
    assert finish.counts.refused_total >= 1_010


async def test_what_is_said_of_an_import_fits_into_a_message() -> None:
    long = "x" * 1_500
    columns = "".join(f",{'c' * 90}{n}" for n in range(200))
    rows = "".join(f"cap-{n},Cap,,Size,S,\N{SNOWMAN} {n} {long},,1.00,,,\n" for n in range(1_000))
    finish = await run(Shop(), Files(HEADER.strip() + columns + "\n" + rows, size=100_000))
    assert finish.counts.refused_total >= 1_000
    assert len(finish.counts.refused) <= 1_000
    assert [len(note) for note in finish.counts.notes] == [1_000]
    assert finish.counts.notes[0].endswith("…")
    assert len(msgspec.json.encode(finish)) < 220_000


async def test_a_dry_run_says_what_would_go_in_and_writes_nothing() -> None:
    shop = Shop()
    shop.claims["sku", "MUG"] = "other"
    finish = await run(
        shop, Files(HEADER + TEE + MUG + "tee-2,Tee 2,,Title,Default Title,TEE-L,1,1.00,,,\n"), dry_run=True
    )
    assert finish.counts.refused == (
        RefusedRow(5, "the SKU 'MUG' belongs to another product"),
        RefusedRow(6, "the SKU 'TEE-L' was used in line 3 for another product"),
    )
    assert finish.counts.products == 1
    assert (shop.entities.keys(), shop.asked.keys()) == ({("import", "job")}, {"ReportImport"})


async def test_a_dry_run_leaves_the_skus_of_a_refused_product_to_others() -> None:
    header = HEADER.replace("Image Src", "Variant Grams").replace(",Image Alt Text", "")
    rows = "tee,Tee,,,,A,1,1.00,,99999999\nmug,Mug,,,,A,1,1.00,,5\n"
    planned = await run(Shop(), Files(header + rows), dry_run=True)
    done = await run(Shop(), Files(header + rows))
    assert planned.counts == done.counts
    assert [row.line for row in done.counts.refused] == [2]


async def test_a_dry_run_refuses_what_a_product_would() -> None:
    header = HEADER.replace("Image Src", "Variant Grams").replace(",Image Alt Text", "")
    finish = await run(Shop(), Files(header + "tee,Tee,,,,TEE,1,1.00,,99999999\n"), dry_run=True)
    assert finish.counts.refused == (RefusedRow(2, "a weight is 0 to 10000000 grams"),)
    assert finish.counts.products == 0


async def test_a_file_that_is_none_is_a_failure_with_its_reason() -> None:
    finish = await run(Shop(), Files("price\n1\n"))
    assert "Handle" in finish.failure
    assert finish.counts.products == 0


async def test_an_upload_that_breaks_off_keeps_what_went_in() -> None:
    finish = await run(Shop(), Files(HEADER + MUG + TEE, error=UltraMarketError("the upload is gone")))
    assert finish.failure == "the upload is gone"
    assert finish.counts.products == 1


async def test_a_busy_platform_is_asked_again_with_growing_pauses() -> None:
    shop = Shop()
    shop.busy.update({"PutProduct": 3, "OpenStock": 1, "owner": 1})
    pauses = Pauses()
    finish = await run(shop, Files(HEADER + MUG), sleep=pauses)
    assert finish.counts.products == 1
    assert pauses == [0.1, 0.1, 0.2, 0.4, 0.1]


async def test_a_platform_that_stops_ends_the_attempt_at_once() -> None:
    shop = Shop()
    shop.stopping = True
    pauses = Pauses()
    with pytest.raises(Unavailable, match="stopping"):
        await run(shop, Files(HEADER + MUG), sleep=pauses)
    assert pauses == []


async def test_a_platform_that_stays_busy_ends_the_attempt() -> None:
    shop = Shop()
    shop.busy.update({"PutProduct": 1_000})
    pauses = Pauses()
    with pytest.raises(Unavailable):
        await run(shop, Files(HEADER + MUG), sleep=pauses)
    assert shop.asked["PutProduct"] == ATTEMPTS
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]
    with pytest.raises(Unavailable):
        await run(Shop(), Files(HEADER, error=Unavailable("database_unavailable", "gone")))


async def test_progress_is_reported_at_once_then_at_most_once_a_second_and_need_not_arrive() -> None:
    shop = Shop()
    shop.tell("import", "job", StartImport(currency="EUR"))
    shop.busy.update({"ReportImport": 1})
    ticks = iter(n * 0.25 for n in range(100_000))
    rows = "".join(f"mug-{n},Mug,,Title,Default Title,MUG-{n},,8.00,,,\n" for n in range(40))
    finish = await run(shop, Files(HEADER + rows, size=100_000), clock=lambda: next(ticks))
    assert finish.counts.products == 40
    assert shop.asked["ReportImport"] == 11
    assert len(shop.reports) == 10
    products = [counts.products for counts in shop.reports]
    assert products == sorted(products)


async def test_few_products_are_on_their_way_at_once() -> None:
    shop = Shop()
    rows = "".join(f"mug-{n},Mug,,Title,Default Title,MUG-{n},1,8.00,,,\n" for n in range(300))
    finish = await run(shop, Files(HEADER + rows, size=100_000))
    assert finish.counts.products == 300
    assert 1 < shop.most_in_flight <= AT_ONCE


async def test_the_file_of_an_import_that_ended_is_dropped() -> None:
    files = Files(HEADER)
    assert await Importer(Shop(), files).work("job", DropUpload(), "message") == ()
    assert files.kept == {}
    assert await Importer(Shop(), files).work("job", DropUpload(), "message") == ()
