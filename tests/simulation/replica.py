"""One life of a replica: the real runtime and the real cast, put together as `ultramarket.bootstrap` does it."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Protocol, TypeVar

from tests.faults.checks import CODECS as ACTOR_CODECS
from tests.simulation.broker import Broker
from tests.simulation.front import Front, SimVault
from tests.simulation.gateway import Books, SimGateway
from tests.simulation.journal import SimJournal
from tests.simulation.lock import LockServer, OwnedElsewhere, SimLock
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.membership import MemberServer, SimMembership
from tests.simulation.network import Link, Weather
from tests.simulation.oracle import Oracle, WatchedStore
from tests.simulation.store import LaneKey
from ultramarket.adapters.broker_mailbox import BrokerMailbox
from ultramarket.adapters.inprocess import InProcessMailbox
from ultramarket.bootstrap import cast
from ultramarket.domain.shop import ShopRules
from ultramarket.errors import UltraMarketError
from ultramarket.ports.journal import JournalLost, Lane, TurnRows
from ultramarket.ports.mailbox import Mailbox
from ultramarket.runtime.clock import Clock
from ultramarket.runtime.codec import KindCodec
from ultramarket.runtime.system import Options, Runtime

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Plan:
    """How the replicas of a world are set up.

    Attributes:
        broker: mailboxes go over the broker, else through memory.
        direct: with a broker: what is for a partition of the same process goes to its door at once.
        shared: the replicas are members and share the partitions, else one at a time has them all.
    """

    rules: ShopRules
    options: Options
    broker: bool
    direct: bool
    shared: bool = False
    gateway_seconds: float = 5.0


class World(Protocol):
    """What a replica is put into."""

    loop: VirtualLoop
    oracle: Oracle
    store: WatchedStore
    lock: LockServer
    members: MemberServer
    broker: Broker
    weather: Weather
    books: Books
    plan: Plan

    def chance(self, name: str) -> Random:
        """A stream of random choices of its own."""
        ...

    def true_time(self) -> datetime:
        """The store's time."""
        ...


class Wire(SimJournal):
    """A connection of a process that may die while its statement is out: the server may carry it out all the same."""

    def __init__(self, store: WatchedStore, link: Link, now: Callable[[], datetime]) -> None:
        super().__init__(store, link)
        self._watched = store
        self._now = now
        self._flying: tuple[Sequence[LaneKey], Callable[[], Any]] | None = None

    async def commit(self, lanes: Sequence[tuple[Lane, int]], turns: Sequence[TurnRows]) -> datetime:
        """Append the turns; the times of the events are looked at as they go out."""
        events = [(f"{turn.kind}:{turn.id} {event.type}", event.at) for turn in turns for event in turn.events]
        self._watched.oracle.stamped(events, self._now(), waited=any(turn.claims for turn in turns))
        return await super().commit(lanes, turns)

    def abandon(self, seconds: float | None) -> None:
        """The process died: what it sent lands after so many seconds, or never."""
        if self._flying is not None and seconds is not None:
            self._watched.land(*self._flying, seconds)

    async def _write(
        self,
        what: str,
        lanes: Sequence[LaneKey],
        statement: Callable[[], Any],
        check: Callable[[], None] = lambda: None,
        sent: Callable[[], Callable[[], object]] | None = None,
    ) -> Any:
        def landed() -> Any:
            self._flying = None
            return statement()

        self._flying = (lanes, statement)
        try:
            return await super()._write(what, lanes, landed, check, sent)
        finally:
            self._flying = None


class LocalClock(Clock):
    """A process's own clocks: the monotonic one runs a little fast or slow, and the wall clock is wrong."""

    def __init__(self, loop: VirtualLoop, random: Random, true_time: Callable[[], datetime]) -> None:
        pace, start = 1.0 + random.uniform(-0.002, 0.002), random.uniform(0.0, 1e6)
        self._true_time = true_time
        self._skew = timedelta(seconds=random.choice((-1, 1)) * random.uniform(2.0, 3600.0))
        super().__init__(lambda: start + loop.time() * pace)

    def wall(self) -> datetime:
        """What the machine's wall clock shows; nothing in the product may look at it."""
        return self._true_time() + self._skew


