"""The demo catalogue, brought into a shop that has no products yet."""

from ultramarket.bootstrap import Platform
from ultramarket.cli.client import Client
from ultramarket.cli.database import connected
from ultramarket.cli.upload import bring_in
from ultramarket.errors import UltraMarketError
from ultramarket.settings import config_dir

CURRENCY = "USD"
_SHOWN_SECONDS = 10.0


async def fill(running: Platform, url: str, dsn: str) -> None:
    """Import the demo catalogue and wait until lists show it; a shop that has or had products is left alone.

    Raises:
        UltraMarketError: a row of the catalogue was refused, or the import failed.
    """
    async with connected(dsn) as connection:
        if await connection.fetchval("select exists(select from entity where kind = 'product')"):
            return
        async with Client(url, running.staff_key) as client:
            done = await bring_in(client, config_dir() / "demo" / "catalogue.csv", CURRENCY)
        if done["refused_total"] or done["status"] != "done":
            reasons = [done["failure"] or "", *(row["reason"] for row in done["refused"])]
            raise UltraMarketError(f"The demo catalogue did not go in: {' '.join(filter(None, reasons))}")
        tails = await connection.fetch("select kind, no, tail from partition where kind in ('product', 'inventory')")
        for row in tails:
            await running.projector.wait(row["kind"], row["no"], row["tail"], _SHOWN_SECONDS)
