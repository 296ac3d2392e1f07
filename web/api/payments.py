"""Payments: how the money of an order stands, and the buyer's part at the sandbox gateway."""

import asyncio
import secrets
from typing import Literal

import msgspec
from aiohttp import web

from ultramarket.messages.payment import GatewayHinted, ShownPayment
from web.answers import entity, not_modified
from web.bodies import Body
from web.operation import ask, operation
from web.preferences import unchanged, wait_seconds
from web.problems import refuse
from web.services import SHOP


class Authentication(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the buyer does when the sandbox gateway asks: `ok` approves, `failed` does not."""

    outcome: Literal["ok", "failed"]


AUTHENTICATION = Body(Authentication)


@operation(response=ShownPayment, conditional=True)
async def show(request: web.Request) -> web.Response:
    """Show a payment: its state and the amounts authorised, captured and refunded."""
    payment = await _read(request, request.match_info["id"])
    if unchanged(request, payment.version):
        return not_modified(payment.version)
    return entity(payment, payment.version)


@operation(
    body=AUTHENTICATION, response=ShownPayment, writes="payment", waits=True, errors=("not_found", "no_action_needed")
)
async def authenticate(request: web.Request) -> web.Response:
    """Play the buyer's part at the sandbox gateway.

    For payments made with the method `requires_action`. The answer waits for the gateway's word.
    """
    shop, id = request.app[SHOP], request.match_info["id"]
    outcome = (await AUTHENTICATION.read(request)).outcome
    payment = await _read(request, id)
    if payment.gateway != "sandbox" or not await shop.authenticate_sandbox(id, outcome):
        refuse("no_action_needed")
    async with shop.actors.watch("payment", id) as versions:
        answer = await ask(request, "payment", id, GatewayHinted(event=f"evt_{secrets.token_hex(16)}"))
        payment = await _read(request, id)
        try:
            async with asyncio.timeout(wait_seconds(request)):
                while payment.state == "requires_action":
                    await anext(versions)
                    payment = await _read(request, id)
        except (TimeoutError, StopAsyncIteration):  # the time is over, or the process is stopping
            payment = await _read(request, id)
    return entity(payment, payment.version, token=answer.token)


async def _read(request: web.Request, id: str) -> ShownPayment:
    shown = await request.app[SHOP].actors.read("payment", id)
    if shown is None:
        refuse("not_found", "There is no such payment.")
    payment: ShownPayment = shown.value
    return payment
