"""The same purchase sent many times at once is one purchase."""

import asyncio
from collections import Counter

import asyncpg
import pytest

from tests.e2e.shopper import Shopper, purchase

pytestmark = pytest.mark.asyncio(loop_scope="module")

CAPTURES = """
select count(*) from sandbox.call where operation = 'capture' and outcome = 'ok'
and payment in (select payment from sandbox.call where amount = $1)
"""


async def test_50_times_at_once_with_one_key_is_one_order_one_capture_and_later_the_first_answer_again(
    shop: Shopper, rows: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await shop.stock("SAME-KEY", 100, price="50.01")
    cart = await shop.filled_cart("SAME-KEY")
    key = "one-and-the-same-idempotency-key"
    answers = await asyncio.gather(*(shop.order(cart, key=key) for _ in range(50)))
    made = [answer for answer in answers if answer.status == 201]
    others = [answer for answer in answers if answer.status != 201]
    assert made
    assert {(a.status, a.json["code"], a.headers["Retry-After"]) for a in others} <= {(409, "in_progress", "1")}
    assert len({answer.body for answer in made}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in made) == 1

    again = await shop.order(cart, key=key)
    assert (again.status, again.body, again.headers["Idempotency-Replayed"]) == (201, made[0].body, "true")
    assert again.headers["ETag"] == made[0].headers["ETag"]
    assert again.json["payment_status"] == "paid"
    assert await rows.fetchval(CAPTURES, 5001) == 1
    assert await shop.level("SAME-KEY") == (99, 0)


async def test_another_body_under_the_same_key_is_refused(shop: Shopper) -> None:
    await shop.stock("REUSED", 10)
    cart = await shop.filled_cart("REUSED")
    key = "a-key-that-is-used-for-two-bodies"
    assert (await shop.order(cart, "declined", key=key)).status == 201
    refused = await shop.order(cart, "ok", key=key)
    assert (refused.status, refused.json["code"]) == (422, "idempotency_key_reused")


async def test_20_times_at_once_with_different_keys_is_one_order_and_one_capture(
    shop: Shopper, rows: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await shop.stock("MANY-KEYS", 100, price="50.02")
    cart = await shop.filled_cart("MANY-KEYS")
    keys = [f"a-key-of-its-own-for-each-{number:02d}" for number in range(20)]
    answers = await asyncio.gather(*(shop.order(cart, key=key) for key in keys))
    assert Counter(answer.status for answer in answers) == {201: 1, 200: 19}
    assert {(a.json["id"], a.json["status"], a.json["payment_status"]) for a in answers} == {
        (answers[0].json["id"], "open", "paid")
    }
    assert await rows.fetchval(CAPTURES, 5002) == 1
    assert await shop.level("MANY-KEYS") == (99, 0)


async def test_another_method_for_the_same_cart_version_finds_the_order_that_there_is(shop: Shopper) -> None:
    await shop.stock("SECOND", 10)
    cart = await shop.filled_cart("SECOND")
    first = await shop.order(cart, "ok")
    second = await shop.call("POST", "/orders", purchase(cart, "declined"))
    assert (first.status, second.status) == (201, 200)
    assert (second.json["id"], second.json["payment_status"]) == (first.json["id"], "paid")


async def test_the_same_guest_key_finds_the_same_cart_and_adds_its_line_once(shop: Shopper) -> None:
    await shop.stock("LINES", 10)
    key = "a-guests-key-of-at-least-22-characters"
    made = await asyncio.gather(*(shop.call("POST", "/carts", {}, key=key) for _ in range(10)))
    ids = {answer.json["id"] for answer in made if answer.status == 201}
    assert {answer.json["code"] for answer in made if answer.status != 201} <= {"in_progress"}
    assert len(ids) == 1
    path = f"/carts/{ids.pop()}"
    line = {"sku": "LINES", "quantity": 2}
    added = await asyncio.gather(*(shop.call("POST", f"{path}/lines", line, key=key) for _ in range(10)))
    assert {answer.status for answer in added} <= {200, 409}
    cart = await shop.ok("GET", path)
    assert [(line["sku"], line["quantity"]) for line in cart["lines"]] == [("LINES", 2)]
