"""Carts: make one, fill it, say where it goes, merge a guest's into another."""

from collections.abc import AsyncIterator
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ultramarket.domain.ids import new_id
from ultramarket.messages.cart import (
    AddLine,
    CreateCart,
    PatchCart,
    Quote,
    SetLine,
    ShownCart,
)
from ultramarket.messages.cart_transfer import (
    AllowMerge,
    AskTransfer,
    GiveLines,
    TransferBegun,
    TransferOutcome,
    TransferStands,
)
from web import presenters
from web.addresses import NewAddress, check_address, check_email, sealed_address
from web.answers import entity, not_modified
from web.bodies import Body
from web.idempotency import WRITE
from web.operation import REQUEST_ID, ask, operation
from web.preferences import expected_version, languages, unchanged
from web.principal import PRINCIPAL
from web.problems import Refused, refuse
from web.quotes import Quoter
from web.services import SHOP

QUOTER = web.AppKey("quoter", Quoter)
MIN_GUEST_KEY = 22
"""Characters of a guest's key: a UUID in base64url has as many, and nobody guesses it."""

Sku = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Quantity = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class NewCart(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new cart; `currency` is the channel's where none is named."""

    currency: Annotated[str, msgspec.Meta(min_length=3, max_length=3)] | None = None
    channel: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = "default"


class NewLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pieces of a SKU to add."""

    sku: Sku
    quantity: Quantity = 1


class LinePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The quantity of a line; 0 removes the line."""

    quantity: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class CartPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is sent is set, null clears, the rest stays."""

    email: str | UnsetType | None = UNSET
    shipping_address: NewAddress | UnsetType | None = UNSET
    billing_address: NewAddress | UnsetType | None = UNSET
    shipping_method: Annotated[str, msgspec.Meta(max_length=100)] | UnsetType | None = UNSET
    coupons: Annotated[list[str], msgspec.Meta(max_length=20)] | UnsetType | None = UNSET


class Merge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cart whose lines are taken over."""

    source: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] = msgspec.field(name="from")


PATCH_TYPES = ("application/json", "application/merge-patch+json")
NEW_CART = Body(NewCart, optional=True)
NEW_LINE = Body(NewLine)
LINE_PATCH = Body(LinePatch)
CART_PATCH = Body(CartPatch, types=PATCH_TYPES)
MERGE = Body(Merge)


@operation(body=NEW_CART, response=presenters.Cart, status=201, writes="cart", errors=("idempotency_key_weak",))
async def create(request: web.Request) -> web.Response:
    """Make a cart.

    A guest's Idempotency-Key must have at least 22 characters: the cart's id is derived from it.
    """
    shop, write = request.app[SHOP], request[WRITE]
    if write.client_key is not None and len(write.client_key) < MIN_GUEST_KEY and not request[PRINCIPAL].staff:
        refuse("idempotency_key_weak")
    new = await NEW_CART.read(request)
    channel = shop.rules.channel(new.channel) or shop.channel
    id = write.derived_id(shop.secret, "cart") or new_id()
    command = CreateCart(currency=new.currency or channel.currency, channel=new.channel)
    token = None
    try:
        token = (await ask(request, "cart", id, command)).token
    except Refused as refused:
        # The id comes from the key alone: the cart is there, only its stored reply is gone by now.
        if refused.rejection.code != "cart_exists":
            raise
        write.replayed = True
    return await _cart(request, id, status=201, token=token, location=f"/api/v1/carts/{id}")


@operation(response=presenters.Cart, conditional=True)
async def show(request: web.Request) -> web.Response:
    """Show a cart."""
    id = request.match_info["id"]
    shown = await _read(request, id)
    if unchanged(request, shown.version):
        return not_modified(shown.version)
    return entity(_present(request, shown), shown.version)


