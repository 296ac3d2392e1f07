"""PostgreSQL is restarted at once, stays away for a while, and hangs up on all three replicas that are under load."""

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import asyncpg

from scripts.faultlab.cluster import Cluster
from scripts.faultlab.crowd import Crowd, afterwards
from scripts.faultlab.findings import Finding, Size
from scripts.faultlab.lasting import said, seconds_of, within
from scripts.faultlab.probes import Probes, probing
from scripts.faultlab.replica_killed import all_settled, replicas_of, replicas_under_load
from ultramarket.errors import UltraMarketError

REPLICAS = 3
TIMES, FEW_TIMES = 3, 1
BACK_SECONDS = 10.0
APART_SECONDS = 20.0
"""Between two faults of a whole run: more than three reconnections within a minute are what ends a replica."""
ALLOWED = {200, 201, 202, 409, 503}
FAULT = "database"
_HANG_UP = (
    "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname is not null"
)


@dataclass(frozen=True, slots=True)
class Course:
    """How it went once.

    Attributes:
        again: seconds from when the database was back until a write to every cart that began after it was done; None:
            they were not done.
        answers: the answers from the fault until then, by status.
        broken: connections that broke meanwhile.
        replaced: replicas that ended.
    """

    again: float | None
    answers: Counter[int]
    broken: int
    replaced: int


async def run(place: Path, size: Size) -> list[Finding]:
    """Take the database away in three ways, some times each, and look at everything afterwards."""
    times = TIMES if size.judged else FEW_TIMES

    async def restart(it: Cluster) -> None:
        await _restart(it, place, 0.0)

    async def outage(it: Cluster) -> None:
        await _restart(it, place, size.away)

    findings: list[Finding] = []
    async with replicas_under_load(place, REPLICAS, seed=20) as (it, crowd):
        async with probing(crowd.client, crowd.buyers.memory) as probes:
            for what, many, fault in (
                ("immediate restart", times, restart),
                (f"immediate stop, {size.away:.0f} s away", 1, outage),
                ("all connections cut", times, _hang_up),
            ):
                courses = []
                for _ in range(many):
                    if size.judged and (courses or findings):
                        await asyncio.sleep(APART_SECONDS)
                    courses.append(await _course(it, crowd, probes, fault))
                often = f", {many} times" if many > 1 else ""
                findings += _told(f"{FAULT}: {what}{often}", courses, judged=size.judged)
        findings += await afterwards(crowd, it.dsn, FAULT)
    return findings


async def _course(it: Cluster, crowd: Crowd, probes: Probes, fault: Callable[[Cluster], Awaitable[None]]) -> Course:
    """Let it happen once, and wait until all replicas have their partitions again."""
    before, seen, began = replicas_of(crowd.server), crowd.seen, perf_counter()
    await fault(it)
    again = await seconds_of(probes.all_written(set(probes.carts)))
    answers, broken = crowd.seen - seen, probes.refused(began)[0]
    await all_settled(it, crowd.server, REPLICAS)
    return Course(again, answers, broken, len(before - replicas_of(crowd.server)))


async def _restart(it: Cluster, place: Path, away: float) -> None:
    """Stop it as `pg_ctl stop -m immediate` does, which leaves the rest to a recovery, and start it again."""
    postmaster = (place / "database" / "postgres" / "postmaster.pid").read_text("utf-8").partition("\n")[0]
    os.kill(int(postmaster), signal.SIGQUIT)
    with contextlib.suppress(UltraMarketError):  # it says so when it has ended, as we wanted
        await it.database.ended()
    await asyncio.sleep(away)
    it.database.stop()
    it.database.start()


async def _hang_up(it: Cluster) -> None:
    """End every session but the one that does it."""
    connection = await asyncpg.connect(it.dsn)
    try:
        await connection.execute(_HANG_UP)
    finally:
        await connection.close()


def _told(fault: str, courses: list[Course], *, judged: bool) -> list[Finding]:
    answers: Counter[int] = sum((course.answers for course in courses), Counter())
    broken, replaced = sum(course.broken for course in courses), sum(course.replaced for course in courses)
    came = all(course.again is not None for course in courses)
    in_time = all(within(course.again, BACK_SECONDS) for course in courses)
    return [
        Finding(
            fault=fault,
            must=f"every cart is written again within {BACK_SECONDS:.0f} s of its being back",
            measured=f"after {', '.join(said(course.again) for course in courses)}",
            held=in_time if judged or not came else None,
        ),
        Finding(
            fault=fault,
            must="every answer is a 2xx, 409 or 503; the replicas stay",
            measured=f"answers until then: {dict(sorted(answers.items()))}; {broken} connections broke; {replaced} of "
            f"{REPLICAS} replicas ended",
            held=set(answers) <= ALLOWED and not broken and not replaced,
        ),
    ]
