"""Members on a real PostgreSQL: they see each other, and who is gone, killed or late is seen too."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import asyncpg
import pytest
import pytest_asyncio

from ultramarket.adapters.migrations import migrate
from ultramarket.adapters.postgres_lock import OwnedElsewhere, OwnerLock
from ultramarket.adapters.postgres_membership import PostgresMembership
from ultramarket.ports.membership import MembershipLost


@pytest_asyncio.fixture
async def shop(dsn: str) -> str:
    """A database with the platform's tables."""
    connection = await asyncpg.connect(dsn)
    await migrate(connection)
    await connection.close()
    return dsn


@pytest_asyncio.fixture
async def pair(shop: str) -> AsyncIterator[tuple[PostgresMembership, PostgresMembership]]:
    """Two members, `one` and `two`, that have told of themselves once."""
    async with AsyncExitStack() as stack:
        members = []
        for name in ("one", "two"):
            member = PostgresMembership(shop, "all")
            await member.join(name)
            stack.push_async_callback(member.leave)
            await member.beat(owns=True, figures={})
            members.append(member)
        yield members[0], members[1]


async def test_members_see_each_other_and_who_can_own(pair: tuple[PostgresMembership, PostgresMembership]) -> None:
    one, two = pair
    assert (await one.beat(owns=True, figures={})).members == {"one": True, "two": True}
    await two.beat(owns=False, figures={"commits": 3})
    assert (await one.beat(owns=True, figures={})).members == {"one": True, "two": False}


async def test_who_leaves_is_gone(pair: tuple[PostgresMembership, PostgresMembership]) -> None:
    one, two = pair
    await two.leave()
    assert (await one.beat(owns=True, figures={})).members == {"one": True}


async def test_who_is_killed_is_gone_as_soon_as_its_session_is(
    shop: str, pair: tuple[PostgresMembership, PostgresMembership]
) -> None:
    one, two = pair
    connection = await asyncpg.connect(shop)
    ended = (
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where application_name = 'ultramarket member two'"
    )
    assert await connection.fetchval(ended)
    await connection.close()
    assert (await one.beat(owns=True, figures={})).members == {"one": True}
    with suppress(MembershipLost):  # it may not have heard yet that its session ended
        await two.beat(owns=True, figures={})
    assert (await two.beat(owns=True, figures={})).members == {"one": True, "two": True}


async def test_who_does_not_renew_its_lease_is_gone(
    shop: str, pair: tuple[PostgresMembership, PostgresMembership]
) -> None:
    one, _ = pair
    connection = await asyncpg.connect(shop)
    await connection.execute("update member set lease_until = now() - interval '1 second' where name = 'two'")
    await connection.close()
    assert (await one.beat(owns=True, figures={})).members == {"one": True}


async def test_one_name_is_one_member(shop: str, pair: tuple[PostgresMembership, PostgresMembership]) -> None:
    third = PostgresMembership(shop, "all")
    with pytest.raises(MembershipLost, match="session"):
        await third.join(pair[0]._name)


async def test_members_and_a_process_that_shares_with_nobody_exclude_each_other(shop: str) -> None:
    member, lock = PostgresMembership(shop, "all"), OwnerLock(shop)
    await lock.acquire()
    with pytest.raises(OwnedElsewhere, match="in use by ultramarket owner"):
        await member.join("one")
    await lock.release()
    async with asyncio.timeout(10):
        while True:
            try:
                await member.join("one")
                break
            except OwnedElsewhere:  # the server takes a moment to see that the session ended
                continue
    with pytest.raises(OwnedElsewhere, match="in use by ultramarket member one"):
        await lock.acquire()
    await member.leave()


async def test_the_others_hear_when_a_member_tells_that_partitions_are_free(shop: str) -> None:
    one, other = PostgresMembership(shop, "all"), PostgresMembership(shop, "all")
    heard, echo = asyncio.Event(), asyncio.Event()
    one.heard, other.heard = echo.set, heard.set
    await one.tell()  # nobody yet: not a member
    await one.join("one")
    await other.join("other")
    await one.tell()
    async with asyncio.timeout(5):
        await heard.wait()
    await one.beat(owns=True, figures={})
    assert not echo.is_set()
    await one.leave()
    await other.leave()


async def test_a_database_that_is_away_is_told() -> None:
    member = PostgresMembership("postgresql://nobody@127.0.0.1:1/nothing", "all")
    with pytest.raises(MembershipLost, match="can't be reached"):
        await member.join("one")


async def test_a_member_whose_database_says_nothing_hears_so_again_and_again(
    shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    member, silent = PostgresMembership(shop, "all"), asyncio.Event()
    await member.join("one")

    async def swallow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    monkeypatch.setattr("ultramarket.adapters.postgres_membership.ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(member, "_dsn", f"postgresql://x@127.0.0.1:{server.sockets[0].getsockname()[1]}/x")
    assert member._connection is not None
    member._connection.terminate()
    async with server, asyncio.timeout(5):
        for _ in range(3):
            with pytest.raises(MembershipLost, match="can't be reached"):
                await member.beat(owns=True, figures={})
        silent.set()
