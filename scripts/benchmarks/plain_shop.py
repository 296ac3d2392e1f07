"""What the platform is compared with: a plain aiohttp and asyncpg handler, one transaction or one select a request.

Adding to a cart, it does the same durable work as the platform: the cart's row, an event with the same hash chain, and
the reply where the client sent a key. `plain_checkout` has what makes an order, `plain_server` runs it all.
"""

import hashlib
import secrets
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg
import msgspec
from aiohttp import web

from ultramarket.domain.ids import new_id
from ultramarket.runtime.codec import Chain
from web.presenters import Line

POOL = web.AppKey("pool", asyncpg.Pool)
SHOWN = "shown_product"
"""Products as they are shown, each as one JSON text."""
SCHEMA = """
create table product (sku text primary key, product text not null, title text not null, size text not null,
    price numeric not null);
create table cart (id text primary key, version bigint not null, head bytea not null, state text not null)
    with (fillfactor = 70);
create table stock (sku text primary key, version bigint not null, head bytea not null, on_hand bigint not null)
    with (fillfactor = 70);
create sequence order_number;
create table placed_order (id text primary key, number bigint not null, cart text not null unique, head bytea not null,
    state text not null);
create table payment (id text primary key, placed_order text not null, amount numeric not null,
    captured numeric not null, head bytea not null);
create table event (id text not null, version bigint not null, type text not null, data text not null,
    at timestamptz not null, command text not null, actor text not null, trace text not null, hash bytea not null,
    primary key (id, version));
create table reply (id text not null, command text not null, body_hash bytea not null, reply text not null,
    at timestamptz not null default now(), primary key (id, command));
create table shown_product (handle text primary key, n int not null unique, body text not null);
"""


class NewLine(msgspec.Struct, frozen=True):
    """Pieces of a SKU to add."""

    sku: str
    quantity: int


class StoredLine(msgspec.Struct, frozen=True):
    """A line as it is kept."""

    id: str
    sku: str
    product: str
    title: str
    size: str
    price: Decimal
    quantity: int


class Buyer(msgspec.Struct, frozen=True):
    """Who buys, and where it goes."""

    email: str
    shipping_method: str
    shipping_address: dict[str, str]


class State(msgspec.Struct, frozen=True):
    """A cart as it is kept."""

    currency: str
    created_at: datetime
    updated_at: datetime
    lines: tuple[StoredLine, ...] = ()
    buyer: Buyer | None = None


NEW_LINE = msgspec.json.Decoder(NewLine)
STATE = msgspec.json.Decoder(State)
INSERT_EVENT = "insert into event values ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
encode = msgspec.json.Encoder().encode


async def product(request: web.Request) -> web.Response:
    """A product by its handle: one select."""
    body = await request.app[POOL].fetchval(
        "select body from shown_product where handle = $1", request.match_info["handle"]
    )
    if body is None:
        raise web.HTTPNotFound
    return web.Response(text=body, content_type="application/json")


async def products(request: web.Request) -> web.Response:
    """A page of products by an index, and one more to see whether there is a next page."""
    after, limit = int(request.query["after"]), int(request.query["limit"])
    rows = await request.app[POOL].fetch(
        "select n, body from shown_product where n > $1 order by n limit $2", after, limit + 1
    )
    page = rows[:limit]
    following = page[-1]["n"] if len(rows) > limit else "null"
    text = f'{{"items":[{",".join(row["body"] for row in page)}],"next":{following}}}'
    return web.Response(text=text, content_type="application/json")


async def create(request: web.Request) -> web.Response:
    """Make a cart."""
    id, now = new_id(), datetime.now(UTC)
    state = State("USD", now, now)
    await request.app[POOL].execute("insert into cart values ($1, 1, $2, $3)", id, Chain.START, encode(state).decode())
    return answer(shown(id, 1, state), 201)


