"""A shop as its staff and buyers live with it: filled from files, browsed, searched, sold out, rebuilt, moved."""

import asyncio
import csv
import io
from collections import Counter
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from tests.e2e.commands import END_SECONDS, run, told
from tests.e2e.flash_sale import PIECES, REFUSED, SKU, SOLD, sell
from tests.e2e.live import Live, live
from tests.e2e.server import Server
from tests.e2e.shopper import POLL_SECONDS, STAFF, PatientShopper, Shopper, shopper

pytestmark = pytest.mark.asyncio(loop_scope="module")

THEIRS = Path(__file__).parents[3] / "shared" / "data"
FILES = tuple(path for path in (THEIRS / "apparel.csv", THEIRS / "home-and-garden.csv") if path.exists())
"""Files of real shops, where they are at hand; the demo catalogue is always there."""
DEMO_PRODUCTS = 63
VIEWS = ("products", "orders", "reviews", "redirects", "collections")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A shop with the demo catalogue and the products of the files."""
    async with Server(tmp_path_factory.mktemp("storefront") / "data", "up", "--demo") as server:
        for path in FILES:
            done = await told(server, "import", "products", str(path), "--url", server.url)
            assert (done["products"], done["refused_total"]) == (20, 0)
        yield server


async def written(shop: Shopper, method: str, path: str, body: Any) -> tuple[Any, dict[str, str]]:
    """A write by staff; gives what it shows, and the header that makes a list wait for it."""
    answer = await shop.call(method, path, body, headers=STAFF)
    assert 200 <= answer.status < 300, answer.body
    return answer.json, {"Prefer": f"consistency={answer.headers['X-Consistency']}"}


async def found(shop: Shopper, **query: str) -> list[Any]:
    """Every product that a query lists, page by page."""
    page = await shop.ok("GET", f"/products?{urlencode({**query, 'limit': 20})}")
    items: list[Any] = page["items"]
    while page["next"] is not None:
        page = await shop.ok("GET", f"/products?{urlencode({**query, 'limit': 20, 'cursor': page['next']})}")
        items += page["items"]
    return items


def handles(items: list[Any]) -> set[str]:
    return {item["handle"] for item in items}


async def test_a_buyer_browses_by_category_facet_and_search(shop: Shopper) -> None:
    goods = await found(shop)
    assert len(goods) == len(handles(goods)) == DEMO_PRODUCTS + 20 * len(FILES)
    kitchen = [item for item in goods if item["type"] == "Kitchen"]
    await written(shop, "POST", "/categories", {"title": "At home"})
    await written(shop, "POST", "/categories", {"title": "For cooks", "parent": "at-home"})
    for item in kitchen:
        _, seen = await written(shop, "PATCH", f"/products/{item['id']}", {"categories": ["for-cooks"]})
        await shop.ok("GET", "/products?limit=1", headers=seen)
    for category in ("for-cooks", "at-home"):
        assert handles(await found(shop, category=category)) == handles(kitchen)

    facets = (await shop.ok("GET", "/products?category=at-home&facets=vendor,in_stock"))["facets"]
    vendors = {value["value"]: value["count"] for value in facets["vendor"]}
    assert vendors == Counter(item["vendor"] for item in kitchen)
    for vendor, count in vendors.items():
        assert len(await found(shop, category="at-home", vendor=vendor)) == count
    for value in facets["in_stock"]:
        assert len(await found(shop, category="at-home", in_stock=value["value"])) == value["count"]


@pytest.mark.parametrize(
    ("text", "handle"),
    [
        ("skillet", "cast-iron-skillet"),
        ("skilet", "cast-iron-skillet"),
        ('"flaxseed oil"', "cast-iron-skillet"),
        ("enam mug", "enamel-mug"),
        *([("varsity", "classic-varsity-top"), ("trowels", "gardening-hand-trowel")] if FILES else []),
    ],
)
async def test_a_buyer_finds_by_words_phrases_beginnings_and_misspelt_ones(
    shop: Shopper, text: str, handle: str
) -> None:
    items = await found(shop, q=text)
    assert items[0]["handle"] == handle
    assert len(items) < DEMO_PRODUCTS


async def test_while_a_flash_sale_runs_its_stock_is_followed_handles_change_and_every_view_is_rebuilt(
    running: Server,
) -> None:
    async with shopper(running.url, PatientShopper) as shop, live(running) as ada:
        levels = asyncio.create_task(followed(shop, ada))
        sale = asyncio.create_task(sell(shop))
        moves = asyncio.create_task(moved(shop, until=sale))
        rebuilt = [await told(running, "rebuild", view) for view in VIEWS]
        purchases = await sale
        assert Counter(purchase.outcome for purchase in purchases) == {SOLD: PIECES, REFUSED: len(purchases) - PIECES}
        told_levels = await levels
        assert all(0 <= level["available"] <= PIECES for level in told_levels)
        versions = [level["version"] for level in told_levels]
        assert versions == sorted(set(versions))
        assert await moves > 0
    assert [done["parked"] for done in rebuilt] == [0] * len(VIEWS)
    async with shopper(running.url) as shop:
        orders = await shop.ok("GET", "/orders?limit=1", headers=STAFF)
        assert orders["items"]
        assert not [item for item in await found(shop, in_stock="true") if item["handle"] == "goods-flash"]


async def followed(shop: Shopper, ada: Live) -> list[Any]:
    """What a buyer is told of the shelf until nothing is left on it."""
    async with asyncio.timeout(END_SECONDS):
        while (await shop.call("GET", f"/inventory/{SKU}")).status != HTTPStatus.OK:  # noqa: ASYNC110 - others bring it in
            await asyncio.sleep(POLL_SECONDS)
    await ada.subscribe(f"inventory:{SKU}")
    levels = [(await ada.next())["data"]]
    while levels[-1]["on_hand"] or not any(level["on_hand"] for level in levels):
        levels.append((await ada.next())["data"])
    return levels


async def moved(shop: Shopper, *, until: "asyncio.Future[Any]") -> int:
    """Staff rename a product again and again, and whoever has an old address is led on; gives how often."""
    product = await shop.ok("GET", "/products/enamel-mug")
    number = 0
    while not until.done():
        number += 1
        _, seen = await written(shop, "PATCH", f"/products/{product['id']}", {"handle": f"enamel-mug-{number}"})
        await shop.ok("GET", "/products?limit=1", headers=seen)
        for old in ("enamel-mug", f"enamel-mug-{number - 1}" if number > 1 else "enamel-mug"):
            answer = await shop.session.get(f"{shop.url}/api/v1/products/{old}", allow_redirects=False)
            assert (answer.status, answer.headers.get("Location")) == (308, f"/api/v1/products/enamel-mug-{number}")
    return number


async def test_what_is_exported_and_imported_is_the_same_catalogue(running: Server, tmp_path: Path) -> None:
    file, copy = tmp_path / "catalogue.csv", tmp_path / "copy.csv"
    await run(running, "export", "products", str(file), "--url", running.url)
    again = await told(running, "import", "products", str(file), "--url", running.url)
    assert (again["products"], again["refused"]) == (0, [])
    async with Server(tmp_path / "other") as other:
        done = await told(other, "import", "products", str(file), "--url", other.url)
        assert (done["products"], done["refused"]) == (again["unchanged"], [])
        await run(other, "export", "products", str(copy), "--url", other.url)
    assert products(copy) == products(file)


def products(file: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of each product."""
    rows: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader(io.StringIO(file.read_text("utf-8"))):
        rows.setdefault(row["Handle"], []).append(row)
    return rows
