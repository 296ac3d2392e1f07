"""Replicas come and go in good order under load: no request fails, and nothing is overtaken."""

import os
import signal
from pathlib import Path
from time import perf_counter

from scripts.benchmarks.rounds import percentile
from scripts.faultlab.cluster import cluster
from scripts.faultlab.crowd import afterwards, shopping
from scripts.faultlab.findings import Finding, Size
from scripts.faultlab.probes import Probes, probing
from scripts.faultlab.replica_killed import all_settled, replicas_under_load
from tests.e2e.replicas import replicas_of

REPLICAS = 4
PAUSE_SECONDS = 1.0
FAULT = "replicas come and go"


async def run(place: Path, size: Size) -> list[Finding]:
    """One replica becomes four and one again; then four replicas are replaced one by one."""
    return [*await _scaled(place / "scaled", size), *await _rolled(place / "rolled", size)]


async def _scaled(place: Path, size: Size) -> list[Finding]:
    async with cluster(place) as it:
        front = await it.start("web", "web")
        first = await it.start("replica-0", "serve")
        await it.settled(first.pid)
        async with shopping(front, seed=17) as crowd:
            async with probing(crowd.client, crowd.buyers.memory) as probes:
                await probes.all_written(set(probes.carts))
                began = perf_counter()
                others = [await it.start(f"replica-{number}", "serve") for number in range(1, REPLICAS)]
                await it.settled(first.pid, *(other.pid for other in others))
                await probes.all_written(set(probes.carts))
                for other in others:
                    await other.stop()
                await it.settled(first.pid)
                await probes.all_written(set(probes.carts))
            return [
                _judged(f"{FAULT}: 1, {REPLICAS}, 1", probes, began, size),
                *await afterwards(crowd, it.dsn, FAULT),
            ]


async def _rolled(place: Path, size: Size) -> list[Finding]:
    async with replicas_under_load(place, REPLICAS, seed=18) as (it, crowd):
        async with probing(crowd.client, crowd.buyers.memory) as probes:
            await probes.all_written(set(probes.carts))
            before = replicas_of(crowd.server)
            began = perf_counter()
            os.kill(crowd.server.pid, signal.SIGHUP)
            while before & replicas_of(crowd.server):
                await probes.all_written(set(probes.carts))
            await all_settled(it, crowd.server, REPLICAS)
            await probes.all_written(set(probes.carts))
        return [
            _judged(f"{FAULT}: {REPLICAS} replaced one by one", probes, began, size),
            *await afterwards(crowd, it.dsn, FAULT),
        ]


def _judged(fault: str, probes: Probes, began: float, size: Size) -> Finding:
    slowest = probes.longest(set(probes.carts), began)
    refused = probes.refused(began)
    writes = sum(write.began + write.seconds >= began for write in probes.writes)
    pause = percentile(slowest, 0.99)
    return Finding(
        fault=fault,
        must=f"no failed request, no write that overtakes another one, p99 of the pause <= {PAUSE_SECONDS:.0f} s",
        measured=f"{writes} writes, {dict(refused) or 'none'} refused, {len(probes.memory.odd)} out of order; the "
        f"longest of each cart: p50 {percentile(slowest, 0.5):.2f} s, p99 {pause:.2f} s",
        held=not refused and not probes.memory.odd and (pause <= PAUSE_SECONDS or not size.judged),
    )
