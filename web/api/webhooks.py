"""Webhooks of payment gateways: hints that something happened there. They are verified, and never believed."""

from typing import Annotated

import msgspec
from aiohttp import web

from ultramarket.domain.signature import verify
from ultramarket.messages.payment import GatewayHinted
from web.bodies import BODY_HASH, Body, read_raw
from web.operation import REQUEST_ID, operation
from web.problems import Refused, refuse
from web.services import SHOP

SIGNATURE = "Sandbox-Signature"
Id = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,100}\Z")]


class SandboxEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something happened to a payment at the sandbox gateway; `id` is the event's own."""

    id: Id
    payment: Id


EVENT = Body(SandboxEvent)


@operation(body=EVENT, status=204, signature=SIGNATURE, errors=("invalid_signature", "in_progress"))
async def sandbox(request: web.Request) -> web.Response:
    """Take a hint from the sandbox gateway.

    `Sandbox-Signature` is `t=<seconds since 1970>,v1=<HMAC-SHA256 of "t.body">`. The same event again changes nothing;
    while the first is being taken it gets 409 `in_progress`: send it again later, as after any answer but 2xx.
    """
    shop = request.app[SHOP]
    raw = await read_raw(request)
    given = request.headers.get(SIGNATURE, "")
    if not verify(raw, shop.webhook_secret, given, int(shop.actors.now().timestamp())):
        refuse("invalid_signature", f"The header {SIGNATURE} does not sign this body, or it is too old.")
    event = await EVENT.read(request)
    answer = await shop.actors.ask(
        "payment",
        event.payment,
        GatewayHinted(event=event.id),
        principal="gateway:sandbox",
        key=f"webhook:sandbox:{event.id}",
        body_hash=request[BODY_HASH],
        trace=request[REQUEST_ID],
    )
    if answer.rejection is not None:
        raise Refused(answer.rejection)
    return web.Response(status=204)
