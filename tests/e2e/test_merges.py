"""Merges of carts on a real server: each line ends up in one cart, at once, repeated, and after kill -9."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.e2e.server import Server
from tests.e2e.shopper import Answer, Shopper, shopper
from tests.faults.invariants import log_faults

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def cart_with(shop: Shopper, **lines: int) -> str:
    cart = await shop.ok("POST", "/carts", {})
    for sku, quantity in lines.items():
        await shop.ok("POST", f"/carts/{cart['id']}/lines", {"sku": sku, "quantity": quantity})
    return str(cart["id"])


async def merge(shop: Shopper, target: str, source: str, key: str | None = None) -> Answer:
    return await shop.call("POST", f"/carts/{target}/merge", {"from": source}, key=key)


async def held(shop: Shopper, *carts: str) -> Counter[str]:
    """How many pieces of each SKU these carts hold together."""
    found: Counter[str] = Counter()
    for id in carts:
        for line in (await shop.ok("GET", f"/carts/{id}"))["lines"]:
            found[line["sku"]] += line["quantity"]
    return found


async def test_one_cart_merged_into_two_at_once_ends_up_in_one_of_them(
    shop: Shopper, rows: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    for sku in ("MERGE-A", "MERGE-B"):
        await shop.stock(sku, 100)
    for _ in range(20):
        source = await cart_with(shop, **{"MERGE-A": 2, "MERGE-B": 1})
        first, second = await cart_with(shop), await cart_with(shop, **{"MERGE-A": 1})
        answers = await asyncio.gather(merge(shop, first, source), merge(shop, second, source))
        assert [answer.status for answer in answers] == [200, 200]
        assert sorted(len(answer.json["changes"]) for answer in answers) == [0, 2]
        assert await held(shop, source) == {}
        assert await held(shop, first, second) == {"MERGE-A": 3, "MERGE-B": 1}
        for target, answer in zip((first, second), answers, strict=True):
            pieces = {line["sku"]: line["quantity"] for line in answer.json["lines"]}
            assert pieces == await held(shop, target)
    assert await log_faults(rows) == []


async def test_one_merge_sent_many_times_is_one_merge(shop: Shopper) -> None:
    await shop.stock("MERGE-C", 100)
    source, target = await cart_with(shop, **{"MERGE-C": 2}), await cart_with(shop, **{"MERGE-C": 1})
    key = "one-key-for-the-whole-merge"
    answers = await asyncio.gather(*(merge(shop, target, source, key) for _ in range(10)))
    assert {answer.status for answer in answers} <= {200, 409}
    await shop.ok("POST", f"/carts/{source}/lines", {"sku": "MERGE-C", "quantity": 5})
    again = await merge(shop, target, source, key)
    assert (again.status, again.headers["Idempotency-Replayed"]) == (200, "true")
    assert again.json["changes"] == [{"sku": "MERGE-C", "before": 1, "after": 3, "reason": "merged"}]
    assert (await held(shop, target), await held(shop, source)) == ({"MERGE-C": 3}, {"MERGE-C": 5})


async def test_merges_in_a_ring_lose_and_double_nothing(shop: Shopper) -> None:
    await shop.stock("MERGE-D", 1_000)
    carts = [await cart_with(shop, **{"MERGE-D": 1}) for _ in range(5)]
    for _ in range(4):
        answers = await asyncio.gather(
            *(merge(shop, target, source) for source, target in zip(carts, carts[1:] + carts[:1], strict=True))
        )
        assert {answer.status for answer in answers} == {200}
        assert await held(shop, *carts) == {"MERGE-D": 5}


async def test_a_merge_survives_kill_9(tmp_path: Path) -> None:
    async with Server(tmp_path / "data", measured=False) as server, shopper(server.url) as shop:
        await shop.stock("MERGE-E", 1_000)
        for moment in range(4):
            merges = [
                (await cart_with(shop, **{"MERGE-E": 1}), await cart_with(shop, **{"MERGE-E": 2}), f"key-{moment}-{n}")
                for n in range(16)
            ]
            running = [asyncio.create_task(_tried(shop, *each)) for each in merges]
            # From the first answer on, others are at every stage of theirs.
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            await server.kill()
            before = await asyncio.gather(*running)
            await server.start()
            for (target, source, key), answered in zip(merges, before, strict=True):
                again = await merge(shop, target, source, key)
                assert again.status == 200
                assert again.json["changes"] == [{"sku": "MERGE-E", "before": 1, "after": 3, "reason": "merged"}]
                assert answered is None or answered.json["changes"] == again.json["changes"]
                assert (await held(shop, target), await held(shop, source)) == ({"MERGE-E": 3}, {})
        connection = await asyncpg.connect(server.dsn)
        assert await log_faults(connection) == []
        assert await connection.fetchval("select count(*) from parked") == 0
        await connection.close()


async def _tried(shop: Shopper, target: str, source: str, key: str) -> Answer | None:
    """The answer, None where the server was killed before it."""
    try:
        answer: Any = await merge(shop, target, source, key)
    except aiohttp.ClientError:
        return None
    assert answer.status == 200, answer.body
    return answer
