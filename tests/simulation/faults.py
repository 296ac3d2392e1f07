"""Faults planted into the product, one at a time, to see that the simulation finds them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from actors import order_sends
from actors.gateway import GatewayWorker
from tests.simulation import store
from tests.simulation.replica import LocalClock
from ultramarket.adapters.broker_mailbox import BrokerMailbox, Consumer, Key
from ultramarket.adapters.broker_wire import Envelope, delivery_of, unseal
from ultramarket.messages.inventory import ReleaseHold
from ultramarket.messages.payment import CallGateway
from ultramarket.ports.asking import Answer
from ultramarket.ports.broker import BrokerLost, Incoming
from ultramarket.runtime.actor import Send
from ultramarket.runtime.committer import Committer
from ultramarket.runtime.loading import Unit
from ultramarket.runtime.turn import Judge, Turn
from ultramarket.runtime.workers import WorkerPool

ACKNOWLEDGE_EARLY = "acknowledge before the commit"
NEW_KEY = "a new gateway key on retry"
LOCAL_CLOCK = "the local clock for expiry"
FORGOTTEN = "a compensation that is forgotten"
BROKER_ORDER = "trust the broker's order"
REQUEUE = "nack with requeue"
CANCEL = "cancel with unacknowledged messages"
GENERATIONS = "acknowledge across channel generations"


async def _acknowledge_early(self: Committer, group: list[tuple[Unit, Turn]]) -> None:
    """Answer the clients, then commit."""
    for _, turn in group:
        for delivery, answer, _ in turn.answers:
            if delivery.answer is not None and isinstance(answer, Answer):
                delivery.answer(answer)
    await _commit(self, group)


async def _work_with_new_key(self: GatewayWorker, id: str, command: CallGateway, message: str) -> Iterable[Send]:
    """Call the gateway with a key of this message, and tell the payment of the old one."""
    call = replace(command.call, key=f"{command.call.key}:{message}")
    sends = await _work(self, id, replace(command, call=call), message)
    return [Send(send.kind, send.id, replace(send.command, key=command.call.key)) for send in sends]


def _wall_time(self: LocalClock) -> datetime:
    """The time of the machine."""
    return self.wall()


def _forget_to_release(*args: Any) -> list[Send]:
    """Undo all but the holds."""
    return [send for send in _undo(*args) if not isinstance(send.command, ReleaseHold)]


def _never_early(*_: Any) -> bool:
    """Take messages as they come."""
    return False


async def _always_due(*_: Any) -> bool:
    """Make calls as their messages come."""
    return True


def _give_back(self: BrokerMailbox, key: Key, consumer: Consumer, incoming: Incoming) -> None:
    """Requeue a message that the door does not take, for later."""
    envelope, door = unseal(incoming.body), self._doors.get(key)
    if envelope.message is None or door is None or self._consumers.get(key) is not consumer:
        _arrived(self, key, consumer, incoming)
    elif not consumer.channel.closed.is_set():
        taken = door(delivery_of(envelope, self._codecs))
        settle = consumer.channel.ack if taken else consumer.channel.nack  # type: ignore[attr-defined]  # the simulated one
        settle(incoming.tag)


async def _cancel_and_go(self: BrokerMailbox, kind: str, no: int) -> None:
    """Cancel the consumer and leave it at that: what it holds, its channel goes on to hold."""
    task = self._consuming.pop((kind, no), None)
    if task is not None:
        task.cancel()
    self._doors.pop((kind, no), None)
    consumer = self._consumers.pop((kind, no), None)
    if consumer is not None and consumer.tag:
        with suppress(BrokerLost):
            await consumer.channel.cancel(consumer.tag)


def _reply_over_the_newest(
    self: BrokerMailbox, envelope: Envelope, consumer: Consumer, tag: int, answer: Answer | Exception
) -> None:
    """Acknowledge over the channel that the partition has by now."""
    newest = self._consumers.get((envelope.kind, envelope.no), consumer)
    over = Consumer(newest.channel, open=consumer.open)
    _reply(self, envelope, over, tag, answer)
    consumer.open = over.open
    if consumer.open == 0:
        consumer.answered.set()


@contextmanager
def _trusting() -> Iterator[None]:
    """Look at no message's place in the outbox."""
    with patch.object(Judge, "_is_early", _never_early), patch.object(WorkerPool, "_is_due", _always_due):
        yield


_commit = Committer._commit
_work = GatewayWorker.work
_undo = order_sends.undo
_arrived = BrokerMailbox._arrived
_reply = BrokerMailbox._reply
_PATCHES: dict[str, Callable[[], Any]] = {
    ACKNOWLEDGE_EARLY: lambda: patch.object(Committer, "_commit", _acknowledge_early),
    NEW_KEY: lambda: patch.object(GatewayWorker, "work", _work_with_new_key),
    LOCAL_CLOCK: lambda: patch.object(LocalClock, "now", _wall_time),
    FORGOTTEN: lambda: patch.object(order_sends, "undo", _forget_to_release),
    BROKER_ORDER: _trusting,
    REQUEUE: lambda: patch.object(BrokerMailbox, "_arrived", _give_back),
    CANCEL: lambda: patch.object(BrokerMailbox, "drain", _cancel_and_go),
    GENERATIONS: lambda: patch.object(BrokerMailbox, "_reply", _reply_over_the_newest),
}
PLANTS = (*sorted(store.FAULTS), *_PATCHES)
"""Every fault that can be planted."""


@contextmanager
def planted(name: str | None) -> Iterator[set[str]]:
    """Plant a fault for as long as the block runs; gives the names of those that the store is to make.

    Raises:
        ValueError: there is no such fault.
    """
    if name is None or name in store.FAULTS:
        yield {name} if name is not None else set()
    elif name in _PATCHES:
        with _PATCHES[name]():
            yield set()
    else:
        raise ValueError(f"there is no fault {name!r} to plant; there are: {', '.join(PLANTS)}")
