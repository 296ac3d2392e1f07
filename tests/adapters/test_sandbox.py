"""The sandbox gateway on a real database: each method, each key once, and refusals as a real gateway gives them."""

import asyncio
from typing import Any

import pytest

from ultramarket.adapters.sandbox import SandboxGateway
from ultramarket.domain.money import Money
from ultramarket.errors import Unavailable
from ultramarket.messages.payment import GatewayCall, GatewayResult, Operation
from ultramarket.ports.database import Database, Row


def call(
    operation: Operation,
    key: str | None = None,
    *,
    amount: int = 1000,
    currency: str = "USD",
    method: str = "",
    payment: str = "p",
) -> GatewayCall:
    return GatewayCall(
        operation=operation,
        key=key or f"um:o:{operation}",
        payment=payment,
        amount=Money(amount, currency),
        method=method,
    )


def authorise(method: str = "ok", **changes: Any) -> GatewayCall:
    return call("authorise", method=method, **changes)


@pytest.fixture
def gateway(database: Database) -> SandboxGateway:
    return SandboxGateway(database, slow_seconds=0)


async def said(gateway: SandboxGateway, *calls: GatewayCall) -> tuple[str, str]:
    """Outcome and code of the last of these calls."""
    result = GatewayResult(outcome="unknown")
    for one in calls:
        result = await gateway.call(one)
    return result.outcome, result.code


async def kept(database: Database, key: str | None) -> tuple[Any, ...] | None:
    row = await database.fetchrow(
        "select operation, payment, outcome, code, attempts from sandbox.call where key = $1", key
    )
    return tuple(row) if row else None


async def test_what_is_authorised_can_be_captured_and_refunded(gateway: SandboxGateway) -> None:
    held = await gateway.call(authorise())
    assert (held.outcome, held.authorised, held.captured, held.voided) == ("ok", 1000, 0, False)
    assert held.reference.startswith("sbx_")
    taken = await gateway.call(call("capture"))
    assert (taken.outcome, taken.captured, taken.reference) == ("ok", 1000, held.reference)
    assert await said(gateway, call("refund", "um:r1", amount=400)) == ("ok", "")
    assert await said(gateway, call("refund", "um:r2", amount=700)) == ("refused", "refund_too_large")
    back = await gateway.call(call("refund", "um:r3", amount=600))
    assert (back.outcome, back.refunded) == ("ok", 1000)
    assert await gateway.call(call("lookup")) == back


async def test_what_is_authorised_can_be_voided_and_then_not_captured(gateway: SandboxGateway) -> None:
    given_up = await said(gateway, authorise(), call("void"))
    assert given_up == ("ok", "")
    assert (await gateway.call(call("lookup"))).voided
    assert await said(gateway, call("void", "um:again")) == ("ok", "")
    assert await said(gateway, call("capture")) == ("refused", "voided")


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("declined", "declined"),
        ("insufficient_funds", "insufficient_funds"),
        ("disputed", "unknown_method"),
        ("", "unknown_method"),
    ],
)
async def test_a_method_that_is_refused_holds_nothing(gateway: SandboxGateway, method: str, code: str) -> None:
    assert await said(gateway, authorise(method)) == ("refused", code)
    assert await said(gateway, call("lookup")) == ("refused", code)
    assert await said(gateway, call("capture")) == ("refused", "not_authorised")
    assert await said(gateway, call("void")) == ("refused", "not_authorised")
    assert await said(gateway, call("refund")) == ("refused", "not_captured")


async def test_the_same_key_gives_the_first_result_and_does_nothing_again(
    gateway: SandboxGateway, database: Database
) -> None:
    await gateway.call(authorise())
    first = await gateway.call(call("capture"))
    assert await gateway.call(call("capture")) == first
    assert await kept(database, "um:o:capture") == ("capture", "p", "ok", "", 2)


async def test_another_body_under_the_same_key_is_refused(gateway: SandboxGateway, database: Database) -> None:
    await said(gateway, authorise(), call("capture"))
    for other in (
        call("capture", amount=999),
        call("capture", currency="EUR"),
        call("capture", payment="q"),
        call("void", "um:o:capture"),
        authorise(key="um:o:capture"),
    ):
        assert await said(gateway, other) == ("refused", "key_reused")
    assert await kept(database, "um:o:capture") == ("capture", "p", "ok", "", 6)


async def test_money_is_captured_once_and_never_more_than_was_authorised(gateway: SandboxGateway) -> None:
    await gateway.call(authorise())
    assert await said(gateway, call("capture", "um:1", amount=1001)) == ("refused", "invalid_amount")
    assert await said(gateway, call("capture", "um:2", amount=0)) == ("refused", "invalid_amount")
    assert await said(gateway, call("capture", "um:3", currency="EUR")) == ("refused", "wrong_currency")
    assert await said(gateway, call("capture", "um:4")) == ("ok", "")
    assert await said(gateway, call("capture", "um:5")) == ("refused", "captured")
    assert await said(gateway, call("void")) == ("refused", "captured")


async def test_a_payment_is_authorised_once(gateway: SandboxGateway) -> None:
    assert await said(gateway, authorise(amount=0)) == ("refused", "invalid_amount")
    assert await said(gateway, authorise(key="um:other")) == ("refused", "payment_exists")


@pytest.mark.parametrize("operation", ["capture", "void", "refund", "lookup"])
async def test_what_nobody_authorised_is_unknown(
    gateway: SandboxGateway, database: Database, operation: Operation
) -> None:
    assert await said(gateway, call(operation)) == ("refused", "unknown_payment")
    assert await kept(database, f"um:o:{operation}") is None


