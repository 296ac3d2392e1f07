"""Copies of paid orders: each with its cart, its payment, its keys, its rows at the gateway and in the view.

A copy sells its pieces from the stock of the original's SKU: the SKU's own history goes on with the copy's events.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from uuid import NAMESPACE_URL, uuid5

import asyncpg
import msgspec

from actors.inventory import Inventory
from scripts.benchmarks.histories import Blank, BlankEntity, BlankEvent, Connection, Histories, places_of
from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.adapters.secrets import master_key
from ultramarket.adapters.vault import PostgresVault
from ultramarket.domain.ids import new_id, order_id, payment_id
from ultramarket.messages.common import Sealed
from ultramarket.runtime.codec import KindCodec, encode

_ORIGINALS = 100
_AT_ONCE = 500
_SEALED = re.compile(r'\["(cart:[^"]+)","([^"]+)"\]')
_SALES = (
    "select version, type, data, at, command, actor, trace from event "
    "where kind = 'inventory' and id = $1 and strpos(data, $2) > 0 order by version"
)
_ROWS = {
    "order_card": ("id", "order"),
    "sandbox.payment": ("payment", "payment"),
    "sandbox.call": ("payment", "payment"),
}
"""Further tables with rows of an order: the column, and whose id stands in it."""


async def copy_orders(dsn: str, data_dir: Path, count: int) -> None:
    """Write that many copies of the orders in the database of a platform that is stopped.

    Args:
        dsn: of the database.
        data_dir: where the platform's keys are.
        count: how many; the first hundred orders take turns as originals.
    """
    connection = await asyncpg.connect(dsn)
    database = await PostgresDatabase.connect(dsn, max_size=2)
    try:
        await _Copies(connection, PostgresVault(database, master_key(data_dir, ""))).make(count)
    finally:
        await database.close()
        await connection.close()


class _Original(msgspec.Struct, frozen=True):
    """A paid order of one SKU.

    Attributes:
        values: its own ids and texts by what they are, e.g. its `cart`.
        boxes: its sealed values, and the texts in them.
        entities: cart, order and payment by kind.
        sku: what was bought.
        sales: the events of the SKU.
        rows: its rows in other tables, by table.
    """

    values: dict[str, str]
    cart_version: int
    boxes: dict[str, str]
    entities: dict[str, BlankEntity]
    sku: str
    sales: list[BlankEvent]
    rows: dict[str, list[list[Any]]]


@dataclass(slots=True)
class _Stock:
    """The entity of a SKU while its history goes on."""

    version: int
    head: bytes
    state: Any


class _Copies:
    def __init__(self, connection: Connection, vault: PostgresVault) -> None:
        self._connection = connection
        self._vault = vault
        self._inventory = Inventory()
        self._codec = KindCodec(self._inventory)
        self._stock: dict[str, _Stock] = {}
        self._rows: dict[str, list[list[Any]]] = {table: [] for table in _ROWS}

    async def make(self, count: int) -> None:
        histories = await Histories.open(self._connection)
        ids = await self._connection.fetch("select id from order_card order by placed_at, id limit $1", _ORIGINALS)
        originals = [await self._original(row["id"]) for row in ids]
        number = await self._connection.fetchval("select nextval('order_number')")
        for begin in range(0, count, _AT_ONCE):
            carts = [new_id() for _ in range(min(_AT_ONCE, count - begin))]
            sealers = await asyncio.gather(*(self._vault.sealer(f"cart:{cart}") for cart in carts))
            for place, (cart, seal) in enumerate(zip(carts, sealers, strict=True), begin):
                self._copy(histories, originals[place % len(originals)], cart, seal, number + place)
            await histories.write()
            await self._write_rows()
        await self._connection.execute("select setval('order_number', $1)", number + count)
        await self._write_stock()
        await histories.finish()

    async def _original(self, id: str) -> _Original:
        text = await self._connection.fetchval("select state from entity where kind = 'order' and id = $1", id)
        state = msgspec.json.decode(text)
        (sku,) = state["reserved"]
        await self._load_stock(sku)
        sales = await self._connection.fetch(_SALES, sku, id)
        boxes = await self._opened(text)
        email = next(value for value in boxes.values() if "@" in value)
        values = self._values(state["cart"], state["cart_version"], state["number"], email)
        values |= {f"sale {place}": _sale(sku, row["version"]) for place, row in enumerate(sales)}
        places = places_of([*values.values(), *boxes])
        return _Original(
            values=values,
            cart_version=state["cart_version"],
            boxes=boxes,
            entities={
                kind: await BlankEntity.of(self._connection, kind, values[kind], places)
                for kind in ("cart", "order", "payment")
            },
            sku=sku,
            sales=[BlankEvent.of(row, places) for row in sales],
            rows={table: await self._blank_rows(table, values, places) for table in _ROWS},
        )

    async def _load_stock(self, sku: str) -> None:
        if sku not in self._stock:
            row = await self._connection.fetchrow(
                "select version, head, state from entity where kind = 'inventory' and id = $1", sku
            )
            assert row is not None  # noqa: S101 - it was sold
            self._stock[sku] = _Stock(row["version"], row["head"], self._codec.state(row["state"]))

    async def _opened(self, text: str) -> dict[str, str]:
        """The sealed values in a text, and what is in them."""
        found = {}
        for subject, box in _SEALED.findall(text):
            unseal = await self._vault.opener(subject)
            found[box] = unseal(Sealed(subject, box))
        return found

    async def _blank_rows(self, table: str, values: Mapping[str, str], places: re.Pattern[str]) -> list[list[Any]]:
        column, whose = _ROWS[table]
        rows = await self._connection.fetch(f"select * from {table} where {column} = $1", values[whose])  # noqa: S608 - names of this module
        return [[Blank(value, places) if isinstance(value, str) else value for value in row] for row in rows]

    def _values(self, cart: str, cart_version: int, number: str, email: str) -> dict[str, str]:
        """The ids of an order, as the platform makes them, and its e-mail as the list finds it."""
        order = order_id(cart, cart_version)
        payment = payment_id(order)
        return {
            "cart": cart,
            "order": order,
            "payment": payment,
            "reference": f"sbx_{uuid5(NAMESPACE_URL, payment).hex}",
            "number": number,
            "token": self._vault.token(email),
        }

    def _copy(
        self, histories: Histories, original: _Original, cart: str, seal: Callable[[str], Sealed], number: int
    ) -> None:
        stock, email = self._stock[original.sku], f"buyer-{number}@example.com"
        values = self._values(cart, original.cart_version, str(number), email)
        values |= {f"sale {n}": _sale(original.sku, stock.version + n + 1) for n in range(len(original.sales))}
        fills = {original.values[name]: value for name, value in values.items()}
        fills |= {box: seal(email if "@" in text else text).box for box, text in original.boxes.items()}
        for event in original.sales:
            stock.version += 1
            stock.head, data = histories.append("inventory", original.sku, stock.version, stock.head, event, fills)
            stock.state = self._inventory.evolve(stock.state, self._codec.event(data))
        for kind, blank in original.entities.items():
            histories.copy(blank, values[kind], fills)
        for table, rows in original.rows.items():
            self._rows[table] += [
                [cell.fill(fills) if isinstance(cell, Blank) else cell for cell in row] for row in rows
            ]

    async def _write_rows(self) -> None:
        for table, rows in self._rows.items():
            schema, _, name = table.rpartition(".")
            await self._connection.copy_records_to_table(name, schema_name=schema or None, records=rows)
            rows.clear()

    async def _write_stock(self) -> None:
        for sku, stock in self._stock.items():
            shown = self._inventory.show(stock.state, sku, stock.version, _nothing_sealed)
            await self._connection.execute(
                "update entity set version = $2, head = $3, state = $4 where kind = 'inventory' and id = $1",
                sku, stock.version, stock.head, encode(stock.state),
            )  # fmt: skip
            await self._connection.execute(
                "update stock_level set version = $2, available = $3 where sku = $1",
                sku, stock.version, shown.available,
            )  # fmt: skip


def _sale(sku: str, version: int) -> str:
    """How messages that follow from an event of a SKU begin."""
    return f"inventory/{sku}/{version}"


def _nothing_sealed(_sealed: Sealed) -> NoReturn:
    raise AssertionError("stock holds nothing personal")
