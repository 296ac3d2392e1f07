"""What happens to a message that an actor or worker can't take: tried again at once, then later, then parked."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from ultramarket.errors import UltraMarketError, Unavailable
from ultramarket.messages.common import Wake
from ultramarket.ports.journal import Fenced, Journal
from ultramarket.ports.mailbox import Delivery
from ultramarket.runtime.failpoints import failpoint
from ultramarket.runtime.partition import Partition
from ultramarket.runtime.turn import Failure

log = structlog.get_logger()

AT_ONCE = 5
"""Tries of a message right after each other."""
DELAYS = (0.2, 1.0, 5.0)
"""Seconds before each of the later tries; after the last one the message is parked."""
REASON_LIMIT = 2000
"""Characters of a reason that are kept."""


class ActorFailed(UltraMarketError):
    """An actor raised an exception on a client's command; nothing changed. Web answers 500."""


class Poison:
    """Counts failures and parks; see `ultramarket parked`."""

    def __init__(self, sweep: Callable[[float], None], delays: Sequence[float] = DELAYS) -> None:
        self._sweep = sweep
        self._delays = delays
        self._journal: Journal | None = None
        self._to_park: asyncio.Queue[tuple[Partition, Failure]] = asyncio.Queue()

    def arrange(self, journal: Journal) -> None:
        """Park over this connection."""
        self._journal = journal

    def failed(self, partition: Partition, failure: Failure) -> None:
        """An actor or worker raised on this delivery."""
        delivery, error = failure.delivery, failure.error
        if delivery.message is not None and isinstance(error, Unavailable):
            # Nothing is wrong with the message: what it needs is away for a while.
            log.info("message postponed", kind=delivery.kind, id=delivery.id, reason=str(error))
            partition.shelve(delivery, float(error.retry_after))
            return
        log.error(
            "actor failed",
            kind=delivery.kind,
            id=delivery.id,
            command=type(delivery.command).__name__,
            message=delivery.message,
            exc_info=error,
        )
        if delivery.message is None:
            partition.settle(delivery, ActorFailed(f"{delivery.kind} failed on {type(delivery.command).__name__}"))
            if isinstance(delivery.command, Wake):
                log.error("a wake-up failed; it comes again when the timers are read next", id=delivery.id)
            return
        attempts = partition.attempts[delivery.message] = partition.attempts.get(delivery.message, 0) + 1
        if attempts < AT_ONCE:
            partition.running.pop(delivery.message, None)
            partition.push(delivery, first=True)
        elif attempts - AT_ONCE < len(self._delays):
            partition.shelve(delivery, self._delays[attempts - AT_ONCE])
        else:
            # Later messages of the pair stay behind it in the outbox from this moment on.
            partition.parking.add((delivery.source, delivery.id))
            partition.blocked.add((delivery.source, delivery.id))
            partition.shelve(delivery)
            partition.attempts.pop(delivery.message, None)
            self._to_park.put_nowait((partition, failure))

    async def run(self) -> None:
        """Park what failed for good, until cancelled."""
        while True:
            partition, failure = await self._to_park.get()
            try:
                await self._park(partition, failure.delivery, failure.error)
            except BaseException:
                self._to_park.put_nowait((partition, failure))
                raise
            partition.parking.discard((failure.delivery.source, failure.delivery.id))

    async def _park(self, partition: Partition, delivery: Delivery, error: Exception) -> None:
        if self._journal is None or partition.lane is None or delivery.message is None:
            self._sweep(1.0)
            return
        reason = _reason(error)
        try:
            failpoint("park.before")
            parked = await self._journal.park(partition.lane, delivery.message, delivery.source, reason)
            failpoint("park.after")
        except Fenced:
            log.warning("the partition moved on while a message was being parked", message=delivery.message)
            return
        if parked:
            log.error("message parked", message=delivery.message, kind=delivery.kind, id=delivery.id, reason=reason)


def _reason(error: Exception) -> str:
    """Why a message is parked, as a text that the store surely takes."""
    text = f"{type(error).__name__}: {error}"[:REASON_LIMIT]
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
