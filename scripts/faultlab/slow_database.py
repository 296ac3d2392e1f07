"""The way to the database becomes slow, then nothing comes through, then all is well again."""

import asyncio
from pathlib import Path

from scripts.faultlab.crowd import EXTERNAL, IMPATIENT, afterwards, shopping, socket_of, through, told
from scripts.faultlab.findings import Finding, Size
from scripts.faultlab.proxy import Proxy
from tests.e2e.server import Server
from ultramarket.adapters.embedded_postgres import EmbeddedPostgres

DELAY_SECONDS = 0.5
SLOW_ANSWERS = 40
AFTER_ANSWERS = 100
FAULT = "slow database"


async def run(place: Path, size: Size) -> list[Finding]:
    """Buy while answers of the database take up to half a second, while none come, and afterwards."""
    with EmbeddedPostgres(place / "database") as dsn:
        async with Proxy(socket_of(dsn)).listening() as proxy:
            server = Server(place / "data", settings={**IMPATIENT, EXTERNAL: through(dsn, proxy.port)})
            async with server, shopping(server, seed=11) as crowd:
                await crowd.until_answered(AFTER_ANSWERS)
                proxy.delay = DELAY_SECONDS
                slowly = await crowd.until_answered(SLOW_ANSWERS)
                before = crowd.seen
                proxy.cut()
                (status, live), _ = await asyncio.gather(crowd.look("/health/live"), asyncio.sleep(size.stall))
                during = crowd.seen - before
                proxy.delay = 0.0
                proxy.mend()
                again = await crowd.until_answered(AFTER_ANSWERS)
                findings = await afterwards(crowd, dsn, FAULT)
    return [
        Finding(
            fault=f"{FAULT}: 0 to {DELAY_SECONDS * 1000:.0f} ms an answer",
            must="work goes on",
            measured=f"{SLOW_ANSWERS} writes answered with a 2xx in {slowly:.1f} s by 12 buyers",
            held=True,
        ),
        Finding(
            fault=f"{FAULT}: no answer for {size.stall:.0f} s",
            must="the process is alive, and says 503",
            measured=f"/health/live {status} after {live * 1000:.0f} ms; answers meanwhile: {dict(during)}",
            held=told(status, during),
        ),
        Finding(
            fault=f"{FAULT}: well again",
            must="it goes on by itself",
            measured=f"{AFTER_ANSWERS} more 2xx {again:.1f} s after",
            held=True,
        ),
        *findings,
    ]
