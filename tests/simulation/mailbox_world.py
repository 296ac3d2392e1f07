"""A broker and processes with a mailbox each, in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from tests.conformance.toys import Add, Courier, Toy
from tests.simulation.broker import Broker
from tests.simulation.virtual import virtually
from ultramarket.adapters.broker_mailbox import BrokerMailbox, queue_of
from ultramarket.ports.asking import Answer
from ultramarket.ports.mailbox import Deliver, Delivery
from ultramarket.runtime.codec import KindCodec

CODECS = {part.kind: KindCodec(part) for part in (Toy(), Courier())}
QUEUE = queue_of("toy", 3)


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - a simulation must be repeatable


class World:
    """A broker and processes with a mailbox each."""

    def __init__(self, seed: int = 1, max_length: int = 20_000) -> None:
        self.random = random = seeded(seed)
        self.broker = Broker(random, lambda: random.uniform(0.001, 0.05), max_length=max_length)
        self.processes: list[BrokerMailbox] = []
        self.answers: list[Answer | Exception] = []

    async def process(self, name: str, door: Deliver | None = None, **options: Any) -> BrokerMailbox:
        """A process; with a door it consumes the partition toy.03."""
        made = BrokerMailbox(self.broker, name, CODECS, chance=self.random, **options)
        self.processes.append(made)
        await made.start()
        await made.connected.wait()
        if door is not None:
            made.open("toy", 3, door)
            await self.rest()
        return made

    async def rest(self) -> None:
        """Let everything arrive that can."""
        await asyncio.sleep(10)

    def command(self, command: Any = None, key: str | None = None) -> Delivery:
        """A client's command; its answer is kept here."""
        return Delivery("toy", 3, "b", command or Add(n=1), "guest", "t", "c", key=key, answer=self.answers.append)


def in_a_world(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in virtual time."""

    def run() -> None:
        async def main() -> None:
            world = World()
            await test(world)
            for process in world.processes:
                await process.stop()

        virtually(main())

    run.__name__ = test.__name__
    return run