async def add_line(request: web.Request) -> web.Response:
    """Add pieces of a SKU: everything between the first read and the last write in one transaction."""
    id, key = request.match_info["id"], request.headers.get("Idempotency-Key")
    raw = await request.read()
    new, now, trace = NEW_LINE.decode(raw), datetime.now(UTC), secrets.token_hex(12)
    async with request.app[POOL].acquire() as connection, connection.transaction():
        cart = await connection.fetchrow("select version, head, state from cart where id = $1 for update", id)
        if cart is None:
            raise web.HTTPNotFound
        if key and (kept := await _kept(connection, id, key, raw)) is not None:
            return kept
        product = await connection.fetchrow("select product, title, size, price from product where sku = $1", new.sku)
        if product is None:
            raise web.HTTPUnprocessableEntity
        state, line = _added(STATE.decode(cart["state"]), new, product, now)
        version, data = cart["version"] + 1, encode(line).decode()
        head = Chain.link(cart["head"], ("cart", id, "LineAdded", trace, "guest"), version, now, data)
        await connection.execute(
            "update cart set version = $2, head = $3, state = $4 where id = $1",
            id, version, head, encode(state).decode(),
        )  # fmt: skip
        await connection.execute(INSERT_EVENT, id, version, "LineAdded", data, now, trace, "guest", trace, head)
        reply = answer(shown(id, version, state))
        if key:
            await connection.execute(
                "insert into reply (id, command, body_hash, reply) values ($1, $2, $3, $4)",
                id, key, hashlib.sha256(raw).digest(), bytes(reply.body or b"").decode(),  # type: ignore[arg-type]  # always bytes here
            )  # fmt: skip
    return reply


async def _kept(connection: Any, id: str, key: str, raw: bytes) -> web.Response | None:
    row = await connection.fetchrow("select body_hash, reply from reply where id = $1 and command = $2", id, key)
    if row is None:
        return None
    if row["body_hash"] != hashlib.sha256(raw).digest():
        raise web.HTTPUnprocessableEntity
    return web.Response(text=row["reply"], content_type="application/json")


def _added(state: State, new: NewLine, product: Any, now: datetime) -> tuple[State, StoredLine]:
    found = next((line for line in state.lines if line.sku == new.sku), None)
    line = StoredLine(
        id=found.id if found else secrets.token_hex(8),
        sku=new.sku,
        product=product["product"],
        title=product["title"],
        size=product["size"],
        price=product["price"],
        quantity=new.quantity + (found.quantity if found else 0),
    )
    others = tuple(each for each in state.lines if each.sku != new.sku)
    return msgspec.structs.replace(state, updated_at=now, lines=(*others, line)), line


def shown(id: str, version: int, state: State) -> dict[str, Any]:
    """The cart in the platform's form."""
    total = sum((line.price * line.quantity for line in state.lines), Decimal(0))
    nothing = Decimal(0)
    parts = {"subtotal": total, "discount": nothing, "shipping": nothing, "tax": nothing, "tax_included": nothing}
    parts["total"] = total
    return {
        "id": id,
        "version": version,
        "status": "open",
        "currency": state.currency,
        "channel": "default",
        "email": None,
        "shipping_address": None,
        "billing_address": None,
        "shipping_method": None,
        "coupons": (),
        "lines": [_shown_line(line) for line in state.lines],
        "totals": {name: money(amount) for name, amount in parts.items()},
        "order": None,
        "created_at": state.created_at,
        "updated_at": state.updated_at,
    }


def _shown_line(line: StoredLine) -> Line:
    nothing: Any = money(0)
    return Line(
        id=line.id,
        sku=line.sku,
        product=line.product,
        title=line.title,
        variant_title=line.size,
        quantity=line.quantity,
        unit_price=money(line.price),  # type: ignore[arg-type]  # the same two fields
        discount=nothing,
        tax=nothing,
        tax_included=nothing,
        total=money(line.price * line.quantity),  # type: ignore[arg-type]  # the same two fields
    )


def money(amount: Decimal | int) -> dict[str, str]:
    """An amount as it is shown."""
    return {"amount": f"{amount:.2f}", "currency": "USD"}


def answer(value: Any, status: int = 200) -> web.Response:
    """An answer in JSON."""
    return web.Response(body=encode(value), status=status, content_type="application/json")
