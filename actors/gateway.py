"""Gateway worker: makes the calls that payments recorded and tells them what came of it."""

import asyncio
from collections.abc import Iterable, Mapping

import structlog

from ultramarket.messages.payment import CallGateway, GatewayAnswered, GatewayCall, GatewayResult
from ultramarket.ports.gateway import Gateway
from ultramarket.runtime.actor import Send, Worker

_log = structlog.get_logger(__name__)


class GatewayWorker(Worker[CallGateway]):
    """Calls gateways by name; a repeat of a message repeats the call with its key, which changes nothing there.

    Args:
        gateways: the adapters by the name that orders use, e.g. `sandbox`.
        timeout: seconds after which a call that was not answered has an unknown outcome.
    """

    kind = "gateway"
    commands = CallGateway
    # A real gateway takes half a second a call: at two calls an order this many carry some hundred orders a second.
    concurrency = 128

    def __init__(self, gateways: Mapping[str, Gateway], timeout: float = 30.0) -> None:
        self._gateways = gateways
        self._timeout = timeout

    async def work(self, id: str, command: CallGateway, message: str) -> Iterable[Send]:
        """Make the call; whatever goes wrong on the way is an unknown outcome, which the payment asks for again."""
        gateway = self._gateways.get(command.gateway)
        if gateway is None:
            result = GatewayResult(outcome="refused", code="unknown_gateway")
        else:
            result = await self._call(gateway, command.gateway, command.call)
        call = command.call
        return (Send("payment", id, GatewayAnswered(operation=call.operation, key=call.key, result=result)),)

    async def _call(self, gateway: Gateway, name: str, call: GatewayCall) -> GatewayResult:
        try:
            async with asyncio.timeout(self._timeout):
                return await gateway.call(call)
        except TimeoutError:
            _log.warning("gateway_timeout", gateway=name, operation=call.operation, payment=call.payment)
            return GatewayResult(outcome="unknown", code="timeout")
        except Exception:  # noqa: BLE001 - whatever an adapter raises, only the gateway knows whether the call took effect
            _log.exception("gateway_failed", gateway=name, operation=call.operation, payment=call.payment)
            return GatewayResult(outcome="unknown", code="gateway_error")
