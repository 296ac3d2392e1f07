"""The second set of a view's tables: made beside the first, filled, and put in its place.

They have the same names in a schema of their own, so that the view's statements write them unchanged by the search
path of the transaction. Constraints come with the tables, the other indexes when the tables are filled: building one
at once is cheaper than growing it row by row.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ultramarket.ports.database import Connection, Database, Row

_CONSTRAINTS = """
select conname as name, pg_get_constraintdef(oid) as definition from pg_constraint
where conrelid = to_regclass($1) and contype in ('p', 'u', 'c') order by conname
"""
_INDEXES = """
select i.relname as name, pg_get_indexdef(i.oid) as definition
from pg_index x join pg_class i on i.oid = x.indexrelid
where x.indrelid = to_regclass($1) and not exists (select from pg_constraint c where c.conindid = i.oid)
order by i.relname
"""
_OPTIONS = "select coalesce(array_to_string(reloptions, ', '), '') as options from pg_class where oid = to_regclass($1)"


class Twin:
    """The second set of tables.

    Args:
        database: where they are made; its role must be allowed to make a schema.
        tables: names of the view's tables, which stand in the connections' own schema.
        schema: the schema of the second set; what was left there is dropped.
    """

    def __init__(self, database: Database, tables: Sequence[str], schema: str) -> None:
        self._database = database
        self._tables = tables
        self._schema = schema

    async def make(self) -> None:
        """Make the tables, empty and with their constraints."""
        async with self._database.transaction() as connection:
            await self.drop(connection)
            await connection.execute(f"create schema {self._schema}")
            for table in self._tables:
                twin = f"{self._schema}.{table}"
                await connection.execute(
                    f"create table {twin} (like {table} including defaults including generated including storage "
                    "including compression including comments)"
                )
                if options := await _value(connection, _OPTIONS, table):
                    await connection.execute(f"alter table {twin} set ({options})")
                for row in await connection.fetch(_CONSTRAINTS, table):
                    await connection.execute(f'alter table {twin} add constraint "{row["name"]}" {row["definition"]}')

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction in which the tables' names mean the second set."""
        async with self._database.transaction() as connection:
            await self.enter(connection)
            yield connection

    async def enter(self, connection: Connection) -> None:
        """Let the tables' names mean the second set until the transaction ends."""
        await connection.execute(
            "select set_config('search_path', $1 || ', ' || current_setting('search_path'), true)", self._schema
        )

    async def index(self) -> None:
        """Build the indexes that the first set has, and let the planner know the tables."""
        for table in self._tables:
            for row in await self._database.fetch(_INDEXES, table):
                definition = _moved(row, table, self._schema)
                await self._database.execute(definition)
            await self._database.execute(f"analyze {self._schema}.{table}")

    async def take_over(self, connection: Connection) -> None:
        """Put the second set in the place of the first, which is dropped."""
        home = await _value(connection, "select quote_ident(current_schema()) as home")
        for table in self._tables:
            await connection.execute(f"drop table {home}.{table}")
            await connection.execute(f"alter table {self._schema}.{table} set schema {home}")
        await self.drop(connection)

    async def drop(self, connection: Connection) -> None:
        """Drop the second set, if there is one."""
        await connection.execute(f"drop schema if exists {self._schema} cascade")


async def _value(connection: Connection, sql: str, *args: object) -> str:
    row = await connection.fetchrow(sql, *args)
    return "" if row is None else str(row[0])


def _moved(index: Row, table: str, schema: str) -> str:
    """The definition of an index, for the table of this name in another schema."""
    before, _, after = index["definition"].partition(f".{table} ")
    return f"{before.rpartition(' ')[0]} {schema}.{table} {after}"
