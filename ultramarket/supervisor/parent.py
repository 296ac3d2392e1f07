"""The parent at work: it carries out what the supervision decides, and tells it what happens."""

import asyncio
import os
import random
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import structlog

from ultramarket.supervisor.orders import Post
from ultramarket.supervisor.process import Command, Process
from ultramarket.supervisor.supervision import Announce, Close, Effect, End, Limits, Note, Send, Spawn, Supervision

log = structlog.get_logger()


def has_terminal() -> bool:
    """Whether this process belongs to a terminal that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


class Parent:
    """Keeps the processes of a plan running until it is told to stop. To be made and run inside an event loop.

    Args:
        posts: the places to fill.
        command: how the process of a place is started.
        environment: what children find in theirs.
        sockets: the open listening sockets, which children inherit.
        limits: how patient it is.
        announce: called once, when all are ready.
    """

    def __init__(
        self,
        posts: Sequence[Post],
        command: Command,
        environment: Mapping[str, str],
        sockets: Sequence[socket.socket],
        limits: Limits,
        announce: Callable[[], None],
    ) -> None:
        self._supervision = Supervision(posts, limits, random.random)
        self._seconds = limits.grace_seconds
        self._command = command
        self._environment = environment
        self._sockets = list(sockets)
        self._announce = announce
        self._processes: dict[str, Process] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[End] = self._loop.create_future()

    async def run(self) -> End:
        """Run until everything has ended; gives the exit status, with a reason if it is a failure.

        SIGTERM, SIGINT and the end of the terminal end all in order, at the second time at once; SIGHUP replaces one
        process after the other.

        Raises:
            Exception: the parent itself is at fault; its children have stopped.
        """
        self._loop.set_exception_handler(self._broken)
        with self._signals():
            self._do(self._supervision.start(self._now()))
            try:
                return await self._end
            finally:
                if self._alarm is not None:
                    self._alarm.cancel()
                self._let_go()
                await asyncio.gather(*(one.dismiss(self._seconds) for one in self._processes.values()))

    def fail(self, reason: str) -> None:
        """End everything in order, because of something that no restart mends."""
        self._do(self._supervision.fail(reason, self._now()))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(number: signal.Signals) -> None:
            self._do(self._supervision.stop(number, self._now()))

        def roll() -> None:
            if at_terminal and not has_terminal():
                stop(signal.SIGHUP)  # a terminal that is closed sends this signal, too
            else:
                self._do(self._supervision.roll(self._now()))

        # `nohup` ignores the signal: then the end of the terminal means nothing.
        at_terminal = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and has_terminal()

        self._loop.add_signal_handler(signal.SIGTERM, stop, signal.SIGTERM)
        self._loop.add_signal_handler(signal.SIGINT, stop, signal.SIGINT)
        self._loop.add_signal_handler(signal.SIGHUP, roll)
        self._loop.add_signal_handler(signal.SIGCHLD, self._look_for_dead)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                self._loop.remove_signal_handler(number)

    def _broken(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        if (error := context.get("exception")) is not None and not self._end.done():
            self._end.set_exception(error)

    def _now(self) -> float:
        return self._loop.time()

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            self._carry_out(effect)
        if self._alarm is not None:
            self._alarm.cancel()
        at = self._supervision.wake_at()
        self._alarm = None if at is None or self._end.done() else self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        self._do(self._supervision.tick(self._now()))

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Spawn(post):
                self._spawn(post)
            case Send(post, number):
                if process := self._processes.get(post.name):
                    process.send(number)
            case Announce():
                self._tell()
            case Close():
                self._let_go()
            case Note(level, text, replica):
                log.log(level, text, **({"replica": replica} if replica else {}))
            case End():
                if not self._end.done():
                    self._end.set_result(effect)

    def _tell(self) -> None:
        try:
            self._announce()
        except OSError as error:  # nobody reads what it prints, which is no reason to sell nothing
            log.warning("it could not be announced that all are ready", reason=str(error))

    def _let_go(self) -> None:
        while self._sockets:
            self._sockets.pop().close()

    def _spawn(self, post: Post) -> None:
        name = post.name
        sockets = [one.fileno() for one in self._sockets] if post.role.has_http else []

        def heard() -> None:
            self._do(self._supervision.heard(name, self._now()))

        def ready() -> None:
            log.info("ready", replica=name, pid=self._processes[name].pid)
            self._do(self._supervision.ready(name, self._now()))

        try:
            process = Process(self._command(post), name, sockets, self._environment, heard, ready)
        except OSError as error:
            log.exception("the system refused a process", replica=name, reason=str(error))
            self._loop.call_soon(self._died, name, None)
            return
        self._processes[name] = process
        log.info("started", replica=name, pid=process.pid)

    def _look_for_dead(self) -> None:
        """SIGCHLD says that some have ended, not how many or which."""
        for name, process in list(self._processes.items()):
            status = process.ended()
            if status is not None:
                del self._processes[name]
                self._died(name, status)

    def _died(self, name: str, status: int | None) -> None:
        self._do(self._supervision.died(name, status, self._now()))
