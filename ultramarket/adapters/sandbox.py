"""The sandbox gateway: no account, no network, but a memory of its own, idempotent keys, delays and lost answers.

What it does is chosen by the payment's method:

- `ok`, `slow` (answers after some seconds), `lost_answer` (does the work, then the connection breaks; the same key
  again tells what was done), `unavailable` (fails twice a key, then works), `hang` (does the work, then says nothing
  for a minute, longer than anybody waits; the same key again tells at once what was done): the amount is held
- `requires_action`: the buyer must act first, see `SandboxGateway.authenticate`
- `declined`, `insufficient_funds`: refused with this code; any other method: refused with `unknown_method`
"""

import asyncio
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

import msgspec
from msgspec.structs import replace

from ultramarket.errors import Unavailable
from ultramarket.messages.payment import GatewayCall, GatewayResult
from ultramarket.ports.database import Database, Row

HOLDING = ("ok", "slow", "lost_answer", "unavailable", "hang")
REFUSING = ("declined", "insufficient_funds")
FAILING_ATTEMPTS = 2
"""How often `unavailable` fails a key before it works."""
_TRIES = 5

# One statement: count the attempt where the key is known, and give what is known of the key and of the payment.
_ASK = """
with asked as (
    update sandbox.call set attempts = attempts + 1 where key = $1
    returning operation, payment as asked_payment, call.amount as asked_amount, call.currency as asked_currency,
        call.method as asked_method, outcome, result, attempts
)
select asked.*, p.* from (select) one
left join asked on true
left join sandbox.payment p on p.payment = $2
"""

_FAIL = """
insert into sandbox.call (key, operation, payment, amount, currency, method, outcome, code, result)
values ($1, $2, $3, $4, $5, $6, 'unknown', 'unavailable', '')
on conflict (key) do update set attempts = call.attempts + 1
"""

# The payment moves on from the version that was judged, and the key keeps the result; or neither does.
_MOVE = """
with moved as (
    insert into sandbox.payment as p
        (payment, reference, method, currency, amount, state, code, authorised, captured, refunded, version)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    on conflict (payment) do update set state = excluded.state, code = excluded.code, authorised = excluded.authorised,
        captured = excluded.captured, refunded = excluded.refunded, version = excluded.version
    where p.version = excluded.version - 1
    returning payment
)
insert into sandbox.call (key, operation, payment, amount, currency, method, outcome, code, result)
select $12, $13, payment, $14, $15, $16, $17, $18, $19 from moved
on conflict (key) do update set outcome = excluded.outcome, code = excluded.code, result = excluded.result
returning key
"""

