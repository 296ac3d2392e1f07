"""Keeps the log's months and the replies' days ahead of time, and drops replies that nobody may repeat any more."""

import asyncio
import re
from datetime import date, timedelta
from typing import Any

import msgspec
import structlog

from ultramarket.errors import UltraMarketError, Unavailable
from ultramarket.messages.partitions import FEWER
from ultramarket.ports.database import Database
from ultramarket.runtime.partitioning import PARTITIONS

log = structlog.get_logger()

EVERY_SECONDS = 3600.0
AGAIN_SECONDS = 60.0
"""After a round that had to wait."""
LOCK_TIMEOUT = "200ms"
"""A change of the tables waits for everybody who reads them, a backup for example, and all commits wait behind it."""
REPLIES_KEPT = timedelta(days=2)
"""Replies are kept for 24 hours from when they were written: a day's table may go when the next day's has ended too."""
PARTITIONS_KEPT = (
    "select (select json_object_agg(name, value)::text from setting where name like 'partitions%') as partitions"
)
"""Reads the numbers of partitions that a database keeps."""
_DAY = re.compile(r"^reply_(\d{4})_(\d{2})_(\d{2})$")


async def upkeep(database: Database) -> bool:
    """One round: make the partitions of the months and days to come, drop the days that are over.

    Returns:
        False when somebody reads the tables for so long that it has to be tried again; today and tomorrow are there.

    Raises:
        UltraMarketError: the log was written with another number of partitions a kind.
        Unavailable: the database can't be reached, or the tables of tomorrow can't be made.
    """
    rows = await database.fetch(f"{PARTITIONS_KEPT}, (clock_timestamp() at time zone 'UTC')::date as today")
    check_partitions(rows[0]["partitions"])
    today: date = rows[0]["today"]
    try:
        await _change(database, "select make_log_partitions($1)", today)
        tables = await database.fetch(
            "select c.relname::text as name from pg_inherits i join pg_class c on c.oid = i.inhrelid "
            "where i.inhparent = 'reply'::regclass"
        )
        for name in expired([table["name"] for table in tables], today):
            await _change(database, f'drop table "{name}"')
            log.info("replies dropped", table=name)
    except Unavailable as error:
        tomorrow = today + timedelta(days=1)
        names = [f"event_{tomorrow:%Y_%m}", f"reply_{today:%Y_%m_%d}", f"reply_{tomorrow:%Y_%m_%d}"]
        row = await database.fetchrow(
            "select bool_and(to_regclass(n) is not null) as there from unnest($1::text[]) n", names
        )
        if row is None or not row["there"]:
            raise
        log.warning("upkeep has to wait", error=str(error))
        return False
    return True


async def _change(database: Database, sql: str, *args: Any) -> None:
    """Change tables, or leave it when they are not free at once."""
    async with database.transaction() as connection:
        await connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
        await connection.execute(sql, *args)


def check_partitions(stored: str | None) -> None:
    """Compare the numbers of partitions with those that a database keeps, which `PARTITIONS_KEPT` reads.

    Raises:
        UltraMarketError: they differ.
    """
    kept = msgspec.json.decode(stored or "{}", type=dict[str, str])
    ours = {"partitions": str(PARTITIONS), **{f"partitions.{kind}": str(count) for kind, count in FEWER.items()}}
    for name in sorted(kept.keys() | ours.keys()):
        if kept.get(name) != ours.get(name):
            raise UltraMarketError(
                f"This database was made with {name} = {kept.get(name)}, this program has {ours.get(name)}: it can't "
                "change once there is data. Use the program that made it, or a new database."
            )


def expired(tables: list[str], today: date) -> list[str]:
    """The daily reply tables whose replies are all older than what is kept."""
    gone = []
    for name in tables:
        match = _DAY.match(name)
        if match and date(*map(int, match.groups())) < today - REPLIES_KEPT:
            gone.append(name)
    return gone


async def keep_up(database: Database) -> None:
    """A round every hour, until cancelled; sooner after one that could not be finished."""
    pause = EVERY_SECONDS
    while True:
        await asyncio.sleep(pause)
        try:
            pause = EVERY_SECONDS if await upkeep(database) else AGAIN_SECONDS
        except Unavailable as error:
            pause = AGAIN_SECONDS
            log.warning("upkeep has to wait", error=str(error))
