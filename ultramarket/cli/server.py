"""One process of the platform: it starts, serves, and ends in order when it is asked to."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import structlog
import uvloop
from aiohttp import web

from ultramarket.bootstrap import Platform, platform
from ultramarket.cli.listening import refusal, url_of
from ultramarket.settings import Settings

log = structlog.get_logger()

BACKLOG = 1024
"""Connections that may wait to be accepted."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Announce = Callable[[Platform, str], Awaitable[None]]
"""Told when the platform serves: the platform and its URL."""


def run(settings: Settings, dsn: str, sockets: Sequence[socket.socket], announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends the process at once.

    Raises:
        UltraMarketError: the platform could not start, or had to give up.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, dsn, sockets, announce))


class Stop:
    """The wish to stop: before the platform serves it cancels the start, afterwards it is an event.

    Attributes:
        asked: set by the first signal.
        starting: whether the platform does not serve yet.
    """

    def __init__(self, main: "asyncio.Task[None]") -> None:
        self.asked = asyncio.Event()
        self.starting = True
        self._main = main

    def on_signal(self, number: int) -> None:
        """Ask to stop; the second time there is no asking."""
        if self.asked.is_set():
            sys.stderr.flush()
            os._exit(128 + number)
        log.info("stopping", signal=signal.Signals(number).name)
        self.asked.set()
        if self.starting:
            self._main.cancel()


async def _serve(settings: Settings, dsn: str, sockets: Sequence[socket.socket], announce: Announce) -> None:
    main = asyncio.current_task()
    assert main is not None  # noqa: S101 - a coroutine that runs has a task
    stop = Stop(main)
    # The time to stop in is shared: first the requests that run, then the turns and calls behind them.
    half = settings.grace_seconds / 2
    with _signals(stop):
        try:
            async with (
                platform(settings.model_copy(update={"grace_seconds": half}), dsn) as running,
                _listening(running.app, sockets, half),
            ):
                url = url_of(sockets)
                log.info("serving", url=url)
                await announce(running, url)
                stop.starting = False
                await _until(stop.asked, running.failed)
        except asyncio.CancelledError:
            if not stop.asked.is_set():
                raise
    log.info("stopped")


@contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.on_signal, number)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def _listening(app: web.Application, sockets: Sequence[socket.socket], seconds: float) -> AsyncIterator[None]:
    """Accept connections; in the end take no more, and let the requests that run finish within the seconds."""
    closing = False

    async def mark(_request: web.Request, response: web.StreamResponse) -> None:
        if closing:
            response.headers["Connection"] = "close"
            response.force_close()

    app.on_response_prepare.append(mark)
    # The application writes its own access log, without what a query may tell about a person.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=seconds)
    await runner.setup()
    try:
        for bound in sockets:
            await _accept(runner, bound)
        yield
    finally:
        closing = True
        await runner.cleanup()


async def _accept(runner: web.AppRunner, bound: socket.socket) -> None:
    host, port = bound.getsockname()[:2]
    try:
        await web.SockSite(runner, bound, backlog=BACKLOG).start()
    except OSError as error:  # somebody else was quicker between bind and listen
        raise refusal(error, host, port) from None


async def _until(asked: asyncio.Event, failed: "asyncio.Future[None]") -> None:
    """Wait for the wish to stop.

    Raises:
        Exception: the platform gave up first.
    """
    waiting = asyncio.create_task(asked.wait())
    try:
        await asyncio.wait((waiting, failed), return_when=asyncio.FIRST_COMPLETED)
        if failed.done() and (error := failed.exception()) is not None and not asked.is_set():
            raise error
    finally:
        waiting.cancel()
