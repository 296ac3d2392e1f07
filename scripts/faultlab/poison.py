"""Messages that nobody can read, in the outbox and in the queues: they are put aside, and no neighbour waits."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from time import perf_counter

import aio_pika
import asyncpg
from aio_pika.abc import AbstractChannel

from scripts.benchmarks.rounds import percentile
from scripts.faultlab.cluster import SETTLE_SECONDS, Cluster, cluster
from scripts.faultlab.crowd import Crowd, afterwards, few, shopping
from scripts.faultlab.findings import Finding, Size
from scripts.faultlab.probes import Probes, probing
from scripts.faultlab.replica_killed import all_settled
from tests.e2e.replicas import replicas_of
from ultramarket.adapters.broker_mailbox import queue_of
from ultramarket.adapters.rabbitmq_topology import COMMANDS, DEAD
from ultramarket.runtime.partitioning import partition_of

REPLICAS = 2
NEIGHBOUR_SECONDS = 1.0
AGAIN_SECONDS = 0.1
NAME = "a-message-that-nobody-can-read"
SOURCE = "cart:somebody-who-writes-nonsense"
UNREADABLE = {
    "an unknown type": '{{"source":"{source}","trace":"poison","body":{{"$type":"Nobody"}}}}',
    "a body that is none": '{{"source":"{source}","trace":"poison","body":17}}',
    "no envelope": '{{"body":{{}}}}',
    "no JSON": "these are no words of ours",
}
"""What stands in the outbox."""
_HEAD = b'{"kind":"cart","no":0,"id":"x","principal":"","trace":"","command_id":"","body":'
_ADDRESSED = _HEAD + b"17"
GARBAGE = {
    "no JSON": b"\x00\xff these are no words of ours",
    "no text": b'{"kind":"cart","no":0,"id":"\xff\xfe"}',
    "another program's": b'{"hello":"world"}',
    "without an end": b'{"kind":"cart","no":0,"id":',
    "endlessly deep": _HEAD + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "of nobody": b'{"kind":"nobody","no":0,"id":"x","principal":"","trace":"","command_id":"","body":{}}',
    "to be answered where nobody can be": _ADDRESSED + b',"reply_to":"' + b"x" * 256 + b'"}',
}
"""What is published straight into a queue, and becomes a dead letter."""
STRAY = {
    "a command that there is not": _ADDRESSED + b"}",
    "a message that no outbox holds": _ADDRESSED + b',"message":"gone","source":"cart:gone"}',
}
"""The same, of those that are dropped: nobody waits for an answer, or it was taken before."""
LOGGED = "none of ours came: a dead letter"
_PUT = "insert into outbox (message, kind, no, id, body, source) values ($1, 'cart', $2, $3, $4, $5)"
_PARKED = "select reason from parked where message like $1 || '%'"
# As `ultramarket parked drop` does, for all of them at once.
_DROP = "delete from parked where message like $1 || '%' returning message"
FAULT = "poison"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the poison.

    Attributes:
        began: when it was put in, by `perf_counter`.
        reasons: why each message of the outbox was parked.
        parked_after: seconds until all of them were, or the time was over.
        dead: dead letters, of what came by the queues.
        dead_after: seconds until there were enough of them, or the time was over.
    """

    began: float
    reasons: list[str]
    parked_after: float
    dead: int
    dead_after: float


async def run(place: Path, size: Size) -> list[Finding]:
    """Put poison into the outbox and the queues of carts while buyers buy and probes write; look at all of it again."""
    async with cluster(place) as it:
        server = await it.start("data", "start", "--replicas", str(REPLICAS))
        async with shopping(server, seed=17) as crowd:
            await all_settled(it, server, REPLICAS)
            lived = replicas_of(server)
            async with probing(crowd.client, crowd.buyers.memory) as probes:
                calm = await _longest(probes, set(probes.carts), 0.0)
                targets = [probes.carts[number % len(probes.carts)] for number in range(size.poison)]
                outcome = await _poison(it, targets)
                neighbours = probes.of({_partition(cart) for cart in targets})
                poisoned = await _longest(probes, neighbours, outcome.began)
                in_flight = probes.in_flight(outcome.began)
            findings = await _afterwards(it, crowd, size.poison)
            logged = server.said().count(LOGGED)
            died = lived - replicas_of(server)
    return [
        *_put_aside(outcome, size.poison, logged),
        Finding(
            fault=f"{FAULT}: {size.poison} in the outbox, as many in the queues",
            must=f"no neighbour waits: p99 of the longest write to each cart <= {NEIGHBOUR_SECONDS:.0f} s",
            measured=f"of {len(poisoned)} carts in the same partitions {_spread(poisoned)}; {_spread(calm)} before; "
            f"those in flight when it came took {in_flight:.2f} s at most",
            held=percentile(poisoned, 0.99) <= NEIGHBOUR_SECONDS if size.judged else None,
        ),
        Finding(
            fault=FAULT,
            must="no replica ends because of it",
            measured=f"{len(lived - died)} of {REPLICAS} replicas are still the same processes",
            held=not died,
        ),
        *findings,
    ]


