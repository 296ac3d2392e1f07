"""Replicas are killed again and again under load; the others take their partitions, and nobody's order is lost."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter

from scripts.benchmarks.rounds import percentile
from scripts.faultlab.cluster import SETTLE_SECONDS, Cluster, cluster
from scripts.faultlab.crowd import Crowd, afterwards, shopping
from scripts.faultlab.findings import Finding, Size
from scripts.faultlab.probes import Probes, probing
from tests.e2e.replicas import replicas_of
from tests.e2e.server import Server

REPLICAS = 3
BACK_SECONDS = 2.0
APART_SECONDS = (12.5, 14.0)
"""Between two kills of a whole run: six deaths within a minute are what ends the parent."""
FAULT = "replica killed"


async def run(place: Path, size: Size) -> list[Finding]:
    """Kill one of three replicas after the other at moments that chance chooses, and look at everything again."""
    chance = random.Random(14)  # noqa: S311 - choices of a test
    found: list[float] = []
    in_flight: list[float] = []
    async with replicas_under_load(place, REPLICAS, seed=14) as (it, crowd):
        async with probing(crowd.client, crowd.buyers.memory) as probes:
            for number in range(size.kills):
                if number and size.judged:
                    await asyncio.sleep(chance.uniform(*APART_SECONDS))
                await asyncio.sleep(chance.random())  # at any moment of what the buyers do
                began, theirs = await _kill(it, crowd, probes, chance)
                found += probes.longest(theirs, began)
                in_flight.append(probes.in_flight(began))
                await all_settled(it, crowd.server, REPLICAS)
        findings = await afterwards(crowd, it.dsn, FAULT)
    slowest = percentile(found, 0.99)
    return [
        Finding(
            fault=f"{FAULT}: {size.kills} times one of {REPLICAS}",
            must=f"its partitions answer again in p99 <= {BACK_SECONDS:.0f} s",
            measured=f"the longest write since then to each of {len(found)} carts that it owned: p50 "
            f"{percentile(found, 0.5):.2f} s, p99 {slowest:.2f} s, at most {max(found):.2f} s; those in flight when it "
            f"died: at most {max(in_flight):.2f} s",
            held=slowest <= BACK_SECONDS if size.judged else None,
        ),
        *findings,
    ]


async def _kill(it: Cluster, crowd: Crowd, probes: Probes, chance: random.Random) -> tuple[float, set[str]]:
    """Kill a replica, and wait until its carts were written to; gives when (`perf_counter`), and those carts."""
    victim = chance.choice(sorted(replicas_of(crowd.server)))
    theirs = probes.of({partition for partition, pid in (await it.owners()).items() if pid == victim})
    began = perf_counter()
    os.kill(victim, signal.SIGKILL)
    async with asyncio.timeout(SETTLE_SECONDS):
        await probes.all_written(theirs)
    return began, theirs


@asynccontextmanager
async def replicas_under_load(place: Path, replicas: int, seed: int) -> AsyncIterator[tuple[Cluster, Crowd]]:
    """Replicas behind one port, with buyers, once each of them has its partitions."""
    async with cluster(place) as it:
        server = await it.start("data", "start", "--replicas", str(replicas))
        async with shopping(server, seed) as crowd:
            await all_settled(it, server, replicas)
            yield it, crowd


async def all_settled(it: Cluster, server: Server, replicas: int) -> None:
    """Wait until so many replicas are there, and each has partitions, and nobody else has any."""

    def pids() -> set[int]:
        found = replicas_of(server)
        return found if len(found) == replicas else set()

    await it.settled_as(pids)
