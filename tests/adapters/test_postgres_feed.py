"""The log's end in PostgreSQL: the contract, and months of the log that come and go."""

from datetime import UTC, datetime

import pytest

from tests.conformance.feed import Append, FeedContract
from tests.views.conftest import Log
from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.adapters.postgres_feed import PostgresFeed
from ultramarket.runtime.partitioning import partition_of

MONTH = datetime.now(UTC).day * 86_400.0
"""Seconds back to the last day of the month before."""
NO = partition_of("cart", "a")


@pytest.fixture
def feed(database: PostgresDatabase) -> PostgresFeed:
    return PostgresFeed(database)


@pytest.fixture
def append(database: PostgresDatabase) -> Append:
    return Log(database).append


class TestPostgresFeed(FeedContract):
    """Passes the contract of every reader of the log's end."""


async def test_events_of_several_months_are_one_log(feed: PostgresFeed, append: Append) -> None:
    for version, age in ((1, MONTH), (2, MONTH), (3, 0.0)):
        await append("cart", "a", version, no=NO, age=age)
    assert [event.version for event in await feed.history("cart", "a", 0, 10)] == [1, 2, 3]
    assert [event.seq for event in await feed.after({("cart", NO): 1}, 10)] == [2, 3]


async def test_what_was_archived_leaves_a_gap_before_the_rest(
    feed: PostgresFeed, append: Append, database: PostgresDatabase
) -> None:
    for version, age in ((1, MONTH), (2, MONTH), (3, 0.0)):
        await append("cart", "a", version, no=NO, age=age)
    row = await database.fetchrow("select tableoid::regclass::text as name from event where version = 1")
    assert row is not None
    await database.execute(f"alter table event detach partition {row['name']}")
    assert [event.version for event in await feed.history("cart", "a", 0, 10)] == [3]
    assert [event.seq for event in await feed.after({("cart", NO): 0}, 10)] == [3]
    assert await feed.tails([("cart", NO)]) == {("cart", NO): 3}
