"""One process of the platform: it starts, serves, and ends in order when it is asked to."""

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import structlog
import uvloop
from aiohttp import web

from ultramarket.bootstrap import Platform, platform
from ultramarket.cli.child import Tie
from ultramarket.cli.listening import allow_connections, refusal, url_of
from ultramarket.roles import Role
from ultramarket.settings import Settings
from web import ws
from web.connections import Runner
from web.turnstile import ADMISSION

log = structlog.get_logger()

BACKLOG = 1024
"""Connections that may wait to be accepted."""
ACCEPTS = 16
"""Connections that may be accepted in one turn of the event loop. libuv takes one a turn from a listening socket: many
who come at once would wait for seconds while turns are long. So the loop is given the same socket as often as this."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

LINGER_SECONDS = 2.0
"""How long a replica waits for idle connections to be used once more."""
SPARE_SECONDS = 2.0
"""For what has no limit of its own, such as closing connections."""
_LAST_SECONDS = 1.0
"""What is still unanswered when the time is over gets this long to take note of it."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Announce = Callable[[Platform, str], Awaitable[None]]
"""Told when the platform serves: the platform and its URL, which is empty where nothing listens."""


def run(
    settings: Settings,
    dsn: str,
    sockets: Sequence[socket.socket],
    announce: Announce,
    *,
    role: Role = Role.ALL,
    tie: Tie | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; a second signal ends the process at once.

    Args:
        settings: of the platform.
        dsn: its database.
        sockets: where it listens; none where it answers no HTTP.
        announce: told when it serves.
        role: which part of the platform it is.
        tie: to the parent, if one started it.

    Raises:
        UltraMarketError: the platform could not start, or had to give up.
    """
    allow_connections(settings.connection_limit)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, dsn, sockets, announce, role, tie))


class Stop:
    """The wish to stop: before the platform serves it cancels the start, afterwards it is an event.

    Args:
        main: what runs.
        seconds: how long it may take to end before the process does without it: what is committed is safe.
        tie: to the parent, if one started the process.

    Attributes:
        asked: set by the first signal.
        starting: whether the platform does not serve yet.
    """

    def __init__(self, main: "asyncio.Task[None]", seconds: float, tie: Tie | None = None) -> None:
        self.asked = asyncio.Event()
        self.starting = True
        self._main = main
        self._tie = tie
        # A thread: it works even where the event loop is what hangs.
        self._last_resort = threading.Timer(seconds, self._give_up)
        self._last_resort.daemon = True

    def on_signal(self, number: int) -> None:
        """Ask to stop; the second time there is no asking."""
        if self.asked.is_set():
            sys.stderr.flush()
            os._exit(128 + number)
        log.info("stopping", signal=signal.Signals(number).name)
        self.asked.set()
        if self._tie is not None:
            self._tie.stopping()
        self._bound_the_end()
        if self.starting:
            self._main.cancel()

    @contextmanager
    def bounding(self) -> Iterator[None]:
        """What fails in the block ends the platform; from then on that may not take longer than a stop."""
        try:
            yield
        except BaseException:
            self._bound_the_end()
            raise

    def ended(self) -> None:
        """It has ended in order."""
        self._last_resort.cancel()

    def _bound_the_end(self) -> None:
        if self._last_resort.ident is None:
            self._last_resort.start()

    def _give_up(self) -> None:
        log.error("the stop did not end within the grace period; leaving at once")
        sys.stderr.flush()
        os._exit(1)


async def _serve(
    settings: Settings, dsn: str, sockets: Sequence[socket.socket], announce: Announce, role: Role, tie: Tie | None
) -> None:
    main = asyncio.current_task()
    assert main is not None  # noqa: S101 - a coroutine that runs has a task
    stop = Stop(main, settings.grace_seconds + SPARE_SECONDS, tie)
    # The time to stop in is shared: first the requests that run, then the turns and calls behind them.
    half = settings.grace_seconds / 2
    with _signals(stop):
        try:
            async with AsyncExitStack() as stack:
                if tie is not None:
                    await stack.enter_async_context(tie.pinging())
                running = await stack.enter_async_context(
                    platform(settings.model_copy(update={"grace_seconds": half}), dsn, role=role)
                )
                with stop.bounding():
                    url = ""
                    if sockets:
                        await stack.enter_async_context(
                            _listening(running.app, sockets, half, linger=bool(settings.broker_url))
                        )
                        url = url_of(sockets)
                    log.info("serving", role=role.value, **({"url": url} if url else {}))
                    await announce(running, url)
                    _collect_rarely()
                    stop.starting = False
                    await _until(stop.asked, running.failed)
        except asyncio.CancelledError:
            if not stop.asked.is_set():
                raise
        finally:
            stop.ended()
    log.info("stopped")


def _collect_rarely() -> None:
    """Spare requests the garbage collector's long pauses: what the start made stays, and nearly all else has no cycles.

    With Python's own thresholds a collection of everything in memory comes every few thousand requests; it doubled the
    99th percentile of adding to a cart.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


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


class Doors:
    """What comes in: while they close, no connection is taken, and each answer is its connection's last.

    A request that runs is waited for before its connection is touched: aiohttp's own shutdown would drop the rest of a
    body that is still on its way.
    """

    def __init__(self) -> None:
        self._running = 0
        self._closing = False
        self._empty = asyncio.Event()
        self._empty.set()

    def install(self, app: web.Application) -> None:
        """Watch the requests of an application that does not serve yet."""
        app.middlewares.insert(0, self._pass)
        app.on_response_prepare.append(self._mark)

    async def close(self, runner: web.AppRunner, seconds: float, *, linger: bool) -> None:
        """Take no more, and let what runs finish within the seconds."""
        self._closing = True
        for site in runner.sites:
            await site.stop()
        try:
            async with asyncio.timeout(seconds):
                await ws.close(runner.app)
                if linger:
                    await _deserted(runner)
                await self._empty.wait()
        except TimeoutError:
            log.warning("requests still run after the grace period; they are given up", requests=self._running)
        await runner.cleanup()

    @web.middleware
    async def _pass(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._running += 1
        self._empty.clear()
        try:
            return await handler(request)
        finally:
            self._running -= 1
            if not self._running:
                self._empty.set()

    async def _mark(self, _request: web.Request, response: web.StreamResponse) -> None:
        if self._closing:
            response.headers["Connection"] = "close"
            response.force_close()


async def _deserted(runner: web.AppRunner) -> None:
    """Wait until clients have gone, for a while: a request on its way when its connection is closed is lost."""
    loop = asyncio.get_running_loop()
    end = loop.time() + LINGER_SECONDS
    while runner.app[ADMISSION].connections and loop.time() < end:  # noqa: ASYNC110 - an event would cost every connection
        await asyncio.sleep(0.02)


@asynccontextmanager
async def _listening(
    app: web.Application, sockets: Sequence[socket.socket], seconds: float, *, linger: bool
) -> AsyncIterator[None]:
    """Accept connections; in the end take no more, and let the requests that run finish within the seconds.

    Args:
        app: answers.
        sockets: to accept from.
        seconds: for the requests that run.
        linger: others go on: who has a connection is told with its next answer to come by another one.
    """
    doors = Doors()
    doors.install(app)
    runner = Runner(app, shutdown_timeout=_LAST_SECONDS)
    await runner.setup()
    try:
        for bound in sockets:
            for one in (*(bound.dup() for _ in range(ACCEPTS - 1)), bound):
                await _accept(runner, one)
        yield
    finally:
        await doors.close(runner, seconds, linger=linger)


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
