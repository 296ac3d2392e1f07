"""What goes wrong in a world: which replicas crash, freeze or lose their network, when, and for how long."""

import asyncio
import math
from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from actors.gateway import GatewayWorker
from tests.faults.checks import ACTORS
from tests.simulation.broker import Broker
from tests.simulation.loop import Killed, Process, VirtualLoop
from tests.simulation.network import Weather
from tests.simulation.replica import Replica
from ultramarket.runtime import failpoints

KINDS = {
    "kill": 4,
    "kill at a step": 5,
    "kill at a failpoint": 6,
    "freeze": 5,
    "cut the store": 4,
    "cut both": 2,
    "reset": 3,
    "slow": 2,
    "full": 1,
    "stop": 2,
}
BROKER_KINDS = {"cut the broker": 4, "restart the broker": 4, "block the broker": 2, "switch a consumer": 3, "nack": 6}
SHARED_KINDS = {"stop": 8, "cut the broker": 5, "restart the broker": 4}
"""Members leave in order, and join again, all the time; and they need the broker."""
LONGEST = 40.0
"""Seconds that a fault may last."""
LIVELY = ("product", "inventory", "cart", "order", "payment")
"""The kinds whose entities the people of a world have to do with; the gateway's worker is beside them."""
STEPS = failpoints.steps((*(ACTORS[kind] for kind in LIVELY), GatewayWorker({})))
"""The failpoints of their commands."""


class World(Protocol):
    """What can be harmed."""

    loop: VirtualLoop
    weather: Weather
    broker: Broker

    def replicas(self) -> Sequence[Replica]:
        """Those that live; where one owns everything, it is the first."""
        ...

    def say(self, text: str) -> None:
        """Tell who wants to know."""
        ...


class Chaos:
    """Plans and does the harm of one world."""

    def __init__(self, world: World, random: Random, *, broker: bool, shared: bool, horizon: float) -> None:
        self._world = world
        self._random = random
        kinds = {**KINDS, **(BROKER_KINDS if broker else {}), **(SHARED_KINDS if shared else {})}
        self._first = 0.0 if shared else 0.8
        count = random.choice((0, 1, 2, 3, 4, 6, 8))
        names = random.choices(list(kinds), list(kinds.values()), k=count)
        self.plan = sorted((random.uniform(0.0, horizon), name) for name in names)
        self._countdown: dict[Process, int] = {}
        self._armed: list[tuple[str, int, Process | None]] = []
        self._undo: list[Callable[[], None]] = []

    async def run(self) -> None:
        """Do what is planned, at its time."""
        loop, start = self._world.loop, self._world.loop.time()
        for at, name in self.plan:
            await asyncio.sleep(max(0.0, start + at - loop.time()))
            living = self._world.replicas()
            if not living:
                continue
            victim = living[0] if self._random.random() < self._first else self._random.choice(living)
            self._world.say(f"chaos: {name} ({victim.name})")
            getattr(self, f"_{name.replace(' ', '_')}")(victim)

    def end(self) -> None:
        """All is undone that lasts; the dead stay dead."""
        self._countdown.clear()
        self._armed.clear()
        for undo in self._undo:
            undo()

    def before(self, process: Process) -> None:
        """A process is about to make a step: perhaps its last one was the last."""
        left = self._countdown.get(process)
        if left is not None:
            self._countdown[process] = left - 1
            if left <= 0:
                del self._countdown[process]
                self._find(process).die()

    def reached(self, name: str, process: Process) -> None:
        """A process has reached a failpoint.

        Raises:
            Killed: it dies there.
        """
        for place, (armed, count, victim) in enumerate(self._armed):
            if armed == name and victim in (None, process):
                if count > 1:
                    self._armed[place] = (armed, count - 1, victim)
                    continue
                del self._armed[place]
                self._world.say(f"chaos: dies at {name}")
                self._find(process).die()
                raise Killed(name)

    def _find(self, process: Process) -> Replica:
        return next(replica for replica in self._world.replicas() if replica.process is process)

    def _seconds(self, shortest: float = 0.05) -> float:
        """Short and long ones alike."""
        return math.exp(self._random.uniform(math.log(shortest), math.log(LONGEST)))

    def _for(self, seconds: float, undo: Callable[[], None]) -> None:
        self._undo.append(undo)
        self._world.loop.call_later(seconds, undo)

    # Each kind of harm, by its name

    def _kill(self, victim: Replica) -> None:
        victim.die()

    def _kill_at_a_step(self, victim: Replica) -> None:
        self._countdown[victim.process] = int(10 ** self._random.uniform(0.0, 3.5))

    def _kill_at_a_failpoint(self, victim: Replica) -> None:
        name = self._random.choice(failpoints.NAMES if self._random.random() < 0.6 else STEPS)
        process = self._random.choice((victim.process, None))
        self._armed.append((name, self._random.choice((1, 1, 2, 3, 5, 9)), process))

    def _freeze(self, victim: Replica) -> None:
        def thaw() -> None:
            victim.process.frozen = False

        victim.process.frozen = True
        if self._random.random() < 0.7:
            victim.vanish()  # its machine stands still: the server hears nothing of it
        self._for(self._seconds(), thaw)

    def _cut_the_store(self, victim: Replica) -> None:
        def mend() -> None:
            victim.link.cut = False

        victim.link.cut = True
        victim.vanish()
        self._for(self._seconds(), mend)

    def _cut_the_broker(self, victim: Replica) -> None:
        broker, name = self._world.broker, victim.name
        broker.unreachable.add(name)
        broker.cut(name, self._random.uniform(0.0, 5.0), self._random.uniform(0.0, 5.0))
        self._for(self._seconds(), lambda: broker.unreachable.discard(name))

    def _cut_both(self, victim: Replica) -> None:
        self._cut_the_store(victim)
        self._cut_the_broker(victim)

    def _reset(self, victim: Replica) -> None:
        def mend() -> None:
            victim.link.resets = 0.0

        victim.link.resets = self._random.choice((0.02, 0.1, 0.5))
        self._for(self._random.uniform(0.1, 5.0), mend)

    def _slow(self, victim: Replica) -> None:
        def mend() -> None:
            victim.link.slow = 1.0

        victim.link.slow = self._random.choice((10.0, 50.0))
        self._for(self._random.uniform(0.5, 5.0), mend)

    def _full(self, _victim: Replica) -> None:
        def mend() -> None:
            self._world.weather.full = False

        self._world.weather.full = True
        self._for(self._random.uniform(0.1, 5.0), mend)

    def _stop(self, victim: Replica) -> None:
        self._world.loop.call_soon(victim.quit.set, context=victim.process.context())

    def _restart_the_broker(self, _victim: Replica) -> None:
        self._world.broker.restart(self._random.uniform(0.1, 10.0))

    def _block_the_broker(self, _victim: Replica) -> None:
        self._world.broker.block()
        self._for(self._seconds(), self._world.broker.unblock)

    def _nack(self, _victim: Replica) -> None:
        self._world.broker.nack(self._random.choice((0.05, 0.2, 0.5)))
        self._for(self._random.uniform(0.5, 10.0), lambda: self._world.broker.nack(0.0))

    def _switch_a_consumer(self, _victim: Replica) -> None:
        queues = self._world.broker.queues
        # Most queues are idle: where nothing is held, nothing comes back.
        holding = [name for name, queue in queues.items() if queue.consumers and queue.consumers[0].held]
        if queues:
            self._world.broker.switch(self._random.choice(holding or list(queues)))
