"""A whole simulated world: a store, a broker, a gateway, replicas, buyers and staff, and what goes wrong with them.

In a share of the worlds one to five replicas are members that share the partitions over the broker, as with
`ULTRAMARKET_BROKER_URL`: they join late, leave in order, die and come back under other names, and some have no actors.
In the others one replica at a time owns all partitions; a second one overlaps with it only while a frozen or cut-off
owner has lost its lock and does not know it yet.
"""

import asyncio
import gc
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from msgspec.structs import replace

from tests.faults.checks import EntityRow, LoggedEvent, Snapshot, shop_faults
from tests.simulation.broker import Broker
from tests.simulation.buyers import Crowd, Work
from tests.simulation.chaos import Chaos
from tests.simulation.faults import planted
from tests.simulation.gateway import Books
from tests.simulation.lock import LockServer
from tests.simulation.logs import LOG
from tests.simulation.loop import PROCESS, Stuck, VirtualLoop
from tests.simulation.membership import MemberServer
from tests.simulation.network import Weather
from tests.simulation.oracle import Oracle, WatchedStore
from tests.simulation.replica import Plan, Replica
from ultramarket.domain.shop import DEFAULT, ShopRules, Timing
from ultramarket.runtime import failpoints
from ultramarket.runtime.committer import Limits
from ultramarket.runtime.partitioning import partition_of
from ultramarket.runtime.system import Options

START = datetime(2030, 1, 1, tzinfo=UTC)
MOST_STEPS = 1_500_000
REST_SECONDS = 1200.0
SETTLED_SECONDS = 20.0
"""Without faults, who lost the lock has ended by then, and the owner has noticed what was written meanwhile."""
HORIZON = 8.0
"""Faults begin within this time."""
SHARED = 0.4
"""Share of the worlds in which replicas share the partitions."""
FAULTY_SECONDS = 40.0
"""After this time the faults end, whether or not everybody has bought by then."""


@dataclass
class Slot:
    """A place where a replica runs, and another one when it has ended."""

    name: str
    takes: bool = True
    after: float = 0.0
    replica: Replica | None = None


@dataclass
class Result:
    """What came of a seed."""

    seed: int
    faults: list[str] = field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    commits: int = 0
    orders: int = 0

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.orders} orders, {self.commits} commits, {self.steps} steps, "
            f"{self.seconds:.3f} simulated seconds"
        )


