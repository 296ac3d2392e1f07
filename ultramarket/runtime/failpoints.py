"""Named places where a test can make the process die; nearly free while nobody asks for it.

Arm one with `ULTRAMARKET_TEST_FAILPOINT=name` or `name:3` (the third time it is reached): the process kills itself
with SIGKILL there, as an operator, the kernel or a power cut would. A test in the same process sets `watcher` instead.

There are two sorts: the places of the runtime in `POINTS`, and for every command that an actor or worker takes the
moments before and after the commit of the turn that takes it, named from the cast's own unions of commands: see
`steps`. A new step of a saga thereby has its failpoints from the start.
"""

import os
import signal
from collections.abc import Callable, Iterable
from typing import Any, get_args

from ultramarket.errors import UltraMarketError
from ultramarket.messages.common import Message
from ultramarket.runtime.actor import Actor, Worker
from ultramarket.runtime.turn import Turn

VARIABLE = "ULTRAMARKET_TEST_FAILPOINT"

POINTS = {
    "commit.before": "a group is judged and numbered; nothing of it is written",
    "commit.after": "the group is written; nobody and nothing in memory knows",
    "answer.before": "the group is written; the entities in memory are older, and nobody is answered",
    "answer.after": "who asked is answered; the messages of the group are not handed on",
    "outbox.before": "a message of the group is about to be handed on",
    "outbox.after": "a message was handed on; its outbox row stays until its receiver's commit",
    "gateway.before": "a worker has its message; the call is not made",
    "gateway.after": "the call was made; its answers are not written, its message is still in the outbox",
    "timer.before": "a timer is due and out of memory; its entity is not woken",
    "timer.after": "the wake-up waits for its turn",
    "take.before": "a partition is about to be fenced off from its last owner",
    "take.after": "a partition is taken; others of the same owner are not yet",
    "adopt.before": "partitions are about to be taken from members that are gone or have let go",
    "adopt.after": "they are taken; nothing of them is worked on yet",
    "release.before": "partitions are drained for their next owner; they still are ours",
    "release.after": "nobody owns them; the next owner is not told yet",
    "load.before": "a group needs entities, parts or kept answers that are not in memory",
    "load.after": "they are read; nothing is judged",
    "sweep.before": "the pairs behind parked messages are known; the outbox is not read",
    "sweep.after": "what waited in the outbox is in the mailboxes; the pairs that were behind still are",
    "park.before": "a message failed for good; it is still in the outbox",
    "park.after": "the message is parked; the messages behind it are still held back in memory",
    "keep.before": "a whole answer is known; only the actor's own reply is kept under its key",
    "keep.after": "the whole answer is kept; its asker has not got it",
    "drain.before": "a stop was asked for and new commands are refused; turns and calls still run",
    "drain.after": "no turn or call runs any more, or the time for it is over",
    "handover.before": "who still waited is answered; the connections are open",
    "handover.after": "all connections of the runtime are closed",
}
"""The failpoints of the runtime, and how things stand there."""

NAMES = tuple(POINTS)

Part = Actor[Any, Any, Any] | Worker[Any]


class Fuse:
    """Kills the process when a failpoint is reached for the `count`-th time."""

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self._left = count

    def __call__(self, name: str) -> None:
        """A failpoint is reached."""
        if name != self.name:
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def step(kind: str, command: type, side: str) -> str:
    """The failpoint of a command at an actor or worker; `side` is `before` or `after` the commit of its turn."""
    return f"taken.{kind}.{command.__name__}.{side}"


def steps(parts: Iterable[Part]) -> tuple[str, ...]:
    """The failpoints of all commands that these actors and workers take, e.g. `taken.inventory.ReserveStock.before`."""
    return tuple(
        step(part.kind, command, side)
        for part in parts
        for command in get_args(part.commands) or (part.commands,)
        for side in ("before", "after")
    )


def fuse(armed: str) -> Fuse | None:
    """What `name` or `name:count` arms; None for an empty text.

    Raises:
        ValueError: there is no such failpoint. The names of commands are checked when the cast is known: see `check`.
    """
    name, _, count = armed.partition(":")
    if not name:
        return None
    if name not in POINTS and not name.startswith("taken."):
        raise ValueError(f"unknown failpoint {name!r}; there are: {', '.join(NAMES)}, and taken.<kind>.<command>.after")
    return Fuse(name, int(count or "1"))


def check(parts: Iterable[Part]) -> None:
    """Check the armed failpoint of a command against the cast.

    Raises:
        UltraMarketError: no actor or worker takes such a command.
    """
    if isinstance(watcher, Fuse) and watcher.name not in POINTS and watcher.name not in (known := steps(parts)):
        raise UltraMarketError(f"unknown failpoint {watcher.name!r}; commands have: {', '.join(known)}")


watcher: Callable[[str], None] | None = fuse(os.environ.get(VARIABLE, ""))
"""Told of every failpoint that is reached, where it is set; what it raises comes out there.

The fuse of the armed failpoint, or what a test sets: a simulation lets its own processes die with a BaseException.
"""


def failpoint(name: str) -> None:
    """This place is reached."""
    if watcher is not None:
        watcher(name)


def taken(group: Iterable[tuple[object, Turn]], side: str) -> None:
    """The commands that these turns settle are about to be committed (`before`), or have been (`after`).

    Commands of the runtime itself, which belong to no saga, have no failpoint.
    """
    if watcher is None:
        return
    for _, turn in group:
        for delivery in turn.taken:
            if isinstance(delivery.command, Message):
                watcher(step(delivery.kind, type(delivery.command), side))
