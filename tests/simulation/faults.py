"""Faults planted into the product, one at a time, to see that the simulation finds them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace

from actors import order_sends
from actors.gateway import GatewayWorker
from tests.simulation import store
from tests.simulation.replica import LocalClock
from ultramarket.messages.inventory import ReleaseHold
from ultramarket.messages.payment import CallGateway
from ultramarket.ports.asking import Answer
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


@contextmanager
def _trusting() -> Iterator[None]:
    """Look at no message's place in the outbox."""
    with patch.object(Judge, "_is_early", _never_early), patch.object(WorkerPool, "_is_due", _always_due):
        yield


_commit = Committer._commit
_work = GatewayWorker.work
_undo = order_sends.undo
_PATCHES: dict[str, Callable[[], Any]] = {
    ACKNOWLEDGE_EARLY: lambda: patch.object(Committer, "_commit", _acknowledge_early),
    NEW_KEY: lambda: patch.object(GatewayWorker, "work", _work_with_new_key),
    LOCAL_CLOCK: lambda: patch.object(LocalClock, "now", _wall_time),
    FORGOTTEN: lambda: patch.object(order_sends, "undo", _forget_to_release),
    BROKER_ORDER: _trusting,
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
