"""Commands of clients that are asked over a broker, and the answers that are waited for."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count

from ultramarket.adapters.broker_publisher import Letter, Publisher
from ultramarket.adapters.broker_wire import seal, settle_reply
from ultramarket.errors import Rejection, Unavailable
from ultramarket.ports.asking import Answer
from ultramarket.ports.broker import BrokerError, BrokerLost, Incoming, Rejected
from ultramarket.ports.mailbox import Delivery

Settle = Callable[[Answer | Exception], None]


class Asking:
    """What one process asks of others.

    Args:
        publisher: what the commands go out with.
        seconds: after this time nobody waits for an answer any more.

    Attributes:
        connected: answers can be received: commands are taken.
    """

    def __init__(self, publisher: Publisher, seconds: float) -> None:
        self._publisher = publisher
        self._seconds = seconds
        self._numbers = count(1)
        self._asked: dict[int, Settle] = {}
        self._forget_at: deque[tuple[float, int]] = deque()
        self._reply_to = ""
        self.connected = asyncio.Event()

    def __len__(self) -> int:
        """Commands whose answers are waited for."""
        return len(self._asked)

    def connect(self, reply_to: str) -> None:
        """Answers are received over this queue."""
        self._reply_to = reply_to
        self.connected.set()

    def disconnect(self) -> None:
        """Answers can't be received; those to what was asked go to a queue that is no more."""
        self.connected.clear()
        asked, self._asked = self._asked, {}
        for settle in asked.values():
            settle(lost_on_its_way())

    def ask(self, queue: str, delivery: Delivery, settle: Settle) -> bool:
        """Publish a command; False when it can't be asked now. The answer, or why there is none, is given to `settle`.

        Who does not get an answer in time gets none.
        """
        if not self.connected.is_set():
            return False
        number = next(self._numbers)
        try:
            body = seal(delivery, self._reply_to, number)
        except UnicodeEncodeError:
            settle(Answer(rejection=Rejection("too_large_or_bad_text", "A text holds a lone surrogate.", 422)))
            return True
        self._asked[number] = settle
        letter = Letter(
            queue,
            body,
            f"ask {number}",
            wanted=lambda: number in self._asked,
            failed=partial(self._failed, number),
        )
        if not self._publisher.post(letter):
            self._asked.pop(number, None)
            return False
        loop = asyncio.get_running_loop()
        if not self._forget_at:
            loop.call_later(self._seconds, self._forget)
        self._forget_at.append((loop.time() + self._seconds, number))
        return True

    def answered(self, incoming: Incoming) -> None:
        """An answer came."""
        settle_reply(incoming.body, lambda number: self._asked.pop(number, None))

    def _forget(self) -> None:
        """Nobody waits any more for what was asked so long ago."""
        loop = asyncio.get_running_loop()
        while self._forget_at and self._forget_at[0][0] <= loop.time():
            self._asked.pop(self._forget_at.popleft()[1], None)
        if self._forget_at:
            loop.call_at(self._forget_at[0][0], self._forget)

    def _failed(self, number: int, error: BrokerError) -> None:
        settle = self._asked.pop(number, None)
        if settle is None:
            return
        if isinstance(error, BrokerLost):
            settle(lost_on_its_way())
        elif isinstance(error, Rejected):
            settle(full())
        else:
            settle(Unavailable("not_ready", "This part of the shop is starting up; try again."))


def full() -> Unavailable:
    """The answer to a command that its owner or its queue has no room for."""
    return Unavailable("mailbox_full", "More is asked of this part of the shop than it can take; try again.")


def lost_on_its_way() -> Unavailable:
    """The answer to a command that may or may not have reached its owner."""
    detail = (
        "The connection between two parts of the shop broke while this was under way, so whether it took effect is not "
        "known. Look at the resource, or repeat requests with an Idempotency-Key."
    )
    return Unavailable("outcome_unknown", detail)