async def test_a_buyer_who_acts_decides_the_authorisation(gateway: SandboxGateway) -> None:
    asked = await gateway.call(authorise("requires_action"))
    assert (asked.outcome, asked.action) == ("action", "/api/v1/payments/p/sandbox/authenticate")
    assert await said(gateway, call("capture", "um:early")) == ("refused", "not_authorised")
    assert (await gateway.call(call("lookup"))).outcome == "action"
    assert await gateway.authenticate("p", "ok")
    assert not await gateway.authenticate("p", "failed")
    assert (await gateway.call(call("lookup"))).authorised == 1000
    assert await said(gateway, call("capture")) == ("ok", "")


async def test_a_buyer_who_fails_gets_nothing(gateway: SandboxGateway) -> None:
    await gateway.call(authorise("requires_action"))
    assert await gateway.authenticate("p", "failed")
    assert await said(gateway, call("lookup")) == ("refused", "authentication_failed")
    assert not await gateway.authenticate("unknown", "ok")


async def test_what_waits_for_the_buyer_can_be_voided(gateway: SandboxGateway) -> None:
    assert await said(gateway, authorise("requires_action"), call("void")) == ("ok", "")
    assert not await gateway.authenticate("p", "ok")


async def test_a_lost_answer_did_its_work_and_the_same_key_tells(gateway: SandboxGateway, database: Database) -> None:
    assert await said(gateway, authorise("lost_answer")) == ("unknown", "connection_lost")
    assert await said(gateway, authorise("lost_answer")) == ("ok", "")
    assert await said(gateway, call("capture")) == ("unknown", "connection_lost")
    assert (await gateway.call(call("lookup"))).captured == 1000
    assert await said(gateway, call("capture")) == ("ok", "")
    assert await kept(database, "um:o:capture") == ("capture", "p", "ok", "", 2)


async def test_an_unavailable_gateway_fails_each_key_twice_and_then_works(
    gateway: SandboxGateway, database: Database
) -> None:
    answers = [await said(gateway, authorise("unavailable")) for _ in range(3)]
    assert answers == [("unknown", "unavailable"), ("unknown", "unavailable"), ("ok", "")]
    assert await said(gateway, call("capture"), call("capture")) == ("unknown", "unavailable")
    assert (await gateway.call(call("lookup"))).captured == 0
    assert await kept(database, "um:o:capture") == ("capture", "p", "unknown", "unavailable", 2)
    assert await said(gateway, call("capture")) == ("ok", "")
    assert await kept(database, "um:o:capture") == ("capture", "p", "ok", "", 3)


async def test_a_slow_gateway_answers_after_its_time(gateway: SandboxGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("ultramarket.adapters.sandbox.asyncio.sleep", sleep)
    assert await said(gateway, authorise("slow"), call("capture"), call("lookup")) == ("ok", "")
    assert waited == [0, 0]


async def test_a_gateway_that_hangs_has_done_the_work_and_says_so_when_asked_again(
    gateway: SandboxGateway, database: Database
) -> None:
    hanging = asyncio.create_task(gateway.call(authorise("hang")))
    async with asyncio.timeout(5):
        while await kept(database, "um:o:authorise") is None:  # noqa: ASYNC110 - the row is the only sign of it
            await asyncio.sleep(0.01)
    again = await gateway.call(authorise("hang"))
    assert (again.outcome, again.authorised) == ("ok", 1000)
    assert not hanging.done()
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    assert await kept(database, "um:o:authorise") == ("authorise", "p", "ok", "", 2)


async def test_many_at_once_under_one_key_do_it_once(gateway: SandboxGateway, database: Database) -> None:
    results = await asyncio.gather(*(gateway.call(authorise()) for _ in range(6)))
    assert set(results) == {results[0]}
    assert results[0].outcome == "ok"
    results = await asyncio.gather(*(gateway.call(call("capture")) for _ in range(6)))
    assert {(result.outcome, result.captured) for result in results} == {("ok", 1000)}
    row = await database.fetchrow("select version from sandbox.payment")
    assert row["version"] == 2


async def test_many_at_once_under_many_keys_capture_once(gateway: SandboxGateway, database: Database) -> None:
    await gateway.call(authorise())
    results = await asyncio.gather(*(gateway.call(call("capture", f"um:{n}")) for n in range(5)))
    outcomes = sorted((result.outcome, result.code) for result in results)
    assert outcomes.count(("ok", "")) == 1
    assert set(outcomes) <= {("ok", ""), ("refused", "captured"), ("unknown", "busy")}
    row = await database.fetchrow("select count(*) from sandbox.call where operation = 'capture' and outcome = 'ok'")
    assert row["count"] == 1


class Moving:
    """A database where somebody else always moves the payment first."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def fetchrow(self, sql: str, *args: Any) -> Row | None:
        row = await self.database.fetchrow(sql, *args)
        await self.database.execute("update sandbox.payment set version = version + 1")
        return row


class Down:
    async def fetchrow(self, sql: str, *args: Any) -> Row | None:
        raise Unavailable("database_unavailable", f"{sql} {args}")


async def test_a_payment_that_never_stands_still_leaves_the_outcome_unknown(
    gateway: SandboxGateway, database: Database
) -> None:
    await gateway.call(authorise())
    assert await said(SandboxGateway(Moving(database)), call("capture")) == ("unknown", "busy")
    assert (await gateway.call(call("lookup"))).captured == 0


async def test_a_database_that_is_down_leaves_the_outcome_unknown() -> None:
    assert await said(SandboxGateway(Down()), call("capture")) == ("unknown", "database_unavailable")