@operation(
    body=CART_PATCH,
    response=presenters.Cart,
    writes="cart",
    conditional=True,
    errors=("cart_frozen", "shipping_method_unknown", "coupon_unknown"),
)
async def change(request: web.Request) -> web.Response:
    """Set a cart's e-mail address, addresses and shipping method."""
    shop, id = request.app[SHOP], request.match_info["id"]
    patch = await CART_PATCH.read(request)
    _check(request, patch)
    await _read(request, id)  # keys are made for carts that exist
    seal = await shop.vault.sealer(f"cart:{id}")
    email, shipping, billing = patch.email, patch.shipping_address, patch.billing_address
    command = PatchCart(
        email=seal(email) if isinstance(email, str) else email,
        shipping_address=sealed_address(shipping, seal) if isinstance(shipping, NewAddress) else shipping,
        billing_address=sealed_address(billing, seal) if isinstance(billing, NewAddress) else billing,
        shipping_method=patch.shipping_method,
        expect=expected_version(request),
    )
    answer = await ask(request, "cart", id, command)
    return await _cart(request, id, token=answer.token)


@operation(
    body=NEW_LINE,
    response=presenters.Cart,
    writes="cart",
    conditional=True,
    errors=("cart_frozen", "sku_not_found", "price_missing", "quantity_limit", "too_many_lines"),
)
async def add_line(request: web.Request) -> web.Response:
    """Add pieces of a SKU, or more of the line that has it."""
    id = request.match_info["id"]
    new = await NEW_LINE.read(request)
    cart = await _read(request, id)
    quote = await request.app[QUOTER].quote(new.sku, cart.currency)
    command = AddLine(quote=quote, quantity=new.quantity, expect=expected_version(request))
    answer = await ask(request, "cart", id, command)
    return await _cart(request, id, token=answer.token)


@operation(
    body=LINE_PATCH,
    response=presenters.Cart,
    writes="cart",
    conditional=True,
    errors=("cart_frozen", "line_not_found", "quantity_limit"),
)
async def set_line(request: web.Request) -> web.Response:
    """Set the quantity of a line; 0 removes it."""
    patch = await LINE_PATCH.read(request)
    return await _set(request, patch.quantity)


@operation(response=presenters.Cart, writes="cart", conditional=True, errors=("cart_frozen", "line_not_found"))
async def remove_line(request: web.Request) -> web.Response:
    """Remove a line."""
    return await _set(request, 0)


@operation(
    body=MERGE,
    response=presenters.MergedCart,
    writes="cart",
    conditional=True,
    errors=("cart_frozen", "same_cart", "currency_mismatch", "too_many_lines"),
)
async def merge(request: web.Request) -> web.Response:
    """Take over the lines of another cart.

    Quantities add up, capped at what is available, and `changes` says what came of each SKU. The lines leave the other
    cart first: of two merges of one cart only one gets them. Meanwhile the other cart takes every call; an order of it
    is without them. Where this cart can't take them (it is being paid, changed since `If-Match`, or would hold too many
    lines), they go back and this call is refused. The answer waits for the end; if it fails to come in time, repeat
    the call with the same Idempotency-Key: it is the same merge.
    """
    id = request.match_info["id"]
    source_id = (await MERGE.read(request)).source
    if source_id == id:
        refuse("same_cart", pointer="/from")
    target = await _read(request, id)
    await _read(request, source_id, pointer="/from")
    await ask(request, "cart", id, AllowMerge(expect=expected_version(request)))
    request[WRITE].replayed = False  # what counts is whether the lines were given before
    outcome, token = await _transferred(request, source_id, target)
    if outcome.refusal is not None:
        raise Refused(outcome.refusal, replayed=request[WRITE].replayed)
    shown = await _read(request, id)
    return entity(presenters.merged(_present(request, shown), outcome.changes), shown.version, token=token)


async def _transferred(request: web.Request, source_id: str, target: ShownCart) -> tuple[TransferOutcome, str | None]:
    """Let the source give its lines to the target and wait for the end; an earlier merge of the source ends before.

    Raises:
        Refused: the source is being paid, or it has forgotten how this merge ended.
    """
    attempt = 0
    async with request.app[SHOP].actors.watch("cart", source_id) as versions:
        while True:
            command = await _gift(request, await _read(request, source_id, pointer="/from"), target)
            answer = await ask(request, "cart", source_id, command, attempt=attempt)
            begun = msgspec.convert(answer.value, TransferBegun, from_attributes=True)
            if begun.transfer is None:
                return TransferOutcome(transfer=""), answer.token
            stands = await _ended(request, source_id, begun.transfer, versions)
            if begun.own:
                break
            attempt += 1
    if stands.outcome is None:
        refuse("not_found", "This merge ended, but how is not known any more: look at the carts.")
    return stands.outcome, answer.token


