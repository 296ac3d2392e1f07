"""How many SQL statements an operation executes: counted in the database server's own log, in a round of its own.

pg_stat_statements is no part of the embedded PostgreSQL. So for one short round, which is not timed, the server logs
every statement that any session executes (`log_statement = all`), `BEGIN` and `COMMIT` among them; a statement that is
prepared once and executed a thousand times counts a thousand times. Several statements sent as one text, such as those
with which asyncpg's pool tidies up a connection that it gets back, count once.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from ultramarket.adapters.embedded_postgres_cluster import SUPERUSER

APPLICATION = "benchmark"
"""Sessions of this name are the benchmark's own and don't count."""
HOW = "SQL counted in the server's log (log_statement = all) in a round of its own, upkeep included"
_OWN = {"application_name": APPLICATION}
_SETTINGS = {"log_line_prefix": "'%a|'", "log_statement": "'all'"}
_EXECUTED = re.compile(rb"^([^|\n]*)\|LOG:  (?:execute |statement: )", re.MULTILINE)
_SETTLE_SECONDS = 0.2
"""Sessions read the new settings before their next statement, once the signal has reached them."""


class Statements:
    """The statements of a block, known when it has ended."""

    count = 0


@asynccontextmanager
async def counted(dsn: str, log: Path) -> AsyncIterator[Statements]:
    """Count the statements that the server executes during the block.

    Args:
        dsn: of a database on the embedded server.
        log: the server's log.
    """
    found = Statements()
    user = urlsplit(dsn).username
    connection = await asyncpg.connect(dsn.replace(f"//{user}:", f"//{SUPERUSER}:"), server_settings=_OWN)
    try:
        for name, value in _SETTINGS.items():
            await connection.execute(f"alter system set {name} = {value}")
        try:
            await _reload(connection)
            begin = _size(log)
            yield found
            end = _size(log)
        finally:
            for name in _SETTINGS:
                await connection.execute(f"alter system reset {name}")
            await _reload(connection)
    finally:
        await connection.close()
    found.count = _executed(log, begin, end)


async def _reload(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await connection.execute("select pg_reload_conf()")
    await asyncio.sleep(_SETTLE_SECONDS)


def _size(log: Path) -> int:
    return log.stat().st_size


def _executed(log: Path, begin: int, end: int) -> int:
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read(end - begin)
    return sum(1 for match in _EXECUTED.finditer(lines) if match[1] != APPLICATION.encode())
