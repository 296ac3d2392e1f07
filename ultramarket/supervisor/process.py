"""A child process, and the channel over which it tells that it lives."""

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from ultramarket.roles import Role
from ultramarket.supervisor.orders import CHILD, READY, ChildOrders, ParentOrders, Post, as_variable

_COMMANDS = {Role.ALL: "serve", Role.WORKER: "worker", Role.WEB: "web"}
_READ_BYTES = 4096

Command = Callable[[Post], Sequence[str]]
"""The command line of the process for a place."""
Report = Callable[[], None]


def command_of(orders: ParentOrders) -> Command:
    """How children of the platform are started."""
    return lambda post: (
        *(sys.executable, "-m", "ultramarket.cli"),
        *orders.flags,
        _COMMANDS[post.role],
        *orders.options,
    )


class Process:
    """A process that runs. It starts when this is made.

    It stands in a session of its own: Ctrl-C reaches the parent alone, which passes it on, once. The channel's other
    end is the child's; the kernel closes it at any death, as it does with ours.

    Args:
        command: its command line.
        name: the place that it fills.
        sockets: numbers of the listening sockets that it inherits.
        environment: all of its environment but its orders.
        heard: called at signs of life.
        ready: called when it says that it does its work.

    Raises:
        OSError: the system refused.
    """

    def __init__(
        self,
        command: Sequence[str],
        name: str,
        sockets: Sequence[int],
        environment: Mapping[str, str],
        heard: Report,
        ready: Report,
    ) -> None:
        self._heard, self._ready = heard, ready
        self._channel, theirs = socket.socketpair()
        self._channel.settimeout(0)
        orders = ChildOrders(name, theirs.fileno(), tuple(sockets))
        with theirs:
            try:
                self._popen = subprocess.Popen(  # noqa: S603 - a list of our own, no shell
                    command,
                    stdin=subprocess.DEVNULL,
                    env={**environment, CHILD: as_variable(orders)},
                    pass_fds=(theirs.fileno(), *sockets),
                    start_new_session=True,
                )
            except BaseException:
                self._channel.close()
                raise
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._channel, self._read)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._popen.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal; a process that has ended meanwhile is no error."""
        with contextlib.suppress(ProcessLookupError):
            self._popen.send_signal(number)

    def ended(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        status = self._popen.poll()
        if status is not None:
            self._close()
        return status

    async def dismiss(self, seconds: float) -> None:
        """Let go of the channel, whereupon it stops by itself, and wait for its end; after the seconds, kill it."""
        self._close()
        try:
            await asyncio.to_thread(self._popen.wait, seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    def _read(self) -> None:
        try:
            said = self._channel.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:
            said = b""
        if not said:  # it ends, or has ended
            self._close()
            return
        self._heard()
        if READY in said:
            self._ready()

    def _close(self) -> None:
        if self._channel.fileno() >= 0:  # not yet closed
            self._loop.remove_reader(self._channel)
            self._channel.close()
