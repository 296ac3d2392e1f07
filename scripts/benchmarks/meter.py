"""What a server process and its database use: CPU, write-ahead log, transactions, memory."""

import os
import time
from dataclasses import dataclass, fields

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
        python: CPU seconds of the process that serves, or of a parent and its replicas.
        postgres: CPU seconds of all processes of the database server.
        wal: bytes of write-ahead log.
        transactions: transactions committed in the database.
        client: CPU seconds of this process, which asks; 0 where it is the one that serves.
        broker: CPU seconds of the broker, where there is one.
    """

    python: float = 0.0
    postgres: float = 0.0
    wal: float = 0
    transactions: float = 0
    client: float = 0.0
    broker: float = 0.0

    def __add__(self, other: "Used") -> "Used":
        return Used(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Used)))

    def __sub__(self, other: "Used") -> "Used":
        return Used(*(getattr(self, field.name) - getattr(other, field.name) for field in fields(Used)))

    def share(self, operations: int) -> "Used":
        """What one of the operations used."""
        return Used(*(getattr(self, field.name) / operations for field in fields(Used)))


class Meter:
    """Reads what a process and the database server of a connection have used so far.

    Args:
        server: pid of the process.
        postgres: pid of the database's first process.
        connection: to the database.
        broker: pid of the broker, where there is one; then what the server's children use counts, too.
    """

    def __init__(
        self,
        server: int,
        postgres: int,
        connection: "asyncpg.Connection[asyncpg.Record]",
        broker: int | None = None,
    ) -> None:
        self._server = psutil.Process(server)
        self._postgres = psutil.Process(postgres)
        self._broker = None if broker is None else psutil.Process(broker)
        self._connection = connection

    async def read(self) -> Used:
        """The figures of this moment; the transactions are behind by up to a second."""
        row = await self._connection.fetchrow(_ACTIVITY)
        assert row is not None  # noqa: S101 - a select without a condition
        client = 0.0 if self._server.pid == os.getpid() else time.process_time()
        return Used(
            _alone(self._server) if self._broker is None else _with_children(self._server),
            _with_children(self._postgres),
            row["wal"],
            row["transactions"],
            client,
            0.0 if self._broker is None else _alone(self._broker),
        )

    def resident(self) -> float:
        """MiB of memory that the process that serves has (RSS)."""
        return float(self._server.memory_info().rss / (1 << 20))


def _alone(process: psutil.Process) -> float:
    """CPU seconds of a process."""
    own = process.cpu_times()
    return float(own.user + own.system)


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
