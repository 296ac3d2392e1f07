"""What a server process and its database use: CPU, write-ahead log, transactions."""

from dataclasses import dataclass

import asyncpg
import psutil  # type: ignore[import-untyped]  # it brings no types

_ACTIVITY = """
select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint as wal,
    (select xact_commit from pg_stat_database where datname = current_database()) as transactions
"""


@dataclass(frozen=True, slots=True)
class Used:
    """What was used up to a moment, or between two.

    Attributes:
        python: CPU seconds of the process that serves.
        postgres: CPU seconds of all processes of the database server.
        wal: bytes of write-ahead log.
        transactions: transactions committed in the database.
    """

    python: float = 0.0
    postgres: float = 0.0
    wal: int = 0
    transactions: int = 0

    def __add__(self, other: "Used") -> "Used":
        return Used(
            self.python + other.python,
            self.postgres + other.postgres,
            self.wal + other.wal,
            self.transactions + other.transactions,
        )

    def __sub__(self, other: "Used") -> "Used":
        return self + Used(-other.python, -other.postgres, -other.wal, -other.transactions)

    def cpu(self, operations: int) -> str:
        """CPU milliseconds of one operation."""
        share = 1000 / operations
        return f"Python {self.python * share:.2f} ms, PostgreSQL {self.postgres * share:.2f} ms"


class Meter:
    """Reads what a process and the database server of a connection have used so far."""

    def __init__(self, server: int, postgres: int, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._server = psutil.Process(server)
        self._postgres = psutil.Process(postgres)
        self._connection = connection

    async def read(self) -> Used:
        """The figures of this moment; the transactions are behind by up to a second."""
        row = await self._connection.fetchrow(_ACTIVITY)
        assert row is not None  # noqa: S101 - a select without a condition
        own = self._server.cpu_times()
        return Used(own.user + own.system, _with_children(self._postgres), row["wal"], row["transactions"])


def _with_children(process: psutil.Process) -> float:
    """CPU seconds of a process, its children, and those children that are gone."""
    own = process.cpu_times()
    seconds = own.user + own.system + own.children_user + own.children_system
    for child in process.children():
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system
    return float(seconds)
