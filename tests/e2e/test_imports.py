"""Product files over HTTP: brought in, brought in again, bought from; and a large one within a small memory."""

import csv
import io
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.e2e.catalogue import catalogue
from tests.e2e.server import Server
from tests.e2e.shopper import STAFF, Shopper

pytestmark = pytest.mark.asyncio(loop_scope="module")

OURS = Path(__file__).parents[1] / "data"
THEIRS = Path(__file__).parents[3] / "shared" / "data"
REAL = ("apparel.csv", "home-and-garden.csv")
VARIANTS = 5_000
ROOM = 150 * 1024
"""KiB by which the server may grow during the large import; its caches are bounded, the file is not held."""


async def bring_in(shop: Shopper, text: bytes, query: str = "") -> Any:
    """Import a file and wait for the end of it; gives the finished import."""
    url = f"{shop.url}/api/v1/imports{query}"
    async with shop.session.post(url, data=text, headers={**STAFF, "Content-Type": "text/csv"}) as response:
        started = await response.json()
        assert (response.status, response.headers["Location"]) == (202, f"/api/v1/imports/{started['id']}")
    return await shop.until(f"/imports/{started['id']}", status="done")


async def test_our_own_file_goes_in_once_and_can_be_bought(shop: Shopper) -> None:
    text = (OURS / "odd-shapes.csv").read_bytes()
    dry = await bring_in(shop, text, "?currency=EUR&dry_run=true")
    assert (await shop.call("GET", "/products/linen-shirt")).status == 404
    first = await bring_in(shop, text, "?currency=EUR")
    assert (first["products"], first["variants"]) == (dry["products"], dry["variants"])
    assert first["products"] > 0
    assert first["unchanged"] == 0
    again = await bring_in(shop, text, "?currency=EUR")
    assert (again["products"], again["variants"], again["unchanged"]) == (0, 0, first["products"])
    assert again["refused"] == first["refused"]
    shirt = await shop.ok("GET", "/products/linen-shirt")
    assert shirt["variants"][0]["price"] == {"amount": "49.90", "currency": "EUR"}
    assert "<script" not in shirt["description"]
    assert await shop.level("LS-S-W") == (4, 0)


async def test_bad_rows_are_refused_with_their_lines_and_the_rest_goes_in(shop: Shopper) -> None:
    done = await bring_in(shop, (OURS / "bad-rows.csv").read_bytes(), "?currency=USD")
    assert 3 in {refused["line"] for refused in done["refused"]}
    assert all(refused["reason"] for refused in done["refused"])
    assert (await shop.ok("GET", "/products/last"))["title"] == "Last"
    assert (await shop.ok("GET", "/products/good"))["variants"][0]["sku"] == "G-S"


@pytest.mark.parametrize("name", REAL)
async def test_a_real_shops_file_goes_in_once_and_can_be_bought(shop: Shopper, name: str) -> None:
    if not (THEIRS / name).exists():
        pytest.skip(f"{THEIRS / name} is not here; it is not part of the project")
    text = (THEIRS / name).read_bytes()
    handles = {row["Handle"] for row in csv.DictReader(io.StringIO(text.decode("utf-8-sig")))}
    first = await bring_in(shop, text, "?currency=USD")
    assert (first["products"], first["refused"]) == (len(handles), [])
    again = await bring_in(shop, text, "?currency=USD")
    assert (again["products"], again["variants"], again["unchanged"]) == (0, 0, len(handles))
    bought = 0
    for handle in sorted(handles):
        product = await shop.ok("GET", f"/products/{handle}", headers=STAFF)
        variant = product["variants"][0]
        on_hand, _ = await shop.level(variant["sku"])
        if product["status"] == "published" and on_hand > 0:
            order = (await shop.order(await shop.filled_cart(variant["sku"]))).json
            assert (order["status"], order["payment_status"]) == ("open", "paid")
            assert order["totals"]["subtotal"] == variant["price"]
            await shop.until(f"/inventory/{variant['sku']}", on_hand=on_hand - 1, held=0)
            bought += 1
    assert bought > 0


async def test_a_large_file_goes_in_within_bounded_memory(
    shop: Shopper, running: Server, rows: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await bring_in(shop, catalogue(200, "warm"))
    before = resident(running.pid)
    done = await bring_in(shop, catalogue(VARIANTS, "large"))
    assert (done["variants"], done["refused"], done["unchanged"]) == (VARIANTS, [], 0)
    assert resident(running.pid) - before < ROOM
    stocked = await rows.fetchval("select count(*) from entity where kind = 'inventory' and id like 'LARGE-%'")
    assert stocked == VARIANTS
    order = (await shop.order(await shop.filled_cart(f"LARGE-{VARIANTS - 1}"))).json
    assert order["payment_status"] == "paid"


def resident(pid: int) -> int:
    """KiB of memory that a process holds."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("the memory of a process is read from /proc, which this system does not have")
    return int(next(line for line in status.read_text().splitlines() if line.startswith("VmRSS:")).split()[1])
