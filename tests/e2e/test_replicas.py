"""Several processes behind one port, with a real RabbitMQ between them."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest

import ultramarket
from tests.e2e.replicas import settled
from tests.e2e.server import STAFF_KEY, Server, free_port
from tests.e2e.shopper import PatientShopper, Shopper, shopper
from tests.faults.invariants import faults_at_rest

ROOT = Path(ultramarket.__file__).parents[1]


async def buy(shop: Shopper, count: int) -> int:
    """Buy so many times, one after the other; gives how many of the orders are paid."""
    paid = 0
    for _ in range(count):
        order = (await shop.order(await shop.filled_cart("MUG"))).json
        paid += order["payment_status"] == "paid"
    return paid


@pytest.fixture
async def pair(dsn: str, broker_url: str, tmp_path: Path) -> AsyncIterator[Server]:
    """Two replicas behind one port."""
    settings = {"ULTRAMARKET_DATABASE_URL": dsn, "ULTRAMARKET_BROKER_URL": broker_url}
    async with Server(tmp_path / "data", "start", "--replicas", "2", settings=settings) as server:
        yield server


async def test_replicas_share_a_shop_and_are_replaced_one_by_one_without_a_lost_order(pair: Server, dsn: str) -> None:
    async with shopper(pair.url, PatientShopper) as shop:
        await shop.stock("MUG", 1000)
        first = await settled(pair, dsn, 2, set())
        os.kill(pair.pid, signal.SIGHUP)
        rolling = asyncio.create_task(settled(pair, dsn, 2, first))
        bought = 0
        while not rolling.done():
            bought += await buy(shop, 1)
        assert not await rolling & first
        assert set(shop.seen) <= {200, 201, 202, 409, 503}
        bought += await buy(shop, 5)
        await shop.until("/inventory/MUG", on_hand=1000 - bought, held=0)
    connection = await asyncpg.connect(dsn)
    try:
        assert await faults_at_rest(connection, {"MUG": 1000}) == []
    finally:
        await connection.close()
    assert await pair.stop() == 0


async def test_a_killed_replica_is_replaced_and_its_partitions_answer_again(pair: Server, dsn: str) -> None:
    async with shopper(pair.url) as shop:
        await shop.stock("MUG", 10)
        before = await settled(pair, dsn, 2, set())
        killed = min(before)
        os.kill(killed, signal.SIGKILL)
        after = await settled(pair, dsn, 2, {killed})
        assert len(after & before) == 1
        assert await buy(shop, 5) == 5
    assert await pair.stop() == 0


async def test_the_procfile_s_front_end_and_worker_make_a_shop_together(
    dsn: str, broker_url: str, tmp_path: Path
) -> None:
    port = free_port()
    given = {name: value for name, value in os.environ.items() if not name.startswith("ULTRAMARKET_")}
    manager = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "honcho", "--procfile", str(ROOT / "Procfile"), "--app-root", str(ROOT)),
        *("start", "--port", str(port), "web", "worker"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={
            **given,
            "PATH": f"{Path(sys.executable).parent}:{given['PATH']}",
            "ULTRAMARKET_DATABASE_URL": dsn,
            "ULTRAMARKET_BROKER_URL": broker_url,
            "ULTRAMARKET_DATA_DIR": str(tmp_path),
            "ULTRAMARKET_STAFF_KEY": STAFF_KEY,
        },
    )
    try:
        async with shopper(f"http://127.0.0.1:{port}") as shop, asyncio.timeout(60):
            await until_ready(shop)
            await shop.stock("MUG", 2)
            assert await buy(shop, 1) == 1
    finally:
        manager.terminate()
        await manager.wait()


async def until_ready(shop: Shopper) -> None:
    """Wait until it answers, and has somebody who has the actors."""
    while True:
        with contextlib.suppress(aiohttp.ClientConnectorError):
            if (await shop.call("GET", "/health/ready")).status == 200:
                return
        await asyncio.sleep(0.05)
