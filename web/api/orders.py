"""Orders: make one of a cart, see it through, cancel it."""

import asyncio
import functools
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from aiohttp import web

from ultramarket.domain.ids import order_id
from ultramarket.messages.cart import ShownCart
from ultramarket.messages.order import CancelOrder, OrderPlaced, PaymentStatus, PlaceOrder, ShownOrder, Status
from ultramarket.views.orders import OrderFilters
from web import presenters
from web.addresses import check_line
from web.answers import entity, field_tree, not_modified, page, select, spared
from web.bodies import Body
from web.idempotency import WRITE
from web.listing import refuse_list, shown_writes
from web.operation import ask, operation, repeatable
from web.preferences import expected_version, languages, unchanged, wait_seconds
from web.principal import PRINCIPAL
from web.problems import refuse
from web.queries import Cursor, Fields, Limit, Query
from web.services import SHOP

Word = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.:-]+\Z")]


Moment = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class Payment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How it is paid: a gateway of the shop, and the gateway's token for the means of payment."""

    gateway: Word
    method: Word


class NewOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order of a cart as the buyer saw it."""

    cart_id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    cart_version: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    payment: Payment


class Cancellation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why an order is cancelled."""

    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


class OrdersQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which orders are wanted; all that is given must hold."""

    status: Status | None = None
    payment_status: PaymentStatus | None = None
    email: Annotated[str, msgspec.Meta(min_length=1, max_length=254)] | None = None
    number: Annotated[str, msgspec.Meta(min_length=1, max_length=40)] | None = None
    since: Annotated[Moment, msgspec.Meta(description="Placed then or later.")] | None = None
    until: Annotated[Moment, msgspec.Meta(description="Placed before then.")] | None = None
    limit: Limit = 24
    cursor: Cursor | None = None
    fields: Fields | None = None


class OrderPage(msgspec.Struct, frozen=True):
    """A page of orders, the newest first; `next` is the cursor of the next one."""

    items: tuple[presenters.Order, ...]
    next: str | None


COSTLY = {"lines": ()}

LIST = Query(OrdersQuery)
NEW_ORDER = Body(NewOrder)
CANCELLATION = Body(Cancellation, optional=True)


@operation(
    body=NEW_ORDER,
    response=presenters.Order,
    status=201,
    also=((200, "An earlier call made the order of this cart version; this is how it stands."),),
    writes="order",
    own_scope=True,
    waits=True,
    errors=("not_found", "cart_changed", "cart_frozen", "gateway_unknown"),
)
async def create(request: web.Request) -> web.Response:
    """Make an order of a cart.

    One cart version makes one order, whoever asks how often. The answer waits until the order has left `pending`, as
    long as `Prefer: wait=` allows (4 seconds by default, 10 at most). It may be `rejected`; `reason` then says why.
    """
    new = await NEW_ORDER.read(request)
    if new.payment.gateway not in request.app[SHOP].gateways:
        refuse("gateway_unknown", pointer="/payment/gateway")
    write = request[WRITE]
    if not request[PRINCIPAL].staff:
        # All guests share this path: the cart tells them apart.
        write.scope += f" {new.cart_id}"
    return await repeatable(request, "order", write, functools.partial(_place, request, new), look_first=True)


@operation(response=presenters.Order, conditional=True)
async def show(request: web.Request) -> web.Response:
    """Show an order."""
    shown = await _read(request, request.match_info["id"])
    if unchanged(request, shown.version):
        return not_modified(shown.version)
    return entity(_present(request, shown), shown.version)


@operation(query=LIST, response=OrderPage, staff=True, consistent=True)
async def index(request: web.Request) -> web.Response:
    """List orders, the newest first."""
    query = LIST.read(request)
    tree = field_tree(query.fields, presenters.Order)
    await shown_writes(request)
    filters = OrderFilters(
        status=query.status,
        payment_status=query.payment_status,
        email=query.email,
        number=query.number,
        since=_moment(query.since, "since"),
        until=_moment(query.until, "until"),
    )
    try:
        found = await request.app[SHOP].orders.find(filters, query.limit, query.cursor)
    except ValueError as error:
        refuse_list(error)
    return page((select(_present(request, spared(order, tree, COSTLY)), tree) for order in found.items), found.next)


@operation(
    body=CANCELLATION,
    response=presenters.Order,
    writes="order",
    conditional=True,
    errors=("order_not_cancellable",),
)
async def cancel(request: web.Request) -> web.Response:
    """Cancel an order.

    What was authorised is voided, what was captured is refunded, and the stock is given back.
    """
    id = request.match_info["id"]
    reason = (await CANCELLATION.read(request)).reason
    check_line(reason, "/reason", lines=True)
    answer = await ask(request, "order", id, CancelOrder(reason=reason, expect=expected_version(request)))
    shown = await _read(request, id)
    return entity(_present(request, shown), shown.version, token=answer.token)


def _moment(given: str | None, name: str) -> datetime | None:
    """A time that a query names, in UTC.

    Raises:
        Refused: 422 `invalid_parameter`.
    """
    if given is None:
        return None
    try:
        moment: datetime = msgspec.convert(given, Annotated[datetime, msgspec.Meta(tz=True)])
        return moment.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):  # the latter: in UTC it lies outside of the years 1 to 9999
        refuse("invalid_parameter", f"The parameter `{name}` is no time: write one such as 2026-03-01T00:00:00Z.")


async def _place(request: web.Request, new: NewOrder) -> web.Response:
    """Make the order, or find the one that this cart version made, and wait until it stands."""
    actors = request.app[SHOP].actors
    id = order_id(new.cart_id, new.cart_version)
    await _check_cart(request, new, id)
    command = PlaceOrder(
        cart=new.cart_id,
        cart_version=new.cart_version,
        number=str(await actors.number("order_number")),
        gateway=new.payment.gateway,
        method=new.payment.method,
    )
    async with actors.watch("order", id) as versions:
        answer = await ask(request, "order", id, command)
        placed = msgspec.convert(answer.value, OrderPlaced, from_attributes=True)
        shown = await _settled(request, id, versions, wait_seconds(request))
    if shown.status == "rejected" and shown.reason is not None and shown.reason.code == "cart_changed":
        refuse("cart_changed", shown.reason.detail)
    status = 201 if placed.created else 200
    location = f"/api/v1/orders/{id}"
    return entity(_present(request, shown), shown.version, status=status, token=answer.token, location=location)


async def _check_cart(request: web.Request, new: NewOrder, id: str) -> None:
    """Refuse what no order can be made of, before there is one.

    Raises:
        Refused: 404 `not_found`, 409 `cart_changed` or `cart_frozen`.
    """
    actors = request.app[SHOP].actors
    shown = await actors.read("cart", new.cart_id)
    if shown is None:
        refuse("not_found", "There is no such cart.", pointer="/cart_id")
    cart: ShownCart = shown.value
    if cart.version == new.cart_version and cart.status == "open":
        return
    # The order of this version is what moved the cart on, where there is one.
    if await actors.read("order", id) is not None:
        return
    if cart.version == new.cart_version:
        refuse("cart_frozen", order=f"/api/v1/orders/{cart.order}")
    detail = f"The cart is at version {cart.version}, not {new.cart_version}: read it again and show it to the buyer."
    refuse("cart_changed", detail, pointer="/cart_version")


async def _settled(request: web.Request, id: str, versions: AsyncIterator[int], seconds: float) -> ShownOrder:
    """The order once it has left `pending`, or as it stands when the time is over."""
    shown = await _read(request, id)
    try:
        async with asyncio.timeout(seconds):
            while shown.status == "pending":
                await anext(versions)
                shown = await _read(request, id)
    except (TimeoutError, StopAsyncIteration):  # the time is over, or the process is stopping
        shown = await _read(request, id)
    return shown


async def _read(request: web.Request, id: str) -> ShownOrder:
    shown = await request.app[SHOP].actors.read("order", id)
    if shown is None:
        refuse("not_found", "There is no such order.")
    order: ShownOrder = shown.value
    return order


def _present(request: web.Request, shown: ShownOrder) -> presenters.Order:
    if WRITE in request and (shown.email or shown.shipping_address or shown.billing_address):
        request[WRITE].subject = f"cart:{shown.cart}"
    return presenters.order(shown, languages(request), request.app[SHOP].language(shown.channel))
