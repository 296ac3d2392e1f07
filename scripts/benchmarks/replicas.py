"""Processes that share a shop over RabbitMQ, against one process that has the shop alone; all on this machine."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from scripts.benchmarks.add_to_cart import CONNECTIONS, LINES, Side
from scripts.benchmarks.checkout import Buyers
from scripts.benchmarks.meter import Meter, Used
from scripts.benchmarks.rounds import Round, client_share, figures, rate, ratio
from scripts.benchmarks.rows import Row, Size
from scripts.benchmarks.shop import API, STAFF_KEY, answering, fill, free_port, postmaster, process
from tests.services.management import Management
from tests.services.rabbitmq import RabbitServer
from ultramarket.adapters.embedded_postgres import EmbeddedPostgres
from ultramarket.runtime.partitioning import partition_of

GOAL = "0.6"
CHECKOUTS = 32
PLANS = {
    "1 replica": ("--replicas", "1"),
    "2 replicas": ("--replicas", "2"),
    "4 replicas": ("--replicas", "4"),
    "a front end and a worker": ("--replicas", "0", "--web", "1", "--workers", "1"),
}
APART = "a front end and a worker"
"""Where every request goes over the broker."""
PUBLISHED = 2
"""Messages of an ask over the broker: it, and its answer."""
COUNTED_SECONDS = 12.0
"""The node counts what was published every five seconds."""
SETTLE_SECONDS = 60.0
AGAIN_SECONDS = 0.05
_OWNERS = "select count(*) filter (where owner is null) as free, count(distinct owner) as owners from partition"


@dataclass(frozen=True, slots=True)
class Ways:
    """A shop, as its carts and its buyers see it."""

    side: Side
    buyers: Buyers

    def in_partition(self) -> Side:
        """The carts of one partition alone: that of the first one."""
        (first, _), *_ = self.side.carts
        carts = [cart for cart in self.side.carts if partition_of("cart", cart[0]) == partition_of("cart", first)]
        return Side(self.side.port, self.side.prefix, self.side.meter, carts)


async def run(work: Path, size: Size, log_level: str) -> list[Row]:
    """The rows of each plan, and those of the way over the broker."""
    rows: list[Row] = []
    place = work / "replicas"
    place.mkdir()
    try:
        broker = RabbitServer(place / "broker")
        await broker.start()
    except RuntimeError as error:
        return [Row(name="replicas", value=0, unit="not measured", conditions=f"no RabbitMQ could be started: {error}")]
    try:
        async with _shop(place / "alone", log_level, ("serve",), None, size) as alone:
            for name, flags in PLANS.items():
                async with (
                    broker.management.virtual_host() as host,
                    _shop(place / name.replace(" ", "-"), log_level, ("start", *flags), (broker, host), size) as shared,
                ):
                    rows += await _plan(name, alone, shared, (broker.management, host), size, log_level)
    finally:
        await broker.stop()
    return rows


async def _plan(
    name: str, alone: Ways, shared: Ways, counted: tuple[Management, str], size: Size, log_level: str
) -> list[Row]:
    """What one plan does, in turns with the process that has its shop alone."""
    about = f"log level {log_level}; baseline: one process without a broker; RabbitMQ, both PostgreSQL and the client "
    about += "share the cores"
    before = await _published(*counted)
    pairs = [
        (
            await shared.side.round(CONNECTIONS, size.operations, number),
            await alone.side.round(CONNECTIONS, size.operations, number),
        )
        for number in range(size.rounds)
    ]
    asked = (await _published(*counted) - before) / PUBLISHED
    skipped = 1 - asked / (size.operations * size.rounds)
    rows = [
        _row(
            f"add to cart, {name}",
            "requests/s",
            pairs,
            f"{CONNECTIONS} connections, {size.entities} carts of {LINES} lines; {skipped:.0%} of the requests skip "
            f"the broker; {about}",
            GOAL if "replica" in name else "",
        )
    ]
    if name == APART:
        rows.append(_round_trip(pairs, about))
        ours, theirs = shared.in_partition(), alone.in_partition()
        narrow = [
            (
                await ours.round(CONNECTIONS, size.part(2), number),
                await theirs.round(CONNECTIONS, size.part(2), number),
            )
            for number in range(size.rounds)
        ]
        about_one = f"{CONNECTIONS} connections, {len(ours.carts)} carts, all in one partition; {about}"
        rows.append(_row(f"through one partition, {name}", "messages/s", narrow, about_one))
    orders = max(size.part(10), CHECKOUTS)
    sales = [
        (await shared.buyers.checkouts(orders, CHECKOUTS), await alone.buyers.checkouts(orders, CHECKOUTS))
        for _ in range(size.rounds)
    ]
    about_sales = f"4 requests an order, times are those of POST /orders; {orders} orders a round; {about}"
    goal = GOAL if "replica" in name else ""
    return [*rows, _row(f"checkouts, {CHECKOUTS} at a time, {name}", "orders/s", sales, about_sales, goal)]


def _row(name: str, unit: str, pairs: Sequence[tuple[Round, Round]], about: str, goal: str = "") -> Row:
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return Row(
        name=name,
        value=rate(ours),
        unit=unit,
        baseline=rate(theirs),
        ratio=ratio(ours, theirs),
        goal=goal,
        conditions=f"{about}; RabbitMQ's CPU {_each(ours).broker * 1000:.3f} ms{client_share(ours)}",
        operation=figures(ours),
        plain=figures(theirs),
    )


def _round_trip(pairs: Sequence[tuple[Round, Round]], about: str) -> Row:
    """What a request costs more for going over the broker."""
    ours, theirs = (_each([pair[side] for pair in pairs]) for side in (0, 1))
    python, broker = ours.python - theirs.python, ours.broker
    return Row(
        name="CPU of a round trip over the broker",
        value=(python + broker) * 1000,
        unit="ms",
        conditions=f"{python * 1000:.3f} ms in Python (two processes instead of one), {broker * 1000:.3f} ms in "
        f"RabbitMQ; an add to cart that crosses it, less one that does not; {about}",
    )


def _each(rounds: Sequence[Round]) -> Used:
    """What one operation used."""
    return sum((each.used for each in rounds), Used()).share(sum(len(each.latencies) for each in rounds))


@asynccontextmanager
async def _shop(
    place: Path, log_level: str, command: Sequence[str], broker: tuple[RabbitServer, str] | None, size: Size
) -> AsyncIterator[Ways]:
    """A shop with its goods and its carts."""
    place.mkdir()  # noqa: ASYNC240 - nothing else runs yet
    port, log = free_port(), place / "server.log"
    with EmbeddedPostgres(place / "database") as dsn:
        url = "" if broker is None else urlsplit(broker[0].url)._replace(path=f"/{broker[1]}").geturl()
        environment = {
            "ULTRAMARKET_STAFF_KEY": STAFF_KEY,
            "ULTRAMARKET_LOG_LEVEL": log_level,
            "ULTRAMARKET_DATABASE_URL": dsn,
            "ULTRAMARKET_BROKER_URL": url,
        }
        arguments = ("-m", "ultramarket.cli", *command, "--port", str(port), "--data-dir", str(place / "data"))
        async with process(arguments, log, environment) as started:
            await answering(port, "/health/ready", started, log)
            connection = await asyncpg.connect(dsn)
            try:
                if broker is not None:
                    await _settled(connection, int(command[2]) or 1)
                beam = None if broker is None else broker[0].pid
                meter = Meter(started.pid, postmaster(place / "database"), connection, beam)
                await fill(port)
                ways = Ways(Side(port, API, meter), Buyers(port, API, meter))
                await ways.side.make_carts(size.entities)
                await ways.buyers.checkouts(CHECKOUTS, CHECKOUTS)  # the first ones fill caches and prepare statements
                yield ways
            finally:
                await connection.close()


async def _settled(connection: "asyncpg.Connection[asyncpg.Record]", owners: int) -> None:
    """Wait until so many processes have the partitions."""
    async with asyncio.timeout(SETTLE_SECONDS):
        while True:
            row = await connection.fetchrow(_OWNERS)
            if row is not None and (row["free"], row["owners"]) == (0, owners):
                return
            await asyncio.sleep(AGAIN_SECONDS)


async def _published(management: Management, host: str) -> int:
    """Messages that the virtual host was given, once the node's count moves no more."""
    before = -1
    async with asyncio.timeout(4 * COUNTED_SECONDS):
        while True:
            told = await management.do("GET", "vhosts", host)
            count = int(told.get("message_stats", {}).get("publish", 0))
            if count == before:
                return count
            before = count
            await asyncio.sleep(COUNTED_SECONDS / 2)