async def _poison(it: Cluster, targets: Sequence[str]) -> Outcome:
    """Put it in for these carts, and wait until all of it was put aside, for as long as a shop may take to settle."""
    connection = await asyncpg.connect(it.dsn)
    try:
        async with await aio_pika.connect(it.broker_url) as broker:
            channel = await broker.channel()
            began = perf_counter()
            await _publish(channel, targets)
            await _put(connection, targets)
            parked, (dead, dead_after) = await asyncio.gather(
                _parked(connection, len(targets), began), _dead(channel, len(targets), began)
            )
            reasons = [row["reason"] for row in await connection.fetch(_PARKED, NAME)]
            return Outcome(began, reasons, parked, dead, dead_after)
    finally:
        await connection.close()


async def _put(connection: "asyncpg.Connection[asyncpg.Record]", targets: Sequence[str]) -> None:
    """Messages to these carts that nobody can read."""
    bodies = cycle(UNREADABLE.values())
    for number, (cart, body) in enumerate(zip(targets, bodies, strict=False)):
        source = f"{SOURCE}-{number}"
        text = body.format(source=source)
        await connection.execute(_PUT, f"{NAME}-{number}", partition_of("cart", cart), cart, text, source)


async def _publish(channel: AbstractChannel, targets: Sequence[str]) -> None:
    """Bytes that are none of ours, straight into the queues of these carts; and as many that are dropped."""
    exchange = await channel.get_exchange(COMMANDS)
    for cart, *bodies in zip(targets, cycle(GARBAGE.values()), cycle(STRAY.values()), strict=False):
        key = queue_of(*_partition(cart)).removeprefix(f"{COMMANDS}.")
        for body in bodies:
            await exchange.publish(aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT), key)


async def _parked(connection: "asyncpg.Connection[asyncpg.Record]", count: int, began: float) -> float:
    """Seconds until so many messages are parked, or it took too long."""
    while perf_counter() < began + SETTLE_SECONDS:
        if len(await connection.fetch(_PARKED, NAME)) == count:
            break
        await asyncio.sleep(AGAIN_SECONDS)
    return perf_counter() - began


async def _dead(channel: AbstractChannel, count: int, began: float) -> tuple[int, float]:
    """Dead letters, and the seconds until there were so many, or it took too long."""
    dead = 0
    while dead < count and perf_counter() < began + SETTLE_SECONDS:
        await asyncio.sleep(AGAIN_SECONDS)
        dead = (await channel.declare_queue(DEAD, passive=True)).declaration_result.message_count or 0
    return dead, perf_counter() - began


async def _afterwards(it: Cluster, crowd: Crowd, count: int) -> list[Finding]:
    """Drop what is parked, as `ultramarket parked drop` does, and look at everything else."""
    connection = await asyncpg.connect(it.dsn)
    try:
        dropped = len(await connection.fetch(_DROP, NAME))
    finally:
        await connection.close()
    findings = await afterwards(crowd, it.dsn, FAULT)
    return [
        Finding(
            fault=f"{FAULT}: dropped",
            must="nobody else's message is parked, and none of these is left",
            measured=f"{dropped} of {count} dropped",
            held=dropped == count,
        ),
        *findings,
    ]


async def _longest(probes: Probes, carts: set[str], since: float) -> list[float]:
    """The longest write to each of these carts since then, once each was written once more from now on."""
    async with asyncio.timeout(SETTLE_SECONDS):
        await probes.all_written(carts)
    return probes.longest(carts, since)


def _put_aside(outcome: Outcome, count: int, logged: int) -> list[Finding]:
    kinds = set(outcome.reasons)
    return [
        Finding(
            fault=f"{FAULT}: {count} unreadable messages in the outbox",
            must="all of them are parked with their reasons",
            measured=f"{len(outcome.reasons)} parked after {outcome.parked_after:.1f} s with {len(kinds)} reasons, "
            f"e.g. {few(sorted(kinds)[:1])}",
            held=len(outcome.reasons) == count and all(outcome.reasons),
        ),
        Finding(
            fault=f"{FAULT}: {count} times garbage in the queues, and as many stray messages",
            must="garbage becomes a dead letter, with a line in the log",
            measured=f"{outcome.dead} dead letters after {outcome.dead_after:.1f} s, {logged} lines in the log",
            held=outcome.dead == count == logged,
        ),
    ]


def _partition(cart: str) -> tuple[str, int]:
    return "cart", partition_of("cart", cart)


def _spread(seconds: list[float]) -> str:
    return f"p50 {percentile(seconds, 0.5):.2f} s, p99 {percentile(seconds, 0.99):.2f} s, at most {max(seconds):.2f} s"
