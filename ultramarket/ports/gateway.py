"""A payment gateway: authorise, capture, void, refund, look up; a call with the same key changes nothing again."""

from typing import Protocol

from ultramarket.messages.payment import GatewayCall, GatewayResult


class Gateway(Protocol):
    """A payment gateway behind one method; an adapter maps it to the provider's API."""

    async def call(self, call: GatewayCall) -> GatewayResult:
        """Make the call and say what came of it; never raises for what the network or the provider does."""
        ...
