"""A process that `ultramarket start` has started: its tie to the parent."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import structlog

from ultramarket.supervisor.orders import PING, PING_SECONDS, READY, ChildOrders, take_child_orders

log = structlog.get_logger()


class Tie:
    """The channel to the parent, and what the parent handed over.

    Attributes:
        name: the place that this process fills, e.g. `replica-1`.
        sockets: the open listening sockets.
    """

    def __init__(self, orders: ChildOrders) -> None:
        self.name = orders.name
        self.sockets = [socket.socket(fileno=number) for number in orders.sockets]
        self._channel = socket.socket(fileno=orders.channel)
        # No process that this one starts keeps the channel or the port.
        for one in (self._channel, *self.sockets):
            one.set_inheritable(False)
        self._stopping = False

    @classmethod
    def taken(cls) -> Self | None:
        """The tie of this process; None if no parent started it. To be called before the settings are read."""
        orders = take_child_orders()
        return None if orders is None else cls(orders)

    def bind(self, stop_seconds: float) -> None:
        """Name the process in every line of its log, and end in order when the parent is gone.

        Args:
            stop_seconds: how long the end may take, whatever the event loop does.
        """
        structlog.contextvars.bind_contextvars(replica=self.name)
        threading.Thread(target=self._outlive_no_parent, args=(stop_seconds,), name="parent", daemon=True).start()

    def stopping(self) -> None:
        """The process was asked to stop: the parent need not be there for it any more."""
        self._stopping = True

    def ready(self) -> None:
        """Tell the parent that this process does its work."""
        self._send(READY)

    @asynccontextmanager
    async def pinging(self) -> AsyncIterator[None]:
        """Tell the parent that the event loop turns, for as long as the block runs."""
        task = asyncio.create_task(self._ping(), name="ping")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _ping(self) -> None:
        while True:
            self._send(PING)
            await asyncio.sleep(PING_SECONDS)

    def _send(self, said: bytes) -> None:
        # A parent that does not read is frozen, one that is gone is noticed by the thread: nothing to mend here.
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            self._channel.send(said, socket.MSG_DONTWAIT)

    def _outlive_no_parent(self, stop_seconds: float) -> None:
        """Wait for the end of the channel: the kernel closes it at any death of the parent.

        A thread sees it even before there is an event loop, and when that hangs.
        """
        with contextlib.suppress(ConnectionResetError):
            while self._channel.recv(1):
                pass
        if self._stopping:
            return
        log.warning("the parent is gone: stopping")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(stop_seconds)
        sys.stderr.flush()
        os._exit(1)
