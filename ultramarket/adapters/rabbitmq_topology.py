"""Exchanges and queues of RabbitMQ, what may be wrong with those that are there, and with a server's version.

Commands and messages go through the direct exchange `um.cmd` by the key after `um.cmd.`, e.g. `cart.07`, to the queue
of a partition. What a queue can't deliver goes through the exchange `um.dlx` to the queue `um.dead`, for people to look
at: a message is still in the outbox then, and a command was answered by its deadline.
"""

import re
from collections.abc import Mapping
from typing import Any

import aiormq

Arguments = Mapping[str, str | int | bool]

COMMANDS, DEAD_LETTERS, DEAD = "um.cmd", "um.dlx", "um.dead"
MAX_LENGTH, DELIVERY_LIMIT = 20_000, 1000
DEAD_ARGUMENTS: Arguments = {
    "x-queue-type": "quorum",
    "x-max-length": 10_000,
    "x-overflow": "drop-head",
    "x-message-ttl": 7 * 24 * 3600 * 1000,
}
OLDEST = (3, 10)

_INEQUIVALENT = re.compile(
    r"inequivalent arg '(?P<argument>[^']+)' for (?P<what>queue|exchange) '(?P<name>[^']+)'.*?"
    r"received (?P<ours>.+?) but current is (?P<theirs>.+)",
    re.DOTALL,
)
_NUMBER = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")


def arguments(max_length: int = MAX_LENGTH, delivery_limit: int = DELIVERY_LIMIT) -> Arguments:
    """Of a partition's queue: replicated, in order, bounded, refusing what is too much, losing no dead letter."""
    return {
        "x-queue-type": "quorum",
        "x-single-active-consumer": True,
        "x-delivery-limit": delivery_limit,
        "x-overflow": "reject-publish",
        "x-max-length": max_length,
        "x-dead-letter-exchange": DEAD_LETTERS,
        "x-dead-letter-strategy": "at-least-once",
    }


def route(queue: str) -> tuple[str, str]:
    """Exchange and routing key that lead to a queue."""
    key = queue.removeprefix(f"{COMMANDS}.")
    return (COMMANDS, key) if key != queue else ("", queue)


async def declare_exchanges(channel: aiormq.Channel) -> None:
    """What the queues stand between."""
    await channel.exchange_declare(COMMANDS, exchange_type="direct", durable=True)
    await channel.exchange_declare(DEAD_LETTERS, exchange_type="fanout", durable=True)
    await channel.queue_declare(DEAD, durable=True, arguments=dict(DEAD_ARGUMENTS))
    await channel.queue_bind(DEAD, DEAD_LETTERS)


async def declare(channel: aiormq.Channel, queue: str, given: Arguments) -> None:
    """The queue of a partition, and its binding."""
    await channel.queue_declare(queue, durable=True, arguments=dict(given))
    exchange, key = route(queue)
    if exchange:
        await channel.queue_bind(queue, exchange, key)


def mismatch(text: str) -> str:
    """What a server says about a queue that is there with other arguments, with what to do about it."""
    found = _INEQUIVALENT.search(text)
    if found is None:
        return f"RabbitMQ does not take what this program declares: {text}"
    argument, what, name = found["argument"], found["what"], found["name"]
    ours, theirs = (_plain(found[side]) for side in ("ours", "theirs"))
    return (
        f"The {what} {name} of RabbitMQ has {argument} = {theirs}, and this program needs {ours}. Stop every replica, "
        f"delete the {what} and start again: it is made anew, and messages that were in it come from the database."
    )


def version_faults(version: str) -> list[str]:
    """What is known to be wrong with a version of RabbitMQ, each with what to do; empty when nothing is."""
    found = _NUMBER.match(version)
    if found is None:
        return [f"RabbitMQ says its version is {version!r}, which can't be judged."]
    number = tuple(int(part or 0) for part in found.groups())
    if number < OLDEST:
        return [f"RabbitMQ {version} is too old: dead letters may get lost. Update to 3.10 or later."]
    faults = []
    if number == (3, 10, 8):
        faults.append(
            f"RabbitMQ {version} may stop to deliver where a consumer is cancelled and consumes again over the same "
            "channel. This program takes a new channel each time; an update of RabbitMQ is advised all the same."
        )
    if (4, 3, 0) <= number <= (4, 3, 5):
        faults.append(
            f"RabbitMQ {version} stops to deliver to a single active consumer for ever once its consumers have run "
            "into consumer_timeout (rabbitmq-server issue 17317). Update to 4.3.6 or later, or go back to 4.2; if a "
            "queue is stuck, restart the replicas, so that all its consumers leave."
        )
    return faults


def too_old(version: str) -> bool:
    """Whether a server lacks what the queues need: at-least-once dead letters came with 3.10."""
    found: Any = _NUMBER.match(version)
    return found is not None and (int(found[1]), int(found[2])) < OLDEST


def _plain(text: str) -> str:
    """A value as RabbitMQ shows it: `the value '20000' of type 'signedint'`, `'direct'`, or `none`."""
    quoted = re.search(r"'([^']*)'", text)
    return quoted[1] if quoted else "nothing" if text.strip().startswith("none") else text.strip()
