"""Runs the plain handlers: `python -m scripts.benchmarks.plain_server PORT`, with the DSN in the environment."""

import asyncio
import os
import secrets
import sys
from decimal import Decimal

import asyncpg
import uvloop
from aiohttp import web

from scripts.benchmarks import plain_checkout, plain_shop
from scripts.benchmarks.shop import PRODUCTS, SIZES, SKUS, STOCK
from ultramarket.runtime.codec import Chain

DSN = "BENCH_DSN"
"""The variable with the database's address: an argument would show its password to every process."""
CONNECTIONS = 16


async def prepare(dsn: str) -> None:
    """Make the tables, the catalogue and its stock in an empty database."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(plain_shop.SCHEMA)
        products = [
            (f"BENCH-{number}-{size}", secrets.token_hex(16), f"Bench shirt {number}", size, Decimal("19.90"))
            for number in range(PRODUCTS)
            for size in SIZES
        ]
        await connection.executemany("insert into product values ($1, $2, $3, $4, $5)", products)
        stock = [(sku, 0, Chain.START, STOCK) for sku in SKUS]
        await connection.executemany("insert into stock values ($1, $2, $3, $4)", stock)
    finally:
        await connection.close()


async def ready(_: web.Request) -> web.Response:
    """200 as soon as it listens."""
    return web.Response(text="ok")


async def _connect(app: web.Application) -> None:
    app[plain_shop.POOL] = await asyncpg.create_pool(os.environ[DSN], min_size=CONNECTIONS, max_size=CONNECTIONS)


async def _serve(port: int) -> None:
    app = web.Application()
    app.add_routes([
        web.get("/ready", ready),
        web.get("/products", plain_shop.products),
        web.get("/products/{handle}", plain_shop.product),
        web.post("/carts", plain_shop.create),
        web.patch("/carts/{id}", plain_checkout.change),
        web.post("/carts/{id}/lines", plain_shop.add_line),
        web.post("/orders", plain_checkout.order),
    ])  # fmt: skip
    app.on_startup.append(_connect)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
