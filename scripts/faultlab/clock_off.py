"""The clock of one of three members is ten minutes ahead, then ten minutes behind: nothing ends early or late."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from scripts.faultlab.cluster import Cluster, cluster
from scripts.faultlab.crowd import Crowd, afterwards, few, shopping
from scripts.faultlab.expiry import ACTION_SECONDS, HOLD_SECONDS, LOCK_SECONDS, Abandoned, Expiry
from scripts.faultlab.findings import Finding, Size
from scripts.faultlab.probes import probing
from scripts.faultlab.wrong_clock import NoClock, WrongClock, ahead, library
from tests.e2e.server import Server
from tests.e2e.shopper import Shopper

OFF_SECONDS = 600
LATE_SECONDS = 2.0
NEAR_SECONDS = 5.0
"""How exactly the member's clock has to be as wrong as it was told to be."""
AGAIN_SECONDS = 0.1
READ_SECONDS = 30.0
FAULT = "clock off"
SETTINGS = {
    "ULTRAMARKET_ORDER__ACTION_SECONDS": str(ACTION_SECONDS),
    "ULTRAMARKET_ORDER__HOLD_SECONDS": str(HOLD_SECONDS),
    "ULTRAMARKET_CART__QUOTE_LOCK_SECONDS": str(LOCK_SECONDS),
}
_LANES = "select p.kind, p.no, p.epoch, m.pid from partition p left join member m on m.name = p.owner order by 1, 2"

Lanes = list[tuple[str, int, int, int | None]]
"""Each partition: kind, number, epoch, and the process that owns it."""


@dataclass(frozen=True, slots=True)
class Shop:
    """A shop with one member whose clock is wrong.

    Attributes:
        member: that one.
        clock: its clock.
        client: asks it.
    """

    it: Cluster
    crowd: Crowd
    member: Server
    clock: WrongClock
    client: Shopper


async def run(place: Path, size: Size) -> list[Finding]:
    """Let orders, holds and prices end by themselves while a member's clock is wrong, and look at everything then."""
    try:
        preloaded = library()
    except NoClock as error:
        must = "nothing ends early or late"
        return [Finding(fault=FAULT, must=must, measured=f"not tried: {error}", held=None)]
    findings: list[Finding] = []
    async with _shop(place, preloaded) as shop:
        before = await _lanes(shop.it.dsn)
        async with probing(shop.crowd.client, shop.crowd.buyers.memory):
            for seconds in (OFF_SECONDS, -OFF_SECONDS):
                findings += await _round(shop, seconds, size)
        findings.append(_kept(before, await _lanes(shop.it.dsn), shop.member.pid))
        findings += await afterwards(shop.crowd, shop.it.dsn, FAULT)
    return findings


@asynccontextmanager
async def _shop(place: Path, preloaded: Path) -> AsyncIterator[Shop]:
    """A front end with buyers, and three members, each with its partitions."""
    clock = WrongClock(place / "clock")
    clock.set(OFF_SECONDS)
    async with cluster(place) as it:
        async with asyncio.TaskGroup() as starts:
            front = starts.create_task(it.start("web", "web", settings=SETTINGS))
            wrong = {**SETTINGS, **clock.settings(preloaded)}
            members = [
                starts.create_task(it.start(name, "serve", settings=settings))
                for name, settings in (("wrong", wrong), ("one", SETTINGS), ("two", SETTINGS))
            ]
        member = members[0].result()
        await it.settled(*(one.result().pid for one in members))
        async with shopping(front.result(), seed=19) as crowd:
            yield Shop(it, crowd, member, clock, Shopper(member.url, crowd.client.session))


async def _round(shop: Shop, seconds: int, size: Size) -> list[Finding]:
    """Set the clock, and see what ends when."""
    off = await _set(shop, seconds)
    owned = {partition for partition, pid in (await shop.it.owners()).items() if pid == shop.member.pid}
    expiry = Expiry(
        (shop.crowd.client, shop.client),
        owned,
        shop.crowd.buyers.memory,
        f"clock-{'ahead' if seconds > 0 else 'behind'}",
    )
    abandoned, moved, odd = await asyncio.gather(expiry.abandon(), expiry.move_prices(), expiry.repeat())
    fault = f"{FAULT}: {abs(seconds) // 60} minutes {'ahead' if seconds > 0 else 'behind'}"
    return [
        Finding(
            fault=fault,
            must="the member's clock is as wrong as it was set",
            measured=f"{off:+.0f} s by the header Date of its answers",
            held=abs(off - seconds) < NEAR_SECONDS,
        ),
        _ended(
            fault, "orders end when their buyer did not act", ACTION_SECONDS, [(a.ended, a) for a in abandoned], size
        ),
        _ended(fault, "stock is held", HOLD_SECONDS, [(a.released, a) for a in abandoned], size),
        Finding(
            fault=fault,
            must="events carry the time of the database",
            measured=f"at most {max(a.stamped for a in abandoned):.2f} s outside of the request that made them",
            held=all(a.stamped < LATE_SECONDS for a in abandoned),
        ),
        Finding(
            fault=fault,
            must=f"a price that moved is honoured for {LOCK_SECONDS} s, and not after",
            measured=few(moved),
            held=not moved,
        ),
        Finding(
            fault=fault,
            must="a repeat under its key gets the first answer, whoever is asked",
            measured=few(odd),
            held=not odd,
        ),
    ]


def _ended(fault: str, what: str, seconds: int, seen: Sequence[tuple[float | None, Abandoned]], size: Size) -> Finding:
    """Whether something ended in its time, both where the member whose clock is wrong is in charge and elsewhere."""
    times = [end for end, _ in seen if end is not None]
    first, last = min(times, default=0.0), max(times, default=0.0)
    theirs = sum(one.theirs for _, one in seen)
    latest = seconds + LATE_SECONDS
    return Finding(
        fault=fault,
        must=f"{what} {seconds} s after, none earlier, none more than {LATE_SECONDS:.0f} s later",
        measured=f"{first:.1f} to {last:.1f} s after; {len(seen) - len(times)} never; "
        f"{theirs} of {len(seen)} at the member whose clock is wrong",
        held=len(times) == len(seen) and first >= seconds and (last <= latest or not size.judged),
    )


def _kept(before: Lanes, after: Lanes, pid: int) -> Finding:
    """Whether every partition stayed where it was."""
    moved = [f"{kind}.{no:02d}" for kind, no, *rest in after if (kind, no, *rest) not in before]
    mine = sum(1 for *_, owner in after if owner == pid)
    return Finding(
        fault=FAULT,
        must="its lease is renewed: no partition changes hands",
        measured=f"{mine} of {len(after)} partitions are its own; moved: {', '.join(moved) or 'none'}",
        held=not moved and mine > 0,
    )


async def _set(shop: Shop, seconds: int) -> float:
    """Set the member's clock, and wait until it shows it; gives how far ahead it is."""
    shop.clock.set(seconds)
    async with asyncio.timeout(READ_SECONDS):
        while abs((off := await ahead(shop.client)) - seconds) > NEAR_SECONDS:  # noqa: ASYNC110 - it reads its clock when it likes
            await asyncio.sleep(AGAIN_SECONDS)
    return off


async def _lanes(dsn: str) -> Lanes:
    connection = await asyncpg.connect(dsn)
    try:
        return [tuple(row) for row in await connection.fetch(_LANES)]
    finally:
        await connection.close()
