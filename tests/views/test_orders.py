from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ultramarket.adapters.postgres import PostgresDatabase
from ultramarket.adapters.vault import PostgresVault
from ultramarket.messages.cart import ShownTotals
from ultramarket.messages.common import ShownMoney
from ultramarket.messages.order import ShownOrder, ShownOrderPayment
from ultramarket.views.orders import OrderFilters, OrderView
from ultramarket.views.projection import LogEvent

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def order(id: str, **fields: Any) -> ShownOrder:
    zero = ShownMoney("0.00", "USD")
    plain: dict[str, Any] = {
        "number": f"N-{id}",
        "version": 1,
        "status": "open",
        "payment_status": "paid",
        "fulfilment_status": "none",
        "reason": None,
        "cart": "c",
        "currency": "USD",
        "channel": "default",
        "email": "ada@example.com",
        "shipping_address": None,
        "billing_address": None,
        "shipping_method": None,
        "lines": (),
        "totals": ShownTotals(
            subtotal=zero, discount=zero, shipping=zero, tax=zero, tax_included=zero, total=ShownMoney("12.90", "USD")
        ),
        "refunded": None,
        "payment": ShownOrderPayment(id=None, gateway="sandbox", action=None),
        "created_at": NOON,
        "updated_at": NOON,
    }
    return ShownOrder(id=id, **(plain | fields))


class Desk:
    """The view with what is in it."""

    def __init__(self, database: PostgresDatabase, forms: Any) -> None:
        self.view = OrderView(database, forms.read_many, PostgresVault(database, bytes(32)))
        self._database = database
        self._forms = forms

    async def put(self, *shown: ShownOrder) -> None:
        for form in shown:
            self._forms.put("order", form.id, form)
        events = [
            LogEvent(kind="order", no=0, seq=1, id=form.id, version=form.version, type="Happened", at=NOON)
            for form in shown
        ]
        async with self._database.transaction() as connection:
            await self.view.apply(connection, events)

    async def ids(self, **filters: Any) -> list[str]:
        return [item.id for item in (await self.view.find(OrderFilters(**filters), 100)).items]


@pytest.fixture
def desk(database: PostgresDatabase, forms: Any) -> Desk:
    return Desk(database, forms)


async def test_orders_are_found_by_what_staff_know_of_them(desk: Desk) -> None:
    await desk.put(
        order("a", created_at=NOON - timedelta(days=2)),
        order("b", status="cancelled", payment_status="refunded", created_at=NOON - timedelta(days=1)),
        order("c", email="bob@example.com"),
    )
    assert await desk.ids() == ["c", "b", "a"]
    assert await desk.ids(status="cancelled") == ["b"]
    assert await desk.ids(payment_status="paid") == ["c", "a"]
    assert await desk.ids(email=" ADA@example.com") == ["b", "a"]
    assert await desk.ids(email="nobody@example.com") == []
    assert await desk.ids(number="N-c") == ["c"]
    assert await desk.ids(since=NOON - timedelta(days=1)) == ["c", "b"]
    assert await desk.ids(until=NOON - timedelta(days=1)) == ["a"]
    assert await desk.ids(since=NOON - timedelta(days=1), until=NOON, email="ada@example.com") == ["b"]


async def test_the_items_are_as_they_are_now(desk: Desk, forms: Any) -> None:
    await desk.put(order("a"))
    now = order("a", version=2, status="completed")
    forms.put("order", "a", now)
    assert (await desk.view.find(OrderFilters(status="open"))).items == (now,)


async def test_no_address_and_no_email_is_kept_in_the_view(desk: Desk, database: PostgresDatabase) -> None:
    await desk.put(order("a"))
    row = (await database.fetch("select o::text as everything, email_token, total from order_card o"))[0]
    assert "ada" not in row["everything"]
    assert len(row["email_token"]) == 64
    assert str(row["total"]) == "12.90"


async def test_an_order_without_an_email_or_totals_yet_has_no_token(desk: Desk, database: PostgresDatabase) -> None:
    await desk.put(order("a", email=None, totals=None, currency=None), order("b", email="erased"))
    rows = await database.fetch("select email_token, total from order_card order by id")
    assert [row["email_token"] for row in rows] == [None, None]
    assert rows[0]["total"] is None
    assert await desk.ids(email="erased") == []


async def test_an_older_version_changes_nothing(desk: Desk) -> None:
    await desk.put(order("a", version=3, status="completed"))
    await desk.put(order("a", version=2, status="open"))
    assert await desk.ids(status="completed") == ["a"]


async def test_pages_give_every_order_once_while_new_ones_come(desk: Desk) -> None:
    await desk.put(*(order(f"o{n:02d}", created_at=NOON + timedelta(minutes=n // 4)) for n in range(10)))
    seen: list[str] = []
    cursor = None
    for n in range(5):
        page = await desk.view.find(OrderFilters(), 3, cursor)
        seen += [item.id for item in page.items]
        cursor = page.next
        if cursor is None:
            break
        await desk.put(order(f"new{n}", created_at=NOON + timedelta(days=1)))
    assert seen == [f"o{n:02d}" for n in range(9, -1, -1)]


async def test_an_empty_list_is_an_empty_page(desk: Desk, forms: Any) -> None:
    page = await desk.view.find(OrderFilters())
    assert (page.items, page.next) == ((), None)
    assert forms.asked == []


async def test_a_cursor_of_a_list_with_other_filters_is_refused(desk: Desk) -> None:
    await desk.put(order("a"), order("b"))
    cursor = (await desk.view.find(OrderFilters(), 1)).next
    with pytest.raises(ValueError, match="other filters"):
        await desk.view.find(OrderFilters(status="open"), 1, cursor)


@pytest.mark.parametrize("cursor", ["", "x", "W10", "WyJuZXdlc3QiLCIyMDI2LTAxLTAxIiwiYSJd", "%%%"])
async def test_a_broken_cursor_is_told_in_a_sentence(desk: Desk, cursor: str) -> None:
    with pytest.raises(ValueError, match="The cursor is broken"):
        await desk.view.find(OrderFilters(), 3, cursor)


@pytest.mark.parametrize("filters", [{"email": "a\0"}, {"number": "\ud800"}])
async def test_filters_that_are_not_text_are_told_in_a_sentence(desk: Desk, filters: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not text"):
        await desk.view.find(OrderFilters(**filters))


async def test_common_lists_read_by_index_at_twenty_thousand_orders(database: PostgresDatabase, desk: Desk) -> None:
    await database.execute(
        "insert into order_card (id, version, number, status, payment_status, email_token, placed_at)"
        " select 'o' || n, 1, n, case when n % 50 = 0 then 'cancelled' else 'open' end, 'paid', md5((n % 900)::text),"
        " now() - make_interval(mins => n) from generate_series(1, 20000) n; analyze order_card"
    )
    asked: list[dict[str, Any]] = [
        {},
        {"status": "cancelled"},
        {"number": "17"},
        {"email": "ada@example.com"},
        {"since": datetime.now(UTC) - timedelta(hours=5), "until": datetime.now(UTC) - timedelta(hours=4)},
    ]
    for filters in asked:
        sql, args = desk.view.query(OrderFilters(**filters), 24, None)
        plan = "\n".join(row[0] for row in await database.fetch(f"explain {sql}", *args))
        assert "Seq Scan" not in plan, (filters, plan)
