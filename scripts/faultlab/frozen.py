"""A replica stands still as a stopped process does, and wakes up when others have long taken its place."""

import asyncio
import os
import signal
from pathlib import Path
from time import perf_counter

from scripts.benchmarks.rounds import percentile
from scripts.faultlab.cluster import Cluster, cluster
from scripts.faultlab.crowd import afterwards, shopping
from scripts.faultlab.findings import Finding, Size
from scripts.faultlab.probes import PAUSE_SECONDS, Probes, probing
from scripts.faultlab.replica_killed import all_settled, replicas_under_load
from tests.e2e.replicas import replicas_of

REPLICAS = 3
WATCHED_SECONDS, ALONE_SECONDS = 5.0, 20.0
"""Within which the partitions of a frozen process answer again, with a parent that watches it and without."""
LEASE_SECONDS = 14.0
"""More than a lease takes to run out: without a parent nobody can know sooner."""
AGAIN_SECONDS = 60.0
FAULT = "replica frozen"


async def run(place: Path, size: Size) -> list[Finding]:
    """Stop a replica that has a parent, then one that has none; the second wakes up again."""
    return [*await _watched(place / "watched", size), *await _alone(place / "alone", size)]


async def _watched(place: Path, size: Size) -> list[Finding]:
    async with replicas_under_load(place, REPLICAS, seed=15) as (it, crowd):
        async with probing(crowd.client, crowd.buyers.memory) as probes:
            victim = min(replicas_of(crowd.server))
            took = await _freeze(it, probes, victim)
            await all_settled(it, crowd.server, REPLICAS)
            replaced = victim not in replicas_of(crowd.server)
        findings = await afterwards(crowd, it.dsn, FAULT)
    return [
        _answered(f"{FAULT}: one of {REPLICAS} with a parent", took, WATCHED_SECONDS, size),
        Finding(
            fault=f"{FAULT}: one of {REPLICAS} with a parent",
            must="its parent kills it and starts another one",
            measured="done" if replaced else "it still runs",
            held=replaced,
        ),
        *findings,
    ]


async def _alone(place: Path, size: Size) -> list[Finding]:
    async with cluster(place) as it:
        front = await it.start("web", "web")
        replicas = [await it.start(f"replica-{number}", "serve") for number in range(REPLICAS)]
        pids = [replica.pid for replica in replicas]
        await it.settled(*pids)
        async with shopping(front, seed=16) as crowd:
            async with probing(crowd.client, crowd.buyers.memory) as probes:
                began = perf_counter()
                try:
                    took = await _freeze(it, probes, pids[0])
                    await asyncio.sleep(max(size.frozen, LEASE_SECONDS) - (perf_counter() - began))
                    owners = await it.owners()
                finally:
                    os.kill(pids[0], signal.SIGCONT)
                woken = perf_counter()
                await it.settled(*pids)
                back = perf_counter() - woken
                await probes.all_written(set(probes.carts))
            findings = await afterwards(crowd, it.dsn, FAULT)
    fault = f"{FAULT}: one of {REPLICAS} without a parent, for {max(size.frozen, LEASE_SECONDS):.0f} s"
    return [
        _answered(fault, took, ALONE_SECONDS, size),
        Finding(
            fault=fault,
            must="others own what it had before it wakes up; it writes nothing, and comes back by itself",
            measured=f"{sum(pid == pids[0] for pid in owners.values())} of {len(owners)} partitions were its own then; "
            f"{len(crowd.buyers.memory.odd)} writes to the probes were not what the one before had left; "
            f"back {back:.1f} s after it woke up",
            held=pids[0] not in owners.values() and not crowd.buyers.memory.odd,
        ),
        *findings,
    ]


async def _freeze(it: Cluster, probes: Probes, victim: int) -> tuple[list[float], float]:
    """Stop a process at any moment of what the writers do, and wait until all of its carts were written to.

    Gives the longest write since then to each of them, and the longest of those in flight when it stopped, in seconds.
    """
    await probes.all_written(set(probes.carts))  # the first writes of all of them set out together
    await asyncio.sleep(PAUSE_SECONDS)
    theirs = probes.of({partition for partition, pid in (await it.owners()).items() if pid == victim})
    began = perf_counter()
    os.kill(victim, signal.SIGSTOP)
    async with asyncio.timeout(AGAIN_SECONDS):
        await probes.all_written(theirs)
    return probes.longest(theirs, began), probes.in_flight(began)


def _answered(fault: str, course: tuple[list[float], float], most: float, size: Size) -> Finding:
    took, in_flight = course
    slowest = percentile(took, 0.99)
    return Finding(
        fault=fault,
        must=f"its partitions answer again in <= {most:.0f} s",
        measured=f"the longest write since then to each of {len(took)} carts that it owned: p50 "
        f"{percentile(took, 0.5):.2f} s, p99 {slowest:.2f} s; those in flight then: at most {in_flight:.2f} s",
        held=slowest <= most if size.judged else None,
    )
