"""RabbitMQ dies and comes back, closes connections, takes no messages, under load; nothing is lost, and 503 at most."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from scripts.faultlab.cluster import SETTLE_SECONDS, cluster
from scripts.faultlab.crowd import Crowd, afterwards, shopping
from scripts.faultlab.findings import Finding, Size
from scripts.faultlab.probes import Probes, probing
from scripts.faultlab.replica_killed import REPLICAS, all_settled
from tests.e2e.replicas import replicas_of
from tests.services.rabbitmq import RabbitServer

BACK_SECONDS = 5.0
SHORT_SECONDS = 5.0
"""The longest for which the node takes no messages: a memory alarm comes and goes."""
CALM_SECONDS = 1.0
"""Between two of the troubles, so that each one meets a shop at work."""
MOMENT_SECONDS = 1.0
"""In less than that nobody need be answered."""
LIST_SECONDS = 15.0
"""The management interface lists a connection some seconds after it was opened."""
AGAIN_SECONDS = 0.1
TOLD = {0, 200, 201, 409, 503}
"""What a request may be answered meanwhile; 0 is a connection that broke."""
FAULT = "broker killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What a trouble of the broker did.

    Attributes:
        away: seconds from its beginning until the broker answered as before.
        back: seconds from then until every probe cart had a write that began after that.
        longest: the longest of these writes, in seconds.
        meanwhile: how often each status was answered while the broker was away.
        told: the same until every cart was back; with 0 for the connections that broke.
    """

    what: str
    away: float
    back: float
    longest: float
    meanwhile: Counter[int]
    told: Counter[int]


async def run(place: Path, size: Size) -> list[Finding]:
    """Give three replicas, whose RabbitMQ is theirs alone, one trouble of it after the other."""
    async with RabbitServer(place / "broker") as broker, cluster(place, broker.url) as it:
        server = await it.start("data", "start", "--replicas", str(REPLICAS))
        async with shopping(server, seed=15) as crowd:
            await all_settled(it, server, REPLICAS)
            await broker.sync()
            lived = replicas_of(server)
            async with probing(crowd.client, crowd.buyers.memory) as probes:
                await probes.all_written(set(probes.carts))
                troubles = [await _make(what, do, crowd, probes) for what, do in _troubles(broker, size).items()]
            died = lived - replicas_of(server)
            findings = await afterwards(crowd, it.dsn, FAULT)
    return [
        *(finding for trouble in troubles for finding in _findings(trouble, size)),
        Finding(
            fault=FAULT,
            must="no replica ends because of it",
            measured=f"{len(lived - died)} of {REPLICAS} replicas are still the same processes",
            held=not died,
        ),
        *findings,
    ]


def _troubles(broker: RabbitServer, size: Size) -> dict[str, Callable[[], Awaitable[None]]]:
    """What is done; each ends when the broker answers as before. A short run leaves out what is much like another."""
    short = min(size.away, SHORT_SECONDS)
    short_ones: dict[str, Callable[[], Awaitable[None]]] = {
        "kill -9, started again at once": lambda: _away(broker, 0.0),
        "one connection closed by the broker": lambda: _close_one(broker),
        f"memory alarm for {short:.0f} s": lambda: _blocked(broker, short),
    }
    if not size.judged:
        return short_ones
    return {
        **short_ones,
        f"kill -9, away for {size.away:.0f} s": lambda: _away(broker, size.away),
        "all connections closed by the broker": lambda: broker.close_all_connections("closed by scripts/faults"),
    }


async def _make(what: str, do: Callable[[], Awaitable[None]], crowd: Crowd, probes: Probes) -> Trouble:
    await asyncio.sleep(CALM_SECONDS)
    before, began = crowd.seen, perf_counter()
    await do()
    answers, meanwhile = perf_counter(), crowd.seen - before
    async with asyncio.timeout(SETTLE_SECONDS):
        back = await probes.all_written(set(probes.carts))
    broken = probes.refused(began)[0]
    return Trouble(
        what=what,
        away=answers - began,
        back=back,
        longest=max(write.seconds for write in probes.writes if write.began >= answers),
        meanwhile=meanwhile,
        told=crowd.seen - before + Counter({0: broken}),
    )


async def _away(broker: RabbitServer, seconds: float) -> None:
    await broker.kill()
    await asyncio.sleep(seconds)
    await broker.start()


async def _close_one(broker: RabbitServer) -> None:
    """Close the connection with the most channels, over which a replica consumes, as people can who manage a broker."""
    async with asyncio.timeout(LIST_SECONDS):
        while not (listed := await broker.management.do("GET", "connections")):  # noqa: ASYNC110 - the node counts
            await asyncio.sleep(AGAIN_SECONDS)
    busiest = max(listed, key=lambda each: each.get("channels", 0))
    await broker.management.do("DELETE", "connections", busiest["name"])


async def _blocked(broker: RabbitServer, seconds: float) -> None:
    await broker.block()
    await asyncio.sleep(seconds)
    await broker.unblock()


def _findings(trouble: Trouble, size: Size) -> list[Finding]:
    fault = f"{FAULT}: {trouble.what}"
    done = trouble.meanwhile[200] + trouble.meanwhile[201]
    return [
        Finding(
            fault=fault,
            must=f"consumers are back in <= {BACK_SECONDS:.0f} s",
            measured=f"each probe cart was written anew {trouble.back:.2f} s after the broker answered again, the "
            f"longest write since took {trouble.longest:.2f} s",
            held=trouble.back <= BACK_SECONDS if size.judged else None,
        ),
        Finding(
            fault=fault,
            must="503 and never 500; what is of the same process goes on",
            measured=f"{done} times 2xx in the {trouble.away:.1f} s until it answered again; until all were back "
            f"{dict(sorted(trouble.told.items()))}",
            held=set(trouble.told) <= TOLD and (done > 0 or trouble.away < MOMENT_SECONDS),
        ),
    ]
