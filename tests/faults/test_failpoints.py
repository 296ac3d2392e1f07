"""A real server, killed at each named place under load: nothing that was promised is lost or doubled.

The servers of a chain share a data directory: each is killed where the one before left off, and what must hold is
checked at rest at the end of each chain. A failpoint that is not reached within `STOP_SECONDS` fails its chain.
"""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from tests.e2e.server import KILLED, Died, Server
from tests.faults.chains import CHAINS, SETTLE, STOPPING, command
from tests.faults.crowd import crowd
from tests.faults.errands import SETTINGS, Curating, Importing, Regulars
from ultramarket.runtime.failpoints import VARIABLE
from ultramarket.runtime.partitioning import partition_of

POISON = "a-message-that-nobody-can-read"
INSERT = "insert into outbox (message, kind, no, id, body) values ($1, 'cart', $2, $3, $4)"
SENT = "select count(*) from outbox where kind = 'cart' and id = $1 and body like $2"
ASK_SECONDS = 100.0
"""A source asks its target after a minute."""


@pytest.mark.parametrize("chain", [name for name in CHAINS if name not in ("carts", "a cart that asks", "sharing")])
async def test_killed_at_one_failpoint_after_the_other_the_shop_loses_and_doubles_nothing(
    tmp_path: Path, chain: str
) -> None:
    kind = {"goods": Importing, "the catalogue": Curating}.get(chain, Regulars)
    seed = list(CHAINS).index(chain)
    async with crowd(tmp_path / "data", seed, measured=False, settings=SETTINGS, kind=kind) as (server, buyers):
        await buyers.answers(20)
        await server.kill()
        for armed in CHAINS[chain]:
            await killed_at(server, armed)
        await server.start()
        await buyers.answers(60)


@pytest.mark.parametrize("chain", ["carts", "a cart that asks"])
async def test_killed_while_a_message_is_parked_and_a_merge_waits_behind_it_the_shop_loses_and_doubles_nothing(
    tmp_path: Path, chain: str
) -> None:
    parking, *others, asking = CHAINS[chain]
    assert command(asking) == SETTLE
    async with crowd(tmp_path / "data", 99, measured=False, settings=SETTINGS, kind=Regulars) as (server, buyers):
        assert isinstance(buyers, Regulars)
        source, target = await buyers.line("KILL-C"), await buyers.line("KILL-B")
        await poison(server, source, target)
        await server.kill()
        await server.start(**{VARIABLE: parking})
        lost = asyncio.create_task(buyers.merged(source, target, "a-merge-that-has-to-wait"))
        await until_sent(server, target, "TakeLines")
        assert await server.ended() == KILLED, parking
        lost.cancel()
        for armed in others:
            await killed_at(server, armed)
        await server.start(**{VARIABLE: asking})
        await until_sent(server, target, "SettleTransfer")
        await unpark(server)
        assert await server.ended() == KILLED, asking
        await server.start()
        assert sorted(await buyers.merged(source, target, "a-merge-that-has-to-wait")) == ["KILL-B", "KILL-C"]
        await buyers.answers(60)


async def test_killed_while_it_hands_over_its_partitions_the_shop_loses_and_doubles_nothing(
    tmp_path: Path, broker_url: str
) -> None:
    settings = {**SETTINGS, "ULTRAMARKET_BROKER_URL": broker_url}
    async with crowd(tmp_path / "data", 7, measured=False, settings=settings, kind=Regulars) as (server, buyers):
        await buyers.answers(20)
        await server.kill()
        for armed in CHAINS["sharing"]:
            await killed_at(server, armed)
        await server.start()
        await buyers.answers(60)


async def killed_at(server: Server, armed: str) -> None:
    """Start it, and see it die at the failpoint: some while they start, some under load, some when told to stop."""
    try:
        await server.start(**{VARIABLE: armed})
    except Died as death:
        code = death.code
    else:
        try:
            code = await (server.stop() if armed.partition(":")[0] in STOPPING else server.ended())
        except TimeoutError:
            raise AssertionError(f"{armed} was not reached") from None
    assert code == KILLED, armed


async def poison(server: Server, source: str, target: str) -> None:
    """A message from one cart to the other that can't be taken: what comes after it has to wait."""
    body = f'{{"source":"cart:{source}","trace":"test","body":{{"$type":"Nobody"}}}}'
    connection = await asyncpg.connect(server.dsn)
    try:
        await connection.execute(INSERT, POISON, partition_of("cart", target), target, body)
    finally:
        await connection.close()


async def until_sent(server: Server, target: str, message: str) -> None:
    """Wait until a message to a cart stands in the outbox."""
    connection = await asyncpg.connect(server.dsn)
    try:
        async with asyncio.timeout(ASK_SECONDS):
            while not await connection.fetchval(SENT, target, f"%{message}%"):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.2)
    finally:
        await connection.close()


async def unpark(server: Server) -> None:
    """Drop the message that is in the way, as `ultramarket parked drop` does."""
    connection = await asyncpg.connect(server.dsn)
    try:
        assert await connection.fetchval("delete from parked where message = $1 returning message", POISON) == POISON
    finally:
        await connection.close()
