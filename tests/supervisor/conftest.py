"""A parent that runs in the test's own event loop, over tiny children."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from ultramarket.supervisor.orders import Post, posts
from ultramarket.supervisor.parent import Parent
from ultramarket.supervisor.supervision import End, Limits

CHILD = Path(__file__).with_name("child.py")


class Family:
    """A parent, its children, and a port that they share.

    Args:
        log: where children write their names and numbers.
        options: more words for the command of each child, by its place.
    """

    def __init__(self, log: Path, replicas: int, options: Callable[[Post], Sequence[str]], limits: Limits) -> None:
        self._log = log
        listening = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = listening.getsockname()
        self.ready = asyncio.Event()
        plan = posts(replicas=replicas, workers=0, web=0)
        self.parent = Parent(
            plan,
            lambda post: [sys.executable, "-I", str(CHILD), "--log", str(log), *options(post)],
            dict(os.environ),
            [listening],
            limits,
            self.ready.set,
        )
        self.running: asyncio.Task[End] = asyncio.create_task(self.parent.run())

    def born(self) -> list[tuple[str, int]]:
        """Name and number of every process so far, in the order in which they began."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [(name, int(pid)) for name, pid in (line.split() for line in lines)]

    def pid(self, name: str) -> int:
        """The youngest of that name."""
        return [pid for one, pid in self.born() if one == name][-1]

    async def until_born(self, count: int) -> list[tuple[str, int]]:
        """Wait until so many have begun."""
        while len(born := self.born()) < count:
            assert not self.running.done()
            await asyncio.sleep(0.01)
        return born

    async def until_ready(self) -> "Family":
        """Wait until all children are ready."""
        waiting = asyncio.create_task(self.ready.wait())
        await asyncio.wait((waiting, self.running), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        assert not self.running.done()
        return self

    async def ask(self) -> str:
        """The name and number of a process that answers on the shared port."""
        reader, writer = await asyncio.open_connection(*self.address)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer.decode().strip()


Begin = Callable[..., Family]


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Begin]:
    """Starts a parent; whatever still runs at the end is killed."""
    families: list[Family] = []

    def start(
        replicas: int = 2,
        options: Callable[[Post], Sequence[str]] = lambda _: (),
        limits: Limits = Limits(grace_seconds=5.0),  # noqa: B008 - a value that never changes
    ) -> Family:
        families.append(Family(tmp_path / f"born-{len(families)}", replicas, options, limits))
        return families[-1]

    yield start
    for family in families:
        if not family.running.done():
            family.parent.fail("The test is over.")
            for process in family.parent._processes.values():
                process.send(signal.SIGKILL)
        await asyncio.wait([family.running])
