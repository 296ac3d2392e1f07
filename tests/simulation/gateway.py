"""A simulated payment gateway: it answers late, twice, never or wrongly, and keeps books of what really happened."""

import asyncio
from collections import Counter
from random import Random
from typing import Literal

from msgspec.structs import replace

from tests.faults.checks import Book, Effects
from tests.simulation.loop import VirtualLoop
from tests.simulation.network import Weather
from ultramarket.adapters.sandbox import Account, judge, look_up
from ultramarket.messages.payment import GatewayCall, GatewayResult

UNKNOWN = GatewayResult(outcome="unknown", code="gateway_error")


class Books:
    """The gateway itself: its accounts, and the result of each key.

    Attributes:
        done: the call and its result by key.
        effects: calls that took effect, by (payment, operation).
        faults: what no shop should ask of a gateway.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.done: dict[str, tuple[GatewayCall, GatewayResult]] = {}
        self.effects: Counter[tuple[str, str]] = Counter()
        self.faults: list[str] = []

    def do(self, call: GatewayCall) -> GatewayResult:
        """Do the work of a call once for its key."""
        if call.operation == "lookup":
            return look_up(self.accounts.get(call.payment))
        if call.key in self.done:
            first, result = self.done[call.key]
            if (first.operation, first.payment, first.amount) != (call.operation, call.payment, call.amount):
                self.faults.append(f"the key {call.key} was used for {first} and then for {call}")
            return result
        account, result = judge(self.accounts.get(call.payment), call)
        if account is not None:
            self.accounts[call.payment] = account
        if result.outcome in ("ok", "action"):
            self.effects[call.payment, call.operation] += 1
        self.done[call.key] = (call, result)
        return result

    def act(self, payment: str, outcome: Literal["ok", "failed"]) -> bool:
        """The buyer acted; False where nothing waits for the buyer."""
        account = self.accounts.get(payment)
        if account is None or account.state != "requires_action":
            return False
        if outcome == "ok":
            self.accounts[payment] = replace(account, state="authorised", authorised=account.amount)
        else:
            self.accounts[payment] = replace(account, state="refused", code="authentication_failed")
        return True

    def shown(self) -> tuple[dict[str, Book], dict[str, Effects]]:
        """The books, for the checks."""
        books = {id: Book(a.state, a.captured, a.refunded) for id, a in self.accounts.items()}
        effects = {
            id: Effects(*(self.effects[id, operation] for operation in ("capture", "refund", "void"))) for id in books
        }
        return books, effects


class SimGateway:
    """The way of one process to the gateway, as `ultramarket.ports.gateway.Gateway` describes it."""

    def __init__(self, loop: VirtualLoop, books: Books, weather: Weather, random: Random) -> None:
        self._loop = loop
        self._books = books
        self._weather = weather
        self._random = random

    async def call(self, call: GatewayCall) -> GatewayResult:
        """Make the call.

        Raises:
            ConnectionError: the answer got lost.
        """
        luck = 1.0 if self._weather.calm else self._random.random()
        await asyncio.sleep(self._weather.delay() + (self._random.uniform(0.0, 7.0) if luck < 0.05 else 0.05))
        if luck < 0.05:  # slow, perhaps too slow for who waits
            result = self._books.do(call)
        elif luck < 0.10:  # never heard of
            return UNKNOWN
        elif luck < 0.15:  # done some time after nobody waits for it any more
            self._loop.call_later(
                self._random.uniform(0.0, 10.0), self._books.do, call, context=self._loop.world.context()
            )
            return UNKNOWN
        elif luck < 0.22:  # done, and then a 5xx
            self._books.do(call)
            return UNKNOWN
        elif luck < 0.28:  # done, and the answer lost
            self._books.do(call)
            raise ConnectionError("connection reset by peer")
        elif luck < 0.32:  # done, and never answered
            self._books.do(call)
            await asyncio.sleep(1000.0)
            result = UNKNOWN
        elif luck < 0.36:  # a proxy that asks twice
            self._books.do(call)
            result = self._books.do(call)
        else:
            result = self._books.do(call)
        await asyncio.sleep(self._weather.delay())
        return result
