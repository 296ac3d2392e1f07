"""A replica dies at one named place of the runtime after the other, while a neighbour and the buyers go on."""

import asyncio
from pathlib import Path
from time import perf_counter

from scripts.benchmarks.rounds import percentile
from scripts.faultlab.cluster import cluster
from scripts.faultlab.crowd import afterwards, shopping
from scripts.faultlab.findings import Finding, Size
from scripts.faultlab.probes import Probes, probing
from scripts.faultlab.replica_killed import BACK_SECONDS
from tests.e2e.server import KILLED, Died, Server
from tests.faults.chains import STOPPING
from ultramarket.runtime.failpoints import NAMES, VARIABLE

ELSEWHERE = ("park.before", "park.after", "keep.before", "keep.after", "take.before", "take.after")
"""Reached where a message can't be read, by the process that was asked over HTTP, and by one that shares with nobody:
the crash tests have them."""
FEW = ("adopt.after", "outbox.before", "gateway.after", "release.after")
"""Those that a short run takes."""
COUNTS = {
    **dict.fromkeys(("adopt.before", "adopt.after", "release.before", "release.after"), 1),
    **dict.fromkeys(("sweep.before", "sweep.after"), 2),
    **dict.fromkeys(("load.before", "load.after", "drain.before", "drain.after"), 1),
    **dict.fromkeys(("handover.before", "handover.after"), 1),
}
"""How often one is reached before it kills, where that is not `COUNT`."""
COUNT = 10
AGAIN_SECONDS = 60.0
FAULT = "replica dies inside"


async def run(place: Path, size: Size) -> list[Finding]:
    """Start a second replica, see it die at a failpoint, and start it again with the next one."""
    names = [name for name in NAMES if name not in ELSEWHERE] if size.judged else FEW
    slowest: dict[str, list[float]] = {}
    missed: list[str] = []
    async with cluster(place) as it:
        front = await it.start("web", "web")
        steady = await it.start("steady", "serve")
        armed = await it.start("armed", "serve")
        await it.settled(steady.pid, armed.pid)
        await armed.stop()
        async with shopping(front, seed=19) as crowd:
            async with probing(crowd.client, crowd.buyers.memory) as probes:
                for name in names:
                    if not await _dies(armed, name):
                        missed.append(name)
                    slowest[name] = await _answered(probes)
            findings = await afterwards(crowd, it.dsn, FAULT)
    found = [seconds for times in slowest.values() for seconds in times]
    most = percentile(found, 0.99)
    worst = sorted(slowest, key=lambda name: max(slowest[name]))[-2:]
    fault = f"{FAULT}: one of 2, at {len(names)} places"
    return [
        Finding(
            fault=fault,
            must="it dies at each of them",
            measured=f"not at {', '.join(missed)}" if missed else "done",
            held=not missed,
        ),
        Finding(
            fault=fault,
            must=f"all partitions answer again in p99 <= {BACK_SECONDS:.0f} s",
            measured=f"the longest write to each of {len(probes.carts)} carts after each death: p50 "
            f"{percentile(found, 0.5):.2f} s, p99 {most:.2f} s; at most "
            + ", ".join(f"{max(slowest[name]):.2f} s at {name}" for name in worst),
            held=most <= BACK_SECONDS if size.judged else None,
        ),
        *findings,
    ]


async def _dies(armed: Server, name: str) -> bool:
    """Start it, and see whether it dies at the failpoint: while it starts, under load, or when it is told to stop."""
    try:
        await armed.start(**{VARIABLE: f"{name}:{COUNTS.get(name, COUNT)}"})
    except Died as death:
        return death.code == KILLED
    try:
        return await (armed.stop() if name in STOPPING else armed.ended()) == KILLED
    except TimeoutError:
        await armed.kill()
        return False


async def _answered(probes: Probes) -> list[float]:
    """The longest write to each cart from now on until all were written to."""
    began = perf_counter()
    async with asyncio.timeout(AGAIN_SECONDS):
        await probes.all_written(set(probes.carts))
    return probes.longest(set(probes.carts), began)