class Replica:
    """A process that takes the lock or becomes a member, runs the shop, and ends.

    Args:
        world: what it is put into.
        name: unique.
        takes: whether it owns partitions where they are shared.

    Attributes:
        process: its process in the loop.
        link: its way to the store.
        front: answers requests while it listens, else None.
        ended: set once it is over.
        quit: set to make it stop in order.
    """

    def __init__(self, world: World, name: str, *, takes: bool = True) -> None:
        self.name = name
        self.takes = takes
        self.process: Process = world.loop.process(name)
        self.link = Link(world.weather)
        self.lock = SimLock(world.lock, self.link, name)
        self.membership = SimMembership(world.members, self.link)
        self.front: Front | None = None
        self.runtime: Runtime | None = None
        self.ended = asyncio.Event()
        self.quit = asyncio.Event()
        self.why = ""
        self._world = world
        self._random = world.chance(name)
        self._wires: list[Wire] = []
        self._requests: dict[asyncio.Future[Any], None] = {}

    def start(self) -> None:
        """Begin to live."""
        self._task = self._world.loop.create_task(self._live(), context=self.process.context())

    def die(self) -> None:
        """End at once: nothing of it runs any more; the servers find out sooner or later."""
        if not self.process.alive:
            return
        self._world.loop.kill(self.process)
        self.front = None
        for wire in self._wires:
            wire.abandon(self.link.late())
        self.vanish()
        self._world.broker.cut(self.name, 0.0, self._random.uniform(0.0, 3.0))
        for request in self._requests:
            if not request.done():
                request.set_exception(ConnectionError("connection reset by peer"))
        self.ended.set()

    def vanish(self) -> None:
        """The store can't hear it any more, and finds that out sooner or later."""
        if self._world.plan.shared:
            self._world.members.lose(self.membership.session)
        else:
            self._world.lock.lose(self.lock.session)

    async def request(self, work: Callable[[Front], Awaitable[Result]]) -> Result:
        """Ask it as a client does, from another process.

        Raises:
            ConnectionError: it does not listen, or died meanwhile.
            TimeoutError: it does not answer.
        """
        loop, weather = self._world.loop, self._world.weather
        await asyncio.sleep(weather.delay())
        if self.front is None:
            raise ConnectionError("connection refused")
        answer: asyncio.Future[Result] = loop.create_future()
        self._requests[answer] = None
        loop.create_task(self._handle(self.front, work, answer), context=self.process.context())
        try:
            async with asyncio.timeout(15.0):
                return await answer
        finally:
            self._requests.pop(answer, None)

    async def _handle(
        self, front: Front, work: Callable[[Front], Awaitable[Result]], answer: "asyncio.Future[Result]"
    ) -> None:
        """Answer a request; the answer is on its way for a while."""
        loop, back = self._world.loop, self._world.loop.world.context()
        try:
            result = await work(front)
        except Exception as error:  # noqa: BLE001 - the client judges it
            loop.call_later(self._world.weather.delay(), _fail, answer, error, context=back)
        else:
            loop.call_later(self._world.weather.delay(), _settle, answer, result, context=back)

    async def _live(self) -> None:
        world = self._world
        try:
            if world.plan.shared:
                await self._share()
            else:
                await self._own()
        except UltraMarketError as error:
            self.why = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, a process must not end with it
            world.oracle.fault(f"{self.name} ended with {error!r}")
        self.front = None
        world.loop.call_soon(self.die, context=world.loop.world.context())

    async def _own(self) -> None:
        """Have the shop alone, for as long as the lock is ours.

        Raises:
            UltraMarketError: it can't start.
        """
        try:
            await self.lock.acquire()
        except (OwnedElsewhere, JournalLost) as error:
            self.why = str(error)
            return
        try:
            mailbox = self._mailbox()
            runtime = self._runtime(mailbox, None)
            await runtime.start()
            if isinstance(mailbox, BrokerMailbox):
                await mailbox.start()
            await self._serve(runtime, self.lock.keep())
            if isinstance(mailbox, BrokerMailbox):
                await mailbox.stop()
        finally:
            await self.lock.release()

    async def _share(self) -> None:
        """Be one of the members.

        Raises:
            UltraMarketError: it can't start.
        """
        mailbox = BrokerMailbox(self._world.broker, self.name, CODECS, chance=self._random)
        await mailbox.start()
        runtime = self._runtime(mailbox, self.membership)
        await runtime.start()
        await self._serve(runtime)
        await mailbox.stop()

    def _runtime(self, mailbox: Mailbox, membership: SimMembership | None) -> Runtime:
        world, plan = self._world, self._world.plan
        clock = LocalClock(world.loop, self._random, world.true_time)
        gateway = SimGateway(world.loop, world.books, world.weather, self._random)
        nobody: Any = None
        self.runtime = Runtime(
            lambda actors: cast(actors, plan.rules, {"sandbox": gateway}, nobody, "en", plan.gateway_seconds),
            self._wire,
            mailbox,
            SimVault(),
            plan.options,
            clock=clock,
            chance=self._random,
            membership=membership,
            takes=self.takes,
            name=self.name if membership is not None else "",
        )
        return self.runtime

    async def _serve(self, runtime: Runtime, *beside: Coroutine[Any, Any, None]) -> None:
        """Answer requests until something fails or it is told to stop."""
        world = self._world
        self.front = Front(world, runtime, world.plan.rules.timing.quote_lock_seconds)
        watchers = [asyncio.ensure_future(work) for work in (*beside, runtime.failure(), self.quit.wait())]
        done, _ = await asyncio.wait(watchers, return_when=asyncio.FIRST_COMPLETED)
        self.why = ", ".join(repr(task.exception()) for task in done)
        for task in watchers:
            task.cancel()
        self.front = None
        await runtime.stop()

    def _mailbox(self) -> Mailbox:
        world = self._world
        if world.plan.broker:
            return BrokerMailbox(world.broker, self.name, CODECS, direct=world.plan.direct, chance=self._random)
        return InProcessMailbox()

    def _wire(self) -> Wire:
        wire = Wire(self._world.store, self.link, self._world.true_time)
        self._wires.append(wire)
        return wire


def _codecs() -> dict[str, KindCodec]:
    nobody: Any = None
    rules = ShopRules(channels=())
    return {part.kind: KindCodec(part) for part in cast(nobody, rules, {}, nobody, "en")} | ACTOR_CODECS


CODECS = _codecs()
"""Of the whole cast, for who reads messages off a broker."""


def _settle(answer: "asyncio.Future[Result]", result: Result) -> None:
    if not answer.done():
        answer.set_result(result)


def _fail(answer: "asyncio.Future[Any]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
