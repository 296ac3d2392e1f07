"""The queue of one partition is full, as its consumer stands still: who asks for it is told so, nobody else waits."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import aio_pika
import asyncpg
import msgspec

from scripts.benchmarks.http_client import Connection, Reply, connections
from scripts.benchmarks.rounds import percentile
from scripts.faultlab.cluster import SETTLE_SECONDS, Cluster, cluster
from scripts.faultlab.crowd import Crowd, afterwards, shopping
from scripts.faultlab.findings import Finding, Size
from scripts.faultlab.load import API
from scripts.faultlab.managed import Managed, managed
from scripts.faultlab.probes import Probes, probing
from tests.e2e.server import Server
from ultramarket.adapters.broker_mailbox import queue_of
from ultramarket.runtime.partitioning import PARTITIONS, partition_of

LENGTH = 5
"""Messages that the queue takes, while all others take 20,000."""
ASKERS = 20
PAUSE_SECONDS = 0.05
"""After a refusal: they are no load, they only keep the queue full."""
CARTS = 4
FULL_SECONDS = 15.0
"""The longest for which the queue stays full: more than a command and a request may take."""
LEAST_SECONDS = 7.0
COMMAND_SECONDS = 5.0
SLACK_SECONDS = 1.0
NEIGHBOUR_SECONDS = 1.0
BACK_SECONDS = 5.0
AGAIN_SECONDS = 0.05
REFUSED = 503
_NAME = "select name from member where pid = $1"
FAULT = "queue full"


@dataclass
class Told:
    """What those were answered who asked for the partition behind the full queue.

    Attributes:
        codes: how often each, `200` or the code of a problem.
        statuses: how often each status.
        seconds: how long each answer took.
        hasty: refusals without a Retry-After.
    """

    codes: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    hasty: int = 0

    def note(self, reply: Reply, seconds: float) -> None:
        """An answer came."""
        self.statuses[reply.status] += 1
        self.codes[_code(reply)] += 1
        self.seconds.append(seconds)
        self.hasty += reply.status == REFUSED and reply.retry_after is None


async def run(place: Path, size: Size) -> list[Finding]:
    """Fill the queue of one partition of carts while buyers buy and probes write, then let it be consumed again."""
    async with managed(place / "broker") as broker, cluster(place, broker.url) as it:
        front = await it.start("web", "web")
        owner = await it.start("owner", "serve")  # nobody asks it over HTTP
        await it.settled(owner.pid)
        async with shopping(front, seed=16) as crowd:
            async with probing(crowd.client, crowd.buyers.memory) as probes:
                await probes.all_written(set(probes.carts))
                findings = await _fill(it, broker, owner, crowd, probes, size)
            return [*findings, *await afterwards(crowd, it.dsn, FAULT)]


async def _fill(it: Cluster, broker: Managed, owner: Server, crowd: Crowd, probes: Probes, size: Size) -> list[Finding]:
    no = Counter(partition_of("cart", cart) for cart in probes.carts).most_common(1)[0][0]
    behind = probes.of({("cart", no)})
    carts = await _carts(crowd, no)
    seconds = max(LEAST_SECONDS, min(size.away, FULL_SECONDS))
    async with _stuck(it, broker, owner, no):
        began = perf_counter()
        # Who was told to come again while the consumers changed is no neighbour of a full queue any more.
        await _written(probes, set(probes.carts) - behind)
        full = perf_counter()
        told = await _ask(int(crowd.server.url.rpartition(":")[2]), carts, seconds)
        neighbours = probes.longest(set(probes.carts) - behind, full)
        waited = {write.cart for write in probes.writes if write.began >= began} & behind
    back = await _written(probes, behind)
    effects = sum([(await _insist(crowd, "GET", f"/carts/{id}"))["version"] - 1 for id in carts])
    return _findings(told, effects, waited, neighbours, back, size)


@asynccontextmanager
async def _stuck(it: Cluster, broker: Managed, owner: Server, no: int) -> AsyncIterator[None]:
    """Let a consumer that acknowledges nothing have the queue of a partition of carts until the block ends.

    It stands in line as the next one; when the broker closes the owner's connections, it is the single active consumer.
    """
    queue = queue_of("cart", no)
    connection = await asyncpg.connect(it.dsn)
    name = await connection.fetchval(_NAME, owner.pid)
    await connection.close()
    await broker.limit(queue, LENGTH)
    try:
        async with await aio_pika.connect(broker.url) as standing:
            channel = await standing.channel()
            await channel.set_qos(prefetch_count=1)
            held = asyncio.Event()
            await (await channel.get_queue(queue)).consume(partial(_hold, held))
            await broker.close_connections(name)
            async with asyncio.timeout(SETTLE_SECONDS):
                await held.wait()
            yield
    finally:
        await broker.unlimit()


async def _hold(held: asyncio.Event, _message: object) -> None:
    held.set()


async def _carts(crowd: Crowd, no: int) -> list[str]:
    """New carts in a partition."""
    found: list[str] = []
    while len(found) < CARTS:
        cart = await _insist(crowd, "POST", "/carts")
        if partition_of("cart", cart["id"]) == no:
            found.append(cart["id"])
    return found


async def _insist(crowd: Crowd, method: str, path: str) -> Any:
    """Ask until there is room: buyers and probes may take all of it."""
    body: object = {} if method == "POST" else None
    while (answer := await crowd.client.call(method, path, body)).status == REFUSED:  # noqa: ASYNC110 - others leave
        await asyncio.sleep(PAUSE_SECONDS)
    return answer.json


async def _ask(port: int, carts: Sequence[str], seconds: float) -> Told:
    """Write to these carts over many connections, again and again, for so many seconds."""
    told = Told()
    end = perf_counter() + seconds

    async def ask(connection: Connection, cart: str) -> None:
        number = 0
        while (began := perf_counter()) < end:
            number += 1
            reply = await connection.call("PATCH", f"{API}/carts/{cart}", {"email": f"asker-{number}@example.com"})
            told.note(reply, perf_counter() - began)
            await asyncio.sleep(PAUSE_SECONDS)

    async with connections(port, ASKERS) as opened, asyncio.TaskGroup() as group:
        for number, connection in enumerate(opened):
            group.create_task(ask(connection, carts[number % len(carts)]))
    return told


async def _written(probes: Probes, carts: set[str]) -> float:
    """Wait until each of these carts has had a write that began after now; the seconds it took."""
    async with asyncio.timeout(SETTLE_SECONDS):
        return await probes.all_written(carts)


def _code(reply: Reply) -> str:
    if reply.status < 300:  # noqa: PLR2004 - HTTP
        return str(reply.status)
    return str(msgspec.json.decode(reply.body).get("code", reply.status))


def _findings(
    told: Told, effects: int, waited: set[str], neighbours: list[float], back: float, size: Size
) -> list[Finding]:
    fault = f"{FAULT}: one of {PARTITIONS} partitions of carts, its consumer stands still"
    unknown = told.codes["deadline_passed"]
    return [
        Finding(
            fault=fault,
            must="who asks for it gets 503 with Retry-After, never 500; what was refused takes no effect",
            measured=f"{dict(told.codes)} with {told.hasty} times no Retry-After; {effects} took effect, of the "
            f"{unknown} that were told that they may",
            held=set(told.statuses) == {REFUSED}
            and told.codes["mailbox_full"] > 0
            and not told.hasty
            and effects <= unknown
            and not waited,
        ),
        Finding(
            fault=fault,
            must=f"none hangs beyond the deadline of {COMMAND_SECONDS:.0f} s",
            measured=f"answered after p50 {percentile(told.seconds, 0.5) * 1000:.0f} ms, at most "
            f"{max(told.seconds):.2f} s",
            held=max(told.seconds) <= COMMAND_SECONDS + SLACK_SECONDS if size.judged else None,
        ),
        Finding(
            fault=fault,
            must=f"other partitions do not wait: p99 of the longest write to each cart <= {NEIGHBOUR_SECONDS:.0f} s",
            measured=f"of {len(neighbours)} carts p50 {percentile(neighbours, 0.5):.2f} s, "
            f"p99 {percentile(neighbours, 0.99):.2f} s, at most {max(neighbours):.2f} s",
            held=percentile(neighbours, 0.99) <= NEIGHBOUR_SECONDS if size.judged else None,
        ),
        Finding(
            fault=f"{FAULT}: consumed again",
            must=f"it goes on by itself in <= {BACK_SECONDS:.0f} s",
            measured=f"each probe cart behind it was written anew after {back:.2f} s",
            held=back <= BACK_SECONDS if size.judged else None,
        ),
    ]
