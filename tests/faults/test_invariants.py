"""The checks of the crash tests find what they look for: each kind of damage, done by hand, is told."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from tests.e2e.server import Server
from tests.e2e.shopper import shopper
from tests.faults.checks import shop_faults
from tests.faults.invariants import at_rest, faults_at_rest, snapshot

pytestmark = pytest.mark.asyncio(loop_scope="module")

RECEIVED = {"TAMPERED": 10}
DAMAGE = {
    "a lost event": ("delete from event where kind = 'cart' and version = 2", "version 3 where 2 is due"),
    "a changed event": ("update event set data = data || ' ' where kind = 'cart' and version = 2", "does not verify"),
    "a gap in a log": ("update event set seq = seq + 100 where kind = 'order' and version = 3", "order."),
    "a state of another time": (
        "update entity set state = replace(state, '\"on_hand\":9', '\"on_hand\":8') where kind = 'inventory'",
        "stored",
    ),
    "an older version": ("update entity set version = version - 1 where kind = 'order'", "the row has version"),
    "a lost entity": ("delete from entity where kind = 'cart'", "events without a row"),
    "an entity from nowhere": (
        "insert into entity select 'cart', 'x', 1, shape, head, state from entity where kind = 'cart' limit 1",
        "a row without events",
    ),
    "a hold left behind": (
        """insert into entity_part values ('inventory', 'TAMPERED', 'hold:x', '{"quantity":1,"status":"open"}')""",
        "left behind hold:x",
    ),
    "a lost timer": ("insert into timer values ('order', 0, 'x', now())", "a row without events"),
    "money taken twice": (
        "update sandbox.payment set captured = captured * 2, authorised = captured * 2",
        "captured of",
    ),
    "a second capture": (
        """insert into sandbox.call select key || 'x', operation, payment, amount, currency, method, outcome, code,
        result from sandbox.call where operation = 'capture'""",
        "'captures': 2",
    ),
    "money never taken": ("update sandbox.payment set captured = 0", "0 captured of"),
    "a list that is wrong": ("update order_card set status = 'rejected'", "the list shows"),
    "a message that nobody takes": (
        "insert into parked values ('m', 1, 'order', 0, 'x', 'cart:y', '{}', 'because')",
        "because",
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rows(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """The database of a shop at rest that has sold one thing."""
    async with Server(tmp_path_factory.mktemp("tampered") / "data") as server, shopper(server.url) as shop:
        await shop.stock("TAMPERED", RECEIVED["TAMPERED"])
        order = (await shop.order(await shop.filled_cart("TAMPERED"))).json
        assert order["payment_status"] == "paid"
        connection = await asyncpg.connect(server.dsn)
        await at_rest(connection)
        yield connection
        await connection.close()


async def test_a_shop_at_rest_has_no_faults(rows: "asyncpg.Connection[asyncpg.Record]") -> None:
    assert await faults_at_rest(rows, RECEIVED) == []


@pytest.mark.parametrize("damage", DAMAGE)
async def test_damage_is_told(rows: "asyncpg.Connection[asyncpg.Record]", damage: str) -> None:
    statement, told = DAMAGE[damage]
    transaction = rows.transaction()
    await transaction.start()
    try:
        assert not (await rows.execute(statement)).endswith(" 0")
        found = shop_faults(await snapshot(rows), RECEIVED)
    finally:
        await transaction.rollback()
    assert [fault for fault in found if told in fault]


async def test_more_received_than_there_is_or_was_sold_is_told(rows: "asyncpg.Connection[asyncpg.Record]") -> None:
    assert await faults_at_rest(rows, {"TAMPERED": 11}) == ["TAMPERED: 11 received, 1 sold, 9 on hand, 0 held"]