class World:
    """One world, as its seed makes it."""

    def __init__(self, seed: int, listen: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self._listen = listen
        random = self.chance("world")
        self.loop = VirtualLoop(self.chance("loop"))  # type: ignore[abstract]  # it has no sockets
        self.oracle = Oracle(self.loop.time)
        self.store = WatchedStore(self.true_time)
        self.store.oracle = self.oracle
        self.weather = Weather(self.chance("weather"))
        self.lock = LockServer(self.loop, self.chance("lock"))
        self.members = MemberServer(self.loop, self.chance("members"), self.store)
        self.books = Books()
        self.plan = _plan(random)
        self.broker = Broker(self.chance("broker"), self.weather.delay, max_length=random.choice((20, 20_000)))
        self.crowd = Crowd(self.oracle, self.chance("crowd"), self._send, self.books.act)
        self.chaos = Chaos(
            self, self.chance("chaos"), broker=self.plan.broker, shared=self.plan.shared, horizon=HORIZON
        )
        self._random = random
        self._slots = _member_slots(random) if self.plan.shared else _slots(random.choice((1, 2, 2, 3)))
        self._over = False
        if listen is not None:
            self.store.say = self.say
            self.crowd.say = self.say

    # What the parts ask of their world

    def chance(self, name: str) -> Random:
        """A stream of random choices of its own."""
        return Random(f"{self.seed}/{name}")  # noqa: S311 - a world must be repeatable

    def true_time(self) -> datetime:
        """The store's time."""
        return START + timedelta(seconds=self.loop.time())

    def say(self, text: str) -> None:
        """Tell who wants to know."""
        if self._listen is not None:
            self._listen(f"{self.loop.time():11.6f}  {PROCESS.get(self.loop.world).name:<12}  {text}")

    def reached(self, name: str) -> None:
        """A process has reached a failpoint."""
        self.chaos.reached(name, PROCESS.get(self.loop.world))

    def replicas(self) -> Sequence[Replica]:
        """Those that live, where one owns everything, it is the first."""
        living = [slot.replica for slot in self._slots if slot.replica is not None and slot.replica.process.alive]
        return sorted(living, key=lambda replica: self.lock.holder is not replica.lock.session)

    async def _send(self, work: Work[Any]) -> Any:
        """A request of somebody, to a replica that listens."""
        listening = [replica for replica in self.replicas() if replica.front is not None]
        if not listening:
            raise ConnectionError("connection refused")
        return await self.crowd.random.choice(listening).request(work)

    # Its life

    def run(self) -> Result:
        """Live through it; gives what is wrong with it in the end."""
        self.loop.before = self.chaos.before
        result = Result(self.seed)
        try:
            self.loop.run(self._live(), MOST_STEPS)
        except Stuck as error:
            self.oracle.fault(str(error))
        except Exception as error:  # noqa: BLE001 - whatever a buyer meets is a finding
            for leaf in _leaves(error):
                self.oracle.fault(f"{type(leaf).__name__}: {leaf}")
        result.faults = [*self.oracle.faults, *self.books.faults, *self.loop.errors, *self.loop.unheard()]
        result.steps, result.seconds, result.commits = self.loop.steps, self.loop.time(), self.store.commits
        result.orders = len(self.crowd.memory.orders)
        self.loop.close()
        return result

    async def _live(self) -> None:
        clients = self.loop.process("clients")
        for slot in self._slots:
            self.loop.create_task(self._keep(slot))
        opened = self.loop.create_task(
            self.crowd.open_shop(self._random.choice((1, 2, 4, 100))), context=clients.context()
        )
        await opened
        self.weather.calm = False
        chaos = self.loop.create_task(self.chaos.run())
        crowd = self.loop.create_task(self._shop(), context=clients.context())
        await asyncio.wait([chaos, crowd], timeout=FAULTY_SECONDS)
        chaos.cancel()
        self.chaos.end()
        self.weather.calm = True
        self.say("the faults are over")
        await crowd
        await self._rest()
        await asyncio.sleep(SETTLED_SECONDS)
        await self._rest()
        for fault in self.broker.left():
            self.oracle.fault(fault)
        self.crowd.settled = True
        await self.loop.create_task(self.crowd.look_again(), context=clients.context())
        self._over = True
        for fault in (*shop_faults(self._snapshot(), self.crowd.memory.received), *self.oracle.lost()):
            self.oracle.fault(fault)
        for one, other in self.crowd.memory.rivals:
            if (("product", one) in self.store.entities) == (("product", other) in self.store.entities):
                self.oracle.fault(f"of {one} and {other} not one has the handle")

    async def _shop(self) -> None:
        random = self._random
        async with asyncio.TaskGroup() as group:
            for _ in range(random.choice((1, 2, 3, 4))):
                group.create_task(self.crowd.buyer(random.choice((1, 2, 3))))
            group.create_task(self.crowd.staff(random.choice((0, 2, 4))))
            if random.random() < 0.3:
                group.create_task(self.crowd.merger())
            if random.random() < 0.2:
                group.create_task(self.crowd.rivals())

    async def _keep(self, slot: Slot) -> None:
        """Start a replica in its place again and again, as a parent process does."""
        random, lives = self.chance(slot.name), 0
        await asyncio.sleep(slot.after)
        while not self._over:
            lives += 1
            replica = slot.replica = Replica(self, f"{slot.name}.{lives}", takes=slot.takes)
            replica.start()
            await replica.ended.wait()
            self.say(f"{replica.name} has ended: {replica.why or 'killed'}")
            longest = 20.0 if self.plan.shared and random.random() < 0.2 else 3.0  # others have to do without it
            await asyncio.sleep(random.uniform(0.2, longest))

    async def _rest(self) -> None:
        """Wait until nothing is left to be done."""
        until = self.loop.time() + REST_SECONDS
        while left := self._unfinished():
            if self.loop.time() > until:
                self.oracle.fault(f"after {REST_SECONDS} s without faults there are still {left}")
                return
            await asyncio.sleep(0.5)

    def _unfinished(self) -> dict[str, Any]:
        """What still waits, as `tests.faults.invariants.unfinished` tells it."""
        now, shop = self.true_time(), Snapshot(entities=self._entities())
        left = {
            "messages": list(self.store.outbox),
            "timers": [id for timers in self.store.timers.values() for id, due in timers.items() if due <= now],
        }
        if not any(left.values()):
            steps = {id: order.step for id, order in shop.states("order").items()}
            left["orders"] = [id for id, step in steps.items() if step not in ("paid", "rejected", "cancelled")]
            left["calls"] = [id for id, payment in shop.states("payment").items() if payment.call is not None]
        return {name: waiting for name, waiting in left.items() if waiting}

    def _entities(self) -> dict[tuple[str, str], EntityRow]:
        return {key: EntityRow(row.version, row.head, row.state) for key, row in self.store.entities.items()}

    def _snapshot(self) -> Snapshot:
        """All rows, for the checks that hold for a real database, too."""
        store = self.store
        shop = Snapshot(
            tails={key: row.tail for key, row in store.partitions.items()},
            entities=self._entities(),
            timers={(kind, id): due for (kind, _), timers in store.timers.items() for id, due in timers.items()},
            parts={key: dict(parts) for key, parts in store.parts.items() if parts},
            parked={message: row.reason for message, row in store.parked.items()},
        )
        for (kind, id), events in sorted(store.histories.items()):
            for e in events:
                no = partition_of(kind, id)
                shop.events.append(
                    LoggedEvent(kind, id, no, e.seq, e.version, e.type, e.data, e.at, e.command, e.actor, e.hash)
                )
        shop.books, shop.effects = self.books.shown()
        return shop


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _plan(random: Random) -> Plan:
    timing = Timing(
        quote_lock_seconds=random.choice((1, 900)),
        hold_seconds=random.choice((1, 3, 10, 900)),
        step_seconds=random.choice((2, 5, 30)),
        action_seconds=random.choice((1, 3, 10)),
        freeze_seconds=random.choice((1, 3, 60)),
    )
    small = random.random() < 0.4
    options = Options(
        committers=random.choice((1, 2, 2, 3)),
        mailbox_limit=random.choice((2, 3, 5)) if small else 10_000,
        memory_bytes=random.choice((1, 5_000)) if random.random() < 0.4 else 256 << 20,
        grace_seconds=random.choice((0.1, 10.0)),
        limits=random.choice((Limits(), Limits(entities=2, per_entity=1, commands=3), Limits(commands=1))),
    )
    rules: ShopRules = replace(DEFAULT, timing=timing)
    shared = random.random() < SHARED
    return Plan(rules, options, shared or random.random() < 0.4, direct=random.random() < 0.3, shared=shared)


def _slots(count: int) -> list[Slot]:
    return [Slot(f"replica {number}") for number in range(1, count + 1)]


def _member_slots(random: Random) -> list[Slot]:
    """Places for members: some come later, and some have no actors."""
    slots = _slots(random.choice((1, 2, 2, 3, 3, 4, 5)))
    for slot in slots[1:]:
        slot.takes = random.random() < 0.85
        if random.random() < 0.4:
            slot.after = random.uniform(0.0, 15.0)
    return slots


def simulate(seed: int, listen: Callable[[str], None] | None = None, plant: str | None = None) -> Result:
    """Live through the world of a seed.

    Args:
        seed: decides everything.
        listen: told of each step, a line each.
        plant: a fault of `tests.simulation.faults` to plant in the product.
    """
    gc.disable()
    try:
        with planted(plant) as in_store:
            return _lived(seed, listen, in_store)
    finally:
        _bury()


def _lived(seed: int, listen: Callable[[str], None] | None, in_store: set[str]) -> Result:
    world = World(seed, listen)
    world.store.planted = in_store
    LOG.oracle, LOG.say = world.oracle, None if listen is None else world.say
    failpoints.watcher = world.reached
    try:
        return world.run()
    finally:
        failpoints.watcher = LOG.oracle = LOG.say = None


def _bury() -> None:
    """Free what the dead left behind: their coroutines complain that they are closed, which is what death is."""
    heard, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            gc.collect()
    finally:
        sys.unraisablehook = heard
        gc.enable()