_AUTHENTICATE = """
update sandbox.payment set version = version + 1, state = $2, code = $3,
    authorised = case when $2 = 'authorised' then amount else 0 end
where payment = $1 and state = 'requires_action'
returning payment
"""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as the gateway knows it; amounts in minor units."""

    payment: str
    reference: str
    method: str
    currency: str
    amount: int
    state: Literal["requires_action", "authorised", "refused", "voided"]
    code: str = ""
    authorised: int = 0
    captured: int = 0
    refunded: int = 0
    version: int = 1


class SandboxGateway:
    """A gateway as `ports.gateway.Gateway` describes it, kept in the schema `sandbox`.

    Args:
        database: where its tables are.
        slow_seconds: how long `slow` takes to answer.
        hang_seconds: how long `hang` takes to answer the first call with a key.
    """

    def __init__(self, database: Database, slow_seconds: float = 3.0, hang_seconds: float = 60.0) -> None:
        self._database = database
        self._slow_seconds = slow_seconds
        self._hang_seconds = hang_seconds

    async def call(self, call: GatewayCall) -> GatewayResult:
        """Make the call once for its key and say what came of it; a lookup tells how the payment stands now."""
        try:
            for _ in range(_TRIES):
                row = await self._database.fetchrow(_ASK, call.key, call.payment)
                account = _account(row)
                method = account.method if account else call.method
                result = await self._answer(call, row, account, method)
                if result is not None:
                    if row is not None and call.operation != "lookup":
                        await self._pass_network(method, row["attempts"] or 0)
                    return result
        except Unavailable as error:
            return GatewayResult(outcome="unknown", code=error.code)
        return GatewayResult(outcome="unknown", code="busy")

    async def authenticate(self, payment: str, outcome: Literal["ok", "failed"]) -> bool:
        """The buyer acted: `ok` holds the amount, `failed` refuses it; False where nothing waits for the buyer.

        Raises:
            Unavailable: the database can't be reached.
        """
        state, code = ("authorised", "") if outcome == "ok" else ("refused", "authentication_failed")
        return await self._database.fetchrow(_AUTHENTICATE, payment, state, code) is not None

    async def _pass_network(self, method: str, attempts: int) -> None:
        """Take the time that the answer is on its way."""
        if method == "slow":
            await asyncio.sleep(self._slow_seconds)
        elif method == "hang" and not attempts:
            await asyncio.sleep(self._hang_seconds)

    async def _answer(self, call: GatewayCall, row: Row, account: Account | None, method: str) -> GatewayResult | None:
        """One try; None where another call moved the payment meanwhile."""
        if call.operation == "lookup":
            return look_up(account)
        attempts = row["attempts"] or 0
        known = _known(call, row) if attempts else None
        if known is not None:
            return known
        if method == "unavailable" and attempts <= FAILING_ATTEMPTS:
            if not attempts:
                await self._database.execute(_FAIL, *_body(call))
            return GatewayResult(outcome="unknown", code="unavailable")
        moved, result = judge(account, call)
        if moved is None:
            return result
        if not await self._keep(moved, call, result):
            return None
        lost = method == "lost_answer" and not attempts
        return GatewayResult(outcome="unknown", code="connection_lost") if lost else result

    async def _keep(self, account: Account, call: GatewayCall, result: GatewayResult) -> bool:
        key, operation, _, *body = _body(call)
        stored = msgspec.json.encode(result).decode()
        row = await self._database.fetchrow(
            _MOVE, *msgspec.structs.astuple(account), key, operation, *body, result.outcome, result.code, stored
        )
        return row is not None


def judge(account: Account | None, call: GatewayCall) -> tuple[Account | None, GatewayResult]:
    """What a call does to a payment: the payment afterwards, None where there is none, and the answer. Pure."""
    if call.operation == "authorise":
        if account is None:
            account = _authorise(call)
            return account, look_up(account)
        return _next(account), _no("payment_exists", account)
    if account is None:
        return None, _no("unknown_payment")
    if call.amount.currency != account.currency:
        return _next(account), _no("wrong_currency", account)
    match call.operation:
        case "capture":
            moved, code = _capture(account, call.amount.amount)
        case "void":
            moved, code = _void(account)
        case _:
            moved, code = _refund(account, call.amount.amount)
    moved = _next(moved)
    return moved, _no(code, moved) if code else _yes(moved)


def look_up(account: Account | None) -> GatewayResult:
    """How a payment stands. Pure."""
    if account is None:
        return _no("unknown_payment")
    if account.state == "refused":
        return _no(account.code, account)
    if account.state == "requires_action":
        return GatewayResult(
            outcome="action",
            reference=account.reference,
            action=f"/api/v1/payments/{account.payment}/sandbox/authenticate",
        )
    return _yes(account)


def _authorise(call: GatewayCall) -> Account:
    account = Account(
        payment=call.payment,
        reference=f"sbx_{uuid5(NAMESPACE_URL, call.payment).hex}",
        method=call.method,
        currency=call.amount.currency,
        amount=call.amount.amount,
        state="refused",
        code="unknown_method",
    )
    if call.amount.amount <= 0:
        return replace(account, code="invalid_amount")
    if call.method in HOLDING:
        return replace(account, state="authorised", code="", authorised=call.amount.amount)
    if call.method == "requires_action":
        return replace(account, state="requires_action", code="")
    return replace(account, code=call.method) if call.method in REFUSING else account


def _capture(account: Account, amount: int) -> tuple[Account, str]:
    if account.state != "authorised":
        return account, "voided" if account.state == "voided" else "not_authorised"
    if account.captured:
        return account, "captured"
    if not 0 < amount <= account.authorised:
        return account, "invalid_amount"
    return replace(account, captured=amount), ""


def _void(account: Account) -> tuple[Account, str]:
    if account.captured:
        return account, "captured"
    if account.state == "refused":
        return account, "not_authorised"
    return replace(account, state="voided"), ""


def _refund(account: Account, amount: int) -> tuple[Account, str]:
    if not account.captured:
        return account, "not_captured"
    if not 0 < amount <= account.captured - account.refunded:
        return account, "refund_too_large"
    return replace(account, refunded=account.refunded + amount), ""


def _next(account: Account) -> Account:
    return replace(account, version=account.version + 1)


def _yes(account: Account) -> GatewayResult:
    return GatewayResult(
        outcome="ok",
        reference=account.reference,
        authorised=account.authorised,
        captured=account.captured,
        refunded=account.refunded,
        voided=account.state == "voided",
    )


def _no(code: str, account: Account | None = None) -> GatewayResult:
    return GatewayResult(outcome="refused", code=code, reference=account.reference if account else "")


def _account(row: Row) -> Account | None:
    if row["payment"] is None:
        return None
    return msgspec.convert({name: row[name] for name in Account.__struct_fields__}, Account)


def _body(call: GatewayCall) -> tuple[Any, ...]:
    amount = call.amount
    return call.key, call.operation, call.payment, amount.amount, amount.currency, call.method


def _known(call: GatewayCall, row: Row) -> GatewayResult | None:
    """The result that is kept under the call's key; None where the work was not done yet."""
    names = ("operation", "asked_payment", "asked_amount", "asked_currency", "asked_method")
    if _body(call)[1:] != tuple(row[name] for name in names):
        return GatewayResult(outcome="refused", code="key_reused")
    return msgspec.json.decode(row["result"], type=GatewayResult) if row["result"] else None
