"""Orders as the staff's list finds them.

The view holds no personal data: of the e-mail only the vault's token, and the items of a page are read as they are.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from ultramarket.domain.folding import storable
from ultramarket.messages.order import PaymentStatus, ShownOrder, Status
from ultramarket.ports.database import Connection, Database
from ultramarket.ports.vault import ERASED, Vault
from ultramarket.views.pages import Conditions, Page, checked_limit, list_mark, page_of, read_cursor, write_cursor
from ultramarket.views.projection import LogEvent
from ultramarket.views.reading import ReadMany, newest

# The same version is written again: a rebuild renews what an older release wrote.
_CARDS = """
insert into order_card (id, version, number, status, payment_status, email_token, currency, total, placed_at)
select id, version, number, status, payment_status, email_token, currency, total, placed_at
from json_to_recordset($1::text::json) as r (
    id text, version bigint, number text, status text, payment_status text, email_token text,
    currency text, total numeric, placed_at timestamptz
)
order by id
on conflict (id) do update set version = excluded.version, number = excluded.number, status = excluded.status,
    payment_status = excluded.payment_status, email_token = excluded.email_token,
    currency = excluded.currency, total = excluded.total, placed_at = excluded.placed_at
where excluded.version >= order_card.version
"""


class OrderFilters(msgspec.Struct, frozen=True, kw_only=True):
    """What a list of orders is asked for; everything that is set must hold.

    Attributes:
        email: whole address, whatever its case.
        number: the order's number for people, whole.
        since: placed then or later.
        until: placed before then.
    """

    status: Status | None = None
    payment_status: PaymentStatus | None = None
    email: str | None = None
    number: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class OrderView:
    """Projects the orders, and finds them, the newest first.

    Args:
        database: where the view's table is.
        shown: reads committed public forms, `Actors.read_many`.
        vault: makes the token of an e-mail.
    """

    # The number is raised when what is written changes: under a new name the view begins at the log's beginning.
    name = "orders.1"
    kinds = ("order",)
    tables = ("order_card",)
    needs_data = False

    def __init__(self, database: Database, shown: ReadMany, vault: Vault) -> None:
        self._database = database
        self._shown = shown
        self._vault = vault

    async def apply(self, connection: Connection, events: Sequence[LogEvent]) -> None:
        """Write the orders that the events touched, as they are now."""
        orders = await newest(self._shown, "order", events)
        if orders:
            rows = [self._card(form.value) for form in orders.values()]
            await connection.execute(_CARDS, msgspec.json.encode(rows).decode())

    async def find(self, filters: OrderFilters, limit: int = 24, cursor: str | None = None) -> Page[ShownOrder]:
        """A page of orders, each as it is now: one that changed a moment ago may not match the filters any more.

        Args:
            filters: what to find.
            limit: items, 1 to 100.
            cursor: `next` of the page before.

        Raises:
            ValueError: limit or cursor are not as they must be; the message says so to people.
            Unavailable: the database can't be reached.
        """
        sql, args = self.query(filters, checked_limit(limit), cursor)
        rows = await self._database.fetch(sql, *args)
        mark = list_mark("orders", filters)
        page = page_of(
            [row["id"] for row in rows], [write_cursor(mark, row["placed_at"], row["id"]) for row in rows], limit
        )
        forms = await self._shown("order", list(page.items)) if page.items else {}
        return Page(items=tuple(forms[id].value for id in page.items if id in forms), next=page.next)

    def query(self, filters: OrderFilters, limit: int, cursor: str | None) -> tuple[str, list[Any]]:
        """The statement of a page and one item more, and its parameters.

        Raises:
            ValueError: as `find`.
        """
        conditions = Conditions()
        if filters.status is not None:
            conditions.add("c.status = {it}", it=filters.status)
        if filters.payment_status is not None:
            conditions.add("c.payment_status = {it}", it=filters.payment_status)
        if filters.email is not None:
            conditions.add("c.email_token = {it}", it=self._vault.token(storable(filters.email, "email")))
        if filters.number is not None:
            conditions.add("c.number = {it}", it=storable(filters.number, "number"))
        if filters.since is not None:
            conditions.add("c.placed_at >= {it}", it=filters.since)
        if filters.until is not None:
            conditions.add("c.placed_at < {it}", it=filters.until)
        if cursor is not None:
            key, id = read_cursor(cursor, list_mark("orders", filters), datetime)
            conditions.add("(c.placed_at, c.id) < ({key}, {id})", key=key, id=id)
        sql = (
            "select c.id, c.placed_at from order_card c "  # noqa: S608 - only text of this module; values are parameters
            f"where {conditions.sql()} order by c.placed_at desc, c.id desc limit {conditions.parameter(limit + 1)}"
        )
        return sql, conditions.args

    def _card(self, order: ShownOrder) -> dict[str, Any]:
        known = order.email is not None and order.email != ERASED
        return {
            "id": order.id,
            "version": order.version,
            "number": order.number,
            "status": order.status,
            "payment_status": order.payment_status,
            "email_token": self._vault.token(order.email) if known and order.email else None,
            "currency": order.currency,
            "total": order.totals.total.amount if order.totals else None,
            "placed_at": order.created_at,
        }
