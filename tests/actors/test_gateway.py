"""Gateway worker: what it tells the payment, also when the gateway is unknown, silent or broken."""

import asyncio

from actors.gateway import GatewayWorker
from ultramarket.domain.money import Money
from ultramarket.messages.payment import CallGateway, GatewayAnswered, GatewayCall, GatewayResult
from ultramarket.runtime.actor import Send

CALL = GatewayCall(operation="capture", key="um:o:cap", payment="p", amount=Money(100, "USD"))


class Answering:
    async def call(self, call: GatewayCall) -> GatewayResult:
        return GatewayResult(outcome="ok", reference=call.key)


class Silent:
    async def call(self, call: GatewayCall) -> GatewayResult:  # noqa: ARG002 - never answers
        await asyncio.Event().wait()
        raise AssertionError


class Broken:
    async def call(self, call: GatewayCall) -> GatewayResult:
        raise RuntimeError(call.key)


WORKER = GatewayWorker({"good": Answering(), "silent": Silent(), "broken": Broken()}, timeout=0.01)


async def told(gateway: str) -> GatewayResult:
    (send,) = await WORKER.work("p", CallGateway(gateway=gateway, call=CALL), "message")
    assert (send.kind, send.id, send.command.operation, send.command.key) == ("payment", "p", "capture", "um:o:cap")
    return send.command.result


async def test_the_answer_of_the_gateway_goes_to_the_payment() -> None:
    sends = await WORKER.work("p", CallGateway(gateway="good", call=CALL), "message")
    result = GatewayResult(outcome="ok", reference="um:o:cap")
    assert sends == (Send("payment", "p", GatewayAnswered(operation="capture", key="um:o:cap", result=result)),)


async def test_a_gateway_that_nobody_knows_is_a_refusal() -> None:
    assert await told("other") == GatewayResult(outcome="refused", code="unknown_gateway")


async def test_a_gateway_that_does_not_answer_leaves_the_outcome_unknown() -> None:
    assert await told("silent") == GatewayResult(outcome="unknown", code="timeout")


async def test_an_adapter_that_breaks_leaves_the_outcome_unknown() -> None:
    assert await told("broken") == GatewayResult(outcome="unknown", code="gateway_error")
