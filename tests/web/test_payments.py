import json
from typing import Any

import pytest

from tests.web.world import Client, World, problem
from ultramarket.domain.signature import sign
from ultramarket.messages.payment import GatewayHinted

WEBHOOK = "/api/v1/webhooks/sandbox"


@pytest.fixture
async def payment(client: Client, cart: dict[str, Any]) -> str:
    """The address of a payment that waits for the buyer."""
    payment = {"gateway": "sandbox", "method": "requires_action"}
    order = {"cart_id": cart["id"], "cart_version": cart["version"], "payment": payment}
    made = await (await client.post("/api/v1/orders", json=order)).json()
    return f"/api/v1/payments/{made['payment']['id']}"


async def test_a_payment_shows_its_state_and_amounts(client: Client, payment: str) -> None:
    found = await (await client.get(payment)).json()
    assert (found["state"], found["captured"]) == ("requires_action", {"amount": "0.00", "currency": "USD"})
    await problem(await client.get("/api/v1/payments/unknown"), 404, "not_found")


async def test_the_buyer_authenticates_at_the_sandbox(client: Client, world: World, payment: str) -> None:
    answer = await client.post(f"{payment}/sandbox/authenticate", json={"outcome": "ok"})
    assert (answer.status, (await answer.json())["state"]) == (200, "captured")
    assert world.authenticated == [(payment.rpartition("/")[2], "ok")]


async def test_an_answer_of_the_gateway_that_is_late_is_not_waited_for(
    client: Client, world: World, payment: str
) -> None:
    with world.actors.pausing():
        headers = {"Prefer": "wait=0"}
        answer = await client.post(f"{payment}/sandbox/authenticate", json={"outcome": "ok"}, headers=headers)
        assert (answer.status, (await answer.json())["state"]) == (200, "requires_action")
    assert (await (await client.get(payment)).json())["state"] == "captured"


async def test_a_payment_that_waits_for_nothing_says_so(client: Client, world: World, payment: str) -> None:
    world.waits_for_buyer = False
    answer = await client.post(f"{payment}/sandbox/authenticate", json={"outcome": "ok"})
    await problem(answer, 409, "no_action_needed")
    answer = await client.post(f"{payment}/sandbox/authenticate", json={"outcome": "perhaps"})
    await problem(answer, 422, "invalid")
    answer = await client.post("/api/v1/payments/unknown/sandbox/authenticate", json={"outcome": "ok"})
    await problem(answer, 404, "not_found")


def signed(world: World, event: dict[str, Any], *, late: int = 0) -> tuple[bytes, dict[str, str]]:
    raw = json.dumps(event).encode()
    at = int(world.actors.now().timestamp()) - late
    signature = sign(raw, world.shop.webhook_secret, at)
    return raw, {"Sandbox-Signature": signature, "Content-Type": "application/json"}


async def test_a_signed_webhook_is_a_hint_taken_once(client: Client, world: World, payment: str) -> None:
    event = {"id": "evt_1", "payment": payment.rpartition("/")[2]}
    raw, headers = signed(world, event)
    for _ in range(2):
        assert (await client.post(WEBHOOK, data=raw, headers=headers)).status == 204
    hints = [command for _, _, command, _, _ in world.actors.asked if isinstance(command, GatewayHinted)]
    assert hints == [GatewayHinted(event="evt_1")]


async def test_a_webhook_that_is_not_signed_or_too_old_is_refused(client: Client, world: World) -> None:
    event = {"id": "evt_1", "payment": "p"}
    raw, headers = signed(world, event)
    await problem(await client.post(WEBHOOK, data=raw + b" ", headers=headers), 400, "invalid_signature")
    await problem(await client.post(WEBHOOK, data=raw), 400, "invalid_signature")
    raw, headers = signed(world, {"id": "evt_2", "payment": "unknown"})
    await problem(await client.post(WEBHOOK, data=raw, headers=headers), 404, "not_found")
    for late in (301, -400):
        raw, headers = signed(world, event, late=late)
        await problem(await client.post(WEBHOOK, data=raw, headers=headers), 400, "invalid_signature")
    assert [command for _, _, command, _, _ in world.actors.asked if isinstance(command, GatewayHinted)] == [
        GatewayHinted(event="evt_2")
    ]


async def test_a_signed_webhook_that_can_not_be_is_refused(client: Client, world: World) -> None:
    for event in (
        {"id": "e\n", "payment": "p"},
        {"id": "evt_1"},
        {"id": "é" * 100, "payment": "p"},
        {"id": "e", "payment": "p", "x": 1},
    ):
        raw, headers = signed(world, event)
        await problem(await client.post(WEBHOOK, data=raw, headers=headers), 422, "invalid")
