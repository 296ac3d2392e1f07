"""A PostgreSQL database for what keeps tables beside the log: views, the sandbox gateway, keys, uploads."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

Row = Any
"""A row whose columns are reached by name, e.g. `row["id"]`."""


class Connection(Protocol):
    """One connection, inside a transaction where `Database.transaction` gave it."""

    async def fetch(self, sql: str, *args: Any) -> Sequence[Row]:
        """All rows."""
        ...

    async def fetchrow(self, sql: str, *args: Any) -> Row | None:
        """The first row, or None."""
        ...

    async def execute(self, sql: str, *args: Any) -> str:
        """Run a statement; gives the command tag, e.g. `UPDATE 3`."""
        ...


class Database(Connection, Protocol):
    """A pool of connections; each call takes one, `transaction` keeps one.

    Raises:
        Unavailable: the database can't be reached (code `database_unavailable`).
    """

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """A connection inside a transaction that commits when the block ends without an exception."""
        ...