async def _ended(request: web.Request, source_id: str, transfer: str, versions: AsyncIterator[int]) -> TransferStands:
    """How the transfer stands once it is not under way any more."""
    actors, principal = request.app[SHOP].actors, request[PRINCIPAL].name
    while True:
        answer = await actors.ask(
            "cart", source_id, AskTransfer(transfer=transfer), principal=principal, trace=request[REQUEST_ID]
        )
        stands: TransferStands = answer.value
        if not stands.under_way:
            return stands
        await anext(versions)


async def _gift(request: web.Request, source: ShownCart, target: ShownCart) -> GiveLines:
    """The command for the source: fresh quotes for the target, the stock that caps, and what can't be bought there."""
    quoter = request.app[QUOTER]
    quotes: list[Quote] = []
    capped: list[str] = []
    unsold: list[str] = []
    for line in source.lines:
        found = await quoter.find(line.sku)
        quote = quoter.quote_of(*found, target.currency) if found else None
        if found is None or quote is None:
            unsold.append(line.sku)
            continue
        quotes.append(quote)
        if found[1].track_stock and found[1].when_out == "deny":
            capped.append(line.sku)
    stock = await request.app[SHOP].actors.read_many("inventory", capped) if capped else {}
    return GiveLines(
        target=target.id,
        quotes=tuple(quotes),
        available={sku: stock[sku].value.available if sku in stock else 0 for sku in capped},
        unsold=tuple(unsold),
        target_version=expected_version(request),
    )


def _check(request: web.Request, patch: CartPatch) -> None:
    if isinstance(patch.email, str):
        check_email(patch.email)
    for name in ("shipping_address", "billing_address"):
        address = getattr(patch, name)
        if isinstance(address, NewAddress):
            check_address(address, f"/{name}")
    method = patch.shipping_method
    if isinstance(method, str) and request.app[SHOP].rules.method(method) is None:
        refuse("shipping_method_unknown", pointer="/shipping_method")
    if isinstance(patch.coupons, list) and patch.coupons:
        refuse("coupon_unknown", pointer="/coupons/0")


async def _set(request: web.Request, quantity: int) -> web.Response:
    id, wanted = request.match_info["id"], request.match_info["line"]
    command = SetLine(
        line=wanted,
        quantity=quantity,
        quote=await _fresh_quote(request, id, wanted) if quantity else None,
        expect=expected_version(request),
    )
    answer = await ask(request, "cart", id, command)
    return await _cart(request, id, token=answer.token)


async def _fresh_quote(request: web.Request, id: str, wanted: str) -> Quote | None:
    """Today's quote of a line; None where it is not sold any more: the line then keeps its own."""
    cart = await _read(request, id)
    by_id = {line.id: line for line in cart.lines}
    line = by_id.get(wanted) or next((line for line in cart.lines if line.sku == wanted), None)
    if line is None:
        refuse("line_not_found")
    quoter = request.app[QUOTER]
    found = await quoter.find(line.sku)
    return quoter.quote_of(*found, cart.currency) if found else None


async def _read(request: web.Request, id: str, *, pointer: str | None = None) -> ShownCart:
    shown = await request.app[SHOP].actors.read("cart", id)
    if shown is None:
        refuse("not_found", "There is no such cart.", pointer=pointer)
    cart: ShownCart = shown.value
    return cart


def _present(request: web.Request, shown: ShownCart) -> presenters.Cart:
    if WRITE in request and (shown.email or shown.shipping_address or shown.billing_address):
        request[WRITE].subject = f"cart:{shown.id}"
    return presenters.cart(shown, languages(request), request.app[SHOP].language(shown.channel))


async def _cart(
    request: web.Request, id: str, *, status: int = 200, token: str | None = None, location: str | None = None
) -> web.Response:
    """The whole cart as it is after a write."""
    shown = await _read(request, id)
    return entity(_present(request, shown), shown.version, status=status, token=token, location=location)
