import asyncio
from typing import Any

import msgspec
import pytest

from tests.web.fakes import UNAVAILABLE
from tests.web.world import STAFF, Client, World, problem
from ultramarket.messages.cart import AddLine
from ultramarket.messages.common import Sealed
from ultramarket.messages.product import ArchiveProduct
from web.idempotency import KeptAnswer

KEY = {"Idempotency-Key": "a-key-of-a-guest-0123456789"}


async def added(client: Client, cart: str, key: dict[str, str], quantity: int = 1) -> Any:
    return await client.post(f"/api/v1/carts/{cart}/lines", json={"sku": "TOTE", "quantity": quantity}, headers=key)


async def test_the_same_key_and_body_gives_the_first_answer_byte_for_byte(client: Client, cart: dict[str, Any]) -> None:
    first = await added(client, cart["id"], KEY)
    await added(client, cart["id"], {})
    again = await added(client, cart["id"], KEY)
    assert (again.status, await again.read()) == (first.status, await first.read())
    assert again.headers["ETag"] == first.headers["ETag"]
    assert again.headers["X-Consistency"] == first.headers["X-Consistency"]
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    now = await (await client.get(f"/api/v1/carts/{cart['id']}")).json()
    assert now["lines"][0]["quantity"] == 4


async def test_an_answer_with_personal_values_is_kept_sealed(
    client: Client, world: World, cart: dict[str, Any]
) -> None:
    path, body = f"/api/v1/carts/{cart['id']}", {"email": "ada@example.com"}
    first = await client.patch(path, json=body, headers=KEY)
    kept = [
        msgspec.convert(value, KeptAnswer)
        for (_, _, key), (_, value) in world.actors._replies.items()
        if "answer" in key
    ]
    assert [answer.body.subject for answer in kept if isinstance(answer.body, Sealed)] == [f"cart:{cart['id']}"]
    again = await client.patch(path, json=body, headers=KEY)
    assert await again.read() == await first.read()


async def test_the_first_answer_comes_again_although_the_product_is_gone(
    client: Client, world: World, cart: dict[str, Any]
) -> None:
    first = await added(client, cart["id"], KEY)
    await world.actors.ask("product", "product-TOTE", ArchiveProduct())
    again = await added(client, cart["id"], KEY)
    assert (again.status, await again.read()) == (200, await first.read())


async def test_the_same_key_with_another_body_is_refused(client: Client, cart: dict[str, Any]) -> None:
    await added(client, cart["id"], KEY)
    answer = await added(client, cart["id"], KEY, quantity=2)
    await problem(answer, 422, "idempotency_key_reused")
    assert "Idempotency-Replayed" not in answer.headers


async def test_a_key_counts_for_one_path_only(client: Client, cart: dict[str, Any]) -> None:
    await added(client, cart["id"], KEY)
    other = await (await client.post("/api/v1/carts")).json()
    answer = await added(client, other["id"], KEY, quantity=3)
    assert (await answer.json())["lines"][0]["quantity"] == 3


async def test_a_key_counts_for_one_principal_only(client: Client, cart: dict[str, Any]) -> None:
    await added(client, cart["id"], KEY)
    answer = await added(client, cart["id"], {**KEY, **STAFF})
    assert (await answer.json())["lines"][0]["quantity"] == 4


async def test_a_refusal_comes_again_as_it_was(client: Client, cart: dict[str, Any]) -> None:
    first = await added(client, cart["id"], KEY, quantity=5000)
    again = await added(client, cart["id"], KEY, quantity=5000)
    assert await problem(first, 422, "quantity_limit") == await problem(again, 422, "quantity_limit")
    assert first.headers["X-Request-Id"] != again.headers["X-Request-Id"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"


async def test_refusals_without_a_key_or_of_another_body_are_told_apart(client: Client, cart: dict[str, Any]) -> None:
    answers = [await added(client, cart["id"], key, quantity) for key in ({}, KEY) for quantity in (5000, 5001)]
    documents = [await answer.json(content_type=None) for answer in answers]
    assert len({document["instance"] for document in documents}) == 4
    assert documents[0]["instance"] == f"urn:request:{answers[0].headers['X-Request-Id']}"


async def test_while_the_first_runs_a_repeat_is_told_to_wait(
    client: Client, world: World, cart: dict[str, Any]
) -> None:
    world.actors.gate = asyncio.Event()
    first = asyncio.create_task(added(client, cart["id"], KEY))
    await world.actors.arrived.wait()
    again = await added(client, cart["id"], KEY)
    await problem(again, 409, "in_progress")
    assert again.headers["Retry-After"] == "1"
    world.actors.gate.set()
    assert (await first).status == 200
    assert (await added(client, cart["id"], KEY)).headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 201, "\N{SNOWMAN}"])
async def test_a_key_that_can_not_be_is_refused(client: Client, key: str) -> None:
    await problem(await client.post("/api/v1/carts", headers={"Idempotency-Key": key}), 400, "malformed_header")


async def test_two_keys_are_refused(client: Client) -> None:
    headers = [("Idempotency-Key", "a" * 22), ("Idempotency-Key", "b" * 22)]
    await problem(await client.post("/api/v1/carts", headers=headers), 400, "malformed_header")


async def test_a_guests_short_key_makes_no_cart(client: Client) -> None:
    weak = {"Idempotency-Key": "x" * 21}
    await problem(await client.post("/api/v1/carts", headers=weak), 422, "idempotency_key_weak")
    assert (await client.post("/api/v1/carts", headers={**weak, **STAFF})).status == 201


async def test_a_repeat_finds_its_cart_even_when_no_reply_is_kept(client: Client, world: World) -> None:
    first = await (await client.post("/api/v1/carts", headers=KEY)).json()
    world.actors.forget_replies()
    again = await client.post("/api/v1/carts", headers=KEY)
    assert (again.status, (await again.json())["id"]) == (201, first["id"])
    assert len(first["id"]) == 40


async def test_a_process_that_died_before_keeping_the_answer_changes_nothing_twice(
    client: Client, world: World, cart: dict[str, Any]
) -> None:
    world.actors.failing["keep"] = RuntimeError("the process died")
    assert (await added(client, cart["id"], KEY)).status == 500
    del world.actors.failing["keep"]
    again = await added(client, cart["id"], KEY)
    assert ((await again.json())["lines"][0]["quantity"], again.headers["Idempotency-Replayed"]) == (3, "true")


async def test_commands_carry_the_principal_and_the_request_id(
    client: Client, world: World, cart: dict[str, Any]
) -> None:
    await client.post(
        f"/api/v1/carts/{cart['id']}/lines", json={"sku": "TOTE"}, headers={"X-Request-Id": "trace-1", **STAFF}
    )
    _, _, command, principal, trace = world.actors.asked[-1]
    assert (type(command), principal, trace) == (AddLine, "staff", "trace-1")


async def test_an_answer_that_can_not_be_kept_is_given_all_the_same(
    client: Client, world: World, cart: dict[str, Any]
) -> None:
    world.actors.failing["keep"] = UNAVAILABLE
    assert (await added(client, cart["id"], KEY)).status == 200
    again = await added(client, cart["id"], KEY)
    assert ((await again.json())["lines"][0]["quantity"], again.headers["Idempotency-Replayed"]) == (3, "true")
