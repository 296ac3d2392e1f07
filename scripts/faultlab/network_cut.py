"""The ways of one of three members to the broker and to the database are cut, in both directions and in each alone."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from scripts.faultlab.cluster import Cluster, Member, cluster
from scripts.faultlab.crowd import Crowd, afterwards, shopping
from scripts.faultlab.findings import Finding, Size
from scripts.faultlab.lasting import said, seconds_of, within
from scripts.faultlab.probes import Probes, probing
from scripts.faultlab.proxy import Proxy
from scripts.faultlab.stale_reads import Reads, reading
from tests.e2e.shopper import Shopper

ANSWER_SECONDS = 20.0
BACK_SECONDS = 20.0
LEASE_SECONDS = 10.0
"""How long a member may show what it has in memory after it last saw the database."""
AGAIN_SECONDS = 0.05
FAULT = "network cut"

Owners = dict[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class Cut:
    """A way that is cut: both directions, or one, seen from the member.

    Attributes:
        way: to what: `broker` or `database`, as a `Member` names its proxies.
        there: whether what the member sends is held.
        back: whether what is sent to it is held.
    """

    way: str
    there: bool = True
    back: bool = True

    def __str__(self) -> str:
        if self.there and self.back:
            return f"the way to the {self.way}"
        return f"only what goes {'to' if self.there else 'back from'} the {self.way}"

    def proxy(self, member: Member) -> Proxy:
        """What is cut."""
        return {"broker": member.broker, "database": member.database}[self.way]

    def make(self, member: Member) -> None:
        """Cut it."""
        proxy = self.proxy(member)
        if self.there:
            proxy.there.clear()
        if self.back:
            proxy.back.clear()


CUTS = (
    Cut("broker"),
    Cut("broker", back=False),
    Cut("broker", there=False),
    Cut("database"),
    Cut("database", back=False),
    Cut("database", there=False),
)
FEW_CUTS = (Cut("broker"), Cut("database"), Cut("database", there=False))


@dataclass(frozen=True, slots=True)
class Course:
    """How one cut went, in seconds.

    Attributes:
        taken: after the cut others had all partitions of the member; None: they had not when it was mended.
        answered: after the cut a write to each of its carts that began after it was done; None: within no time.
        back: after the mend the partitions were where they had been before; None: within no time.
        old: the longest time for which a client's write had been answered and the member showed the cart without it.
        last_old: after the cut the last such read was sent.
        reads: how many reads of the member were answered with the cart.
        refused: how the others were answered; 0 for a connection that broke.
    """

    taken: float | None
    answered: float | None
    back: float | None
    old: float
    last_old: float
    reads: int
    refused: Counter[int]


async def run(place: Path, size: Size) -> list[Finding]:
    """Cut the ways of one of three members one after the other, mend each, and look at everything afterwards."""
    findings: list[Finding] = []
    async with _shop(place) as (it, member, crowd, beside):
        async with probing(beside, crowd.buyers.memory) as probes:
            for cut in CUTS if size.judged else FEW_CUTS:
                findings += _told(cut, size, await _course(it, member, probes, cut, size.away))
        findings += await afterwards(crowd, it.dsn, FAULT)
    return findings


@asynccontextmanager
async def _shop(place: Path) -> AsyncIterator[tuple[Cluster, Member, Crowd, Shopper]]:
    """A front end with buyers and three members, once each has its partitions.

    One member has its own ways. The last of the four asks another one, which needs no broker for what it owns: writes
    to what it takes over are done as soon as can be.
    """
    async with cluster(place) as it:
        async with asyncio.TaskGroup() as starts:
            front = starts.create_task(it.start("web", "web"))
            cut = starts.create_task(it.start_apart("cut", "serve"))
            one, two = (starts.create_task(it.start(name, "serve")) for name in ("one", "two"))
        member = cut.result()
        await it.settled(member.server.pid, one.result().pid, two.result().pid)
        async with shopping(front.result(), seed=18) as crowd:
            yield it, member, crowd, Shopper(one.result().url, crowd.client.session, crowd.client.seen)


async def _course(it: Cluster, member: Member, probes: Probes, cut: Cut, away: float) -> Course:
    """Cut, wait, mend, and wait until all is as it was."""
    before = await it.owners()
    carts = probes.of({partition for partition, pid in before.items() if pid == member.server.pid})
    async with reading(member.server.url, carts) as reads, asyncio.TaskGroup() as group:
        began = perf_counter()
        cut.make(member)
        answered = group.create_task(seconds_of(probes.all_written(carts)))
        taking = group.create_task(seconds_of(_until(it, lambda owners: member.server.pid not in owners.values())))
        await asyncio.sleep(away)
        taken = taking.result() if taking.done() else None
        taking.cancel()
        cut.proxy(member).mend()
        back = await seconds_of(_back(it, before, answered))
    old, last = _oldest(reads, probes, began)
    return Course(taken, answered.result(), back, old, last, len(reads.shown), reads.refused)


def _oldest(reads: Reads, probes: Probes, began: float) -> tuple[float, float]:
    old = reads.old(probes)
    return max((one.seconds for one in old), default=0.0), max((one.began - began for one in old), default=0.0)


def _told(cut: Cut, size: Size, course: Course) -> list[Finding]:
    fault = f"{FAULT}: {cut}, {size.away:.0f} s"
    taken = "not taken over in that time" if course.taken is None else f"taken over after {course.taken:.1f} s"
    quick = within(course.answered, ANSWER_SECONDS) and within(course.back, BACK_SECONDS)
    old = (
        f"up to {course.old:.1f} s old, the last {course.last_old:.1f} s after the cut"
        if course.old
        else "none was old"
    )
    return [
        Finding(
            fault=fault,
            must=f"its carts are written again within {ANSWER_SECONDS:.0f} s of the cut; it is back within "
            f"{BACK_SECONDS:.0f} s of the mend",
            measured=f"{taken}; written again {said(course.answered)}; back {said(course.back)} after the mend",
            held=quick if size.judged or course.answered is None or course.back is None else None,
        ),
        Finding(
            fault=fault,
            must=f"asked itself, it shows nothing that is older than its lease of {LEASE_SECONDS:.0f} s, or says 503",
            measured=f"{course.reads} reads of its own carts: {old if course.old else 'none was old'}; others answered "
            f"{dict(course.refused)}",
            held=course.old <= LEASE_SECONDS and set(course.refused) <= {503},
        ),
    ]


async def _back(it: Cluster, before: Owners, answered: "asyncio.Task[float | None]") -> None:
    """Wait until the partitions are where they were, for good: what waits for an answer may still move them."""
    await asyncio.wait([answered])
    await _until(it, lambda owners: owners == before)


async def _until(it: Cluster, so: Callable[[Owners], bool]) -> None:
    """Wait until the owners of the partitions are so."""
    while not so(await it.owners()):  # noqa: ASYNC110 - the members say it to the database only
        await asyncio.sleep(AGAIN_SECONDS)
