"""Keeps the log's months and the replies' days ahead of time, and drops replies that nobody may repeat any more."""

import asyncio
import re
from datetime import date, timedelta

import structlog

from ultramarket.errors import UltraMarketError, Unavailable
from ultramarket.ports.database import Database

log = structlog.get_logger()

EVERY_SECONDS = 3600.0
REPLIES_KEPT = timedelta(days=2)
"""Replies are kept for 24 hours from when they were written: a day's table may go when the next day's has ended too."""
_DAY = re.compile(r"^reply_(\d{4})_(\d{2})_(\d{2})$")


async def upkeep(database: Database, partitions: int) -> None:
    """One round: make the partitions of the months and days to come, drop the days that are over.

    Raises:
        UltraMarketError: the log was written with another number of partitions a kind.
    """
    rows = await database.fetch(
        "select (select value::int from setting where name = 'partitions') as partitions, "
        "(clock_timestamp() at time zone 'UTC')::date as today"
    )
    check_partitions(rows[0]["partitions"], partitions)
    today: date = rows[0]["today"]
    await database.execute("select make_log_partitions($1)", today)
    tables = await database.fetch(
        "select c.relname::text as name from pg_inherits i join pg_class c on c.oid = i.inhrelid "
        "where i.inhparent = 'reply'::regclass"
    )
    for name in expired([table["name"] for table in tables], today):
        await database.execute(f'drop table "{name}"')
        log.info("replies dropped", table=name)


def check_partitions(stored: int | None, ours: int) -> None:
    """Compare the number of partitions a kind.

    Raises:
        UltraMarketError: they differ.
    """
    if stored != ours:
        raise UltraMarketError(
            f"This database was made with {stored} partitions a kind, this program has {ours}: they can't change once "
            "there is data. Use the program that made it, or a new database."
        )


def expired(tables: list[str], today: date) -> list[str]:
    """The daily reply tables whose replies are all older than what is kept."""
    gone = []
    for name in tables:
        match = _DAY.match(name)
        if match and date(*map(int, match.groups())) < today - REPLIES_KEPT:
            gone.append(name)
    return gone


async def keep_up(database: Database, partitions: int) -> None:
    """A round every hour, until cancelled."""
    while True:
        await asyncio.sleep(EVERY_SECONDS)
        try:
            await upkeep(database, partitions)
        except Unavailable as error:
            log.warning("upkeep has to wait", error=str(error))
